"""``directions discover``: learn directions, or go on with an earlier run."""

from __future__ import annotations

import contextlib
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from directions import __version__
from directions.cli.common import (
    OUTPUT,
    DryRun,
    Json,
    Out,
    ProgressBar,
    Quiet,
    TensorBoard,
    WandB,
    note_resumed,
    print_json,
    print_table,
    resumable,
    resumed_config,
)
from directions.errors import UserError
from directions.ranks import Ranks, joined
from directions.settings.base import ConfigError, option_name, with_options
from directions.settings.discover import RESUMABLE, DiscoverConfig

if TYPE_CHECKING:
    from directions.direction_file import Directions
    from directions.generators.base import Generator
    from directions.run import RunFolder

OVERVIEW = "overview.png"


@with_options(DiscoverConfig)
def discover(
    given: dict[str, Any],
    out: Out = Path("outputs"),
    name: Annotated[
        str | None, typer.Option(help="Name of the run.", show_default="the generator's", rich_help_panel=OUTPUT)
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Go on with the run in this folder, with its settings; --steps may add to them.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    tensorboard: TensorBoard = False,
    wandb: WandB = False,
    dry_run: DryRun = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Learn directions that each change one thing, and write them to a new run folder."""
    from directions.run import (
        RunFolder,
        StopSignals,
        check_name,
        finished_run,
        name_after,
        record_run,
        require_loggers,
        stands_at,
    )

    with joined() as ranks, StopSignals(ranks), contextlib.closing(ProgressBar(quiet or not ranks.first)) as progress:
        finished, state = None, None
        if resume is None:
            config = DiscoverConfig(**given)
            config.check_used(given)
            if name is None:  # that of the generator, or of its folder
                name = name_after(config.generator, "run")
            check_name(name)
            where = {"out": str(out), "name": name}
        else:
            recorded = DiscoverConfig.from_dict(ranks.from_first(lambda: RunFolder.open(resume).read_config()))
            folder = RunFolder(resume, writes=ranks.first)
            recorded.check_used(given)
            elsewhere = None if out == Path("outputs") else out
            config = resumed_config(recorded, given, RESUMABLE, out=elsewhere, name=name)
            where = {"resume": str(resume)}
            finished = None if dry_run else ranks.from_first(lambda: finished_run(folder, config))
        require_loggers(tensorboard=tensorboard, wandb=wandb)
        if finished is None or {"generator", "weights"} & set(given):
            generator = _load(config, progress, ranks)
            config = _found_from_anywhere(config, generator)
            if resume is not None:
                state = ranks.from_first(lambda: _state(folder, generator))
        if finished is not None:
            progress.say("Nothing is left to do.")
            if ranks.first:
                if not (folder.path / OVERVIEW).exists():  # the run was interrupted while it was drawn
                    _picture(finished, lambda: _generator(config, ranks), folder, progress)
                _print_result(finished, folder, as_json)
            return

        from directions.discovery import discover as steps

        snapshots = steps(generator, config, resume_from=state, ranks=ranks, on_progress=progress)
        if dry_run:
            first = {} if resume is None else {"first_step": 0 if state is None else state["record"]["step"]}
            if ranks.first:
                resolved = _resolved(generator, config, ranks) | first
                print_json({"config": config.to_dict(), "resolved": resolved} | where)
            return
        if resume is None:
            facts = {"generator": {"name": generator.name, "digest": generator.digest}}
            folder = RunFolder.create(out, where["name"], config.to_dict(), ranks=ranks, facts=facts)
            folder.log(f"Started with {generator.name!r}, digest {generator.digest}.")
        else:
            folder.write_config(config.to_dict())
            since = "step 0" if state is None else stands_at(state["record"])
            note_resumed(folder, since, ranks, progress)
        progress.say(f"Run folder: {folder.path}")
        progress.folder = folder
        with resumable(folder, ranks, "discover"), contextlib.closing(progress):
            try:
                curves: dict[str, Any] = {"tensorboard": tensorboard, "wandb": wandb}
                found = record_run(snapshots, generator, folder, **curves, on_progress=progress, ranks=ranks)
            except ConfigError:  # the time is too short for any plan, say: nothing has been run
                if resume is None and ranks.first and not folder.checkpoint_path.exists():
                    shutil.rmtree(folder.path)
                raise
            if ranks.first:
                _picture(found, lambda: generator, folder, progress)
        if ranks.first:
            _print_result(found, folder, as_json)


def _load(config: DiscoverConfig, progress: ProgressBar, ranks: Ranks) -> Generator:
    from directions.device import keep_freed_memory

    keep_freed_memory()
    if sys.stderr.isatty():  # elsewhere an error is all that is read
        progress("Loading the generator", 0, 0, "")
    with ranks.in_turn():
        generator = _generator(config, ranks)
    kept = ("weights", "device")
    settings = {option_name(field): value for field, value in config.to_dict().items() if field not in kept}
    ranks.require_same({"directions": __version__, "the generator's digest": generator.digest} | settings)
    return generator


def _generator(config: DiscoverConfig, ranks: Ranks) -> Generator:
    from directions.generators import registry

    return registry.load_generator(config.generator, weights=config.weights, device=ranks.device(config.device))


def _found_from_anywhere(config: DiscoverConfig, generator: Generator) -> DiscoverConfig:
    """Say where the generator is so that it can be found from another folder."""
    weights = config.weights
    if weights is not None and Path(weights).exists():
        weights = str(Path(weights).absolute())
    return config.replace(generator=getattr(generator, "source", "") or config.generator, weights=weights)


def _state(folder: RunFolder, generator: Generator) -> dict[str, Any] | None:
    """Read where a run stands, which must have been made with this generator."""
    from directions.direction_file.format import has_digest

    checkpoint = folder.read_checkpoint()
    made_with = (checkpoint or folder.read_environment()).get("generator")
    if made_with and not has_digest(generator, made_with["digest"]):
        raise UserError(
            f"{folder.path} was made with generator {made_with['name']!r} (digest {made_with['digest'][:12]}), got "
            f"{generator.name!r} (digest {generator.digest[:12]}). Say where that one is with --generator or --weights."
        )
    return None if checkpoint is None else checkpoint["state"]


def _resolved(generator: Generator, config: DiscoverConfig, ranks: Ranks) -> dict[str, Any]:
    from directions.search import Search

    search = Search.resolve(generator, config)
    return {
        "generator": {"name": generator.name, "digest": generator.digest, "dim_z": generator.dim_z},
        "ndirs": search.ndirs,
        "space": str(search.space),
        "layers": None if search.layers is None else str(search.layers),
        "classes": list(search.classes),
        "device": str(generator.device),
        "world_size": ranks.world_size,
    }


def _picture(found: Directions, load: Callable[[], Generator], folder: RunFolder, progress: ProgressBar) -> None:
    """Write a sheet of what was found, beside random directions; the run is complete without it."""
    from directions.rendering.stills import write_overview

    try:
        generator = load()
        found.require_fits(generator)
        write_overview(folder.path / OVERVIEW, found, generator)
    except UserError as error:
        progress.say(f"No {OVERVIEW}: {error}")


def _print_result(found: Directions, folder: RunFolder, as_json: bool) -> None:
    from directions.joint.notes import joint_notes, verdict
    from directions.run import gain_in_words
    from directions.settings.discover import SIGN_VECTORS_UP_TO

    header, file = found.header, str(folder.directions_path)
    penalty, joint = header["penalty"], header.get("joint")
    gain = joint.get("steps") if joint else None
    notes = joint_notes(joint, header["directions"]) if joint else []
    sheet = folder.path / OVERVIEW
    overview = {"overview": str(sheet)} if sheet.is_file() else {}
    if as_json:
        result = {"folder": str(folder.path), "directions": file, "steps": header["steps"], "penalty": penalty}
        result |= overview | {key: header[key] for key in ("first", "plan") if key in header}
        print_json(result | ({"joint": joint, "notes": notes} if joint else {}))
        return
    steps = gain["kept"] if gain else header["steps"]
    labels = {
        "after": f"after {steps} steps" if steps else "joint solution" if joint else f"method {header['method']}",
        "before": "before training",
        "random": "random directions",
        "axes": "axes of z",
    }
    if not steps and not joint:
        del labels["before"]  # nothing was trained
    name, scores = "Held-out penalty", penalty
    if penalty.get("hessians") and header["space"][1] - header["space"][0] > SIGN_VECTORS_UP_TO:
        name = "Held-out Hessians off the diagonal"
        scores = {key: score["off_diagonal"] for key, score in penalty["hessians"].items()}
        scores["after"] = scores.pop("found")
    rows = []
    for key in (key for key in labels if key in scores):
        ratio = "" if key == "after" or not scores[key] else f"after is {scores['after'] / scores[key]:.2f} of it"
        rows.append((labels[key], f"{scores[key]:.4g}", ratio))
    typer.echo(f"{name} (lower is better)")
    print_table(rows, "lll")
    if joint:
        typer.echo(f"\n{joint['agreeing_starts']} of {joint['starts']} starts reached the same joint solution.")
    sentences = [gain_in_words(gain)] if gain else []
    for sentence in [*sentences, *verdict(header), *(f"Note: {note}" for note in notes)]:
        typer.echo(sentence)
    chosen = f" of {joint['found']} found" if joint and joint["found"] > len(found) else ""
    path = shlex.quote(file)
    typer.echo(f"\n{len(found)} directions{chosen}, most active first: {path}")
    for what, verb in (("Look at them:", "render"), ("Move sliders:", "explore"), ("List them:", "inspect")):
        typer.echo(f"{what:<14} directions {verb} {path}")
    if overview:
        typer.echo(f"Beside random: {shlex.quote(str(sheet))}")
