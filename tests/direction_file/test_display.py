"""What a notebook shows: a table whose text is text, and a picture of a path."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from fakes import BlobGenerator, blob_directions

from directions.errors import UserError

HOSTILE = "<img src=x onerror=alert(1)>&\"'"


class Tags(HTMLParser):
    """Collects tags and text, and sees that every tag is closed."""

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def parsed(directions):
    tags = Tags()
    tags.feed(directions._repr_html_())
    assert not tags.open
    return tags


def test_table_shows_every_direction_with_bars():
    """In the file's order; the longest bar is that of the most active."""
    found = blob_directions(penalty_shares=[0.25] * 6).annotated("hue", starred=True, note="a\nring").reordered(["hue"])
    tags = parsed(found)
    text = "".join(tags.text)
    assert "6 directions of blob · |z| 6 · method adam" in text
    assert text.index("★ hue") < text.index("left-right")
    assert "a\nring" in text
    assert text.count("25.0%") == 6
    widths = [float(re.search(r"width:([\d.]+)em", attrs["style"])[1]) for tag, attrs in tags.seen if tag == "span"]
    assert widths == pytest.approx([3.2, 8.0, 6.4, 4.8, 1.6, 0.0])


def test_table_shows_hostile_text_as_text():
    """A name is no HTML, wherever it is shown."""
    found = blob_directions().annotated(0, name=HOSTILE, note=HOSTILE, hidden=True)
    tags = parsed(found)
    assert {tag for tag, _ in tags.seen} <= {"table", "caption", "thead", "tbody", "tr", "th", "td", "span"}
    assert "".join(tags.text).count(HOSTILE) == 2
    assert f"{HOSTILE} (hidden)" in "".join(tags.text)


def test_strip_is_a_row_a_sample_and_a_column_a_step():
    """The middle column is the image of z itself, the ends those at the path's ends."""
    generator = BlobGenerator(resolution=16)
    directions, z = blob_directions(generator), generator.sample_z(2, seed=0)
    page = np.asarray(directions.strip(generator, z, "hue", steps=5, y=1))
    assert page.shape == (2 * 18 - 2, 5 * 18 - 2, 3)
    for column, amount in [(0, -5.0), (2, 0.0), (4, 5.0)]:
        image = generator(directions.move(z, "hue", amount), y=1)[1].permute(1, 2, 0)
        expected = ((image + 1) * 127.5).round().numpy()
        np.testing.assert_allclose(page[18:34, column * 18 : column * 18 + 16], expected, atol=1)
    assert (page[16:18] == 255).all()


def test_strip_takes_a_path_size():
    """And refuses what is none."""
    generator = BlobGenerator(resolution=8)
    directions, z = blob_directions(generator), torch.zeros(1, 6)
    assert directions.strip(generator, z, 0, steps=2, path_size=1.0).size == (18, 8)
    with pytest.raises(UserError, match="steps must be at least 2, got 1"):
        directions.strip(generator, z, 0, steps=1)
    with pytest.raises(UserError, match="path_size must be a positive number of latent units, got -1"):
        directions.strip(generator, z, 0, path_size=-1)
