"""Score a basis where nothing was fitted: the penalty at fixed places, and the Hessians measured at others."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from directions.basis import SearchSpace, random_basis
from directions.device import full_float32
from directions.errors import NonFiniteError
from directions.generators.base import Generator, LayerRange, chosen_layers, resolve_classes
from directions.joint.measure import Kind, evaluations_at, measure_point, planned_measurement, suggested_kind
from directions.joint.moments import Moments
from directions.penalty import penalty_per_sample
from directions.ranks import Ranks
from directions.sampling import Points, derived_rng, draw_points, image_map, one_hot_steps
from directions.search import Search
from directions.settings.discover import DiscoverConfig, Reduction


@dataclass(frozen=True)
class HeldOutSet:
    """Fixed places and probes; together with a basis they give one number.

    Which direction a point is moved along, and the probes' signs, follow from fixed vectors of the latent space and not
    from the directions' numbers. The score therefore belongs to the directions themselves: it is the same in any order
    and with any signs. For each basis by itself, the draws have the distribution of training.
    """

    points: Points
    """Latents and classes."""
    choosers: Tensor
    """(points, |z|) normal: a point is moved along the direction that is closest to its chooser, either way."""
    eta: Tensor
    """How far each point is moved, (points,), in units of z."""
    probe_normals: Tensor
    """(num_probes, points, |z|) normal: the sign of a direction's product with it is the direction's entry."""
    epsilon: float
    """Finite-difference step, in units of z."""
    truncation: float
    """The generator's truncation setting, in (0, 1]."""
    layers: LayerRange | None
    """The layers that directions act on; ``None`` is all."""
    reduction: Reduction
    """Over points and the generator's outputs."""
    rows: int
    """About how many images to make at once."""

    def steps(self, basis: Tensor) -> Tensor:
        """Return the one-hot steps w of the points.

        Args:
            basis: Orthonormal rows, (ndirs, |z|).

        Returns:
            (points, ndirs). The direction is uniform over the basis, since a normal vector is as close to one as to
            another.
        """
        products = self.choosers @ basis.T
        index = products.abs().argmax(dim=1)
        return one_hot_steps(index, self.eta * _sign(products.gather(1, index[:, None])[:, 0]), len(basis))

    def probes(self, basis: Tensor) -> Tensor:
        """Return the probes' signs.

        Args:
            basis: Orthonormal rows, (ndirs, |z|).

        Returns:
            (num_probes, points, ndirs): independent signs, since products of a normal vector with orthonormal ones are.
        """
        return _sign(self.probe_normals @ basis.T)


def _sign(values: Tensor) -> Tensor:
    """Return +1 or -1, also for zero."""
    return torch.where(values < 0, -1.0, 1.0).to(values)


def draw_held_out(generator: Generator, config: DiscoverConfig, *, seed: int = 0) -> HeldOutSet:
    """Draw the held-out set of a configuration; the run's seed plays no part in it.

    Args:
        generator: What will be scored.
        config: Number of points and probes, classes, truncation, path size, epsilon, layers.
        seed: Which set: discovery always takes 0; others show how much a score depends on the places.

    Returns:
        The set, on the generator's device.
    """
    rng = derived_rng(seed, purpose="held-out")
    n, dim = config.held_out, generator.dim_z
    classes = resolve_classes(generator, config.classes)
    points = draw_points(generator, n, rng, classes=classes, truncation=config.truncation)
    eta = config.path_size * (2 * torch.rand(n, generator=rng, dtype=torch.float64) - 1)
    choosers = torch.randn(n, dim, generator=rng, dtype=torch.float64)
    probe_normals = torch.randn(config.held_out_probes, n, dim, generator=rng, dtype=torch.float64)
    return HeldOutSet(
        points=points,
        choosers=choosers.to(points.z),
        eta=eta.to(points.z),
        probe_normals=probe_normals.to(points.z),
        epsilon=config.epsilon,
        truncation=config.truncation,
        layers=chosen_layers(generator, config.layers),
        reduction=config.reduction,
        rows=2 * config.num_probes * (config.micro_batch or config.batch_size),
    )


@torch.no_grad()
def held_out_penalty(generator: Generator, basis: Tensor, held_out: HeldOutSet, *, ranks: Ranks | None = None) -> float:
    """Score a basis: the Hessian penalty of w ↦ G(z + wQ) over all its directions, at the held-out places.

    Args:
        generator: In eval mode.
        basis: Orthonormal rows, (ndirs, |z|), in any order: a learned one, a random one, z axes.
        held_out: The places and probes; comparisons need the same set and the same ndirs.
        ranks: Those that share the places; ``None`` is this process alone.

    Returns:
        Mean or maximum over points and outputs, in units of (image / z²)².
    """
    ranks = ranks or Ranks()
    basis = basis.to(held_out.points.z)
    w, all_probes = held_out.steps(basis), held_out.probes(basis)
    chunk = max(1, held_out.rows // (2 * len(all_probes)))
    estimate = functools.partial(penalty_per_sample, epsilon=held_out.epsilon, reduction=held_out.reduction)
    scores: list[list[float]] = []
    with full_float32():
        for start in ranks.share(range(0, len(w), chunk)):
            part = slice(start, start + chunk)
            f = image_map(generator, held_out.points[part], basis, held_out.truncation, held_out.layers)
            scores.append(estimate(f, w[part], probes=all_probes[:, part]).tolist())
    every = [score for part in ranks.collect(scores) for score in part]
    # Summed exactly, so that the score does not depend on the order or the chunks; max() would pass over NaN.
    if held_out.reduction == "mean" or not all(map(math.isfinite, every)):
        return math.fsum(every) / len(every)
    return max(every)


def random_directions(search: Search, seed: int) -> Tensor:
    """Draw random orthonormal directions in the searched space, (ndirs, |z|) float32, zero outside the space."""
    rng = derived_rng(seed, purpose="random directions")
    return search.space.embed(random_basis(search.ndirs, search.space.size, rng))


def axis_directions(search: Search) -> Tensor:
    """Return the first ``ndirs`` axes of the searched space, (ndirs, |z|) float32."""
    return search.space.embed(torch.eye(search.ndirs, search.space.size))


def baseline_penalties(
    generator: Generator, search: Search, held_out: HeldOutSet, *, ranks: Ranks | None = None
) -> dict[str, float]:
    """Score what needs no learning.

    Args:
        generator: In eval mode.
        search: Number of directions and the space.
        held_out: Where to score.
        ranks: Those that share the places; ``None`` is this process alone.

    Returns:
        ``random``, the mean held-out penalty over five random bases, and ``axes``, that of the axes of z.
    """
    bases = [random_directions(search, seed) for seed in range(5)]
    scores = [held_out_penalty(generator, basis, held_out, ranks=ranks) for basis in bases]
    axes = held_out_penalty(generator, axis_directions(search), held_out, ranks=ranks)
    return {"random": math.fsum(scores) / len(scores), "axes": axes}


@dataclass(frozen=True, eq=False)
class HessianScore:
    """How nearly diagonal held-out Hessians are along a basis.

    Attributes:
        per_place: (places, 2) float64, each place's energy off and on the diagonal: the mean over outputs of the sum of
            squares of these entries, in (image / z²)².
    """

    per_place: Tensor

    @property
    def off_diagonal(self) -> float:
        """Energy off the diagonal, mean over places: half of the expected Hessian penalty there."""
        return float(self.per_place[:, 0].mean())

    @property
    def off_diagonal_error(self) -> float:
        """Standard error of `off_diagonal` over places; NaN for one place."""
        return _standard_error(self.per_place[:, 0])

    @property
    def share_on_diagonal(self) -> float:
        """Share of the energy along the basis that is on the diagonal, in [0, 1]; NaN if nothing bends."""
        off, on = self.per_place.sum(dim=0).tolist()
        return on / (off + on) if off + on else math.nan

    @property
    def share_error(self) -> float:
        """Standard error of `share_on_diagonal` over places; NaN for one place."""
        total = self.per_place.sum(dim=1)
        # Of a ratio of two means, linearised.
        return _standard_error((self.per_place[:, 1] - self.share_on_diagonal * total) / total.mean())

    def to_dict(self) -> dict[str, Any]:
        """Return the four numbers as plain JSON types, ``None`` for NaN."""
        names = ("off_diagonal", "off_diagonal_error", "share_on_diagonal", "share_error")
        return {name: value if math.isfinite(value := getattr(self, name)) else None for name in names}


def _standard_error(values: Tensor) -> float:
    """Return the standard error of the mean of (places,) values."""
    return float(values.std()) / math.sqrt(len(values)) if len(values) > 1 else math.nan


@dataclass(frozen=True, eq=False)
class HeldOutHessians:
    """Hessians at places where nothing was fitted, measured once; any basis is then scored without an image.

    At |z| = 100 the held-out penalty of a few sign vectors cannot tell a good basis from a random one: random ones
    differ among themselves by more. In the Hessians themselves random bases agree to a fraction of a percent.

    Attributes:
        space: The components of z that were measured.
        places: For each place (K, size, size): K symmetric matrices whose squares along any basis add up to the mean of
            the outputs' squared Hessians.
    """

    space: SearchSpace
    places: tuple[Tensor, ...]

    @classmethod
    def measure(
        cls,
        generator: Generator,
        config: DiscoverConfig,
        *,
        places: int = 8,
        kind: Kind | None = None,
        output_probes: int = 4,
        seed: int = 0,
        ranks: Ranks | None = None,
        count: Callable[[int], object] = lambda images: None,
    ) -> HeldOutHessians:
        """Draw places and measure their Hessians; neither the run's seed nor the places it measures play a part.

        Args:
            generator: Frozen and in eval mode.
            config: Classes, truncation, space, layers, path size and epsilon; the places are where the penalty looks.
            places: Number of places.
            kind: ``"jacobian"`` measures JᵀJ over its trace instead, at places of its own; ``None`` is Hessians.
            output_probes: Random combinations of the outputs at each place, where the space has more than 24
                components. In smaller ones the Hessians of all outputs are measured.
            seed: Which places.
            ranks: Those that share the places; ``None`` is this process alone.
            count: Called with the number of images after each batch of them (a progress bar); what it raises ends the
                measurement.

        Returns:
            The Hessians.

        Raises:
            NonFiniteError: If a Hessian holds NaN or infinity.
        """
        ranks = ranks or Ranks()
        search = Search.resolve(generator, config)
        size = search.space.size
        what = "Jacobian" if kind == "jacobian" else "Hessian"
        drawn = torch.randint(2**62, (), generator=derived_rng(seed, purpose=f"held-out {what}s"))
        plan = planned_measurement(config, search, kind or suggested_kind(size))
        plan = dataclasses.replace(plan, output_probes=output_probes, seed=int(drawn))

        def matrices(number: int) -> Tensor:
            found = measure_point(generator, plan, number, count=count)
            if not bool(found.isfinite().all()):
                raise NonFiniteError(
                    f"The {what} at held-out place {number} is not finite. Make sure that the generator computes in "
                    "float32 and its weights are sound, or start a new run with a larger --epsilon."
                )
            moments = Moments(size, len(found))
            moments.add(found)
            return moments.matrices().float()

        measured = [matrices(number) for number in ranks.share(range(places))]
        return cls(search.space, tuple(ranks.collect(measured)))

    @staticmethod
    def images(size: int, places: int = 8) -> int:
        """Return the number of images that `measure` makes in a space of ``size`` components."""
        return places * evaluations_at(size, suggested_kind(size), 0)

    def score(self, basis: Tensor) -> HessianScore:
        """Score a basis.

        Args:
            basis: Orthonormal rows within the space, (ndirs, |z|).

        Returns:
            Energy off and on the diagonal, with standard errors.
        """
        Q = basis.detach().cpu().double()[:, self.space.start : self.space.stop]
        energies = []
        for matrices in self.places:
            along = Q @ matrices.double() @ Q.mT
            on = along.diagonal(dim1=1, dim2=2).square().sum()
            energies.append(torch.stack((along.square().sum() - on, on)))
        return HessianScore(torch.stack(energies))

    def random(self, ndirs: int | None = None, *, bases: int = 5) -> HessianScore:
        """Score random orthonormal directions, to compare with.

        Args:
            ndirs: How many; ``None`` is as many as the space has components.
            bases: Number of bases, of seeds 0, 1, ….

        Returns:
            The mean over the bases, place by place.
        """
        search = Search(self.space, ndirs or self.space.size, ())
        scores = [self.score(random_directions(search, seed)).per_place for seed in range(bases)]
        return HessianScore(torch.stack(scores).mean(dim=0))
