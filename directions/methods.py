"""Directions by other methods: random, axes of z, PCA (GANSpace), eigenvectors of weights (SeFa), reconstruction."""

from __future__ import annotations

import contextlib
import copy
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from directions.errors import UserError
from directions.generators.base import Generator, LayerRange
from directions.generators.frozen import FrozenBigGAN
from directions.held_out import axis_directions, random_directions
from directions.joint.measure import measure_point, planned_measurement
from directions.joint.moments import symmetric_matrices
from directions.ranks import Progress, Ranks
from directions.sampling import derived_rng, draw_points, image_map, one_hot_steps
from directions.search import Search
from directions.settings.base import ConfigError
from directions.settings.discover import DiscoverConfig

PCA_SAMPLES = 10_000
"""Activations that principal components are computed from, as in GANSpace."""

_PCA_BATCH = 500
_SHORTEST_SHIFT = 0.5  # in units of z, as in the authors' code: a shorter one cannot be seen
_SHIFT_WEIGHT = 0.25  # λ of the paper


def computed_basis(
    generator: Generator, config: DiscoverConfig, search: Search, *, ranks: Ranks, on_progress: Progress
) -> Tensor:
    """Return the directions of a method that computes them, with no search.

    Args:
        generator: In eval mode.
        config: Method ``"random"``, ``"axes"``, ``"pca"`` or ``"sefa"``, and its settings.
        search: Space, classes and layers.
        ranks: Those that share the places of ``pca_of="jacobian"``.
        on_progress: Told what is being done.

    Returns:
        (size, size) orthonormal rows in coordinates of the searched space, in the method's own order.

    Raises:
        UserError: If the generator is not one that the method can look into.
    """
    space = search.space
    if config.method in ("random", "axes"):
        rows = random_directions(search, config.seed) if config.method == "random" else axis_directions(search)
        return rows[:, space.start : space.stop]
    if config.method == "sefa":
        weights = sefa_weights(generator, search.layers)[:, space.start : space.stop].detach().double().cpu()
        return _eigenvectors(weights.mT @ weights)
    if config.pca_of == "jacobian":
        return _jacobian_eigenvectors(generator, config, search, ranks, on_progress)
    return _activation_components(generator, config, search, on_progress)


def _eigenvectors(matrix: Tensor) -> Tensor:
    """Eigenvectors of a symmetric (n, n) matrix as rows, those of the largest eigenvalues first."""
    return torch.linalg.eigh(matrix).eigenvectors.mT.flip(0)


def sefa_weights(generator: Generator, layers: LayerRange | None = None) -> Tensor:
    r"""Stack the weights A by which z enters; SeFa's directions are the eigenvectors of :math:`A^\top A`.

    The authors' code also divides each row of A by its length, which the paper does not.

    Args:
        generator: A BigGAN, whose layers each have such weights: the first linear one's, and of each block those of
            the scales and shifts of its norms. Of any other module it is the first layer that is as wide as z.
        layers: The layers of a BigGAN to take; ``None`` is all.

    Returns:
        (rows, |z|).

    References:
        Shen & Zhou 2021, arXiv:2007.06600, section 3.
    """
    if not isinstance(generator, FrozenBigGAN):
        layer = _first_layer(generator)
        weight: Tensor = layer.weight  # type: ignore[assignment]
        return weight.movedim(0 if isinstance(layer, nn.ConvTranspose2d) else 1, -1).flatten(0, -2)
    first, stop = (0, generator.num_layers) if layers is None else (layers.start, layers.stop)
    rows = slice(generator._starts[max(first, 1) - 1], generator._starts[stop - 1])
    parts = [generator.first_weight] if first == 0 else []
    return torch.cat([*parts, generator.scales[rows], generator.shifts[rows]])[:, : generator.dim_z]


def _first_layer(generator: Generator) -> nn.Module:
    """The first layer of a module that takes as many features or channels as z has components."""
    for layer in generator.modules() if isinstance(generator, nn.Module) else ():
        width = getattr(layer, "in_features", getattr(layer, "in_channels", None))
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d) and width == generator.dim_z:
            return layer
    raise UserError(
        f"method sefa and pca need the first layer of the generator, and {generator.name!r} has no linear or "
        f"convolutional layer of {generator.dim_z} inputs. Take --method pca --pca-of jacobian, or name a --layer."
    )


def _jacobian_eigenvectors(
    generator: Generator, config: DiscoverConfig, search: Search, ranks: Ranks, on_progress: Progress
) -> Tensor:
    """Eigenvectors of the mean of JᵀJ over base points, each divided by its trace."""
    plan = planned_measurement(config, search, kind="jacobian")
    found = []
    for number in ranks.share(range(plan.base_points)):
        found.append(measure_point(generator, plan, number)[0].double().cpu())
        on_progress("Measuring Jacobians", number + 1, plan.base_points, "")
    return _eigenvectors(symmetric_matrices(torch.stack(ranks.collect(found)).mean(dim=0)))


class _Reached(BaseException):
    """The layer's activations are there: the rest of the network need not be computed."""


def activations(generator: Generator, layer: str | None) -> Callable[..., Tensor]:
    """Find a layer by its name.

    Args:
        generator: A module.
        layer: In a BigGAN the layer's number (0 is the first linear one, i the i-th block), elsewhere a submodule's
            name; ``None`` is the first layer.

    Returns:
        A function of (z, y, truncation) that gives its activations, (batch, features).

    Raises:
        ConfigError: If there is no such layer.
    """
    inner: Any = getattr(generator, "module", getattr(generator, "network", generator))
    kept: list[Tensor] = []

    def stop(module: nn.Module, inputs: tuple[Any, ...], output: Any = None) -> None:
        kept.append(inputs[0] if output is None else output[-1] if isinstance(output, tuple) else output)
        raise _Reached

    if isinstance(generator, FrozenBigGAN):
        allowed = [str(number) for number in range(generator.num_layers)]
    else:
        allowed = [name for name, _ in inner.named_modules() if name] if isinstance(inner, nn.Module) else []
    if layer is not None and layer not in allowed:
        raise ConfigError("layer", f"must be one of {', '.join(allowed)}, got {layer!r}.")

    def run(z: Tensor, y: Tensor | None, truncation: float) -> Tensor:
        kept.clear()
        if not isinstance(generator, FrozenBigGAN):
            module = _first_layer(generator) if layer is None else inner.get_submodule(layer)
            hook = module.register_forward_hook(stop)
        else:
            number = int(layer or 0)
            module = generator.layers[number - 1].get_submodule("attention") if number else generator.layers[0]
            hook = module.register_forward_pre_hook(stop)
        with hook, contextlib.suppress(_Reached):  # a hook is removed at the end of its block
            generator(z, y, truncation=truncation)
        return kept[0].flatten(1)

    return run


@torch.no_grad()
def _activation_components(
    generator: Generator, config: DiscoverConfig, search: Search, on_progress: Progress
) -> Tensor:
    r"""GANSpace: principal components of a layer's activations, regressed to z by least squares.

    With :math:`x = V(a - \bar a)` the coordinates of activations along the components, the U that minimises
    :math:`\sum |Ux - (z - \bar z)|^2` has columns :math:`\sum (z - \bar z)\,x_k / \sum x_k^2`, since coordinates are
    uncorrelated; its columns, in the order of the components, are orthonormalised.

    Returns:
        (size, size), in coordinates of the searched space.

    References:
        Härkönen et al. 2020, arXiv:2004.02546, section 2.2.
    """
    read, rng = activations(generator, config.layer), derived_rng(config.seed, purpose="principal components")
    components = IncrementalPCA(2 * search.space.size + 100)
    crossed: Any = 0.0
    sum_z: Any = 0.0
    rows = 2 * config.num_probes * (config.micro_batch or config.batch_size)

    def draw(y: Tensor | None = None) -> tuple[Tensor, Tensor | None, Tensor]:
        points = draw_points(generator, _PCA_BATCH, rng, classes=search.classes, truncation=config.truncation)
        labels = points.y if y is None else y
        parts = [
            read(points.z[i : i + rows], None if labels is None else labels[i : i + rows], config.truncation)
            for i in range(0, _PCA_BATCH, rows)
        ]
        return points.z, labels, torch.cat(parts).double()

    for done in range(0, PCA_SAMPLES, _PCA_BATCH):
        z, y, a = draw()
        if len(search.classes) > 1:  # pairs of one class: what classes differ in must not be a component
            other, _, b = draw(y)
            z, a = (z - other) / 2**0.5, (a - b) / 2**0.5
        crossed, sum_z = crossed + z.double().mT @ a, sum_z + z.double().sum(dim=0)
        components.add(a)
        on_progress("Reading activations", done + _PCA_BATCH, PCA_SAMPLES, "")
    crossed = crossed - torch.outer(sum_z, components.mean)
    regressed = (components.rows @ crossed.mT)[:, search.space.start : search.space.stop].cpu()
    return orthonormal(regressed / torch.linalg.vector_norm(regressed, dim=1, keepdim=True).clamp_min(1e-300))


class IncrementalPCA:
    """Principal components of rows that come in batches (Ross et al. 2008), the first ``kept`` of them.

    Attributes:
        rows: (components, features) orthonormal, those of most variance first.
        mean: (features,), of all rows so far.
    """

    def __init__(self, kept: int) -> None:
        self._kept, self._count = kept, 0
        self.mean: Any = 0.0
        self.rows, self._sizes = torch.empty(0), torch.empty(0)

    def add(self, batch: Tensor) -> None:
        """Take in (n, features) rows of float64."""
        mean, n = batch.mean(dim=0), len(batch)
        stacked = [batch - mean]
        if self._count:
            between = (self._count * n / (self._count + n)) ** 0.5 * (self.mean - mean)
            stacked = [self._sizes[:, None] * self.rows, *stacked, between[None]]
        # Singular vectors from the products of rows: of many features, far fewer operations than an SVD.
        together = torch.cat(stacked)
        squares, vectors = torch.linalg.eigh(together @ together.mT)
        squares, vectors = squares.flip(0), vectors.flip(1)
        kept = min(self._kept, int((squares > 1e-13 * squares[0]).sum()))  # the others are rounding
        self._sizes = squares[:kept].sqrt()
        self.rows = vectors[:, :kept].mT @ together / self._sizes[:, None]
        self.mean = (self._count * self.mean + n * mean) / (self._count + n)
        self._count += n


def orthonormal(rows: Tensor) -> Tensor:
    """Orthonormalise rows in order, leave out those that depend on earlier ones, and complete them by axes: (n, n)."""
    n = rows.shape[1]
    basis = rows.new_zeros(0, n)
    for row in torch.cat((rows, torch.eye(n).to(rows))):
        rest = row - basis.mT @ (basis @ row)
        rest = rest - basis.mT @ (basis @ rest)
        length = torch.linalg.vector_norm(rest)
        if len(basis) < n and length > 1e-6:
            basis = torch.cat((basis, (rest / length)[None]))
    return basis


class Reconstructor:
    """Voynov & Babenko's: a network sees an image before and after a shift, and guesses direction and distance.

    Directions that it can tell apart are learned together with it. Rows stay orthonormal, as in the paper's best
    variant; distances are uniform within ±path size, those below 0.5 are lengthened to it.

    Args:
        generator: Frozen and in eval mode.
        config: Seed, batch and micro-batch, path size, truncation, learning rate.
        search: Number of directions, classes, layers.

    References:
        Voynov & Babenko 2020, arXiv:2002.03754, section 3.
    """

    def __init__(self, generator: Generator, config: DiscoverConfig, search: Search) -> None:
        self.generator, self.config, self.search = generator, config, search
        seed = torch.randint(2**62, (), generator=derived_rng(config.seed, purpose="reconstructor"))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(seed))
            self.network = guessing_network(search.ndirs).to(generator.device)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=0.001)

    def step(self, Q: Tensor, step: int) -> tuple[float, Tensor]:
        """Train the network by a batch.

        Args:
            Q: (ndirs, |z|) orthonormal rows.
            step: Number of the step, which with the seed decides the batch.

        Returns:
            The loss, the cross-entropy of the direction plus 0.25 times the mean absolute error of the distance; and
            its gradient by Q.
        """
        config, rng = self.config, derived_rng(self.config.seed, step, "reconstruction")
        n, ndirs = config.batch_size, len(Q)
        points = draw_points(self.generator, n, rng, classes=self.search.classes, truncation=config.truncation)
        index = torch.randint(ndirs, (n,), generator=rng).to(Q.device)
        distance = config.path_size * (2 * torch.rand(n, generator=rng, dtype=torch.float64) - 1)
        distance = torch.where(distance < 0, -1.0, 1.0) * distance.abs().clamp_min(_SHORTEST_SHIFT)
        w, size = one_hot_steps(index, distance.to(Q), ndirs), config.micro_batch or n
        Q = Q.detach().requires_grad_()
        self.optimizer.zero_grad()
        total = 0.0
        for start in range(0, n, size):
            part = slice(start, start + size)
            f = image_map(self.generator, points[part], Q, config.truncation, self.search.layers)
            seen = torch.cat((f(torch.zeros_like(w[part])), f(w[part])), dim=1).float()
            guess = self.network(seen)
            loss = F.cross_entropy(guess[:, :ndirs], index[part], reduction="sum")
            loss = (loss + _SHIFT_WEIGHT * (guess[:, ndirs] - w[part].sum(dim=1)).abs().sum()) / n
            loss.backward()
            total += float(loss.detach())
        self.optimizer.step()
        assert Q.grad is not None, "the loss depends on Q"
        return total, Q.grad

    def state_dict(self) -> dict[str, Any]:
        """Return copies of the network's weights and the optimiser's state."""
        return copy.deepcopy({"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict()})

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to what `state_dict` returned."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])


def guessing_network(ndirs: int) -> nn.Sequential:
    """Build a small convolutional network from image pairs (n, 6, h, w) to ndirs logits and a distance."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise((6, 32, 64, 128)):
        layers += [nn.Conv2d(before, after, 4, stride=2, padding=1), nn.GroupNorm(8, after), nn.LeakyReLU(0.2)]
    head = [nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(2048, 256), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, *head, nn.Linear(256, ndirs + 1))
