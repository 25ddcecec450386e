"""Small labelled faces of noise that brightness tells apart, but for a few."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from redeepfake_nb.datasets.labelled_faces import LabelledFaces


def light_and_dark_faces(folder: Path) -> LabelledFaces:
    """Six people for training and six for val: light noise is mostly fake, dark noise mostly real."""
    rows = []
    for i in range(24):
        rng = np.random.default_rng(i)
        fake = i % 2 == 1
        light = (not fake if i % 12 == 5 else fake) * 60 + 60
        pixels = (rng.integers(0, 60, (64, 64, 3)) + light).astype(np.uint8)
        name = f"{i}.png"
        Image.fromarray(pixels).save(folder / name)
        split = "train" if i < 12 else "val"
        rows.append((name, "FAKE" if fake else "REAL", f"v{i // 2}", i // 2, split, 100 + 8 * i))
    columns = ["file", "label", "original", "identity", "split", "original_width"]
    return LabelledFaces(pd.DataFrame(rows, columns=columns), folder)
