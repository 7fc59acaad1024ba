"""Generated tables say what docs/evidence holds: every score, difference, interval and share is computed anew and compared."""

import re
import shutil
from functools import lru_cache
from pathlib import Path

import pytest
from evidence_studies import STUDIES, world
from evidence_truth import (
    DELTA,
    LOSES,
    NUMBER,
    cells_of,
    scores_of,
    wrong_claim,
    wrong_course,
    wrong_lost,
    wrong_metrics,
    wrong_pseudo,
    wrong_rows,
    wrong_words,
)

import evidence
import measured
from semiseg.report import write_report
from semiseg.results import read
from semiseg.sweep.evidence import EVIDENCE, KEPT, Evidence

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "evidence"
KEPT_STUDIES = sorted(path.parent.name for path in FOLDER.glob(f"*/{KEPT}"))
PAGES = {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in measured.pages(ROOT)}
METRICS = re.compile(r"\nAll metrics(?: per image| per volume)?, ")
CHANCES = re.compile(r"two-sided p (is|=) [\d.e-]+|p < 0\.05|level 0\.05(/\d+)?")
"""Probabilities in the notes below tables, which are no scores."""
MARKED = "<!-- evidence {} -->\n<!-- /evidence -->\n"


@lru_cache
def everything() -> dict[str, measured.Kept]:
    """All declared studies, read once."""
    return measured.all_kept(FOLDER, dict(EVIDENCE))


def blocks(text: str) -> list[tuple[str, str, str]]:
    return [(one["name"], one["kind"], one["body"]) for one in measured.BLOCK.finditer(text)]


def wrong(name: str, kind: str, body: str, folder: Path, studies: dict[str, Evidence]) -> list[str]:
    """What a block says that the folder of kept numbers does not hold."""
    if name == measured.EVERY:
        found = []
        for line in cells_of(body) if kind == "verdicts" else []:
            if line["row"] != "-":
                found += wrong_claim(folder / line["study"].strip("`"), line)
        return found
    if not (folder / name / KEPT).is_file():
        return NUMBER.findall(body.replace(studies[name].command, ""))
    if kind == "course":
        return wrong_course(folder / name, body)
    if kind == "pseudo":
        return wrong_pseudo(folder / name, body)
    study = read(folder / name).study
    paper = study.paper
    took = re.findall(r"[\d.]+ CPU hours of [\d.]+", body)
    stated = f"{studies[name].printed} {paper.rows if paper else ''} {paper.spreads if paper else ''} {took}"
    stated += " ".join(study.rows.values()) if kind == "printed" else ""  # settings have columns there
    body, *metrics = METRICS.split(CHANCES.sub("", body), maxsplit=1)
    text = body if kind == "printed" else "\n".join(line for line in body.splitlines() if not line.startswith("|"))
    found = (wrong_rows(folder / name, body) if kind == "rows" else []) + wrong_lost(folder / name, text)
    found += wrong_words(folder / name, LOSES.sub("", text), stated)
    return found + [wrongly for text in metrics for wrongly in wrong_metrics(folder / name, text)]


@pytest.mark.parametrize("name", PAGES)
def test_pages_are_those_that_the_kept_numbers_give(name: str) -> None:
    assert measured.written(PAGES[name], everything()) == PAGES[name], "run python analysis/measured.py"


@pytest.mark.parametrize("name", PAGES)
def test_every_number_of_a_generated_table_is_in_the_kept_numbers(name: str) -> None:
    assert [wrong(*block, FOLDER, dict(EVIDENCE)) for block in blocks(PAGES[name])] == [[] for _ in blocks(PAGES[name])]


def test_readme_and_measured_have_generated_tables() -> None:
    assert {"README.md", "docs/measured.md"} <= set(PAGES)
    shown = {name for name, kind, _ in blocks(PAGES["docs/measured.md"]) if kind == "rows"}
    assert shown == set(EVIDENCE)


def test_the_readme_prints_no_score_of_its_own() -> None:
    outside = measured.BLOCK.sub("", PAGES["README.md"])
    assert re.findall(r"\d+\.\d\d ± \d", outside) + DELTA.findall(outside) == []


def test_selection_scores_in_sections_on_settings_stand_in_the_tables_that_they_link() -> None:
    sections = [one for one in re.split(r"^## ", PAGES["docs/measured.md"], flags=re.MULTILINE) if one.startswith("Settings of ")]
    assert len(sections) >= 2
    for section in sections:
        tables = [(ROOT / "docs" / file).read_text() for file in re.findall(r"\]\((evidence/settings_[^)]+\.md)\)", section)]
        found = {(line["mean"], line["sd"]) for text in tables for line in cells_of(text)}
        said = re.findall(r"(?<![\w.+-])(\d+\.\d\d) ± (\d+\.\d\d)", section)  # with a sign: a difference
        assert said, section
        assert [pair for pair in said if pair not in found] == []


@pytest.mark.parametrize("name", KEPT_STUDIES)
def test_a_kept_study_is_declared_small_and_renders(name: str, tmp_path: Path) -> None:
    study = read(FOLDER / name).study
    assert study.provenance.command == EVIDENCE[name].command
    assert not re.search(r'"/(?:work|home|root|tmp)/', (FOLDER / name / "study.json").read_text())
    assert {path.suffix for path in (FOLDER / name).iterdir()} == {".json", ".parquet"}
    page = write_report(Path(shutil.copytree(FOLDER / name, tmp_path / name)))
    assert study.question in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", measured.KINDS)
@pytest.mark.parametrize("name", KEPT_STUDIES)
def test_every_table_of_a_kept_study_is_in_its_numbers(name: str, kind: str) -> None:
    body = measured.made(name, kind, everything())
    assert wrong(name, kind, body, FOLDER, dict(EVIDENCE)) == []
    if kind in ("course", "pseudo") and (number := NUMBER.search(body)):
        assert wrong(name, kind, f"{body[: number.start()]}0.01{body[number.end() :]}", FOLDER, dict(EVIDENCE))
    if kind in ("rows", "printed") and (lost := LOSES.search(body)):
        assert wrong(name, kind, body.replace(lost[0], ""), FOLDER, dict(EVIDENCE))
        assert wrong(name, kind, body.replace(f"{lost[0]}", lost[0].replace(" %)", "1 %)")), FOLDER, dict(EVIDENCE))
    if kind == "printed" and METRICS.search(body):
        last = list(re.finditer(r"\d+\.\d\d \(", body))[-1].start()  # of the last row, which is no paper's
        assert wrong(name, kind, f"{body[:last]}9{body[last:]}", FOLDER, dict(EVIDENCE))


def test_all_that_is_kept_is_small() -> None:
    assert sum(file.stat().st_size for file in FOLDER.rglob("*") if file.is_file()) <= evidence.MOST_MIB * 2**20


# ---- the machinery, on made-up studies


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """docs/evidence of a repository with two kept studies."""
    monkeypatch.setattr(evidence, "ROOT", world(tmp_path))
    monkeypatch.setattr(evidence, "EVIDENCE", STUDIES)
    monkeypatch.setattr(measured, "ROOT", tmp_path)
    monkeypatch.setattr(measured, "EVIDENCE", STUDIES)
    place = {"--out": "out", "--store": "store", "--cache": "cache", "--kept": "docs/evidence", "--data": "data"}
    assert evidence.main(["--run", "--keep", *(word for flag, at in place.items() for word in (flag, str(tmp_path / at)))]) == 0
    return tmp_path / "docs" / "evidence"


def page_of(folder: Path, *marks: str) -> str:
    (folder.parents[1] / "README.md").write_text("by hand\n" + "between\n".join(MARKED.format(mark) for mark in marks) + "after\n")
    assert measured.main([]) == 0
    return (folder.parents[1] / "README.md").read_text()


def test_a_page_has_claim_command_cost_verdicts_and_the_papers_number(folder: Path) -> None:
    page = page_of(folder, "helps rows", "all verdicts")
    few, (gain, low, high) = "labels only: 900 x 4", ("+8.00", "+7.57", "+8.43")
    assert page.startswith("by hand\n<!-- evidence helps rows -->\n\n**Claim.** The whole method beats labels alone.\n")
    assert page.endswith("<!-- /evidence -->\nafter\n")
    assert f"| full | 58.00 ± 0.50 | 3 | {few} | {gain} [{low}, {high}] |" in page
    assert "python sweeps/tiny.py --from helps --data.root PATH\n" in page
    assert (
        "0.01 CPU hours of 0.5 planned, 12 stages, cpu; revision abc1234. Paper: nobody2020, Table 1: 50 against 40 (+10)." in page
    )
    assert f"| `helps` | full | {few} | {gain} [{low}, {high}] | 40 % [37, 43] | 3 | 0.01 | helps |" in page
    assert "| undecided, about" in next(line for line in page.splitlines() if line.startswith("| `unclear` | full"))


def test_the_same_again_changes_nothing_and_a_check_says_what_would_change(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = page_of(folder, "helps rows", "unclear printed", "all costs")
    assert measured.main(["--check"]) == 0
    readme = folder.parents[1] / "README.md"
    readme.write_text(page.replace("58.00", "59.00"))
    capsys.readouterr()
    assert measured.main(["--check"]) == 1
    assert capsys.readouterr().out == f"{readme}: would change\n"
    assert measured.main([]) == 0
    assert readme.read_text() == page


def test_every_number_that_is_changed_by_hand_is_found(folder: Path) -> None:
    page = page_of(folder, "helps rows", "unclear rows", "helps printed", "all verdicts")
    assert [wrong(*block, folder, STUDIES) for block in blocks(page)] == [[], [], [], []]
    for name, kind, said in blocks(page):
        body = CHANCES.sub("", said)
        numbers = [
            one
            for one in NUMBER.finditer(body)
            if not body[one.end() :].startswith((" CPU hours", " planned", " | helps", " | undecided"))
        ]
        assert len(numbers) >= 6
        for one in numbers:
            changed = f"{body[: one.start()]}{one[0][:-2]}{(int(one[0][-2:]) + 13) % 100:02d}{body[one.end() :]}"
            assert wrong(name, kind, changed, folder, STUDIES), (name, kind, one)


def test_a_line_that_is_left_out_is_found(folder: Path) -> None:
    ((_, _, body),) = blocks(page_of(folder, "helps rows"))
    fewer = "".join(line for line in body.splitlines(keepends=True) if not line.startswith("| no S2"))
    assert wrong("helps", "rows", fewer, folder, STUDIES) == ["3 lines, not 4"]


def test_a_study_that_was_not_run_is_said_to_be_planned(folder: Path) -> None:
    shutil.rmtree(folder / "unclear")
    page = page_of(folder, "unclear rows", "all verdicts", "all costs")
    assert "Not run yet: 1.25 CPU hours are planned.\n" in page
    assert "| `unclear` | - | - | - | - | - | - | not run yet | nothing |" in page
    assert "| all |  | 1.75 | 0.01 |  |" in page


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "<!-- evidence helps nothing -->\n<!-- /evidence -->",
            "marks: got helps nothing; allowed: all verdicts|costs, or one of helps",
        ),
        ("<!-- evidence nobody rows -->\n<!-- /evidence -->", "marks: got nobody rows"),
        ("<!-- evidence helps rows -->\n", "marks: got one without its end"),
        ("<!-- evidence helps rows -->\n<!-- evidence helps rows -->\n<!-- /evidence -->", "marks: got one without its end"),
    ],
)
def test_marks_that_mean_nothing_are_refused_in_one_line(
    folder: Path, text: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder.parents[1] / "README.md").write_text(text)
    assert measured.main([]) == 2
    assert said in capsys.readouterr().err


def test_numbers_that_nothing_declares_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(folder / "helps", folder / "stray")
    assert measured.main([]) == 2
    assert "got stray; allowed: the declared studies helps, unclear" in capsys.readouterr().err


def test_the_truth_is_that_of_the_made_up_scores(folder: Path) -> None:
    assert scores_of(folder / "helps")["full"] == pytest.approx({0: 57.5, 1: 58.0, 2: 58.5})
