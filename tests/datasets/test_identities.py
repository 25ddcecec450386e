"""Grouping faces by person: by hand on numbers that stand for embeddings, then on known people of DFDC."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.face_points import face_points
from PIL import Image

from redeepfake_nb.datasets import identities
from redeepfake_nb.datasets import landmarks as landmark_store
from redeepfake_nb.datasets.identities import identify
from redeepfake_nb.datasets.labelled_faces import LabelledFaces, read_faces, split


def make(folder: Path, rows: list[tuple]) -> LabelledFaces:
    """Make faces from rows (level, label, original, identity); the grey level / 100 is a point on a line."""
    for i, (level, *_) in enumerate(rows):
        Image.fromarray(np.full((8, 8, 3), level, np.uint8)).save(folder / f"{i}.png")
    table = pd.DataFrame([row[1:] for row in rows], columns=["label", "original", "identity"], dtype=object)
    table["file"], table["split"] = [f"{i}.png" for i in range(len(rows))], None
    return LabelledFaces(table, folder)


@pytest.fixture(autouse=True)
def embedded(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grey levels that were embedded; an embedding is (level / 100, 0, ..., 0)."""
    levels: list[int] = []
    if "shared" in request.fixturenames:
        return levels

    def embed(image: np.ndarray, landmarks: list) -> list[np.ndarray]:
        assert len(landmarks) == 1
        levels.append(int(image[0, 0, 0]))
        return [np.eye(1, 128)[0] * levels[-1] / 100]

    def find(image: np.ndarray, boxes: list) -> list[np.ndarray]:
        return [face_points((4, 4), 3)]

    monkeypatch.setattr(identities, "embed_faces", embed)
    monkeypatch.setattr(landmark_store, "find_landmarks", find)
    return levels


@pytest.mark.slow
def test_clusters_of_real_faces_by_hand(tmp_path: Path) -> None:
    """0, 0.4 and 0.5 are within 0.6 of each other on average, 2.0 and 2.3 are, and 1.25 is near nobody."""
    levels = [0, 200, 50, 125, 230, 40]
    faces = make(tmp_path, [(level, "REAL", f"v{level}", None) for level in levels])
    found = list(identify(faces).table["identity"])
    assert found == ["person 0", "person 1", "person 0", "person 2", "person 1", "person 0"]
    assert faces.table["identity"].isna().all()  # the input is not modified


def test_average_linkage_decides(tmp_path: Path) -> None:
    """0.5 joins 0.1 first (0.4); from 1.0 to that pair it is (0.9 + 0.5) / 2 = 0.7, beyond 0.6."""
    faces = make(tmp_path, [(level, "REAL", f"v{level}", None) for level in (10, 50, 100)])
    assert list(identify(faces).table["identity"]) == ["person 0", "person 0", "person 1"]
    assert set(identify(faces, distance=0.71).table["identity"]) == {"person 0"}


def test_a_fake_is_grouped_with_its_original_not_by_its_face(tmp_path: Path, embedded: list[int]) -> None:
    faces = make(
        tmp_path,
        [(0, "REAL", "a", None), (200, "FAKE", "a", None), (200, "REAL", "b", None), (0, "FAKE", "b", None)],
    )
    found = identify(faces)
    assert list(found.table["identity"]) == ["person 0", "person 0", "person 1", "person 1"]
    assert embedded == [0, 200]  # fakes were not embedded
    assert split(found, "identity").table["split"].notna().all()


def test_fakes_of_an_absent_original_stay_together(tmp_path: Path) -> None:
    """Their mean, 1.0, is not the person at 0; a fake without original joins the person it looks like."""
    rows = [(0, "REAL", "a", None), (20, "FAKE", "gone", None), (180, "FAKE", "gone", None)]
    rows += [(10, "FAKE", None, None)]
    found = identify(make(tmp_path, rows)).table["identity"]
    assert list(found) == ["person 0", "person 1", "person 1", "person 0"]


def test_missing_originals_are_not_one_video(tmp_path: Path) -> None:
    rows = [(0, "REAL", None, None), (200, "REAL", float("nan"), None), (0, "FAKE", pd.NA, None)]
    found = identify(make(tmp_path, rows)).table["identity"]
    assert list(found) == ["person 0", "person 1", "person 0"]


def test_given_identities_are_kept_and_merge_groups(tmp_path: Path) -> None:
    """Ann is known at 0 and at 2.5, so both groups are hers; the one called person 0 keeps the name."""
    rows = [
        (0, "REAL", "a", "Ann"),
        (10, "REAL", "b", None),
        (250, "REAL", "c", "Ann"),
        (240, "REAL", "d", None),
        (120, "REAL", "e", "person 0"),
        (180, "REAL", "f", None),
    ]
    found = identify(make(tmp_path, rows)).table["identity"]
    assert list(found) == ["Ann", "Ann", "Ann", "Ann", "person 0", "person 1"]


def test_returned_unchanged_where_all_identities_are_given(tmp_path: Path, embedded: list[int]) -> None:
    faces = make(tmp_path, [(0, "REAL", "a", 7), (0, "FAKE", "a", 7)])
    assert identify(faces) is faces
    assert embedded == []


def test_unreadable_pictures_count_as_a_person_each(tmp_path: Path) -> None:
    faces = make(tmp_path, [(0, "REAL", "a", None), (0, "REAL", "b", None), (0, "FAKE", "b", None)])
    (tmp_path / "1.png").write_bytes(b"no picture")
    calls: list[tuple[int, int]] = []
    found = identify(faces, progress=lambda *done: calls.append(done)).table["identity"]
    assert list(found) == ["person 0", "person 1", "person 1"]
    assert calls == [(1, 2), (2, 2)]


def test_distance_must_be_positive(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="positive"):
        identify(make(tmp_path, [(0, "REAL", "a", None)]), distance=0)


@pytest.mark.slow
def test_known_people_of_dfdc(shared: Path) -> None:
    """Ten large faces of each of three people of DFDC, and a fake of each of them."""
    faces = read_faces(shared / "data" / "dfdc_faces.csv")
    table = faces.table[faces.table["original_width"] >= 180]
    reals = table[table["label"] == "REAL"]
    people = reals["identity"].value_counts().index[[12, 25, 40]]
    rows = []
    for person in people:
        some = reals[reals["identity"] == person].head(10)
        fakes = table[(table["label"] == "FAKE") & table["original"].isin(some["original"])]
        rows += [*some.index, *fakes.index[:1]]
    known = faces.take(rows)
    truth = known.table["identity"].to_numpy()
    known.table["identity"] = None
    found = identify(known).table["identity"].to_numpy()
    for person in people:
        assert len(set(found[truth == person])) == 1
    assert len(set(found)) == 3
