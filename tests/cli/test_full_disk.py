"""A disk that fills up at any moment: every command that writes says so in one sentence, and leaves nothing partial."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from closed import ClosedFormGenerator

from directions.direction_file import Directions
from directions.direction_file.format import make_header

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs to mount a small disk")
SIZE = 1 << 20
PAGE = 4096
FEW = "--samples 2 --scale 1 --frames 4 --quiet"
TRAIN = (
    "--data pictures --resolution 8 --channels 4,4 --dim-z 3 --batch-size 4 --kimg 0.02 --stable-kimg 0.004 "
    "--fade-kimg 0.004 --stats-every 1 --quiet"
)
DISCOVER = "--method adam --steps 3 --batch-size 2 --held-out 2 --final-samples 2 --out disk --quiet"
COMMANDS = {
    "merge": "merge a.safetensors b.safetensors --out disk/x.safetensors",
    "convert": "convert a.npy --generator closed --to disk/x.safetensors",
    "gif": f"render d.safetensors --out disk/x.gif {FEW}",
    "mp4": f"render d.safetensors --out disk/x.mp4 {FEW}",
    "strip": f"render d.safetensors --out disk/x.png {FEW}",
    "folder": f"render d.safetensors --out disk/pictures {FEW}",
    "gallery": f"render d.safetensors --format gallery --out disk/gallery {FEW}",
    "report": "evaluate d.safetensors --metrics penalty --seeds 2 --samples 2 --out disk/x.json --quiet",
    "plot": "evaluate d.safetensors --metrics penalty --seeds 2 --samples 2 --plot disk/x.png --quiet",
    "discover": f"discover {DISCOVER}",
    "tensorboard": f"discover {DISCOVER} --tensorboard",
    "compare": "compare closed --methods random,axes --seeds 1 --samples 8 --out disk/comparison --quiet",
    "train": f"gan train {TRAIN} --cache cache --out disk/runs",
    "cache": f"gan train {TRAIN} --cache disk/cache --out runs",
    "evaluate": "gan evaluate whole/00000-pictures --metrics activeness --out disk/figures --quiet",
    "sample": "gan sample whole/00000-pictures --out disk/x.png --seed 0 --quiet",
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
def made(command, pictures, request):
    """What the commands read, in the folder where they run."""
    header = make_header(ClosedFormGenerator(dim_z=4, resolution=8), path_sizes=[3.0, 2.0, 2.0, 1.0], classes=[0])
    whole = Directions(np.eye(4), header)
    for name, part in (("d", whole), ("a", whole[:2]), ("b", whole[2:])):
        part.save(f"{name}.safetensors")
    np.save("a.npy", np.eye(2, 4))
    if {"sample", "evaluate"} & {request.node.callspec.params.get("name", "")}:
        assert command(*shlex.split(f"gan train {TRAIN} --cache cache --out whole")).code == 0


def fill(disk: Path, free: int) -> None:
    """Leave so many bytes."""
    with contextlib.suppress(OSError), (disk / "fill").open("wb", buffering=0) as file:
        while file.write(bytes(PAGE)):
            pass
    os.truncate(disk / "fill", (disk / "fill").stat().st_size - free)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_is_one_sentence(command, made, disk, name):
    """From no room at all to one page less than it takes."""
    words = shlex.split(COMMANDS[name])
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
