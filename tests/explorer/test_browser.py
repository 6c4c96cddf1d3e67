"""The page in a real browser: what is seen, what is saved, what two tabs do, and that nothing leaves this machine."""

from __future__ import annotations

import base64
import contextlib
import io
import re
import threading
from pathlib import Path

import numpy as np
import pytest
from explorer_page import make_page
from fakes import BlobGenerator, blob_directions
from pictures import shown

from directions.direction_file import edit_directions, load_directions
from directions.explorer.app import address, listen, make_server

CHROMIUM = Path("/usr/bin/chromium")
PATIENCE = 60_000  # milliseconds, for a machine that does something else as well
HOSTILE = ["<img src=x onerror=\"document.title='owned'\">", "שלום <b>", "{{7*7}}", "x" * 64]

playwright = pytest.importorskip("playwright.sync_api", reason="the browser is driven by playwright")
pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"{CHROMIUM} is not there")


@pytest.fixture(scope="module")
def browser():
    """One browser for all tests, with nothing that it does by itself."""
    with playwright.sync_playwright() as driver:
        quiet = ("quic", "background-networking", "component-update", "sync", "gpu")
        arguments = ["--no-sandbox", "--no-first-run", *(f"--disable-{what}" for what in quiet)]
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=arguments)
        playwright.expect.set_options(timeout=PATIENCE)
        yield browser
        browser.close()


class Served:
    """A page that a server serves, and the tabs that look at it."""

    def __init__(self, page, url, browser):
        self.page, self.url = page, url
        self.context = browser.new_context(viewport={"width": 1200, "height": 800}, accept_downloads=True)
        self.context.grant_permissions(["clipboard-read", "clipboard-write"])
        self.context.set_default_timeout(PATIENCE)
        self.trouble, self.requests = [], []

    def open(self, fragment=""):
        """Open a tab that is watched, and wait for its first pictures."""
        tab = self.context.new_page()
        tab.on("console", lambda said: self.trouble.append(said.text) if said.type in ("error", "warning") else 0)
        tab.on("pageerror", lambda error: self.trouble.append(str(error)))
        tab.on("request", lambda request: self.requests.append(request.url))
        tab.goto(self.url + fragment)
        self.rest(tab)
        return tab

    def rest(self, tab):
        """Wait until the newest state is shown."""
        tab.wait_for_selector('#tiles[aria-busy="false"] .tile')

    def slide(self, tab, index, amount, *, rest=True):
        """Move a slider as the mouse does."""
        set_value = "(slider, amount) => { slider.value = amount; slider.dispatchEvent(new Event('input')); }"
        tab.locator(".slider").nth(index).evaluate(set_value, amount)
        if rest:
            self.rest(tab)

    def assert_shows(self, tab, seed, moves, place=0):
        """A tile is what the API gives for one sample."""
        self.rest(tab)
        np.testing.assert_array_equal(self.shown(tab, place), self.answered(seed, moves))

    def shown(self, tab, place=0):
        """The pixels of a tile, (height, width, 3)."""
        data = tab.locator(".tile canvas").nth(place).evaluate("canvas => canvas.toDataURL('image/png')")
        return shown(io.BytesIO(base64.b64decode(data.partition(",")[2])))[0][0]

    def answered(self, seed, moves):
        """The pixels that the API gives for one sample."""
        ids = {self.page.ids[index]: amount for index, amount in moves.items()}
        return shown(io.BytesIO(self.page.image(seeds=[seed], moves=ids).content))[0][0]


def said(tab, text):
    """Wait until the page says something."""
    playwright.expect(tab.locator("#status")).to_have_text(text)


def enter(locator, text):
    """Fill a field, and press Enter."""
    locator.fill(text)
    locator.press("Enter")


@contextlib.contextmanager
def serving(page, browser):
    """A page at an address; afterwards, that nothing went wrong and nothing went out."""
    bound = listen("127.0.0.1", 0)
    server = make_server(page.client.app)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    served = Served(page, address(bound), browser)
    try:
        yield served
        assert served.trouble == []
        assert [url for url in served.requests if not url.startswith((served.url, "blob:"))] == []
    finally:
        served.context.close()
        server.should_exit = True
        thread.join(20)
        bound.close()


@pytest.fixture
def served(page, browser):
    """The page of the blob's directions."""
    with serving(page, browser) as made:
        yield made


def test_browser_shows_what_the_api_computes(served):
    """Open, move sliders, see the pixels change; before and after; reset; the next sample."""
    tab = served.open()
    served.assert_shows(tab, 0, {})
    served.assert_shows(tab, 3, {}, place=3)
    served.slide(tab, 0, 1.5)
    served.slide(tab, 3, -2.0)
    assert (served.shown(tab) != served.answered(0, {})).any()
    served.assert_shows(tab, 0, {0: 1.5, 3: -2.0})
    assert "\u2068left-right\u2069 +1.50" in tab.locator(".tile").first.get_attribute("aria-label")

    tab.keyboard.press("b")
    served.assert_shows(tab, 0, {})
    assert tab.locator("#before").get_attribute("aria-pressed") == "true"
    tab.keyboard.press("b")
    served.assert_shows(tab, 0, {0: 1.5, 3: -2.0})

    tab.locator(".slider").nth(3).dblclick(position={"x": 10, "y": 10})
    served.rest(tab)
    assert tab.locator(".value").nth(3).input_value() == "0.00"
    tab.locator(".value").nth(1).fill("2.25")
    tab.locator(".slider").nth(2).focus()
    tab.keyboard.press("End")
    served.assert_shows(tab, 0, {0: 1.5, 1: 2.25, 2: 4.0})

    tab.locator(".value").nth(2).fill("500")
    playwright.expect(tab.locator(".problem").nth(2)).to_contain_text("from −100 to 100, got 500")
    tab.locator(".value").nth(2).press("Enter")
    assert tab.locator(".value").nth(2).input_value() == "4.00"

    tab.locator("#reset").click()
    tab.locator("#next").click()
    served.assert_shows(tab, 4, {})
    enter(tab.locator("#seed"), "-3")
    said(tab, re.compile(r"^Sample must be a whole number from 0 to \d+, got -3\.$"))
    enter(tab.locator("#row"), "ball wall")
    said(tab, "There is no class wall.")


def test_browser_writes_on_the_file_and_finds_it_again(served):
    """Name, star, range, note, hide, reorder with the keyboard; reload; undo."""
    tab = served.open()
    # Rows grow by suggested names, and the mouse below goes to fixed places.
    tab.route("**/api/suggestion*", lambda route: route.fulfill(json={"suggestion": None}))
    served.slide(tab, 0, 1.0)
    row = tab.locator(".direction").first
    enter(row.locator(".name"), "sideways")
    said(tab, "Name saved")
    playwright.expect(tab.locator("#caption")).to_contain_text("sideways")
    row.locator(".star").click()
    row.locator(".more").click()
    enter(row.locator(".range"), "1.75")
    row.locator(".note").fill("first\nsecond")
    row.locator(".note").blur()
    said(tab, "Note saved")
    tab.locator(".more").nth(4).click()
    tab.locator(".hide").nth(4).click()
    tab.locator(".direction").nth(4).wait_for(state="hidden")
    tab.locator(".handle").nth(2).press("ArrowUp")
    said(tab, "Order saved")

    tab.locator(".handle").nth(5).scroll_into_view_if_needed()
    start, end = (tab.locator(".handle").nth(place).bounding_box() for place in (5, 2))
    tab.mouse.move(start["x"] + 5, start["y"] + 5)
    tab.mouse.down()
    tab.mouse.move(end["x"] + 5, end["y"] + 5, steps=5)
    tab.mouse.up()
    playwright.expect(tab.locator(".direction:not([hidden]) .name").nth(2)).to_have_value("d5")
    said(tab, "Order saved")
    tab.locator("#undo").click()
    said(tab, re.compile("^Undone: order"))

    entries = load_directions(served.page.path).header["directions"]
    expected = {"name": "sideways", "starred": True, "path_size": 1.75, "note": "first\nsecond"}
    assert {key: entries[0][key] for key in expected} == expected
    assert entries[4]["hidden"]
    assert load_directions(served.page.path).order == (0, 2, 1, 3, 4, 5)

    tab.reload()
    served.assert_shows(tab, 0, {0: 1.0})  # the tab's own, kept over a reload
    names = tab.locator(".name").evaluate_all("inputs => inputs.map(input => input.value)")
    assert names == ["sideways", "size", "up-down", "hue", "light", "d5"]
    assert tab.locator(".slider").first.get_attribute("max") == "1.75"

    enter(tab.locator(".name").nth(1), "sideways")
    tab.locator(".problem").nth(1).wait_for(state="visible")
    assert "same name" in tab.locator(".problem").nth(1).text_content()
    served.trouble = [text for text in served.trouble if "400" not in text]  # how Chromium notes every refusal


def test_browser_shows_hostile_names_as_text(served):
    """Nothing in them is run or rendered, wherever the page shows them."""
    for index, name in enumerate(HOSTILE):
        edit_directions(served.page.path, lambda found, i=index, n=name: found.annotated(i, name=n, note=n))
    tab = served.open()
    for index, _ in enumerate(HOSTILE):
        served.slide(tab, index, 1.0)
    names = tab.locator(".name").evaluate_all("inputs => inputs.map(input => input.value)")
    assert names[:4] == HOSTILE
    assert all(name in tab.locator("#caption").text_content() for name in HOSTILE)
    assert tab.locator(".tiles img, .caption img, .direction img, .direction b").count() == 0
    assert tab.title() == "blob.safetensors · directions"
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_browser_saves_pictures_gifs_and_code(served):
    """What is downloaded is what is seen; the code is in the clipboard and runs with another file's names too."""
    tab = served.open()
    tab.locator("#count").select_option("1")
    served.slide(tab, 3, 2.0)
    with tab.expect_download() as download:
        tab.locator("#save").click()
    assert download.value.suggested_filename == "sample-0_ball_hue-+2.00.png"
    np.testing.assert_array_equal(shown(download.value.path())[0][0], served.shown(tab))
    tab.locator(".more").nth(3).click()
    with tab.expect_download() as download:
        tab.locator(".gif").nth(3).click()
    assert download.value.suggested_filename == "hue.gif"
    assert len(shown(download.value.path())[0]) == 48
    tab.locator("#python").click()
    playwright.expect(tab.locator("#python-copy")).to_have_text("Copied")
    assert "directions.move(z, ['hue'], [2.0])" in tab.evaluate("navigator.clipboard.readText()")


def test_browser_link_restores_what_is_shown(served):
    """Sample, classes, sliders and random are in the address; what does not fit is left out, and said.

    Then two tabs move different sliders at once, each sees its own; a name given in one is seen in the other.
    """
    edit_directions(served.page.path, lambda found: found.renamed(1, "ü 50%=x"))
    tab = served.open()
    served.slide(tab, 3, 2.0)
    tab.locator("#seed").fill("7")
    enter(tab.locator("#row"), "0, ghost")
    tab.locator("#random").check()
    caption = "sample 7 · ball, ghost · found and random · \u2068hue\u2069 +2.00"
    playwright.expect(tab.locator("#caption")).to_have_text(caption)
    playwright.expect(tab).to_have_url(re.compile("random=yes"))
    other = served.open(tab.url.removeprefix(served.url))
    assert other.locator(".value").nth(3).input_value() == "2.00"
    assert other.locator(".tile").count() == 4
    served.assert_shows(other, 7, {3: 2.0})
    assert (served.shown(other, 2) != served.answered(7, {3: 2.0})).any()
    assert other.locator("#row").input_value() == "0 2"
    for step in range(1, 6):
        for one, index in ((tab, 0), (other, 2)):
            served.slide(one, index, step / 4, rest=False)
    served.assert_shows(tab, 7, {0: 1.25, 3: 2.0})
    served.assert_shows(other, 7, {2: 1.25, 3: 2.0})
    enter(tab.locator(".name").nth(5), "mine")
    said(tab, "Name saved")
    other.evaluate("window.dispatchEvent(new Event('focus'))")
    playwright.expect(other.locator(".name").nth(5)).to_have_value("mine")

    other.evaluate("location.hash = '#sample=-4&class=1&show=1&truncation=7&beef=1'")
    said(other, re.compile("Left out of the link.*sample=-4, truncation=7, beef=1"))
    playwright.expect(other.locator("#caption")).to_have_text("sample 7 · soft ball")
    for link, index in (("#hue", 3), ("#4", 4)):
        other.evaluate(f"location.hash = '{link}'")
        playwright.expect(other.locator(".slider").nth(index)).to_be_focused()
    other.evaluate("location.hash = '#nobody'")
    said(other, "There is no direction nobody.")
    for name in ("ü 50%=x", "%C3%BC%2050%25%3Dx"):
        other.evaluate("document.activeElement.blur()")
        other.evaluate(f"location.hash = '#{name}'")
        playwright.expect(other.locator(".slider").nth(1)).to_be_focused()


def test_browser_is_used_by_the_keyboard_alone(served):
    """Skip to the list, star, play, name, slide, open the details, take a suggested name: all without the mouse."""
    tab = served.open()
    press = tab.keyboard.press
    press("Tab")
    press("Enter")
    playwright.expect(tab.locator("#directions")).to_be_focused()
    for _ in range(2):
        press("Tab")
    press("Enter")
    said(tab, "Starred")
    playwright.expect(tab.locator(".preview.made")).to_have_count(6)
    press("Tab")
    assert tab.evaluate("document.getAnimations().length") == 1
    press("Enter")
    playwright.expect(tab.locator(".slider").first).not_to_have_value("0")
    press("Enter")
    playwright.expect(tab.locator(".preview").first).to_have_attribute("aria-pressed", "false")
    playwright.expect(tab.locator(".slider").first).to_have_value("0")
    press("Tab")
    tab.keyboard.type("sideways")
    press("Enter")
    said(tab, "Name saved")
    assert load_directions(served.page.path).names[0] == "sideways"
    tab.locator(".slider").first.focus()
    press("Shift+ArrowRight")
    served.assert_shows(tab, 0, {0: 0.6})
    press("Tab")
    press("Tab")
    press("Space")
    assert tab.locator(".details").first.is_visible()
    press("?")
    assert tab.locator("#help-dialog").is_visible()
    press("Escape")
    assert not tab.locator("#help-dialog").is_visible()

    button = tab.locator(".direction:has(.suggestion:not([hidden])) .suggestion").first
    playwright.expect(button).to_contain_text("↔")
    words = button.text_content().removesuffix("?")
    shown = "rows => rows.findIndex(row => !row.querySelector('.suggestion').hidden)"
    index = tab.locator(".direction").evaluate_all(shown)
    tab.locator(".slider").nth(index).focus()
    with tab.expect_response("**/api/change"):
        press("a")
    playwright.expect(tab.locator(".name").nth(index)).to_have_value(words)
    assert words in load_directions(served.page.path).names


def test_browser_on_a_phone_by_night_without_motion(browser, tmp_path):
    """Dark, nothing beyond the edge, pictures in sight above the last slider, nothing moves; one of 1000 classes."""
    generator = BlobGenerator(num_classes=1000, class_names=tuple(f"kind {index}" for index in range(1000)))
    blob_directions(generator).save(tmp_path / "x.safetensors")
    page = make_page(generator, tmp_path / "x.safetensors")
    with page.client, serving(page, browser) as served:
        tab = served.open()
        # Rows grow by suggested names, which would move what is measured below.
        tab.route("**/api/suggestion*", lambda route: route.fulfill(json={"suggestion": None}))
        tab.emulate_media(color_scheme="dark", reduced_motion="reduce")
        tab.set_viewport_size({"width": 360, "height": 740})
        assert max(map(int, re.findall(r"\d+", tab.evaluate("getComputedStyle(document.body).backgroundColor")))) < 60
        served.slide(tab, 5, 1.0)
        playwright.expect(tab.locator(".preview.made")).to_have_count(6)
        tab.locator(".slider").last.evaluate("slider => slider.scrollIntoView({ block: 'end' })")
        tiles, slider = (tab.locator(one).bounding_box() for one in ("#tiles", ".direction:last-child .slider"))
        assert 0 <= tiles["y"] < tiles["y"] + tiles["height"] <= slider["y"] + slider["height"] <= 740
        tab.locator(".preview").last.focus()
        assert tab.evaluate("document.getAnimations().length") == 0

        assert tab.locator("#class-search").input_value() == "0 kind 0"
        enter(tab.locator("#class-search"), "Kind 173")
        served.rest(tab)
        assert tab.locator("#class-search").input_value() == "173 kind 173"
        assert "kind 173" in tab.locator("#caption").text_content()
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
