"""Benchmark of face detectors: times on pictures and clips, faces found on hard pictures, false boxes.

Run by ``python -m benchmarks.detectors``. Hard pictures and clips are those of the development data beside
the checkout, and left out where there are none.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import cv2
import numpy as np
from skimage import data

from redeepfake_nb import Frame, analyze_video, find_faces, load_model, read_image
from redeepfake_nb.datasets.samples import sample_image
from redeepfake_nb.faces.detection import detector_names

from .images import picture
from .measure import Timing, compared, timed
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


def times(detector: str) -> list[Timing]:
    """Measure the search of four pictures."""
    pictures = {
        "1080p": picture(1920, 1080, 700),
        "12 MP, small face": picture(4000, 3000, 300),
        "1080p, 24 faces": crowd(),
        "1080p, no face": picture(1920, 1080, 1),
    }
    frames = {name: Frame(image) for name, image in pictures.items()}
    runs = 1 if detector == "cnn" else 5
    return [
        timed(f"{name}, {detector}", lambda f=frame: find_faces(f, detector), runs=runs, warm_up=1)
        for name, frame in frames.items()
    ]


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
    names = [name for name in ("blazeface", "hog", "cnn") if name in detector_names()]
    lines = ["| what | median | range | runs |", "|---|---|---|---|"]
    lines += [timing.row() for name in names for timing in times(name)]
    full = Frame(picture(1920, 1080, 700))
    ratios = [
        compared(
            "hog / blazeface, 1080p",
            ("hog", lambda: find_faces(full, "hog")),
            ("blazeface", lambda: find_faces(full, "blazeface")),
        )
    ]
    classifier = load_model()
    for clip in sorted((SHARED / "media").glob("*.mp4")):
        analyse = partial(analyze_video, clip, classifier, explain_top=0)
        both = [(name, partial(analyse, detector=name)) for name in ("hog", "blazeface")]
        ratios.append(compared(f"hog / blazeface, 32 frames of {clip.name}", *both, runs=3, warm_up=1))
    lines += ["", "| ratio | median | range | pairs |", "|---|---|---|---|", *[r.row() for r in ratios]]
    header = ["| detector | " + " | ".join(KINDS) + " | false boxes |", "|---" * (len(KINDS) + 2) + "|"]
    lines += ["", *header, *[f"| {name} | " + " | ".join(found(name)) + " |" for name in names]]
    write_section("Detectors", lines)


if __name__ == "__main__":
    main()
