"""Weights that wait in the host's memory: as they were, in few blocks, and copied once.

Without a GPU all weights count as away, and the blocks are not pinned.
"""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from imagemill.models.loading.memory import pinned
from imagemill.models.loading.memory.pinned import bytes_to_copy, forget_copies, to_host

KiB = 1024


@pytest.fixture
def allocated(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the blocks."""
    sizes: list[int] = []

    def allocate(size: int) -> torch.Tensor:
        sizes.append(size)
        return torch.full((size,), 255, dtype=torch.uint8)

    monkeypatch.setattr(pinned, "to_host", partial(to_host, allocate=allocate, is_away=lambda weight: True))
    monkeypatch.setattr(pinned, "_is_away", lambda weight: True)
    return sizes


def make_part() -> nn.Module:
    part = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Linear(7, 11).to(torch.bfloat16), nn.BatchNorm1d(4), nn.Linear(7, 11))
    part[0].to(memory_format=torch.channels_last)
    # Tied, as a language model's first and last layer are.
    part[3].weight = part[1].weight
    return part.eval()


def to_device(part: nn.Module) -> None:
    for weight in part.parameters():
        weight.data = weight.data.clone()


def test_weights_keep_values_strides_dtypes_and_ties(allocated: list[int]):
    part = make_part()
    before = {name: (value.clone(), value.stride()) for name, value in part.state_dict().items()}
    pinned.to_host(part)
    for name, value in part.state_dict().items():
        assert torch.equal(value, before[name][0])
        assert (value.dtype, value.stride()) == (before[name][0].dtype, before[name][1])
    assert part[3].weight is part[1].weight
    assert len(allocated) == 1


def test_a_weight_that_leaves_again_is_not_copied_again(allocated: list[int]):
    part = make_part()
    assert bytes_to_copy([part]) == sum(weight.nbytes for weight in part.parameters())
    pinned.to_host(part)
    places = [weight.data_ptr() for weight in part.parameters()]
    to_device(part)
    assert [weight.data_ptr() for weight in part.parameters()] != places
    assert bytes_to_copy([part]) == 0
    with torch.inference_mode():
        pinned.to_host(part)
    assert [weight.data_ptr() for weight in part.parameters()] == places
    assert len(allocated) == 1


def test_a_weight_whose_memory_format_changed_is_copied_again(allocated: list[int]):
    part = nn.Conv2d(3, 5, 3)
    pinned.to_host(part)
    part.to(memory_format=torch.channels_last)
    strides = part.weight.stride()
    pinned.to_host(part)
    assert part.weight.stride() == strides
    assert len(allocated) == 2


def test_a_model_that_was_offloaded_within_a_call_still_computes_outside_of_one(allocated: list[int]):
    part = make_part()[1]
    given = torch.ones(2, 7, dtype=torch.bfloat16)
    expected = part(given)
    with torch.inference_mode():
        pinned.to_host(part)
        to_device(part)
        pinned.to_host(part)
    assert torch.equal(part(given), expected)


def test_weights_share_blocks_up_to_their_size(allocated: list[int], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pinned, "BLOCK_BYTES", 4 * KiB)
    part = nn.ParameterList([torch.zeros(KiB // 4) for _ in range(5)] + [torch.zeros(2 * KiB)])
    pinned.to_host(part)
    assert allocated == [4 * KiB, KiB, 8 * KiB]


def test_memory_that_cannot_be_pinned_is_replaced_by_the_hosts_usual_memory():
    def refuse(size: int) -> torch.Tensor:
        raise RuntimeError("CUDA error: out of memory")

    part = make_part()
    values = [weight.clone() for weight in part.parameters()]
    to_host(part, allocate=refuse, is_away=lambda weight: True)
    assert all(map(torch.equal, part.parameters(), values))


def test_copies_of_weights_on_the_device_are_freed_when_the_host_is_short(allocated: list[int]):
    part = make_part()
    pinned.to_host(part)
    size = sum(weight.nbytes for weight in part.parameters())
    assert forget_copies([part]) == size
    assert forget_copies([part]) == 0
    assert bytes_to_copy([part]) == size
