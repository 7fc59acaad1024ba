"""Rows x seeds to distinct stages, the order in which they are trained, what a failure takes along, and how long it lasts."""

from collections.abc import Iterable
from dataclasses import replace
from io import StringIO

import pytest
import tiny
from rich.console import Console
from test_three_stage import ROWS

from semiseg.change import Change, Row, change
from semiseg.config import Data, SettingError, Train
from semiseg.methods import MeanTeacher, Supervised, ThreeStage
from semiseg.methods.three_stage import parts
from semiseg.stage import Stage
from semiseg.sweep.collect import row_lines
from semiseg.sweep.declaration import Ablation, Preset, chosen_rows
from semiseg.sweep.estimate import simulate
from semiseg.sweep.feed import PlanFeed, Queue
from semiseg.sweep.plan import Plan, make_plan


def plan(*, seeds: tuple[int, ...] = (0, 1, 2), done: Iterable[str] = (), rows: dict[str, str] | None = None) -> Plan:
    has = set(done).__contains__
    return make_plan(tiny.resolved(rows or ROWS), seeds, split=lambda line: tiny.SPLIT, net=tiny.NET, train=tiny.TRAIN, has=has)


def stage(name: str, *teachers: Stage, seed: int = 0) -> Stage:
    """A stage of its own key by its name's number, for graphs drawn by hand."""
    return Stage(
        name=name,
        number=ord(name),
        rule=Supervised(),
        split=tiny.SPLIT,
        net=tiny.NET,
        train=tiny.TRAIN,
        seed=seed,
        teachers=teachers,
    )


def by_hand(*chains: tuple[Stage, ...]) -> Plan:
    return Plan({(f"row {number}", 0): chain for number, chain in enumerate(chains)}, frozenset())


def test_the_table_of_the_paper_is_announced_in_one_line() -> None:
    assert str(plan()) == "7 rows x 3 seeds: 54 stages, 30 distinct, 0 done, 30 to train"
    first = plan(seeds=(0,))
    assert str(plan(done=first.stages)) == "7 rows x 3 seeds: 54 stages, 30 distinct, 10 done, 20 to train"
    assert str(plan(done=plan().stages)) == "7 rows x 3 seeds: 54 stages, 30 distinct, 30 done, 0 to train"


def test_counts_are_the_numbers_of_that_line() -> None:
    expected = {"rows": 7, "anchors": 0, "seeds": 3, "stages": 54, "distinct": 30, "done": 0, "to_train": 30}
    assert plan().counts() == expected


def test_what_other_studies_left_in_the_store_is_not_counted() -> None:
    assert plan(seeds=(0,), done=["of another study"]).counts()["done"] == 0


def test_every_stage_comes_after_its_teachers() -> None:
    for order in (list(plan().stages), [each.key for each in plan().to_train]):
        places = {key: place for place, key in enumerate(order)}
        assert all(places[t.key] < places[s.key] for s in plan().stages.values() for t in s.teachers)


def test_stages_with_the_longest_chain_behind_them_come_first() -> None:
    """s1 has two generations behind it, s2 and its variants one, s3 none; s1 of all seeds before s2 of any."""
    names = [each.name for each in plan().to_train]
    assert names[:3] == ["s1"] * 3
    assert {name[:2] for name in names[3:15]} == {"s2"}
    assert {name[:2] for name in names[15:]} == {"s3"}
    assert names[3:6] == ["s2"] * 3  # two stages learn from s2, one from each of its variants


def test_descendants_are_children_and_their_children() -> None:
    a = stage("a")
    b, c = stage("b", a), stage("c", a)
    d = stage("d", b)
    drawn = by_hand((a, b, d), (a, c))
    assert drawn.descendants(a.key) == {b.key, c.key, d.key}
    assert drawn.descendants(b.key) == {d.key}
    assert drawn.descendants(d.key) == set()


def test_a_label_is_the_first_row_that_needs_the_stage() -> None:
    found = plan()
    assert [found.label(each) for each in found.chains["full", 1]] == ["S1/seed 1/s1", "S1+S2/seed 1/s2", "full/seed 1/s3"]
    assert found.label(stage("x", seed=4)) == "seed 4/x"


def test_rows_are_written_with_every_stage_of_their_chain() -> None:
    lines = row_lines(plan(seeds=(5,)))
    assert len(lines) == 18
    assert [line["stage"] for line in lines if line["row"] == "no T2"] == ["s1", "s2-T2", "s3-T2"]
    assert sum(line["final"] for line in lines) == 7
    lengths = {"S1": 1, "S1+S2": 2}
    assert all(line["final"] == (line["position"] == lengths.get(line["row"], 3)) for line in lines)


def test_a_queue_gives_what_can_start_and_waits_for_the_rest() -> None:
    found = plan(seeds=(0,))
    queue = Queue(found.to_train, found.done)
    first, independent = queue.take(), queue.take()
    assert first is not None
    assert independent is not None
    assert (first.name, independent.name) == ("s1", "s2-T2")
    assert queue.take() is None
    assert not queue.exhausted
    queue.finish(independent.key)
    follower = queue.take()
    assert follower is not None
    assert follower.name == "s3-T2"
    queue.finish(first.key)
    assert [queue.take().name for _ in range(3)] == ["s2", "s2-CR", "s2-SA"]  # type: ignore[union-attr]
    assert queue.take() is None
    assert set(queue.running) == {follower.key, *(s.key for s in found.stages.values() if s.name in ("s2", "s2-CR", "s2-SA"))}


def test_teachers_in_the_store_are_not_waited_for() -> None:
    s1, s2, s3 = plan(seeds=(0,)).chains["full", 0]
    found = plan(seeds=(0,), rows={"full": ROWS["full"]}, done=[s1.key, s2.key])
    queue = Queue(found.to_train, found.done)
    taken = queue.take()
    assert taken is not None
    assert taken.key == s3.key
    assert queue.exhausted


def test_a_queue_that_is_always_served_trains_everything_once() -> None:
    found = plan()
    queue, order = Queue(found.to_train, found.done), []
    while (taken := queue.take()) is not None:
        assert all(teacher.key in queue.done for teacher in taken.teachers)
        order.append(taken.key)
        queue.finish(taken.key)
    assert sorted(order) == sorted(found.stages)
    assert queue.exhausted
    assert not queue.running


def test_a_failure_skips_its_descendants_and_nothing_else() -> None:
    found = plan(seeds=(0, 1))
    failed = found.chains["no CR", 0][1]
    queue = Queue(found.to_train, found.done)
    while (taken := queue.take()) is not None:
        if taken.key == failed.key:
            queue.fail(taken.key, "out of memory")
        else:
            queue.finish(taken.key)
    assert queue.failed == {failed.key: "out of memory"}
    assert queue.skipped == {found.chains["no CR", 0][2].key: "its teacher stage failed: out of memory"}
    assert len(queue.done) == 18
    assert queue.exhausted


def test_a_failed_first_stage_skips_all_generations_behind_it() -> None:
    found = plan(seeds=(0, 1))
    queue = Queue(found.to_train, found.done)
    first = queue.take()
    assert first is not None
    queue.fail(first.key, "boom")
    assert set(queue.skipped) == found.descendants(first.key)
    assert len(queue.skipped) == 7
    assert not set(queue.skipped) & set(queue.waiting)


def test_the_time_of_a_plan_is_that_of_its_schedule() -> None:
    """c waits for b; the longer chain starts first: b 0-3, c 3-7 beside a 0-5; one slot takes the sum; d in the store is free."""
    a, b = stage("a"), stage("b")
    c, d = stage("c", b), stage("d")
    drawn = by_hand((a,), (b, c), (d,))
    cost = {a.key: 5.0, b.key: 3.0, c.key: 4.0}
    drawn = replace(drawn, done=frozenset({d.key}))
    assert [simulate(drawn, cost, slots) for slots in (1, 2, 9)] == [12, 7, 7]


def test_equal_stages_fill_the_slots_and_a_chain_cannot_be_split() -> None:
    single = by_hand(*((stage(name),) for name in "abcde"))
    unit = dict.fromkeys(single.stages, 2.0)
    assert [simulate(single, unit, slots) for slots in (1, 2, 3, 5, 8)] == [10, 6, 4, 2, 2]
    table = plan(seeds=(0,))
    assert [simulate(table, dict.fromkeys(table.stages, 1.0), slots) for slots in (1, 99)] == [10, 3]
    assert simulate(plan(done=plan().stages), {}, 4) == 0


S1, FULL = Row(parts("S1")), Row(parts("S1", "S2", "S3", "CR", "T2", "SA", "N2"))


def ablation(**changes: object) -> Ablation:
    values = {
        "name": "table", "title": "T", "question": "Q?", "rows": {"S1": S1, "full": FULL}, "reference": "full",
        "baseline": "S1", "presets": {"demo": Preset()},
    }  # fmt: skip
    return Ablation(**(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (Row(parts("S1", "SZ")), "no setting 'SZ' in ThreeStage; there are S1, S2, "),  # type: ignore[arg-type]
        (Row(Change(ThreeStage, {"lambda1": "much"})), "lambda1: got 'much'; allowed: float$"),
        (Row(change(ThreeStage, lambda1=-1)), "method.lambda1: got -1; allowed: a number >= 0"),
        (Row(change(MeanTeacher)), "no method 'mean_teacher'; there are three_stage, supervised$"),
        (Row(parts("S3")), "switches: got 'S3'; allowed: S1 or S2 at least"),
        (Row(data=change(Data, size=(8, 8))), r"data.size: got \(8, 8\); allowed: .* a row changes data.labelled, data.unlabelled"),
        (Row(data=change(Data, labelled=0)), "data.labelled: got 0; allowed: a count"),
        (Row(train=change(Train, steps=0)), "train.steps: got 0; allowed: a whole number >= 1 in a row"),
        (Row(train=Change(Train, {"step": 7})), "no setting 'step' in Train; there are steps"),
    ],
)
def test_a_wrong_row_fails_where_the_table_is_declared(row: Row, said: str) -> None:
    with pytest.raises(SettingError, match=f"^table row 'oops': {said}"):
        ablation(rows={"full": FULL, "S1": S1, "oops": row})
    with pytest.raises(SettingError, match="^table row 'S1': "):
        ablation(presets={"demo": Preset(), "long": Preset(adds={"S1": row})})


def test_values_that_go_together_with_one_preset_alone_are_checked_with_each() -> None:
    soft, hard = (Preset(method=ThreeStage(target=target)) for target in ("soft", "hard"))
    rows = {"full": FULL, "S1": S1, "mse": Row(change(ThreeStage, distance="mse"))}
    assert ablation(rows=rows, presets={"demo": soft}).rows == rows
    with pytest.raises(SettingError, match="^table row 'mse': method.distance: got 'mse'; allowed: ce, as method.target is hard"):
        ablation(rows=rows, presets={"demo": soft, "other": hard})


def test_a_reference_or_baseline_that_is_no_row_is_refused() -> None:
    for name in ("reference", "baseline"):
        with pytest.raises(SettingError, match="table: no row 'all'; there are S1, full"):
            ablation(**{name: "all"})
    assert ablation(baseline=None).baseline is None


def test_rows_are_chosen_by_name_or_given_and_the_reference_is_always_there() -> None:
    table = ablation()

    def chosen(*rows: str) -> dict[str, Row]:
        return chosen_rows(table, Preset(rows=rows))

    assert chosen() == table.rows
    assert chosen("S1") == {"S1": S1, "full": FULL}
    assert chosen("full") == {"full": FULL}
    assert chosen("mine=S1  S2") == {"mine": Row(parts("S1", "S2")), "full": FULL}
    with pytest.raises(SettingError, match="rows: no row 'none'; there are S1, full, or NAME='WORD WORD ...' for a new one"):
        chosen("none")
    with pytest.raises(SettingError, match=r"table row 'mine': no switch or method \['SX'\]"):
        chosen("mine=S1 SX")
    with pytest.raises(SettingError, match="table row 'mine': switches: got 'S3'"):
        chosen("mine=S3")


def test_what_a_preset_adds_goes_to_the_row_of_that_name() -> None:
    preset = Preset(adds={"S1": Row(data=change(Data, labelled=3), train=change(Train, steps=7))})
    table = ablation(presets={"demo": Preset(), "long": preset})
    longer = Row(parts("S1"), change(Data, labelled=3), change(Train, steps=7))
    assert chosen_rows(table, preset) == {"S1": longer, "full": FULL}
    assert chosen_rows(table, replace(preset, rows=("S1",)))["S1"] == longer
    assert chosen_rows(table, replace(preset, rows=("full",))) == {"full": FULL}
    assert chosen_rows(table, replace(preset, rows=("mine=S1",))) == {"mine": S1, "full": FULL}
    with pytest.raises(SettingError, match="^table: no row 'oops'; there are S1, full"):
        ablation(presets={"demo": Preset(adds={"oops": S1})})


@pytest.mark.parametrize("count", [1_000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_thousands_of_stages_are_planned_fed_and_ended_one_by_one(count: int) -> None:
    """With an executor that does nothing."""
    chains = {}
    for number in range(count // 4):
        a = Stage(name="a", number=1, rule=Supervised(), split=tiny.SPLIT, net=tiny.NET, train=tiny.TRAIN, seed=number)
        b, c = (replace(a, name=name, number=place, teachers=(a,)) for name, place in (("b", 2), ("c", 3)))
        chains |= {("r", number): (a, b, replace(a, name="d", number=4, teachers=(b, c))), ("q", number): (a, c)}
    found = Plan(chains, frozenset())
    queue = Queue(found.to_train, found.done)
    rows: list[tuple[str, int]] = []
    feed = PlanFeed(found, queue, lambda row, seed: rows.append((row, seed)), Console(file=StringIO()))
    order = []
    while (taken := feed.take()) is not None:
        assert all(teacher.key in queue.done for teacher in taken.teachers)
        order.append(taken.name)
        feed.finish(taken.key)
    assert len(order) == len(queue.done) == count
    assert order[: count // 4] == ["a"] * (count // 4), "of a longer chain first"
    assert sorted(rows) == sorted(chains)
    assert found.label(chains["q", 7][1]) == "q/seed 7/c"


def test_teachers_of_teachers_are_visited_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty rounds in which both models learn from both: 2^40 ways lead back to the first ones."""
    hashed = []
    monkeypatch.setattr("semiseg.stage.hash_of", lambda settings: hashed.append(1) or f"{len(hashed):04d}")
    pair = (stage("a"), stage("b"))
    for number in range(40):
        pair = tuple(stage(chr(ord("c") + 2 * number + one), *pair) for one in (0, 1))
    found = by_hand((pair[0],), (pair[1],))
    assert len(found.stages) == len(hashed) == 82
    assert [each.number for each in found.to_train] == sorted(each.number for each in found.to_train)
