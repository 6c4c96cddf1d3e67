"""Half-vectors keep everything, products included."""

from __future__ import annotations

import pytest
import torch

from directions.joint.symmetric import half_size, half_vectors, symmetric_matrices


def symmetric(*shape: int, seed: int = 0) -> torch.Tensor:
    H = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (H + H.mT) / 2


@pytest.mark.parametrize("n", [1, 2, 5])
def test_half_vectors_are_undone(n):
    """Nothing is lost, for any leading axes."""
    H = symmetric(2, 3, n, n)
    assert half_vectors(H).shape == (2, 3, half_size(n))
    torch.testing.assert_close(symmetric_matrices(half_vectors(H)), H)


def test_half_vectors_keep_products():
    """The product of two vectors is tr(HK), of one with itself the squared Frobenius norm."""
    H, K = symmetric(4, 4), symmetric(4, 4, seed=1)
    torch.testing.assert_close(half_vectors(H) @ half_vectors(K), torch.trace(H @ K))
