"""Benchmark of face detectors: times on pictures and clips, faces found on hard pictures, false boxes.

Run by ``python -m benchmarks.detectors``; :mod:`benchmarks.recall` counts faces in composed pictures. Hard
pictures and clips are those of the development data beside the checkout, and left out where there are none.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from statistics import median

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import cv2
import numpy as np
from skimage import data

from redeepfake_nb import Frame, analyze_video, find_faces, load_model, read_image
from redeepfake_nb.datasets.samples import sample_image
from redeepfake_nb.faces.detection import detector_names

from .images import picture
from .measure import Ratio, compared
from .page import write_section

SHARED = Path(__file__).resolve().parents[2] / "shared"
KINDS = ("far", "hats", "sticker", "mask")
# Files of scikit-image with a person; all others show none.
PEOPLE = ("astronaut", "camera")


def crowd(columns: int = 6, rows: int = 4) -> np.ndarray:
    """Make a (1080, 1920, 3) uint8 image of 24 portraits."""
    portrait = cv2.resize(sample_image().image, (200, 200), interpolation=cv2.INTER_AREA)
    ground = picture(1920, 1080, 200)
    for row in range(rows):
        for column in range(columns):
            top, left = 30 + 260 * row, 60 + 310 * column
            ground[top : top + 200, left : left + 200] = portrait
    return ground


def ratios(runs: int = 7) -> list[Ratio]:
    """Compare hog with blazeface on pictures of the same size with larger, smaller, many and no faces."""
    pictures = {
        "1080p, one face": picture(1920, 1080, 700),
        "12 MP, small face": picture(4000, 3000, 300),
        "1080p, 24 faces": crowd(),
        "1080p, no face": picture(1920, 1080, 1),
        "12 MP, no face": picture(4000, 3000, 1),
    }
    found = []
    for name, image in pictures.items():
        frame = Frame(image)
        both = [(detector, partial(find_faces, frame, detector)) for detector in ("hog", "blazeface")]
        found.append(compared(name, *both, runs=runs, warm_up=1))
    return found


def ratio_row(ratio: Ratio) -> str:
    """A row of a Markdown table: both medians, and the median and range of the ratios."""
    pairs = [a / b for a, b in zip(ratio.first.seconds, ratio.second.seconds, strict=True)]
    times = [f"{1000 * timing.median:.0f} ms" for timing in (ratio.second, ratio.first)]
    spread = f"{median(pairs):.1f} ({min(pairs):.1f} to {max(pairs):.1f})"
    return f"| {ratio.name} | {times[0]} | {times[1]} | {spread} |"


def found(detector: str) -> list[str]:
    """Count pictures with a face, by kind, and boxes on pictures without one."""
    counts = []
    for kind in KINDS:
        files = sorted((SHARED / "data" / "hard_faces").glob(f"{kind}_*.jpg"))
        seen = sum(bool(find_faces(read_image(file), detector)) for file in files)
        counts.append(f"{seen} of {len(files)}" if files else "-")
    files = sorted(Path(data.__file__).parent.glob("*.[jp][pn]g"))
    empty = [cv2.imread(str(file))[..., ::-1] for file in files if file.stem not in PEOPLE]
    empty += [np.rot90(image) for image in empty]
    boxes = sum(len(find_faces(np.ascontiguousarray(image), detector)) for image in empty)
    return [*counts, f"{boxes} on {len(empty)} pictures"]


def main() -> None:
    lines = ["| picture | blazeface | hog | hog / blazeface |", "|---|---|---|---|"]
    lines += [ratio_row(ratio) for ratio in ratios()]
    lines += ["", "32 frames of a clip, with scores:", ""]
    lines += ["| clip | blazeface | hog | hog / blazeface |", "|---|---|---|---|"]
    classifier = load_model()
    for clip in sorted((SHARED / "media").glob("*.mp4")):
        analyse = partial(analyze_video, clip, classifier, explain_top=0)
        both = [(name, partial(analyse, detector=name)) for name in ("hog", "blazeface")]
        lines.append(ratio_row(compared(clip.name, *both, runs=3, warm_up=1)))
    names = [name for name in ("blazeface", "hog", "cnn") if name in detector_names()]
    header = ["| detector | " + " | ".join(KINDS) + " | false boxes |", "|---" * (len(KINDS) + 2) + "|"]
    lines += ["", *header, *[f"| {name} | " + " | ".join(found(name)) + " |" for name in names]]
    write_section("Detectors", lines)


if __name__ == "__main__":
    main()
