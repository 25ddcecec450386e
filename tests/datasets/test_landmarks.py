"""The landmark cache: each face is processed once, implausible landmarks are rejected, files are reused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.face_points import face_points
from PIL import Image

from redeepfake_nb.datasets import landmarks
from redeepfake_nb.datasets.labelled_faces import BOX, LabelledFaces
from redeepfake_nb.datasets.landmarks import LandmarkStore, plausible
from redeepfake_nb.errors import InputError

SIDE = 50


@pytest.fixture
def faces(tmp_path: Path) -> LabelledFaces:
    for i in range(4):
        Image.fromarray(np.full((SIDE, SIDE, 3), 60 * i, np.uint8)).save(tmp_path / f"{i}.png")
    table = pd.DataFrame({"file": [f"{i}.png" for i in range(4)], "label": "REAL"})
    return LabelledFaces(table, tmp_path)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grey levels of processed faces. Landmarks of face i are shifted by i px, those of the black one far."""
    seen: list[int] = []

    def find(image: np.ndarray, boxes: list) -> list[np.ndarray]:
        assert boxes == [(0, 0, SIDE, SIDE)]
        level = int(image[0, 0, 0])
        seen.append(level)
        moved = face_points((SIDE / 2, SIDE / 2), 18) + level // 60
        return [(moved if level else moved + 500).astype(np.float32)]

    monkeypatch.setattr(landmarks, "find_landmarks", find)
    return seen


@pytest.mark.parametrize(
    ("move", "scale", "good"),
    [
        ((0, 0), 80, True),
        ((0, 60), 80, True),  # the chin ends 28 px under a crop of 224 px: 15 % are 33.6
        ((0, 70), 80, False),
        ((-70, 0), 80, False),
        ((0, 0), 30, False),  # 60 px across: not a face that fills its crop
    ],
)
def test_plausible_by_hand(move: tuple[int, int], scale: float, good: bool) -> None:
    points = face_points((112 + move[0], 112 + move[1]), scale)
    assert plausible(points, 224, 224) == good


def test_invalid_landmarks_are_not_plausible() -> None:
    assert not plausible(face_points()[:5], 224, 224)
    assert not plausible(np.full((68, 2), np.nan), 224, 224)


def test_each_face_is_processed_once(faces: LabelledFaces, calls: list[int]) -> None:
    store = LandmarkStore(faces)
    first = store.get(1)
    assert (first.shape, first.dtype) == ((68, 2), np.float32)
    np.testing.assert_array_equal(store.get(1), first)
    np.testing.assert_allclose(store.get(2, faces.image(2)), first + 1, atol=1e-4)
    assert store.get(0) is store.get(0) is None
    assert calls == [60, 120, 0]
    store.save()  # without a path: nothing to do


def test_landmarks_go_from_one_store_to_another(
    faces: LabelledFaces, calls: list[int], tmp_path: Path
) -> None:
    store, path = LandmarkStore(faces), tmp_path / "landmarks.npz"
    kept = store.get(3)
    assert store.get(0) is None
    other = LandmarkStore(faces, path)
    other.add(store.take_new())
    assert store.take_new() == {}
    np.testing.assert_array_equal(other.get(3), kept)
    assert other.get(0) is None
    assert calls == [180, 0]
    other.save()
    assert len(LandmarkStore(faces, path)._points) == 2


def test_landmarks_are_read_back_from_the_file(
    faces: LabelledFaces, calls: list[int], tmp_path: Path
) -> None:
    path = tmp_path / "out" / "landmarks.npz"
    store = LandmarkStore(faces, path)
    kept = [store.get(row) for row in (0, 3)]
    store.save()
    # Another part of the same set, in another order.
    again = LandmarkStore(faces.take([3, 0, 1]), path)
    assert again.get(1) is kept[0] is None
    np.testing.assert_array_equal(again.get(0), kept[1])
    assert calls == [0, 180]
    again.get(2)
    again.save()
    assert LandmarkStore(faces, path).get(1) is not None
    assert calls == [0, 180, 60]


@pytest.mark.parametrize("damage", ["another set", "cut"])
def test_damaged_or_foreign_file_is_ignored(
    faces: LabelledFaces, calls: list[int], tmp_path: Path, damage: str
) -> None:
    path = tmp_path / "landmarks.npz"
    store = LandmarkStore(LabelledFaces(faces.table, faces.root, ""), path)
    store.get(1)
    store.save()
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:100])
    else:
        (tmp_path / "b").mkdir()
        (tmp_path / "1.png").rename(tmp_path / "b" / "1.png")
        faces = LabelledFaces(faces.table, tmp_path, "b/")
    assert LandmarkStore(faces, path).get(1) is not None
    assert calls == [60, 60]


def test_concurrent_access(faces: LabelledFaces, calls: list[int], tmp_path: Path) -> None:
    store = LandmarkStore(faces, tmp_path / "landmarks.npz")

    def work(i: int) -> np.ndarray:
        store.save()
        return store.get(1 + i % 3)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(work, range(60)))
    for i, points in enumerate(found):
        np.testing.assert_allclose(points, found[0] + i % 3, atol=1e-4)


def test_missing_picture(faces: LabelledFaces, calls: list[int]) -> None:
    (faces.root / "2.png").unlink()
    with pytest.raises(InputError, match=r"2\.png"):
        LandmarkStore(faces).get(2)


def test_two_boxes_of_one_picture_are_two_faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(np.zeros((SIDE, 2 * SIDE, 3), np.uint8)).save(tmp_path / "a.png")
    rows = [["a.png", "REAL", left, 0, left + SIDE, SIDE] for left in (0, SIDE)]
    table = pd.DataFrame(rows, columns=["file", "label", *BOX])
    found = iter([face_points((SIDE / 2, SIDE / 2), 18), face_points((SIDE / 2, SIDE / 2), 20)])
    monkeypatch.setattr(landmarks, "find_landmarks", lambda image, boxes: [next(found)])
    store = LandmarkStore(LabelledFaces(table, tmp_path))
    left, right = store.get(0), store.get(1)
    assert np.ptp(right[:, 0]) > np.ptp(left[:, 0])
    assert store.get(0) is left
