"""``directions convert``, and what becomes of its file."""

from __future__ import annotations

import naive_biggan
import numpy as np
import torch

from directions.direction_file import load_directions


def test_convert_writes_and_says_what(real_command):
    """The number, the generator, the form, the turn, the names."""
    torch.save(torch.linalg.qr(torch.randn(120, 120)).Q, "a.pt")
    named = ["--name", "5=rotation", "--name", "0=zoom in", "--classes", "golden retriever,3"]
    result = real_command("convert", "a.pt", "--to", "out.safetensors", *named)
    assert result.code == 0, result.err
    assert "120 directions of biggan-128, from matrix (torch.save): out.safetensors" in result.out
    assert "Named: 0 zoom in, 5 rotation" in result.out
    directions = load_directions("out.safetensors")
    assert directions.names[5] == "rotation"
    assert directions.header["classes"] == [207, 3]


def test_converted_directions_are_rendered_with_biggan_128(real_command, tmp_path):
    """The whole way, with a BigGAN of the paper's |z| and resolution, and few channels."""
    (tmp_path / "cache/biggan-128").mkdir(parents=True)
    state = naive_biggan.random_state((8, 8, 8, 8, 8, 8), attention=(3,), chunk=20, num_classes=1000)
    torch.save(state, tmp_path / "cache/biggan-128/G_ema.pth")
    np.save("a.npy", np.eye(40))
    result = real_command("convert", "a.npy", "--published", "goldens-fine", "--to", "out.safetensors", "--json")
    assert result.code == 0, result.err
    arguments = ["--directions", "saturation", "--samples", "1", "--frames", "4", "--out", "pictures", "--quiet"]
    result = real_command("render", "out.safetensors", *arguments)
    assert result.code == 0, result.err
    assert (tmp_path / "pictures/overview.gif").is_file()
