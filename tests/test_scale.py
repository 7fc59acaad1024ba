"""A hundred one-step stages on a cluster of four nodes that all are this machine: how many processes train, and what is left."""

import pytest

from bench_sweep import bench


@pytest.mark.slow
def test_four_nodes_train_a_hundred_stages_in_four_processes() -> None:
    found = bench(100, 4)
    assert found["stages"] == 100
    assert found["processes"] == found["at a time"] == 4
