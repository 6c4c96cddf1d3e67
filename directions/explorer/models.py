"""What a page asks for: the fields of each request with their ranges, declared once."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from typing_extensions import Self

from directions.direction_file.annotate import LARGEST_PATH_SIZE
from directions.direction_file.format import short
from directions.errors import UserError, nearest
from directions.generators.base import Generator, LayerRange, chosen_layers
from directions.settings.render import MAX_GIF_FPS as MAX_FPS
from directions.settings.render import MIN_FRAMES

MAX_SAMPLES = 16
MAX_SEED = 2**32 - 1
MAX_AMOUNT = LARGEST_PATH_SIZE
"""Latent units, to either side: as far as a direction's own range may be set."""

MAX_MOVES = 4096
MAX_FRAMES = 240
FORMATS = {"png": "image/png", "webp": "image/webp", "jpeg": "image/jpeg"}
_LONGEST_TEXT = 4000
"""More than any name or note may have; what is longer is refused before it is looked at."""

_ID = "the id of a direction, 16 hexadecimal digits"

DirectionId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
Amount = Annotated[float, Field(ge=-MAX_AMOUNT, le=MAX_AMOUNT)]


def field(allowed: str, default: Any = ..., **limits: Any) -> Any:
    """Declare a field of a request; ``allowed`` follows "must be" in the message about a wrong one."""
    return Field(default, description=allowed, **limits)


class Request(BaseModel):
    """The fields of a request; unknown ones are refused."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)

    @classmethod
    def read(cls, body: bytes) -> Self:
        """Read a request's body.

        Args:
            body: JSON in UTF-8.

        Returns:
            The request.

        Raises:
            UserError: If it is no JSON object, or a field is missing, unknown or wrong.
        """
        try:
            return cls.model_validate_json(body)
        except ValidationError as error:
            raise UserError(cls._explain(error)) from None

    @classmethod
    def _explain(cls, error: ValidationError) -> str:
        fault = error.errors(include_url=False)[0]
        if fault["type"] == "json_invalid":
            return f"The request must be JSON in UTF-8: {short(fault['ctx']['error'])}."
        if not fault["loc"]:
            return f"The request must be a JSON object, got {short(fault['input'])}."
        names = {declared.alias or name: declared for name, declared in cls.model_fields.items()}
        name = str(fault["loc"][0])
        if fault["type"] == "extra_forbidden":
            known = f"{nearest(name[:80], names)} Known: {', '.join(names)}"
            return f"The request has an unknown field {short(name)}.{known}."
        if fault["type"] == "missing" and len(fault["loc"]) == 1:
            return f"The request lacks {name!r}."
        return f"{name} must be {names[name].description}, got {short(fault['input'])}."


class View(Request):
    """What is to be seen: samples, class, truncation, layers, and how far along which directions.

    Pictures depend on nothing else. The sample of seed s is ``generator.sample_z(1, seed=s)``; moves name directions by
    their ids (`directions.explorer.file.direction_id`).
    """

    seeds: tuple[Seed, ...] = field(
        f"a list of 1 to {MAX_SAMPLES} whole numbers from 0 to {MAX_SEED}", min_length=1, max_length=MAX_SAMPLES
    )
    label: int | tuple[int, ...] | None = field(
        "a whole number, the index of a class, or a list of one for each sample", None, alias="class"
    )
    truncation: float = field("a number above 0 and at most 1", 1.0, gt=0, le=1)
    moves: dict[DirectionId, Amount] = field(
        f"an object of at most {MAX_MOVES} directions, from ids of 16 hexadecimal digits to amounts, each a number "
        f"from {-MAX_AMOUNT:g} to {MAX_AMOUNT:g}",
        {},
        max_length=MAX_MOVES,
    )
    layers: tuple[int, int] | None = field("a list of 2 whole numbers, the first layer and one past the last", None)
    random: bool = field("true or false", False)

    @property
    def labels(self) -> tuple[int, ...] | None:
        """The class index of each sample; ``None`` without classes."""
        if self.label is None or isinstance(self.label, tuple):
            return self.label
        return (self.label,) * len(self.seeds)

    def layers_of(self, generator: Generator) -> LayerRange | None:
        """Return the layers that the moves act on; ``None`` for all.

        Raises:
            UserError: If the generator has no such layers.
        """
        return chosen_layers(generator, self.layers and LayerRange(*self.layers, generator.num_layers))

    def check(self, generator: Generator) -> Self:
        """Check what depends on the generator.

        Args:
            generator: Knows its classes and layers.

        Returns:
            The same view.

        Raises:
            UserError: If the generator has no such class or layers.
        """
        last = generator.num_classes - 1
        if not generator.num_classes and self.label is not None:
            raise UserError(f"class must be null or left out: the generator has no classes, got {short(self.label)}.")
        if self.labels is not None and len(self.labels) != len(self.seeds):
            count = len(self.labels)
            raise UserError(f"class must be one index, or {len(self.seeds)}, one for each seed, got {count}.")
        if generator.num_classes and not all(0 <= label <= last for label in self.labels or (-1,)):
            raise UserError(f"class must be a whole number from 0 to {last}, got {short(self.label)}.")
        self.layers_of(generator)
        return self


class ImageRequest(View):
    """A picture of a view, for a client that asks again and again, with growing numbers."""

    columns: int = field(f"a whole number from 1 to {MAX_SAMPLES}", 1, ge=1, le=MAX_SAMPLES)
    format: Literal["png", "webp", "jpeg"] = field("one of png, webp, jpeg", "png")
    client: str = field("8 to 64 letters, digits or hyphens", pattern=r"^[\w-]{8,64}$")
    number: int = field(f"a whole number from 0 to {2**53}", ge=0, le=2**53)


class AnimationRequest(View):
    """A GIF along one direction, its path size to either side, from where the others stand."""

    direction: DirectionId = field(_ID)
    frames: int = field(f"a whole number from {MIN_FRAMES} to {MAX_FRAMES}", 48, ge=MIN_FRAMES, le=MAX_FRAMES)
    fps: float = field(f"a number from 1 to {MAX_FPS:g}", 20.0, ge=1, le=MAX_FPS)


class DirectionRequest(Request):
    """The preview of one direction, or what it may be called."""

    id: DirectionId = field(_ID)


class ChangeRequest(Request):
    """What to write on the file: annotations of a direction, a new order, or the last change undone."""

    id: DirectionId | None = field(_ID, None)
    name: str = field(f"text of at most {_LONGEST_TEXT} characters", "", max_length=_LONGEST_TEXT)
    path_size: float = field(f"a number above 0 and at most {MAX_AMOUNT:g}", 1.0, gt=0, le=MAX_AMOUNT)
    note: str = field(f"text of at most {_LONGEST_TEXT} characters", "", max_length=_LONGEST_TEXT)
    starred: bool = field("true or false", False)
    hidden: bool = field("true or false", False)
    order: tuple[DirectionId, ...] | None = field("a list of the ids of all directions", None)
    undo: Literal[True] | None = field("true", None)

    def annotations(self) -> dict[str, Any]:
        """Return what is to be written on the direction ``id``: the fields that the request has."""
        written = self.model_dump(exclude_unset=True, exclude={"id", "order", "undo"})
        return {key: value.strip() if isinstance(value, str) else value for key, value in written.items()}
