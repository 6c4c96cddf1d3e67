"""Settings declared once: a pydantic model whose fields carry help, unit and range, and the options made of it."""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
import re
import types
import typing
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, model_validator
from pydantic.fields import FieldInfo
from typing_extensions import Self

from directions.errors import UserError, nearest

MAX_SEED = 2**63 - 1
"""Of every seed: the largest whole number that 64 bits hold with a sign."""

THIRDS = ("coarse", "mid", "fine")
"""Names of the first, the second and the last third of a range."""

DEVICE = re.compile(r"cpu|auto|cuda(:\d+)?")
"""How devices are named."""

_NAMES = ("all", *THIRDS)
_RANGE = re.compile(r"([0-9]*):([0-9]*)")


class ConfigError(UserError):
    """One setting is wrong.

    Attributes:
        field: Name of the setting; the message begins with it.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field} {problem}")
        self.field = field


def setting(
    default: Any,
    help: str,  # noqa: A002 - the word of the command line
    *,
    panel: str | None = None,
    shown: str | None = None,
    metavar: str | None = None,
    flags: tuple[str, ...] = (),
    why: str = "",
    from_text: Callable[[str], Any] | None = None,
    hidden: bool = False,
    **limits: Any,
) -> Any:
    """Declare a field of a `Settings` model, and its option on the command line.

    Args:
        default: The default value.
        help: What the option's help says.
        panel: The group of options that it stands in.
        shown: What the help shows as the default, where that is not the value itself.
        metavar: What the help shows for a value; ``None`` makes it from type and range, such as ``INT>=1``.
        flags: Spellings of the option; none is ``--field-name``.
        why: A reason for the range, in parentheses, for the error message.
        from_text: Reads the command line's text, for types that Typer has no reader for.
        hidden: Whether it is a setting of other code only, and no option.
        limits: pydantic's ``ge``, ``gt``, ``le``, ``lt``.

    Returns:
        The field.
    """
    option = {
        "panel": panel, "shown": shown, "metavar": metavar, "flags": flags, "why": why,
        "from_text": from_text, "hidden": hidden,
    }  # fmt: skip
    return Field(default, description=help, json_schema_extra={"option": option}, **limits)  # type: ignore[dict-item]


class Settings(BaseModel):
    """Frozen settings that are checked when they are made.

    Raises:
        ConfigError: If a value is of the wrong type or outside its range, or a name is none of the settings.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise explain(error, type(self)) from None

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, values: Any) -> Any:
        """Take NumPy scalars for the numbers that they are."""
        return {name: plain(value) for name, value in values.items()} if isinstance(values, dict) else values

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some settings changed, checked like a new one."""
        return type(self)(**{name: getattr(self, name) for name in type(self).model_fields} | changes)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain JSON types."""
        return self.model_dump(mode="json")

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> Self:
        """Read settings that a file holds: what is missing takes its default, what no longer exists is passed over."""
        return cls(**{name: value for name, value in settings.items() if name in cls.model_fields})

    def differences(self, other: Settings) -> tuple[str, ...]:
        """Return the names of the fields in which two configurations differ, in the order of declaration."""
        return tuple(name for name in type(self).model_fields if getattr(self, name) != getattr(other, name))


def plain(value: Any) -> Any:
    """Return a NumPy or torch scalar as a Python number, and everything else as it is."""
    return value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value


def explain(error: ValidationError, model: type[BaseModel]) -> ConfigError:
    """Say a validation error in our words: what, what is allowed, what was given, and the nearest allowed word.

    Args:
        error: What pydantic raised; its first fault is told.
        model: The model that was to be made.

    Returns:
        The error to raise. A validator of the model may have raised the `UserError` itself, which is then returned,
        with the field's name before it if it was no `ConfigError`.
    """
    fault = error.errors(include_url=False)[0]
    name = str(fault["loc"][0]) if fault["loc"] else model.__name__
    cause = fault.get("ctx", {}).get("error")
    if isinstance(cause, ConfigError):
        return cause
    if isinstance(cause, Exception):
        return ConfigError(name, str(cause))
    if fault["type"] == "extra_forbidden":
        return ConfigError(name, f"is not a setting.{nearest(name, model.model_fields)}")
    value, field = fault["input"], model.model_fields[name]
    hint = nearest(str(value), choices(field.annotation)) if isinstance(value, str) else ""
    return ConfigError(name, f"must be {allowed(field)}, got {value!r}.{hint}")


def choices(annotation: Any) -> tuple[str, ...]:
    """Return the words of a Literal, also within a union."""
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return tuple(word for part in get_args(annotation) for word in choices(part))


def limits_of(field: FieldInfo) -> dict[str, float]:
    """Return a field's ``ge``, ``gt``, ``le`` and ``lt``, those that it has."""
    found: dict[str, float] = {}
    for constraint in field.metadata:
        found |= {key: getattr(constraint, key) for key in ("ge", "gt", "le", "lt") if hasattr(constraint, key)}
    return found


def allowed(field: FieldInfo) -> str:
    """Say what a field may be.

    Returns:
        Words to follow "must be".
    """
    words, limits = choices(field.annotation), limits_of(field)
    kinds = _kinds(field.annotation)
    if words:
        return " or ".join(words)
    if bool in kinds:
        return "true or false"
    if str in kinds:
        return "text"
    low = f"at least {limits['ge']:g}" if "ge" in limits else f"above {limits['gt']:g}" if "gt" in limits else ""
    high = f"at most {_number(limits['le'])}" if "le" in limits else f"below {limits['lt']:g}" if "lt" in limits else ""
    why = f" ({_option(field)['why']})" if _option(field)["why"] else ""
    if int in kinds:
        both = f"between {limits.get('ge')} and {_number(limits['le'])}" if low and high else low or high
        return f"a whole number{', ' + both if both else ''}{why}"
    number = "a number" if high or not low else "a finite number"
    return f"{number} {' and '.join(filter(None, (low, high)))}{why}".strip()


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"


def _kinds(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (types.UnionType, typing.Union) else (annotation,)


def _option(field: FieldInfo) -> dict[str, Any]:
    extra = field.json_schema_extra
    return extra["option"] if isinstance(extra, dict) else {"why": "", "hidden": True}  # type: ignore[return-value]


def metavar(field: FieldInfo) -> str | None:
    """Spell what an option takes as the help shows it, such as ``INT>=1``, ``0<FLOAT<=1`` or ``<adam|joint>``."""
    limits, kinds, words = limits_of(field), _kinds(field.annotation), choices(field.annotation)
    if words:
        return f"<{'|'.join(words)}>"
    word = "INT" if int in kinds else "FLOAT" if float in kinds else None
    if word is None:
        return None
    low = limits.get("ge", limits.get("gt", -math.inf))
    high = limits.get("le", limits.get("lt", math.inf))
    above, below = ">=" if "ge" in limits else ">", "<=" if "le" in limits else "<"
    if math.isinf(high) or high == MAX_SEED:
        return word if math.isinf(low) else f"{word}{above}{low:g}"
    start = "" if math.isinf(low) else f"{low:g}{above.replace('>', '<')}"
    return f"{start}{word}{below}{high:g}"


def option_name(field: str) -> str:
    """Return the command-line spelling of a setting."""
    return "--" + field.replace("_", "-")


@contextlib.contextmanager
def options_named(context: Any) -> Iterator[None]:
    """Within the block, an error about a parameter becomes one about the option, as the user knows it.

    Args:
        context: Knows the command's parameters; a message that starts with the name of one is about it.

    Yields:
        Nothing.

    Raises:
        UserError: What the block raised, with the option for the name.
    """
    try:
        yield
    except UserError as error:
        subject, _, rest = str(error).partition(" ")
        if subject not in context.params:
            raise
        raise UserError(f"{option_name(subject)} {rest}") from error


def with_options(
    model: type[Settings], without: Collection[str] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a Typer command an option for each setting of a model.

    The command's first parameter, ``given``, receives the settings that stand on the command line, by name; those that
    do not are left to the model's defaults. An error about a setting names the option. A setting without
    ``json_schema_extra`` (declared without `setting`) is no option.

    Args:
        model: Its fields become keyword options, before the command's own.
        without: Names of fields that do not.

    Returns:
        A decorator.

    Example:
        ``@with_options(DiscoverConfig)`` above ``def discover(given: dict[str, Any], out: Path = …) -> None``.
    """
    import typer

    shown = [name for name, field in model.model_fields.items() if not _option(field)["hidden"] and name not in without]
    fields = {name: model.model_fields[name] for name in shown}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
        parameters = [inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)]
        parameters += [_parameter(name, field) for name, field in fields.items()]
        parameters += [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]

        @functools.wraps(command)
        def wrapped(context: typer.Context, **values: Any) -> None:
            given = {}
            with options_named(context):
                for name, field in fields.items():
                    value, read = values.pop(name), _option(field)["from_text"]
                    source = context.get_parameter_source(name)
                    if source is not None and source.name == "COMMANDLINE":
                        given[name] = read(value) if read else value
                command(given, **values)

        del wrapped.__wrapped__  # inspect would take the signature of what is wrapped
        wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return wrapped

    return decorate


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    """One setting as a parameter that Typer reads."""
    import typer

    option = _option(field)
    # A wrong word of several is told by the model, which knows the nearest one.
    kind = str | None if option["from_text"] or choices(field.annotation) else field.annotation
    flags = option["flags"] or ((option_name(name),) if kind in (bool, bool | None) else ())
    info = typer.Option(
        *flags,
        help=field.description,
        metavar=option["metavar"] or metavar(field),
        show_default=option["shown"] if option["shown"] is not None else field.default is not None,
        rich_help_panel=option["panel"],
    )
    default = field.default if not option["from_text"] or isinstance(field.default, str) else None
    annotation = typing.Annotated[kind, info]  # type: ignore[valid-type]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def check_range(value: Any, info: ValidationInfo) -> Any:
    """Check that a setting has the form of a range, or is ``None``; whether it is there depends on what it is of.

    Returns:
        The value.

    Raises:
        ConfigError: If it has not.
    """
    if value is None or (isinstance(value, str) and (value.strip() in _NAMES or _RANGE.fullmatch(value.strip()))):
        return value
    field, example = str(info.field_name), "0:12" if info.field_name == "space" else "0:4"
    allowed, hint = f"must be start:stop, such as {example}, or coarse, mid or fine", nearest(str(value), THIRDS)
    raise ConfigError(field, f"{allowed}, got {value!r}.{hint}")


def read_range(text: str, size: int) -> tuple[int, int] | None:
    """Read a range of ``size`` things.

    Args:
        text: ``"0:4"``, ``"4:"``, ``":4"`` or ``":"`` (an end left out is that end of all), ``"all"``, or ``"coarse"``,
            ``"mid"`` or ``"fine"``: the first, second or last third.
        size: How many there are.

    Returns:
        First, and one past the last, as written: they need not lie within the size. ``None`` if the text is no range.

    Example:
        >>> read_range("mid", 120), read_range("7:", 11)
        ((40, 80), (7, 11))
    """
    text = text.strip()
    if text == "all":
        return 0, size
    if text in THIRDS:
        third = THIRDS.index(text)
        return round(third * size / 3), round((third + 1) * size / 3)
    match = _RANGE.fullmatch(text)
    return (int(match[1] or 0), int(match[2] or size)) if match else None


def range_fault(text: str, size: int, what: str) -> str | None:
    """Say why a text is no range of ``size`` things, or not one of them.

    Args:
        text: What a user gave.
        size: How many there are.
        what: What they are, such as ``"layers"``.

    Returns:
        What is allowed and what was given, to follow a subject; ``None`` if the text can be used.

    Example:
        >>> range_fault("0:12", 11, "layers")
        'must be START:STOP with 0 <= START < STOP <= 11 (the number of layers), coarse, mid, fine or all, got 0:12.'
    """
    ends = read_range(text, size)
    third_of_nothing = size < len(THIRDS) and text.strip() in THIRDS
    if ends is not None and 0 <= ends[0] < ends[1] <= size and not third_of_nothing:
        return None
    allowed = f"must be START:STOP with 0 <= START < STOP <= {size} (the number of {what}), coarse, mid, fine or all"
    if ends is None:
        return f"{allowed}, got {text!r}.{nearest(text.strip(), _NAMES)}"
    if third_of_nothing:
        return f"{allowed}, got {text.strip()!r}: {size} {what} have no thirds."
    return f"{allowed}, got {ends[0]}:{ends[1]}."
