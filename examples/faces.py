"""Bring a generator that somebody else trained: the faces of the package ``gan_face_generate``.

It is a DCGAN as in PyTorch's tutorial, |z| = 100, 64 pixels, trained on the rendered faces of DigiFace1M.
``make faces`` does all of it; by hand::

    pip install --no-deps --require-hashes -r examples/faces-requirements.txt
    directions discover --generator examples/faces.py:load
"""

from __future__ import annotations

from pathlib import Path

import gan_face_generate
from gan_face_generate.models import Generator
from torch import nn

from directions import load_weights


def load(weights: str | None = None) -> nn.Module:
    """Return the generator, with the weights of the package or others."""
    file = weights or Path(gan_face_generate.__file__).with_name("weights.tar")
    return load_weights(Generator(ngpu=1, nc=3, nz=100, ngf=64), file)
