"""``torchrun … -m directions discover``: one folder, one voice, and a run that any number of ranks can go on with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import numpy as np
import torch
from program import ENVIRONMENT
from ranks import Started, command_line, wait_until

from directions.cli.main import main
from directions.direction_file import load_directions
from directions.run import RunFolder

OPTIONS = (
    "--generator closed:DoubleGenerator --method joint+adam --base-points 3 --starts 2 --batch-size 4 --held-out 3 "
    "--held-out-probes 2 --eval-every 1000 --final-samples 2 --checkpoint-every 1000 --learning-rate 0.01"
)
SMALL = OPTIONS.split()


def ranks(tmp_path, *arguments):
    return Started(command_line, "discover", *map(str, arguments), out=tmp_path)


class Folder(RunFolder):
    """The run folder, as far as it is there."""

    def last_step(self):
        return max((line["step"] for line in self.read_stats()), default=-1)

    def kept_step(self):
        return torch.load(self.checkpoint_path, weights_only=True)["state"]["record"]["step"]


def test_ranks_make_one_folder_and_one_of_them_speaks(tmp_path):
    """The result on stdout is JSON and nothing else; the folder has what one process writes."""
    started = ranks(tmp_path, *SMALL, "--steps", "3", "--json", "--quiet", "--name", "run", "--out", tmp_path)
    assert started.exit_codes() == [0, 0]
    assert started.printed(1) == ""
    path = tmp_path / "00000-run"
    assert json.loads(started.printed(0))["folder"] == str(path)
    assert json.loads((path / "environment.json").read_text())["world_size"] == 2
    names = {"config.json", "environment.json", "stats.jsonl", "log.txt", "checkpoint.pt", "overview.png"}
    assert {entry.name for entry in path.iterdir()} == names | {"directions.safetensors"}


def test_a_killed_rank_and_a_signal_keep_the_run(tmp_path):
    """kill -9 of one, then Ctrl-C to torchrun: each time the last step is kept, and the rest comes out the same."""
    folder = Folder(tmp_path / "runs" / "00000-run")
    endless = [*SMALL, "--steps", "1000000", "--name", "run", "--out", tmp_path / "runs"]
    broken = ranks(tmp_path, *endless)
    wait_until(lambda: folder.last_step() >= 2, broken)
    os.kill(broken.processes[1].pid, signal.SIGKILL)
    assert broken.exit_codes() == [1, -signal.SIGKILL]
    said = broken.printed(0)
    assert "Error: Rank 0 of 2 has lost another rank" in said
    assert f"To go on: torchrun --nproc-per-node 2 -m directions discover --resume {folder.path}" in said
    assert "Traceback" not in said
    assert folder.kept_step() == folder.last_step() >= 2

    kept = folder.kept_step()
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, "-m", "directions", "discover", "--resume", str(folder.path)]
    with subprocess.Popen(command, env=ENVIRONMENT, text=True, stderr=subprocess.PIPE) as process:
        try:
            wait_until(lambda: folder.last_step() >= kept + 2, process)
        finally:
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=100)
    assert process.returncode != 0
    assert said.count("Interrupted by SIGINT. To go on: torchrun --nproc-per-node 2 -m directions discover") == 1
    assert folder.kept_step() == folder.last_step() > kept

    steps = folder.last_step() + 1
    # --steps may not be lowered by a resume, but the folder's own record may: nothing follows from it.
    folder.write_config(folder.read_config() | {"steps": steps})
    assert main(["discover", "--resume", str(folder.path), "--quiet"]) == 0
    arguments = [*SMALL, "--steps", str(steps), "--quiet", "--name", "whole", "--out", str(tmp_path / "whole")]
    assert main(["discover", *arguments]) == 0
    whole = load_directions(tmp_path / "whole" / "00000-whole" / "directions.safetensors")
    np.testing.assert_allclose(load_directions(folder.directions_path).matrix, whole.matrix, atol=1e-5)
    assert "world_size was 2, is 1" in (folder.path / "log.txt").read_text()
