"""Which directions is an edit made of? Project it, take one part back, keep the rest.

Run it with the path of a direction file::

    python examples/inverse.py few.safetensors
"""

from __future__ import annotations

import sys

import numpy as np

from directions import load_directions


def main(path: str) -> np.ndarray:
    """Edit a z along two directions and a little beyond, and find that out again; return the amounts."""
    directions = load_directions(path)
    rng = np.random.default_rng(0)
    z_before = rng.standard_normal((1, directions.dim_z))
    z_after = directions.move(z_before, [0, 1], [2.0, -1.0]) + 0.1 * rng.standard_normal(z_before.shape)

    edit = z_after - z_before
    amounts = directions.project(edit)
    rest = edit - amounts @ directions.matrix
    for name, amount in zip(directions.names, amounts[0], strict=True):
        print(f"{name}: {amount:+.2f}")
    print(f"not explained by any direction: {np.linalg.norm(rest):.2f} of {np.linalg.norm(edit):.2f}")

    without_first = directions.move(z_after, 0, -amounts[:, 0])
    assert abs(float(directions.project(without_first - z_before)[0, 0])) < 1e-5
    return amounts


if __name__ == "__main__":
    main(sys.argv[1])
