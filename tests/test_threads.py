"""How many threads a training takes, and that they are given back."""

from __future__ import annotations

import pytest
import torch

from rgan.config import changed, preset
from rgan.workflow.threads import threads, worth


@pytest.mark.parametrize(
    ("settings", "processes", "number"),
    [
        ({}, 1, 1),  # the default recipe
        ({"train.batch_size": 128}, 1, 2),
        ({"train.batch_size": 128}, 2, 1),  # each has half of the batch
        ({"generator.hidden": 256, "train.batch_size": 256}, 1, 8),  # no more than there are
        ({"generator.hidden": 16, "critic.hidden": 256, "train.batch_size": 12}, 1, 3),
        ({"train.threads": 3}, 1, 3),
    ],
)
def test_threads_follow_from_sizes(settings: dict[str, int], processes: int, number: int):
    assert worth(changed(preset("default"), settings), most=8, processes=processes) == number


def test_threads_are_given_back_after_an_error():
    before = torch.get_num_threads()
    with pytest.raises(ValueError, match="x"), threads(before + 1):
        assert torch.get_num_threads() == before + 1
        raise ValueError("x")
    assert torch.get_num_threads() == before
