"""Learn directions: a joint start, then Adam on a free matrix A, whose orthonormalised rows Q move a generator."""

from __future__ import annotations

import copy
import dataclasses
import math
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from directions.basis import gram_schmidt, initial_matrix
from directions.device import explained, multiplying
from directions.errors import NonFiniteError, OutOfMemoryError, UserError
from directions.generators.base import Generator, check_gradients, check_images, chosen_layers
from directions.generators.registry import load_generator
from directions.held_out import HeldOutHessians, HeldOutSet, draw_held_out, held_out_penalty
from directions.joint.measure import Measurement, measure, measure_point, planned_measurement, planned_measurements
from directions.joint.moments import JoinedMoments, Moments
from directions.joint.solve import JointSolution, Solving, solve_in_steps
from directions.methods import Reconstructor, computed_basis
from directions.penalty import check_deterministic, penalty_per_sample
from directions.plan import Plan, make_plan, with_plan
from directions.ranks import Progress, Ranks, counter, no_progress
from directions.sampling import derived_rng, image_map
from directions.search import Batch, Search, draw_batch, shared_among, warn_if_no_third
from directions.settings.base import ConfigError
from directions.settings.discover import COMPUTED, SIGN_VECTORS_UP_TO, DiscoverConfig

if TYPE_CHECKING:
    from directions.direction_file import Directions

# The base point after which the run is planned again: the first, by which it was planned, may not be like the others.
_PACED = 4

WORTH_WHILE = 1e-3
"""Steps go on as long as the score falls by this share from one evaluation to the next."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """The numbers of one step."""

    step: int
    """Number of steps taken; 0 before the first."""
    penalty: float | None = None
    """Penalty of the step's samples (of method ``"voynov"`` the loss), before A was changed; ``None`` at step 0."""
    held_out: float | None = None
    """Held-out penalty after the step, every ``eval_every`` steps, else ``None``."""
    learning_rate: float | None = None
    """Learning rate of the step; ``None`` at step 0."""
    seconds: float
    """Duration of the step, held-out score included."""
    base_points: int | None = None
    """Number of base points that have been measured, as long as that goes on; ``None`` from the joint solution on, and
    in runs without one."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Snapshot:
    """Where a run stands after a step."""

    record: Record
    """The step's numbers."""
    held_out_before: float
    """Held-out penalty of the start: of the initial A, also in runs that go on from a joint solution."""
    basis: Tensor
    """Q after the step: orthonormal rows, (ndirs, |z|). After a joint start the last one has the best."""
    state: dict[str, Any]
    """What `discover` needs to go on from here: copied tensors and plain types."""
    joint: JointSolution | None = None
    """The joint solution that the run has started from, once there is one; its rows are those of ``basis`` at step 0,
    in this order."""
    gain: dict[str, Any] | None = None
    """What the steps after a joint start gained, in the last one: ``taken``, ``kept`` (the step whose basis is kept),
    and the ``score`` (its name) at the ``start`` and of the ``best``."""
    known: dict[Any, Any] = dataclasses.field(default_factory=dict)
    """What was measured of the generator at held-out places, whatever the directions: as `discover` was given it."""
    plan: dict[str, Any] | None = None
    """How the run was to spend its time, and what was ``spent``."""
    config: DiscoverConfig
    """Settings of the run, with what its plan has chosen."""

    def directions(
        self, generator: Generator | torch.nn.Module, *, ranks: Ranks | None = None, on_progress: Progress = no_progress
    ) -> Directions:
        """Measure the directions that have been found.

        Args:
            generator: As it was given to `discover`.
            ranks: As they were given to `discover`; each of them calls this, and gets the same.
            on_progress: Told what is being done.

        Returns:
            The directions, most active first, which can be saved.
        """
        from directions.evaluation.summary import summarise

        with explained(lambda: too_large(self.config, 1 if ranks is None else ranks.world_size)):
            generator = _as_generator(generator)
            return summarise(generator, self.config, self, ranks=ranks, known=self.known, on_progress=on_progress)


def _as_generator(generator: Generator | torch.nn.Module) -> Generator:
    return generator if isinstance(generator, Generator) else load_generator(generator)


def discover(
    generator: Generator | torch.nn.Module,
    config: DiscoverConfig,
    *,
    resume_from: Mapping[str, Any] | None = None,
    ranks: Ranks | None = None,
    on_progress: Progress = no_progress,
    known: dict[Any, Any] | None = None,
) -> Iterator[Snapshot]:
    """Learn directions, step by step; everything is checked before the first.

    The generator is put in eval mode, and its parameters no longer require gradients. On the CPU, with the same number
    of threads, a run is the same bit by bit whether or not it was interrupted and resumed, and whether its steps were
    asked for at once or added later. Micro-batches and several ranks change the rounding of sums only.

    Args:
        generator: Where to look for directions; a module is wrapped as by `load_generator`.
        config: How; its ``generator``, ``weights`` and ``device`` are not looked at, they belong to loading.
        resume_from: `Snapshot.state` of an earlier run with the same configuration (up to the fields in
            `directions.settings.discover.RESUMABLE`) and generator; ``None`` starts anew.
        ranks: The processes that share the work; each of them calls this, with the same generator, configuration and
            state, and takes the snapshots, which are the same on all. ``None`` is this process alone.
        on_progress: Told what is being done.
        known: What runs with the same generator and settings, up to seed, method and what only some methods have, have
            measured of the generator, filled by them: each measures only what is not there. ``None`` is nothing.

    Returns:
        Snapshots: the starting point (step 0, or the one that is resumed from, as it was), then one for each step. With
        a joint start, step 0 has one for each base point (or each round of one for every rank) and each start of the
        diagonalisation (with the last base point's record) before it has the one of the solution; and the steps end
        where the held-out score no longer falls.

    Raises:
        UserError: If the configuration does not fit the generator, the generator is not deterministic or gives no
            gradients where they are needed, or the state belongs to another run.

    Warns:
        UserWarning: If method ``"adam"`` is to learn fewer directions than the searched space has components, or a
            third of z is asked for by name in a generator that has no segments of z.

    Example:
        >>> from directions import DiscoverConfig, discover
        >>> from torch import nn
        >>> module = nn.Sequential(nn.Linear(4, 48), nn.Tanh(), nn.Unflatten(1, (3, 4, 4)))
        >>> snapshots = list(discover(module, DiscoverConfig(method="adam", steps=2)))
        >>> [snapshot.record.step for snapshot in snapshots]
        [0, 1, 2]
    """
    ranks = ranks or Ranks()
    generator = _as_generator(generator)
    started = time.perf_counter()
    if resume_from is not None:
        config = with_plan(config, resume_from.get("plan"))
    asked, config = config, shared_among(ranks, config)
    search = Search.resolve(generator, config)
    warn_if_no_third(generator, config)
    if config.method == "adam":
        search.warn_if_narrow()
    else:
        search = dataclasses.replace(search, ndirs=search.space.size)  # the most active are chosen at the end
    if isinstance(generator, torch.nn.Module):
        generator.eval().requires_grad_(False)
    held_out = draw_held_out(generator, config)
    differentiated = config.adam_steps > 0 or (
        "joint" in config.method and "gradients" in (one.kind for one in planned_measurements(config, search).values())
    )
    _check_generator(generator, held_out, differentiated)
    prepare_steps(generator, config)  # last, because what is compiled is compiled at its first pass with gradients
    rng = derived_rng(config.seed, purpose="init")
    dtype, device = held_out.points.z.dtype, held_out.points.z.device
    A = initial_matrix(search.ndirs, search.space.size, config.init, rng, dtype=dtype).to(device).requires_grad_()
    run = _Run(generator, asked, search, held_out, A, torch.optim.Adam([A]), ranks, on_progress, started)
    run.known = {} if known is None else known
    if config.method == "voynov":
        run.reconstructor = Reconstructor(generator, config, search)
    if resume_from is not None:
        run.restore(resume_from)

    def snapshots() -> Iterator[Snapshot]:
        with explained(lambda: too_large(config, ranks.world_size)):
            yield from _loop(run, resume_from or {})

    return snapshots()


@dataclass(eq=False)
class _Run:
    """What the parts of a run share."""

    generator: Generator
    asked: DiscoverConfig
    """With what a plan has chosen."""
    search: Search
    held_out: HeldOutSet
    A: Tensor
    optimizer: torch.optim.Adam
    ranks: Ranks
    on_progress: Progress
    started: float
    """When it was started, on `time.perf_counter`; for a resumed one earlier by what had been spent."""
    plan: Plan | None = None
    held_out_before: float = math.nan
    joint: JointSolution | None = None
    hessians: HeldOutHessians | None = None
    known: dict[Any, Any] = dataclasses.field(default_factory=dict)
    reconstructor: Reconstructor | None = None
    """Of method ``"voynov"``, trained with A."""
    over: bool = False
    """Whether the time is up."""
    best: dict[str, Any] | None = None
    """After a joint start: the best A, its step and score, the score of the start, and whether to stop there."""

    @property
    def config(self) -> DiscoverConfig:
        """The settings, with the micro-batch of a rank."""
        return shared_among(self.ranks, self.asked)

    @property
    def compares_hessians(self) -> bool:
        """Whether z is too long for bases to be compared by sign vectors."""
        return self.search.space.size > SIGN_VECTORS_UP_TO

    @torch.no_grad()
    def basis(self, A: Tensor | None = None) -> Tensor:
        """Q, (ndirs, |z|)."""
        return self.search.space.embed(gram_schmidt(self.A if A is None else A))

    def score(self, step: int) -> float:
        """Held-out penalty of the basis as it is."""
        score = held_out_penalty(self.generator, self.basis(), self.held_out, ranks=self.ranks)
        return _finite(score, "held-out penalty", step)

    def compare(self, step: int, held_out: float) -> dict[str, Any]:
        """What `best` becomes with the basis as it is: that one if it scores better, else steps shall end."""
        score = held_out
        if self.compares_hessians:
            assert self.hessians is not None, "measured before the first step"
            score = self.hessians.score(self.basis()).off_diagonal
        best = self.best or {"start": score, "score": math.inf, "stop": False}
        if score < (1 - WORTH_WHILE) * best["score"]:
            return best | {"A": self.A.detach().clone(), "step": step, "score": score}
        return best | {"stop": True}

    def measure_held_out(self) -> None:
        """Measure the Hessians by which bases are scored, and compared where sign vectors cannot."""
        places = self.config.held_out_places
        self.hessians = self.hessians or self.known.get(("hessians", places))
        if self.hessians is None:
            total = HeldOutHessians.images(self.search.space.size, places)
            count = counter(self.on_progress, "Measuring held-out Hessians", total)
            self.hessians = HeldOutHessians.measure(
                self.generator, self.config, places=places, ranks=self.ranks, count=count
            )
        self.known["hessians", len(self.hessians.places)] = self.hessians

    def spent(self) -> float:
        """Seconds that the run has taken."""
        return time.perf_counter() - self.started

    def late(self, needed: float) -> bool:
        """Whether there is a plan, and less than ``needed`` seconds of its time are left."""
        plan = self.plan
        return plan is not None and self.ranks.from_first(lambda: self.spent() + needed > plan.time)

    def make_plan(self) -> None:
        """Time the first base point, and choose what was not given."""
        self.on_progress("Measuring the first base point", 0, 0, "")
        one = dataclasses.replace(planned_measurement(self.config, self.search, "jacobian"), base_points=1)
        image, taken = math.inf, 0.0
        while taken < 0.5:  # the first passes are slower
            started = time.perf_counter()
            measure_point(self.generator, one, 0)
            seconds = time.perf_counter() - started
            image, taken = min(image, seconds / one.evaluations), taken + seconds
        spent = self.spent()
        self.follow(self.ranks.from_first(lambda: make_plan(self.asked, self.search, spent=spent, image=image)))
        self.held_out = draw_held_out(self.generator, self.config)

    def adjust_plan(self, one: Measurement, base_points: int, seconds: float) -> bool:
        """Plan again by what base points cost, within the time that was said; what was begun stays as it is.

        Args:
            one: What is being measured.
            base_points: How many have been measured.
            seconds: What each took, without the first.

        Returns:
            Whether that changes the plan.
        """
        assert self.plan is not None, "made before the first base point"
        begun = ("criterion", "held_out", "final_samples", "output_probes", "starts")
        config = self.asked.replace(time=self.plan.time, **{name: getattr(self.asked, name) for name in begun})
        image, spent = seconds * one.base_points / one.evaluations, self.spent() - base_points * seconds
        try:
            new = self.ranks.from_first(lambda: make_plan(config, self.search, spent=spent, image=image))
        except ConfigError:
            return False  # measuring ends when the time is up
        least = {"base_points": max(base_points, new.settings.get("base_points", 0))}
        new = dataclasses.replace(new, settings=self.plan.settings | new.settings | least)
        changed = new.settings != self.plan.settings
        if changed:
            self.follow(new)
        return changed

    def follow(self, plan: Plan, **fewer: int) -> None:
        """Take over what a plan has chosen, and say it; or fewer points or samples, because the time is up."""
        self.plan = dataclasses.replace(plan, settings=plan.settings | fewer)
        self.asked = with_plan(self.asked, self.plan.to_dict())
        if not fewer:
            self.on_progress(plan.words, 0, 0, "")

    def shorten(self, kind: str, base_points: int) -> bool:
        """Be content with the base points that have been measured, if the time is up and their number was not given."""
        name = "hessian_points" if self.config.criterion == "both" and kind == "hessian" else "base_points"
        if self.plan is None or name not in self.asked.free or not self.late(self.plan.time - self.plan.measure_until):
            return False
        self.follow(self.plan, **{name: base_points})
        return True

    def shorten_finish(self) -> None:
        """Take fewer samples for what comes last, if they would not fit into the time any more."""
        for part in (2, 4, 8):
            if self.plan is None or not self.late(self.plan.finish / part * 2):
                return
            self.follow(self.plan, final_samples=max(4, self.config.final_samples // 2))

    def snapshot(self, record: Record, *, last: bool = False, **more: Any) -> Snapshot:
        """A snapshot that later steps do not change."""
        if last:
            self.shorten_finish()
            self.measure_held_out()
        state = {
            "record": dataclasses.asdict(record),
            "held_out_before": self.held_out_before,
            "A": self.A.detach().clone(),
            "optimizer": copy.deepcopy(self.optimizer.state_dict()),
            "moments": None,
            "joint": self.joint and dict(vars(self.joint)),
        }
        if self.reconstructor is not None:
            state["reconstructor"] = self.reconstructor.state_dict()
        if self.best is not None:
            state["best"] = dict(self.best)
        if self.hessians is not None:
            state["held_out_hessians"] = list(self.hessians.places)
        plan = None
        if self.plan is not None:
            plan = state["plan"] = self.plan.to_dict() | {"spent": self.spent()}
            state["over"] = self.over
        basis, gain = self.basis(), None
        if last and self.best is not None:
            # A last step between two scores is compared as well, but not for those that may be added later.
            between = record.step % self.config.eval_every
            best = self.compare(record.step, self.score(record.step)) if between else self.best
            basis = self.basis(best["A"])
            score = "held-out Hessians off the diagonal" if self.compares_hessians else "held-out penalty"
            gain = {"taken": record.step, "kept": best["step"], "score": score}
            gain |= {"start": best["start"], "best": best["score"]}
        return Snapshot(
            record=record, held_out_before=self.held_out_before, basis=basis, state=state | more, joint=self.joint,
            gain=gain, known=self.known, plan=plan, config=self.asked,
        )  # fmt: skip

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
        if self.reconstructor is not None:
            self.reconstructor.load_state_dict(state["reconstructor"])
        self.held_out_before = state["held_out_before"]
        self.joint = JointSolution(**state["joint"]) if state.get("joint") else None
        self.best = state.get("best") and dict(state["best"])
        if state.get("plan"):
            plan = dict(state["plan"])
            self.started -= plan.pop("spent")
            self.plan = Plan(**plan)
            self.over = state["over"]
            if self.config.time not in (None, self.plan.time):  # given anew: for steps, and what comes after
                self.plan, self.over = dataclasses.replace(self.plan, time=self.config.time), False
        if state.get("held_out_hessians"):
            self.hessians = HeldOutHessians(self.search.space, tuple(state["held_out_hessians"]))


def _loop(run: _Run, state: Mapping[str, Any]) -> Iterator[Snapshot]:
    started = time.perf_counter()
    config, A = run.config, run.A
    if state:
        record = Record(**state["record"])
    else:
        if config.is_planned(run.search.space.size):
            run.make_plan()
            config = run.config
        if config.method in COMPUTED:
            found = computed_basis(run.generator, config, run.search, ranks=run.ranks, on_progress=run.on_progress)
            with torch.no_grad():
                A.copy_(run.ranks.from_first(lambda: found))
        run.on_progress("Scoring at the held-out places", 0, 0, "")
        score = run.held_out_before = run.score(step=0)
        base_points = 0 if "joint" in config.method else None
        record = Record(step=0, held_out=score, seconds=time.perf_counter() - started, base_points=base_points)
    if record.base_points is None:
        yield run.snapshot(record, last=_ended(run, record.step))
    else:
        yield from _joint_start(run, record, state)
        config = run.config  # the plan may have been made again

    scored = run.held_out_before if record.held_out is None else record.held_out
    for step in range(record.step + 1, config.adam_steps + 1):
        if _ended(run, step - 1):
            return
        started = time.perf_counter()
        Q = run.search.space.embed(gram_schmidt(A))
        if run.reconstructor is not None:
            penalty, gradient = run.reconstructor.step(Q, step)
        else:
            batch = draw_batch(run.generator, config, run.search, step)
            penalty, gradient = penalty_and_gradient(run.generator, Q.detach(), batch, config, run.ranks)
        _finite(penalty, "penalty", step)
        run.optimizer.zero_grad()
        Q.backward(gradient)
        _finite(float(torch.linalg.vector_norm(A.grad)), "gradient's norm", step)
        rate = learning_rate(config, step)
        run.optimizer.param_groups[0]["lr"] = rate
        run.optimizer.step()
        run.ranks.align(A)

        held_out = None
        if step % config.eval_every == 0:
            held_out = scored = run.score(step)
            if run.best is not None:
                run.best = run.compare(step, scored)
        if run.late(run.plan.finish if run.plan else 0.0):
            run.over = True
        seconds = time.perf_counter() - started
        record = Record(step=step, penalty=penalty, held_out=held_out, learning_rate=rate, seconds=seconds)
        run.on_progress("Steps", step, config.adam_steps, f"held-out {scored:.4g}, penalty {penalty:.4g}")
        yield run.snapshot(record, last=_ended(run, step))


def _ended(run: _Run, step: int) -> bool:
    """Whether no step follows."""
    return run.over or step >= run.config.adam_steps or (run.best is not None and run.best["stop"])


def _joint_start(run: _Run, record: Record, state: Mapping[str, Any]) -> Iterator[Snapshot]:
    """Measure and diagonalise; A is then the solution. The first snapshot has the record as it is."""
    started = time.perf_counter()
    known = state.get("moments") or {}
    known = {"hessian": known} if "base_points" in known else dict(known)  # of before there were other criteria
    measured: list[Moments] = []
    kinds = list(planned_measurements(run.config, run.search))
    while len(measured) < len(kinds):
        kind = kinds[len(measured)]
        one = planned_measurements(run.config, run.search)[kind]
        paced, adjusted = math.inf, False
        for moments in measure(run.generator, one, resume_from=known.get(kind), ranks=run.ranks):
            known[kind] = moments.state_dict()
            done = sum(part["base_points"] for part in known.values())
            if done != record.base_points:
                record = Record(step=0, seconds=time.perf_counter() - started, base_points=done)
            elif moments.base_points == 0 and measured:
                continue  # this place is recorded
            yield run.snapshot(record, moments=dict(known))
            run.on_progress(f"Measuring {kind.capitalize()}s", moments.base_points, one.base_points, "")
            started = time.perf_counter()
            if moments.base_points == 1:
                paced = started
            if not run.plan or not 1 < moments.base_points < one.base_points:
                continue
            if moments.base_points == _PACED and kind == kinds[0] and paced < started:
                adjusted = run.adjust_plan(one, _PACED, (started - paced) / (_PACED - 1))
            if adjusted or run.shorten(kind, moments.base_points):
                break
        if not adjusted:
            measured.append(moments)
    joined = measured[0] if len(measured) == 1 else JoinedMoments(tuple(measured))
    config = run.config

    def show(solving: Solving, iteration: int, energy: float) -> None:
        run.on_progress("Diagonalising", solving.done, solving.total, f"iteration {iteration}, energy {energy:.6g}")

    for solving in solve_in_steps(
        joined, starts=config.starts, seed=config.seed, ranks=run.ranks, resume_from=state.get("solving"),
        on_iteration=show,
    ):  # fmt: skip
        if solving.solution is None:
            yield run.snapshot(record, moments=dict(known), solving=solving.state_dict())
        else:
            joint = solving.solution
    run.on_progress("Diagonalising", solving.total, solving.total, "")
    run.joint = run.ranks.from_first(lambda: joint)
    with torch.no_grad():
        run.A.copy_(run.joint.basis)
    run.on_progress("Scoring the joint solution", 0, 0, "")
    score = run.score(step=0)
    if config.adam_steps:
        if run.compares_hessians:
            run.measure_held_out()
        run.best = run.compare(0, score)
    record = Record(step=0, held_out=score, seconds=time.perf_counter() - started)
    yield run.snapshot(record, last=_ended(run, 0))


def learning_rate(config: DiscoverConfig, step: int) -> float:
    """Return the learning rate of a step, counted from 1; it does not depend on how many steps there will be."""
    return config.learning_rate / (1 + step / config.decay_steps) if config.decay_steps else config.learning_rate


def penalty_and_gradient(
    generator: Generator, Q: Tensor, batch: Batch, config: DiscoverConfig, ranks: Ranks | None = None
) -> tuple[float, Tensor]:
    """Compute the penalty of a batch and its gradient by Q, one micro-batch after the other.

    Args:
        generator: Frozen and in eval mode.
        Q: Orthonormal rows, (ndirs, |z|).
        batch: The samples.
        config: Criterion, micro-batch, epsilon, reduction, truncation, layers, precision.
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
            each = penalty_per_sample(
                f, batch.w[part], criterion="jacobian" if config.criterion == "jacobian" else "hessian",
                epsilon=config.epsilon, reduction=config.reduction, probes=batch.probes[:, part],
            )  # fmt: skip
            if config.reduction == "mean":
                share = each.sum() / config.batch_size
                gradient += torch.autograd.grad(share, Q)[0]
                penalty += share.item()
            elif not each.amax().item() <= penalty:  # also true for NaN, which then ends the run
                penalty, gradient = each.amax().item(), torch.autograd.grad(each.amax(), Q)[0]
                if math.isnan(penalty):
                    break
    # Of several ranks, the sum, or what belongs to the largest.
    if config.reduction == "mean":
        gradient, total = ranks.sum([gradient, torch.tensor(penalty, dtype=torch.float64)])
        return float(total), gradient
    penalties = ranks.collect([penalty])
    first = max(range(len(penalties)), key=lambda rank: (math.isnan(penalties[rank]), penalties[rank]))
    (gradient,) = ranks.sum([gradient if ranks.rank == first else torch.zeros_like(gradient)])
    return penalties[first], gradient


def _check_generator(generator: Generator, held_out: HeldOutSet, differentiated: bool) -> None:
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


def prepare_steps(generator: Generator, config: DiscoverConfig) -> None:
    """Make a generator carry out the passes of steps as a configuration says: compiled, recomputing, how precisely.

    Raises:
        ConfigError: If the generator or its device cannot do it.

    Warns:
        UserWarning: If the precision makes the penalty's gradient visibly wrong.
    """
    if config.precision == "tf32" and generator.device.type != "cuda":
        raise ConfigError(
            "precision", f"tf32 is for CUDA GPUs, and generator {generator.name!r} is on {generator.device}."
        )
    if config.precision == "bf16":
        warnings.warn(
            "precision bf16 changes the penalty and its gradient, the more the smaller epsilon is: see "
            "docs/precision.md. Held-out scores are in float32 and tell whether the steps help.",
            stacklevel=3,
        )
    prepare = getattr(generator, "prepare_steps", None)
    if prepare is not None:
        prepare(compiled=config.compile, recompute=config.recompute)
        return
    for name in ("compile", "recompute"):
        if getattr(config, name):
            raise ConfigError(name, f"is for the generators of this package, which {generator.name!r} is not.")


def too_large(config: DiscoverConfig, world_size: int = 1) -> OutOfMemoryError:
    """Say that a run's images did not fit, and which micro-batch to try.

    Args:
        config: Its settings.
        world_size: Number of processes that share a batch.

    Returns:
        The error, with the micro-batch to try, if there is a smaller one.
    """
    each, probes = config.batch_size // world_size, 2 * config.num_probes
    together = config.micro_batch or each
    what = f"Out of memory with {probes * together} images at once, {probes} for each sample of a micro-batch of "
    smaller = [size for size in range(together // 2, 0, -1) if each % size == 0]
    if smaller:
        allowed = "" if len(smaller) == 1 else f" (or {', '.join(map(str, smaller[1:]))})"
        return OutOfMemoryError(
            f"{what}{together}. Try --micro-batch {smaller[0]}{allowed}: a step keeps its {config.batch_size} samples, "
            "and its result up to rounding.",
            micro_batch=smaller[0],
        )
    fewer = " A new run may take --num-probes 2." if config.num_probes > 2 else ""
    held = "" if config.recompute else " A BigGAN holds less with --recompute, at the cost of time."
    return OutOfMemoryError(
        f"{what}1, which cannot be made smaller.{fewer}{held} Or use a generator of fewer pixels, or a --device with "
        "more memory."
    )


def _finite(value: float, what: str, step: int) -> float:
    """Let a number pass if it is one."""
    if not math.isfinite(value):
        kept = "; the last checkpoint is kept" if step else ""
        raise NonFiniteError(
            f"The {what} became {value} at step {step}. Stopped here{kept}. "
            "Start a new run with a smaller --learning-rate or a larger --epsilon, and make sure that the generator "
            "computes in float32 and its weights are sound."
        )
    return value
