"""Fitting kinds of fakes on a network whose features are the mean colours of a face."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from redeepfake_nb.datasets.augmentation import Augmentation
from redeepfake_nb.datasets.labelled_faces import LabelledFaces
from redeepfake_nb.training.kinds import fit_kinds
from redeepfake_nb.training.recipes import Recipe, Stage

SIZE = 48
# Generated faces are red, swapped and re-enacted ones green, edited ones blue; real ones are grey.
COLOURS = {
    "generated": (200, 60, 60),
    "swapped": (60, 200, 60),
    "reenacted": (80, 190, 70),
    "edited": (60, 60, 200),
    None: (120, 120, 120),
}
STILL = Augmentation(crop=(1.0, 1.0), rotate=0, colour=0, blur=0, rescale=0, noise=0, jpeg=0, erase=0, flip=0)
RECIPE = Recipe("r", "EfficientNetLite0", (Stage(SIZE, 1, 1e-3),), augmentation=STILL)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> LabelledFaces:
    folder = tmp_path_factory.mktemp("kinds")
    rng = np.random.default_rng(0)
    rows = []
    for split, count in (("train", 12), ("val", 6)):
        for kind, colour in COLOURS.items():
            for i in range(count):
                name = f"{split}_{kind}_{i}.png"
                image = np.clip(np.array(colour) + rng.normal(0, 15, (SIZE, SIZE, 3)), 0, 255)
                cv2.imwrite(str(folder / name), image.astype(np.uint8)[..., ::-1])
                label = "REAL" if kind is None else "FAKE"
                rows.append({"file": name, "label": label, "kind": kind, "split": split, "source": "one"})
    table = pd.DataFrame(rows)
    table["original"], table["identity"] = None, None
    return LabelledFaces(table, folder)


@pytest.fixture(scope="module")
def network():
    import keras

    keras.utils.set_random_seed(0)
    image = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.GlobalAveragePooling2D()(image)
    return keras.Model(image, keras.layers.Dense(1, name="logit")(keras.layers.Dropout(0.2)(x)))


def test_colours_are_told_apart_and_reenacted_counts_as_swapped(network, faces) -> None:
    import keras

    found = fit_kinds(network, RECIPE, faces.part("train"), faces.part("val"))
    assert found is not None
    assert found.names == ("generated", "swapped", "edited")
    assert found.confusion == {
        "generated": {"generated": 6, "swapped": 0, "edited": 0},
        "swapped": {"generated": 0, "swapped": 12, "edited": 0},
        "edited": {"generated": 0, "swapped": 0, "edited": 6},
    }
    features = keras.Model(network.input, network.get_layer("logit").input)
    red = np.broadcast_to(np.array(COLOURS["generated"], np.float32), (1, SIZE, SIZE, 3))
    z = features.predict_on_batch(red) @ found.layer.kernel + found.layer.bias
    assert z.argmax() == 0


def test_two_kinds_make_two_columns(network, faces) -> None:
    parts = [faces.part(split) for split in ("train", "val")]
    parts = [part.take(np.flatnonzero(part.table["kind"].isin(["generated", "edited"]))) for part in parts]
    found = fit_kinds(network, RECIPE, *parts)
    assert found is not None
    assert found.names == ("generated", "edited")
    assert found.layer.kernel.shape == (3, 2)
    assert found.confusion["edited"] == {"generated": 0, "edited": 6}


def test_one_kind_or_none_makes_no_output(network, faces) -> None:
    train, val = faces.part("train"), faces.part("val")
    only = train.take(np.flatnonzero(train.table["kind"] != "generated"))
    only = only.take(np.flatnonzero(only.table["kind"] != "edited"))
    assert fit_kinds(network, RECIPE, only, val) is None
    unnamed = replace(train, table=train.table.drop(columns="kind"))
    assert fit_kinds(network, RECIPE, unnamed, val) is None


def test_pseudo_fakes_of_unknown_faces_are_left_out(network, faces, tmp_path: Path) -> None:
    # Plain colours have no landmarks, so no pseudo-fake can be made of them; the table's fakes remain.
    recipe = replace(RECIPE, self_blend=0.5, pseudo_fakes={"composite": 0.1})
    found = fit_kinds(network, recipe, faces.part("train"), faces.part("val"))
    assert found is not None
    assert found.confusion["generated"]["generated"] == 6
