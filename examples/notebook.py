"""What a notebook would do: look at directions, look along one, name it.

Run it with the path of a direction file::

    python examples/notebook.py outputs/00000-first/directions.safetensors

In a notebook the table and the picture show themselves; here they are written to files beside the direction file.
"""

from __future__ import annotations

import sys
from pathlib import Path

from directions import edit_directions, load_directions, load_generator


def main(path: str) -> None:
    """Write directions.html and path.png, and name the most active direction."""
    directions = load_directions(path)
    folder = Path(path).parent
    (folder / "directions.html").write_text(directions._repr_html_(), encoding="utf-8")

    generator = load_generator(directions.generator)
    z = generator.sample_z(4, seed=0)
    directions.strip(generator, z, 0, steps=9).save(folder / "path.png")

    edited = edit_directions(path, lambda found: found.annotated(0, name="first", note="the most active"))
    print(edited.names[0], "-", edited.history[-1]["what"])


if __name__ == "__main__":
    main(sys.argv[1])
