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


def test_the_site_can_be_searched_from_the_disk(site: Path) -> None:
    """Where browsers start no workers; nothing is asked of the network."""
    chromium = Path("/usr/bin/chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="the browser is driven by playwright")
    if not chromium.exists():
        pytest.skip(f"{chromium} is not there")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(chromium), args=["--no-sandbox", "--disable-gpu"])
        tab = browser.new_page()
        asked: list[str] = []
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto((site / "reference" / "cli.html").as_uri())
        tab.locator("input.md-search__input").click()
        tab.keyboard.type("gallery")
        tab.locator(".md-search-result__item").first.wait_for(timeout=60_000)
        browser.close()
    assert {url.partition(":")[0] for url in asked} <= {"file", "data", "blob"}
