"""What a configuration means for a generator, and the samples of a step.

After the generator and the configuration are known, before discovery: defaults are filled in and checked against the
generator, and each step's samples are drawn from the seed and the step's number.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from directions.basis import SearchSpace
from directions.generators.base import EditsLayers, LayerRange, chosen_layers, described_layers, resolve_classes
from directions.penalty import rademacher
from directions.ranks import Ranks
from directions.sampling import Points, derived_rng, draw_points, draw_steps, one_hot_steps
from directions.settings.base import THIRDS, ConfigError
from directions.settings.discover import DiscoverConfig

if TYPE_CHECKING:
    from directions.generators.base import Generator


@dataclass(frozen=True)
class Search:
    """A configuration together with what the generator decides: where to search, for how many, in which classes."""

    space: SearchSpace
    ndirs: int
    classes: tuple[int, ...]
    layers: LayerRange | None = None
    """The layers that directions act on; ``None`` is all."""

    @classmethod
    def resolve(cls, generator: Generator, config: DiscoverConfig) -> Search:
        """Check a configuration against a generator.

        Args:
            generator: Knows the width of z and its classes.
            config: What the user asked for.

        Returns:
            The search, every default filled in.

        Raises:
            ConfigError: If there are more directions than the searched space has dimensions, or the chosen layers do
                not see it.
        """
        layers = chosen_layers(generator, config.layers)
        space = _searched_space(generator, config, layers)
        ndirs = config.ndirs or space.size
        if ndirs > space.size:
            raise ConfigError(
                "ndirs",
                f"must be at most {space.size}, the size of the searched space {space}, got {ndirs}: "
                "there are no more orthogonal directions.",
            )
        return cls(space, ndirs, resolve_classes(generator, config.classes), layers)

    def warn_if_narrow(self) -> None:
        """Warn if fewer directions are learned than the searched space has, and say why that goes wrong.

        Warns:
            UserWarning: If so.
        """
        if self.ndirs < self.space.size:
            warnings.warn(
                f"ndirs {self.ndirs} is smaller than the searched space {self.space} ({self.space.size} components): "
                "the penalty is lowest for directions that change nothing, so those are found first. Learn as many as "
                "there are, and use the most active.",
                stacklevel=3,
            )


def _searched_space(generator: Generator, config: DiscoverConfig, layers: LayerRange | None) -> SearchSpace:
    """The components of z that are asked for, or all; of layers that see some of z only, those that they see."""
    asked = SearchSpace.parse(config.space or ":", generator.dim_z)
    if layers is None:
        return asked
    assert isinstance(generator, EditsLayers), "chosen_layers has looked"
    start, stop = generator.components(layers)
    if start >= stop:
        raise ConfigError("layers", f"{layers} of {generator.name!r} see no z. {described_layers(generator)}")
    if config.space is None:
        return SearchSpace(start, stop, generator.dim_z)
    if asked.start < start or asked.stop > stop:
        raise ConfigError(
            "space",
            f"must lie within {start}:{stop}, the components of z that layers {layers} of {generator.name!r} see, got "
            f"{asked}. Leave it out to search all of these.",
        )
    return asked


def warn_if_no_third(generator: Generator, config: DiscoverConfig) -> None:
    """Warn if a third of z is searched by its name, as in plain BigGAN, in a generator whose layers all see all of z.

    Args:
        generator: Which components its layers see.
        config: The search space, and the layers.

    Warns:
        UserWarning: If so.
    """
    named = config.space is not None and config.space.strip() in THIRDS
    if not named or config.layers is not None or not isinstance(generator, EditsLayers):
        return
    first = LayerRange(0, 1, generator.num_layers)
    if generator.num_layers > 1 and generator.components(first) == (0, generator.dim_z):
        warnings.warn(
            f"space {config.space} is a third of z, but z has no segments in {generator.name!r}: every layer sees all "
            f"of it. To search for {config.space} changes, give layers {config.space} instead.",
            stacklevel=3,
        )


def shared_among(ranks: Ranks, config: DiscoverConfig) -> DiscoverConfig:
    """Fill in how many samples of a batch a rank takes at once.

    Args:
        ranks: Those that share the batch.
        config: What the user asked for.

    Returns:
        The configuration, whose micro-batches can be dealt out to the ranks, as many to each; unchanged for one rank.

    Raises:
        ConfigError: If they cannot.
    """
    if ranks.world_size == 1:
        return config
    unit = config.micro_batch or 1
    if config.batch_size % (ranks.world_size * unit):
        parts = config.batch_size // unit
        fitting = [str(n) for n in range(1, parts + 1) if parts % n == 0]
        each = "a sample" if unit == 1 else f"a micro-batch of {unit}"
        raise ConfigError(
            "batch_size",
            f"must be a multiple of {ranks.world_size * unit} ({ranks.world_size} ranks × {each}), got "
            f"{config.batch_size}. Choose such a number, or start another number of ranks: {', '.join(fitting)}.",
        )
    return config.replace(micro_batch=config.micro_batch or config.batch_size // ranks.world_size)


@dataclass(frozen=True)
class Batch:
    """The samples of one step."""

    points: Points
    w: Tensor
    """One-hot steps, (batch, ndirs), in units of z."""
    probes: Tensor
    """Signs, (num_probes, batch, ndirs)."""


def draw_batch(generator: Generator, config: DiscoverConfig, search: Search, step: int) -> Batch:
    """Draw the samples of a step; they follow from the seed and the step alone.

    Args:
        generator: Knows its prior.
        config: Batch size, path size, number of probes, truncation, seed.
        search: Number of directions and classes.
        step: The step, counted from 1.

    Returns:
        The whole batch, however it is cut into micro-batches.
    """
    rng = derived_rng(config.seed, step)
    n = config.batch_size
    points = draw_points(generator, n, rng, classes=search.classes, truncation=config.truncation)
    dtype, device = points.z.dtype, points.z.device
    index, eta = draw_steps(n, search.ndirs, config.path_size, rng, dtype=dtype)
    probes = rademacher((config.num_probes, n, search.ndirs), rng, dtype=dtype, device=device)
    return Batch(points, one_hot_steps(index, eta, search.ndirs).to(device), probes)
