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


def _faces(folder: Path, colours: dict[str, dict[str | None, tuple[int, int, int]]]) -> LabelledFaces:
    """Twelve noisy faces of one colour per source and kind."""
    rng = np.random.default_rng(0)
    rows = []
    for source, of_kind in colours.items():
        for kind, colour in of_kind.items():
            for i in range(12):
                name = f"{source}_{kind}_{i}.png"
                image = np.clip(np.array(colour) + rng.normal(0, 15, (SIZE, SIZE, 3)), 0, 255)
                cv2.imwrite(str(folder / name), image.astype(np.uint8)[..., ::-1])
                label = "REAL" if kind is None else "FAKE"
                rows.append({"file": name, "label": label, "kind": kind, "source": source})
    table = pd.DataFrame(rows)
    table["original"], table["identity"], table["split"] = None, None, "train"
    return LabelledFaces(table, folder)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> LabelledFaces:
    return _faces(tmp_path_factory.mktemp("kinds"), {"one": COLOURS, "two": COLOURS})


@pytest.fixture(scope="module")
def network():
    import keras

    keras.utils.set_random_seed(0)
    image = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.GlobalAveragePooling2D()(image)
    return keras.Model(image, keras.layers.Dense(1, name="logit")(keras.layers.Dropout(0.2)(x)))


def test_colours_are_told_apart_and_reenacted_counts_as_swapped(network, faces) -> None:
    import keras

    found = fit_kinds(network, RECIPE, faces)
    assert found is not None
    assert found.names == ("generated", "swapped", "edited")
    assert found.confusion == {
        "generated": {"generated": 24, "swapped": 0, "edited": 0},
        "swapped": {"generated": 0, "swapped": 48, "edited": 0},
        "edited": {"generated": 0, "swapped": 0, "edited": 24},
    }
    assert (found.named, found.named_right) == (1.0, 1.0)
    features = keras.Model(network.input, network.get_layer("logit").input)
    red = np.broadcast_to(np.array(COLOURS["generated"], np.float32), (1, SIZE, SIZE, 3))
    z = features.predict_on_batch(red) @ found.layer.kernel + found.layer.bias
    assert z.argmax() == 0


def test_two_kinds_make_two_columns(network, faces) -> None:
    part = faces.take(np.flatnonzero(faces.table["kind"].isin(["generated", "edited"])))
    found = fit_kinds(network, RECIPE, part)
    assert found is not None
    assert found.names == ("generated", "edited")
    assert found.layer.kernel.shape == (3, 2)
    assert found.confusion["edited"] == {"generated": 0, "edited": 24}


def test_what_holds_for_one_source_alone_is_not_sure(network, tmp_path: Path) -> None:
    """The second source has the colours of the first the other way round."""
    swapped = {"generated": COLOURS["edited"], "edited": COLOURS["generated"]}
    straight = {kind: COLOURS[kind] for kind in ("generated", "edited")}
    found = fit_kinds(network, RECIPE, _faces(tmp_path, {"one": straight, "two": swapped}))
    assert found is not None
    assert found.confusion["edited"] == {"generated": 24, "edited": 0}
    assert found.named == 0.0
    assert np.isnan(found.named_right)


def test_a_single_source_is_judged_in_five_parts(network, faces) -> None:
    found = fit_kinds(network, RECIPE, faces.take(np.flatnonzero(faces.table["source"] == "one")))
    assert found is not None
    assert sum(sum(row.values()) for row in found.confusion.values()) == 48
    assert found.named_right == 1.0


def test_one_kind_or_none_makes_no_output(network, faces) -> None:
    only = faces.take(np.flatnonzero(~faces.table["kind"].isin(["generated", "edited"])))
    assert fit_kinds(network, RECIPE, only) is None
    assert fit_kinds(network, RECIPE, replace(faces, table=faces.table.drop(columns="kind"))) is None


def test_a_kind_with_few_faces_is_not_told_apart(network, faces) -> None:
    """Of a single source, so that examples are judged in five parts."""
    table = faces.table[(faces.table["source"] == "one") & (faces.table["kind"] != "reenacted")]
    rare = table[table["kind"] == "edited"].index
    few = LabelledFaces(table.drop(rare[4:]).reset_index(drop=True), faces.root)
    assert fit_kinds(network, RECIPE, few).names == ("generated", "swapped")
    only = few.take(np.flatnonzero((few.table["kind"] != "generated").to_numpy()))
    assert fit_kinds(network, RECIPE, only) is None
    enough = LabelledFaces(table.drop(rare[5:]).reset_index(drop=True), faces.root)
    assert fit_kinds(network, RECIPE, enough).names == ("generated", "swapped", "edited")


def test_pseudo_fakes_of_unknown_faces_are_left_out(network, faces) -> None:
    # Plain colours have no landmarks, so no pseudo-fake can be made of them; the table's fakes remain.
    recipe = replace(RECIPE, self_blend=0.5, pseudo_fakes={"composite": 0.1})
    found = fit_kinds(network, recipe, faces)
    assert found is not None
    assert found.confusion["generated"]["generated"] == 24
