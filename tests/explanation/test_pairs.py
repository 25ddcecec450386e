"""An original and a suspect: the same crop, and what differs."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.face_points import face_points

from redeepfake_nb import Face, Frame, UnknownChoice
from redeepfake_nb.explanation import compare_faces, matching_face
from redeepfake_nb.explanation.regions import PHRASES


def face_of(image: np.ndarray, box: tuple[int, int, int, int], landmarks: np.ndarray | None = None) -> Face:
    return Face(Frame(np.ascontiguousarray(image)), box, landmarks)


def pictures() -> tuple[np.ndarray, np.ndarray]:
    """A grey picture, and the same with a bright lower right corner of the face."""
    original = np.full((100, 100, 3), 60, np.uint8)
    suspect = original.copy()
    suspect[50:80, 50:80] = 250
    return original, suspect


def test_the_suspect_is_cut_out_like_the_original(classifier) -> None:
    original, suspect = pictures()
    found = compare_faces(classifier, face_of(original, (20, 20, 80, 80)), face_of(suspect, (30, 25, 90, 88)))
    assert found.suspect.prediction.face.box == (20, 20, 80, 80)
    assert found.crops == "both faces are cut out by the original's box"
    assert found.difference.shape == (60, 60)
    # The model's evidence is brightness: 8 log-odds for a face that is white everywhere.
    assert found.difference[45, 45] == pytest.approx(8 * 190 / 255, rel=0.05)
    np.testing.assert_allclose(found.difference[:20, :20], 0, atol=0.05)
    assert found.change == pytest.approx(8 * 190 / 255 / 4, rel=0.1)
    assert "P(fake) is 0." in found.sentence
    assert "No landmarks" in found.sentence


def test_the_changes_of_all_parts_add_up(classifier) -> None:
    original, suspect = pictures()
    points = face_points((50, 50), 30).astype(np.float32)
    faces = [face_of(image, (20, 20, 80, 80), points) for image in (original, suspect)]
    found = compare_faces(classifier, *faces)
    table = found.regions
    assert table["change"].sum() == pytest.approx(found.change)
    assert table["change"].abs().is_monotonic_decreasing
    np.testing.assert_allclose(table["suspect"] - table["original"], table["change"], atol=1e-5)
    assert f"differs most {PHRASES[table.loc[0, 'region']]}, by +" in found.sentence


def test_a_smaller_copy_is_cut_out_at_its_scale(classifier) -> None:
    original, suspect = pictures()
    found = compare_faces(
        classifier, face_of(original, (20, 20, 80, 80)), face_of(suspect[::2, ::2], (5, 5, 45, 45))
    )
    assert found.suspect.prediction.face.box == (10, 10, 40, 40)
    assert found.difference.shape == (30, 30)
    other = compare_faces(
        classifier, face_of(original, (20, 20, 80, 80)), face_of(suspect[:50], (5, 5, 45, 45))
    )
    assert other.suspect.prediction.face.box == (5, 5, 45, 45)
    assert "its own box" in other.crops


def test_only_methods_in_log_odds(classifier) -> None:
    face = face_of(pictures()[0], (20, 20, 80, 80))
    with pytest.raises(UnknownChoice, match="unknown method 'scorecam'"):
        compare_faces(classifier, face, face, "scorecam")


def test_faces_at_different_places_are_cut_out_by_their_own_boxes(classifier) -> None:
    original, suspect = pictures()
    found = compare_faces(classifier, face_of(original, (0, 0, 40, 40)), face_of(suspect, (50, 50, 90, 90)))
    assert found.suspect.prediction.face.box == (50, 50, 90, 90)
    assert "different places" in found.crops


def test_the_same_face_of_another_picture() -> None:
    original, suspect = pictures()
    face = face_of(suspect, (20, 20, 80, 80))
    larger = Frame(np.kron(original, np.ones((2, 2, 1), np.uint8)))
    near, far = Face(larger, (44, 40, 164, 160)), Face(larger, (0, 0, 40, 40))
    assert matching_face(face, larger, [far, near]) is near
    found = matching_face(face, larger, [])
    assert found is not None
    assert (found.frame, found.box) == (larger, (40, 40, 160, 160))
    wide = Frame(np.zeros((50, 200, 3), np.uint8))
    assert matching_face(face, wide, []) is None
    only = Face(wide, (0, 0, 50, 50))
    assert matching_face(face, wide, [only]) is only
