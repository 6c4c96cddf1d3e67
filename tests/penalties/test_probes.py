"""Rademacher probes."""

from __future__ import annotations

import pytest
import torch

from directions.penalty import rademacher


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_rademacher_has_entries_of_one(dtype):
    """Every entry is exactly +1 or −1, in the type asked for, and decided by the seed alone."""
    probes = rademacher((3, 4, 5), torch.Generator().manual_seed(0), dtype=dtype)
    assert torch.equal(probes.float(), rademacher((3, 4, 5), torch.Generator().manual_seed(0)))
    assert probes.shape == (3, 4, 5)
    assert probes.dtype == dtype
    assert set(probes.float().unique().tolist()) == {-1.0, 1.0}


def test_rademacher_signs_are_even_and_independent():
    """Means and products of different coordinates average to zero."""
    probes = rademacher((20_000, 6), torch.Generator().manual_seed(1), dtype=torch.float64)
    assert probes.mean(dim=0).abs().max() < 0.03
    torch.testing.assert_close(probes.mT @ probes / 20_000, torch.eye(6, dtype=torch.float64), rtol=0, atol=0.03)
