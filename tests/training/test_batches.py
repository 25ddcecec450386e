"""Training batches: determinism, pairs under the same augmentation, self-blending, unreadable pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.face_points import face_points
from PIL import Image

from redeepfake_nb.datasets import landmarks
from redeepfake_nb.datasets.augmentation import apply, draw
from redeepfake_nb.datasets.labelled_faces import LabelledFaces
from redeepfake_nb.datasets.pseudo_fakes import PSEUDO_FAKES
from redeepfake_nb.datasets.self_blending import self_blend
from redeepfake_nb.training.batches import PairBatches
from redeepfake_nb.training.recipes import Recipe, Source

POINTS = face_points((32, 32), 26)


def test_batches_depend_on_seed_and_step_alone(faces: LabelledFaces, smoke: Recipe) -> None:
    one, same = PairBatches(faces.part("train"), smoke), PairBatches(faces.part("train"), smoke)
    same.make(3, 67)
    x, y = one.make(7, 67)
    np.testing.assert_array_equal(x, same.make(7, 67)[0])
    assert not np.array_equal(x, one.make(8, 67)[0])
    assert not np.array_equal(x, PairBatches(faces.part("train"), replace(smoke, seed=1)).make(7, 67)[0])
    assert (x.shape, x.dtype) == ((8, 67, 67, 3), np.float32)
    np.testing.assert_array_equal(y[:, 0], [1, 1, 1, 1, 0, 0, 0, 0])


def test_a_fake_is_paired_with_its_original_under_the_same_augmentation(
    faces: LabelledFaces, smoke: Recipe
) -> None:
    part = faces.part("train")
    batches = PairBatches(part, smoke)
    rows = batches.rows(5)
    assert (
        part.table["original"].to_numpy()[rows[:, 0]] == part.table["original"].to_numpy()[rows[:, 1]]
    ).all()
    x, _ = batches.make(5, 67)
    rng = np.random.default_rng([smoke.seed, 2, 5])
    for i, (fake, real) in enumerate(rows):
        change = draw(rng, smoke.augmentation)
        np.testing.assert_array_equal(x[i], apply(part.image(fake), change, 67))
        np.testing.assert_array_equal(x[i + 4], apply(part.image(real), change, 67))


def test_an_epoch_sees_every_pair_once(faces: LabelledFaces, smoke: Recipe) -> None:
    batches = PairBatches(faces.part("train"), smoke)
    assert batches.per_epoch == 2
    for epoch in (0, 1):
        seen = np.concatenate([batches.rows(2 * epoch + i) for i in range(2)])
        assert len({int(fake) for fake, _ in seen}) == 8


# ------------------------------------------------------------------ self-blended


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """Images that landmarks were searched in; all get the same ones, except black images, which get none."""
    seen = []

    def find(image: np.ndarray, boxes: list) -> list[np.ndarray]:
        seen.append(image)
        assert boxes == [(0, 0, 64, 64)]
        return [POINTS if image.any() else POINTS * 10]

    monkeypatch.setattr(landmarks, "find_landmarks", find)
    return seen


def reals_of(faces: LabelledFaces) -> LabelledFaces:
    return faces.take(np.flatnonzero(faces.y == 0))


def test_self_blending_alone_needs_no_fakes(
    faces: LabelledFaces, smoke: Recipe, searched: list[np.ndarray]
) -> None:
    """Fake i of a batch is real face i blended with itself, under the same augmentation."""
    reals, recipe = reals_of(faces.part("train")), replace(smoke, self_blend=1.0)
    batches = PairBatches(reals, recipe)
    x, y = batches.make(3, 67)
    np.testing.assert_array_equal(y[:, 0], [1, 1, 1, 1, 0, 0, 0, 0])
    changes = np.random.default_rng([recipe.seed, 2, 3])
    for i, (_, real) in enumerate(batches.rows(3)):
        change = draw(changes, recipe.augmentation)
        rng = np.random.default_rng([recipe.seed, 3, 3, i])
        rng.random()
        blended, _ = self_blend(reals.image(real), POINTS, rng)
        np.testing.assert_array_equal(x[i + 4], apply(reals.image(real), change, 67))
        np.testing.assert_array_equal(x[i], apply(blended, change, 67))
        assert (x[i] != x[i + 4]).any()


def test_blends_are_deterministic(faces: LabelledFaces, smoke: Recipe, searched: list[np.ndarray]) -> None:
    reals, recipe = reals_of(faces.part("train")), replace(smoke, self_blend=1.0)
    one, same = PairBatches(reals, recipe), PairBatches(reals, recipe)
    same.make(1, 67)
    np.testing.assert_array_equal(one.make(5, 67)[0], same.make(5, 67)[0])
    assert len(searched) <= 16  # landmarks of 8 faces, found once by each


def test_a_share_of_the_fakes_is_blended(
    faces: LabelledFaces, smoke: Recipe, searched: list[np.ndarray]
) -> None:
    """The others come from the table; real faces are the same as without self-blending."""
    part = faces.part("train")
    plain, mixed = PairBatches(part, smoke), PairBatches(part, replace(smoke, self_blend=0.5))
    other = 0
    for step in range(10):
        (x, _), (z, _) = plain.make(step, 67), mixed.make(step, 67)
        np.testing.assert_array_equal(x[4:], z[4:])
        other += sum((a != b).any() for a, b in zip(x[:4], z[:4], strict=True))
    assert 10 <= other <= 30
    assert plain.landmarks is not mixed.landmarks


def test_without_self_blending_no_landmarks_are_searched(
    faces: LabelledFaces, smoke: Recipe, searched: list[np.ndarray]
) -> None:
    PairBatches(faces.part("train"), smoke).make(0, 67)
    assert searched == []


def test_a_face_without_landmarks_is_not_blended(
    smoke: Recipe, searched: list[np.ndarray], tmp_path: Path
) -> None:
    """Its own fake is used; if there is none, the next face replaces it."""
    rows = []
    for name, level, label in (("a", 0, "REAL"), ("b", 90, "FAKE"), ("c", 200, "REAL")):
        Image.fromarray(np.full((64, 64, 3), level, np.uint8)).save(tmp_path / f"{name}.png")
        rows.append((f"{name}.png", label, "v" if name < "c" else "w", None, "train"))
    columns = ["file", "label", "original", "identity", "split"]
    faces = LabelledFaces(pd.DataFrame(rows, columns=columns), tmp_path)
    calm = replace(smoke.augmentation, crop=(1.0, 1.0), flip=0.0)
    recipe = replace(smoke, batch_pairs=1, augmentation=calm)
    mixed = PairBatches(faces, replace(recipe, self_blend=0.999))
    assert [int(side.mean()) for side in mixed.make(0, 67)[0]] == [90, 0]
    alone = PairBatches(faces, replace(recipe, self_blend=1.0))
    assert [int(alone.make(step, 67)[0][1].mean()) for step in range(4)] == [200] * 4


# ------------------------------------------------------------------ other pseudo-fakes, several sources


def with_sources(faces: LabelledFaces) -> LabelledFaces:
    """Even rows' people are a source with fakes; of the others only the real faces are kept."""
    table = faces.table.assign(source=np.where(faces.table["identity"] % 2 == 0, "swaps", "street"))
    keep = (table["source"] == "swaps") | (table["label"] == "REAL")
    return faces.with_table(table[keep].reset_index(drop=True))


@pytest.mark.parametrize("kind", PSEUDO_FAKES)
def test_each_pseudo_fake_is_made_of_the_real_face_of_its_pair(
    faces: LabelledFaces, smoke: Recipe, searched: list[np.ndarray], kind: str
) -> None:
    part = reals_of(faces.part("train"))
    calm = replace(smoke.augmentation, crop=(1.0, 1.0), flip=0.0)
    batches = PairBatches(part, replace(smoke, pseudo_fakes={kind: 1.0}, augmentation=calm))
    x, _ = batches.make(2, 64)
    for i, (_, real) in enumerate(batches.rows(2)):
        np.testing.assert_array_equal(x[i + 4], part.image(real))
    assert all((x[i] != x[i + 4]).any() for i in range(4))
    if kind == "generator_traces":
        assert searched == []


def test_the_other_person_of_a_swap_is_of_the_same_source(
    faces: LabelledFaces, smoke: Recipe, searched: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    part = with_sources(reals_of(faces.part("train")))
    others = []

    def made(name, image, landmarks, rng, *, other):
        others.append((image, other[0]))
        return image, None

    monkeypatch.setattr("redeepfake_nb.training.batches.make_pseudo_fake", made)
    batches = PairBatches(part, replace(smoke, pseudo_fakes={"face_swap": 1.0}))
    for step in range(6):
        batches.make(step, 64)
    names = {part.image(i).tobytes(): part.table["source"].iloc[i] for i in range(len(part))}
    assert len(others) >= 12
    for image, other in others:
        assert names[image.tobytes()] == names[other.tobytes()]
        assert (image != other).any()


def test_a_source_without_fakes_takes_part_with_pseudo_fakes(
    faces: LabelledFaces, smoke: Recipe, searched: list[np.ndarray]
) -> None:
    part = with_sources(faces.part("train"))
    recipe = replace(
        smoke,
        sources=(Source("swaps", 1), Source("street", 1)),
        pseudo_fakes={"generator_traces": 0.1},
        augmentation=replace(smoke.augmentation, crop=(1.0, 1.0), flip=0.0),
    )
    batches = PairBatches(part, recipe)
    for step in range(4):
        rows, (x, _) = batches.rows(step), batches.make(step, 64)
        assert sorted(part.table["source"].iloc[rows[:, 0]]) == ["street", "street", "swaps", "swaps"]
        for i, (fake, real) in enumerate(rows):
            np.testing.assert_array_equal(x[i + 4], part.image(real))
            assert (x[i] != x[i + 4]).any()
            assert (fake == real) == (part.table["source"].iloc[real] == "street")


def test_another_pair_is_drawn_where_most_faces_have_no_landmarks(
    smoke: Recipe, searched: list[np.ndarray], tmp_path: Path
) -> None:
    """Three of twelve faces have landmarks; every batch of swaps is made of these."""
    rows = []
    for i in range(12):
        Image.fromarray(np.full((64, 64, 3), 60 * i if i < 4 else 0, np.uint8)).save(tmp_path / f"{i}.png")
        rows.append((f"{i}.png", "REAL", None, None, "train", "street"))
    columns = ["file", "label", "original", "identity", "split", "source"]
    faces = LabelledFaces(pd.DataFrame(rows, columns=columns), tmp_path)
    calm = replace(smoke.augmentation, crop=(1.0, 1.0), flip=0.0)
    recipe = replace(
        smoke, sources=(Source("street"),), pseudo_fakes={"face_swap": 1.0}, augmentation=calm, batch_pairs=2
    )
    batches = PairBatches(faces, recipe)
    for step in range(25):
        x, _ = batches.make(step, 64)
        assert {int(face.max()) for face in x[2:]} <= {60, 120, 180}


def test_a_mixture_replaces_a_pair_that_cannot_be_read(
    faces: LabelledFaces, smoke: Recipe, tmp_path: Path
) -> None:
    part = faces.part("train").with_table(faces.part("train").table.assign(source="swaps"))
    for name in part.table["file"]:
        (tmp_path / name).write_bytes((faces.root / name).read_bytes())
    gone = str(part.table["file"].iloc[0])
    (tmp_path / gone).write_bytes(b"no picture")
    batches = PairBatches(LabelledFaces(part.table, tmp_path), replace(smoke, sources=(Source("swaps"),)))
    for step in range(8):
        assert batches.make(step, 64)[0].shape == (8, 64, 64, 3)
    assert list(batches.unreadable) == [gone]


# ------------------------------------------------------------------ unreadable


def test_a_damaged_picture_is_replaced_by_the_next_pair(
    faces: LabelledFaces, smoke: Recipe, tmp_path: Path
) -> None:
    for name in faces.table["file"]:
        (tmp_path / name).write_bytes((faces.root / name).read_bytes())
    (tmp_path / "3-FAKE.png").write_bytes(b"no picture")
    part = LabelledFaces(faces.table, tmp_path).part("train")
    whole, damaged = PairBatches(faces.part("train"), smoke), PairBatches(part, smoke)
    met = 0
    for step in range(4):
        rows = [int(fake) for fake, _ in whole.rows(step)]
        (x, _), (z, _) = whole.make(step, 67), damaged.make(step, 67)
        for i, row in enumerate(rows):
            same = (x[[i, i + 4]] == z[[i, i + 4]]).all()
            assert same == (part.table["file"][row] != "3-FAKE.png")
            met += not same
    assert met == 2  # once in each epoch
    assert list(damaged.unreadable) == ["3-FAKE.png"]


def test_no_faces_to_train_on(faces: LabelledFaces, smoke: Recipe, tmp_path: Path) -> None:
    part = faces.part("train")
    with pytest.raises(ValueError, match="whose fakes are all pseudo-fakes needs none"):
        PairBatches(reals_of(part), smoke)
    with pytest.raises(ValueError, match="no real faces"):
        PairBatches(part.take(np.flatnonzero(part.y)), replace(smoke, self_blend=1.0))
    with pytest.raises(ValueError, match="no pair"):
        PairBatches(LabelledFaces(part.table, tmp_path), smoke).make(0, 67)
