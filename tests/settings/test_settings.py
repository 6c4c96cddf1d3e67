"""Settings declared once: their checks, their sentences, the options made of them; the configuration of a discovery."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from directions.errors import UserError
from directions.settings.base import MAX_SEED, ConfigError, Settings, setting, with_options
from directions.settings.discover import RESUMABLE, DiscoverConfig, parse_classes


class Example(Settings):
    steps: int = setting(400, "Number of steps.", ge=1, panel="Loop")
    probes: int = setting(2, "Probes.", ge=2, why="a variance is taken over them")
    epsilon: float = setting(0.1, "Step.", gt=0)
    truncation: float = setting(1.0, "Spread.", gt=0, le=1)
    seed: int = setting(0, "Seed.", ge=0, le=MAX_SEED)
    ndirs: int | None = setting(None, "Number.", ge=1, shown="size of the space")
    method: Literal["adam", "joint"] = setting("joint", "How.")
    compile: bool = setting(False, "Compile.")
    names: tuple[str, ...] = setting(("a",), "Names.", shown="a", from_text=lambda text: tuple(text.split(",")))


@pytest.mark.parametrize(
    ("model", "values", "sentence"),
    [
        (Example, {"steps": True}, "steps must be a whole number, at least 1, got True."),
        (Example, {"steps": 2.0}, "steps must be a whole number, at least 1, got 2.0."),
        (Example, {"probes": 1}, "probes must be a whole number, at least 2 (a variance is taken over them), got 1."),
        (Example, {"epsilon": float("nan")}, "epsilon must be a finite number above 0, got nan."),
        (Example, {"truncation": 2}, "truncation must be a number above 0 and at most 1, got 2."),
        (Example, {"seed": -1}, "seed must be a whole number, between 0 and 9223372036854775807, got -1."),
        (Example, {"ndirs": "x"}, "ndirs must be a whole number, at least 1, got 'x'."),
        (Example, {"method": "adm"}, "method must be adam or joint, got 'adm'. Did you mean 'adam'?"),
        (Example, {"compile": 1}, "compile must be true or false, got 1."),
        (Example, {"step": 3}, "step is not a setting. Did you mean 'steps'?"),
        (DiscoverConfig, {"generator": " "}, "generator must be a name, got ' '"),
        (DiscoverConfig, {"classes": ()}, "classes must be 'all' or one or more class indices or names, got ()"),
        (DiscoverConfig, {"classes": (0, "All", 1)}, "classes must be 'all' alone, or classes without it"),
        (DiscoverConfig, {"space": "12"}, "space must be start:stop, such as 0:12, or coarse, mid or fine, got '12'"),
        (DiscoverConfig, {"layers": "corse"}, "layers must be start:stop, such as 0:4, or "),
        (DiscoverConfig, {"micro_batch": 5, "batch_size": 16}, "micro_batch must divide batch_size 16 "),
        (DiscoverConfig, {"device": "gpu"}, "device must be cpu, cuda, cuda:N or auto, got 'gpu'"),
        (DiscoverConfig, {"criterion": "both", "method": "adam"}, "criterion must be hessian or jacobian with method"),
    ],
)
def test_settings_say_what_is_allowed_and_what_was_given(model, values, sentence) -> None:
    with pytest.raises(ConfigError) as caught:
        model(**values)
    assert str(caught.value).startswith(sentence)
    assert caught.value.field == next(iter(values))


def test_settings_take_numpy_scalars_and_pass_over_what_no_longer_exists() -> None:
    """A file of an older version may hold a setting that is gone."""
    example = Example(steps=np.int64(3), epsilon=np.float32(0.5), truncation=1)
    assert (type(example.steps), example.epsilon, type(example.truncation)) == (int, 0.5, float)
    assert Example.from_dict({"steps": 3, "gone": 1}) == Example(steps=3)
    assert example.replace(steps=4).differences(example) == ("steps",)
    assert set(RESUMABLE) <= set(DiscoverConfig.model_fields)
    json.dumps(example.to_dict())


def test_options_carry_help_and_range_and_pass_on_only_what_was_given() -> None:
    app = typer.Typer()

    @app.command()
    @with_options(Example)
    def run(given: dict[str, Any], out: Annotated[Path, typer.Option(help="Out.")] = Path("o")) -> None:
        typer.echo(repr((given, str(out))))
        Example(**given)

    invoke = CliRunner().invoke
    shown = invoke(app, ["--help"], env={"COLUMNS": "120"}).output
    for words in ("INT>=1", "0<FLOAT<=1", "FLOAT>0", "size of the space", "<adam|joint>", "Loop", "Number of steps."):
        assert words in shown
    assert invoke(app, ["--names", "b,c", "--compile"]).output == "({'compile': True, 'names': ('b', 'c')}, 'o')\n"
    error = invoke(app, ["--method", "jont"]).exception
    assert isinstance(error, UserError)
    assert str(error) == "--method must be adam or joint, got 'jont'. Did you mean 'joint'?"


def test_parse_classes_reads_indices_and_names():
    """Numbers are indices, everything else is a name; one alone need not be in a tuple."""
    assert parse_classes(" ALL ") == "all"
    assert DiscoverConfig(classes=np.array([0])) == DiscoverConfig(classes=(np.int64(0),))
    assert parse_classes("0, 2,golden retriever") == (0, 2, "golden retriever")
    assert DiscoverConfig(classes=3).classes == (3,)
    for text in ("", "0,,1", "-1"):
        with pytest.raises(ConfigError, match="classes must be 'all' or one or more"):
            parse_classes(text)


def test_batch_size_follows_from_the_method():
    """Fewer leave the paper's loop near its random start; what is given stays."""
    assert [DiscoverConfig(method=method).batch_size for method in ("adam", "joint", "joint+adam")] == [64, 16, 16]
    assert DiscoverConfig(method="adam", batch_size=5).batch_size == 5
