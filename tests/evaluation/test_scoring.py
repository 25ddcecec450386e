"""Samples of labelled faces, and the scores of those that can be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from redeepfake_nb import Card, Classifier, Preprocessing
from redeepfake_nb.datasets.labelled_faces import LabelledFaces
from redeepfake_nb.evaluation.scoring import group_column, sample, score_all
from redeepfake_nb.training.batches import score_faces
from redeepfake_nb.utils.numeric import probability


def table_of(labels: list[str], **columns: object) -> LabelledFaces:
    rows = {"file": [f"{i}.png" for i in range(len(labels))], "label": labels}
    rest = dict.fromkeys(("original", "identity", "split")) | columns
    return LabelledFaces(pd.DataFrame(rows).assign(**rest), Path("nowhere"))


@pytest.fixture
def faces(tmp_path: Path) -> LabelledFaces:
    """Grey 51, an empty file, grey 204, and a file that is not there."""
    Image.new("RGB", (40, 40), (51, 51, 51)).save(tmp_path / "0.png")
    (tmp_path / "1.png").write_bytes(b"")
    Image.new("RGB", (40, 40), (204, 204, 204)).save(tmp_path / "2.png")
    return LabelledFaces(table_of(["REAL", "REAL", "FAKE", "FAKE"]).table, tmp_path)


def test_a_sample_is_balanced_and_in_order() -> None:
    faces = table_of(["REAL"] * 50 + ["FAKE"] * 30)
    found = sample(faces, 21, seed=1)
    assert (found.y == 0).sum() == 11
    assert (found.y == 1).sum() == 10
    numbers = found.table["file"].str.removesuffix(".png").astype(int)
    assert numbers.is_monotonic_increasing
    assert found.table.equals(sample(faces, 21, seed=1).table)
    assert not found.table.equals(sample(faces, 21, seed=2).table)


@pytest.mark.parametrize(("reals", "fakes"), [(3, 50), (50, 3)])
def test_all_faces_of_a_rare_label_are_taken(reals: int, fakes: int) -> None:
    found = sample(table_of(["REAL"] * reals + ["FAKE"] * fakes), 20)
    assert len(found) == 20
    assert sorted(np.bincount(found.y)) == [3, 17]


def test_no_limit_keeps_all_faces() -> None:
    faces = table_of(["REAL", "FAKE"])
    assert sample(faces, None) is faces
    assert sample(faces, 2) is faces
    with pytest.raises(ValueError, match="2 or more, not 1"):
        sample(faces, 1)


def test_probabilities_by_hand() -> None:
    np.testing.assert_allclose(probability(np.float32([0, 2]), 2.0), [0.5, 1 / (1 + np.exp(-1))])
    np.testing.assert_allclose(probability(np.float32([2]), None), [1 / (1 + np.exp(-2))])


def test_group_column() -> None:
    labels = ["REAL", "FAKE"]
    assert group_column(table_of(labels, identity=[1, 2], original=["a", "b"])) == "identity"
    assert group_column(table_of(labels, identity=[1, None], original=["a", "b"])) == "original"
    assert group_column(table_of(labels)) is None


def test_unreadable_faces_are_listed_and_left_out(faces: LabelledFaces, classifier: Classifier) -> None:
    steps = []
    found = score_all([classifier], faces, progress=lambda *at: steps.append(at), batch=1)
    # logit = 8 * brightness - 4: at 51 and 204 of 255 that is 8 * 0.2 - 4 and 8 * 0.8 - 4.
    np.testing.assert_allclose(found.logits[0], [-2.4, 2.4], atol=1e-3)
    np.testing.assert_allclose(found.brightness, [51, 204])
    np.testing.assert_array_equal(found.sharpness, [0, 0])
    assert list(found.faces.table["file"]) == ["0.png", "2.png"]
    assert list(found.unreadable["file"]) == ["1.png", "3.png"]
    assert list(found.unreadable["error"]) == ["EmptyFile", "InputError"]
    assert not found.unreadable["cause"].str.contains(str(faces.root), regex=False).any()
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_scores_are_those_of_training(faces: LabelledFaces, classifier: Classifier) -> None:
    good = faces.take([0, 2])
    expected = score_faces(classifier.logits, good, classifier.preprocessing)
    np.testing.assert_array_equal(score_all([classifier], good).logits[0], expected)


def test_each_classifier_gets_its_own_preprocessing(faces: LabelledFaces, classifier: Classifier) -> None:
    darker = Card(preprocessing=Preprocessing(input_size=32, value_range=(0.0, 127.5)))
    other = Classifier(classifier.keras_model, darker)
    first, second = score_all([classifier, other], faces.take([0, 2])).logits
    np.testing.assert_allclose(first, [-2.4, 2.4], atol=1e-3)
    np.testing.assert_allclose(second, [-3.2, -0.8], atol=1e-3)


def test_no_readable_face(faces: LabelledFaces, classifier: Classifier) -> None:
    with pytest.raises(ValueError, match="none of the 2 faces"):
        score_all([classifier], faces.take([1, 3]))
