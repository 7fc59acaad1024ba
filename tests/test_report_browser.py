"""The page in a real browser: sorting, filtering, keyboard, narrow screens, dark colours, print; without network, without an error."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from test_report_counts import make_counted
from test_report_page import FLAGS, browse
from test_report_studies import SCORES

from semiseg.report import write_report

PROBE = """
const found = {};
const table = document.querySelector("#table table");
const rows = () => [...table.tBodies[0].rows].filter(one => !one.hidden).map(one => one.cells[0].textContent);
const heads = [...table.tHead.rows[0].cells];
const score = heads.find(one => one.textContent.includes("mIoU"));
found.before = rows();
for (const name of ["down", "up", "back"]) {
  score.querySelector("button").click();
  found[name] = [score.getAttribute("aria-sort"), rows()];
}
heads[0].querySelector("button").focus();
found.focus = document.activeElement.closest("th") === heads[0];
const field = document.querySelector("#table .filter input");
const type = words => { field.value = words; field.dispatchEvent(new Event("input")); };
type("no −7.3");
found.filtered = [rows(), document.querySelector("#table .filter [role=status]").textContent];
type("");
found.after = rows();
const dispatch = name => window.dispatchEvent(new Event(name));
const ink = () => getComputedStyle(document.body).color;
found.screen = ink();
dispatch("beforeprint");
found.print = [ink(), [...document.querySelectorAll("details")].every(one => one.open)];
dispatch("afterprint");
found.closed = [...document.querySelectorAll("details")].every(one => !one.open);
found.menu = getComputedStyle(document.querySelector("nav button")).display;
const shown = () => getComputedStyle(document.getElementById("sections")).display !== "none";
found.sections = [shown()];
document.querySelector("nav button").click();
found.sections.push(shown());
document.querySelector("nav a").click();
found.sections.push(shown());
window.setTimeout(() => {
  found.width = [document.documentElement.scrollWidth, window.innerWidth, document.querySelector("nav").scrollWidth];
  found.plots = [...document.querySelectorAll("[data-plot]")].map(one => [one.dataset.plot, one.querySelector(".main-svg").clientWidth - one.clientWidth]);
  window.parent.postMessage(JSON.stringify(found), "*");
}, 3000);
"""
FRAME = """<!DOCTYPE html><body style="margin: 0"><iframe src="{page}" style="width: {width}px; height: 3900px; border: none"></iframe>
<pre id="found"></pre><script>onmessage = event => {{ document.getElementById("found").textContent = event.data; }};</script></body>"""
# Chromium's own window is never narrower than 500 pixels.
DARK = ("--force-dark-mode", "--blink-settings=preferredColorScheme=0")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = write_report(make_counted(tmp_path_factory.mktemp("browser")))
    text = path.read_text(encoding="utf-8").replace("</body>", f"<script>{PROBE}</script></body>")
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module", params=[(1280, ()), (390, DARK)], ids=["1280 light", "390 dark"])
def seen(request, page, tmp_path_factory):
    (width, flags), folder = request.param, tmp_path_factory.mktemp("frame")
    (folder / "frame.html").write_text(FRAME.format(page=page.as_uri(), width=width), encoding="utf-8")
    document, console = browse(folder / "frame.html", folder / "profile", *flags)
    assert console == ""
    found = re.search(r'<pre id="found">(.+?)</pre>', document)
    assert found, "the probe did not end"
    return {"asked": width, **json.loads(html.unescape(found[1]))}


def test_heads_sort_down_up_and_back(seen):
    order = sorted(SCORES, key=lambda row: sum(SCORES[row]))
    assert seen["before"] == list(SCORES)
    assert seen["down"] == ["descending", order[::-1]]
    assert seen["up"] == ["ascending", order]
    assert seen["back"] == ["none", list(SCORES)]
    assert seen["focus"]


def test_a_field_shows_rows_that_have_all_words(seen):
    rows, said = seen["filtered"]
    assert set(rows) < {row for row in SCORES if row.startswith("no")}
    assert said == f"{len(rows)} of {len(SCORES)} rows"
    assert seen["after"] == list(SCORES)


def test_nothing_makes_the_page_scroll_sideways(seen):
    content, window, nav = seen["width"]
    assert window == seen["asked"]
    assert content <= window
    assert nav <= window
    assert {name: more for name, more in seen["plots"] if more > 1} == {}


def test_a_narrow_screen_has_a_menu(seen):
    narrow = seen["asked"] < 640
    assert (seen["menu"] == "none") == (not narrow)
    assert seen["sections"] == ([False, True, False] if narrow else [True, True, True])


def test_a_print_is_light_and_has_everything_open(seen):
    light = "rgb(29, 36, 51)"
    assert (seen["screen"] == light) == (seen["asked"] == 1280)
    assert seen["print"] == [light, True]
    assert seen["closed"]


def test_a_print_has_no_navigation_and_several_pages(page, tmp_path):
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on PATH")
    pdf: Path = tmp_path / "page.pdf"
    words = [*FLAGS.split(), f"--user-data-dir={tmp_path / 'profile'}", f"--print-to-pdf={pdf}", "--virtual-time-budget=10000"]
    subprocess.run([chromium, *words, page.as_uri()], check=False, capture_output=True, timeout=120)
    assert len(re.findall(rb"/Type\s*/Page\b", pdf.read_bytes())) > 2
