"""One results folder on disk: `study.json` and the Parquet tables, written aside and renamed, read back and checked.

| file | one line per |
| --- | --- |
| `study.json` | study: what was asked, every resolved setting, how rows are scored, provenance (`semiseg.results.records`) |
| `stages.parquet` | stage: state, seconds, device, chosen step, teachers |
| `metrics.parquet` | number: stage, role, weights, split, class ("" = over all classes), metric; fractions in [0, 1], never
percent, and distances in the data's unit |
| `curves.parquet` | point of a training curve: stage, step, name such as `loss/total`, `selection/teacher/miou` or `epoch` |
| `pseudo.parquet` | number: how good targets of unlabelled images are that a stage learned: stage, the teacher stage that made them, role
and weights of its network, step, class, metric (`semiseg.quality`); the teacher is the stage itself where its own networks made them |
| `counts.parquet` | count: of the weights and images that are scored, by stage and role. Table "confusion": pixels by true class and
predicted class, none left out but zeros; "calibration" (where `ece` is asked for): pixels, right ones and summed confidence ("pixels", "right",
"confidence") by bin of confidence, from 0 |
| `rows.parquet` | link of a chain: table row x seed x position -> stage |
| `samples/` | `image_<i>.png`, `truth_<i>.png`, `<key>/prediction_<i>.png` (class ids; 255 = ignore), `<key>/seen_<i>.png` of final stages:
what the student sees of the image |

Roles are names of networks; a stage's `evaluated` says which of them the table scores.

Equal content gives equal bytes: lines are sorted by what identifies them, compression and format version are fixed, and no file
but study.json holds the time of writing. Imports neither torch nor ray, so that results can be read where neither is installed.
"""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from semiseg.results.files import write_bytes
from semiseg.results.records import StudyRecord, read_study, write_study
from semiseg.results.tables import LATER, SCHEMAS, read_table, write_table

__all__ = ["LATER", "SCHEMAS", "Results", "StudyRecord", "read", "read_study", "write_bytes", "write_study", "write_table"]


@dataclass(frozen=True)
class Results:
    """A results folder in memory; the tables have the schemas of `SCHEMAS`."""

    folder: Path
    study: StudyRecord
    stages: pa.Table
    metrics: pa.Table
    curves: pa.Table
    rows: pa.Table
    pseudo: pa.Table
    counts: pa.Table


def read(folder: Path) -> Results:
    """Read a results folder. Raises ValueError naming the file that is missing, unreadable or of another format."""
    folder = Path(folder)
    return Results(folder, read_study(folder), **{name: read_table(folder, name) for name in SCHEMAS})
