"""What a user may get wrong: each command says what, got and allowed, and leaves everything as it was."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from closed import ClosedFormGenerator
from commands import DISCOVER, TRAIN
from fakes import blob_directions

REFUSED = {
    DISCOVER: [
        ("--epsilon 0", "Error: --epsilon must be a finite number above 0, got 0.0."),
        ("--ndirs 5", "Error: --ndirs must be at most 4, the size of the searched space 0:4, got 5"),
        ("--space 2:9", "Error: --space must be START:STOP"),
        ("-y clas", "'clas' fits 3 classes: 0 class 0, 1 class 1, 2 class 2. Give one by its index."),
        ("--name ../x", "Error: --name must be letters, digits"),
        ("--compile", "Error: --compile is for BigGANs, which 'closed-form' is not. Leave it out."),
        ("--out a.npy", "Error: Cannot write a.npy: "),
        ("--resume nowhere", "Error: nowhere is not a run folder: it does not exist."),
        ("--tensorboard", "pip install 'biggan-directions[tensorboard]'"),
        ("--wandb", "pip install 'biggan-directions[wandb]'"),
        ("--sede 1", "No such option: --sede"),
        ("--method joint --reduction max", "--reduction must be mean with method joint"),
        ("--starts 5", "--starts has no effect with method adam. Leave it out, or choose --method joint or joint"),
    ],
    "render run --out gifs": [
        ("-d 9", "There is no direction 9: the indices go from 0 to 3"),
        ("-d 0,d0", "Direction 0 is asked for more than once"),
        ("-y 7", "Error: --classes must be classes of 'closed-form'"),
        ("--samples 0", "Error: --samples must be a whole number, between 1 and 10000, got 0"),
        ("--frames 2", "Error: --frames must be at least 4"),
        ("--format gfi", "--format must be gif or webp or mp4 or strip or plane or gallery, got 'gfi'. Did"),
        ("--format webp --out x.gif", "Error: --out must be a folder, or end in .webp, for the format webp"),
        ("--format gallery --out x.png", "Error: --out must be a folder for the format gallery"),
        ("--out x.avi", "Error: --out must end in .gif, .webp, .mp4, .png, or be a folder, got x.avi"),
        ("--out x.bmp", "Error: --out must end in .gif, .webp, .mp4, .png, or be a folder, got x.bmp"),
        ("--out nowhere/x.gif", "Error: --out must be in a folder that exists, got nowhere/x.gif"),
        ("--plane 0", "Error: --plane must be two directions, such as 0,3, got '0'"),
        ("--plane 0,1 --format gif", "Error: --plane is for the format plane only, got format gif"),
        ("--plane 0,1 -d 2", "Error: --directions are given by --plane"),
        ("--plane 0,1 --samples 2 --out x.png", "Error: --samples must be 1 for a plane in one file"),
        ("--format strip --fps 9", "Error: --fps has no meaning for the format strip, got 9"),
        ("--format strip --captions amount", "Error: --captions must be name or none for the format strip"),
        ("--word AB -y 0", "Error: --word gives the classes, got also --classes 0. Leave one"),
        ("--word AZ", "Error: --word must be classes of 'closed-form'"),
        ("--samples 600", "Error: A picture of the format gif can be at most 65535 pixels wide and high, got "),
        ("--samples 200 --format gallery --dry-run", "picture of the format webp can be at most 16383 pixels wide"),
        ("--format mp4", "pip install 'biggan-directions[video]'"),
        ("-d 0 --out taken", "it is a folder"),
    ],
    "inspect a.npy": [("", "a.npy is not a usable direction file: it is a NumPy array file. If it holds")],
    "render blob.safetensors": [("", "found in 'blob' with |z| = 6")],
    "evaluate run --seeds 2 --samples 2": [
        ("--samples 1", "Error: --samples must be at least 2, got 1"),
        ("--metrics penalti", "activeness, factors, got 'penalti'. Did you mean 'penalty'?"),
        ("--metrics factors", "Error: --metrics can have factors only for generators whose images"),
        ("--out nowhere/x.json", "nowhere does not exist. Create it"),
    ],
    "convert a.npy --to x.safetensors": [
        ("--name rotation", "Error: --name must be INDEX=NAME, such as 5=rotation, got 'rotation'"),
        ("", "Say which components of z they are with --space, such as 0:3"),
    ],
    "name blob.safetensors": [
        ("", "Error: Give one of DIRECTION (with what to write), --csv, --order and --undo, got none of them."),
        ("5", "There is nothing to write on direction '5'. Give a NAME, --path-size,"),
        ("5 x --undo", "got DIRECTION and --undo"),
        ("--undo --hide", "To write hidden, say on which direction"),
        ("9 x", "There is no direction 9: the indices go from 0 to 5"),
        ("--csv no.csv", "Error: no.csv cannot be used: No such file or directory. Check the path"),
    ],
    "explore blob.safetensors --no-open": [
        ("--host 0.0.0.0", "--host must be localhost, 127.0.0.1 or ::1, got '0.0.0.0'"),
        ("--host example.org", "ssh -L"),
        ("--port 70000", "--port must be from 0"),
        ("", "found in 'blob' with |z| = 6"),
        ("--port 0", "pip install 'biggan-directions[explore]'"),
    ],
    TRAIN: [
        ("--channels 4,x", "--channels must be whole numbers of at least 1, separated by commas, got '4,x'"),
        ("--kimg 0.001", "--kimg must be at least 0.008"),
        ("--device cuda:99", "device 'cuda:99' is not there"),
        ("--fine-tune nowhere", "nowhere is not a run folder"),
        ("--data nowhere", "--data must be a folder, got"),
    ],
    "gan sample builtin --out x": [
        ("--sweep 4", "Error: --sweep must be a component of z, from 0 to 3, or all, got 4."),
        ("--sweep all --sweep 1", "--sweep must be all, or one or two components, got all and 1"),
        ("--separate --sweep 1", "--separate is for images without a sweep"),
        ("--steps 5", "--steps has no meaning without --sweep"),
        ("--out x.png", "--out must be a folder, got x.png"),
    ],
    "gan evaluate builtin": [
        ("--metrics ,", "Error: --metrics must name at least one of "),
        ("-m activenes", "--metrics must be of activeness"),
        ("other --out x", "--out is of one run only, got 2 runs"),
    ],
}


@pytest.mark.parametrize("start", REFUSED, ids=lambda start: " ".join(start.split()[:2]))
def test_a_mistake_is_refused_and_leaves_everything(command, run, pictures, monkeypatch, start):
    """Before images are made: exit status 2, the option by its name, no traceback; no file is made or changed."""
    if start != DISCOVER:  # of which --compile is refused when it is first used
        monkeypatch.setattr(ClosedFormGenerator, "forward", lambda *_, **__: pytest.fail("made images"))
    run.rename("run")
    blob_directions().save("blob.safetensors")
    np.save("a.npy", np.eye(2, 3))
    Path("taken/000-d0.gif").mkdir(parents=True)

    def everything():
        there = [path for path in Path().rglob("*") if "cache" not in path.parts and path.suffix != ".lock"]
        return {path: path.is_file() and path.read_bytes() for path in there}

    before = everything()
    for arguments, message in REFUSED[start]:
        with monkeypatch.context() as missing:
            if "pip install" in message:
                missing.setattr("importlib.util.find_spec", lambda name: None)
                for module in ("imageio_ffmpeg", "directions.explorer.app"):
                    missing.setitem(sys.modules, module, None)
            result = command(*start.split(), *arguments.split())
        assert result.refuses(message), arguments
        assert result.out == ""
        assert everything() == before
