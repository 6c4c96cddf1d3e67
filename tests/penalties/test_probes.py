"""Rademacher probes."""

from __future__ import annotations

import pytest
import torch

from directions.penalty import rademacher


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_rademacher_has_entries_of_one(dtype):
    """Every entry is exactly +1 or −1, in the type asked for."""
    probes = rademacher((3, 4, 5), rng(0), dtype=dtype)
    assert probes.shape == (3, 4, 5)
    assert probes.dtype == dtype
    assert set(probes.float().unique().tolist()) == {-1.0, 1.0}


def test_rademacher_signs_are_even_and_independent():
    """Means and products of different coordinates average to zero."""
    probes = rademacher((20_000, 6), rng(1), dtype=torch.float64)
    assert probes.mean(dim=0).abs().max() < 0.03
    torch.testing.assert_close(probes.mT @ probes / 20_000, torch.eye(6, dtype=torch.float64), rtol=0, atol=0.03)


def test_rademacher_is_determined_by_the_rng():
    """The same seed gives the same signs in every type; the default is torch's float type."""
    assert torch.equal(rademacher((5, 5), rng(3)), rademacher((5, 5), rng(3), dtype=torch.float64).float())
    assert not torch.equal(rademacher((5, 5), rng(3)), rademacher((5, 5), rng(4)))
    assert rademacher((2,), rng(0)).dtype == torch.get_default_dtype()
