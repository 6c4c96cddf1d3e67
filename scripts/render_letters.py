"""Render the letters A–Z of open fonts: one grey image a letter and face, with what the font files say of themselves.

``make letters`` runs it. The fonts come from Debian's package ``texlive-fonts-extra`` (508 MB, fetched by ``apt-get
download`` or from Debian's servers, unpacked into a cache and never installed), or from a folder of your own
(``--fonts``). The result is a folder that ``scripts/builtin/train.py --data`` reads::

    images.npy       (N, 64, 64) uint8, dark on white
    letters.csv      one row an image: letter, index of the face
    faces.csv        one row a face: file, names, weight class, italic angle, licence, measured factors
    dataset.json     settings, versions, counts, why faces were not kept, and the digest of pixels and labels
    kept.png         every face that was kept at a glance
    not_kept.png     and every face that was not, by reason
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import json
import os
import re
import subprocess
import sys
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from fontTools.ttLib import TTFont
from PIL import Image, ImageDraw, ImageFont, features
from scipy import ndimage
from torch import Tensor
from tqdm import tqdm

from directions.evaluation.letter_factors import LETTER_FACTORS, LetterJudge, letter_factors, seen_in

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
CAP_HEIGHT = 0.60  # of the side
BASELINE = 0.70  # of the side, from the top
SUPERSAMPLING = 4
PACKAGE = "texlive-fonts-extra"
POOL = "http://deb.debian.org/debian/pool/main/t/texlive-extra/texlive-fonts-extra_2022.20230122-4_all.deb"

# The rules, in the order in which they are asked; a face that one of them names is not kept. What is written here is
# looked for in the path below the fonts' folder and in the names that the file gives itself.
NAMED = {
    "mathematics, symbols or icons": (
        r"math|symbol|sym\d|/\w*sy10|(?<!sem)icon|emoji|twemoji|academicons|mfizz|dingbat|ornament|orns|hamnosys|phaistos|keyboard"
        r"|countries|fontawesome|fourier|semaphor|logix|almfixed|ccicons|punknova|dantelogo|ntxsups|drmfigs|drminf|drmgrk"
        r"|fdsymbol|mdsymbol|mnsymbol|blsy|blex|rblmi|smf[a-z]*tt"
    ),
    "blackletter, uncial or another script's letters": (
        r"frak|blackforest|cloister|heidelberg|gothic|goth$|ygoth|yswab|yfrak|yinit|missaali|uncial|dublin|churchslav"
        r"|unicode\.|shafarik|aboensis|frederika|foulis|almendra|fetamont|ffm[a-z]+\d|jaini|modak|beuron"
        r"|canaith|zapf|greece|neohellenic|cyklop|imfell|fedorovsk|acathist|london|marcellus ?sc|qtarabian|kung"
    ),
    "handwriting or a connected script": (
        r"miama|hand|brush|scroll|script|coronation|boulevard|merry|florencia|linostroke|magic|chancery|impromptu"
        r"|slogan|cascadetype|parisfrance|belleek|comic|casual|cmunvi|cmunci|doghaus\b"
    ),
    "decorated or worn": (
        r"decorat|initial|outline\b(?!/ocrb)|caslanopen|inline|shadow|snowcaps|storytime|westend|tumble|ghoul|okcorral|clay"
        r"|pilt|linoscroll|theatre|techtone|lautrec|robotic|atchen|artiston|deuce|hoboken|howard|jupiter|chicago|blimpo"
        r"|fefow|feflow|abbie|arnie|graveure|floraline|beckman|caligula|sandiego|military|pandora|punk|alternates"
    ),
    "small capitals or old-style figures (the capitals are another file's)": (
        r"small ?caps|caps\b|sc\d|[a-z]sc-|sc-regular|\bsc\b|-sc|tosf|osf|drm\w*sc|drm\w*tc|drmdoz|cmuncsc|feensc"
    ),
}  # fmt: skip
# Connected pieces of ink and of background inside a letter, as a plain capital has them.
HOLES = dict.fromkeys(LETTERS, 0) | {"A": 1, "B": 2, "D": 1, "O": 1, "P": 1, "Q": 1, "R": 1}
ODD_LETTERS = 4  # letters with other pieces than that, from which on a face is decorated
MISREAD_LETTERS = 6  # letters read as another by a linear reader that never saw the face, from which on it is strange
NEAR = 0.018  # mean absolute difference of all letters, of the grey range, below which two faces are one
SHEET_WORD = "HAGOQBERSMX"


@dataclass
class Face:
    """A font file and what became of it."""

    path: Path
    name: str
    images: np.ndarray | None = None  # (26, side, side) uint8; a letter that does not fit is all white
    record: dict[str, str | float] = field(default_factory=dict)
    rejected: str = ""


def fetch_fonts(cache: Path) -> Path:
    """Download and unpack Debian's package, once; return the folder of its fonts."""
    unpacked = cache / PACKAGE
    if not (unpacked / ".whole").exists():
        cache.mkdir(parents=True, exist_ok=True)
        packages = sorted(cache.glob(f"{PACKAGE}_*.deb"))
        if not packages:
            print(f"Fetching {PACKAGE} (508 MB) into {cache}", file=sys.stderr)
            got = subprocess.run(["apt-get", "download", PACKAGE], cwd=cache, check=False, capture_output=True)
            if got.returncode:  # no Debian, or no list of packages: the version that the card names
                part = cache / "package.part"
                urllib.request.urlretrieve(POOL, part)
                part.rename(cache / POOL.rsplit("/", 1)[1])
            packages = sorted(cache.glob(f"{PACKAGE}_*.deb"))
        subprocess.run(["dpkg-deb", "-x", str(packages[-1]), str(unpacked)], check=True)
        (unpacked / ".whole").touch()
    return unpacked


def licences_of(fonts: Path) -> dict[str, str]:
    """TeX packages and the licence that Debian's list names for each; empty for other folders."""
    lists = [gzip.decompress(path.read_bytes()) for path in fonts.glob("usr/share/doc/*/Licenses.gz")]
    return dict(re.findall(r"^([\w.-]+): (\S+)", b"\n".join(lists).decode("utf-8", "replace"), re.MULTILINE))


def licence_name(address: str, listed: str, text: str) -> str:
    """Name a licence in one way: by the address or text in the font, else as Debian's list has it."""
    known = {"sil.org": "OFL", "open font license": "OFL", "apache": "Apache-2.0", "gnu.org": "GPL", "gust": "GFL"}
    told = f"{address} {text}".lower()
    found = [name for word, name in known.items() if word in told]
    listed = {"ofl": "OFL", "apache2": "Apache-2.0"}.get(listed, listed)
    return " or ".join(dict.fromkeys(found)) or listed or address[:60]


def describe(path: Path, fonts: Path, licences: dict[str, str]) -> tuple[dict[str, str | float], bool]:
    """Read a font's own tables: names, weight class, italic angle, licence; and whether it has A–Z."""
    with path.open("rb") as file, TTFont(file, fontNumber=0, lazy=True) as font:
        names = {key: (font["name"].getDebugName(key) or "").strip().replace("\n", " ") for key in (1, 2, 4, 13, 14)}
        record: dict[str, str | float] = {
            "file": path.relative_to(fonts).as_posix(),
            "package": path.parent.name,
            "family": names[1],
            "style": names[2],
            "full_name": names[4],
            "weight_class": int(font["OS/2"].usWeightClass) if "OS/2" in font else 0,
            "italic_angle": float(font["post"].italicAngle) if "post" in font else 0.0,
            "licence": licence_name(names[14], licences.get(path.parent.name, ""), names[13]),
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        return record, set(map(ord, LETTERS)) <= set(font.getBestCmap() or {})


def render_face(path: Path, side: int) -> np.ndarray:
    """Draw A–Z at one cap height and baseline, each centred by the box of its ink and its advance.

    Args:
        path: A font file.
        side: Height and width of an image.

    Returns:
        (26, side, side) uint8, dark on white; a letter that would touch the edge is left white.
    """
    scale = side * SUPERSAMPLING
    probe = ImageFont.truetype(str(path), 1000, layout_engine=ImageFont.Layout.BASIC)
    left, top, right, bottom = probe.getbbox("H", anchor="ls")
    if bottom - top < 100 or right <= left:
        raise ValueError("no capital H")
    # Flat letters end at the cap height: H, not O, whose round overshoots.
    size = 1000 * CAP_HEIGHT * scale / -top
    font = ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)
    images = np.full((len(LETTERS), side, side), 255, dtype=np.uint8)
    for image, letter in zip(images, LETTERS, strict=True):
        left, top, right, bottom = font.getbbox(letter, anchor="ls")  # with the room that it takes in a line
        x, y = (scale - (right - left)) / 2 - left, BASELINE * scale
        room = scale - 2 * SUPERSAMPLING
        if 0 < right - left <= room and y + top >= SUPERSAMPLING and y + bottom <= room + SUPERSAMPLING:
            canvas = Image.new("L", (scale, scale), 255)
            ImageDraw.Draw(canvas).text((round(x), round(y)), letter, fill=0, font=font, anchor="ls")
            image[:] = np.asarray(canvas.reduce(SUPERSAMPLING))
    return images


def named_rule(face: Face) -> str:
    """Return the rule that a face's own names meet, or nothing."""
    names = " ".join(("/" + face.name, str(face.record["family"]), str(face.record["full_name"]))).lower()
    return next((rule for rule, pattern in NAMED.items() if re.search(pattern, names)), "")


def odd_letters(images: np.ndarray) -> int:
    """Count the letters whose pieces of ink and of enclosed background are not those of a plain capital."""
    odd = 0
    for image, letter in zip(images, LETTERS, strict=True):
        ink = image < (image.min() + 255.0) / 2  # hairlines are grey
        if image.min() == 255:
            continue
        sizes = np.bincount(ndimage.label(ink, structure=np.ones((3, 3)))[0].ravel())[1:]
        holes = np.bincount(ndimage.label(~ink)[0].ravel())[1:]
        pieces = int((sizes > 6).sum())
        odd += pieces != 1 or abs(int((holes > 3).sum()) - 1 - HOLES[letter]) > (letter in "QRA")
    return odd


def reduced(faces: list[Face], side: int) -> np.ndarray:
    """The letters of faces, made smaller: (faces, 26, side · side), 1 is white."""
    images = np.stack([face.images for face in faces]).astype(np.float32) / 255
    factor = images.shape[2] // side
    return images.reshape(len(faces), 26, side, factor, side, factor).mean(axis=(3, 5)).reshape(len(faces), 26, -1)


def misread_letters(faces: list[Face]) -> np.ndarray:
    """Count each face's letters that a linear reader takes for others; it is fitted to the other four fifths."""
    small, truth = reduced(faces, 16), np.broadcast_to(np.arange(26), (len(faces), 26))
    drawn = (small < 1).any(axis=2)
    misread = np.zeros(len(faces), dtype=int)
    for fold in range(5):
        out = np.arange(len(faces)) % 5 == fold
        x, target = small[~out][drawn[~out]], np.eye(26)[truth[~out][drawn[~out]]]
        mean = x.mean(axis=0)
        gram = (x - mean).T @ (x - mean) + 3.0 * np.eye(x.shape[1])
        weights = np.linalg.solve(gram, (x - mean).T @ (target - 1 / 26))
        read = ((small[out] - mean) @ weights).argmax(axis=2)
        misread[out] = ((read != truth[out]) & drawn[out]).sum(axis=1)
    return misread


def near_duplicates(faces: list[Face]) -> list[bool]:
    """For each face whether it repeats an earlier one that does not."""
    coarse = reduced(faces, faces[0].images.shape[1] // 2).reshape(len(faces), -1)
    kept: list[int] = []
    for index, face in enumerate(coarse):
        if not kept or np.abs(coarse[kept] - face).mean(axis=1).min() >= NEAR:
            kept.append(index)
    return [index not in kept for index in range(len(faces))]


def draw_face(path: Path, fonts: Path, licences: dict[str, str], side: int) -> Face:
    """Render a font file and ask the rules that look at one face alone."""
    face = Face(path, f"{path.parent.name}/{path.name}")
    try:
        face.record, whole = describe(path, fonts, licences)
        if not whole:
            face.rejected = "not all of A–Z"
            return face
        face.images = render_face(path, side)
    except Exception as error:  # noqa: BLE001 - a broken font file can raise anything
        face.rejected = f"not readable ({type(error).__name__})"
        return face
    ink = (255 - face.images.astype(np.float32)).mean(axis=(1, 2)) / 255
    # W and M of wide faces do not fit, and are left out one by one.
    if (ink < 0.004).sum() > 4 or ink.max() > 0.45 or np.unique(face.images, axis=0).shape[0] < 23:
        face.rejected = "letters that do not fit, that are empty or the same"
    elif rule := named_rule(face):
        face.rejected = rule
    elif odd_letters(face.images) >= ODD_LETTERS:
        face.rejected = f"{ODD_LETTERS} letters or more in other pieces than plain capitals"
    return face


def collect(fonts: Path, side: int) -> list[Face]:
    """Render every font file under a folder and ask the rules; faces that are not kept say why."""
    paths = sorted(path for path in fonts.rglob("*") if path.suffix.lower() in (".otf", ".ttf") and path.is_file())
    licences = licences_of(fonts)
    bar = tqdm(paths, desc="Rendering", unit="face", disable=None)
    faces = [draw_face(path, fonts, licences, side) for path in bar]
    strange = f"{MISREAD_LETTERS} letters or more that a linear reader takes for others"
    compared = {strange: lambda plain: misread_letters(plain) >= MISREAD_LETTERS, "near-duplicate": near_duplicates}
    for reason, rule in compared.items():
        plain = [face for face in faces if not face.rejected]
        for face, met in zip(plain, rule(plain) if plain else [], strict=True):
            face.rejected = reason if met else ""
    return faces


def contact_sheet(faces: list[Face], columns: int = 5) -> Image.Image:
    """Lay faces out: a word of each at a third of the size, under its name and why it is not kept."""
    cell, label = 24, 11
    width, height = cell * len(SHEET_WORD) + 6, cell + label
    font = ImageFont.load_default(size=9)
    sheet = Image.new("L", (columns * width, max(1, -(-len(faces) // columns)) * height), 255)
    draw = ImageDraw.Draw(sheet)
    for index, face in enumerate(faces):
        x, y = index % columns * width, index // columns * height
        text = face.name.split("/")[1][:34] + (f" – {face.rejected[:18]}" if face.rejected else "")
        draw.text((x, y), text, fill=90, font=font)
        if face.images is not None:
            for place, letter in enumerate(SHEET_WORD):
                image = Image.fromarray(face.images[LETTERS.index(letter)])
                sheet.paste(image.resize((cell, cell), Image.Resampling.BOX), (x + place * cell, y + label))
    return sheet


def factors_of(images: np.ndarray, pairs: Tensor) -> list[list[float]]:
    """For each face the mean of its letters' measured factors, in standard deviations over the faces.

    Args:
        images: (N, side, side).
        pairs: (N, 2), the face and the letter of each.
    """
    face, y = pairs.unbind(1)
    parts = zip(torch.from_numpy(images)[:, None].split(500), y.split(500), strict=True)
    values = torch.cat([letter_factors(ink / 127.5 - 1, letter) for ink, letter in parts])
    scores = LetterJudge.of(values, y).standard(values, y)
    sums, counts = (
        torch.zeros(int(face.max()) + 1, 6).index_add_(0, face, of) for of in (scores, seen_in()[y].float())
    )
    return [[round(mean, 3) for mean in row] for row in (sums / counts.clamp(min=1)).tolist()]


def write_csv(path: Path, rows: list[dict[str, str | float]]) -> None:
    """Write rows that have the same keys."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_dataset(faces: list[Face], out: Path, settings: dict[str, object]) -> dict[str, object]:
    """Write the folder; return what dataset.json holds."""
    kept = [face for face in faces if not face.rejected]
    if len(kept) < 2:
        raise SystemExit("Error: fewer than 2 faces were kept; give a folder with more fonts of Latin text.")
    pairs = [(f, k) for f, face in enumerate(kept) for k in range(26) if face.images[k].min() < 255]
    images = np.stack([kept[f].images[k] for f, k in pairs])
    out.mkdir(parents=True, exist_ok=True)
    np.save(out / "images.npy", images)
    write_csv(out / "letters.csv", [{"letter": LETTERS[k], "face": f} for f, k in pairs])
    factors = factors_of(images, torch.tensor(pairs))
    records = [
        face.record | dict(zip(LETTER_FACTORS, row, strict=True)) for face, row in zip(kept, factors, strict=True)
    ]
    write_csv(out / "faces.csv", records)
    digest = hashlib.sha256((out / "letters.csv").read_bytes() + images.tobytes()).hexdigest()
    summary = {
        **settings,
        "faces": len(kept),
        "images": len(images),
        "not_kept": dict(sorted(Counter(face.rejected for face in faces if face.rejected).items())),
        "licences": dict(sorted(Counter(record["licence"] for record in records).items())),
        "freetype": features.version("freetype2"),
        "sha256": digest,
    }
    (out / "dataset.json").write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
    contact_sheet(kept).save(out / "kept.png")
    others = [face for face in faces if face.rejected and face.rejected != "near-duplicate" and face.images is not None]
    contact_sheet(sorted(others, key=lambda face: (face.rejected, face.name))).save(out / "not_kept.png")
    return summary


def main(argv: list[str] | None = None) -> int:
    """Render; 2 if there is no such folder."""
    cache = Path(os.environ.get("DIRECTIONS_CACHE") or Path.home() / ".cache" / "directions") / "fonts"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fonts", type=Path, help=f"folder of .otf and .ttf files (default: fetch {PACKAGE})")
    parser.add_argument("--out", type=Path, default=Path("data/letters-64"), help="folder to write (%(default)s)")
    parser.add_argument("--side", type=int, default=64, help="height and width, a multiple of 16 (%(default)s)")
    parser.add_argument("--cache", type=Path, default=cache, help="where the package is kept (%(default)s)")
    arguments = parser.parse_args(argv)
    if arguments.fonts is not None and not arguments.fonts.is_dir():
        print(f"Error: there is no folder {arguments.fonts}. Give one with .otf or .ttf files.", file=sys.stderr)
        return 2
    fonts = arguments.fonts or fetch_fonts(arguments.cache)
    faces = collect(fonts, arguments.side)
    source = "a folder" if arguments.fonts else PACKAGE
    settings = {"fonts": source, "side": arguments.side, "cap_height": CAP_HEIGHT, "baseline": BASELINE}
    print(json.dumps(write_dataset(faces, arguments.out, settings), indent=2, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
