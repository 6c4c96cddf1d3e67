"""The gallery as people meet it: in Chromium, from the disk, with no network."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes import BlobGenerator, blob_directions

from directions.direction_file import Directions
from directions.rendering.render import render
from directions.settings.render import RenderSettings

CHROMIUM = Path("/usr/bin/chromium")
playwright = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium")

HOSTILE = '<img src=x onerror="alert(1)">'


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    """A gallery whose names try to be more than names."""
    generator = BlobGenerator(resolution=16)
    names = ["left-right", "up-down", HOSTILE, "שלום עולם", "W" * 64, "hue"]
    header = blob_directions(generator, names=names).header
    header["directions"][1] |= {"note": "ordinary <b>note</b>", "starred": True}
    directions = Directions(blob_directions(generator).matrix, header)
    out = tmp_path_factory.mktemp("gallery") / "g"
    render(
        directions, generator, RenderSettings(format="gallery", frames=5, samples=4, scale=2), out=out, y=[0, 1, 2, 0]
    )
    return out


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


@pytest.fixture
def opened(browser, gallery):
    """Open the page; afterwards nothing was asked of a network, and the console is empty."""
    contexts, faults = [], []

    def open_page(**settings):
        context = browser.new_context(**({"viewport": {"width": 1000, "height": 800}} | settings))
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: request.url.startswith(("file:", "data:")) or faults.append(request.url))
        page.on("requestfailed", lambda request: faults.append(f"failed: {request.url}"))
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("dialog", lambda dialog: faults.append(dialog.message))
        page.goto((gallery / "index.html").as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []


def visible(page):
    return page.locator(".card:visible .name bdi").all_inner_texts()


def test_gallery_searches_and_keeps_text_text(opened):
    """Names are text, whatever is in them; search by name, note and index; / and Esc; stars; order."""
    page = opened()
    assert visible(page) == ["left-right", "up-down", HOSTILE, "שלום עולם", "W" * 64, "hue"]
    assert page.locator("main img").count() == 6
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.keyboard.press("/")
    page.keyboard.type("ONERROR")
    assert visible(page) == [HOSTILE]
    assert page.locator("#found").inner_text() == "1 of 6"
    page.keyboard.press("Escape")
    assert len(visible(page)) == 6
    page.fill("#search", "<b>note")
    assert visible(page) == ["up-down"]
    page.fill("#search", "nothing like it")
    assert visible(page) == []
    page.fill("#search", "")
    page.click("#stars")
    assert visible(page) == ["up-down"]
    page.click("#stars")
    page.select_option("#order", "name")
    assert visible(page)[1:3] == ["hue", "left-right"]


def wait_for_place(page, place):
    """Wait until the frame of a place is loaded and drawn."""
    page.wait_for_selector(f"#samples[data-place='{place}']")


def pixels(page):
    """All samples as they are on the screen."""
    return [canvas.screenshot() for canvas in page.locator("#samples canvas").all()]


def test_gallery_opens_and_the_slider_changes_the_picture(opened, gallery):
    """By keys, a click or its own address; every sample changes; Esc goes back to the card."""
    page = opened()
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft", "Enter"):
        page.keyboard.press(key)
    title, amount = page.locator("dialog h2"), page.locator("#amount")
    assert title.inner_text() == "left-right"
    wait_for_place(page, 2)
    assert amount.inner_text() == "0"
    middle = pixels(page)
    page.keyboard.press("End")
    wait_for_place(page, 4)
    assert amount.inner_text() == "+3.00"
    assert all(before != after for before, after in zip(middle, pixels(page), strict=True))
    page.keyboard.press("ArrowLeft")
    assert amount.inner_text() == "+1.50"
    page.keyboard.press("ArrowLeft")
    wait_for_place(page, 2)
    assert pixels(page) == middle
    assert page.locator("#samples figcaption").all_inner_texts() == ["ball", "soft ball", "ghost", "ball"]
    page.keyboard.press("ArrowDown")
    assert title.inner_text() == "up-down"
    assert page.locator("#detail-note").inner_text() == "ordinary <b>note</b>"
    page.keyboard.press("Space")
    playwright.expect(amount).not_to_have_text("0")
    page.keyboard.press("Space")
    page.keyboard.press("Escape")
    assert not page.locator("dialog").is_visible()
    # The page moves the focus in its answer to the dialog's closing, which the browser sends a moment later.
    playwright.expect(page.locator(":focus")).to_have_attribute("data-index", "1")

    page.click(".card >> nth=2")
    assert title.inner_text() == HOSTILE
    assert page.url.endswith("#2")
    page.click("#close")
    address = (gallery / "index.html").as_uri()
    playwright.expect(page).to_have_url(address)
    page.goto(f"{address}#5")
    page.reload()
    assert title.inner_text() == "hue"


def test_gallery_on_a_phone_without_motion(opened):
    """Two columns, nothing beyond the edge; stills instead of animations until asked; dark."""
    page = opened(viewport={"width": 360, "height": 740}, reduced_motion="reduce", color_scheme="dark", has_touch=True)
    source = "document.querySelector('.card img').currentSrc"
    assert "/stills/" in page.evaluate(source)
    with page.expect_request("**/thumbs/**"):
        page.tap("#motion")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    first, second = (page.locator(".card").nth(number).bounding_box() for number in (0, 1))
    assert first["y"] == second["y"]
    page.tap(".card >> nth=4")
    assert page.evaluate("document.querySelector('dialog').scrollWidth <= innerWidth")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(19, 19, 22)"
