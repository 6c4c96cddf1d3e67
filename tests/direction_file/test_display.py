"""What is seen of directions: a table whose text is text, pictures of a path, images on all layers or some."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import biggan_models
import numpy as np
import pytest
import torch
from fakes import BlobGenerator, blob_directions

from directions.direction_file import Directions
from directions.errors import UserError
from directions.generators.biggan_deep import BigGANDeep

HOSTILE = "<img src=x onerror=alert(1)>&\"'"


def parsed(directions):
    """As XML, in which every tag is closed."""
    return ET.fromstring(directions._repr_html_().replace(" style=opacity:0.5", ""))


def test_table_shows_every_direction_with_bars():
    """In the file's order; the longest bar is that of the most active."""
    found = blob_directions(penalty_shares=[0.25] * 6).annotated("hue", starred=True, note="a\nring").reordered(["hue"])
    table = parsed(found)
    text = "".join(table.itertext())
    assert "6 directions of blob · |z| 6 · method adam" in text
    assert text.index("★ hue") < text.index("left-right")
    assert "a\nring" in text
    assert text.count("25.0%") == 6
    widths = [float(re.search(r"width:([\d.]+)em", bar.get("style"))[1]) for bar in table.iter("span")]
    assert widths == pytest.approx([3.2, 8.0, 6.4, 4.8, 1.6, 0.0])


def test_table_shows_hostile_text_as_text():
    """A name is no HTML, wherever it is shown."""
    found = blob_directions().annotated(0, name=HOSTILE, note=HOSTILE, hidden=True)
    table = parsed(found)
    assert {part.tag for part in table.iter()} <= {"table", "caption", "thead", "tbody", "tr", "th", "td", "span"}
    text = "".join(table.itertext())
    assert text.count(HOSTILE) == 2
    assert f"{HOSTILE} (hidden)" in text


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
    assert directions.strip(generator, z[:1].numpy(), 0, steps=2, path_size=1.0).size == (34, 16)
    with pytest.raises(UserError, match="steps must be at least 2, got 1"):
        directions.strip(generator, z, 0, steps=1)


# Images


@pytest.fixture(scope="module")
def generator():
    return BigGANDeep(biggan_models.random_model(), name="deep", digest="d")


def directions_of(generator, layers) -> Directions:
    return Directions.from_basis(np.eye(2, 12), generator, names=["hue", "size"], layers=layers)


def latents(n: int) -> torch.Tensor:
    return torch.randn(n, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_images_on_all_layers_are_a_plain_call(generator):
    """Bit by bit; with a class for each, several directions at once, and further axes in front."""
    directions, z, y = directions_of(generator, None), latents(2), [0, 2]
    moved = directions.move(z, ["hue", "size"], [3.0, -1.0])
    got = directions.images(generator, z, ["hue", "size"], [3.0, -1.0], y=y, truncation=0.5)
    assert torch.equal(got, generator(moved, y, truncation=0.5))
    path = directions.images(generator, z, "hue", [[-1.0], [0.0], [1.0]], y=y)
    assert path.shape == (3, 2, 3, 16, 16)
    torch.testing.assert_close(path[1], generator(z, y))


def test_images_need_what_fits(generator):
    """Latents that are no batch, layers that are not there."""
    directions = directions_of(generator, [4, 5])
    for z in (latents(1)[0], latents(0), None):
        with pytest.raises(UserError, match=r"z must be a tensor \(batch, 12\), as generator.sample_z\(n\) makes, got"):
            directions.images(generator, z, 0, 1.0)
    with pytest.raises(UserError, match=r"layers must be START:STOP with 0 <= START < STOP <= 7 .*, got 6:8"):
        directions_of(generator, [6, 7]).images(generator, latents(1), 0, 1.0)
