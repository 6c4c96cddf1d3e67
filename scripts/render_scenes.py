"""Render the CLEVR-like scene data sets with Blender, with every factor of variation known.

One coloured object (two in ``clevr-complex``) stands on a ground plane under a soft light. A scene is a function of
``(set, seed, index)`` alone, factors and pixels, so workers may render in any order and a killed run goes on where it
stopped; ``--verify 30`` renders some of a finished set anew and compares. The result is a folder that
``scripts/builtin/train.py --data`` reads::

    images/000000.png …   the renders, RGB
    factors.csv           one row an image: class and continuous factors
    images.npy            all images in one array (N, size, size, 3), uint8, for memory-mapping
    dataset.json          settings, seed, versions and the digest of factors and pixels
    contact_sheet.png     the first images at a glance

Runs in an environment of its own, because ``bpy`` wants an older NumPy: ``make scenes``.
"""

from __future__ import annotations

import argparse
import colorsys
import contextlib
import csv
import hashlib
import itertools
import json
import math
import multiprocessing
import os
import queue
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from tqdm import tqdm

SHAPES = ("cube", "sphere", "cylinder")
HUE_RANGE = (0.0, 0.75)
X_RANGE = (-1.3, 1.3)
Y_RANGE = (-1.5, 1.5)
SIZE_RANGE = (0.45, 0.8)
DECIMALS = 6


@dataclass(frozen=True)
class SceneSet:
    """What varies in a data set; whatever is not listed is fixed to the middle of its range.

    Attributes:
        num_objects: Objects in a scene.
        shapes: Shapes drawn from, uniformly.
        factors: Continuous factors drawn for each object, uniformly over their ranges.
        fixed: Values of factors that do not vary.
    """

    num_objects: int
    shapes: tuple[str, ...]
    factors: tuple[str, ...]
    fixed: dict[str, float]


SETS = {
    "clevr-simple": SceneSet(1, SHAPES, ("hue", "x", "y", "size"), {}),
    "clevr-complex": SceneSet(2, SHAPES, ("hue", "x", "y", "size"), {}),
    "clevr-1fov": SceneSet(1, ("cube",), ("x",), {"hue": 0.0, "y": 0.0, "size": 0.625}),
}
RANGES = {"hue": HUE_RANGE, "x": X_RANGE, "y": Y_RANGE, "size": SIZE_RANGE}
DIGESTS = {
    ("clevr-simple", 10_000): "2ff055e6220ce12d3a4b61b0ad1c9700b7c13a99ab1fd4c067751978a7b79cd5",
    ("clevr-complex", 2000): "85b299006042d8b0dc38f70a95780f62d2fc5cee810422be289ffb4b59dc9e7b",
    ("clevr-1fov", 3000): "14fd50b173ec5c12a46065e242ec46b3bf64af73d7b19a27e101bdd17f78cc9d",
}
"""SHA-256 of sets, with their number of images, as they came out here: 64 x 64, seed 0, defaults, Blender 5.0.1."""


@dataclass(frozen=True)
class Settings:
    """Everything that fixes the pixels, besides seed and index.

    Attributes:
        set: Name of the scene set.
        size: Width and height of an image, in pixels.
        samples: Light paths a pixel, before denoising.
        bounces: Reflections followed along a path.
    """

    set: str
    size: int = 64
    samples: int = 16
    bounces: int = 3


def draw_factors(scene_set: SceneSet, seed: int, index: int) -> list[dict[str, float | str]]:
    """Draw the objects of one scene; a function of its arguments alone.

    Args:
        scene_set: What varies.
        seed: Seed of the data set.
        index: Number of the image.

    Returns:
        A dict of shape, hue, x, y and size (in Blender units) for each object.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, index]))
    while True:
        objects: list[dict[str, float | str]] = []
        for _ in range(scene_set.num_objects):
            item: dict[str, float | str] = {"shape": scene_set.shapes[int(rng.integers(len(scene_set.shapes)))]}
            for name, (low, high) in RANGES.items():
                value = float(rng.uniform(low, high)) if name in scene_set.factors else scene_set.fixed[name]
                item[name] = round(value, DECIMALS)
            objects.append(item)
        if not _overlap(objects):
            return objects


def _overlap(objects: list[dict[str, float | str]]) -> bool:
    """Whether two objects would stand in each other (their bounding circles, with a small gap)."""
    circles = [(float(item["x"]), float(item["y"]), float(item["size"])) for item in objects]
    pairs = itertools.combinations(circles, 2)
    return any(math.dist(a[:2], b[:2]) < (a[2] + b[2]) * 1.15 for a, b in pairs)


class Studio:
    """The Blender scene, built once; each render only moves, scales and colours what is there.

    Args:
        settings: Size and quality.
        num_objects: Objects in a scene; each gets one mesh of every shape.
        threads: Threads Blender may use.
    """

    def __init__(self, settings: Settings, num_objects: int, threads: int) -> None:
        import bpy

        self.bpy = bpy
        self.settings = settings
        bpy.ops.wm.read_factory_settings(use_empty=True)
        self.scene = bpy.context.scene
        self._set_render(threads)
        self._build_room()
        self.slots = [self._build_slot(number) for number in range(num_objects)]

    def _set_render(self, threads: int) -> None:
        render = self.scene.render
        render.engine = "CYCLES"
        cycles = self.scene.cycles
        cycles.device = "CPU"
        cycles.samples = self.settings.samples
        cycles.use_adaptive_sampling = False
        cycles.use_denoising = True
        cycles.denoiser = "OPENIMAGEDENOISE"
        cycles.seed = 0
        cycles.max_bounces = cycles.diffuse_bounces = cycles.glossy_bounces = self.settings.bounces
        cycles.caustics_reflective = cycles.caustics_refractive = False
        render.use_persistent_data = True
        render.resolution_x = render.resolution_y = self.settings.size
        render.resolution_percentage = 100
        render.threads_mode = "FIXED"
        render.threads = threads
        render.image_settings.file_format = "PNG"
        render.image_settings.color_mode = "RGB"
        self.scene.view_settings.view_transform = "Standard"

    def _build_room(self) -> None:
        bpy = self.bpy
        bpy.ops.mesh.primitive_plane_add(size=60)
        bpy.context.object.data.materials.append(self._material("ground", (0.42, 0.42, 0.42), roughness=0.9))
        world = bpy.data.worlds.new("world")
        self.scene.world = world
        world.use_nodes = True
        background = world.node_tree.nodes["Background"].inputs
        background["Color"].default_value, background["Strength"].default_value = (1, 1, 1, 1), 0.45
        bpy.ops.object.light_add(type="AREA", location=(-3.5, -2.0, 5.5))
        key = bpy.context.object
        key.data.energy, key.data.size = 520, 2.5
        key.rotation_euler = self._look_at(key.location, (0, 0, 0))
        bpy.ops.object.camera_add(location=(0, -7.2, 5.4))
        camera = bpy.context.object
        camera.rotation_euler = self._look_at(camera.location, (0, 0.05, 0.3))
        camera.data.lens_unit = "FOV"
        camera.data.angle = math.radians(31)
        self.scene.camera = camera

    def _look_at(self, origin: tuple[float, ...], target: tuple[float, float, float]) -> object:
        from mathutils import Vector

        return (Vector(target) - Vector(origin)).to_track_quat("-Z", "Y").to_euler()

    def _material(self, name: str, colour: tuple[float, float, float], roughness: float) -> object:
        material = self.bpy.data.materials.new(name)
        material.use_nodes = True
        shader = material.node_tree.nodes["Principled BSDF"]
        shader.inputs["Base Color"].default_value = (*colour, 1)
        shader.inputs["Roughness"].default_value = roughness
        return material

    def _build_slot(self, number: int) -> dict[str, object]:
        ops = self.bpy.ops.mesh
        material = self._material(f"colour-{number}", (1, 0, 0), roughness=0.45)
        makers = {
            "cube": lambda: ops.primitive_cube_add(size=2 / math.sqrt(2)),
            "sphere": lambda: ops.primitive_uv_sphere_add(radius=1, segments=64, ring_count=32),
            "cylinder": lambda: ops.primitive_cylinder_add(radius=0.85, depth=1.7, vertices=96),
        }
        slot: dict[str, object] = {"material": material}
        for shape, make in makers.items():
            make()
            item = self.bpy.context.object
            item.data.materials.append(material)
            if shape == "sphere":
                # Blender sums smooth normals in threads, with other roundings every time; a sphere's are known.
                normals = item.data.attributes.new("custom_normal", "FLOAT_VECTOR", "POINT")
                for vertex, normal in zip(item.data.vertices, normals.data, strict=True):
                    normal.vector = vertex.co.normalized()
                self.bpy.ops.object.shade_smooth()
            elif shape == "cylinder":
                self.bpy.ops.object.shade_smooth_by_angle(angle=math.radians(40))
            else:
                bevel = item.modifiers.new("bevel", "BEVEL")
                bevel.width, bevel.segments = 0.06, 3
                item.rotation_euler = (0, 0, math.radians(25))
            slot[shape] = item
        return slot

    def render(self, objects: list[dict[str, float | str]], path: Path) -> None:
        """Render one scene to ``path``, under a temporary name first.

        Args:
            objects: As `draw_factors` gives them.
            path: The PNG to write.
        """
        half_heights = {"cube": 1 / math.sqrt(2), "sphere": 1.0, "cylinder": 0.85}
        for slot, factors in zip(self.slots, objects, strict=True):
            size = float(factors["size"])
            for shape in SHAPES:
                item = slot[shape]
                item.hide_render = shape != factors["shape"]
                item.scale = (size, size, size)
                item.location = (factors["x"], factors["y"], half_heights[shape] * size)
            linear = [_to_linear(c) for c in colorsys.hsv_to_rgb(float(factors["hue"]), 0.85, 0.85)]
            shader = slot["material"].node_tree.nodes["Principled BSDF"]
            shader.inputs["Base Color"].default_value = (*linear, 1)
        partial = path.with_suffix(".partial.png")
        self.scene.render.filepath = str(partial)
        self.bpy.ops.render.render(write_still=True)
        partial.replace(path)


def _to_linear(value: float) -> float:
    """One sRGB channel in [0, 1] as linear light."""
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def _work(settings: Settings, seed: int, folder: str, threads: int, tasks: object, done: object) -> None:
    """Render the indices that come through ``tasks`` until ``None`` comes; report each through ``done``.

    A parent that was killed takes its workers along: they look after it before each image.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)  # Blender prints a paragraph an image
    scene_set = SETS[settings.set]
    studio = Studio(settings, scene_set.num_objects, threads)
    while (index := tasks.get()) is not None and multiprocessing.parent_process().is_alive():
        studio.render(draw_factors(scene_set, seed, index), image_path(Path(folder), index))
        done.put(index)


def image_path(folder: Path, index: int) -> Path:
    """Where image ``index`` of the set in ``folder`` lies."""
    return folder / "images" / f"{index:06d}.png"


def write_factors(folder: Path, scene_set: SceneSet, seed: int, count: int) -> None:
    """Write ``factors.csv``: a row an image, a block of columns an object (suffix ``_2`` for the second)."""
    suffixes = [""] + [f"_{number + 2}" for number in range(scene_set.num_objects - 1)]
    columns = ["index"] + [name + suffix for suffix in suffixes for name in ("shape", *RANGES)]
    partial = folder / "factors.csv.partial"
    with partial.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for index in range(count):
            row: list[object] = [index]
            for item in draw_factors(scene_set, seed, index):
                row += [item["shape"], *(f"{item[name]:.{DECIMALS}f}" for name in RANGES)]
            writer.writerow(row)
    partial.replace(folder / "factors.csv")


def pack(folder: Path, settings: Settings, seed: int, count: int) -> str:
    """Gather the images into ``images.npy`` and write ``dataset.json``.

    Args:
        folder: The data set.
        settings: What it was rendered with.
        seed: Its seed.
        count: Its number of images.

    Returns:
        SHA-256 over ``factors.csv`` and the pixels in order.
    """
    partial = folder / "images.npy.partial"
    shape = (count, settings.size, settings.size, 3)
    images = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
    digest = hashlib.sha256((folder / "factors.csv").read_bytes())
    for index in range(count):
        with Image.open(image_path(folder, index)) as image:
            images[index] = np.asarray(image.convert("RGB"))
        digest.update(images[index].tobytes())
    images.flush()
    partial.replace(folder / "images.npy")
    # Not imported for its version: bpy changes the module path, and render processes started after that fail.
    header = {**asdict(settings), "seed": seed, "count": count, "blender": version("bpy")}
    header["factors"] = {name: RANGES[name] for name in SETS[settings.set].factors}
    header["sha256"] = digest.hexdigest()
    partial.write_text(json.dumps(header, indent=2, sort_keys=True) + "\n")
    partial.replace(folder / "dataset.json")
    return digest.hexdigest()


def write_contact_sheet(folder: Path, count: int, columns: int = 12, rows: int = 8) -> None:
    """Put the first images into ``contact_sheet.png``, their index beneath each."""
    first = [Image.open(image_path(folder, index)).convert("RGB") for index in range(min(count, columns * rows))]
    side = max(first[0].width, 64)
    sheet = Image.new("RGB", (columns * (side + 4), -(-len(first) // columns) * (side + 16)), "white")
    draw = ImageDraw.Draw(sheet)
    for index, image in enumerate(first):
        x, y = index % columns * (side + 4) + 2, index // columns * (side + 16) + 2
        sheet.paste(image, (x, y))
        draw.text((x + 2, y + side), str(index), fill="black")
    sheet.save(folder / "contact_sheet.png")


def render_missing(
    folder: Path, settings: Settings, seed: int, indices: Sequence[int], workers: int, threads: int
) -> None:
    """Render every image that is not there yet, in ``workers`` processes, with a progress bar.

    Args:
        folder: The data set.
        settings: Size and quality.
        seed: Seed of the set.
        indices: Images wanted.
        workers: Processes.
        threads: Threads of each.

    Raises:
        RuntimeError: If a worker dies.
    """
    missing = [index for index in indices if not image_path(folder, index).exists()]
    if not missing:
        return
    context = multiprocessing.get_context("spawn")
    tasks, done = context.Queue(), context.Queue()
    for index in missing:
        tasks.put(index)
    arguments = (settings, seed, str(folder), threads, tasks, done)
    processes = [context.Process(target=_work, args=arguments, daemon=True) for _ in range(min(workers, len(missing)))]
    for process in processes:
        tasks.put(None)
        process.start()
    there = len(indices) - len(missing)
    with tqdm(total=len(indices), initial=there, unit="img", desc=f"Rendering {settings.set}", smoothing=0.05) as bar:
        while bar.n < len(indices):
            with contextlib.suppress(queue.Empty):
                done.get(timeout=5)
                bar.update()
                continue
            dead = [process.exitcode for process in processes if process.exitcode]
            if dead:
                raise RuntimeError(f"A render process ended with exit code {dead[0]}; run the command again to go on.")


def compare_digest(settings: Settings, seed: int, count: int, digest: str) -> str:
    """Say whether a set is bit for bit the one that came out when this script was last run for it."""
    known = DIGESTS.get((settings.set, count)) if (settings, seed) == (Settings(settings.set), 0) else None
    if known is None:
        return "no digest of such a set is known"
    return "as known" if digest == known else f"known is {known}: another Blender, processor or version of this script"


def verify(folder: Path, settings: Settings, seed: int, count: int, wanted: int, workers: int) -> int:
    """Render some scenes of a set anew, in another order, and compare them with what lies there.

    Args:
        folder: A finished data set.
        settings: What it was rendered with.
        seed: Its seed.
        count: Its number of images.
        wanted: Images to compare, spread evenly over the set.
        workers: Processes.

    Returns:
        The number of pixel values that differ.
    """
    indices = sorted({round(position) for position in np.linspace(0, count - 1, min(wanted, count))}, reverse=True)
    differing = 0
    with tempfile.TemporaryDirectory() as temporary:
        (Path(temporary) / "images").mkdir()
        render_missing(Path(temporary), settings, seed, indices, workers, threads=1)
        for index in indices:
            pair = [
                np.asarray(Image.open(image_path(place, index)).convert("RGB")) for place in (folder, Path(temporary))
            ]
            differing += int(np.count_nonzero(pair[0] != pair[1]))
    return differing


NUMBERS: dict[str, tuple[int | None, int, int, str]] = {
    "count": (10_000, 1, 10**6, "images"),
    "size": (Settings.size, 16, 1024, "width and height in pixels"),
    "seed": (0, 0, 2**32, "seed of the factors"),
    "samples": (Settings.samples, 1, 4096, "light paths a pixel"),
    "bounces": (Settings.bounces, 0, 32, "reflections followed"),
    "workers": (os.cpu_count() or 1, 1, 256, "processes"),
    "threads": (1, 1, 256, "threads of each process"),
    "verify": (None, 1, 10**6, "render so many images of a finished set anew and compare"),
}
"""Options that are numbers: default, least, largest, help."""


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Read and check the command line."""
    parser = argparse.ArgumentParser(
        description="Render a CLEVR-like scene data set with known factors (Blender, CPU). Run it again to resume."
    )
    parser.add_argument("--set", choices=sorted(SETS), default="clevr-simple", help="scene set (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="folder of the data set (default: data/NAME-SIZE)")
    for name, (default, low, high, text) in NUMBERS.items():
        shown = "" if default is None else " (default: %(default)s)"
        parser.add_argument(f"--{name}", type=int, default=default, help=f"{text}, {low} to {high}{shown}")
    arguments = parser.parse_args(argv)
    for name, (_, low, high, _) in NUMBERS.items():
        value = getattr(arguments, name)
        if value is not None and not low <= value <= high:
            parser.error(f"--{name} must be from {low} to {high}, got {value}.")
    arguments.out = arguments.out or Path("data") / f"{arguments.set}-{arguments.size}"
    return arguments


def check_same_settings(folder: Path, wanted: dict[str, object]) -> None:
    """Refuse to mix images of two settings in one folder.

    Args:
        folder: The data set.
        wanted: The settings of this call.

    Raises:
        ValueError: If the folder was begun with others.
    """
    marker = folder / "settings.json"
    if marker.exists():
        found = json.loads(marker.read_text())
        if found != wanted:
            differing = sorted(key for key in wanted if found.get(key) != wanted[key])
            raise ValueError(
                f"{folder} holds renders with other settings ({', '.join(differing)} differ). Give another --out, or "
                "delete the folder."
            )
    marker.write_text(json.dumps(wanted, indent=2, sort_keys=True) + "\n")


def main(argv: list[str] | None = None) -> int:
    """Render, pack and describe a data set; 130 after Ctrl-C, 2 after bad input, 1 if images differ."""
    arguments = parse_arguments(argv)
    settings = Settings(arguments.set, arguments.size, arguments.samples, arguments.bounces)
    folder = arguments.out
    try:
        (folder / "images").mkdir(parents=True, exist_ok=True)
        check_same_settings(folder, {**asdict(settings), "seed": arguments.seed})
        write_factors(folder, SETS[settings.set], arguments.seed, arguments.count)
        render_missing(folder, settings, arguments.seed, range(arguments.count), arguments.workers, arguments.threads)
        digest = pack(folder, settings, arguments.seed, arguments.count)
        write_contact_sheet(folder, arguments.count)
        comparison = compare_digest(settings, arguments.seed, arguments.count, digest)
        print(f"{folder}: {arguments.count} images of {settings.set}, sha256 {digest} ({comparison})", flush=True)
        if not arguments.verify:
            return 0
        differing = verify(folder, settings, arguments.seed, arguments.count, arguments.verify, arguments.workers)
        print(f"Rendered {min(arguments.verify, arguments.count)} of them anew: {differing} values differ")
        return int(differing > 0)
    except KeyboardInterrupt:
        print("\nStopped; nothing is lost. The same command goes on from here.", file=sys.stderr)
        return 130
    except (OSError, ValueError, RuntimeError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
