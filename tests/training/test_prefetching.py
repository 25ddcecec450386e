"""Batches made ahead of time: the same from a thread and from processes, which report what they find."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from redeepfake_nb.datasets.labelled_faces import LabelledFaces
from redeepfake_nb.datasets.landmarks import LandmarkStore
from redeepfake_nb.training.batches import PairBatches
from redeepfake_nb.training.prefetching import prefetched
from redeepfake_nb.training.recipes import Recipe


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_come_in_order_whoever_makes_them(faces: LabelledFaces, smoke: Recipe, workers: int) -> None:
    pairs = PairBatches(faces.part("train"), smoke)
    found = list(prefetched(pairs, 2, 9, 67, workers))
    assert [step for step, _ in found] == list(range(2, 9))
    for step, (x, y) in found:
        expected = pairs.make(step, 67)
        assert x.dtype == np.float32
        np.testing.assert_array_equal(x, expected[0])
        np.testing.assert_array_equal(y, expected[1])


def test_what_processes_find_out_is_kept(faces: LabelledFaces, smoke: Recipe, tmp_path: Path) -> None:
    part = faces.part("train")
    lost = str(part.table["file"].iloc[0])
    table = part.table.assign(file=part.table["file"].where(part.table["file"] != lost, "absent.png"))
    part = part.with_table(table)
    blended = replace(smoke, self_blend=1.0)
    pairs = PairBatches(part, blended, LandmarkStore(part, tmp_path / "landmarks.npz"))
    own = PairBatches(part, blended)
    for step, (x, _) in prefetched(pairs, 0, 6, 67, 1):
        np.testing.assert_array_equal(x, own.make(step, 67)[0])
    assert pairs.unreadable == own.unreadable
    found = own.landmarks.take_new()
    assert found
    assert pairs.landmarks.take_new().keys() == found.keys()
    pairs.landmarks.save()
    assert (tmp_path / "landmarks.npz").is_file()


def test_a_run_that_ends_early_does_not_wait_for_batches(faces: LabelledFaces, smoke: Recipe) -> None:
    pairs = PairBatches(faces.part("train"), smoke)
    made: list[int] = []
    make = pairs.make

    def counted(step: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        made.append(step)
        return make(step, size)

    pairs.make = counted  # type: ignore[method-assign]
    ahead = prefetched(pairs, 0, 1000, 67)
    next(ahead)
    ahead.close()
    assert len(made) < 6


def test_a_negative_number_of_processes_is_an_error(faces: LabelledFaces, smoke: Recipe) -> None:
    with pytest.raises(ValueError, match="workers must be 0 or more, not -1"):
        next(prefetched(PairBatches(faces.part("train"), smoke), 0, 1, 67, -1))
