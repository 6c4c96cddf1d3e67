"""A run that is too large for the memory: it is kept, and goes on with the micro-batch that the message names."""

from __future__ import annotations

import json
import re
import shlex

import pytest
import torch
from closed import ClosedFormGenerator

from directions.discovery import too_large
from directions.run import RunFolder
from directions.settings.discover import DiscoverConfig

ALLOCATOR = "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to"


class Narrow(ClosedFormGenerator):
    """Has room for some images at once, from a certain call on."""

    def __init__(self, room: int, after: int = 0, error: type[Exception] = RuntimeError) -> None:
        super().__init__(dim_z=4, resolution=8)
        self.room, self.remaining, self.error = room, after, error

    def forward(self, z, y=0, *, truncation=1.0):
        self.remaining -= 1
        if len(z) > self.room and self.remaining < 0:
            raise self.error(ALLOCATOR)
        return super().forward(z, y, truncation=truncation)


@pytest.fixture
def use(monkeypatch):
    """Make the commands load a generator."""

    def use(generator):
        monkeypatch.setattr("directions.generators.registry.load_generator", lambda *_, **__: generator)

    return use


def outcome(folder):
    """What must not depend on the shortage."""
    stats = [{**line, "seconds": None} for line in folder.read_stats()]
    return [(line["step"], line["base_points"], line["penalty"] is None) for line in stats]


@pytest.mark.parametrize(
    ("method", "error", "after"), [("adam", RuntimeError, 23), ("joint+adam", torch.cuda.OutOfMemoryError, 0)]
)
def test_discover_out_of_memory_goes_on_with_the_micro_batch_named(discover, command, use, method, error, after):
    """At the start, or in the middle; what was learned is kept; the resume command works as it is printed."""
    settings = ["--method", method, "--steps", "3", "--batch-size", "6", "--checkpoint-every", "50"]
    settings += ["--base-points", "3", "--starts", "1"] if method != "adam" else []
    use(ClosedFormGenerator(dim_z=4, resolution=8))
    discover(*settings, "--name", "whole")
    use(Narrow(9, after=after, error=error))
    result = discover(*settings, "--name", "narrow")
    assert result.refuses("Error: Out of memory with 24 images at once, 4 for each sample of a micro-batch of 6. ")
    assert "Try --micro-batch 3 (or 2, 1): a step keeps its 6 samples" in result.err
    resume = shlex.split(re.search(r"To go on: directions (.*)", result.err)[1])
    assert resume == ["discover", "--resume", "outputs/00001-narrow", "--micro-batch", "3"]
    narrow, whole = RunFolder.open("outputs/00001-narrow"), RunFolder.open("outputs/00000-whole")
    assert not narrow.directions_path.exists()
    assert "Out of memory" in (narrow.path / "log.txt").read_text()
    if method == "adam":
        kept = narrow.read_checkpoint()["state"]["record"]["step"]
        assert kept == narrow.read_stats()[-1]["step"]
        assert (kept > 0) == (after > 0)

    assert command(*resume).code == 2  # three samples are 12 images: still too many
    assert command(*resume[:-1], "2").code == 0
    assert outcome(narrow) == outcome(whole)
    ends = [json.loads(folder.stats_path.read_text().splitlines()[-1])["penalty"] for folder in (narrow, whole)]
    assert ends[0] == pytest.approx(ends[1], rel=1e-4)
    assert narrow.directions_path.exists()


def test_too_large_has_nothing_smaller_than_one():
    """Then the generator, the probes or the device must change."""
    error = too_large(DiscoverConfig(batch_size=4, micro_batch=1, num_probes=4))
    assert error.micro_batch is None
    assert "micro-batch of 1, which cannot be made smaller. A new run may take --num-probes 2." in str(error)
    assert "A BigGAN holds less with --recompute" in str(error)
    assert "--recompute" not in str(too_large(DiscoverConfig(batch_size=1, recompute=True)))
    assert "--num-probes" not in str(too_large(DiscoverConfig(batch_size=1)))


def test_command_line_explains_memory_that_runs_out_anywhere(command, monkeypatch):
    """Such as while weights are loaded; other errors of the program are not hidden."""

    def fail(*_, **__):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 MiB.\nMore lines.")

    monkeypatch.setattr("directions.generators.registry.load_generator", fail)
    result = command("discover")
    assert result.code == 2
    assert result.err.startswith("Error: Out of memory. Close other programs, use a smaller generator")
    monkeypatch.setattr("directions.generators.registry.load_generator", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        command("discover")
