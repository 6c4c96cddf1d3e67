"""Learn directions: Adam on a free matrix A, whose orthonormalised rows Q should move a frozen generator independently.

After the penalty and before the direction file. A starts at random, or where `directions.joint` has found it.
`discover` is one flat loop that yields a snapshot a step and writes nothing; `directions.runs.discovery_run` records
it in a run folder, and `directions.evaluation.summary` turns the last snapshot into directions with measurements.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from directions.basis import gram_schmidt, initial_matrix
from directions.config import ConfigError, DiscoverConfig
from directions.devices import multiplying
from directions.discovery.passes import prepare_steps
from directions.discovery.shortage import watched
from directions.discovery.snapshots import Record, Snapshot, finite
from directions.distributed.ranks import Ranks
from directions.errors import UserError
from directions.generators.checks import check_gradients, check_images
from directions.generators.edits import chosen_layers
from directions.held_out import HeldOutSet, draw_held_out, held_out_penalty
from directions.joint.moments import Moments
from directions.joint.solve import JointSolution
from directions.joint.start import measured, planned_measurement, solution_state, solved
from directions.penalties.derivatives import check_deterministic
from directions.penalties.hessian import hessian_penalty, penalty_per_sample
from directions.sampling import derived_rng, image_map
from directions.search import Batch, Search, draw_batch, shared_among, warn_if_no_third

if TYPE_CHECKING:
    from directions.generators.base import Generator


def discover(
    generator: Generator,
    config: DiscoverConfig,
    *,
    resume_from: Mapping[str, Any] | None = None,
    ranks: Ranks | None = None,
) -> Iterator[Snapshot]:
    """Learn directions, step by step; everything is checked before the first.

    The generator is put in eval mode, and its parameters no longer require gradients. On the CPU, with the same number
    of threads, a run is the same bit by bit whether or not it was interrupted and resumed, and whether its steps were
    asked for at once or added later. Micro-batches and several ranks change the rounding of sums only.

    Args:
        generator: Where to look for directions.
        config: How; its ``generator``, ``weights`` and ``device`` are not looked at, they belong to loading.
        resume_from: `Snapshot.state` of an earlier run with the same configuration (up to the fields in
            `directions.config.RESUMABLE`) and generator; ``None`` starts anew.
        ranks: The processes that share the work; each of them calls this, with the same generator, configuration and
            state, and takes the snapshots, which are the same on all. ``None`` is this process alone.

    Returns:
        Snapshots: the starting point (step 0, or the one that is resumed from, as it was), then one for each step. With
        a joint start, step 0 has one for each base point (or each round of one for every rank) before it has the one
        of the solution.

    Raises:
        UserError: If the configuration does not fit the generator, the generator is not deterministic or gives no
            gradients where they are needed, or the state belongs to another run.

    Warns:
        UserWarning: If method ``"adam"`` is to learn fewer directions than the searched space has components, or a
            third of z is asked for by name in a generator that has no segments of z.

    Example:
        >>> from directions import DiscoverConfig, discover
        >>> from directions.generators.closed_form import ClosedFormGenerator
        >>> config = DiscoverConfig(method="adam", steps=2)
        >>> snapshots = list(discover(ClosedFormGenerator(dim_z=4, resolution=8), config))
        >>> [snapshot.record.step for snapshot in snapshots]
        [0, 1, 2]
    """
    ranks = ranks or Ranks()
    config = shared_among(ranks, config)
    search = Search.resolve(generator, config)
    warn_if_no_third(generator, config)
    if config.method == "adam":
        search.warn_if_narrow()
    else:
        search = dataclasses.replace(search, ndirs=search.space.size)  # the most active are chosen at the end
    _freeze(generator)
    held_out = draw_held_out(generator, config)
    differentiated = config.adam_steps > 0 or planned_measurement(config, search).kind == "gradients"
    _check_images(generator, held_out, differentiated)
    prepare_steps(generator, config)  # last, because what is compiled is compiled at its first pass with gradients
    rng = derived_rng(config.seed, purpose="init")
    dtype, device = held_out.points.z.dtype, held_out.points.z.device
    A = initial_matrix(search.ndirs, search.space.size, config.init, rng, dtype=dtype, device=device).requires_grad_()
    run = _Run(generator, config, search, held_out, A, torch.optim.Adam([A]), ranks)
    if resume_from is not None:
        run.restore(resume_from)
    return watched(_loop(run, resume_from or {}), config, ranks.world_size)


@dataclass(eq=False)
class _Run:
    """What the parts of a run share."""

    generator: Generator
    config: DiscoverConfig
    search: Search
    held_out: HeldOutSet
    A: Tensor
    optimizer: torch.optim.Adam
    ranks: Ranks
    held_out_before: float = math.nan
    joint: JointSolution | None = None

    @torch.no_grad()
    def basis(self) -> Tensor:
        """Q, (ndirs, |z|)."""
        return self.search.space.embed(gram_schmidt(self.A))

    def score(self, step: int) -> float:
        """Held-out penalty of the basis as it is."""
        score = held_out_penalty(self.generator, self.basis(), self.held_out, ranks=self.ranks)
        return finite(score, "held-out penalty", step)

    def snapshot(self, record: Record, moments: Moments | None = None) -> Snapshot:
        """A snapshot that later steps do not change."""
        state = {
            "record": dataclasses.asdict(record),
            "held_out_before": self.held_out_before,
            "A": self.A.detach().clone(),
            "optimizer": copy.deepcopy(self.optimizer.state_dict()),
            "moments": None if moments is None else moments.state_dict(),
            "joint": None if self.joint is None else solution_state(self.joint),
        }
        return Snapshot(
            record=record,
            held_out_before=self.held_out_before,
            basis=self.basis(),
            state=state,
            joint=self.joint,
        )

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to where a state was copied."""
        if state["A"].shape != self.A.shape:
            raise UserError(
                f"The state to resume from has a matrix of shape {tuple(state['A'].shape)}, the configuration asks for "
                f"{tuple(self.A.shape)}. Resume with the settings of that run."
            )
        done = state["record"]["step"]
        if done > self.config.steps:
            raise ConfigError("steps", f"must be at least {done}, the number already taken, got {self.config.steps}.")
        with torch.no_grad():
            self.A.copy_(state["A"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.held_out_before = state["held_out_before"]
        self.joint = JointSolution(**state["joint"]) if state.get("joint") else None


def _loop(run: _Run, state: Mapping[str, Any]) -> Iterator[Snapshot]:
    started = time.perf_counter()
    config, search, A = run.config, run.search, run.A
    if state:
        record = Record(**state["record"])
    else:
        run.held_out_before = run.score(step=0)
        record = Record(
            step=0,
            penalty=None,
            held_out=run.held_out_before,
            learning_rate=None,
            seconds=time.perf_counter() - started,
            base_points=None if config.method == "adam" else 0,
        )
    if record.base_points is None:
        yield run.snapshot(record)
    else:
        yield from _joint_start(run, record, state.get("moments"))

    for step in range(record.step + 1, config.adam_steps + 1):
        started = time.perf_counter()
        batch = draw_batch(run.generator, config, search, step)
        Q = search.space.embed(gram_schmidt(A))
        penalty, gradient = penalty_and_gradient(run.generator, Q.detach(), batch, config, run.ranks)
        finite(penalty, "penalty", step)
        run.optimizer.zero_grad()
        Q.backward(gradient)
        finite(float(torch.linalg.vector_norm(A.grad)), "gradient's norm", step)
        run.optimizer.param_groups[0]["lr"] = learning_rate(config, step)
        run.optimizer.step()
        run.ranks.align(A)

        score = run.score(step) if step % config.eval_every == 0 else None
        record = Record(
            step=step,
            penalty=penalty,
            held_out=score,
            learning_rate=learning_rate(config, step),
            seconds=time.perf_counter() - started,
        )
        yield run.snapshot(record)


def _joint_start(run: _Run, record: Record, state: Mapping[str, Any] | None) -> Iterator[Snapshot]:
    """Measure and diagonalise; A is then the solution. The first snapshot has the record as it is."""
    moments: Moments | None = None
    started = time.perf_counter()
    for moments in measured(run.generator, run.config, run.search, state, run.ranks):
        if moments.base_points != record.base_points:
            seconds = time.perf_counter() - started
            record = dataclasses.replace(record, held_out=None, seconds=seconds, base_points=moments.base_points)
        yield run.snapshot(record, moments)
        started = time.perf_counter()
    assert moments is not None, "a measurement yields its start"

    joint = solved(moments, run.config, run.ranks)
    run.joint = run.ranks.from_first(lambda: joint)
    with torch.no_grad():
        run.A.copy_(run.joint.basis)
    score = run.score(step=0)
    seconds = time.perf_counter() - started
    yield run.snapshot(Record(step=0, penalty=None, held_out=score, learning_rate=None, seconds=seconds))


def learning_rate(config: DiscoverConfig, step: int) -> float:
    """Return the learning rate of a step, counted from 1; it does not depend on how many steps there will be."""
    assert config.learning_rate is not None, "a configuration fills it in"
    return config.learning_rate / (1 + step / config.decay_steps) if config.decay_steps else config.learning_rate


def penalty_and_gradient(
    generator: Generator, Q: Tensor, batch: Batch, config: DiscoverConfig, ranks: Ranks | None = None
) -> tuple[float, Tensor]:
    """Compute the penalty of a batch and its gradient by Q, one micro-batch after the other.

    Args:
        generator: Frozen and in eval mode.
        Q: Orthonormal rows, (ndirs, |z|).
        batch: The samples.
        config: Micro-batch, epsilon, reduction, truncation, layers, precision.
        ranks: Those that share the micro-batches; ``None`` is this process alone.

    Returns:
        The penalty, and its gradient, (ndirs, |z|).
    """
    ranks = ranks or Ranks()
    Q = Q.detach().requires_grad_()
    layers = chosen_layers(generator, config.layers)
    size = config.micro_batch or config.batch_size
    penalty = -math.inf if config.reduction == "max" else 0.0
    gradient = torch.zeros_like(Q)
    with multiplying(config.precision):
        for start in ranks.share(range(0, config.batch_size, size)):
            part = slice(start, start + size)
            f = image_map(generator, batch.points[part], Q, config.truncation, layers, precision=config.precision)
            w, probes = batch.w[part], batch.probes[:, part]
            if config.reduction == "mean":
                share = penalty_per_sample(f, w, epsilon=config.epsilon, probes=probes).sum() / config.batch_size
                gradient += torch.autograd.grad(share, Q)[0]
                penalty += share.item()
                continue
            largest = hessian_penalty(f, w, epsilon=config.epsilon, probes=probes, reduction="max")
            if not largest.item() <= penalty:  # also true for NaN, which then ends the run
                penalty, gradient = largest.item(), torch.autograd.grad(largest, Q)[0]
                if math.isnan(penalty):
                    break
    return _over_ranks(penalty, gradient, config, ranks)


def _over_ranks(penalty: float, gradient: Tensor, config: DiscoverConfig, ranks: Ranks) -> tuple[float, Tensor]:
    """Put together what each rank has computed of its micro-batches: the sum, or what belongs to the largest."""
    if config.reduction == "mean":
        gradient, total = ranks.sum([gradient, torch.tensor(penalty, dtype=torch.float64)])
        return float(total), gradient
    penalties = ranks.collect([penalty])
    largest = max(range(len(penalties)), key=lambda rank: (math.isnan(penalties[rank]), penalties[rank]))
    (gradient,) = ranks.sum([gradient if ranks.rank == largest else torch.zeros_like(gradient)])
    return penalties[largest], gradient


def _freeze(generator: Generator) -> None:
    if isinstance(generator, torch.nn.Module):
        generator.eval().requires_grad_(False)


def _check_images(generator: Generator, held_out: HeldOutSet, differentiated: bool) -> None:
    """Make one image twice: it must be what the generator promises, the same both times, and differentiable if told."""
    z = held_out.points.z[:1]
    basis = torch.eye(generator.dim_z).to(z)
    f = image_map(generator, held_out.points[:1], basis, held_out.truncation, held_out.layers)
    check_deterministic(f, torch.zeros_like(z))
    with torch.no_grad():
        image = f(torch.zeros_like(z))
    name = f"Generator {generator.name!r}"
    check_images(image, name, batch=1, resolution=generator.resolution)
    if differentiated:
        check_gradients(f, torch.zeros_like(z), name)
