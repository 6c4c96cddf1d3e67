"""``metrics.jsonl``: what has been measured of a generator, one JSON line a metric; a line is written when it is done.

After measuring. A line says what it is of (the digests of generator, data and network, and the settings), so that an
evaluation that was stopped goes on with what is missing, and nothing is taken for a measurement of something else.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import directions
from directions.atomic import require_writable
from directions.errors import UserError
from directions.evaluation.named_metrics import NamedMetric

if TYPE_CHECKING:
    from directions.evaluation.measuring import Measuring, Result

FILE_NAME = "metrics.jsonl"
_WHAT = ("metric", "generator_digest", "classes", "data_digest", "settings")


class MetricFile:
    """The lines of one generator's evaluation.

    Args:
        folder: Holds ``metrics.jsonl``; made if it is not there.

    Raises:
        UserError: If the folder cannot be made.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.path = Path(folder) / FILE_NAME
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"Cannot make {self.path.parent}: {error.strerror}. Choose another with --out.") from error

    def read(self) -> list[dict[str, Any]]:
        """Return the whole lines, in order; what a kill has left of a line is passed over."""
        if not self.path.exists():
            return []
        lines = []
        for text in self.path.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                lines.append(json.loads(text))
        return [line for line in lines if isinstance(line, dict)]

    def find(self, metric: NamedMetric, measuring: Measuring) -> dict[str, Any] | None:
        """Find the last line of a metric that was measured on the same things.

        Args:
            metric: Which.
            measuring: The generator, its classes and the data.

        Returns:
            The line; ``None`` if it has to be measured.
        """
        wanted = _identity(metric, measuring)
        found = [line for line in self.read() if all(line.get(key) == wanted[key] for key in _WHAT)]
        return found[-1] if found else None

    def require_writable(self) -> None:
        """Check that lines can be added, before anything is measured for them.

        Raises:
            UserError: If the file or its folder cannot be written.
        """
        require_writable(self.path)
        if self.path.exists() and not os.access(self.path, os.W_OK):
            raise UserError(f"Cannot write {self.path}: make it writable, or choose another folder with --out.")

    def line(self, metric: NamedMetric, measuring: Measuring, result: Result, seconds: float) -> dict[str, Any]:
        """Say what was measured, as `append` writes it.

        Args:
            metric: What was measured.
            measuring: The generator, its classes and the data.
            result: What came out.
            seconds: How long it took.

        Returns:
            The line.
        """
        return {
            "metric": metric.name,
            "value": result.value,
            "results": result.results,
            "generator": measuring.generator.name,
            **{key: value for key, value in _identity(metric, measuring).items() if key != "metric"},
            "network": metric.network,
            "network_digest": result.network_digest,
            "seconds": round(seconds, 1),
            "time": dt.datetime.now().astimezone().isoformat(timespec="seconds"),
            "directions": directions.__version__,
        }

    def append(self, line: dict[str, Any]) -> dict[str, Any]:
        """Add a line and force it to disk.

        Args:
            line: As `line` makes it.

        Returns:
            The line.

        Raises:
            UserError: If the file cannot be written.
        """
        try:
            with self.path.open("a+b") as file:
                file.seek(0, os.SEEK_END)
                if file.tell():
                    file.seek(-1, os.SEEK_END)
                    if file.read(1) != b"\n":  # a kill has left half a line
                        file.write(b"\n")
                file.write((json.dumps(line, allow_nan=False) + "\n").encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise UserError(
                f"Cannot write {self.path}: {error.strerror}. Free some space, or choose another folder with --out."
            ) from error
        return line


def _identity(metric: NamedMetric, measuring: Measuring) -> dict[str, Any]:
    """What a line must agree in to be of the same measurement."""
    real = measuring.real if metric.needs_data else None
    classes: Sequence[int] = measuring.classes
    return {
        "metric": metric.name,
        "generator_digest": measuring.generator.digest,
        "classes": list(classes),
        "data_digest": None if real is None else real.digest,
        "settings": metric.settings,
    }
