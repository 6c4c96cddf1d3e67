"""What the documentation site takes from the code: the command line's reference, from the program's own help.

The builder of the site (``mkdocs.yml``) calls this; the Python reference is taken from the docstrings by a plugin.
"""

from __future__ import annotations

import re
import subprocess
import sys

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files


def command_line() -> str:
    """Return the help of every command as Markdown."""
    command = [sys.executable, "-m", "typer", "directions.cli.main", "utils", "docs", "--name", "directions"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return re.sub(r"^# `directions`", "# Command line", text, count=1)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated page, as the site's builder asks its hooks to."""
    files.append(File.generated(config, "reference/cli.md", content=command_line()))
    return files
