"""Seeds with which settings are chosen, apart from those that are reported: a stage with such a seed scores no test image."""

from dataclasses import replace

from semiseg.config import Data

RESERVED = range(1_000_000, 2_000_000)
"""Training seeds, and seeds of labelled subsets, that are no choice's to report."""
SEARCHED = RESERVED.start + len(RESERVED) // 2
"""The reserved seeds from here on judge the configurations of searches; those below are for `--development`."""
SCENES = "development"
"""Variant of a data set whose images are drawn: others, that are never reported."""


def is_development(seed: int) -> bool:
    """Whether a training seed is one with which settings are chosen."""
    return seed in RESERVED


def reserved(seed: int) -> int:
    """The reserved seed that stands for an ordinary one; a reserved one stands for itself."""
    return seed if is_development(seed) else RESERVED.start + seed


def searched(seed: int) -> int:
    """The reserved seed with which a search judges; a reserved one stands for itself."""
    return seed if is_development(seed) else SEARCHED + seed


def development_data(data: Data, variants: tuple[str, ...]) -> Data:
    """The same data with a labelled subset from the reserved range, and drawn images, where the set's `variants` say so, anew."""
    seed = data.split_seed if data.labelled_seed is None else data.labelled_seed
    scenes = (SCENES,) if SCENES in variants and SCENES not in data.variant else ()
    return replace(data, labelled_seed=reserved(seed), variant=(*data.variant, *scenes))


def reported_data(data: Data) -> Data:
    """What `development_data` was made of: what a chosen configuration is to be reported on."""
    if data.labelled_seed is None or not is_development(data.labelled_seed):
        return data
    seed = data.labelled_seed - RESERVED.start
    variant = tuple(name for name in data.variant if name != SCENES)
    return replace(data, labelled_seed=None if seed == data.split_seed else seed, variant=variant)
