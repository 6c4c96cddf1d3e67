"""Print how large the package is: code lines and files, and how many files a reader passes on three journeys.

    python scripts/size.py             # sizes and journeys
    python scripts/size.py --files     # code lines of every file too

A code line is a line with code on it: no blank one, no comment, no docstring. A journey's files are those of the
package in which a function runs, traced; what runs while a module is imported does not count.
"""

from __future__ import annotations

import argparse
import ast
import io
import os
import subprocess
import sys
import tempfile
import threading
import tokenize
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "directions"
SMALL_RUN = ["--method", "adam", "--steps=2", "--batch-size=2", "--held-out=2", "--final-samples=2", "--quiet"]
NOT_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def code_lines(source: str) -> int:
    """Count the lines of a Python file that have code on them."""
    documented: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        # A string that is a statement documents something: a module, a class, a function, or the name before it.
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            documented.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in NOT_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines - documented)


def sizes(folder: Path) -> dict[Path, int]:
    """Return the code lines of every Python file below a folder."""
    return {path: code_lines(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.py"))}


class FirstStep(BaseException):
    """Ends the journey of a discovery at its first step."""


def discover_to_first_step(folder: Path) -> None:
    """``directions discover --method adam``, up to the first step of the optimiser."""
    import torch

    from directions.__main__ import main

    def stop(*_: Any, **__: Any) -> None:
        raise FirstStep

    torch.optim.Adam.step = stop  # type: ignore[assignment, method-assign]
    main(["discover", *SMALL_RUN, "--out", str(folder / "runs")])


def render_file(folder: Path) -> None:
    """``directions render FILE``."""
    from directions.__main__ import main

    run = next((folder / "made").iterdir())
    main(["render", str(run / "directions.safetensors"), "--out", str(folder / "picture.gif"), "--frames", "4"])


def load_and_move(folder: Path) -> None:
    """``load_directions(path).move(z, 0, 3.0)``."""
    import numpy as np

    from directions import load_directions

    directions = load_directions(next((folder / "made").iterdir()) / "directions.safetensors")
    directions.move(np.zeros((1, 12), dtype=np.float32), 0, 3.0)


JOURNEYS: dict[str, tuple[Callable[[Path], None], int]] = {
    "directions discover --method adam, to the first step": (discover_to_first_step, 20),
    "directions render FILE": (render_file, 18),
    "load_directions(path).move(z, 0, 3.0)": (load_and_move, 4),
}


def importing(frame: FrameType | None) -> bool:
    """Whether a frame runs while a module of the package is imported."""
    while frame is not None:
        if frame.f_code.co_name == "<module>" and frame.f_code.co_filename.startswith(str(PACKAGE)):
            return True
        frame = frame.f_back
    return False


def files_passed(journey: Callable[[Path], None], folder: Path) -> list[str]:
    """Run a journey in this process and return the files of the package in which a function ran."""
    passed: dict[str, None] = {}

    def note(frame: FrameType, event: str, _: Any) -> None:
        path = frame.f_code.co_filename
        if event == "call" and path.startswith(str(PACKAGE)) and not importing(frame):
            passed[os.path.relpath(path, PACKAGE)] = None

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        journey(folder)
    except FirstStep:
        pass
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return list(passed)


def trace(name: str, folder: Path) -> None:
    """Trace one journey, in a process of its own, and print the files that it passes."""
    journey, _ = JOURNEYS[name]
    real, sys.stdout = sys.stdout, io.StringIO()  # what the command prints is not asked for
    passed = files_passed(journey, folder)
    print("\n".join(passed), file=real)


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", action="store_true", help="print the code lines of every file, and of every journey")
    parser.add_argument("--trace", choices=sorted(JOURNEYS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.trace:
        trace(arguments.trace, arguments.folder)
        return 0
    for name, most in (("directions", 9000), ("tests", 9000), ("scripts", None), ("benchmarks", None)):
        counted = sizes(ROOT / name)
        goal = f" (at most {most:,})" if most else ""
        files = f"{len(counted)} files" + (" (at most 90)" if name == "directions" else "")
        print(f"{name}: {sum(counted.values()):,} code lines{goal} in {files}")
        for path, lines in counted.items() if arguments.files else ():
            print(f"    {lines:5}  {path.relative_to(ROOT)}")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        command = [sys.executable, "-m", "directions", "discover", *SMALL_RUN, "--out", str(folder / "made")]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
        for name, (_, most) in JOURNEYS.items():
            command = [sys.executable, __file__, "--trace", name, "--folder", temporary]
            result = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
            passed = result.stdout.split()
            print(f"{name}: {len(passed)} files (at most {most})")
            for path in passed if arguments.files else ():
                print(f"           {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
