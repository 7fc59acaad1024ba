"""Simulated studies whose truth is known: what intervals hold and how often verdicts of a table are false, within binomial margins.

Generators are seeded, so nothing here fails by chance; margins are those that a wrong formula would leave at these numbers of studies.
"""

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import simulate_verdicts as simulated
from semiseg.report.fixed import fixed_statistics, judged
from semiseg.report.statistics import LEVEL, OF_ROW, paired, standing
from simulate_verdicts import LAWS, SEEDS, coverage, false_tables, sign_flip_coverage, tables, verdicts

STUDIES = 20_000


def rng(n: int) -> np.random.Generator:
    return np.random.default_rng([16, n])


def most(studies: int, share: float = LEVEL) -> float:
    """A share that is exceeded once in a thousand times where the true one is `share`."""
    return float(stats.binom.ppf(0.999, studies, share)) / studies


@pytest.mark.parametrize("n", SEEDS)
def test_the_t_interval_holds_the_truth_in_95_of_100_studies(n: int) -> None:
    assert 0.93 <= coverage(LAWS["normal"], rng(n), STUDIES, n) <= 0.97


@pytest.mark.parametrize("n", SEEDS)
def test_a_wrong_interval_would_be_found(n: int) -> None:
    """The normal law's 1.96 in place of t's quantile, and standard deviations that divide by n."""
    deltas = LAWS["normal"](rng(n), (STUDIES, n))
    far = stats.norm.ppf(0.975) * deltas.std(-1) / math.sqrt(n)
    assert np.mean(abs(deltas.mean(-1)) <= far) < (0.93 if n < 20 else 0.94)


@pytest.mark.parametrize("n", SEEDS)
def test_discrete_intervals_hold_the_truth_in_at_least_95_of_100_studies(n: int) -> None:
    assert simulated.share_coverage(n) >= 0.95
    for law in ("normal", "t3, heavy tails"):
        assert 1 - sign_flip_coverage(LAWS[law], rng(n), 4000, n) <= most(4000)


@pytest.mark.parametrize("n", SEEDS)
@pytest.mark.parametrize("law", LAWS)
def test_of_six_parts_that_are_worth_nothing_one_is_judged_in_at_most_5_of_100_tables(law: str, n: int) -> None:
    found = verdicts(tables(LAWS[law], rng(n), STUDIES, n), 1.0)
    assert false_tables(found.differs) <= most(STUDIES)
    if law == "normal":
        assert false_tables(found.alone) > 0.12  # without Holm's adjustment


@pytest.mark.parametrize("n", SEEDS)
def test_parts_that_are_worth_something_do_not_make_others_seem_so(n: int) -> None:
    found = verdicts(tables(LAWS["normal"], rng(n), STUDIES, n, (9.0, 9.0, -9.0, 0.0, 0.0, 0.0)), 1.0)
    assert false_tables(found.differs[:, 3:]) <= most(STUDIES)
    assert found.differs[:, :3].mean() > 0.6


@pytest.mark.parametrize("n", SEEDS)
def test_of_six_parts_a_margin_off_one_is_called_equivalent_in_at_most_5_of_100_tables(n: int) -> None:
    found = verdicts(tables(LAWS["normal"], rng(n), STUDIES, n, (1.0, -1.0) * 3), 1.0)
    assert false_tables(found.equivalent) <= most(STUDIES)


def test_heavy_tails_make_the_t_interval_careful_and_skew_makes_it_bold() -> None:
    """What docs/statistics.md says in words."""
    heavy = [coverage(LAWS["t3, heavy tails"], rng(n), STUDIES, n) for n in SEEDS]
    skewed = [coverage(LAWS["lognormal, skewed"], rng(n), STUDIES, n) for n in SEEDS]
    assert all(0.94 <= share <= 0.98 for share in heavy)
    assert all(0.75 <= share <= 0.93 for share in skewed)


@pytest.mark.parametrize("n", [2, 3, 8])
def test_simulated_verdicts_are_those_of_the_report(n: int) -> None:
    deltas = tables(LAWS["normal"], rng(n), 60, n, (0.0, 0.0, 1.0, 2.0, 4.0, 8.0)) / 100
    found = verdicts(deltas, 0.03)
    zero = dict.fromkeys(range(n), 0.0)
    for table, line in enumerate(deltas):
        rows = {str(i): paired(dict(enumerate(map(float, row))), zero) for i, row in enumerate(line)}
        for i, (name, fixed) in enumerate(fixed_statistics(rows, 0.03).items()):
            assert (fixed.differs, fixed.equivalent) == (found.differs[table, i], found.equivalent[table, i])
            alone = standing(rows[name], OF_ROW)
            assert (alone != "unclear") == found.alone[table, i]
            said = "equivalent" if fixed.equivalent else alone if fixed.differs or alone == "unclear" else "unclear after Holm"
            assert judged(alone, fixed) == said


def test_the_page_has_a_place_for_every_table_and_is_written_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = Path(shutil.copy(simulated.PAGE, tmp_path))
    for name in simulated.TABLES:
        assert simulated.PAGE.read_text(encoding="utf-8").count(f"<!-- {name} -->") == 1
    assert simulated.main(["--studies", "20", "--page", str(page)]) == 0
    once = page.read_text(encoding="utf-8")
    assert simulated.main(["--studies", "20", "--page", str(page)]) == 0
    assert page.read_text(encoding="utf-8") == once
    page.write_text("no marks")
    assert simulated.main(["--studies", "20", "--page", str(page)]) == 2
    assert "marks: got 0 times" in capsys.readouterr().err
