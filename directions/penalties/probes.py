"""Draw the probes ``v`` along which `directions.penalties.derivatives` evaluates the map."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def rademacher(
    shape: Sequence[int],
    rng: torch.Generator | None = None,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Draw independent signs, +1 or −1 with equal chance.

    Only with these does the variance of ``vᵀHv`` leave out the diagonal of ``H``: every ``v_i²`` is exactly 1, so the
    diagonal adds the same to each draw.

    Args:
        shape: Of the result.
        rng: Source of the draw; drawn where it lives, so that a CPU one gives the same probes for every device.
            ``None`` uses the global one of ``device``.
        dtype: Float type of the result; ``None`` is torch's default.
        device: Where the result goes; ``None`` is the CPU.

    Returns:
        Tensor of that shape with entries ±1.

    Example:
        >>> rademacher((2, 4), torch.Generator().manual_seed(0)).abs().unique()
        tensor([1.])
    """
    target = device if device is not None else "cpu"
    source = rng.device if rng is not None else target
    bits = torch.randint(2, tuple(shape), generator=rng, device=source, dtype=torch.int8)
    return bits.to(device=target, dtype=dtype or torch.get_default_dtype()).mul_(2).sub_(1)
