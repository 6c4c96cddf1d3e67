"""A trained ProGAN as a generator of the flow's first stop: no classes, and z enters at one place.

Reads the two files that ``directions gan train`` leaves in a run folder: config.json says ``"arch": "progan"`` and the
sizes, weights.safetensors holds the averaged weights and how far they had grown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from directions.atomic import write_bytes
from directions.errors import UserError
from directions.generators.base import ClassConditional, Labels, check_truncation
from directions.generators.progan_layers import pixel_norm, upsample
from directions.generators.progan_network import ProGANNetwork, resolutions
from directions.generators.sources import Found
from directions.generators.state_dict import first_difference, read_state_dict, shapes
from directions.generators.weight_files import checked_digest, quick_fault

ARCH = "progan"
_HEADER = "progan"


class ProGAN(ClassConditional):
    """A frozen ProGAN.

    z is drawn from a normal distribution, times the truncation. The network normalises z, so that truncation changes
    nothing in the images.

    Args:
        network: With its weights; it is frozen.
        name: What `load_generator` was given.
        digest: SHA-256 of the weights.
        level: How far the weights had grown; images of an earlier level are enlarged to the last one's resolution.
        alpha: Weight of the newest block, in [0, 1].
        normalise: False for latents that have been normalised; see `after_norm`.
    """

    def __init__(
        self,
        network: ProGANNetwork,
        *,
        name: str,
        digest: str,
        level: int | None = None,
        alpha: float = 1.0,
        normalise: bool = True,
    ) -> None:
        super().__init__(
            name=name,
            dim_z=network.dim_z,
            num_classes=0,
            resolution=network.resolutions[-1],
            num_layers=1,
            digest=digest,
            class_names=None,
        )
        self.network = network.requires_grad_(False)
        self.level = network.levels - 1 if level is None else level
        self.alpha, self.normalise = alpha, normalise
        self.eval()

    def after_norm(self) -> ProGAN:
        """Return the generator behind its first normalisation, with the same weights.

        Its latents are normalised when they are drawn, to a mean square of 1, and taken as they are by a call. A
        component can then be set without the network's scaling all others.
        """
        return ProGAN(
            self.network, name=self.name, digest=self.digest, level=self.level, alpha=self.alpha, normalise=False
        )

    def sample_z_from(self, n: int, rng: torch.Generator, truncation: float = 1.0) -> Tensor:
        """Draw latents from a source of randomness.

        Args:
            n: Number of latents, at least 1.
            rng: On the CPU.
            truncation: Factor, in (0, 1].

        Returns:
            (n, dim_z) float32 on the CPU, normal with that standard deviation; normalised if calls do not do it.

        Raises:
            UserError: If an argument is outside its range.
        """
        check_truncation(truncation)
        if n < 1:
            raise UserError(f"n must be at least 1, got {n}.")
        # In float64: torch draws large and small float32 batches in different ways, and a sample must not depend on it.
        z = truncation * torch.randn(n, self.dim_z, generator=rng, dtype=torch.float64)
        return (z if self.normalise else pixel_norm(z)).float()

    def forward(self, z: Tensor, y: Labels | None = 0, *, truncation: float = 1.0) -> Tensor:
        """Make images.

        Args:
            z: (batch, dim_z) latents.
            y: Not used: there are no classes.
            truncation: In (0, 1]; z has it in its spread already.

        Returns:
            (batch, 3, resolution, resolution) in [-1, 1].
        """
        self.check_z(z)
        check_truncation(truncation)
        images = self.network(z, self.level, self.alpha, normalise=self.normalise).clamp(-1, 1)
        return upsample(images, self.resolution // images.shape[2])


def write_progan(network: ProGANNetwork, path: Path, *, level: int, alpha: float, kimg: float) -> None:
    """Write weights.safetensors, whole or not at all.

    Args:
        network: The averaged generator.
        path: The file.
        level: How far it has grown.
        alpha: Weight of its newest block.
        kimg: Training so far, in kimg.
    """
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in network.state_dict().items()}
    header = json.dumps({"level": level, "alpha": alpha, "kimg": kimg}, sort_keys=True)
    write_bytes(path, save(state, {_HEADER: header}))


def read_progan(found: Found, config: Mapping[str, Any], name: str) -> ProGAN:
    """Read a ProGAN that `write_progan` wrote.

    Args:
        found: Where the weights are.
        config: Content of config.json: ``dim_z``, ``channels`` and ``resolution``.
        name: What `load_generator` was given.

    Returns:
        The generator.

    Raises:
        UserError: If the file is damaged, or does not fit the configuration.
    """
    fault = quick_fault(found.path)
    if fault:
        raise UserError(f"{found.path} {fault}. Get it anew.")
    try:
        dim_z, channels = int(config["dim_z"]), [int(width) for width in config["channels"]]
        network = ProGANNetwork(dim_z, channels)
        fits = resolutions(len(channels))[-1] == config["resolution"]
    except (KeyError, TypeError, ValueError, RuntimeError, IndexError):
        fits = False
    if not fits:
        raise UserError(
            f"{found.config} is no ProGAN configuration: it must have dim_z, channels (one width for each of 4, 8, … "
            "pixels) and resolution (the last of these)."
        )
    digest = checked_digest(found.path, found.recorded)
    state = read_state_dict(found.path)
    difference = first_difference(shapes(network.state_dict()), shapes(state))
    if difference:
        raise UserError(f"{found.path} does not fit {found.config}: {difference}.")
    network.load_state_dict(state)
    try:
        with safe_open(found.path, "pt") as file:
            header = json.loads((file.metadata() or {})[_HEADER])
        level, alpha = int(header["level"]), float(header["alpha"])
    except (SafetensorError, KeyError, TypeError, ValueError):
        level, alpha = network.levels - 1, 1.0  # weights from elsewhere are taken for grown ones
    return ProGAN(network, name=name, digest=digest, level=level, alpha=alpha)
