"""Figures as files for papers and slides: `figures/<section>.svg` or `.pdf`, drawn by kaleido, which drives a browser."""

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from semiseg.report.data import ReportData
from semiseg.report.figures import FIGURES
from semiseg.report.style import Drawn
from semiseg.results import write_bytes

FigureKind = Literal["svg", "pdf"]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
WIDTH = 900
"""Pixels of a figure, and of each of several that stand side by side on the page."""


def write_figures(folder: Path, data: ReportData, kind: FigureKind) -> str:
    """Write every figure of the page into `folder`/figures; where that cannot be done the line that says why, else ""."""
    if find_spec("kaleido") is None:
        return "report.figures: kaleido is not installed: pip install -e '.[figures]'"
    browser = next((path for path in map(shutil.which, BROWSERS) if path), None)
    if browser is None:
        return f"report.figures: no browser on PATH; kaleido draws with one of {', '.join(BROWSERS)}"
    drawn = {one.anchor: found for one in FIGURES if isinstance(found := one.draw(data), Drawn)}
    made = {
        one.anchor if len(found.figures) == 1 else f"{one.anchor}-{i}": figure
        for one in FIGURES
        if (found := drawn.get(one.anchor)) is not None
        for i, figure in enumerate(found.figures)
    }
    import kaleido  # starts a browser: not before one is wanted

    place = folder / "figures"
    place.mkdir(parents=True, exist_ok=True)
    try:
        kaleido.start_sync_server(path=browser, silence_warnings=True)
        try:
            for name, figure in made.items():
                layout: Any = figure.layout
                options = {"format": kind, "width": WIDTH, "height": layout.height}
                write_bytes(place / f"{name}.{kind}", kaleido.calc_fig_sync(figure, opts=options))
        finally:
            kaleido.stop_sync_server(silence_warnings=True)
    except Exception as error:  # noqa: BLE001  kaleido raises many kinds, and the page does not need it
        return f"report.figures: the browser {browser} failed: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return ""
