"""The command line in this process, on a generator that is small and known."""

from __future__ import annotations

import json

import pytest
from closed import ClosedFormGenerator

from directions.cli.main import main

FAST = "--method adam --steps 3 --batch-size 2 --held-out 3 --held-out-probes 2 --eval-every 2 --final-samples 2"


class Result:
    """What a command gave back."""

    def __init__(self, code, captured):
        self.code, self.out, self.err = code, captured.out, captured.err

    @property
    def json(self):
        assert self.code == 0, self.err
        return json.loads(self.out)


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
def command(loaded, capsys, tmp_path, monkeypatch):
    """Run ``directions …`` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments):
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return Result(code, capsys.readouterr())

    return run


@pytest.fixture
def discover(command):
    """Run ``directions discover`` with settings that take no time."""

    def run(*arguments):
        return command("discover", *FAST.split(), *arguments)

    return run
