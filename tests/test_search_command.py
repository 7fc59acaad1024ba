"""The command line of searches, as far as it goes without training: arguments, spaces, and the table that compares the best."""

from pathlib import Path

import optuna
import pytest
from conftest import finish
from declared import SEARCHES

import search_mean_teacher
import search_three_stage
from semiseg.codec import read_row
from semiseg.config import SettingError
from semiseg.ema import Ema
from semiseg.methods import ThreeStage
from semiseg.search.arguments import parse_search
from semiseg.search.declaration import Search
from semiseg.search.space import first_points
from semiseg.search.study import SearchStudy
from semiseg.sweep.rows import resolve_row
from semiseg.sweep.saved import Saved, write_config

PRESETS = [pytest.param(search, preset, id=f"{search.name}-{preset}") for search in SEARCHES.values() for preset in search.presets]


def search_study(search: Search, line: str = "") -> SearchStudy:
    arguments, preset, space = parse_search(search, line.split())
    return SearchStudy(search, preset, arguments, space, line.split())


@pytest.mark.parametrize(("search", "preset"), PRESETS)
def test_the_best_of_any_draw_becomes_a_row_that_means_it(search: Search, preset: str) -> None:
    made = search_study(search, f"--preset {preset}")
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    made.bench = None  # type: ignore[assignment]
    assert made.comparison(made.default).rows.keys() == {"default"}
    for _ in range(25):
        picked = made.space.suggest(study.ask(), made.default)
        method, compared = picked.method, made.comparison(picked)
        lines = compared.lines
        assert lines["best"].method == method
        assert lines["default"].method == made.default.method
        words = compared.rows["best"]
        assert resolve_row("t", "best", read_row(words, methods := made.preset.methods()), methods).method == method


def test_the_first_point_is_the_default_and_words_make_a_space_of_their_own() -> None:
    made = search_study(
        search_three_stage.SEARCH, "--trials 5 --space.lambda1 0.1 1 --space.ema.decay 0.9 0.999 --space.log lambda1"
    )
    assert first_points(made.space, made.default) == [{"lambda1": 0.5, "ema.decay": 0.98}]
    assert (made.arguments.trials, made.preset.seeds) == (5, (0, 1, 2, 3, 4))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--trials 0", "trials: got 0"),
        ("--eta 1", "eta: got 1"),
        ("--search-seeds 0 0", "search_seeds: got (0, 0)"),
        ("--preset nothing", "preset: got 'nothing'; allowed: demo"),
        ("--space.lambda3 0 1", "space.lambda3: no number or choice of three_stage"),
        ("--config nothing.json", "config: nothing.json cannot be used"),
    ],
)
def test_what_cannot_be_searched_is_refused(line: str, said: str) -> None:
    with pytest.raises(SettingError) as caught:
        search_study(search_three_stage.SEARCH, line)
    assert said in str(caught.value)


def test_a_saved_configuration_is_the_default_and_quick_makes_it_small(tmp_path: Path) -> None:
    demo = search_three_stage.SEARCH.presets["demo"]
    best = ThreeStage(lambda1=0.3, ema=Ema(decay=(0.9,), warmup=True))
    write_config(tmp_path / "best.json", Saved(demo.data, demo.net, demo.train, best), {})
    made = search_study(search_three_stage.SEARCH, f"--config {tmp_path / 'best.json'}")
    assert made.default.method == best
    assert made.preset.train == demo.train
    quick = search_study(search_three_stage.SEARCH, f"--quick --config {tmp_path / 'best.json'}")
    assert quick.default.method == best
    assert quick.preset.train.steps == 12


def test_spaces_and_settings_are_part_of_what_a_search_is(cache: Path, tmp_path: Path) -> None:
    """The same results folder with another space is refused in one line, before anything trains."""
    (tmp_path / "out").mkdir()
    made = search_study(
        search_mean_teacher.SEARCH, f"--out {tmp_path / 'out'} --store {tmp_path / 'store'} --cache {cache} --space.weight 0.1 3"
    )
    made.open()
    made._ledger().close()
    ran = finish(tmp_path, cache, "--space.weight", "0.1", "4", script=Path(search_mean_teacher.__file__))
    assert ran.returncode == 2
    assert "holds a search with another space; allowed: the same settings, or another --out" in ran.stderr


def test_a_dry_run_says_what_is_shared_and_what_it_costs(cache: Path, tmp_path: Path) -> None:
    words = ["--dry-run", "--quick", "--trials", "7", "--data.labelled", "8", "--net.width", "2"]
    ran = finish(tmp_path, cache, *words, script=Path(search_three_stage.__file__))
    assert ran.returncode == 0, ran.stderr
    last = ran.stdout.splitlines()[-1]
    assert last.startswith("7 trials of three_stage (s1 s2 s3, of which s1 shared), tpe, ")
    assert "of stage time if trained alone and in full; at most" in last
    assert not (tmp_path / "out").exists()
