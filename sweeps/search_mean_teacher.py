"""Which settings of the mean teacher (pets_mean_teacher and perone2018) are best on my data within this budget?

Searches the consistency weight, target and distance, the length of its ramp-up, the teacher's EMA decay and whether it is updated
each step or each epoch. The preset's values are the first point. At the end the best configuration and that default are scored on
test with all seeds. Searching is in `results/search_mean_teacher`, best.json there is read by `--config` of any sweep of the
method. On the built-in scenes an estimated 15 minutes on 2 CPU cores.

    python sweeps/search_mean_teacher.py
    python sweeps/search_mean_teacher.py --preset pets --data.root PATH
    python sweeps/search_mean_teacher.py --preset acdc --data.root PATH
    python sweeps/search_mean_teacher.py --space.weight 0.1 10 --space.ema-decay 0.9 0.999 --space.log weight
"""

import sys

from semiseg.change import change, within
from semiseg.ema import Ema
from semiseg.methods import MeanTeacher
from semiseg.search.command import main
from semiseg.search.declaration import Search
from semiseg.sweep.declaration import Quick
from semiseg.sweep.few_labels import TEACHER_ACDC
from semiseg.sweep.presets import MEAN_TEACHER

SEARCH = Search(
    name="search_mean_teacher",
    title="Mean teacher",
    question="Which settings of the mean teacher (pets_mean_teacher and perone2018) are best?",
    presets=MEAN_TEACHER | {"acdc": TEACHER_ACDC},
    quick=Quick(methods=(within(MeanTeacher, "ema", change(Ema, every="step")),), seeds=1),  # a stage is shorter than an epoch
)

if __name__ == "__main__":
    sys.exit(main(SEARCH))
