"""What a page asks for: the fields of each request with their ranges, declared once.

Only our own page sends requests, which offers nothing that is not allowed; what is refused here is told in a few words.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from typing_extensions import Self

from directions.direction_file.annotate import LARGEST_PATH_SIZE
from directions.direction_file.format import short
from directions.errors import UserError
from directions.generators.base import Generator, LayerRange, chosen_layers
from directions.settings.render import MAX_GIF_FPS, MIN_FRAMES

MAX_SAMPLES = 16
MAX_SEED = 2**32 - 1
MAX_AMOUNT = LARGEST_PATH_SIZE
"""Latent units, to either side: as far as a direction's own range may be set."""

DirectionId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
Amount = Annotated[float, Field(ge=-MAX_AMOUNT, le=MAX_AMOUNT)]


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
            fault = error.errors(include_url=False)[0]
            where = str(fault["loc"][0])[:40] if fault["loc"] else "The request"
            raise UserError(f"{where}: {fault['msg']}, got {short(fault['input'])}.") from None


class View(Request):
    """What is to be seen: samples, class, truncation, layers, and how far along which directions.

    Pictures depend on nothing else. The sample of seed s is ``generator.sample_z(1, seed=s)``; moves name directions by
    their ids (`directions.explorer.file.direction_id`); the class is one index for all samples, or one for each.
    """

    seeds: tuple[Seed, ...] = Field(min_length=1, max_length=MAX_SAMPLES)
    label: int | tuple[int, ...] | None = Field(None, alias="class")
    truncation: float = Field(1.0, gt=0, le=1)
    moves: dict[DirectionId, Amount] = Field({}, max_length=4096)
    layers: tuple[int, int] | None = None
    random: bool = False

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
        return chosen_layers(generator, self.layers and "{}:{}".format(*self.layers))

    def check(self, generator: Generator) -> Self:
        """Check what depends on the generator.

        Args:
            generator: Knows its classes and layers.

        Returns:
            The same view.

        Raises:
            UserError: If the generator has no such class or layers.
        """
        wanted = len(self.seeds) if generator.num_classes else 0
        labels = self.labels or ()
        if len(labels) != wanted or not all(0 <= label < generator.num_classes for label in labels):
            allowed = f"from 0 to {generator.num_classes - 1}, one for all or for each seed" if wanted else "null"
            raise UserError(f"class must be {allowed}, got {short(self.label)}.")
        self.layers_of(generator)
        return self


class ImageRequest(View):
    """A picture of a view, for a client that asks again and again, with growing numbers."""

    columns: int = Field(1, ge=1, le=MAX_SAMPLES)
    format: Literal["png", "webp", "jpeg"] = "png"
    client: str = Field(pattern=r"^[\w-]{8,64}$")
    number: int = Field(ge=0, le=2**53)


class AnimationRequest(View):
    """A GIF along one direction, its path size to either side, from where the others stand."""

    direction: DirectionId
    frames: int = Field(48, ge=MIN_FRAMES, le=240)
    fps: float = Field(20.0, ge=1, le=MAX_GIF_FPS)


class DirectionRequest(Request):
    """The preview of one direction, or what it may be called."""

    id: DirectionId


class ChangeRequest(Request):
    """What to write on the file: annotations of a direction, a new order, or the last change undone.

    What may be written is checked, and explained, by the file.
    """

    id: DirectionId | None = None
    name: str = ""
    path_size: float = 1.0
    note: str = ""
    starred: bool = False
    hidden: bool = False
    order: tuple[DirectionId, ...] | None = None
    undo: Literal[True] | None = None

    def annotations(self) -> dict[str, Any]:
        """Return what is to be written on the direction ``id``: the fields that the request has."""
        written = self.model_dump(exclude_unset=True, exclude={"id", "order", "undo"})
        return {key: value.strip() if isinstance(value, str) else value for key, value in written.items()}
