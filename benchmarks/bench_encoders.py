"""Size, flicker and time of GIFs, on the built-in generator and on one of faces: this tree beside another.

    python benchmarks/bench_encoders.py                      # this tree
    git worktree add /tmp/base BASE                          # BASE: a commit before imageio
    python benchmarks/bench_encoders.py --tree /tmp/base     # the same pictures by that tree

Flicker is the mean second difference from frame to frame, in levels: a motion that is smooth has little of it, a
palette or a dithering that changes has much. The digest is of the frames as they are shown: the same one means the same
pictures, pixel for pixel. Seconds are of a processor, for the whole of a rendering after a first one.

The faces are those of the package gan_face_generate (install it with ``--no-deps``); they are left out where it is
missing.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np


def faces(weights: str | None = None) -> Any:
    """A DCGAN of faces, 64 pixels, |z| = 100, as ``--generator bench_encoders:faces`` loads it."""
    import gan_face_generate.models as models
    import torch

    model = models.Generator(1, 3, 100, 64)
    path = weights or Path(models.__file__).parent / "weights.tar"
    model.load_state_dict(torch.load(path, "cpu", weights_only=True)["netG_state_dict"])
    model.dim_z = 100
    return model


def measure(name: str, generator: Any, rows: int) -> None:
    """Render a GIF of some axes of z, and print what it is like."""
    from PIL import Image

    from directions.direction_file import Directions
    from directions.direction_file.format import make_header
    from directions.rendering.render import render
    from directions.settings.render import RenderSettings

    settings: dict[str, Any] = {"classes": None, "truncation": 1.0, "space": (0, generator.dim_z)}
    header = make_header(
        generator, path_sizes=[3.0] * rows, steps=0, seed=0, penalty=None, method="axes", config={}, **settings
    )
    directions = Directions(np.eye(rows, generator.dim_z), header)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "overview.gif"
        for frames in (8, 60):  # What is made on the first call is not counted.
            started = time.process_time()
            render(directions, generator, RenderSettings(frames=frames), out=path)
            spent = time.process_time() - started
        size = path.stat().st_size
        shown = []
        with Image.open(path) as image:
            for index in range(image.n_frames):
                image.seek(index)
                # A frame that is shown longer stands for several.
                shown += [np.asarray(image.convert("RGB"))] * round(image.info["duration"] / 50)
    stack = np.stack(shown).astype(np.int16)
    flicker = np.abs(stack[2:] - 2 * stack[1:-1] + stack[:-2]).mean()
    digest = hashlib.sha256(np.stack(shown).tobytes()).hexdigest()[:12]
    print(
        f"{name:8} {len(shown)} frames of {stack.shape[2]} × {stack.shape[1]}: {size / 1e6:.2f} MB, flicker "
        f"{flicker:.3f}, {spent:.1f} s, digest {digest}"
    )


def main() -> None:
    """Print a line for each generator."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tree", type=Path, default=Path(__file__).parents[1], help="the tree whose package is used")
    sys.path.insert(0, str(parser.parse_args().tree))
    from directions.generators.registry import load_generator

    measure("builtin", load_generator("builtin"), rows=8)
    if importlib.util.find_spec("gan_face_generate"):
        measure("faces", load_generator("bench_encoders:faces"), rows=12)


if __name__ == "__main__":
    main()
