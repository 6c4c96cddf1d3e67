"""What the documentation site takes from the code: the command line's reference, from the program's own help.

The builder of the site (``mkdocs.yml``) calls this; the Python reference is taken from the docstrings by a plugin.
"""

from __future__ import annotations

import importlib
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from typer.cli import get_docs_for_click

from directions.cli.main import VERBS, app


def command_line() -> str:
    """Return the help of every command as Markdown."""
    # The program itself imports one verb at a time; here all of them are wanted.
    whole = typer.Typer(help=app.info.help, add_completion=False)
    for verb, (module, _) in VERBS.items():
        found = getattr(importlib.import_module(f"directions.cli.{module}"), verb)
        whole.add_typer(found) if isinstance(found, typer.Typer) else whole.command(verb)(found)
    command = typer.main.get_command(whole)
    whole_sentences(command)
    context = command.make_context("directions", [], resilient_parsing=True)
    return get_docs_for_click(obj=command, ctx=context, name="directions", title="Command line")


def whole_sentences(command: Any) -> None:
    """Let lists of commands have the first paragraph of each one's help, not its first 45 characters."""
    for verb in getattr(command, "commands", {}).values():
        verb.short_help = (verb.help or "").split("\n\n")[0].replace("\n", " ")
        whole_sentences(verb)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated page, as the site's builder asks its hooks to."""
    files.append(File.generated(config, "reference/cli.md", content=command_line()))
    return files
