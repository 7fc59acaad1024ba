"""The words of a row: what each kind means and what is refused."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
import tiny

from semiseg.augment import Chain, CutMix, PhTPS, RandAugment
from semiseg.change import Row, change
from semiseg.codec import read_value
from semiseg.config import SettingError
from semiseg.ema import Ema
from semiseg.losses import Dice
from semiseg.methods import DMT, MeanTeacher, Method, OneWay, PseudoLabel, Supervised, ThreeStage
from semiseg.sweep.declaration import Ablation, Preset, chosen_rows, methods_of
from semiseg.sweep.rows import ResolvedRow, resolve_row

SOFT = MeanTeacher(target="soft", distance="kl")
TWO = Ema(decay=(0.5, 0.9), start=(0.0, 0.5), warmup=True)
METHODS = methods_of(ThreeStage(), (SOFT, OneWay(), DMT(), PseudoLabel()))


def line(words: str) -> ResolvedRow:
    """What a row of those words, given on the command line, trains."""
    table = Ablation(
        name="table", title="", question="", rows={"all": Row(change(Supervised))}, reference="all", presets={"demo": Preset()}
    )
    preset = Preset(method=METHODS["three_stage"], others=tuple(METHODS.values())[1:], rows=(f"row={words}",))
    return resolve_row("table", "row", chosen_rows(table, preset)["row"], preset.methods())


def key(words: str) -> str:
    """Of the last stage that a row trains."""
    found = line(words)
    return found.method.stages(tiny.SPLIT, tiny.NET, replace(tiny.TRAIN, **found.train), 0)[-1].key


# ---- words


@pytest.mark.parametrize(
    ("words", "method"),
    [
        ("S1 S2 CR", ThreeStage(S3=False, T2=False, SA=False, N2=False)),
        ("three_stage  S2 \t S1", ThreeStage(S3=False, CR=False, T2=False, SA=False, N2=False)),
        (f"{tiny.FULL} lambda1=0.25 lambda2=1 target=soft", ThreeStage(lambda1=0.25, lambda2=1, target="soft")),
        (f"{tiny.FULL} ema.decay=(0.5,0.9) ema.start=(0.0,0.5)", ThreeStage(ema=TWO)),
        (f"{tiny.FULL} stages_total=4 mask_out_of_frame=false", ThreeStage(stages_total=4, mask_out_of_frame=False)),
        ("supervised", Supervised()),
        ("objective=dice supervised", Supervised(objective=Dice())),
        ("mean_teacher", SOFT),
        ("mean_teacher weight=2 threshold=1e-1", replace(SOFT, weight=2.0, threshold=0.1)),
        ("mean_teacher delayed=shared ema.warmup=true", replace(SOFT, delayed="shared", ema=replace(SOFT.ema, warmup=True))),
        ("one_way perturbation=cutmix distance=mse_sum", OneWay(perturbation=CutMix(), distance="mse_sum")),
        ("one_way perturbation=cutmix perturbation.area=(0.2,0.5)", OneWay(perturbation=CutMix(area=(0.2, 0.5)))),
        ("one_way perturbation=phtps+cutmix", OneWay(perturbation=Chain(steps=(PhTPS(), CutMix())))),
        ("one_way perturbation.tps_sd=0", OneWay(perturbation=PhTPS(tps_sd=0))),
        ("mean_teacher perturbation=randaugment", replace(SOFT, perturbation=RandAugment())),
        ("supervised perturbation=randaugment", Supervised(perturbation=RandAugment())),
        ("one_way direction=1w-pt", OneWay(direction="1w-pt")),
        ("one_way threshold=0.5", OneWay(threshold=0.5)),
        ("dmt phases=(0.5,1) phase_epochs=2.5", DMT(phases=(0.5, 1), phase_epochs=2.5)),
        ("pseudo_label rounds=2 rise=(0,1)", PseudoLabel(rounds=2, rise=(0, 1))),
    ],
)
def test_words_are_a_method_its_switches_and_its_fields(words: str, method: Method) -> None:
    assert line(words) == ResolvedRow(method, {}, {})


@pytest.mark.parametrize(
    ("text", "labelled"), [("8", 8), ("0.05", 0.05), ("1", 1), ("all", "all"), ("12.0", 12.0), ("'all'", "all")]
)
def test_labelled_is_a_count_a_share_or_all(text: str, labelled: Any) -> None:
    found = line(f"supervised data.labelled={text}").data["labelled"]
    assert (found, type(found)) == (labelled, type(labelled))


@pytest.mark.parametrize(
    ("word", "train"),
    [
        ("steps=40", {"steps": 40}),
        ("learning_rate=1e-3", {"learning_rate": 0.001}),
        ("optimiser=sgd", {"optimiser": "sgd"}),
        ("betas=(0.5,0.9)", {"betas": (0.5, 0.9)}),
        ("crop=(16,24)", {"crop": (16, 24)}),
        ("score=accuracy", {"score": "accuracy"}),
        ("precision=bf16", {"precision": "bf16"}),
    ],
)
def test_training_settings_of_a_row_are_its_own(word: str, train: dict[str, Any]) -> None:
    found = line(f"supervised train.{word}")
    assert found == ResolvedRow(Supervised(), {}, train)
    assert key(f"supervised train.{word}") != key("supervised")


REFUSED = {
    "S1 SZ": r"no switch or method \['SZ'\]; there are S1, .*, N2, three_stage, mean_teacher, one_way, dmt, pseudo_label, supervised,",
    "supervised CR": r"no switch or method \['CR'\]; there are three_stage, ",
    "mean_teachers": r"no switch or method \['mean_teachers'\]",
    "supervised dmt": "got the methods supervised, dmt; allowed: one of them",
    "S1 lambda=0.5": "no setting 'lambda' in ThreeStage; there are S1, S2, .*lambda1",
    "supervised weight=1": "no setting 'weight' in Supervised; there are objective",
    "supervised data.size=(8,8)": r"data.size: got \(8, 8\); allowed: another value for the whole study; a row changes data.labelled, data.unlabelled, data.stratify, data.trimap$",
    "supervised train.step=4": "no setting 'step' in Train; there are steps, ",
    "mean_teacher weight=much": "weight: got 'much'; allowed: float",
    "mean_teacher weight=true": "weight: got 'true'; allowed: float",
    "mean_teacher weight=": "weight: got ''; allowed: float",
    "pseudo_label rounds=1.5": "rounds: got '1.5'; allowed: int",
    "pseudo_label rounds=True": "rounds: got 'True'; allowed: int",
    "mean_teacher delayed=true": "delayed: got 'true'; allowed: delayed, shared, independent$",
    "one_way paper_compat=1": "paper_compat: got '1'; allowed: bool",
    "one_way direction=1w": "direction: got '1w'; allowed: 1w-ps, 1w-pt, 2w-p1, 1w-p2$",
    "one_way threshold=high": "threshold: got 'high'; allowed: float$",
    "one_way threshold=None": "threshold: got 'None'; allowed: float$",
    "one_way perturbation=cutmix*": r"perturbation: got 'cutmix\*'; allowed: gentle, randaugment, phtps, cutmix, cutout",
    "one_way perturbation=phtps+blur": r"perturbation: got 'phtps\+blur'; allowed: gentle, randaugment, phtps, cutmix, cutout, or several joined by \+",
    "one_way perturbation=cutmix direction=1w-p2": "method.perturbation: got 'CutMix'; allowed: one such as PhTPS or Cutout",
    "dmt phases=0.5": r"phases: got '0.5'; allowed: tuple\[float, \.\.\.\]$",
    "pseudo_label rise=(0,1,2)": r"rise: got '\(0,1,2\)'; allowed: tuple\[float, float\]",
    "pseudo_label rise=(0,'x')": "rise: got .*; allowed: ",
    "mean_teacher weight=-1": "method.weight: got -1; allowed: a number >= 0",
    "mean_teacher distance=mse target=hard": "method.distance: got 'mse'; allowed: ce or dice, as method.target is hard",
    "one_way teacher=mean direction=2w-p1": "method.teacher: got 'mean'; allowed: simple",
    "supervised data.labelled=0": r"data.labelled: got 0; allowed: a count >= 1, a share in \(0, 1\], where 1.0 is all and 1 is one image, or 'all'",
    "supervised data.labelled=2.5": "data.labelled: got 2.5; allowed: a count",
    "supervised data.labelled=some": "labelled: got 'some'; allowed: int or float or all or None$",
    "supervised data.labelled=True": "labelled: got 'True'; allowed: int or float or all or None$",
    "supervised train.steps=many": "steps: got 'many'; allowed: int",
    "mean_teacher weight=1 weight=1.0": r"weight: got \['1', '1.0'\]; allowed: one value$",
    "dmt train.steps=4 gamma1=2 train.steps=8": r"train.steps: got \['4', '8'\]; allowed: one value$",
    "supervised data.labelled=4 data.labelled=4 data.labelled=all": r"data.labelled: got \['4', '4', 'all'\]; allowed: one value$",
    "supervised train.steps=0": "train.steps: got 0; allowed: a whole number >= 1 in a row$",
    "supervised train.steps=-1": "train.steps: got -1; allowed: a whole number >= 0",
    "supervised train.crop=(4,4)": r"train.crop: got \(4, 4\); allowed: height and width of at least 8 pixels",
    "supervised train.crop=None": "train.crop: got None; allowed: height and width in a row",
    "supervised train.precision=auto": "train.precision: got 'auto'; allowed: fp32 or bf16 in a row",
    "supervised train.score=iou": "train.score: got 'iou'; allowed: miou, accuracy, ",
    "supervised train.optimiser=rmsprop": "optimiser: got 'rmsprop'; allowed: adam, sgd, adamw$",
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_a_word_cannot_be_is_refused_in_one_line_that_names_table_and_row(words: str) -> None:
    with pytest.raises(SettingError, match=f"^table row 'row': {REFUSED[words]}") as refused:
        line(words)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("words", "other"),
    [
        (f"{tiny.FULL} lambda1=0.25", tiny.FULL), (f"{tiny.FULL} ema.buffers=copy", tiny.FULL),
        ("mean_teacher delayed=shared", "mean_teacher"), ("mean_teacher delayed=independent", "mean_teacher delayed=shared"), ("mean_teacher ramp_unit=share ramp=(0.1,0.2)", "mean_teacher"),
        ("one_way threshold=0.5", "one_way"), ("one_way paper_compat=true", "one_way"),
        ("one_way perturbation=cutmix", "one_way"), ("one_way perturbation.hue=0.2", "one_way"), ("dmt phases=(1.0,)", "dmt"),
        ("pseudo_label rounds=2", "pseudo_label"), ("supervised objective=dice", "supervised"),
    ],
)  # fmt: skip
def test_another_value_is_another_stage(words: str, other: str) -> None:
    assert key(words) != key(other)


@pytest.mark.parametrize("word", ["threshold={}", "weight={}", "ema.decay=({},0.5) ema.start=(0,0.5)"])
def test_a_whole_number_and_its_float_are_one_stage(word: str) -> None:
    one, same = (key(f"one_way {word.format(text)}") for text in ("1", "1.0"))
    assert one == same


def test_the_default_written_out_is_the_same_stage() -> None:
    for words in ("pseudo_label rounds=1 weight=3 rise=(0.1,0.6) threshold=0", "supervised perturbation=None"):
        assert key(words) == key(words.split()[0])


@dataclass(frozen=True, kw_only=True)
class Kinds:
    """A field of every type that settings have."""

    text: str = ""
    pair: tuple[int, str] = (0, "")
    either: int | float | None = None
    words: tuple[str, ...] = ()


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("text", "a", "a"), ("text", "1", "1"), ("text", "'quoted'", "quoted"), ("text", "None", "None"), ("text", "a=b", "a=b"),
        ("pair", "(1,'x')", (1, "x")), ("either", "2", 2), ("either", "2.5", 2.5), ("either", "None", None), ("words", "()", ()),
        ("words", "('a','b')", ("a", "b")),
    ],
)  # fmt: skip
def test_a_value_is_read_as_its_field_is_declared(name: str, text: str, value: Any) -> None:
    found = read_value(Kinds, name, text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(("name", "text"), [("pair", "('x',1)"), ("pair", "(1,)"), ("words", "(1,)"), ("either", "x")])
def test_a_value_of_another_type_is_refused(name: str, text: str) -> None:
    with pytest.raises(SettingError, match=f"^{name}: got "):
        read_value(Kinds, name, text)


def test_rows_reach_into_the_parts_of_a_method() -> None:
    found = line("S1 S2 perturbation.ops=1 perturbation.levels=(2,3) ema.decay=(0.5,0.6,0.7,0.8)").method
    assert isinstance(found, ThreeStage)
    assert (found.perturbation, found.ema.decay) == (RandAugment(ops=1, levels=(2, 3)), (0.5, 0.6, 0.7, 0.8))
    with pytest.raises(SettingError, match=r"table row 'row': no setting 'gentle.noise' in ThreeStage; there are S1"):
        line("S1 gentle.noise=1")
    with pytest.raises(SettingError, match=r"no setting 'opps' in RandAugment; there are ops"):
        line("S1 perturbation.opps=1")
