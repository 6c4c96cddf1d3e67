"""Plots of measurements: files that are there, whole, and drawn without global state."""

from __future__ import annotations

import builtins

import numpy as np
import pytest
from PIL import Image

from directions.errors import UserError
from directions.evaluation.plots import plot_activeness, plot_heat_map


def test_plot_activeness_draws_several_generators(tmp_path):
    """Of different numbers of components; nothing of pyplot is loaded."""
    path = tmp_path / "activeness.png"
    plot_activeness(path, {"baseline": [0.1] * 12, "penalty": [0.3, 0.2, 0.0, 0.01]})
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    grey = (np.abs(pixels - [0x8C, 0x8C, 0x94]).sum(axis=2) < 8).sum()
    blue = (np.abs(pixels - [0x2F, 0x6F, 0xB0]).sum(axis=2) < 8).sum()
    # Areas are as activeness is: 12 bars of 0.1 against 0.3 + 0.2 + 0.01.
    assert grey / blue == pytest.approx(1.2 / 0.51, rel=0.15)


def test_plot_heat_map_is_darkest_where_the_matrix_is_largest(tmp_path):
    """Rows are components from the top, columns factors from the left."""
    matrix = np.zeros((4, 3))
    matrix[3, 0] = 0.004  # too small for a number
    matrix[1, 2] = 1.0
    path = tmp_path / "map.png"
    plot_heat_map(path, matrix, [f"z{i}" for i in range(4)], ["hue", "x", "y"], title="t", scale="share", top=1.0)
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    # The map's darkest blue; the colour bar at the right edge has it too.
    dark = np.argwhere(np.abs(pixels[:, : pixels.shape[1] * 7 // 10] - [8, 48, 107]).sum(axis=2) < 8)
    assert len(dark) > 500
    rows, columns = np.median(dark[:, 0]) / pixels.shape[0], np.median(dark[:, 1]) / pixels.shape[1]
    assert 0.25 < rows < 0.5
    assert 0.5 < columns < 0.8


def test_plots_without_matplotlib_name_the_extra(tmp_path, monkeypatch):
    """One sentence."""
    real = builtins.__import__

    def without(name, *rest):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"pip install 'biggan-directions\[plots\]'"):
        plot_activeness(tmp_path / "x.png", {"a": [1.0]})
    assert not list(tmp_path.iterdir())
