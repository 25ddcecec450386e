"""Benchmark of face detectors on composed pictures: crowds, small, tilted, dark, drawn-over faces, and none.

Run by ``python -m benchmarks.recall FACES``, FACES being a table or folder of labelled faces that
:func:`redeepfake_nb.datasets.read_faces` takes. Genuine faces of it are pasted into a blurred background, so
that the place of each is known. With ``--write`` the tables go into ``docs/detectors.md``.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from skimage import data

from redeepfake_nb import Face, Frame, find_faces, read_image
from redeepfake_nb.datasets import read_faces
from redeepfake_nb.datasets.labelled_faces import LabelledFaces
from redeepfake_nb.faces.detection import box_iou
from redeepfake_nb.faces.turned import turned_by

from .page import replace_between

PAGE = Path(__file__).resolve().parent.parent / "docs" / "detectors.md"
# Files of scikit-image that show people, or are no pictures of things.
PEOPLE = ("astronaut", "camera")
Place = tuple[float, float, float, float]
Picture = tuple[np.ndarray, list[Place]]


def background(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Make an (height, width, 3) uint8 picture of soft coloured blotches."""
    coarse = rng.integers(70, 180, (max(height // 60, 2), max(width // 60, 2), 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def paste(picture: np.ndarray, crop: np.ndarray, box: Place, place: Place, degrees: float = 0) -> Place:
    """Draw a face's crop so that its box lies at a place, turned around its middle; return where it is."""
    scale = (place[2] - place[0]) / (box[2] - box[0])
    if scale < 1:  # averaged first, because warping alone skips pixels
        size = max(round(crop.shape[1] * scale), 1), max(round(crop.shape[0] * scale), 1)
        factors = size[0] / crop.shape[1], size[1] / crop.shape[0]
        crop = cv2.resize(crop, size, interpolation=cv2.INTER_AREA)
        box = (box[0] * factors[0], box[1] * factors[1], box[2] * factors[0], box[3] * factors[1])
        scale = 1.0
    height, width = crop.shape[:2]
    middle = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    matrix = cv2.getRotationMatrix2D(middle, -degrees, scale)  # clockwise
    there = np.array([(place[0] + place[2]) / 2, (place[1] + place[3]) / 2])
    matrix[:, 2] += there - middle
    # A soft edge, so that no frame is drawn around the face.
    edge = np.minimum.outer(
        np.minimum(np.arange(height) + 1, height - np.arange(height)),
        np.minimum(np.arange(width) + 1, width - np.arange(width)),
    )
    weight = np.clip(edge / (0.08 * min(height, width) + 1), 0, 1).astype(np.float32)
    size = picture.shape[1], picture.shape[0]
    drawn = cv2.warpAffine(crop, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    weight = cv2.warpAffine(weight, matrix, size)[..., None]
    picture[:] = np.rint(picture * (1 - weight) + drawn * weight)
    return place


def square(x: float, y: float, side: float) -> Place:
    return x, y, x + side, y + side


class Faces:
    """Genuine faces that are drawn in turn."""

    def __init__(self, faces: LabelledFaces, seed: int) -> None:
        self._faces = faces.take(np.flatnonzero(faces.y == 0))
        self._rng = np.random.default_rng(seed)
        self._order = iter(self._rng.permutation(len(self._faces)))

    def next(self) -> tuple[np.ndarray, Place]:
        """Return a crop, (H, W, 3) uint8 RGB, and the box of its face."""
        row = int(next(self._order))
        left, top, right, bottom = (
            float(self._faces.table.iloc[row][name]) for name in ("left", "top", "right", "bottom")
        )
        return self._faces.image(row), (left, top, right, bottom)


def crowd(faces: Faces, rng: np.random.Generator) -> Picture:
    """50 people on 3000 x 2000 px, faces of 60 to 150 px."""
    picture = background(2000, 3000, rng)
    places = []
    for i in range(50):
        side = float(rng.uniform(60, 150))
        corner = square(
            30 + 295 * (i % 10) + rng.uniform(0, 30), 40 + 390 * (i // 10) + rng.uniform(0, 60), side
        )
        places.append(_pasted(picture, faces, corner))
    return picture, places


def distant(faces: Faces, rng: np.random.Generator, side: float) -> Picture:
    """One face on 4000 x 3000 px."""
    picture = background(3000, 4000, rng)
    place = square(rng.uniform(100, 3800), rng.uniform(100, 2800), side)
    return picture, [_pasted(picture, faces, place)]


def alone(faces: Faces, rng: np.random.Generator, degrees: float = 0) -> Picture:
    """One face of 120 to 240 px on 1200 x 900 px, turned in the plane of the picture."""
    picture = background(900, 1200, rng)
    side = float(rng.uniform(120, 240))
    place = square(rng.uniform(200, 1000 - side), rng.uniform(150, 750 - side), side)
    return picture, [_pasted(picture, faces, place, degrees)]


def dark(faces: Faces, rng: np.random.Generator, gamma: float) -> Picture:
    """One face, darkened and with the noise of a sensor."""
    picture, places = alone(faces, rng)
    light = (picture / 255.0) ** gamma + rng.normal(0, 0.01, picture.shape)
    return np.rint(255 * light.clip(0, 1)).astype(np.uint8), places


def drawn_over(faces: Faces, rng: np.random.Generator, how: str) -> Picture:
    """One face that is partly covered: by a bar, lines, blocks, or a half of it."""
    picture, places = alone(faces, rng)
    left, top, right, bottom = (round(v) for v in places[0])
    side = right - left
    colour = tuple(int(v) for v in rng.integers(0, 256, 3))
    if how == "lines":
        for _ in range(12):
            ends = rng.integers((left, top), (right, bottom), (2, 2))
            cv2.line(picture, tuple(ends[0]), tuple(ends[1]), colour, max(side // 40, 1), cv2.LINE_AA)
    elif how == "eyes":
        picture[top + round(0.2 * side) : top + round(0.45 * side), left:right] = colour
    elif how == "mouth":
        picture[top + round(0.6 * side) : bottom + side // 8, left:right] = colour
    elif how == "half":
        half = (left + right) // 2
        picture[top - side // 3 : bottom + side // 8, half : right + side // 8] = colour
    return picture, places


def _pasted(picture: np.ndarray, faces: Faces, place: Place, degrees: float = 0) -> Place:
    crop, box = faces.next()
    return paste(picture, crop, box, place, degrees)


def count(pictures: Sequence[Picture], detector: str) -> tuple[int, int, int]:
    """Return how many faces there are, how many are found, and how many boxes show none of them."""
    there = found = false = 0
    for picture, places in pictures:
        faces = find_faces(read_image(picture), detector)
        boxes = [_in_upright_picture(face, picture.shape[:2]) for face in faces]
        same = box_iou(places, boxes) >= 0.25 if boxes else np.zeros((len(places), 0), bool)
        there += len(places)
        found += int(same.any(axis=1).sum())
        false += int((~same.any(axis=0)).sum())
    return there, found, false


def _in_upright_picture(face: Face, shape: tuple[int, int]) -> Place:
    """Return a face's box in the picture as it was, where it was turned to find the face."""
    height, width = shape
    left, top, right, bottom = (float(v) for v in face.box)
    degrees = turned_by(face.frame.source)
    if degrees == 90:
        return top, height - right, bottom, height - left
    if degrees == 270:
        return width - bottom, left, width - top, right
    if degrees == 180:
        return width - right, height - bottom, width - left, height - top
    return left, top, right, bottom


def composed(faces: LabelledFaces, each: int) -> Iterator[tuple[str, list[Picture]]]:
    """Yield the name of each kind of pictures with the pictures, ``each`` of them."""

    def several(name: str, make: Callable[[Faces, np.random.Generator], Picture], many: int) -> tuple:
        seed = zlib.crc32(name.encode())
        drawn, rng = Faces(faces, seed), np.random.default_rng(seed)
        return name, [make(drawn, rng) for _ in range(many)]

    yield several("groups of 50, faces of 60 to 150 px in 6 MP", crowd, max(each // 8, 1))
    for side in (30, 40, 60):
        yield several(f"{side} px in 12 MP", lambda f, r, s=side: distant(f, r, s), each // 2)
    for degrees in range(0, 181, 15):
        yield several(f"tilted by {degrees}°", lambda f, r, d=degrees: alone(f, r, d), each)
    for gamma in (2, 4, 6):
        yield several(f"dark, gamma {gamma}", lambda f, r, g=gamma: dark(f, r, g), each)
    covers = {
        "lines": "12 lines",
        "eyes": "a bar over the eyes",
        "mouth": "mouth and chin painted over",
        "half": "one half painted over",
    }
    for how, words in covers.items():
        yield several(f"drawn over: {words}", lambda f, r, h=how: drawn_over(f, r, h), each)


# -- pictures without people


def no_people(each: int) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Yield the name of each kind of pictures without a face with the pictures, ``each`` of most of them."""
    rng = np.random.default_rng(7)
    yield "noise of all grains", [_noise(rng) for _ in range(each)]
    yield "gradients and stripes", [_stripes(rng) for _ in range(each)]
    yield "circles, boxes and lines", [_shapes(rng) for _ in range(each)]
    yield "clocks", [_clock(rng) for _ in range(each)]
    yield "text", [_text(rng) for _ in range(each)]
    yield "smileys", [_smiley(rng) for _ in range(each)]
    parts = _parts(rng, each)
    yield "scikit-image's pictures without people, and mosaics of them", parts
    folder = Path(data.__file__).parent
    patches = np.load(folder / "lfw_subset.npy")[100:]
    enlarged = [cv2.resize(np.rint(255 * p).astype(np.uint8), (200, 200)) for p in patches]
    yield "parts of photographs beside faces", [p[..., None].repeat(3, axis=2) for p in enlarged]


def _size(rng: np.random.Generator) -> tuple[int, int]:
    return int(rng.integers(240, 900)), int(rng.integers(240, 900))


def _noise(rng: np.random.Generator) -> np.ndarray:
    height, width = _size(rng)
    image = np.zeros((height, width, 3))
    for grain in 2.0 ** rng.uniform(0, 7, 3):
        rows, columns = max(round(height / grain), 2), max(round(width / grain), 2)
        grid = rng.normal(0, rng.uniform(10, 50), (rows, columns, 3 if rng.random() < 0.7 else 1))
        image += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC).reshape(height, width, -1)
    return (image + rng.uniform(60, 190, 3)).clip(0, 255).astype(np.uint8)


def _stripes(rng: np.random.Generator) -> np.ndarray:
    height, width = _size(rng)
    row, column = np.mgrid[0:height, 0:width]
    image = np.zeros((height, width, 3))
    for _ in range(int(rng.integers(1, 4))):
        x, y = rng.normal(0, 1, 2) / 2 ** rng.uniform(1, 8)
        wave = np.sin(column * x + row * y + rng.uniform(0, 6))
        wave = np.sign(wave) if rng.random() < 0.3 else wave
        image += wave[..., None] * rng.uniform(-60, 60, 3)
    return (image + rng.uniform(60, 190, 3)).clip(0, 255).astype(np.uint8)


def _colour(rng: np.random.Generator) -> tuple[int, int, int]:
    r, g, b = (int(v) for v in rng.integers(0, 256, 3))
    return r, g, b


def _shapes(rng: np.random.Generator) -> np.ndarray:
    height, width = _size(rng)
    image = background(height, width, rng)
    for _ in range(int(rng.integers(5, 60))):
        x, y = int(rng.integers(width)), int(rng.integers(height))
        size, kind = int(rng.integers(4, 120)), rng.integers(3)
        thick = -1 if rng.random() < 0.6 else int(rng.integers(1, 8))
        if kind == 0:
            cv2.circle(image, (x, y), size, _colour(rng), thick, cv2.LINE_AA)
        elif kind == 1:
            cv2.rectangle(image, (x, y), (x + size, y + int(rng.integers(4, 120))), _colour(rng), thick)
        else:
            end = int(rng.integers(width)), int(rng.integers(height))
            cv2.line(image, (x, y), end, _colour(rng), max(thick, 1), cv2.LINE_AA)
    return image


def _clock(rng: np.random.Generator) -> np.ndarray:
    height, width = _size(rng)
    image = background(height, width, rng)
    radius = int(min(height, width) * rng.uniform(0.1, 0.45))
    middle = np.array([width, height]) // 2
    light, ink = _colour(rng), _colour(rng)
    cv2.circle(image, tuple(map(int, middle)), radius, light, -1, cv2.LINE_AA)
    cv2.circle(image, tuple(map(int, middle)), radius, ink, max(radius // 20, 1), cv2.LINE_AA)
    for hour in range(12):
        way = np.array([np.sin(hour * np.pi / 6), -np.cos(hour * np.pi / 6)])
        a, b = (tuple(map(int, middle + share * radius * way)) for share in (0.8, 0.92))
        cv2.line(image, a, b, ink, max(radius // 25, 1), cv2.LINE_AA)
    for length in (0.5, 0.75):
        turn = rng.uniform(0, 2 * np.pi)
        end = middle + length * radius * np.array([np.sin(turn), np.cos(turn)])
        cv2.line(image, tuple(map(int, middle)), tuple(map(int, end)), ink, max(radius // 18, 1), cv2.LINE_AA)
    return image


def _text(rng: np.random.Generator) -> np.ndarray:
    height, width = _size(rng)
    image = np.full((height, width, 3), _colour(rng), np.uint8)
    for y in range(20, height, int(rng.integers(16, 60))):
        letters = "".join(chr(int(c)) for c in rng.integers(33, 126, 40))
        font = int(rng.integers(0, 8))
        cv2.putText(image, letters, (5, y), font, float(rng.uniform(0.4, 2)), _colour(rng), 1 + font % 3)
    return image


def _smiley(rng: np.random.Generator) -> np.ndarray:
    """A disc with two dots and a line: the sign of a face, which nobody takes for one."""
    height, width = _size(rng)
    image = background(height, width, rng)
    radius = int(min(height, width) * rng.uniform(0.08, 0.42))
    x, y, ink = width // 2, height // 2, (20, 20, 20)
    cv2.circle(image, (x, y), radius, (250, 210, 60) if rng.random() < 0.5 else _colour(rng), -1, cv2.LINE_AA)
    for side in (-1, 1):
        eye = x + side * round(0.35 * radius), y - round(0.25 * radius)
        cv2.circle(image, eye, max(round(radius * rng.uniform(0.06, 0.14)), 1), ink, -1, cv2.LINE_AA)
    axes = round(0.5 * radius), round(radius * rng.uniform(0.05, 0.4))
    start = 0 if rng.random() < 0.7 else 180
    mouth = x, y + round(0.3 * radius)
    cv2.ellipse(image, mouth, axes, 0, start, start + 180, ink, max(radius // 15, 1), cv2.LINE_AA)
    return image


def _parts(rng: np.random.Generator, many: int) -> list[np.ndarray]:
    folder = Path(data.__file__).parent
    whole = []
    for file in sorted(folder.glob("*.[jp][pn]g")):
        if file.stem not in PEOPLE:
            whole.append(np.ascontiguousarray(cv2.imread(str(file))[..., ::-1]))
    parts = list(whole)
    # As many things as there are in a large photograph.
    for _ in range(4):
        chosen = [whole[i] for i in rng.permutation(len(whole))[:12]]
        tiles = [cv2.resize(image, (1000, 1000), interpolation=cv2.INTER_AREA) for image in chosen]
        parts.append(np.vstack([np.hstack(tiles[row : row + 4]) for row in (0, 4, 8)]))
    while len(parts) < many:
        image = whole[len(parts) % len(whole)]
        height, width = (max(int(n * rng.uniform(0.3, 0.9)), 40) for n in image.shape[:2])
        top = int(rng.integers(max(image.shape[0] - height, 0) + 1))
        left = int(rng.integers(max(image.shape[1] - width, 0) + 1))
        part = image[top : top + height, left : left + width]
        parts.append(np.ascontiguousarray(part[:, ::-1] if rng.random() < 0.5 else part))
    return parts


def main() -> None:
    parser = argparse.ArgumentParser(description="Faces found in composed pictures, and false boxes.")
    parser.add_argument("faces", help="table or folder of labelled faces with boxes")
    parser.add_argument("--each", type=int, default=40, help="pictures of each kind (default: 40)")
    parser.add_argument("--detectors", nargs="+", default=["blazeface", "hog"])
    parser.add_argument("--write", action="store_true", help="put the tables into docs/detectors.md")
    options = parser.parse_args()
    names = options.detectors
    faces = read_faces(options.faces)
    tables = {"recall": _header("composed pictures", names, "found; false boxes")}
    for kind, pictures in composed(faces, options.each):
        cells = [count(pictures, name) for name in names]
        row = f"| {kind} | " + " | ".join(f"{f} of {n}; {x}" for n, f, x in cells) + " |"
        tables["recall"].append(row)
        print(row, flush=True)
    tables["false boxes"] = _header("pictures without people", names, "with a box")
    totals, there = dict.fromkeys(names, 0), 0
    for kind, images in no_people(options.each):
        hits = {name: sum(bool(find_faces(Frame(image), name)) for image in images) for name in names}
        there += len(images)
        totals = {name: totals[name] + hits[name] for name in names}
        row = f"| {kind} ({len(images)}) | " + " | ".join(str(hits[name]) for name in names) + " |"
        tables["false boxes"].append(row)
        print(row, flush=True)
    shares = " | ".join(f"{totals[name]} ({totals[name] / there:.1%})" for name in names)
    tables["false boxes"].append(f"| together ({there}) | {shares} |")
    print(tables["false boxes"][-1])
    if options.write:
        for name, lines in tables.items():
            replace_between(PAGE, name, lines)


def _header(what: str, names: Sequence[str], measure: str) -> list[str]:
    return [
        f"| {what} | " + " | ".join(f"`{name}`, {measure}" for name in names) + " |",
        "|---" * (len(names) + 1) + "|",
    ]


if __name__ == "__main__":
    main()
