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
# siblings). Names on one line do not know each other.
LAYERS = [
    ("errors",),
    ("files",),
    ("settings",),
    ("device",),
    ("ranks",),
    ("generators",),
    ("basis",),
    ("sampling",),
    ("penalty",),
    ("search",),
    ("joint",),
    ("held_out",),
    ("methods", "plan"),
    ("hub",),
    ("direction_file",),
    ("convert",),
    ("rendering", "evaluation"),
    ("discovery",),
    ("run",),
    ("compare",),
    ("gan",),
    ("explorer",),
    ("cli",),
    ("__main__",),
]
RANK = {part: rank for rank, layer in enumerate(LAYERS) for part in layer}
LIGHT = ["directions", "directions.settings.discover", "directions.direction_file.file", "directions.cli.main"]


def module_name(path: Path) -> str:
    """The dotted name of a source file of the package."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imported_modules(name: str) -> set[str]:
    """The package's modules that one of them imports, anywhere in its source (functions and type checks included).

    Importing the package for its version counts as nothing; for anything else as "directions", the lazy API.
    """
    is_package = MODULES[name].name == "__init__.py"
    nodes = list(ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))))
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                anchor = name.split(".")[: len(name.split(".")) - node.level + is_package]
                base = ".".join([*anchor, base] if base else anchor)
            for alias in node.names:
                full = f"{base}.{alias.name}"
                if full != "directions.__version__":
                    found.add(full if full in MODULES else base)
    attributes = [node for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)]
    if {node.attr for node in attributes if node.value.id == "directions"} == {"__version__"}:
        found.discard("directions")
    return {module for module in found if module.split(".")[0] == "directions"}


@pytest.mark.parametrize("module", LIGHT)
def test_import_does_not_import_torch(module):
    """Reading a direction file or asking for help must not wait for torch."""
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("name", directions.__all__)
def test_public_name_resolves(name):
    """Every promised name is there, is listed by dir(), and comes from the module that the table names."""
    value = getattr(directions, name)
    assert name in dir(directions)
    if name != "__version__":
        assert value.__module__.startswith(directions._HOMES[name])


def test_public_names_agree():
    """__all__, the table of homes and the imports for type checkers name the same things in the same places."""
    assert set(directions.__all__) == {*directions._HOMES, "__version__"}
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module != "__future__"]
    typed = {alias.name: node.module for node in imports for alias in node.names if node.module != "typing"}
    assert typed == directions._HOMES


def test_unknown_public_name_is_an_attribute_error():
    """A slip fails as it does in any module, so that hasattr and `from … import` work."""
    with pytest.raises(AttributeError, match="module 'directions' has no attribute 'hesian_penalty'"):
        _ = directions.hesian_penalty


def test_version_is_the_installed_one():
    """The version is written down once."""
    assert metadata.version("biggan-directions") == directions.__version__


@pytest.mark.parametrize("name", [name for name in MODULES if name != "directions"])
def test_module_imports_only_from_layers_above(name):
    """The order of the data is the order of the imports; the lazy table in directions/__init__.py alone is exempt."""
    part = name.split(".")[1]
    assert part in RANK, f"{name} has no place in LAYERS yet; put it where the data passes it."
    for module in imported_modules(name):
        assert module != "directions", f"{name} imports from the lazy API; import from the module itself."
        other = module.split(".")[1]
        assert other == part or RANK.get(other, len(LAYERS)) < RANK[part], (
            f"{name} imports {module}, which is not above it."
        )


def test_modules_have_no_import_cycle():
    """Siblings in a subpackage have an order too."""
    names = [name for name in MODULES if name != "directions"]
    graph = {name: imported_modules(name) - {name, "directions"} for name in names}
    tuple(graphlib.TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("folder", ["benchmarks", "examples", "scripts"])
def test_programs_import_what_is_there(folder):
    """They are run by hand, so a module that has moved would be noticed late."""
    for path in sorted((PACKAGE.parent / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "directions":
                for name in (alias.name for alias in node.names):
                    there = hasattr(importlib.import_module(node.module), name)
                    assert there or importlib.import_module(f"{node.module}.{name}"), path
