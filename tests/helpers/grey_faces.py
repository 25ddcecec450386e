"""Labelled "faces" of uniform grey, whose score by ``conftest``'s classifier is known in closed form."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from PIL import Image

from redeepfake_nb.datasets.labelled_faces import LabelledFaces

# (label, grey level, identity, native width); the classifier gives P(fake) = sigmoid(8 * grey / 255 - 4) and
# predicts fake from 0.6, which is at grey 140.4: one false negative and one false positive.
ROWS = [
    ("REAL", 20, 0, 90),
    ("REAL", 60, 0, 120),
    ("REAL", 100, 1, 200),
    ("REAL", 160, 1, 120),
    ("FAKE", 80, 2, 120),
    ("FAKE", 150, 2, 200),
    ("FAKE", 200, 3, 200),
    ("FAKE", 240, 3, 90),
]


def grey_faces(folder: Path) -> LabelledFaces:
    rows = []
    for i, (label, grey, identity, width) in enumerate(ROWS):
        Image.new("RGB", (64, 64), (grey,) * 3).save(folder / f"{i}.png")
        rows.append((f"{i}.png", label, f"v{identity}", identity, "val", width))
    columns = ["file", "label", "original", "identity", "split", "original_width"]
    return LabelledFaces(pd.DataFrame(rows, columns=columns), folder)
