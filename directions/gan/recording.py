"""Record a training run in its folder: numbers as they come, checkpoints, sheets of samples, the generator to load.

After ``trainer``, which writes nothing itself; the command line and scripts hand it a trainer and a folder.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from directions.atomic import atomic_write
from directions.errors import NonFiniteError, RankLostError, UserError
from directions.gan.records import Record
from directions.gan.run_folder import TrainingFolder
from directions.gan.sheets import sample_sheet
from directions.gan.trainer import Trainer, train
from directions.runs.discovery_run import require_tensorboard
from directions.runs.signals import Interrupted, StopSignals

_COLUMNS = 12


def record_training(
    trainer: Trainer,
    folder: TrainingFolder,
    *,
    tensorboard: bool = False,
    on_step: Callable[[Trainer, Record | None], None] = lambda trainer, record: None,
    on_stage: Callable[[str], None] = lambda stage: None,
) -> None:
    """Train to the end, or to a signal, and keep everything that a later resume needs.

    Args:
        trainer: Fresh, or as a checkpoint of the folder left it; of several ranks, each calls this with its own.
        folder: Where everything goes; see `TrainingFolder.seen_by`.
        tensorboard: Whether to write TensorBoard events too.
        on_step: Called after each step, with the record where there is one.
        on_stage: Called with a sentence when something else than steps begins to take time.

    Raises:
        NonFiniteError: If a loss or a weight is no number any more; the last good checkpoint is kept.
        RankLostError: If another rank is gone.
        UserError: If a file cannot be written.
        Interrupted: After SIGINT or SIGTERM, when the checkpoint has been written.
    """
    run, ranks = folder.run, trainer.ranks
    run.remove_partial_files()
    run.keep_lines(lambda line: line["step"] <= trainer.step)
    if ranks.first:
        folder.sheets_path.mkdir(exist_ok=True)
    clock = _Clock(trainer)
    with StopSignals(ranks) as stop, _event_writer(folder, tensorboard, trainer.seen) as write_events:
        try:
            for record in train(trainer):
                if record is not None:
                    run.append_line(record.to_dict())
                    write_events(record)
                requested = stop.requested
                if clock.due(record is not None) or requested or trainer.finished:
                    _keep(trainer, folder)
                if ranks.first and (trainer.finished or _crossed(trainer, trainer.config.sheet_kimg)):
                    _write_sheet(trainer, folder)
                on_step(trainer, record)
                if requested:
                    ranks.wait()  # none leaves before the checkpoint is written
                    stop.stop_if_requested()
            stop.stop_at_once()  # the checkpoint is there, and writing the generator may take a while
            on_stage("Writing the generator.")
            if ranks.first:
                trainer.export(folder.path)
        except Interrupted:
            run.log(f"Interrupted after step {trainer.step}; checkpoint written.")
            raise
        except (NonFiniteError, RankLostError, UserError) as error:
            run.log(str(error))
            raise
        run.log(f"Finished after {trainer.seen / 1000:g} kimg: {folder.weights_path.name} written.")


class _Clock:
    """Says when a checkpoint is due. Several ranks must say the same, and ask the first one's watch at records only."""

    def __init__(self, trainer: Trainer) -> None:
        self._ranks, self._interval = trainer.ranks, 60 * trainer.config.checkpoint_minutes
        self._last = time.monotonic()

    def due(self, at_record: bool) -> bool:
        """Whether the interval has passed; it then begins anew."""
        if self._ranks.world_size > 1 and not at_record:
            return False
        due = self._ranks.from_first(lambda: time.monotonic() - self._last >= self._interval)
        if due:
            self._last = time.monotonic()
        return due


def _keep(trainer: Trainer, folder: TrainingFolder) -> None:
    trainer.check_finite()
    if trainer.ranks.first:
        folder.write_checkpoint(trainer.state_dict())
        if not trainer.finished:
            trainer.export(folder.path)


def _crossed(trainer: Trainer, kimg: float) -> bool:
    """Whether the last step went past a multiple of so many kimg."""
    images = max(round(1000 * kimg), 1)
    return trainer.seen // images != (trainer.seen - trainer.last_batch) // images


def _write_sheet(trainer: Trainer, folder: TrainingFolder) -> None:
    sheet = sample_sheet(trainer.samples(_COLUMNS), columns=_COLUMNS)
    with atomic_write(folder.sheets_path / f"kimg-{trainer.seen / 1000:09.3f}.png") as partial:
        sheet.save(partial)


@contextlib.contextmanager
def _event_writer(folder: TrainingFolder, wanted: bool, seen: int) -> Iterator[Callable[[Record], None]]:
    if not wanted:
        yield lambda record: None
        return
    require_tensorboard()
    from torch.utils.tensorboard import SummaryWriter

    # Events after the checkpoint, from before an interruption, are hidden.
    writer: Any = SummaryWriter(str(folder.path / "tensorboard"), purge_step=seen + 1)

    def write(record: Record) -> None:
        images = round(1000 * record.kimg)
        for name, value in record.to_dict().items():
            if name not in ("step", "kimg"):
                writer.add_scalar(name, value, images)

    try:
        yield write
    finally:
        writer.close()
