"""Which settings of three-stage self-training (ke2020) are best on my data within this budget?

Searches lambda1 and lambda2, the teacher's EMA decay, the strength of the augmentation and the target of the consistency term;
stage 1 is trained once for all. The paper's values (or the preset's, where it departs from them) are the first point. At the end
the best configuration and that default are scored on test with all seeds. Searching is in `results/search_three_stage`, best.json
there is read by `--config` of any sweep of the method. On the built-in scenes an estimated 20 minutes on 2 CPU cores.

    python sweeps/search_three_stage.py
    python sweeps/search_three_stage.py --trials 48 --preset small --data.name camvid --data.root PATH
    python sweeps/search_three_stage.py --space.lambda1 0.05 2.0 --space.log lambda1 --space.tie lambda1 lambda2
"""

import sys

from semiseg.search.command import main
from semiseg.search.declaration import Search
from semiseg.sweep.presets import THREE_STAGE

SEARCH = Search(
    name="search_three_stage",
    title="Three-stage self-training",
    question="Which settings of three-stage self-training (Ke et al. 2020) are best?",
    presets=THREE_STAGE,
)

if __name__ == "__main__":
    sys.exit(main(SEARCH))
