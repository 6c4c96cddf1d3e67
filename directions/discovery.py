"""Learn directions: Adam on a free matrix A, whose orthonormalised rows Q should move a frozen generator independently.

After the penalty and before the direction file. `discover` is one flat loop that yields a snapshot a step and writes
nothing; `directions.discovery_run` records it in a run folder, and `directions.evaluation.summary` turns the last
snapshot into directions with their measurements.
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
from directions.devices import full_float32
from directions.errors import UserError
from directions.held_out import HeldOutSet, draw_held_out, held_out_penalty
from directions.penalties.derivatives import check_deterministic
from directions.penalties.hessian import hessian_penalty, penalty_per_sample
from directions.sampling import derived_rng, image_map
from directions.search import Batch, Search, draw_batch

if TYPE_CHECKING:
    from directions.generators.base import Generator


class NonFiniteError(RuntimeError):
    """The penalty or its gradient is no longer a number; the message says at which step and what to try."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """The numbers of one step."""

    step: int
    """Number of steps taken; 0 before the first."""
    penalty: float | None
    """Penalty of the step's samples, before A was changed; ``None`` at step 0."""
    held_out: float | None
    """Held-out penalty after the step, every ``eval_every`` steps, else ``None``."""
    learning_rate: float | None
    """Learning rate of the step; ``None`` at step 0."""
    seconds: float
    """Duration of the step, held-out score included."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Snapshot:
    """Where a run stands after a step."""

    record: Record
    """The step's numbers."""
    held_out_before: float
    """Held-out penalty at step 0."""
    basis: Tensor
    """Q after the step: orthonormal rows, (ndirs, |z|)."""
    state: dict[str, Any]
    """What `discover` needs to go on from here: copied tensors and plain types."""


def discover(
    generator: Generator, config: DiscoverConfig, *, resume_from: Mapping[str, Any] | None = None
) -> Iterator[Snapshot]:
    """Learn directions, step by step; everything is checked before the first.

    The generator is put in eval mode, and its parameters no longer require gradients. On the CPU, with the same number
    of threads, a run is the same bit by bit whether or not it was interrupted and resumed, and whether its steps were
    asked for at once or added later. Micro-batches change the rounding of sums only.

    Args:
        generator: Where to look for directions.
        config: How; its ``generator``, ``weights`` and ``device`` are not looked at, they belong to loading.
        resume_from: `Snapshot.state` of an earlier run with the same configuration (up to the fields in
            `directions.config.RESUMABLE`) and generator; ``None`` starts anew.

    Returns:
        Snapshots: the starting point (step 0, or the one that is resumed from, as it was), then one for each step.

    Raises:
        UserError: If the configuration does not fit the generator, the generator is not deterministic, or the state
            belongs to another run.

    Warns:
        UserWarning: If fewer directions are asked for than the searched space has components.

    Example:
        >>> from directions import DiscoverConfig, discover
        >>> from directions.generators.closed_form import ClosedFormGenerator
        >>> snapshots = list(discover(ClosedFormGenerator(dim_z=4, resolution=8), DiscoverConfig(steps=2)))
        >>> [snapshot.record.step for snapshot in snapshots]
        [0, 1, 2]
    """
    search = Search.resolve(generator, config)
    search.warn_if_narrow()
    _freeze(generator)
    held_out = draw_held_out(generator, config)
    _check_images(generator, held_out)
    rng = derived_rng(config.seed, purpose="init")
    dtype, device = held_out.points.z.dtype, held_out.points.z.device
    A = initial_matrix(search.ndirs, search.space.size, config.init, rng, dtype=dtype, device=device).requires_grad_()
    optimizer = torch.optim.Adam([A], lr=config.learning_rate)
    if resume_from is not None:
        _restore(A, optimizer, config, resume_from)
    return _loop(generator, config, search, held_out, A, optimizer, resume_from)


def _loop(
    generator: Generator,
    config: DiscoverConfig,
    search: Search,
    held_out: HeldOutSet,
    A: Tensor,
    optimizer: torch.optim.Adam,
    resume_from: Mapping[str, Any] | None,
) -> Iterator[Snapshot]:
    started = time.perf_counter()
    basis = _basis(search, A)
    if resume_from is None:
        before = _finite(held_out_penalty(generator, basis, held_out), "held-out penalty", step=0)
        seconds = time.perf_counter() - started
        record = Record(step=0, penalty=None, held_out=before, learning_rate=None, seconds=seconds)
    else:
        before = resume_from["held_out_before"]
        record = Record(**resume_from["record"])
    yield _snapshot(record, before, basis, A, optimizer)

    for step in range(record.step + 1, config.steps + 1):
        started = time.perf_counter()
        batch = draw_batch(generator, config, search, step)
        Q = search.space.embed(gram_schmidt(A))
        penalty, gradient = penalty_and_gradient(generator, Q.detach(), batch, config)
        _finite(penalty, "penalty", step)
        optimizer.zero_grad()
        Q.backward(gradient)
        _finite(float(torch.linalg.vector_norm(A.grad)), "gradient's norm", step)
        optimizer.param_groups[0]["lr"] = learning_rate(config, step)
        optimizer.step()

        basis = _basis(search, A)
        score = None
        if step % config.eval_every == 0:
            score = _finite(held_out_penalty(generator, basis, held_out), "held-out penalty", step)
        record = Record(
            step=step,
            penalty=penalty,
            held_out=score,
            learning_rate=learning_rate(config, step),
            seconds=time.perf_counter() - started,
        )
        yield _snapshot(record, before, basis, A, optimizer)


def learning_rate(config: DiscoverConfig, step: int) -> float:
    """Return the learning rate of a step, counted from 1; it does not depend on how many steps there will be."""
    return config.learning_rate / (1 + step / config.decay_steps) if config.decay_steps else config.learning_rate


def penalty_and_gradient(generator: Generator, Q: Tensor, batch: Batch, config: DiscoverConfig) -> tuple[float, Tensor]:
    """Compute the penalty of a batch and its gradient by Q, one micro-batch after the other.

    Args:
        generator: Frozen and in eval mode.
        Q: Orthonormal rows, (ndirs, |z|).
        batch: The samples.
        config: Micro-batch, epsilon, reduction, truncation.

    Returns:
        The penalty, and its gradient, (ndirs, |z|).
    """
    Q = Q.detach().requires_grad_()
    size = config.micro_batch or config.batch_size
    penalty = -math.inf if config.reduction == "max" else 0.0
    gradient = torch.zeros_like(Q)
    with full_float32():
        for start in range(0, config.batch_size, size):
            part = slice(start, start + size)
            f = image_map(generator, batch.points[part], Q, config.truncation)
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
    return penalty, gradient


def _basis(search: Search, A: Tensor) -> Tensor:
    with torch.no_grad():
        return search.space.embed(gram_schmidt(A))


def _snapshot(record: Record, before: float, basis: Tensor, A: Tensor, optimizer: torch.optim.Adam) -> Snapshot:
    state = {
        "record": dataclasses.asdict(record),
        "held_out_before": before,
        "A": A.detach().clone(),
        "optimizer": copy.deepcopy(optimizer.state_dict()),
    }
    return Snapshot(record=record, held_out_before=before, basis=basis, state=state)


def _restore(A: Tensor, optimizer: torch.optim.Adam, config: DiscoverConfig, state: Mapping[str, Any]) -> None:
    if state["A"].shape != A.shape:
        raise UserError(
            f"The state to resume from has a matrix of shape {tuple(state['A'].shape)}, the configuration asks for "
            f"{tuple(A.shape)}. Resume with the settings of that run."
        )
    done = state["record"]["step"]
    if done > config.steps:
        raise ConfigError("steps", f"must be at least {done}, the number already taken, got {config.steps}.")
    with torch.no_grad():
        A.copy_(state["A"])
    optimizer.load_state_dict(state["optimizer"])


def _freeze(generator: Generator) -> None:
    if isinstance(generator, torch.nn.Module):
        generator.eval().requires_grad_(False)


def _check_images(generator: Generator, held_out: HeldOutSet) -> None:
    """Make one image twice: it must be finite, and the same both times."""
    z = held_out.points.z[:1]
    f = image_map(generator, held_out.points[:1], torch.eye(generator.dim_z).to(z), held_out.truncation)
    check_deterministic(f, torch.zeros_like(z))
    with torch.no_grad():
        if not bool(f(torch.zeros_like(z)).isfinite().all()):
            raise UserError(f"Generator {generator.name!r} makes images with NaN or infinity. Check its weights.")


def _finite(value: float, what: str, step: int) -> float:
    if not math.isfinite(value):
        raise NonFiniteError(
            f"The {what} became {value} at step {step}. Stopped here; the last checkpoint is kept. "
            "Start a new run with a smaller --learning-rate or a larger --epsilon, and make sure that the generator "
            "computes in float32 and its weights are sound."
        )
    return value
