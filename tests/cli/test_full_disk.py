"""A disk that fills up at any moment: every command that writes says so in one sentence, and leaves nothing partial."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from commands import DISCOVER, TRAIN

from directions.direction_file import load_directions

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs to mount a small disk")
SIZE = 1 << 20
PAGE = 4096
FEW = "--samples 2 --scale 1 --frames 4 --quiet"
COMMANDS = {
    "merge": "merge a.safetensors b.safetensors --out disk/x.safetensors",
    "gif": f"render d.safetensors --out disk/x.gif {FEW}",
    "mp4": f"render d.safetensors --out disk/x.mp4 {FEW}",
    "folder": f"render d.safetensors --out disk/pictures {FEW}",
    "gallery": f"render d.safetensors --format gallery --out disk/gallery {FEW}",
    "plot": "evaluate d.safetensors --metrics penalty --seeds 2 --samples 2 --plot disk/x.png --quiet",
    "discover": f"{DISCOVER} --out disk --quiet",
    "tensorboard": f"{DISCOVER} --out disk --quiet --tensorboard",
    "compare": "compare closed --methods random,axes --seeds 1 --samples 8 --out disk/comparison --quiet",
    "train": f"{TRAIN} --out disk/runs --quiet",
    "cache": f"{TRAIN} --cache disk/cache --out runs --quiet",
    "evaluate": "gan evaluate whole/00000-pictures --metrics activeness --out disk/figures --quiet",
}


UNFINISHED = ("folder", "discover", "tensorboard", "compare", "train", "evaluate")
"""Of these each file is whole; of the others there is none."""


@pytest.fixture
def disk(tmp_path):
    """A small disk of its own, empty."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", folder], check=False).returncode:
        pytest.skip("may not mount")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.fixture
def made(command, run, pictures, request):
    """What the commands read, in the folder where they run."""
    whole = load_directions(run)
    for name, part in (("d", whole), ("a", whole[:2]), ("b", whole[2:])):
        part.save(f"{name}.safetensors")
    if request.node.callspec.params["name"] == "evaluate":
        assert command(*TRAIN.split(), "--out", "whole").code == 0


def fill(disk: Path, free: int) -> None:
    """Leave so many bytes."""
    with contextlib.suppress(OSError), (disk / "fill").open("wb", buffering=0) as file:
        while file.write(bytes(PAGE)):
            pass
    os.truncate(disk / "fill", (disk / "fill").stat().st_size - free)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_is_one_sentence(command, made, disk, name):
    """From no room at all to one page less than it takes."""
    words = COMMANDS[name].split()
    result = command(*words)
    assert result.code == 0, result.err
    needed = sum(-(-path.stat().st_size // PAGE) * PAGE for path in disk.rglob("*") if path.is_file())
    failed = 0
    for free in sorted({0, needed - PAGE}):
        for path in (*disk.iterdir(), Path("runs")):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
        fill(disk, free)
        result = command(*words)
        left = [path for path in disk.rglob("*") if path.is_file() and path.name != "fill"]
        assert not [path for path in left if "partial" in path.name]
        if result.code:
            failed += 1
            assert result.code == 2, result.err
            errors = [line for line in result.err.splitlines() if not line.startswith(("Warning: ", "Run folder: "))]
            assert len(errors) == 1, result.err
            assert errors[0].startswith("Error: Cannot ")
            assert "Free some space" in errors[0]
            assert name in UNFINISHED or not left
    assert failed
