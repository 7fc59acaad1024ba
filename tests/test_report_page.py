"""The page: self-contained, complete, honest about gaps, drawn by a real browser; the script; and what an import pulls in."""

import html.parser
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_report_studies import PAPER, ROWS, make_study

import ablation_report
from semiseg.report import write_report
from semiseg.report.figures import FIGURES
from semiseg.results import SCHEMAS, write_table

ROOT = Path(__file__).parents[1]
ASKED = {"curve", "headroom", "confusion", "calibration", "shapley", "dumbbell", "interactions", "sources"}
"""Figures of studies that ask for them, have anchors, or have counted."""
SHOWN = [one.anchor for one in FIGURES if one.anchor not in ASKED]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return write_report(make_study(tmp_path_factory.mktemp("report")))


class Loads(html.parser.HTMLParser):
    """Collects every address that a browser would load, tag by tag, and the text of style elements."""

    def __init__(self, text):
        super().__init__()
        self.addresses, self.styles, self.inside = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.inside = tag
        wanted = [
            value
            for name, value in attrs
            if name in ("src", "srcset", "data", "poster", "action") or (name == "href" and tag != "a")
        ]
        self.addresses += wanted
        self.styles += [value for name, value in attrs if name == "style"]

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        if self.inside == "style":
            self.styles.append(data)


def outside(text):
    loads = Loads(text)
    styles = re.findall(r"url\([^)]*|@import[^;]*", " ".join(loads.styles))
    return [address for address in [*loads.addresses, *styles] if not address.startswith(("data:", "url(data:"))]


def test_the_page_loads_nothing_from_outside(page):
    text = page.read_text(encoding="utf-8")
    assert outside(text) == []
    assert "default-src 'none'" in text
    assert text.count("plotly.js v") == 1


def test_the_check_for_outside_addresses_can_fail():
    assert outside(
        '<script src="https://cdn/x.js"></script><style>a{background:url(http://x/y.png)}</style><img src="data:,">'
    ) == [
        "https://cdn/x.js",
        "url(http://x/y.png",
    ]


def test_the_page_shows_rows_paper_provenance_and_samples(page):
    text = page.read_text(encoding="utf-8")
    for words in [
        *ROWS,
        "−9.60 [−10.91, −8.29]",
        "46.91 (−7.94)",
        PAPER["title"],
        "abc1234",
        "9c2b",
        "5e1f",
        "train.batch_labelled",
    ]:
        assert f"{words}" in text, words
    assert "share their stage-1 run" in text
    assert "rows ask for 54, 30 are distinct" in text
    assert text.split('<section id="samples"')[1].split("<script>")[0].count('src="data:image/png') == 20
    assert "Partial study" not in text
    for anchor in re.findall(r'href="#(\w+)"', text):
        assert f'id="{anchor}"' in text


@pytest.mark.parametrize(("url", "said"), [(PAPER["url"], f" ({PAPER['url']})"), ("", "")])
def test_a_paper_without_an_address_has_no_empty_brackets(url, said, tmp_path):
    text = write_report(make_study(tmp_path, samples=False, paper=PAPER | {"url": url})).read_text(encoding="utf-8")
    assert f"Paper: {PAPER['title']}, {PAPER['table']}{said}; other data" in text


def test_figures_are_data_the_browser_can_parse(page):
    text = page.read_text(encoding="utf-8")
    for anchor in SHOWN:
        found = re.search(rf'<script type="application/json" id="data-{anchor}">(.*?)</script>', text)
        assert found, anchor
        assert json.loads(found[1])["data"], anchor


def test_a_partial_study_says_what_is_missing_and_why(tmp_path):
    states = {("s2-CR", 0): "failed", ("s3-CR", 0): "skipped", ("s3", 2): "waiting"}
    text = write_report(make_study(tmp_path, samples=False, states=states)).read_text(encoding="utf-8")
    assert "Partial study" in text
    assert "no CR/seed 0/s2-CR failed: loss &#x27;consistency&#x27; is NaN at step 17" in text
    assert "Not finished: full (seed 2)" in text
    assert "No sample images have been written yet." in text


def test_a_study_with_nothing_finished_says_so_for_every_figure(tmp_path):
    make_study(tmp_path, samples=False)
    for name in SCHEMAS:
        write_table(tmp_path, name, [])
    text = write_report(tmp_path).read_text(encoding="utf-8")
    assert "nothing can be compared yet" in text
    assert "data-plot=" not in text.split("<script>")[0]
    assert text.count('class="empty"') == len({*SHOWN} - {"variances"}) + 1  # without three seeds there are none


def test_words_from_the_study_cannot_become_markup(tmp_path):
    rows = {"</script><script>alert(1)//": "S1", "full": "S1 <b>"}
    study = make_study(
        tmp_path, rows=rows, baseline=None, paper=None, title="<img src=x>", classes=["a</script>"], palette=[[0, 0, 0]]
    )
    text = write_report(study).read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert outside(text) == []


def test_the_report_of_equal_results_is_equal(page, tmp_path):
    other = write_report(make_study(tmp_path / page.parent.name))
    assert other.read_bytes() == page.read_bytes()


def test_the_script_writes_the_files_and_prints_table_and_path(tmp_path, capsys):
    make_study(tmp_path, samples=False)
    assert ablation_report.main([str(tmp_path)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == str(tmp_path / "report.html")
    assert any(line.startswith("full ") and "60.60 ± 0.53 (n = 3)" in line for line in printed)
    assert all((tmp_path / f"table.{kind}").is_file() for kind in ("md", "tex", "csv"))
    assert all((tmp_path / f"numbers.{kind}").is_file() for kind in ("json", "parquet"))


def test_the_script_refuses_a_bad_folder_in_one_line(tmp_path, capsys):
    assert ablation_report.main([str(tmp_path)]) == 2
    caught = capsys.readouterr()
    assert caught.out == ""
    assert caught.err == f"{tmp_path}/study.json: cannot be read: no such file; expected a results folder with study.json\n"


BLOCK = "import sys\nfor name in ('torch', 'ray'): sys.modules[name] = None\n"
USE = "import pathlib\nfrom semiseg.report import write_report\nwrite_report(pathlib.Path(sys.argv[1]))\n"


def blocked(code, *arguments):
    """Run `code` in a fresh Python in which importing torch or ray fails."""
    return subprocess.run([sys.executable, "-c", BLOCK + code, *arguments], capture_output=True, text=True, check=False)


def test_a_report_is_written_without_torch_and_ray(tmp_path):
    ran = blocked(USE, str(make_study(tmp_path, samples=False)))
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "report.html").is_file()


@pytest.mark.parametrize("name", ["torch", "ray"])
def test_the_check_for_torch_and_ray_can_fail(name):
    ran = blocked(f"import {name}\n")
    assert ran.returncode == 1
    assert f"import of {name} halted" in ran.stderr


def test_the_terminals_table_does_not_import_plotly_or_pillow():
    code = "import sys\nfrom semiseg.report import text_table\nprint([name for name in ('plotly', 'PIL', 'scipy.stats') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


FLAGS = (
    "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update --disable-sync"
)


def browse(page: Path, profile: Path, *flags: str) -> tuple[str, str]:
    """Open a page in headless Chromium without a network; returns the drawn document and the console's lines."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on PATH")
    command = [
        chromium,
        *FLAGS.split(),
        "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={profile}",
        "--enable-logging=stderr",
    ]
    command += ["--v=0", "--window-size=1280,4000", "--virtual-time-budget=10000", *flags, "--dump-dom", page.as_uri()]
    environment = {**os.environ, "HOME": str(profile)}
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=environment)
    return ran.stdout, "\n".join(line for line in ran.stderr.splitlines() if "CONSOLE" in line)


def test_a_browser_without_network_draws_every_figure_and_logs_nothing(page, tmp_path):
    document, console = browse(page, tmp_path / "profile")
    assert console == ""
    holders = document.split("data-plot=")[1:]
    drawn = {holder.split('"')[1]: holder.count('class="main-svg"') for holder in holders if holder.startswith('"data-')}
    assert [anchor for anchor in SHOWN if drawn.get(f"data-{anchor}", 0) > 0] == SHOWN


def test_the_browser_check_sees_an_error(page, tmp_path):
    broken = tmp_path / "broken.html"
    broken.write_text(page.read_text(encoding="utf-8").replace("Plotly.react(", "Plotly.reakt("), encoding="utf-8")
    document, console = browse(broken, tmp_path / "profile")
    assert "reakt is not a function" in console
    assert 'class="main-svg"' not in document


def test_the_browser_refuses_what_a_page_would_load(page, tmp_path):
    """The content policy is the second guard: an address that slipped in is refused and logged, not fetched."""
    text = page.read_text(encoding="utf-8").replace("<header>", '<img src="http://127.0.0.1:9/x.png"><header>', 1)
    (tmp_path / "outside.html").write_text(text, encoding="utf-8")
    assert "Content Security Policy" in browse(tmp_path / "outside.html", tmp_path / "profile")[1]
