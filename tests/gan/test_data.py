"""Images of every kind come out right, once, and what cannot be used is named."""

from __future__ import annotations

import hashlib
import json
import os

import numpy as np
import pytest
import torch
from PIL import Image

from directions.errors import UserError
from directions.gan.data import BrokenImageError, cut_to_size, image_files, open_data, read_rgb
from directions.settings.train import TrainConfig


def noise(height, width, seed=0, channels=(3,)):
    return np.random.default_rng(seed).integers(0, 256, (height, width, *channels), np.uint8)


def test_what_cannot_be_shown_is_refused(tmp_path):
    """With the reason."""
    Image.fromarray(np.full((2, 2), 0.5, np.float32)).save(tmp_path / "float.tif")
    Image.fromarray(np.full((2, 2), 70000, np.int32)).save(tmp_path / "wide.tif")
    Image.fromarray(noise(64, 64)).save(tmp_path / "half.jpg")
    (tmp_path / "half.jpg").write_bytes((tmp_path / "half.jpg").read_bytes()[:900])
    (tmp_path / "text.png").write_text("no image")
    reasons = {"float.tif": "floating-point", "wide.tif": "32-bit", "half.jpg": "truncated", "text.png": "identify"}
    for name, reason in reasons.items():
        with pytest.raises(BrokenImageError, match=reason):
            read_rgb(tmp_path / name)


def test_links_are_followed_and_hidden_folders_left_out(folder, tmp_path):
    """What is not used is counted, whether it is read or comes from the cache; a circle of links ends."""
    for other, seed in (("elsewhere", 7), ("pictures/.ipynb_checkpoints", 8)):
        (tmp_path / other).mkdir()
        Image.fromarray(noise(8, 8, seed=seed)).save(tmp_path / other / "7.png")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "more" / "circle").symlink_to(folder)
    for _ in range(2):
        data = open_data(settings(folder))
        assert len(data) == 6
        assert np.array_equal(data.images[3], noise(8, 8, seed=7))
        assert data.left_out == ("2 hidden", "1 .txt", "5 in folders that are linked twice")


def test_cutting_takes_the_middle_and_averages_whole_pixels():
    """A wide image loses its sides; twice the size is averaged by fours."""
    wide = noise(8, 12)
    assert np.array_equal(np.asarray(cut_to_size(Image.fromarray(wide), 8)), wide[:, 2:10])
    half = np.asarray(cut_to_size(Image.fromarray(wide), 4)).astype(float)
    expected = wide[:, 2:10].reshape(4, 2, 4, 2, 3).mean(axis=(1, 3))
    assert np.abs(half - expected).max() <= 0.5
    assert cut_to_size(Image.fromarray(noise(5, 7)), 8).size == (8, 8)


@pytest.fixture
def folder(tmp_path):
    """Five images of several sizes, in subfolders, beside files that are none."""
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    for number, size in enumerate([(8, 8), (16, 20), (9, 9)]):
        Image.fromarray(noise(*size, seed=number)).save(folder / f"{number}.png")
    Image.fromarray(noise(8, 8, seed=3)).save(folder / "more" / "3.PNG")
    Image.fromarray(noise(8, 8, seed=4)).save(folder / "more" / os.fsdecode(b"\xe9.tga"))  # names may be any bytes
    (folder / "notes.txt").write_text("no image")
    (folder / ".hidden.png").write_text("no image")
    return folder


def settings(folder, **changes):
    cache = str(folder.parent / "cache")
    return TrainConfig(**({"data": str(folder), "resolution": 8, "channels": (4, 4), "cache": cache} | changes))


def test_folder_is_cut_once_and_mapped(folder, monkeypatch):
    """The second time nothing is read; a file that changes makes a new entry."""
    seen = []
    data = open_data(settings(folder), on_image=lambda done, total: seen.append((done, total)))
    assert seen == [(n, 5) for n in range(1, 6)]
    assert (len(data), data.resolution) == (5, 8)
    assert isinstance(data.images, np.memmap)
    assert np.array_equal(data.images[0], noise(8, 8))
    assert np.array_equal(data.images[3], noise(8, 8, seed=3))
    images = data.read(torch.tensor([3, 0]))
    expected = torch.from_numpy(np.stack((noise(8, 8, seed=3), noise(8, 8)))).permute(0, 3, 1, 2) / 127.5 - 1
    torch.testing.assert_close(images, expected, rtol=0, atol=1e-6)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert data.digest == hashlib.sha256(np.asarray(data.images).tobytes()).hexdigest()

    monkeypatch.setattr("directions.gan.data.read_rgb", None)
    again = open_data(settings(folder))
    assert again.digest == data.digest
    monkeypatch.undo()
    Image.fromarray(noise(8, 8, seed=9)).save(folder / "0.png")
    os.utime(folder / "0.png", ns=(1, 1))
    assert open_data(settings(folder)).digest != data.digest
    assert open_data(settings(folder, resolution=16, channels=(4, 4, 4))).resolution == 16


def test_half_written_entry_is_made_anew(folder):
    """What a kill left is not taken for whole; damage is named."""
    open_data(settings(folder))
    (entry,) = (folder.parent / "cache").iterdir()
    (entry / "dataset.json").unlink()
    assert len(open_data(settings(folder))) == 5
    (entry / "images.npy").write_bytes(b"no array")
    with pytest.raises(UserError, match=r"images.npy is damaged.*Delete the folder"):
        open_data(settings(folder))


def test_broken_image_is_named_and_refused_or_skipped(folder):
    """As asked; the others keep their order."""

    def refuses(message, **changes):
        with pytest.raises(UserError, match=message):
            open_data(settings(folder, **changes))

    (folder / "1.png").write_text("no image")
    refuses(r"1\.png cannot be used: cannot identify.*--on-broken skip")
    for _ in range(2):  # when it is read, and from the cache
        with pytest.warns(UserWarning, match=r"1 of 5 files in .* are left out: .*1\.png"):
            data = open_data(settings(folder, on_broken="skip"))
    assert len(data) == 4
    assert np.array_equal(data.images[2], noise(8, 8, seed=3))
    (folder / "1.png").unlink()
    (folder / "1.png").symlink_to(folder / "nowhere.png")
    refuses(r"1\.png cannot be used: .*No such file")
    files = image_files(folder)[0]
    for path in files:
        path.unlink()
        path.write_text("no image")
    refuses("None of the 5 image files", on_broken="skip")
    for path in files:
        path.unlink()
    refuses(r"data must be a folder of images .*which has none")
    Image.fromarray(noise(8, 8)).save(folder / "one.png")
    refuses("at least 2 images, got 1")


def test_pairs_give_both_halves(tmp_path):
    """As pix2pix lays them out: train and val, two images in a file."""
    folder = tmp_path / "edges2shoes"
    for part in ("train", "val"):
        (folder / part).mkdir(parents=True)
        Image.fromarray(noise(8, 16, seed=len(part))).save(folder / part / "1_AB.jpg", quality=100)
        Image.fromarray(noise(8, 16, seed=len(part))).save(folder / part / "2_AB.png")
    data = open_data(settings(folder, data_format="pairs"))
    assert len(data) == 8
    assert np.array_equal(data.images[2], noise(8, 16, seed=5)[:, :8])
    assert np.array_equal(data.images[3], noise(8, 16, seed=5)[:, 8:])
    Image.fromarray(noise(8, 8)).save(folder / "train" / "3.png")
    with pytest.raises(UserError, match=r"3\.png cannot be used: two square images side by side"):
        open_data(settings(folder, data_format="pairs"))


def test_scenes_are_recognised_and_averaged(tmp_path):
    """The full size is read where it lies."""
    images = np.stack([noise(16, 16, seed=n) for n in range(3)])
    np.save(tmp_path / "images.npy", images)
    (tmp_path / "factors.csv").write_text("index,shape,hue,x,y,size\n")
    (tmp_path / "dataset.json").write_text(json.dumps({"sha256": "of-the-scenes"}))
    cache = str(tmp_path / "cache")
    full = open_data(settings(tmp_path, resolution=16, channels=(4, 4, 4), cache=cache))
    assert np.array_equal(full.images, images)
    assert full.digest == "of-the-scenes"
    half = open_data(settings(tmp_path, cache=cache))
    expected = images.reshape(3, 8, 2, 8, 2, 3).mean(axis=(2, 4))
    assert np.abs(half.images - expected).max() <= 0.5
    assert half.digest != full.digest
    with pytest.raises(UserError, match="resolution must divide the renders' 16 pixels, got 32"):
        open_data(settings(tmp_path, resolution=32, channels=(4,) * 4, cache=cache))


def read(path, image=None, **settings):
    """Save an image, and read it as training does."""
    if image is not None:
        (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **settings)
    return np.asarray(read_rgb(path))


def test_images_of_every_kind_are_read(tmp_path):
    """Grey becomes three equal channels, scaled, not cut off; what is transparent lies on white; the camera's turn."""
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for values, shown in ((ramp, ramp), (ramp > 99, (ramp > 99) * np.uint8(255)), (ramp.astype(np.uint16) * 257, ramp)):
        assert np.array_equal(read(tmp_path / "a.png", values), np.repeat(shown[:, :, None], 3, axis=2))
    red = np.zeros((2, 2, 4), np.uint8)
    red[..., 0], red[..., 3] = 255, [[255, 0], [128, 255]]
    got = read(tmp_path / "rgba.png", red).tolist()
    assert got[0] == [[255, 0, 0], [255, 255, 255]]
    assert got[1][0] == pytest.approx([255, 127, 127], abs=1)
    assert (read(tmp_path / "la.png", np.stack((ramp, np.zeros_like(ramp)), axis=2)) == 255).all()
    indexed = Image.new("P", (2, 1))
    indexed.putpalette([255, 0, 0, 0, 0, 255])
    indexed.putdata([0, 1])
    assert read(tmp_path / "p.png", indexed, transparency=1).tolist() == [[[255, 0, 0], [255, 255, 255]]]
    assert read(tmp_path / "q.png", indexed).tolist() == [[[255, 0, 0], [0, 0, 255]]]

    picture = Image.fromarray(noise(4, 6))
    exif = picture.getexif()
    exif[0x0112] = 6  # turn by 90 degrees, clockwise
    assert np.array_equal(read(tmp_path / "turned.png", picture, exif=exif), np.rot90(noise(4, 6), -1))
    assert read(tmp_path / "b.webp", picture, exif=b"Exif\0\0no TIFF file at all").shape == (4, 6, 3)
