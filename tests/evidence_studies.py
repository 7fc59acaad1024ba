"""Two tiny studies as evidence, made up, and the place where they are run. Not a test module."""

import json
from pathlib import Path

from test_report_headroom import EVERY, FEW, Scores, around, made

from semiseg.store import Store
from semiseg.sweep.evidence import Evidence

HELPS: Scores = {
    "full": around(0.58),
    "no S2": around(0.57, -1.5, 0.0, 1.0),
    FEW: around(0.5, -0.4, 0.1, 0.3),
    EVERY: around(0.7, -0.2, 0.3, 0.1),
}
UNCLEAR: Scores = HELPS | {"full": around(0.51, -2.0, 0.3, 1.7)}
SCRIPT = """import os, shutil, sys
word = dict(zip(sys.argv[1::2], sys.argv[2::2]))
print("said", os.environ["OMP_NUM_THREADS"], *sys.argv[1:])
if "--dry-run" in sys.argv:
    sys.exit(0)
shutil.copytree(os.path.join(os.path.dirname(__file__), word["--from"]), word["--out"], dirs_exist_ok=True)
sys.exit(int(word.get("--status", 0)))
"""
STUDIES = {
    "helps": Evidence(
        claim="The whole method beats labels alone.",
        command="python sweeps/tiny.py --from helps --data.root PATH",
        data="pets",
        hours=0.5,
        printed="nobody2020, Table 1: 50 against 40 (+10)",
    ),
    "unclear": Evidence(
        claim="It does so with less.", command="python sweeps/tiny.py --from unclear", hours=1.25, printed="nothing"
    ),
}


def world(root: Path) -> Path:
    """A repository whose only sweep copies results that are there already, and a store with what its stages took."""
    (root / "sweeps").mkdir(parents=True)
    (root / "sweeps" / "tiny.py").write_text(SCRIPT)
    (root / "data" / "pets").mkdir(parents=True)
    store = Store(str(root / "store"), root / "mirror")
    for name, scores in (("helps", HELPS), ("unclear", UNCLEAR)):
        results = made(root / "sweeps" / name, scores, curve=None)
        (results.folder / "report.html").write_text("large")
        for key in results.stages["key"].to_pylist():
            if not store.has(key):
                store.publish(key, weights, {"cpu_seconds": 2.0})
    return root


def weights(folder: Path) -> None:
    (folder / "weights").write_text("w")


def seconds_in(folder: Path) -> float:
    return json.loads((folder / "kept.json").read_text())["cpu_seconds"]
