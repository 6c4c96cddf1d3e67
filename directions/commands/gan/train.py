"""``directions gan train``: train a generator, or go on with an earlier training."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from directions.commands.common import HARDWARE, OUTPUT, given_options, option, options_named
from directions.commands.gan.train_flow import Reporting, go_on, start
from directions.distributed.joining import joined
from directions.errors import UserError
from directions.gan.config import Arch, DataFormat, Loss, OnBroken, Penalty, TrainConfig

_FIELDS = tuple(field.name for field in dataclasses.fields(TrainConfig))
_DEFAULT = TrainConfig(data=".")
_LISTS = {"channels": int, "batch_size": int, "stable_kimg": float, "fade_kimg": float}
_DATA = "Images"
_NETWORKS = "The networks"
_LENGTH = "Length and growth (kimg: thousands of real images shown)"
_LOSS = "Losses and optimisers"
_PENALTY = "The Hessian Penalty, and InfoGAN to compare with"
_BIGGAN = "The BigGAN only (--arch biggan)"


def train(
    context: typer.Context,
    data: Annotated[
        str | None,
        typer.Option(metavar="FOLDER", help="Folder of the images.", show_default=False, rich_help_panel=_DATA),
    ] = None,
    data_format: Annotated[
        DataFormat,
        typer.Option(
            help="folder: images of any size, subfolders too; pairs: two images side by side in each file, both used; "
            "scenes: made by scripts/render_scenes.py; auto: scenes or folder, by what is there.",
            rich_help_panel=_DATA,
        ),
    ] = _DEFAULT.data_format,
    resolution: Annotated[
        int | None,
        typer.Option(
            metavar="8|16|32|64|128",
            help="Height and width of the images, in pixels; larger ones are cut square and reduced once.",
            show_default="128; biggan 64",
            rich_help_panel=_DATA,
        ),
    ] = None,
    on_broken: Annotated[
        OnBroken, typer.Option(help="What to do with a file that cannot be read.", rich_help_panel=_DATA)
    ] = _DEFAULT.on_broken,
    cache: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER", help="Where reduced images are kept.", show_default="user's cache", rich_help_panel=_DATA
        ),
    ] = None,
    arch: Annotated[
        Arch,
        typer.Option(
            help="progan: Progressive Growing, no classes; biggan: a small BigGAN-deep, 64 pixels.",
            rich_help_panel=_NETWORKS,
        ),
    ] = _DEFAULT.arch,
    dim_z: Annotated[
        int, typer.Option(metavar="INT>=1", help="Components of z.", rich_help_panel=_NETWORKS)
    ] = _DEFAULT.dim_z,
    channels: Annotated[
        str | None,
        typer.Option(
            metavar="INT,…",
            help="Channels of both networks at 4, 8, 16, … pixels; narrow ones for small machines.",
            show_default="512,512,512,512,256,128",
            rich_help_panel=_NETWORKS,
        ),
    ] = None,
    fine_tune: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="Start from the networks of this run, fully grown; its sizes are taken over.",
            show_default=False,
            rich_help_panel=_NETWORKS,
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="INT>=0", help="Seed of all that the run draws.", rich_help_panel=_NETWORKS)
    ] = _DEFAULT.seed,
    kimg: Annotated[
        float | None,
        typer.Option(
            metavar="FLOAT>0",
            help="Length in kimg, also in all when resuming.",
            show_default="50000; biggan 160",
            rich_help_panel=_LENGTH,
        ),
    ] = None,
    first_resolution: Annotated[
        int, typer.Option(metavar="4|8|…", help="Where growth starts, in pixels.", rich_help_panel=_LENGTH)
    ] = _DEFAULT.first_resolution,
    stable_kimg: Annotated[
        str,
        typer.Option(
            metavar="FLOAT[,…]",
            help="Training at each resolution once it is faded in, in kimg; one value for all, or one each.",
            rich_help_panel=_LENGTH,
        ),
    ] = "600",
    fade_kimg: Annotated[
        str,
        typer.Option(
            metavar="FLOAT[,…]",
            help="Fading in of each resolution, in kimg; the first one's is not used.",
            rich_help_panel=_LENGTH,
        ),
    ] = "600",
    batch_size: Annotated[
        str | None,
        typer.Option(
            metavar="INT[,…]",
            help="Images a step; one value, or one for each resolution. A multiple of 4, if above 4.",
            show_default="16; biggan 32",
            rich_help_panel=_LENGTH,
        ),
    ] = None,
    loss: Annotated[
        Loss | None,
        typer.Option(
            help="wgan-gp, or nonsaturating with R1; the BigGAN has hinge.",
            show_default="wgan-gp; biggan hinge",
            rich_help_panel=_LOSS,
        ),
    ] = None,
    gradient_weight: Annotated[
        float, typer.Option(metavar="FLOAT>=0", help="Weight of the gradient penalty or R1.", rich_help_panel=_LOSS)
    ] = _DEFAULT.gradient_weight,
    drift: Annotated[
        float,
        typer.Option(metavar="FLOAT>=0", help="Weight of squared real scores (wgan-gp).", rich_help_panel=_LOSS),
    ] = _DEFAULT.drift,
    r1_every: Annotated[
        int,
        typer.Option(
            metavar="INT>=1", help="Steps between two uses of R1, each counting for all.", rich_help_panel=_LOSS
        ),
    ] = _DEFAULT.r1_every,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            metavar="FLOAT>0",
            help="Adam's rate (betas 0, 0.99); Adam starts anew at each resolution.",
            show_default="0.001; biggan 0.0002",
            rich_help_panel=_LOSS,
        ),
    ] = None,
    discriminator_rate: Annotated[
        float | None,
        typer.Option(
            metavar="FLOAT>0",
            help="The discriminator's rate.",
            show_default="as the generator's; biggan 0.0004",
            rich_help_panel=_LOSS,
        ),
    ] = None,
    decay_from: Annotated[
        float | None,
        typer.Option(
            metavar="0<=FLOAT<=1",
            help="Share of the length after which rates fall to nothing; 1: never.",
            show_default="1; biggan 0.5",
            rich_help_panel=_LOSS,
        ),
    ] = None,
    ema_kimg: Annotated[
        float | None,
        typer.Option(
            metavar="FLOAT>=0",
            help="Half-life of the generator's running average, in kimg.",
            show_default="10; biggan 22.17",
            rich_help_panel=_LOSS,
        ),
    ] = None,
    ema_ramp: Annotated[
        float,
        typer.Option(
            metavar="FLOAT>0", help="The half-life is at most this share of kimg so far.", rich_help_panel=_LOSS
        ),
    ] = _DEFAULT.ema_ramp,
    penalty: Annotated[
        Penalty, typer.Option(help="Penalty in the generator's loss.", rich_help_panel=_PENALTY)
    ] = _DEFAULT.penalty,
    penalty_weight: Annotated[
        float,
        typer.Option(
            metavar="FLOAT>=0",
            help="λ, of the unbiased variance. The paper's TensorFlow code takes the biased one: its 0.1 is 0.05 here "
            "(k = 2).",
            rich_help_panel=_PENALTY,
        ),
    ] = _DEFAULT.penalty_weight,
    penalty_ramp_kimg: Annotated[
        float,
        typer.Option(metavar="FLOAT>=0", help="λ rises from 0 over so many kimg.", rich_help_panel=_PENALTY),
    ] = _DEFAULT.penalty_ramp_kimg,
    penalty_layers: Annotated[
        str,
        typer.Option(
            metavar="SPEC",
            help="Activations after pixel norm: paper (up to 64 pixels), all, or numbers such as 0-5,8 (two a "
            "resolution from 4 pixels on); or image.",
            rich_help_panel=_PENALTY,
        ),
    ] = _DEFAULT.penalty_layers,
    num_probes: Annotated[
        int, typer.Option(metavar="INT>=2", help="Random sign vectors k per sample.", rich_help_panel=_PENALTY)
    ] = _DEFAULT.num_probes,
    epsilon: Annotated[
        float, typer.Option(metavar="FLOAT>0", help="Finite-difference step, in units of z.", rich_help_panel=_PENALTY)
    ] = _DEFAULT.epsilon,
    infogan: Annotated[
        int,
        typer.Option(
            metavar="0..|z|",
            help="Components of z that the discriminator reads back; 0: none.",
            rich_help_panel=_PENALTY,
        ),
    ] = _DEFAULT.infogan,
    infogan_weight: Annotated[
        float, typer.Option(metavar="FLOAT>0", help="Weight of its error in both losses.", rich_help_panel=_PENALTY)
    ] = _DEFAULT.infogan_weight,
    channel_width: Annotated[
        int, typer.Option(metavar="INT>=8", help="Width of the generator.", rich_help_panel=_BIGGAN)
    ] = _DEFAULT.channel_width,
    discriminator_width: Annotated[
        int, typer.Option(metavar="INT>=1", help="Width of the discriminator.", rich_help_panel=_BIGGAN)
    ] = _DEFAULT.discriminator_width,
    texture: Annotated[
        float, typer.Option(metavar="FLOAT>=0", help="Weight of texture matching.", rich_help_panel=_BIGGAN)
    ] = _DEFAULT.texture,
    colour: Annotated[
        float, typer.Option(metavar="FLOAT>=0", help="Weight of colour matching.", rich_help_panel=_BIGGAN)
    ] = _DEFAULT.colour,
    device: Annotated[
        str, typer.Option(help="cpu, cuda, cuda:N, or auto.", rich_help_panel=HARDWARE)
    ] = _DEFAULT.device,
    bfloat16: Annotated[
        bool | None,
        typer.Option(
            "--bfloat16/--no-bfloat16",
            help="Networks in bfloat16 where the hardware has it; penalty, weights and losses stay float32.",
            show_default="no; biggan yes",
            rich_help_panel=HARDWARE,
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Folder for runs; this one becomes OUT/NNNNN-NAME.", rich_help_panel=OUTPUT)
    ] = Path("outputs"),
    name: Annotated[
        str | None, typer.Option(help="Name of the run.", show_default="the data folder's", rich_help_panel=OUTPUT)
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Go on with the run in this folder, with its settings; --kimg may add to them.",
            show_default=False,
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    stats_every: Annotated[
        int, typer.Option(metavar="INT>=1", help="Steps averaged in a line of stats.jsonl.", rich_help_panel=OUTPUT)
    ] = _DEFAULT.stats_every,
    checkpoint_minutes: Annotated[
        float,
        typer.Option(metavar="FLOAT>=0", help="Minutes between checkpoints; 0: every step.", rich_help_panel=OUTPUT),
    ] = _DEFAULT.checkpoint_minutes,
    sheet_kimg: Annotated[
        float, typer.Option(metavar="FLOAT>0", help="kimg between sheets of samples.", rich_help_panel=OUTPUT)
    ] = _DEFAULT.sheet_kimg,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write TensorBoard events too.", rich_help_panel=OUTPUT)
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check everything, print the settings, do nothing.", rich_help_panel=OUTPUT),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.", rich_help_panel=OUTPUT)] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress on stderr.", rich_help_panel=OUTPUT)
    ] = False,
) -> None:
    """Train a generator on a folder of images, with the Hessian Penalty or without.

    The run folder is a generator: directions discover --generator RUN.
    """
    given = {field: context.params[field] for field in given_options(context, _FIELDS)}
    reporting = Reporting(as_json=as_json, quiet=quiet, tensorboard=tensorboard, dry_run=dry_run)
    with joined() as ranks, options_named(context):
        if not ranks.first:
            reporting = dataclasses.replace(reporting, quiet=True, tensorboard=False)
        settings = {field: _parsed(field, value) for field, value in given.items()}
        if resume is None:
            start(settings, out, name, reporting, ranks)
        else:
            _refuse_with_resume(given_options(context, ("out", "name")))
            go_on(resume, settings, reporting, ranks)


def _refuse_with_resume(given: tuple[str, ...]) -> None:
    if given:
        names = " and ".join(map(option, given))
        raise UserError(f"{names} cannot be given with --resume: the run goes on in its folder.")


def _parsed(field: str, value: Any) -> Any:
    """Read what stands for several values, separated by commas."""
    if field not in _LISTS:
        return value
    kind = _LISTS[field]
    try:
        return tuple(kind(part) for part in str(value).split(","))
    except ValueError:
        numbers = "whole numbers" if kind is int else "numbers"
        raise UserError(f"{field} must be {numbers} separated by commas, got {value!r}.") from None
