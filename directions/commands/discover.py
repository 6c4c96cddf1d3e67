"""``directions discover``: learn directions, or go on with an earlier run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from directions.commands.common import HARDWARE, OUTPUT, SAMPLES, given_options, option, options_named
from directions.commands.discover_flow import Reporting, go_on, require_used, start
from directions.config import DiscoverConfig, Init, Measuring, Method, Precision, Reduction, parse_classes
from directions.distributed.joining import joined
from directions.errors import UserError

_DEFAULT = DiscoverConfig()
_FIELDS = tuple(field.name for field in dataclasses.fields(DiscoverConfig))
_SEARCH = "What to learn"
_PENALTY = "The penalty"
_JOINT = "The joint start (methods joint and joint+adam)"
_OPTIMISER = "The optimiser"
_SCORES = "Scores and checkpoints"


def discover(
    context: typer.Context,
    generator: Annotated[
        str,
        typer.Option(help="Generator by name (see: directions generators) or folder.", rich_help_panel=_SEARCH),
    ] = _DEFAULT.generator,
    weights: Annotated[
        str | None,
        typer.Option(help="Folder with the generator's weights.", show_default="usual places", rich_help_panel=_SEARCH),
    ] = None,
    method: Annotated[
        Method,
        typer.Option(
            help="adam: the paper's steps; joint: measure Hessians, diagonalise them; joint+adam: steps from there.",
            rich_help_panel=_SEARCH,
        ),
    ] = _DEFAULT.method,
    ndirs: Annotated[
        int | None,
        typer.Option(
            metavar="INT>=1",
            help="Number of directions. Fewer than the space has: adam finds idle ones, joint keeps the most active.",
            show_default="size of the space",
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    space: Annotated[
        str | None,
        typer.Option(
            metavar="START:STOP",
            help="z components to search, such as 0:12 (STOP is excluded), or a third: coarse, mid, fine. Plain BigGAN "
            "has a chunk of z for each layer; BigGAN-deep has none, use --layers there.",
            show_default="all that the layers see",
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option(
            metavar="START:STOP",
            help="Layers that directions act on, such as 0:4 (STOP is excluded), or a third: coarse, mid, fine. Layer "
            "0 is the first linear one, layer i the i-th block. What lies before them is computed once a sample.",
            show_default="all",
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    init: Annotated[
        Init, typer.Option(help="Start: random rows, or the z axes.", rich_help_panel=_SEARCH)
    ] = _DEFAULT.init,
    seed: Annotated[
        int, typer.Option(metavar="INT>=0", help="Seed of all that the run draws.", rich_help_panel=_SEARCH)
    ] = _DEFAULT.seed,
    classes: Annotated[
        str,
        typer.Option(
            "--classes",
            "-y",
            metavar="CLASS,…",
            help="Classes by index or name, drawn uniformly; or all.",
            rich_help_panel=SAMPLES,
        ),
    ] = "all",
    truncation: Annotated[
        float,
        typer.Option(metavar="0<FLOAT<=1", help="Spread of z and the generator's truncation.", rich_help_panel=SAMPLES),
    ] = _DEFAULT.truncation,
    path_size: Annotated[
        float,
        typer.Option(
            metavar="FLOAT>0",
            help="Samples are moved up to this far along a direction, in units of z.",
            rich_help_panel=SAMPLES,
        ),
    ] = _DEFAULT.path_size,
    num_probes: Annotated[
        int, typer.Option(metavar="INT>=2", help="Random sign vectors per sample.", rich_help_panel=_PENALTY)
    ] = _DEFAULT.num_probes,
    epsilon: Annotated[
        float, typer.Option(metavar="FLOAT>0", help="Finite-difference step, in units of z.", rich_help_panel=_PENALTY)
    ] = _DEFAULT.epsilon,
    reduction: Annotated[
        Reduction, typer.Option(help="Over samples, pixels and channels.", rich_help_panel=_PENALTY)
    ] = _DEFAULT.reduction,
    base_points: Annotated[
        int, typer.Option(metavar="INT>=1", help="Places at which Hessians are measured.", rich_help_panel=_JOINT)
    ] = _DEFAULT.base_points,
    measurement: Annotated[
        Measuring,
        typer.Option(
            help="By differences of images (all pixels) or of gradients (random combinations of pixels); auto: by the "
            "size of the space.",
            rich_help_panel=_JOINT,
        ),
    ] = _DEFAULT.measurement,
    output_probes: Annotated[
        int,
        typer.Option(
            metavar="INT>=1", help="Random combinations of pixels at a place, for gradients.", rich_help_panel=_JOINT
        ),
    ] = _DEFAULT.output_probes,
    starts: Annotated[
        int,
        typer.Option(
            metavar="INT>=1", help="Bases to diagonalise from; the best result counts.", rich_help_panel=_JOINT
        ),
    ] = _DEFAULT.starts,
    steps: Annotated[
        int,
        typer.Option(metavar="INT>=1", help="Number of steps, also in all when resuming.", rich_help_panel=_OPTIMISER),
    ] = _DEFAULT.steps,
    batch_size: Annotated[
        int | None,
        typer.Option(
            metavar="INT>=1",
            help="Samples per step.",
            show_default="16; with --method adam 64",
            rich_help_panel=_OPTIMISER,
        ),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            metavar="FLOAT>0",
            help="Adam's rate at the first step.",
            show_default="0.1; after a joint start 0.001",
            rich_help_panel=_OPTIMISER,
        ),
    ] = None,
    decay_steps: Annotated[
        int,
        typer.Option(
            metavar="INT>=0",
            help="The rate at step t is learning-rate / (1 + t / decay-steps); 0 keeps it constant.",
            rich_help_panel=_OPTIMISER,
        ),
    ] = _DEFAULT.decay_steps,
    held_out: Annotated[
        int, typer.Option(metavar="INT>=1", help="Samples in the fixed held-out set.", rich_help_panel=_SCORES)
    ] = _DEFAULT.held_out,
    held_out_probes: Annotated[
        int, typer.Option(metavar="INT>=2", help="Random sign vectors per held-out sample.", rich_help_panel=_SCORES)
    ] = _DEFAULT.held_out_probes,
    eval_every: Annotated[
        int, typer.Option(metavar="INT>=1", help="Steps between held-out scores.", rich_help_panel=_SCORES)
    ] = _DEFAULT.eval_every,
    final_samples: Annotated[
        int,
        typer.Option(
            metavar="INT>=1", help="Samples by which directions are measured at the end.", rich_help_panel=_SCORES
        ),
    ] = _DEFAULT.final_samples,
    checkpoint_every: Annotated[
        int, typer.Option(metavar="INT>=1", help="Steps between checkpoints.", rich_help_panel=_SCORES)
    ] = _DEFAULT.checkpoint_every,
    device: Annotated[
        str, typer.Option(help="cpu, cuda, cuda:N, or auto.", rich_help_panel=HARDWARE)
    ] = _DEFAULT.device,
    micro_batch: Annotated[
        int | None,
        typer.Option(
            metavar="INT>=1",
            help="Samples that are in memory together; must divide the batch size.",
            show_default="batch size",
            rich_help_panel=HARDWARE,
        ),
    ] = None,
    compile: Annotated[  # noqa: A002 - the option's name, which error messages are matched with
        bool,
        typer.Option(
            "--compile",
            help="Compile the generator with torch.compile: minutes at the start, faster steps; needs a C++ compiler.",
            rich_help_panel=HARDWARE,
        ),
    ] = _DEFAULT.compile,
    recompute: Annotated[
        bool,
        typer.Option(
            "--recompute",
            help="Hold less memory: compute each block of a BigGAN again for the backward pass.",
            rich_help_panel=HARDWARE,
        ),
    ] = _DEFAULT.recompute,
    precision: Annotated[
        Precision,
        typer.Option(
            help="Of the generator's images in the steps; scores are in float32. tf32 and bf16 lose digits of the "
            "penalty: see docs/precision.md.",
            rich_help_panel=HARDWARE,
        ),
    ] = _DEFAULT.precision,
    out: Annotated[
        Path, typer.Option(help="Folder for runs; this one becomes OUT/NNNNN-NAME.", rich_help_panel=OUTPUT)
    ] = Path("outputs"),
    name: Annotated[
        str | None, typer.Option(help="Name of the run.", show_default="the generator's", rich_help_panel=OUTPUT)
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Go on with the run in this folder, with its settings; --steps may add to them.",
            show_default=False,
            rich_help_panel=OUTPUT,
        ),
    ] = None,
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
    """Learn directions that each change one thing, and write them to a new run folder."""
    settings = {field: context.params[field] for field in given_options(context, _FIELDS)}
    reporting = Reporting(as_json=as_json, quiet=quiet, tensorboard=tensorboard, dry_run=dry_run)
    with joined() as ranks, options_named(context):
        if not ranks.first:
            reporting = dataclasses.replace(reporting, quiet=True, tensorboard=False)
        if "classes" in settings:
            settings["classes"] = parse_classes(settings["classes"])
        if resume is None:
            config = DiscoverConfig(**settings)
            require_used(config.method, settings)
            start(config, out, name, reporting, ranks)
            return
        misplaced = [option(other) for other in given_options(context, ("out", "name"))]
        if misplaced:
            raise UserError(f"{' and '.join(misplaced)} cannot be given with --resume: the run goes on in its folder.")
        go_on(resume, settings, reporting, ranks)
