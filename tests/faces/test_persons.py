"""Tracks are grouped by the similarity of their faces, and never two of one frame."""

from __future__ import annotations

import numpy as np
import pytest

from redeepfake_nb.faces.tracking import group_tracks


def at(*places: float) -> list[np.ndarray]:
    """Embeddings on a line, so that their distances are obvious."""
    return [np.eye(128)[0] * place for place in places]


def test_the_same_face_after_a_cut_is_one_person() -> None:
    assert group_tracks({0: at(0.0), 1: at(0.4), 2: at(5.0)}, [[0], [1], [2]]) == {0: 0, 1: 0, 2: 1}


def test_two_faces_in_one_frame_are_two_people() -> None:
    assert group_tracks({0: at(0.0), 1: at(0.0)}, [[0, 1]]) == {0: 0, 1: 1}


def test_a_similar_third_track_does_not_join_them() -> None:
    # Track 2 is close to both; it joins the closer one, and the other stays separate.
    people = group_tracks({0: at(0.0), 1: at(0.3), 2: at(0.1)}, [[0, 1], [2]])
    assert people == {0: 0, 1: 1, 2: 0}


def test_the_mean_over_all_pairs_decides() -> None:
    assert group_tracks({0: at(0.0, 0.2), 1: at(0.6, 0.8)}, []) == {0: 0, 1: 1}  # mean 0.6
    assert group_tracks({0: at(0.0, 0.2), 1: at(0.4, 0.6)}, []) == {0: 0, 1: 0}  # mean 0.4


def test_a_track_without_embeddings_is_a_person() -> None:
    assert group_tracks({0: at(0.0), 2: at(0.0)}, [[0], [1], [2]]) == {0: 0, 1: 1, 2: 0}


@pytest.mark.parametrize("tracks", [{}, {3: at(1.0)}, {3: []}])
def test_fewer_than_two_tracks(tracks: dict) -> None:
    assert group_tracks(tracks, []) == dict.fromkeys(tracks, 0)


def test_many_co_occurring_tracks_stay_separate() -> None:
    everyone = list(range(40))
    people = group_tracks({t: at(0.0) for t in everyone}, [everyone])
    assert people == {t: t for t in everyone}
