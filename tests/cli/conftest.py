"""The command line in this process, on a generator that is small and known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from closed import ClosedFormGenerator
from commands import DISCOVER, TRAIN
from pictures import write_noise

from directions.cli.main import main
from directions.direction_file import Directions


class Result:
    """What a command gave back."""

    def __init__(self, code, captured):
        self.code, self.out, self.err = code, captured.out, captured.err

    @property
    def json(self):
        assert self.code == 0, self.err
        return json.loads(self.out)

    def refuses(self, message):
        """Whether it ended as a command does that cannot be: status 2, what was wrong, nothing else."""
        assert self.code == 2, self.err
        assert message in self.err
        assert "Traceback" not in self.err
        return True


@pytest.fixture
def loaded(monkeypatch):
    """What load_generator was asked for; it always gives the closed-form generator."""
    calls = []

    def load(name="builtin", *, weights=None, device="cpu"):
        calls.append((name, weights, device))
        return ClosedFormGenerator(dim_z=4, resolution=8)

    monkeypatch.setattr("directions.generators.registry.load_generator", load)
    return calls


@pytest.fixture
def real_command(capsys, tmp_path, monkeypatch):
    """Run ``directions …`` in an empty folder, with its own cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("DIRECTIONS_CACHE", str(tmp_path / "cache"))

    def run(*arguments):
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return Result(code, capsys.readouterr())

    return run


@pytest.fixture
def command(loaded, real_command):
    """Run ``directions …`` in an empty folder, on the closed-form generator."""
    return real_command


@pytest.fixture
def discover(command):
    """Run ``directions discover`` with settings that take no time."""
    return lambda *arguments: command(*DISCOVER.split(), *arguments)


@pytest.fixture
def run(command):
    """The folder of a run on the axes of z, as far as rendering and measuring need one."""
    folder = Path("outputs/00000-a")
    folder.mkdir(parents=True)
    scope = {"path_sizes": [3.0, 2.0, 2.0, 1.0], "classes": [2, 0], "truncation": 0.5}
    made = Directions.from_basis(np.eye(4), ClosedFormGenerator(dim_z=4, resolution=8), **scope)
    made.save(folder / "directions.safetensors")
    return folder


@pytest.fixture
def pictures(tmp_path):
    """A folder of six images, in the folder that the commands run in."""
    return write_noise(tmp_path / "pictures", 6, 9, 12)


@pytest.fixture
def train(command, pictures):
    """Run ``directions gan train`` with settings that take no time."""
    return lambda *arguments: command(*TRAIN.split(), *arguments)
