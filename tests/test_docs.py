"""README and documentation: commands run as they stand there, quoted messages exist, the site builds."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from directions.cli.main import main

ROOT = Path(__file__).parents[1]
TROUBLES = re.findall(r"^- `([^`]+)`: ", (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8"), re.MULTILINE)


def test_a_quoted_message_is_one_of_the_programs() -> None:
    """Whoever searches the page for the words on the screen finds them; a message in pieces is joined."""
    literals = []
    for path in sorted((ROOT / "directions").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                pieces = [str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values]
                literals.append("".join(pieces))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                literals.append(node.value)
    text = "\n".join(literals)
    assert TROUBLES
    assert [message for message in TROUBLES if message not in text] == []


def test_the_site_builds_and_takes_nothing_from_elsewhere(tmp_path: Path) -> None:
    """Strictly: no broken link, every page in the navigation; no script, style, font or picture of another site."""
    pytest.importorskip("material", reason="the site's builder is in the extra docs")
    site = tmp_path / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(site)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "--base-points" in (site / "reference" / "cli.html").read_text(encoding="utf-8")
    assert "gram_schmidt" in (site / "reference" / "api.html").read_text(encoding="utf-8")
    pages = list(site.rglob("*.html"))
    assert len(pages) > 15
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert re.findall(r"<(?:script|img|iframe)\b[^>]*\bsrc=[\"']?(?:https?:)?//[^>]*>", text) == [], page
        links = re.findall(r"<link\b[^>]*\bhref=[\"']?(?:https?:)?//[^>]*>", text)
        assert [link for link in links if 'rel="canonical"' not in link] == [], page


README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
LINES = [line for language, text in BLOCKS if not language for line in text.splitlines()]
COMMANDS = [line for line in LINES if line.startswith("directions ") and "photos" not in line]  # nobody's photos here
PYTHON = [text for language, text in BLOCKS if language == "python"]
LESS = {
    "discover": "--steps 2 --batch-size 2 --held-out 1 --held-out-probes 2 --final-samples 1 --base-points 1",
    "render": "--frames 4 --samples 1 --directions 0",
}


def test_the_readme_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its commands, smaller, and then its Python, which loads a file that they have made."""
    assert {"discover", "render", "inspect", "generators"} <= {line.split()[1] for line in COMMANDS}
    assert len(PYTHON) >= 2
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("directions.rendering.stills._OVERVIEW_SECONDS", 0)
    for line in COMMANDS:
        words = shlex.split(line)[1:]
        if "--resume" in words:
            words[words.index("--steps") + 1] = "3"
        elif words[0] in LESS:
            words += shlex.split(LESS[words[0]])
        assert main(words) == 0, line
    for text in PYTHON:
        exec(compile(text, "README.md", "exec"), {})
