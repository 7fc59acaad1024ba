"""Words and JSON of settings: what is written is read back the same, for every method and for made-up families."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import FixedTrial

from semiseg import codec
from semiseg.annotations import fits, hints_of, kinds_of
from semiseg.change import Change, Row, change, with_values
from semiseg.codec import difference, from_json, read_row, to_json, write_row
from semiseg.config import Data, SettingError, Train
from semiseg.methods import METHODS, Method, name_of
from semiseg.methods.rule import OneStage
from semiseg.nets import NETS
from semiseg.search.space import first_points, named_space
from semiseg.stage import plain
from semiseg.sweep import arguments
from semiseg.sweep.arguments import parse
from semiseg.sweep.declaration import Ablation, Preset
from semiseg.sweep.rows import resolve_row

ALL: dict[str, Method] = {name: kind() for name, kind in METHODS.items()}
Fields = dict[str, Any]


def values_of(hint: Any) -> st.SearchStrategy[Any]:
    """Any value that an annotation takes, also such as no method would."""
    kinds: list[st.SearchStrategy[Any]] = []
    for kind in kinds_of(hint):
        if get_origin(kind) is Literal:
            kinds.append(st.sampled_from(get_args(kind)))
        elif get_origin(kind) is tuple:
            entry, *more = get_args(kind)
            kinds.append(
                st.lists(values_of(entry), max_size=3).map(tuple) if more == [...] else st.tuples(*map(values_of, get_args(kind)))
            )
        elif kind in (int, float, bool):
            kinds.append({int: st.integers(), float: st.floats(allow_nan=False, allow_infinity=False), bool: st.booleans()}[kind])
        elif kind is str:
            kinds.append(st.text(st.characters(codec="utf-8"), max_size=8))
        elif kind is type(None):
            kinds.append(st.none())
        elif kind is Path:
            kinds.append(st.sampled_from([Path("a/b"), Path("/c")]))
    return st.one_of(kinds)


def names_in(part: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Fields of settings and of their parts, by name, with their annotations."""
    for one in fields(part):
        value, hint = getattr(part, one.name), hints_of(type(part))[one.name]
        if is_dataclass(value):
            yield from names_in(value, f"{prefix}{one.name}.")
        else:
            yield prefix + one.name, hint


def some_of(part: Any, but: tuple[str, ...] = ()) -> st.SearchStrategy[Fields]:
    known = {name: values_of(hint) for name, hint in names_in(part) if name not in but}
    known = {name: values for name, values in known.items() if not values.is_empty}
    return st.fixed_dictionaries({}, optional=known)


@st.composite
def rows(draw: st.DrawFn) -> Row:
    """A row as words can say it, its values of the right type but perhaps out of range."""
    method = draw(st.sampled_from(list(ALL.values())))
    switches = {name: draw(st.booleans()) for name in method.SWITCHES}
    return Row(
        Change(type(method), switches | draw(some_of(method, method.SWITCHES))),
        Change(Data, draw(some_of(Data(), ("root", "labelled_list")))),
        Change(Train, draw(some_of(Train()))),
    )


@settings(deadline=None, max_examples=300)
@given(rows(), st.sampled_from(list(METHODS)))
def test_a_rows_words_mean_the_row(row: Row, first: str) -> None:
    methods = {first: ALL[first]} | ALL
    words = write_row(row, methods)
    assert read_row(words, methods) == row
    assert words == " ".join(words.split())


def untyped(value: Any) -> Any:
    """JSON values without the kinds, which keys call by class and files by registered name."""
    if isinstance(value, list):
        return list(map(untyped, value))
    return {name: untyped(one) for name, one in value.items() if name != "type"} if isinstance(value, dict) else value


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_settings_come_back_from_json(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from([Data, Train, *NETS.values(), *METHODS.values()]))
    made = kind()
    for name, value in data.draw(some_of(made)).items():
        try:
            made = with_values(made, {name: value})
        except SettingError:
            continue
    found = json.loads(json.dumps(to_json(made)))
    assert from_json(kind, found) == made
    assert untyped(found) == untyped(plain(made))
    if isinstance(made, Method):
        assert from_json(Method, {"type": name_of(made), **found}) == made


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_the_difference_of_two_methods_makes_one_of_the_other(data: st.DataObject) -> None:
    base = data.draw(st.sampled_from(list(ALL.values())))
    made = base
    for name, value in data.draw(some_of(base)).items():
        try:
            made = with_values(made, {name: value})
        except SettingError:
            continue
    found = difference(made, base)
    assert found.of(base) == made
    if made == base:
        assert found.values == {}


@pytest.mark.parametrize(
    ("words", "row"),
    [
        ("S1 S2", "S1 S2"),
        ("three_stage  S2 S1 lambda1=0.25", "S1 S2 lambda1=0.25"),
        ("data.labelled=all mean_teacher delayed=shared", "mean_teacher delayed=shared data.labelled=all"),
        ("dmt phases=(0.5,1.0) train.steps=4", "dmt phases=(0.5,1.0) train.steps=4"),
        ("dmt phases=(1.0,)", "dmt phases=(1.0,)"),
        ("dmt train.weak.flip=0 train.weak.either=0.5", "dmt train.weak.flip=0 train.weak.either=0.5"),
        ("one_way threshold=0.5 perturbation=cutmix+", "one_way threshold=0.5 perturbation=cutmix+"),
    ],
)
def test_words_have_one_spelling_and_the_presets_own_switches_need_no_name(words: str, row: str) -> None:
    methods = {"three_stage": ALL["three_stage"]} | ALL
    assert write_row(read_row(words, methods), methods) == row


@pytest.mark.parametrize("value", [float("inf"), float("nan"), True, "1"])
def test_what_is_no_finite_number_is_no_float(value: Any) -> None:
    assert not fits(value, float)
    assert fits(value, float | bool | str) == (not isinstance(value, float))


# ---- families


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A base of settings."""


@dataclass(frozen=True, kw_only=True)
class Disc(Shape):
    radius: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Box(Shape):
    sides: tuple[int, ...] = (1, 2)
    inner: Shape = field(default_factory=Disc)


@dataclass(frozen=True, kw_only=True)
class Many(Shape):
    shapes: tuple[Shape, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Draws(OneStage):
    shape: Shape = field(default_factory=Disc)
    second: Shape | None = None
    weight: float = 1.0

    def loss(self, state: Any, batch: Any, now: Any, generator: Any) -> Any:
        return {}


DRAWS = {"Draws": Draws(shape=Box())}
SHAPES = {"disc": Disc, "box": Box, "many": Many}


@pytest.fixture(autouse=True)
def family(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(codec.FAMILIES, Shape, SHAPES)


@pytest.mark.parametrize(
    ("words", "made"),
    [
        ("shape=disc", Draws()),
        ("shape.sides=(3,)", Draws(shape=Box(sides=(3,)))),
        ("shape=disc shape.radius=2.5", Draws(shape=Disc(radius=2.5))),
        ("shape.radius=2.5 shape=disc", Draws(shape=Disc(radius=2.5))),
        ("shape.inner=box shape.inner.sides=(4,)", Draws(shape=Box(inner=Box(sides=(4,))))),
        ("shape=disc+box", Draws(shape=Many(shapes=(Disc(), Box())))),
        ("shape=disc+", Draws(shape=Many(shapes=(Disc(),)))),
        ("shape=+", Draws(shape=Many())),
        ("shape=disc+box shape.shapes.0.radius=3.0", Draws(shape=Many(shapes=(Disc(radius=3.0), Box())))),
        ("second=disc weight=2.0", Draws(shape=Box(), second=Disc(), weight=2.0)),
        ("second=None", Draws(shape=Box())),
    ],
)
def test_a_field_of_a_family_takes_one_of_its_kinds_or_a_chain_and_its_parts_are_reached(words: str, made: Draws) -> None:
    row = read_row(words, DRAWS)
    assert resolve_row("t", "r", row, DRAWS).method == made
    again = write_row(Row(difference(made, DRAWS["Draws"])), DRAWS)
    assert resolve_row("t", "r", read_row(again, DRAWS), DRAWS).method == made
    assert from_json(Draws, json.loads(json.dumps(to_json(made)))) == made


def test_a_value_of_a_family_is_spelled_by_its_name_and_what_differs_from_its_defaults() -> None:
    row = Row(change(Draws, shape=Many(shapes=(Box(sides=(5,), inner=Disc(radius=2.0)), Disc()))))
    assert write_row(row, DRAWS) == "Draws shape=box+disc shape.shapes.0.sides=(5,) shape.shapes.0.inner.radius=2.0"
    assert to_json(Draws(second=Disc()))["second"] == {"type": "disc", "radius": 1.0}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("shape=ball", "shape: got 'ball'; allowed: disc, box, or several joined by .$"),
        ("shape=disc+ball", "shape: got 'disc.ball'; allowed: disc, box, or several joined by .$"),
        ("shape=", "shape: got ''; allowed: disc, box, or several joined by .$"),
        ("second=ball", "second: got 'ball'; allowed: disc, box, or several joined by . or None$"),
        ("shape=disc shape.sides=(1,)", "no setting 'sides' in Disc; there are radius$"),
        ("second.radius=1", "no setting 'second.radius' in Draws"),
        ("shape=disc+box shape.shapes.7.radius=1", "no setting "),
    ],
)
def test_what_a_family_does_not_have_is_refused(words: str, said: str) -> None:
    with pytest.raises(SettingError, match=f"^{said}"):
        read_row(words, DRAWS)


@pytest.mark.parametrize("value", [{"radius": 1.0}, {"type": "ball"}, 3, None])
def test_json_of_a_family_names_its_kind(value: Any) -> None:
    with pytest.raises(TypeError):
        from_json(Draws, {"shape": value})


def test_a_flag_that_names_a_kind_makes_its_fields_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arguments, "KIND_FLAGS", {"--method.shape": "method.shape"})
    table = Ablation(name="t", title="", question="", rows={"a": Row()}, reference="a", presets={"demo": Preset(method=Draws())})

    def method(*words: str) -> Method:
        return parse(table, words)[1].method

    assert method() == Draws()
    assert method("--method.shape.radius", "2") == Draws(shape=Disc(radius=2.0))
    assert method("--method.shape.sides", "4", "5", "--method.shape", "box") == Draws(shape=Box(sides=(4, 5)))
    with pytest.raises(SettingError, match="^shape: got 'ball'; allowed: disc, box, or several joined by .$"):
        method("--method.shape", "ball")
    plain_table = replace(table, presets={"demo": Preset(method=METHODS["dmt"]())})
    with pytest.raises(SettingError, match=r"^--method.shape: got 'box'; allowed: no such field in DMT$"):
        parse(plain_table, ["--method.shape", "box"])


def test_a_search_chooses_among_the_kinds_of_a_family() -> None:
    base = DRAWS["Draws"]
    space = named_space({"shape": ["disc", "box", "disc+box"], "weight": ["0", "2"]}, base)
    assert first_points(space, base) == [{"shape": "box", "weight": 1.0}]
    assert space.suggest(FixedTrial({"shape": "disc+box", "weight": 0.5}), base) == Draws(
        shape=Many(shapes=(Disc(), Box())), weight=0.5
    )
    assert first_points(space, Draws(shape=Box(sides=(9,)))) == []
    with pytest.raises(SettingError, match=r"^space.shape: got 'ball'; allowed: disc, box, or several joined by .$"):
        named_space({"shape": ["disc", "ball"]}, base)
