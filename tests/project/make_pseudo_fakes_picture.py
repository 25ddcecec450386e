"""Make docs/images/pseudo_fakes.jpg, which shows every kind of pseudo-fake; run by ``make pictures``.

The face is the sample portrait (NASA, in the public domain), cropped as for training. The "other person" of
swaps and composites is the same portrait mirrored, with other proportions and colours: nobody else's face is
shown.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parents[2]

# Face, in pixels, and the strip above each row that names its kind.
_SIDE, _STRIP = 160, 26
# Differences that hardly show are multiplied for the picture.
_GAIN = 6
# Kind -> what the row shows, and the seeds of its three examples, from faint to easily visible.
ROWS = {
    "self_blend": (
        "self_blend: a copy of the face itself, altered, moved (right of each: mask)",
        (13, 12, 9),
    ),
    "face_swap": ("face_swap: another face (right of the original), warped onto the landmarks", (11, 21, 9)),
    "part_edit": ("part_edit: another expression of mouth or eyes, rendered again", (5, 23, 16)),
    "composite": ("composite: parts of the other face, pieced together by hand", (19, 14, 5)),
    "generator_traces": (
        "generator_traces: transposed convolution, repeated pixels, bottleneck "
        f"(right of each: difference x {_GAIN})",
        (11, 6, 3),
    ),
}


def two_faces() -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the portrait's face and "another person", each as a crop and its 68 landmarks."""
    from redeepfake_nb.datasets.samples import portrait_face, sample_image
    from redeepfake_nb.datasets.warping import thin_plate_maps

    face, landmarks = portrait_face()
    left, top, right, bottom = face.box
    crop = sample_image().image[top:bottom, left:right]
    scale = _SIDE / np.array([right - left, bottom - top])
    image = cv2.resize(crop, (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC)
    points = (landmarks - (left, top) + 0.5) * scale - 0.5
    # A wider jaw and nose, thinner lips, lower brows.
    moved, middle = points.copy(), points.mean(axis=0)
    for chosen, across, down in (
        (slice(0, 17), 1.08, 0.96),
        (slice(27, 36), 1.25, 1.08),
        (slice(48, 68), 1.1, 0.8),
    ):
        own = points[chosen].mean(axis=0) if chosen.start else middle
        moved[chosen] = own + (points[chosen] - own) * (across, down)
    moved[17:27, 1] += 5
    maps = thin_plate_maps(moved, points, (_SIDE, _SIDE))
    other = cv2.remap(image, *maps, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)[:, ::-1]
    other = (other * (0.8, 0.66, 0.55)).astype(np.uint8)
    mirrored = np.array([*range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1)])
    mirrored = np.concatenate([mirrored, [45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40]])
    mirrored = np.concatenate([mirrored, [54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55]])
    mirrored = np.concatenate([mirrored, [64, 63, 62, 61, 60, 67, 66, 65]])
    return [(image, points), (other, (np.array([_SIDE - 1, 0]) + moved * (-1, 1))[mirrored])]


def picture() -> np.ndarray:
    """Return the picture, (height, width, 3) uint8 RGB."""
    from redeepfake_nb.datasets.pseudo_fakes import NEEDS_OTHER, make_pseudo_fake

    (image, points), other = two_faces()
    font = ImageFont.load_default(size=15)
    rows = []
    for kind, (title, seeds) in ROWS.items():
        second = other[0] if kind in NEEDS_OTHER else np.full_like(image, 255)
        tiles = [image, second]
        for seed in seeds:
            fake, mask = make_pseudo_fake(kind, image, points, np.random.default_rng(seed), other=other)
            shown = np.repeat(np.rint(255 * mask).astype(np.uint8)[..., None], 3, axis=2)
            if kind == "generator_traces":
                difference = fake.astype(int) - image
                shown = (128 + _GAIN * difference).clip(0, 255).astype(np.uint8)
            tiles += [fake, shown]
        strip = Image.new("RGB", (_SIDE * len(tiles), _STRIP), "white")
        ImageDraw.Draw(strip).text((4, 4), title, fill="black", font=font)
        rows += [np.asarray(strip), np.hstack(tiles)]
    return np.vstack(rows)


def main(arguments: list[str] | None = None) -> int:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images" / "pseudo_fakes.jpg")
    out = parser.parse_args(arguments).out
    out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture()).save(out, quality=92, subsampling=0)
    print(f"{out}: {out.stat().st_size / 1e3:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
