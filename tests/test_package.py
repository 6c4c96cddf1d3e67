"""The package as a whole: light to import, its public names there, its modules in the order of the flow."""

from __future__ import annotations

import ast
import graphlib
import importlib
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import directions

PACKAGE = Path(directions.__file__).parent

# The order of the data flow: a module imports only from layers above its own (and, within a subpackage, from its
# siblings). Two with a | between them do not know each other.
LAYERS = [
    "errors", "files", "settings", "device", "ranks", "generators", "basis", "sampling", "penalty", "search", "joint",
    "held_out", "methods|plan", "hub", "direction_file", "convert", "rendering|evaluation", "discovery", "run",
    "compare", "gan", "explorer", "cli", "__main__",
]  # fmt: skip
RANK = {part: rank for rank, layer in enumerate(LAYERS) for part in layer.split("|")}
LIGHT = ["directions", "directions.settings.discover", "directions.direction_file.file", "directions.cli.main"]


def module_name(path: Path) -> str:
    """The dotted name of a source file of the package."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imported_modules(name: str) -> set[str]:
    """The package's modules that one of them imports, anywhere in its source (functions and type checks included).

    Its version counts as nothing, anything else of the package itself as "directions", the lazy API.
    """
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "a relative import"
            for full in (f"{node.module}.{alias.name}" for alias in node.names):
                if full != "directions.__version__":
                    found.add(full if full in MODULES else str(node.module))
    return {module for module in found if module.split(".")[0] == "directions"}


def test_import_does_not_import_torch():
    """Reading a direction file or asking for help must not wait for torch."""
    code = f"import sys, {', '.join(LIGHT)}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_public_names_resolve_and_agree():
    """Each is there; __all__, dir(), the homes and the imports for type checkers name the same in the same places."""
    for name, home in directions._HOMES.items():
        assert getattr(directions, name).__module__.startswith(home)
    assert set(directions.__all__) <= set(dir(directions))
    assert set(directions.__all__) == {*directions._HOMES, "__version__"}
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module != "__future__"]
    typed = {alias.name: node.module for node in imports for alias in node.names if node.module != "typing"}
    assert typed == directions._HOMES


def test_unknown_public_name_is_an_attribute_error():
    """A slip fails as it does in any module, so that hasattr and `from … import` work."""
    with pytest.raises(AttributeError, match="module 'directions' has no attribute 'hesian_penalty'"):
        _ = directions.hesian_penalty
    assert metadata.version("biggan-directions") == directions.__version__


def test_modules_import_only_from_layers_above():
    """The order of the data is the order of the imports, but for the lazy table in directions/__init__.py."""
    graph = {name: imported_modules(name) - {name} for name in MODULES if name != "directions"}
    for name, imported in graph.items():
        part = name.split(".")[1]
        assert part in RANK, f"{name} has no place in LAYERS yet; put it where the data passes it."
        assert "directions" not in imported, f"{name} imports from the lazy API; import from the module itself."
        others = {module: module.split(".")[1] for module in imported}
        wrong = [module for module, other in others.items() if other != part and RANK[other] >= RANK[part]]
        assert not wrong, f"{name} imports {wrong}, which are not above it."
    tuple(graphlib.TopologicalSorter(graph).static_order())  # siblings in a subpackage have an order too


@pytest.mark.parametrize("folder", ["benchmarks", "examples", "scripts"])
def test_programs_import_what_is_there(folder):
    """They are run by hand, so a module that has moved would be noticed late."""
    for path in sorted((PACKAGE.parent / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "directions":
                for name in (alias.name for alias in node.names):
                    there = hasattr(importlib.import_module(node.module), name)
                    assert there or importlib.import_module(f"{node.module}.{name}"), path
