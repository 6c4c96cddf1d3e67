"""Record a discovery run in its folder: numbers as they come, checkpoints, and the directions at the end.

After discovery, which writes nothing itself; the command line and other code hand it the snapshots.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from directions.config import DiscoverConfig
from directions.direction_file import Directions
from directions.discovery.shortage import too_large
from directions.discovery.snapshots import Record, Snapshot
from directions.distributed.ranks import Ranks
from directions.errors import NonFiniteError, OutOfMemoryError, RankLostError, UserError
from directions.evaluation.summary import summarise
from directions.memory import explained
from directions.runs.folder import RunFolder
from directions.runs.signals import StopSignals

if TYPE_CHECKING:
    from directions.generators.base import Generator


def record_run(
    snapshots: Iterable[Snapshot],
    generator: Generator,
    config: DiscoverConfig,
    folder: RunFolder,
    *,
    tensorboard: bool = False,
    on_record: Callable[[Record], None] = lambda record: None,
    on_stage: Callable[[str], None] = lambda stage: None,
    ranks: Ranks | None = None,
) -> Directions:
    """Run discovery to its end, or to a signal, and keep everything that a later resume needs.

    Args:
        snapshots: From `directions.discovery.discover`, called with ``generator`` and ``config``.
        generator: Where directions are learned.
        config: Settings of the run.
        folder: Where everything goes; on ranks other than 0 an `UnwrittenFolder`.
        tensorboard: Whether to write TensorBoard events too.
        on_record: Called after each step has been recorded.
        on_stage: Called with a sentence when something else than steps begins to take time.
        ranks: As they were given to `discover`; each of them calls this. ``None`` is this process alone.

    Returns:
        The directions, which are also in the folder.

    Raises:
        NonFiniteError: If the penalty is no longer a number; the checkpoint holds the step before.
        OutOfMemoryError: If a micro-batch does not fit into memory; the checkpoint holds the step before.
        RankLostError: If another rank is gone; the checkpoint holds the last step that all have finished.
    """
    ranks = ranks or Ranks()
    last: Snapshot | None = None
    with StopSignals(ranks) as stop, _event_writer(folder, tensorboard) as write_events:
        try:
            for snapshot in snapshots:
                record = snapshot.record
                if last is None:
                    folder.remove_partial_files()
                    folder.truncate_stats(record)
                previous, last = last, snapshot
                folder.append_stats(record)
                write_events(record)
                kept = _wants_checkpoint(record, previous, config) or stop.requested
                if kept:
                    folder.write_checkpoint(snapshot.state, generator)
                _log(folder, snapshot, config)
                on_record(record)
                if stop.requested:
                    if not kept:  # the signal came since
                        folder.write_checkpoint(snapshot.state, generator)
                    folder.log(f"Interrupted after step {record.step}; checkpoint written.")
                    ranks.wait()  # none leaves before it is
                stop.stop_if_requested()
        except (NonFiniteError, OutOfMemoryError, RankLostError) as error:
            if last is not None:
                folder.write_checkpoint(last.state, generator)
            folder.log(str(error))
            raise
        assert last is not None, "discover yields its starting point"
        stop.stop_at_once()
        on_stage("Measuring activeness, path sizes, penalty shares and baselines.")
        with explained(lambda: too_large(config, ranks.world_size)):
            directions = summarise(generator, config, last, ranks=ranks)
        folder.write_directions(directions)
        folder.log(f"Finished: {folder.directions_path.name} written.")
    return directions


def _wants_checkpoint(record: Record, previous: Snapshot | None, config: DiscoverConfig) -> bool:
    if record.base_points is None:
        return record.step % config.checkpoint_every == 0 or record.step == config.adam_steps
    # A base point of a large generator takes minutes: what has cost time is kept.
    costly = record.seconds > 1.0
    before = -1 if previous is None or previous.record.base_points is None else previous.record.base_points
    due = record.base_points // config.checkpoint_every > before // config.checkpoint_every  # ranks measure several
    return costly or due or record.base_points == config.base_points


def _log(folder: RunFolder, snapshot: Snapshot, config: DiscoverConfig) -> None:
    record = snapshot.record
    if record.base_points == config.base_points:
        folder.log(f"Hessians measured at {record.base_points} base points.")
    if snapshot.joint is not None and record.step == 0:
        joint = snapshot.joint
        folder.log(f"Diagonalised jointly: {joint.agreeing_starts} of {len(joint.excess)} starts reached the best.")
    if record.held_out is not None:
        folder.log(f"Step {record.step} of {config.adam_steps}: held-out penalty {record.held_out:.6g}.")


def require_tensorboard() -> None:
    """Check that TensorBoard events can be written.

    Raises:
        UserError: If the package is not installed.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise UserError(
            "--tensorboard needs the package tensorboard, which is not installed. "
            'Install it: pip install "biggan-directions[tensorboard]"'
        )


@contextlib.contextmanager
def _event_writer(folder: RunFolder, wanted: bool) -> Iterator[Callable[[Record], None]]:
    if not wanted:
        yield lambda record: None
        return
    require_tensorboard()
    from torch.utils.tensorboard import SummaryWriter

    writer: Any = None

    def write(record: Record) -> None:
        nonlocal writer
        # Made at the first record: events of this step and later, from before an interruption, are hidden.
        writer = writer or SummaryWriter(str(folder.path / "tensorboard"), purge_step=record.step)
        if record.base_points is not None:
            return  # all of these have step 0; the curves begin with the solution
        for name in ("penalty", "held_out", "learning_rate", "seconds"):
            value = getattr(record, name)
            if value is not None:
                writer.add_scalar(name, value, record.step)

    try:
        yield write
    finally:
        if writer is not None:
            writer.close()
