"""The documentation: what it quotes from the program is there, and the site builds without a broken link."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TROUBLES = re.findall(r"^`(.+)`$", (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8"), re.MULTILINE)


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


def test_the_site_builds(tmp_path: Path) -> None:
    """Strictly: no broken link, every page in the navigation, the references made from the code."""
    pytest.importorskip("material", reason="the site's builder is in the extra docs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "--base-points" in (tmp_path / "site" / "reference" / "cli.html").read_text(encoding="utf-8")
    assert "gram_schmidt" in (tmp_path / "site" / "reference" / "api.html").read_text(encoding="utf-8")
