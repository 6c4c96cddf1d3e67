"""Photograph the page of a direction file for the docs: a desktop by day, a phone by night.

    python scripts/explore_pictures.py outputs/00000-demo --out docs/images

Writes explore.png and explore-phone.png, once previews and suggested names are made. Needs Playwright and a Chromium.
"""

from __future__ import annotations

import argparse
import secrets
import shutil
import threading
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from directions import load_directions, load_generator
from directions.direction_file import direction_file
from directions.explorer.app import address, listen, make_app, make_server
from directions.explorer.file import OpenFile
from directions.explorer.snippet import Origin

PATIENCE = 300_000
MOVED = {0: 0.75, 2: -0.8}
"""Sliders that are moved, and how far, as a share of the range."""


def photograph(page: Page, address: str, path: Path, *, sample: int) -> None:
    """Open the page, move some sliders, wait, and save what is seen."""
    page.goto(f"{address}#sample={sample}&show=4")
    page.wait_for_selector('#tiles[aria-busy="false"] .tile')
    for row, share in MOVED.items():
        slider = page.locator(".slider").nth(row)
        slider.evaluate("(s, share) => { s.value = share * s.max; s.dispatchEvent(new Event('input')); }", share)
    page.wait_for_selector(".preview:not(.made)", state="detached")
    page.wait_for_selector(".suggestion:not([hidden])")
    page.wait_for_timeout(5000)
    if page.evaluate("innerWidth < 600"):  # the list is below the pictures, which stay in sight
        page.locator(".direction").nth(2).evaluate("row => row.scrollIntoView({ block: 'center' })")
        page.wait_for_timeout(500)
    page.screenshot(path=path)


def main() -> None:
    """Serve the file and photograph it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="a direction file, or the run folder that it is in")
    parser.add_argument("--out", type=Path, default=Path("docs/images"), help="folder (default: docs/images)")
    parser.add_argument("--sample", type=int, default=0, help="first sample that is shown")
    arguments = parser.parse_args()
    path = direction_file(arguments.file)
    generator = load_generator(load_directions(path).generator)
    server = make_server(make_app(OpenFile(path), generator, Origin(path), secrets.token_urlsafe(24)))
    bound = listen("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    looks: dict[str, dict[str, Any]] = {
        "explore": {"viewport": {"width": 1280, "height": 860}, "color_scheme": "light"},
        "explore-phone": {
            "viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True,
            "color_scheme": "dark",
        },
    }  # fmt: skip
    try:
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
            for name, look in looks.items():
                page = browser.new_page(**look)
                page.set_default_timeout(PATIENCE)
                photograph(page, address(bound), arguments.out / f"{name}.png", sample=arguments.sample)
            browser.close()
    finally:
        server.should_exit = True
        thread.join()
        bound.close()


if __name__ == "__main__":
    main()
