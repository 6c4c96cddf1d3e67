"""Pictures: what the generator makes at that place, whoever asks, and the same whatever was asked before."""

from __future__ import annotations

import asyncio
import io

import numpy as np
import pytest
import torch
from explorer_page import make_page
from fakes import BlobGenerator, blob_directions
from pictures import shown

from directions import load_generator
from directions.direction_file import Directions, load_directions
from directions.evaluation.statistics import Statistics, suggest_names
from directions.explorer.file import OpenFile
from directions.explorer.models import AnimationRequest
from directions.explorer.painter import Shared, SupersededError, Worker, animate
from directions.rendering.frames import random_rivals, to_uint8


def pixels(response) -> np.ndarray:
    """The picture that was answered, (height, width, 3)."""
    assert response.status_code == 200, response.text
    return shown(io.BytesIO(response.content))[0][0]


def expected(generator, directions, seed, moves, y=0, truncation=1.0) -> np.ndarray:
    """The image of one sample, by the generator itself."""
    z = directions.move(generator.sample_z(1, seed=seed, truncation=truncation), list(moves), list(moves.values()))
    return to_uint8(generator(z, y, truncation=truncation))[0]


@pytest.fixture(scope="module")
def builtin_page(tmp_path_factory):
    """A page of three axes of the built-in generator."""
    generator = load_generator("builtin")
    path = tmp_path_factory.mktemp("builtin") / "it's here.safetensors"
    Directions.from_basis(np.eye(3, 12), generator, names=["one", 'two "2"', "shift\\n"]).save(path)
    page = make_page(generator, path)
    with page.client:
        yield page


def test_picture_is_the_generators_at_that_place(page):
    """Sample, class, truncation and directions; three samples row by row in two columns, the fourth place black."""
    size, directions = page.generator.resolution, load_directions(page.path)
    moves = {0: 1.5, 3: -2.25, 5: 0.0}
    view = {"truncation": 0.5, "moves": {page.ids[index]: amount for index, amount in moves.items()}, "class": 2}
    answer = page.image(seeds=[4, 9, 2], columns=2, **view)
    assert answer.headers["content-type"] == "image/png"
    sheet = pixels(answer)
    assert sheet.shape == (2 * size, 2 * size, 3)
    for place, seed in enumerate([4, 9, 2]):
        row, column = divmod(place, 2)
        tile = sheet[row * size : (row + 1) * size, column * size : (column + 1) * size]
        np.testing.assert_array_equal(tile, expected(page.generator, directions, seed, moves, y=2, truncation=0.5))
    assert not sheet[size:, size:].any()


def test_picture_is_kept_for_the_next_who_asks(page):
    """The generator does not make it again, and another amount is another picture."""
    first = page.image(moves={page.ids[1]: 1.0})
    calls = len(page.generator.batch_sizes)
    assert page.image(moves={page.ids[1]: 1.0, page.ids[2]: 0.0}).content == first.content
    assert len(page.generator.batch_sizes) == calls
    assert page.image(moves={page.ids[1]: 1.01}).content != first.content
    page.number = 0
    assert page.image().status_code == 204  # the client has asked for something newer


@pytest.mark.parametrize(
    ("seeds", "amounts", "layers"), [([5], {}, None), ([2, 3], {2: 1.25, 0: 0.5}, None), ([5], {1: -2.5}, [0, 3])]
)
def test_copied_code_makes_the_picture_again(builtin_page, tmp_path, monkeypatch, layers, seeds, amounts):
    """Executed, it saves the pixels that the page shows, whatever the names and the path are."""
    page = builtin_page
    moves = {page.ids[index]: value for index, value in amounts.items()}
    view = page.view(seeds=seeds, truncation=0.9, layers=layers, moves=moves, **{"class": 2})
    code = page.post("python", view).json()["python"]
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "copied", "exec"), {})
    sheet = pixels(page.image(**view, columns=2))
    for place, seed in enumerate(seeds):
        copied = shown(f"sample-{seed}.png")[0][0]
        np.testing.assert_array_equal(copied, sheet[:, place * 64 : (place + 1) * 64])


def test_unconditional_generator_needs_no_class(tmp_path):
    """And none may be given."""
    generator = BlobGenerator(num_classes=0)
    blob_directions(generator).save(tmp_path / "x.safetensors")
    page = make_page(generator, tmp_path / "x.safetensors")
    with page.client:
        assert page.client.get("/api/generator").json()["classes"] == []
        assert page.image(**{"class": None}).status_code == 200
        assert "class must be null, got 1" in page.image(**{"class": 1}).json()["error"]


def test_gif_goes_along_the_direction_from_where_the_sliders_stand(page, monkeypatch):
    """There and back, from what the others do; no further than sliders go, though an older file may have more."""
    moved, move = [], Directions.move
    monkeypatch.setattr(Directions, "move", lambda self, z, *by: moved.append(by) or move(self, z, *by))
    body = page.view(seeds=[1], moves={page.ids[0]: 1.0, page.ids[2]: -2.0})
    body |= {"direction": page.ids[2], "frames": 5, "fps": 10}
    answer = page.post("animation", body)
    assert answer.headers["content-type"] == "image/gif"
    frames, times = shown(io.BytesIO(answer.content))
    assert times == [100] * 5
    assert abs(frames[0] - frames[4]).max() == 0
    assert abs(frames[0] - frames[1]).max() > 40
    assert moved[0] == ([0], [1.0])
    indices, amounts = zip(*moved[1:], strict=True)
    assert (set(indices), min(amounts), max(amounts)) == ({2}, -4.0, 4.0)

    directions = load_directions(page.path)
    entries = directions.header["directions"]
    entries[2]["path_size"] = 500.0
    Directions(directions.matrix, directions.header | {"directions": entries}).save(page.path)
    moved.clear()
    page.post("animation", body)
    assert max(amount for _, amount in moved[1:]) == 100.0


def test_row_of_classes_is_one_sample_under_each(page):
    """A list of classes goes with the list of seeds, and the code that is copied makes the same."""
    row = page.image(seeds=[2, 2], columns=2, **{"class": [0, 2]})
    alone = [pixels(page.image(seeds=[2], **{"class": label})) for label in (0, 2)]
    np.testing.assert_array_equal(pixels(row), np.concatenate(alone, axis=1))
    assert "y=[0, 2]" in page.post("python", page.view(seeds=[2, 2], **{"class": [0, 2]})).json()["python"]
    for wrong in ([0, 1, 2], [0, 3]):
        assert "from 0 to 2, one for all or for each" in page.image(seeds=[2, 2], **{"class": wrong}).json()["error"]


def test_random_directions_come_after_the_found_ones(page):
    """Those of ``render --against random``, as far, on the same samples."""
    moves = {page.ids[1]: 2.0}
    both = pixels(page.image(seeds=[0, 1], moves=moves, columns=2, random=True))
    found = pixels(page.image(seeds=[0, 1], moves=moves, columns=2))
    np.testing.assert_array_equal(both[: len(both) // 2], found)
    rivals = random_rivals(load_directions(page.path), 0)
    z = torch.cat([page.generator.sample_z(1, seed=seed) for seed in (0, 1)])
    expected = to_uint8(page.generator(rivals.move(z, [1], [2.0]), 0))
    np.testing.assert_array_equal(both[len(both) // 2 :], np.concatenate(list(expected), axis=1))


def test_preview_goes_from_end_to_end_and_is_kept_beside_the_file(page):
    """Seven images of sample 0; the second time nothing is made; another range is another preview."""
    answer = page.post("preview", {"id": page.ids[3]})
    assert answer.headers["content-type"] == "image/jpeg"
    strip = pixels(answer)
    assert strip.shape == (32, 7 * 32, 3)
    for place, amount in ((0, -5.0), (3, 0.0), (6, 5.0)):
        still = pixels(page.image(moves={page.ids[3]: amount}))
        assert abs(strip[:, place * 32 : place * 32 + 32] - still).mean() < 6  # a JPEG
    page.generator.batch_sizes.clear()
    assert page.post("preview", {"id": page.ids[3]}).content == answer.content
    assert page.generator.batch_sizes == []
    page.post("change", {"id": page.ids[3], "path_size": 1.0})
    assert page.post("preview", {"id": page.ids[3]}).content != answer.content
    assert len(list(page.path.parent.glob(".blob.safetensors.previews/*.jpg"))) == 2


def test_suggestion_is_what_changes_most_and_is_kept_beside_the_file(page):
    """The words of `suggest_names` for that direction alone; the second time nothing is made."""
    judge = Statistics.of(page.generator, samples=64, classes=(0,))  # the one that it was learned on
    truth = suggest_names(page.generator, load_directions(page.path), judge=judge)
    answers = [page.post("suggestion", {"id": one}).json()["suggestion"] for one in page.ids]
    assert answers == [found.words if found else None for found in truth]
    assert any(answers)
    page.generator.batch_sizes.clear()
    assert page.post("suggestion", {"id": page.ids[0]}).json()["suggestion"] == answers[0]
    assert page.generator.batch_sizes == []


def test_gif_is_not_made_when_nobody_waits(page):
    """The generator makes nothing for a page that is gone."""

    async def ask():
        request, worker = AnimationRequest(seeds=(0,), label=0, direction=page.ids[0], frames=8), Worker()
        shared = Shared(page.generator, worker.do, lambda: asyncio.sleep(0, True))
        with pytest.raises(SupersededError):
            await asyncio.to_thread(animate, request, OpenFile(page.path).read(), shared)
        worker.close()

    page.generator.batch_sizes.clear()
    asyncio.run(ask())
    assert page.generator.batch_sizes == []
