"""Runs on disk, of discovery and GAN training: their folder, the signals that stop them, and a discovery's record."""

from __future__ import annotations

import contextlib
import datetime as dt
import importlib.util
import io
import itertools
import json
import math
import os
import platform
import re
import secrets
import shutil
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from directions import __version__
from directions.direction_file import Directions, load_directions
from directions.direction_file.annotate import changed_directions, sized_by_hand
from directions.direction_file.format import short
from directions.errors import Interrupted, MissingExtraError, NonFiniteError, OutOfMemoryError, RankLostError, UserError
from directions.files import explained, write_bytes, write_text
from directions.plan import with_plan
from directions.ranks import Progress, Ranks, no_progress
from directions.settings.discover import DiscoverConfig

if TYPE_CHECKING:
    from directions.discovery import Record, Snapshot
    from directions.generators.base import Generator

CHECKPOINT_VERSION = 1

SAME_DIRECTION = 0.9
"""|cosine| from which on a direction of a longer run counts as one of the shorter run."""

_DEFAULT_NAME = re.compile(r"d\d+")
LONGEST_NAME = 200
"""Characters of a run's name: a folder's may have 255 bytes, and its number is part of it."""

_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{LONGEST_NAME - 1}}}")
# Of the environment: what may change the last digits of a run's numbers.
_ROUNDING = ("torch", "machine", "cpu", "threads", "gpu", "world_size")


def _inside(name: str) -> Any:
    """Make a property: where a file of this name is in the folder."""
    return property(lambda self: self.path / name)


@dataclass(frozen=True)
class RunFolder:
    """A run folder ``outputs/00012-name/``: what was asked for, where it ran, what happened, and what came out.

    Every file is replaced as a whole or added to line by line: a run that was killed at any moment goes on from its
    checkpoint, and its ``stats.jsonl`` is then what an unbroken run's would be.
    """

    path: Path
    writes: bool = True
    """Whether this process writes; of several ranks rank 0 alone does, and may be on another machine."""

    environment_path: ClassVar[Path] = _inside("environment.json")
    """Versions, machine and arguments at the start, JSON."""
    config_path: ClassVar[Path] = _inside("config.json")
    """The resolved configuration, JSON."""
    stats_path: ClassVar[Path] = _inside("stats.jsonl")
    """One JSON line for each step."""
    checkpoint_path: ClassVar[Path] = _inside("checkpoint.pt")
    """Where to go on from: tensors and plain types, read without pickle's powers."""
    directions_path: ClassVar[Path] = _inside("directions.safetensors")
    """What came out."""
    log_path: ClassVar[Path] = _inside("log.txt")
    """What happened, with the time of day."""

    @classmethod
    def create(
        cls,
        out: str | os.PathLike[str],
        name: str,
        config: Mapping[str, Any],
        *,
        ranks: Ranks | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> RunFolder:
        """Make the next numbered folder, with the configuration and the environment in it.

        Args:
            out: Folder for runs; made if it is not there.
            name: What follows the number: letters, digits, ``.``, ``_`` and ``-``.
            config: Settings of the run, as plain JSON types.
            ranks: The processes that work on it, of which the first makes the folder; ``None`` is this one alone.
            facts: What else to keep in ``environment.json``.

        Returns:
            The folder ``out/NNNNN-name``, of this run alone; its number is the next after the largest.

        Raises:
            UserError: If the name is not allowed, or the folder cannot be made or written; nothing is then left.
        """
        ranks = ranks or Ranks()
        check_name(name)

        def make() -> Path:
            with explained(out):
                Path(out).mkdir(parents=True, exist_ok=True)
                folder = cls(_next_folder(Path(out), name))
            try:
                folder.write_config(config)
                environment = describe_environment(ranks.world_size) | dict(facts or {})
                write_text(folder.environment_path, _json(environment))
            except BaseException:
                shutil.rmtree(folder.path)
                raise
            return folder.path

        return cls(ranks.from_first(make), writes=ranks.first)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> RunFolder:
        """Open the folder of an earlier run.

        Args:
            path: The folder.

        Returns:
            The folder.

        Raises:
            UserError: If it is not the folder of a run.
        """
        folder = cls(Path(path))
        if not folder.config_path.is_file():
            reason = "it has no config.json" if folder.path.exists() else "it does not exist"
            advice = "Give the folder that `discover` or `gan train` printed, such as outputs/00000-builtin."
            raise UserError(f"{path} is not a run folder: {reason}. {advice}")
        return folder

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write the configuration, also when a run is extended."""
        if self.writes:
            write_text(self.config_path, _json(config))

    def read_config(self) -> dict[str, Any]:
        """Read the configuration, unchecked.

        Returns:
            What `write_config` was given.

        Raises:
            UserError: If the file is damaged.
        """
        with contextlib.suppress(OSError, ValueError):
            settings = json.loads(self.config_path.read_text(encoding="utf-8"))
            if isinstance(settings, dict):
                return settings
        raise UserError(f"{self.config_path} cannot be used: it is not the JSON that was written. Start a new run.")

    def write_checkpoint(self, state: Mapping[str, Any], **facts: Any) -> None:
        """Write where the run stands, replacing the checkpoint before it in one go.

        Args:
            state: Tensors and plain types.
            facts: What else to keep beside it.
        """
        if not self.writes:
            return
        import torch

        buffer = io.BytesIO()  # torch reports a full disk as RuntimeError without a cause; write_bytes says what it is
        torch.save({"version": CHECKPOINT_VERSION, **facts, "state": dict(state)}, buffer)
        write_bytes(self.checkpoint_path, buffer.getvalue())

    def read_checkpoint(self) -> dict[str, Any] | None:
        """Read where the run stands.

        Returns:
            The ``state`` and the other facts that `write_checkpoint` was given, tensors on the CPU; ``None`` if the run
            ended before its first checkpoint.

        Raises:
            UserError: If the file is damaged or of another format.
        """
        import torch

        if not self.checkpoint_path.exists():
            return None
        try:
            content = torch.load(self.checkpoint_path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises whatever the damaged bytes lead to
            reason = f"is damaged or not a checkpoint ({type(error).__name__})"
            raise UserError(f"{self.checkpoint_path} {reason}. Start a new run.") from error
        found = content.get("version") if isinstance(content, dict) and "state" in content else None
        if found != CHECKPOINT_VERSION:
            reason = f"must be a checkpoint of version {CHECKPOINT_VERSION}, got {found!r}"
            raise UserError(f"{self.checkpoint_path} {reason}. Start a new run.")
        return dict(content)

    def remove_partial_files(self) -> None:
        """Delete what writes that were killed have left beside their targets."""
        # Not in other folders, nor folders: a render that is under way may be writing pictures there.
        for place in (self.path, self.path / "samples") if self.writes else ():
            for left in filter(Path.is_file, place.glob(".*.partial*")):
                left.unlink()

    def append_stats(self, line: Mapping[str, Any]) -> None:
        """Add a line to ``stats.jsonl`` and force it to disk, so that none is missing before a checkpoint."""
        self._append(self.stats_path, json.dumps(line))

    def keep_stats(self, wanted: Callable[[Mapping[str, Any]], bool]) -> None:
        """Drop the lines of ``stats.jsonl`` that are not wanted, and whatever a kill left of a line."""
        if self.writes:
            kept = [json.dumps(line) + "\n" for line in self.read_stats() if wanted(line)]
            write_text(self.stats_path, "".join(kept))

    def read_stats(self) -> list[dict[str, Any]]:
        """Return the whole lines of ``stats.jsonl``, in order; none if it is not there."""
        stats = []
        for line in self.stats_path.read_text(encoding="utf-8").splitlines() if self.stats_path.exists() else ():
            with contextlib.suppress(json.JSONDecodeError):
                stats.append(json.loads(line))
        return stats

    def log(self, message: str) -> None:
        """Add a line with the time of day to ``log.txt``, if there is room for it."""
        now = dt.datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        with contextlib.suppress(UserError):
            self._append(self.log_path, f"{now}  {message}")

    def _append(self, path: Path, line: str) -> None:
        if not self.writes:
            return
        with explained(path), path.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")
            file.flush()
            os.fsync(file.fileno())

    def read_environment(self) -> dict[str, Any]:
        """Return what ``environment.json`` holds; nothing if it is missing or damaged."""
        with contextlib.suppress(OSError, ValueError, TypeError):
            return {"world_size": 1} | json.loads(self.environment_path.read_text(encoding="utf-8"))
        return {}

    def environment_changes(self, world_size: int = 1) -> list[str]:
        """Say in what the present environment differs from the recorded one, as far as it may change rounding.

        Args:
            world_size: Number of processes now.

        Returns:
            One phrase for each difference.
        """
        before, now = self.read_environment(), describe_environment(world_size)
        if not before:
            return [f"{self.environment_path.name} is missing or damaged"]
        return [f"{name} was {before.get(name)}, is {now[name]}" for name in _ROUNDING if before.get(name) != now[name]]


def check_name(name: str) -> None:
    """Check the name of a run.

    Args:
        name: What follows the number in the folder's name.

    Raises:
        UserError: If it could not be part of a folder's name everywhere.
    """
    if not _NAME.fullmatch(name):
        allowed = f"letters, digits, '.', '_', '-', at most {LONGEST_NAME}, and start with a letter or digit"
        raise UserError(f"name must be {allowed}, got {short(name)}.")


def name_after(path: str, otherwise: str) -> str:
    """Name a run after a generator or a folder of images, by the last part of its path, or otherwise if that is odd."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(path).resolve().name).strip("-._")
    return plain[:LONGEST_NAME] or otherwise


def _next_folder(out: Path, name: str) -> Path:
    """Make the next numbered folder."""
    while True:
        taken = [int(match[1]) for entry in out.iterdir() if (match := re.match(r"(\d{5,})-", entry.name))]
        path = out / f"{max(taken, default=-1) + 1:05d}-{name}"
        with contextlib.suppress(FileExistsError):  # another run has been faster
            path.mkdir()
            return path


def describe_environment(world_size: int = 1) -> dict[str, Any]:
    """Describe where a run takes place.

    Args:
        world_size: Number of processes that work on it.

    Returns:
        Versions, machine, threads, number of processes and the command's arguments, as plain JSON types.
    """
    import torch

    cpu = platform.processor()
    with contextlib.suppress(OSError, AttributeError):
        cpu = re.search(r"^model name\s*:\s*(.*\S)", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.M)[1]  # type: ignore[index]
    return {
        "directions": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": metadata.version("numpy"),
        "system": platform.platform(),
        "machine": platform.machine(),
        "cpu": cpu,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "world_size": world_size,
        "arguments": sys.argv[1:],
    }


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2) + "\n"


class StopSignals:
    """Context in which SIGINT, SIGTERM and, unless it is ignored, SIGHUP raise `Interrupted` wherever the program is.

    What must not be left half done goes into a `deferred` block, at whose end they raise; a second one raises at once.
    Once `Interrupted` has been raised, further ones change nothing, so that a checkpoint can be written.

    Several ranks stop together, at the `check` or end of a block where all of them have learned of it, whichever was
    sent the signal; if they have exchanged nothing for some seconds, each by itself. Outside the main thread, where
    Python allows no handlers, this does nothing.

    Args:
        ranks: Those that stop together; ``None`` is this process alone.
    """

    _PATIENCE = 4.0
    """Seconds after which a rank does not wait for the next exchange any more."""

    def __init__(self, ranks: Ranks | None = None) -> None:
        self._ranks = ranks or Ranks()
        self._deferred, self._received, self._raised = 0, 0, False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        """Install the handlers."""
        if threading.current_thread() is threading.main_thread():
            for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                if signum != signal.SIGHUP or signal.getsignal(signum) != signal.SIG_IGN:
                    self._previous[signum] = signal.signal(signum, self._handle)
            if self._ranks.world_size > 1:
                self._previous[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._lose_patience)
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        """Put the earlier handlers back; of several ranks, ignore what may still come if the run has been ended."""
        if self._ranks.world_size > 1 and self._previous:
            signal.setitimer(signal.ITIMER_REAL, 0)
        # As soon as one rank has left, torchrun sends the others SIGTERM, which must not cut short what they say.
        ending = error is not None and self._ranks.world_size > 1
        for signum, handler in self._previous.items():
            signal.signal(signum, signal.SIG_IGN if ending else handler)

    @property
    def requested(self) -> bool:
        """Whether a signal has come, as far as all ranks know."""
        return self._ranks.stop_signal != 0

    def check(self) -> None:
        """Raise if a signal has come, as far as all ranks know.

        Raises:
            Interrupted: If so, for the first time.
        """
        if self.requested and not self._raised:
            self._raise(self._ranks.stop_signal)

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Let a signal that comes within the block raise at its end.

        Yields:
            Nothing.
        """
        self._deferred += 1
        try:
            yield
        finally:
            self._deferred -= 1
        self.check()

    def _raise(self, signum: int) -> None:
        self._raised = True
        raise Interrupted(signum)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self._raised:
            return
        again, self._received = self._received, signum
        self._ranks.request_stop(signum)
        alone = self._ranks.world_size == 1
        if alone and (again or not self._deferred):
            self._raise(signum)
        if not alone:
            signal.setitimer(signal.ITIMER_REAL, self._PATIENCE)
        if self._ranks.first and not again:
            once_more = b"; once more to stop at once" if alone else b""
            # Not print: the signal may have come in the middle of another one, whose buffer must not be entered twice.
            with contextlib.suppress(OSError):  # the terminal may be gone
                os.write(2, b"\nFinishing the step and writing a checkpoint%s.\n" % once_more)

    def _lose_patience(self, signum: int, frame: FrameType | None) -> None:
        if self._deferred:
            signal.setitimer(signal.ITIMER_REAL, 1.0)
        elif not self._raised:
            self._raise(self._received)


def require_loggers(**wanted: bool) -> None:
    """Check that curves can be written as asked for.

    Args:
        wanted: For ``tensorboard`` and ``wandb`` whether to.

    Raises:
        MissingExtraError: If the package of one is not installed.
    """
    for package, asked in wanted.items():
        if asked and importlib.util.find_spec(package) is None:
            raise MissingExtraError(f"--{package}", package)


@contextlib.contextmanager
def event_writer(
    folder: RunFolder, *, tensorboard: bool, wandb: bool
) -> Iterator[Callable[[int, Mapping[str, float | None]], None]]:
    """Write curves for TensorBoard beside a run's other files, and send them to Weights & Biases.

    Args:
        folder: Of the run.
        tensorboard: Whether to write events.
        wandb: Whether to send curves.

    Yields:
        A function of a step and its numbers, of which those that are ``None`` are left out.
    """
    with contextlib.ExitStack() as stack:
        logs = [_tensorboard(folder)] if tensorboard and folder.writes else []
        logs += [_wandb(folder, stack)] if wandb and folder.writes else []

        def write(step: int, values: Mapping[str, float | None]) -> None:
            for log in tuple(logs):
                try:
                    log(step, {name: value for name, value in values.items() if value is not None})
                except Exception as error:  # noqa: BLE001, PERF203 - the run is worth more
                    logs.remove(log)
                    warnings.warn(f"Curves end at step {step}: {error}. The run goes on.", UserWarning, stacklevel=2)

        yield write


def _tensorboard(folder: RunFolder) -> Callable[[int, Mapping[str, float]], None]:
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    path = folder.path / "tensorboard" / f"events.out.tfevents.{time.time():.6f}"

    # Not by a SummaryWriter, whose thread shows a traceback when the disk is full.
    def write(step: int, values: Mapping[str, float]) -> None:
        scalars = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        events = [Event(step=step, summary=Summary(value=scalars))]
        if not path.exists():  # events of this step and later, from before an interruption, are hidden
            path.parent.mkdir(exist_ok=True)
            start = Event(step=step, session_log=SessionLog(status=SessionLog.START))
            events = [Event(file_version="brain.Event:2"), start, *events]
        with path.open("ab") as file:
            for event in events:
                event.wall_time = time.time()
                RecordWriter(file).write(event.SerializeToString())

    return write


def _wandb(folder: RunFolder, stack: contextlib.ExitStack) -> Callable[[int, Mapping[str, float]], None]:
    import wandb

    number = folder.path / "wandb-id.txt"
    if not number.exists():
        write_text(number, secrets.token_hex(8))
    try:
        run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "directions"), name=folder.path.name, dir=str(folder.path),
            config=folder.read_config(), id=number.read_text(encoding="utf-8"), resume="allow",
        )  # fmt: skip
    except wandb.Error as error:
        advice = "Log in (wandb login), set WANDB_MODE=offline, or leave out --wandb."
        raise UserError(f"Weights & Biases does not start: {error} {advice}") from error

    def finish() -> None:
        with contextlib.suppress(Exception):  # the run has ended, and its result is written
            run.finish()

    stack.callback(finish)
    return lambda step, values: run.log(dict(values), step=step)


def record_run(
    snapshots: Iterable[Snapshot],
    generator: Generator,
    folder: RunFolder,
    *,
    tensorboard: bool = False,
    wandb: bool = False,
    on_record: Callable[[Record], None] = lambda record: None,
    on_progress: Progress = no_progress,
    ranks: Ranks | None = None,
) -> Directions:
    """Run discovery to its end, or to a signal, and keep everything that a later resume needs.

    Args:
        snapshots: From `directions.discover`, called with ``generator``.
        generator: Where directions are learned.
        folder: Where everything goes.
        tensorboard: Whether to write TensorBoard events too.
        wandb: Whether to send curves to Weights & Biases.
        on_record: Called after each step has been recorded.
        on_progress: Told what is done after the last step.
        ranks: As they were given to `discover`; each of them calls this. ``None`` is this process alone.

    Returns:
        The directions, which are also in the folder.

    Raises:
        Interrupted: After a signal, when the checkpoint has been written.
        NonFiniteError: If the penalty is no longer a number; the checkpoint holds the step before.
        OutOfMemoryError: If a micro-batch does not fit into memory; the checkpoint holds the step before.
        RankLostError: If another rank is gone; the checkpoint holds the last step that all have finished.
    """
    ranks = ranks or Ranks()
    last: Snapshot | None = None
    kept_at = 0.0
    made_with = {"generator": {"name": generator.name, "digest": generator.digest}}
    curves = event_writer(folder, tensorboard=tensorboard, wandb=wandb)
    with curves as write_events, StopSignals(ranks) as stop:
        try:
            # The loop keeps nothing but its snapshots, and can be left anywhere between two of them.
            for snapshot in snapshots:
                with stop.deferred():
                    if last is None:
                        _drop_later_stats(folder, snapshot.record)
                    previous, last = last, snapshot
                    if previous is not None and previous.record is snapshot.record:  # another start is diagonalised
                        if time.monotonic() - kept_at > 1.0:
                            folder.write_checkpoint(snapshot.state, **made_with)
                            kept_at = time.monotonic()
                        continue
                    folder.append_stats(vars(snapshot.record))
                    if snapshot.record.base_points is None:  # the others have step 0: curves begin with the solution
                        names = ("penalty", "held_out", "learning_rate", "seconds")
                        write_events(snapshot.record.step, {name: getattr(snapshot.record, name) for name in names})
                    if _wants_checkpoint(snapshot, previous):
                        folder.write_checkpoint(snapshot.state, **made_with)
                        kept_at = time.monotonic()
                    _log(folder, snapshot)
                    on_record(snapshot.record)
            assert last is not None, "discover yields its starting point"
            found = last.directions(generator, ranks=ranks, on_progress=on_progress)
        except (Interrupted, NonFiniteError, OutOfMemoryError, RankLostError) as error:
            with stop.deferred():
                if last is not None:
                    folder.write_checkpoint(last.state, **made_with)
                interrupted = isinstance(error, Interrupted)
                where = "" if last is None else f" after {stands_at(vars(last.record))}; checkpoint written"
                folder.log(f"Interrupted{where}." if interrupted else str(error))
                if interrupted and stop.requested:
                    with contextlib.suppress(RankLostError):
                        ranks.wait()  # none leaves before it is written
            raise
        with stop.deferred():
            if folder.writes:
                found = _keep_annotations(folder, found)
                found.save(folder.directions_path)
            folder.log(f"Finished: {folder.directions_path.name} written.")
    return found


def stands_at(record: Mapping[str, Any]) -> str:
    """Say how far a run is, by its last record."""
    base_points = record.get("base_points")
    return f"step {record['step']}" if base_points is None else f"base point {base_points}"


def _drop_later_stats(folder: RunFolder, first: Record) -> None:
    """Drop what a kill has left half written, and the lines from the first record on, which will come again."""

    def position(line: Mapping[str, Any]) -> tuple[int, float]:
        base_points = line.get("base_points")  # not in older ones
        return line["step"], math.inf if base_points is None else base_points

    folder.remove_partial_files()
    folder.keep_stats(lambda line: position(line) < position(vars(first)))


def _wants_checkpoint(snapshot: Snapshot, previous: Snapshot | None) -> bool:
    record, config = snapshot.record, snapshot.config
    if record.base_points is None:
        return record.step % config.checkpoint_every == 0 or record.step == config.adam_steps or bool(snapshot.gain)
    # A base point of a large generator takes minutes: what has cost time is kept.
    costly = record.seconds > 1.0
    before = -1 if previous is None or previous.record.base_points is None else previous.record.base_points
    due = record.base_points // config.checkpoint_every > before // config.checkpoint_every  # ranks measure several
    return costly or due or record.base_points == config.all_base_points


def _log(folder: RunFolder, snapshot: Snapshot) -> None:
    record, config = snapshot.record, snapshot.config
    if record.base_points == config.all_base_points:
        what = {"hessian": "Hessians", "jacobian": "Jacobians", "both": "Jacobians and Hessians"}[config.criterion]
        folder.log(f"{what} measured at {record.base_points} base points.")
    if snapshot.joint is not None and record.step == 0:
        joint = snapshot.joint
        folder.log(f"Diagonalised jointly: {joint.agreeing_starts} of {len(joint.excess)} starts reached the best.")
    if record.held_out is not None:
        folder.log(f"Step {record.step} of {config.adam_steps}: held-out penalty {record.held_out:.6g}.")
    if snapshot.gain is not None:
        folder.log(gain_in_words(snapshot.gain))


def gain_in_words(gain: Mapping[str, Any]) -> str:
    """Say what steps gained over a joint solution.

    Args:
        gain: `Snapshot.gain`, or ``steps`` of a direction file's ``joint``.

    Returns:
        A sentence.
    """
    if not gain["kept"]:
        return f"{gain['taken']} steps gained nothing over the joint solution ({gain['score']}), which is kept."
    share = 1 - gain["best"] / gain["start"]
    return (
        f"{gain['taken']} steps gained {share:.1%} over the joint solution ({gain['score']} {gain['start']:.4g} -> "
        f"{gain['best']:.4g}); the basis of step {gain['kept']} is kept."
    )


def finished_run(folder: RunFolder, config: DiscoverConfig) -> Directions | None:
    """Return the directions of a run with nothing left to do.

    Args:
        folder: Of the run.
        config: Settings that it would go on with.

    Returns:
        What its direction file holds; ``None`` if steps, or the measurements of what they led to, are missing.
    """
    checkpoint = folder.read_checkpoint()
    if checkpoint is None or not folder.directions_path.exists():
        return None
    state = checkpoint["state"]
    record, best, plan = state["record"], state.get("best"), state.get("plan")
    config = with_plan(config, plan)
    left = config.adam_steps - record["step"]
    over = (best and best["stop"]) or (state.get("over") and config.time in (None, plan["time"]))
    if record.get("base_points") is not None or left < 0 or (left and not over):
        return None
    found = load_directions(folder.directions_path)
    header = found.header
    steps = None if config.method == "joint" else record["step"]
    measured = header["config"].get("final_samples", config.final_samples) == config.final_samples
    return found if header["steps"] == steps and measured else None


def carry_annotations(old: Directions, new: Directions) -> tuple[Directions, tuple[str, ...]]:
    """Write on new directions what people wrote on those of an earlier file that they match.

    Two match if each is closest to the other, with a |cosine| of at least `SAME_DIRECTION`; the new one is turned round
    if it points the other way.

    Args:
        old: With names, notes, stars, path sizes, an order and a history.
        new: Without.

    Returns:
        The new ones, and the names of those that have annotations and no partner.
    """
    cosines = new.matrix.astype(np.float64) @ old.matrix.T.astype(np.float64)
    closest = {int(j): int(i) for j, i in enumerate(np.abs(cosines).argmax(axis=0))}
    partner = {
        j: i for j, i in closest.items() if np.abs(cosines[i]).argmax() == j and abs(cosines[i, j]) >= SAME_DIRECTION
    }
    header, before = new.header, old.header
    resized = sized_by_hand(before)
    lost, matrix = [], new.matrix.copy()
    for j, entry in enumerate(before["directions"]):
        written = {key: entry[key] for key in ("note", "hidden", "starred") if entry[key]}
        written |= {} if _DEFAULT_NAME.fullmatch(entry["name"]) else {"name": entry["name"]}
        written |= {"path_size": entry["path_size"]} if j in resized else {}
        if written and j not in partner:
            lost.append(entry["name"])
        elif written:
            header["directions"][partner[j]] |= written
            matrix[partner[j]] *= np.sign(cosines[partner[j], j])

    def moved_order(order: list[int] | None) -> list[int] | None:
        first = [partner[j] for j in order or () if j in partner]
        return None if order is None else [*first, *(i for i in range(len(new)) if i not in first)]

    header["order"] = moved_order(before["order"])
    # An undo writes on the indices of its time: these become the partners', and the old d1 the name of its new place.
    for change in before["history"]:
        moved: dict[str, Any] | None = None
        if change["before"] is not None:
            moved = {"directions": {}}
            for j, fields in ((j, fields) for j, fields in changed_directions(change) if j in partner):
                plain = {"name": f"d{partner[j]}"} if _DEFAULT_NAME.fullmatch(fields.get("name", "")) else {}
                moved["directions"][str(partner[j])] = {**fields, **plain}
            if "order" in change["before"]:
                moved["order"] = moved_order(change["before"]["order"])
        header["history"].append(change | {"before": moved})
    return Directions(matrix, header), tuple(lost)


def _keep_annotations(folder: RunFolder, found: Directions) -> Directions:
    """Take over what people wrote on the file that is there, which is kept beside the new one."""
    path = folder.directions_path
    if not path.exists():
        return found
    old = load_directions(path)
    carried, lost = carry_annotations(old, found)
    if carried.header == found.header and not lost:
        return found
    names = (path.with_name(f"directions-before-{number}.safetensors") for number in itertools.count(1))
    beside = next(name for name in names if not name.exists())
    write_bytes(beside, path.read_bytes())
    said = f"Names, notes and stars were carried over to the directions that match; the old file is {beside}."
    if lost:
        said += f" No direction matches {', '.join(lost)}."
    folder.log(said)
    warnings.warn(said, UserWarning, stacklevel=3)
    return carried
