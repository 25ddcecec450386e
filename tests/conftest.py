"""Fixtures that every test module may use, and markers by folder."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
# Folder of tests -> the marker that all of them get; see CONTRIBUTING.md.
MARKER_OF_FOLDER = {"browser": "browser", "notebooks": "notebook", "hostile": "slow"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by the folder that they lie in."""
    for item in items:
        folder = item.path.relative_to(ROOT / "tests").parts[0]
        if folder in MARKER_OF_FOLDER:
            item.add_marker(MARKER_OF_FOLDER[folder])


@pytest.fixture(scope="session", autouse=True)
def interrupts_arrive() -> None:
    """Shells start background processes with SIGINT ignored, and so would tests of interrupts be."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests keep compiled networks to themselves; all processes of a run share them."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    (folder / "cache").mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REDEEPFAKE_NB_CACHE", str(folder / "cache"))
        yield


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's top folder."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of development data beside the checkout; absent for most people."""
    if not SHARED.is_dir():
        pytest.skip("development data (../shared) is not here")
    return SHARED


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def classifier():
    """A classifier that anybody can check: P(fake) is the sigmoid of 8 * (mean brightness, 0 to 1) - 4.

    Its last map, layer ``conv``, is the brightness itself (and three channels of nothing), so that Grad-CAM
    for fake is bright where the picture is, and for real it is empty. Input 32 px, calibrated, threshold 0.6.
    """
    import keras

    from redeepfake_nb import Card, Classifier, Preprocessing

    image = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1 / 255)(image)
    conv = keras.layers.Conv2D(4, 3, activation="relu", name="conv")
    x = keras.layers.GlobalAveragePooling2D()(conv(x))
    dense = keras.layers.Dense(1, name="logit")
    model = keras.Model(image, dense(x))
    kernel = np.zeros((3, 3, 3, 4), np.float32)
    kernel[..., 0] = 1 / 27
    conv.set_weights([kernel, np.zeros(4, np.float32)])
    dense.set_weights([np.float32([[8], [0], [0], [0]]), np.float32([-4])])
    card = Card(
        name="brightness",
        version="1",
        preprocessing=Preprocessing(input_size=32),
        temperature=1.0,
        threshold=0.6,
    )
    return Classifier(model, card)


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory):
    """16 training and 8 val "faces" of 64 px: coarse noise is real, the same noise blurred is fake."""
    import cv2
    import pandas as pd
    from PIL import Image

    from redeepfake_nb.datasets.labelled_faces import LabelledFaces

    folder, rows = tmp_path_factory.mktemp("faces"), []
    for i in range(12):
        noise = np.random.default_rng(i).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        real = cv2.resize(noise, (64, 64), interpolation=cv2.INTER_NEAREST)
        for label, image in (("REAL", real), ("FAKE", cv2.GaussianBlur(real, (0, 0), 3))):
            name = f"{i}-{label}.png"
            Image.fromarray(image).save(folder / name)
            rows.append((name, label, f"v{i}", i, "train" if i < 8 else "val", 60 + i))
    columns = ["file", "label", "original", "identity", "split", "original_width"]
    return LabelledFaces(pd.DataFrame(rows, columns=columns), folder)


@pytest.fixture(scope="session")
def smoke(root: Path):
    """The recipe of the smoke run."""
    from redeepfake_nb.training.recipes import Recipe

    return Recipe.read(root / "models" / "recipes" / "smoke.toml")
