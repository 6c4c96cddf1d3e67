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


@pytest.fixture(scope="module")
def literals() -> str:
    """Every string of the package's source, one a line; pieces of one message are joined."""
    found = []
    for path in sorted((ROOT / "directions").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                found.append(
                    "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(found)


@pytest.mark.parametrize("message", TROUBLES)
def test_a_quoted_message_is_one_of_the_programs(message: str, literals: str) -> None:
    """Whoever searches the page for the words on the screen finds them."""
    assert message in literals


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built strictly: no broken link, every page in the navigation."""
    pytest.importorskip("material", reason="the site's builder is in the extra docs")
    built = tmp_path_factory.mktemp("docs") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(built)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return built


def test_the_site_builds(site: Path) -> None:
    """With the references made from the code."""
    assert "--base-points" in (site / "reference" / "cli.html").read_text(encoding="utf-8")
    assert "gram_schmidt" in (site / "reference" / "api.html").read_text(encoding="utf-8")


def test_the_site_takes_nothing_from_elsewhere(site: Path) -> None:
    """No script, style, font or picture of another site."""
    pages = list(site.rglob("*.html"))
    assert len(pages) > 15
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert re.findall(r"<(?:script|img|iframe)\b[^>]*\bsrc=[\"']?(?:https?:)?//[^>]*>", text) == [], page
        links = re.findall(r"<link\b[^>]*\bhref=[\"']?(?:https?:)?//[^>]*>", text)
        assert [link for link in links if 'rel="canonical"' not in link] == [], page


README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
COMMANDS = [line for language, text in BLOCKS if not language for line in text.splitlines()]
COMMANDS = [
    line for line in COMMANDS if line.startswith("directions ") and "photos" not in line
]  # nobody's photos here
PYTHON = [text for language, text in BLOCKS if language == "python"]
LESS = {
    "discover": "--steps 2 --batch-size 2 --held-out 1 --held-out-probes 2 --final-samples 1 --base-points 1",
    "render": "--frames 4 --samples 1 --directions 0",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands are run, one after the other."""
    return tmp_path_factory.mktemp("readme")


def test_the_commands_are_there() -> None:
    """So that the tests below are about something."""
    assert {"discover", "render", "inspect", "generators"} <= {line.split()[1] for line in COMMANDS}
    assert len(PYTHON) >= 2


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_runs(line: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of the README, from its root."""
    monkeypatch.chdir(place)
    monkeypatch.setattr("directions.rendering.stills._OVERVIEW_SECONDS", 0)
    words = shlex.split(line)[1:]
    if "--resume" in words:
        words[words.index("--steps") + 1] = "3"
    elif words[0] in ("discover", "render"):
        words += shlex.split(LESS[words[0]])
    assert main(words) == 0


@pytest.mark.parametrize("text", PYTHON)
def test_an_example_runs(text: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the commands, whose file it loads."""
    monkeypatch.chdir(place)
    exec(compile(text, "README.md", "exec"), {})
