"""Hard decisions against torch's argmax and one_hot."""

import pytest
import torch
import torch.nn.functional as F

from semiseg.batch import IGNORE
from semiseg.hard import likeliest, one_hot


@pytest.mark.parametrize("shape", [(3, 5, 7, 6), (2, 255, 4, 4), (4, 1, 3, 3), (6, 3), (2, 4, 1, 1)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_likeliest_class_is_the_first_of_the_highest(shape: tuple[int, ...], layout: torch.memory_format) -> None:
    values = torch.randint(0, 4, shape, generator=torch.Generator().manual_seed(0)).float()  # with many equal ones
    if len(shape) == 4:
        values = values.contiguous(memory_format=layout)
    found = likeliest(values)
    assert found.dtype == torch.int64
    assert found.tolist() == torch.from_numpy(values.numpy().argmax(1)).tolist()


def test_what_is_not_a_number_gets_a_class_all_the_same() -> None:
    assert likeliest(torch.tensor([[0.1, float("nan"), 0.3], [0.1, 0.7, 0.2]])).tolist() == [2, 1]


def test_one_hot_is_torchs_and_false_where_ignored() -> None:
    labels = torch.randint(0, 4, (2, 5, 6), generator=torch.Generator().manual_seed(0))
    assert one_hot(labels, 4).equal(F.one_hot(labels, 4).movedim(-1, 1).bool())
    labels[0, 0] = IGNORE
    assert not one_hot(labels, 4)[0, :, 0].any()
    assert one_hot(labels, 4).sum() == (labels != IGNORE).sum()
