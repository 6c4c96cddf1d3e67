"""The closed-form generator in float64, for tests whose claims are exact."""

from __future__ import annotations

from typing import Any

import torch

from directions.generators.closed_form import ClosedFormGenerator


class DoubleGenerator(ClosedFormGenerator):
    """Small by default; latents come in float64 too, so that everything downstream is in it."""

    def __init__(self, dim_z: int = 4, resolution: int = 4, **settings: Any) -> None:
        super().__init__(dim_z, resolution, **settings)
        self.double()

    def sample_z_from(self, n: int, rng: torch.Generator, truncation: float = 1.0) -> torch.Tensor:
        return super().sample_z_from(n, rng, truncation).double()
