"""A generator of one's own: any function that returns a torch module or a Generator.

Named ``package.module:function``, or by an entry point in the group ``directions.generators`` of an installed package.
A plain module from z to an image is wrapped: its |z| is given or found out, and it is tried out before it is used, so
that what would spoil a run (noise of its own, images out of range) is said at once. ``registry`` calls this.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from directions.errors import UserError, nearest

GROUP = "directions.generators"
_FORM = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


def is_reference(name: str) -> bool:
    """Tell whether a name has the form ``package.module:function``."""
    return _FORM.fullmatch(name) is not None


def entry_points() -> dict[str, str]:
    """Return the generators of installed packages.

    Returns:
        Name to ``package.module:function``.
    """
    return {point.name: point.value for point in importlib.metadata.entry_points(group=GROUP)}


def load_reference(name: str, reference: str, weights: Path | None) -> Any:
    """Call a user's function, and make what it returns a generator.

    Args:
        name: What `load_generator` was given.
        reference: ``package.module:function``.
        weights: Handed on as ``weights=``; ``None`` leaves it to the function's default.

    Returns:
        The generator.

    Raises:
        UserError: If there is no such function, it raises, or what it returns is no generator, or one that does not
            keep what it promises.
    """
    from torch import nn

    from directions.generators.base import Generator
    from directions.generators.checks import try_out
    from directions.generators.wrapped import freeze, wrap

    function = _find(reference)
    arguments = {} if weights is None else {"weights": _accepted(reference, function, weights)}
    try:
        made = function(**arguments)
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise UserError(f"{reference} raised {type(error).__name__}: {error}. {_place(error)}") from error
    if isinstance(made, Generator):
        if isinstance(made, nn.Module):
            freeze(made, name)
        try_out(made)
        return made
    if isinstance(made, nn.Module):
        return wrap(made, name)
    raise UserError(
        f"{reference} must return a torch module (z to images) or a Generator, got a {type(made).__name__}. "
        + ("Name a function that makes the module, not the module's class." if inspect.isclass(made) else "Return it.")
    )


def _find(reference: str) -> Callable[..., Any]:
    module_name, _, path = reference.partition(":")
    try:
        module = _import(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or module_name
        own = module_name == missing or module_name.startswith(f"{missing}.")
        where = f"It is looked for in {Path.cwd()} and in what is installed." if own else f"{module_name} needs it."
        raise UserError(f"{reference}: there is no module {missing!r}. {where}") from None
    except (Exception, SystemExit) as error:
        raise UserError(
            f"{reference}: importing {module_name} raised {type(error).__name__}: {error}. {_place(error)}"
        ) from error
    found: Any = module
    for part in path.split("."):
        if not hasattr(found, part):
            names = [name for name, _ in inspect.getmembers(found, inspect.isfunction)]
            raise UserError(f"{reference}: {module_name} has no {part!r}.{nearest(part, names)}")
        found = getattr(found, part)
    if not callable(found):
        raise UserError(f"{reference} must be a function that returns the generator, got a {type(found).__name__}.")
    function: Callable[..., Any] = found
    return function


def _import(module_name: str) -> Any:
    """Import a module, also from the folder that the user is in, as ``python -m`` does."""
    here = str(Path.cwd())
    added = here not in sys.path and "" not in sys.path
    if added:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(module_name)
    finally:
        if added:
            sys.path.remove(here)


def _accepted(reference: str, function: Callable[..., Any], weights: Path) -> str:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return str(weights)
    if not any(p.name == "weights" or p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
        raise UserError(
            f"{reference} takes no weights, got {weights}. Give it a parameter weights=None, or leave it out."
        )
    return str(weights)


def _place(error: BaseException) -> str:
    """Where in the user's code it happened."""
    frames = list(_frames(error))
    return f"({frames[-1]})" if frames else ""


def _frames(error: BaseException) -> Iterator[str]:
    step = error.__traceback__
    while step is not None:
        path = step.tb_frame.f_code.co_filename
        if not path.startswith("<frozen"):
            yield f"{path}, line {step.tb_lineno}"
        step = step.tb_next
