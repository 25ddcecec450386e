"""Each perturbation does what its name says, and a wrong colour order shows in the table."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from helpers.grey_faces import grey_faces
from PIL import Image

from redeepfake_nb import Card, Classifier, Preprocessing
from redeepfake_nb.datasets.labelled_faces import LabelledFaces
from redeepfake_nb.evaluation.assessment import assess
from redeepfake_nb.evaluation.robustness_sweep import SWEEPS, UNCHANGED, robustness


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> LabelledFaces:
    return grey_faces(tmp_path_factory.mktemp("grey"))


def changed(name: str, image: np.ndarray, level: float) -> np.ndarray:
    before = image.copy()
    result = SWEEPS[name].change(image, level, np.random.default_rng(0))
    np.testing.assert_array_equal(image, before)  # the original stays as it is
    assert result.dtype == np.uint8
    return result


@pytest.fixture
def picture(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(60, 196, (40, 50, 3), dtype=np.uint8)


# ------------------------------------------------------------------ changes


def test_brightness_by_hand() -> None:
    image = np.full((2, 2, 3), 100, np.uint8)
    assert (changed("brightness offset", image, -30) == 70).all()
    assert (changed("brightness offset", image, 200) == 255).all()
    assert (changed("brightness gain", image, 1.25) == 125).all()
    assert (changed("brightness gain", image, 3) == 255).all()


def test_colours_swapped_by_hand() -> None:
    image = np.full((1, 1, 3), (10, 20, 30), np.uint8)
    assert changed("colours swapped", image, 1)[0, 0].tolist() == [30, 20, 10]


def test_crop_by_hand(picture: np.ndarray) -> None:
    # A tenth of the longer side, 50, is 5 pixels on each side.
    np.testing.assert_array_equal(changed("crop margin", picture, -0.1), picture[5:35, 5:45])
    assert changed("crop margin", np.zeros((2, 90, 3), np.uint8), -0.2).size > 0


def test_noise_has_its_standard_deviation() -> None:
    image = np.full((100, 100, 3), 128, np.uint8)
    noisy = changed("noise", image, 10).astype(float)
    assert noisy.std() == pytest.approx(10, rel=0.05)
    assert noisy.mean() == pytest.approx(128, abs=0.3)


@pytest.mark.parametrize("name", ["JPEG quality", "H.264", "scale", "blur", "noise"])
def test_later_levels_are_stronger(name: str, picture: np.ndarray) -> None:
    errors = [
        np.abs(changed(name, picture, level).astype(int) - picture).mean() for level in SWEEPS[name].levels
    ]
    assert errors == sorted(errors)
    assert errors[0] < errors[-1]


@pytest.mark.parametrize("name", [n for n, sweep in SWEEPS.items() if sweep.neutral is not None])
def test_neutral_levels_change_nothing(name: str, picture: np.ndarray) -> None:
    neutral = SWEEPS[name].neutral
    assert neutral not in SWEEPS[name].levels
    if name not in ("blur", "colours swapped"):  # no sigma of 0 in OpenCV; swapping has no levels
        np.testing.assert_array_equal(changed(name, picture, neutral), picture)


# ------------------------------------------------------------------ table


def test_table_by_hand(faces: LabelledFaces, classifier: Classifier) -> None:
    table = robustness(classifier, faces, sweeps=["brightness offset", "colours swapped"], limit=None)
    assert list(table["change"]) == [UNCHANGED, *["brightness offset"] * 4, "colours swapped"]
    assert list(table["level"][1:5]) == [-60, -30, 30, 60]
    assert np.isnan(table["level"][0])
    rows = table.set_index(["change", "level"])
    # 30 grey levels brighter adds 8 * 30 / 255 to every logit (but 240 becomes 255) and lifts none of ours
    # over the cut at 140.4. 30 darker pulls the fake of 150 under it, and the real of 160.
    up, down = rows.loc[("brightness offset", 30)], rows.loc[("brightness offset", -30)]
    assert up["logit_shift"] == pytest.approx(8 * (7 * 30 + 15) / 8 / 255, abs=1e-3)
    assert up["flipped"] == 0
    assert down["flipped"] == 2 / 8
    assert down["accuracy"] == 6 / 8
    assert down["auc"] == table["auc"][0]
    # Grey has no colours to swap.
    swapped = table.iloc[-1]
    assert (swapped["logit_shift"], swapped["flipped"]) == (0, 0)


def test_the_unchanged_row_equals_assess(faces: LabelledFaces, classifier: Classifier) -> None:
    first = robustness(classifier, faces, sweeps=[]).iloc[0]
    metrics = assess(classifier, faces, resamples=0).metrics
    for name in ("auc", "accuracy", "log_loss"):
        assert first[name] == pytest.approx(metrics[name].value)
    assert (first["logit_shift"], first["flipped"], first["faces"]) == (0, 0, 8)


def test_a_wrong_colour_order_shows(tmp_path: Path) -> None:
    """A model that looks at red alone, on reds that are fake and blues that are real."""
    image = keras.Input((16, 16, 3))
    dense = keras.layers.Dense(1)
    model = keras.Model(image, dense(keras.layers.GlobalAveragePooling2D()(image)))
    dense.set_weights([np.float32([[0.1], [0], [0]]), np.float32([-10])])
    rows = []
    for i in range(6):
        color = (150 + i, 50, 50) if i % 2 else (50, 50, 150 + i)
        Image.new("RGB", (20, 20), color).save(tmp_path / f"{i}.png")
        rows.append((f"{i}.png", "FAKE" if i % 2 else "REAL", None, None, None))
    table = pd.DataFrame(rows, columns=["file", "label", "original", "identity", "split"])
    faces = LabelledFaces(table, tmp_path)
    for order, (right, swapped) in {"RGB": (1, 0), "BGR": (0, 1)}.items():
        card = Card(preprocessing=Preprocessing(input_size=16, color_order=order))
        found = robustness(Classifier(model, card), faces, sweeps=["colours swapped"])
        assert list(found["auc"]) == [right, swapped]
        assert list(found["flipped"]) == [0, 1]


def test_all_sweeps_and_reproducible(faces: LabelledFaces, classifier: Classifier) -> None:
    steps = []
    table = robustness(classifier, faces, limit=4, seed=3, progress=lambda *at: steps.append(at))
    count = 1 + sum(len(sweep.levels) for sweep in SWEEPS.values())
    assert steps == [(i + 1, count) for i in range(count)]
    assert list(table["change"].unique()) == [UNCHANGED, *SWEEPS]
    assert (table["faces"] == 4).all()
    assert not table.drop(columns="level").isna().any().any()
    pd.testing.assert_frame_equal(table, robustness(classifier, faces, limit=4, seed=3))


def test_noise_depends_on_the_seed(faces: LabelledFaces, classifier: Classifier) -> None:
    shifts = [robustness(classifier, faces, sweeps=["noise"], seed=s)["logit_shift"].iloc[-1] for s in (0, 1)]
    assert shifts[0] != shifts[1]


def test_unreadable_faces_are_left_out(classifier: Classifier, tmp_path: Path) -> None:
    faces = grey_faces(tmp_path)
    (tmp_path / "0.png").write_bytes(b"")
    assert list(robustness(classifier, faces, sweeps=[])["faces"]) == [7]


def test_invalid_arguments(faces: LabelledFaces, classifier: Classifier) -> None:
    with pytest.raises(ValueError, match="unknown sweeps: rain"):
        robustness(classifier, faces, sweeps=["rain"])
    with pytest.raises(ValueError, match="both labels"):
        robustness(classifier, faces.take([0, 1]))
