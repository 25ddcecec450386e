"""Degradation of a face moves the logit less: the ridge regression by hand, and small networks end to end."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import keras
import numpy as np
import pandas as pd
import pytest

from redeepfake_nb import Preprocessing, build_model
from redeepfake_nb.datasets.augmentation import apply, draw
from redeepfake_nb.datasets.labelled_faces import LabelledFaces
from redeepfake_nb.models.architectures import clip_vit
from redeepfake_nb.models.architectures.builder import Head
from redeepfake_nb.training import invariance
from redeepfake_nb.training.invariance import (
    clip_columns,
    drawn_evenly,
    fit_invariance,
    reduce_degradation_shift,
)


def test_one_feature_undoes_what_degradation_does_to_another() -> None:
    # Two faces; the second feature has mean 1 and deviation 1. Degradation moves the features by 1 and 2, and
    # the logit 3 x by 3. So (2 c - 3)^2 + c^2 + c^2 is least at c = 6 / (4 + 1 + 1) = 1.
    plain = np.array([[5.0, 0.0], [7.0, 2.0]], np.float32)
    kernel, bias = np.array([[3.0], [0.0]], np.float32), np.array([0.5], np.float32)
    found = fit_invariance(
        kernel, bias, plain, [plain + np.array([1, 2])], slice(1, None), keep=1.0, ridge=1.0
    )
    np.testing.assert_allclose(found[0], [[3.0], [-1.0]], atol=1e-4)
    np.testing.assert_allclose(found[1], [1.5], atol=1e-4)  # the mean of both faces' logits stays
    np.testing.assert_array_equal(kernel, [[3.0], [0.0]])


def test_each_logit_is_fitted_to_its_own_faces() -> None:
    # The first two faces move by (1, 2), which is undone in the first logit; the last two by (0, 2), where
    # nothing is to be undone in the second.
    plain = np.array([[5.0, 0.0], [7.0, 2.0], [4.0, 0.0], [3.0, 2.0]], np.float32)
    moved = plain + np.array([[1, 2], [1, 2], [0, 2], [0, 2]])
    weights = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], float)
    kernel = np.array([[3.0, 3.0], [0.0, 0.0]], np.float32)
    found, _ = fit_invariance(
        kernel, np.zeros(2, np.float32), plain, [moved], slice(1, None), weights, keep=1.0, ridge=1.0
    )
    np.testing.assert_allclose(found, [[3.0, 3.0], [-1.0, 0.0]], atol=1e-4)


def test_several_ways_of_degradation_count_alike() -> None:
    plain = np.array([[5.0, 0.0], [7.0, 2.0]], np.float32)
    kernel, bias = np.array([[3.0], [0.0]], np.float32), np.zeros(1, np.float32)
    one = fit_invariance(kernel, bias, plain, [plain + np.array([1, 2])], slice(1, None))
    three = fit_invariance(kernel, bias, plain, [plain + np.array([1, 2])] * 3, slice(1, None))
    np.testing.assert_allclose(three[0], one[0], rtol=1e-5)


def test_every_logit_needs_a_face() -> None:
    plain, weights = np.ones((2, 2), np.float32), np.array([[1.0, 0.0], [1.0, 0.0]])
    with pytest.raises(ValueError, match="some logit has no face"):
        fit_invariance(np.ones((2, 2)), np.zeros(2), plain, [plain], slice(1, None), weights)


def test_faces_are_drawn_evenly() -> None:
    table = pd.DataFrame(
        [("a", "a", "REAL")] * 50
        + [("a", "a", "FAKE")] * 50
        + [("b", "x", "REAL")] * 30
        + [("b", "y", "FAKE")] * 3,
        columns=["collection", "source", "label"],
    )
    rows = drawn_evenly(table, 40, np.random.default_rng(0))
    counts = table.iloc[rows].value_counts().to_dict()
    assert counts == {
        ("a", "a", "REAL"): 10,
        ("a", "a", "FAKE"): 10,
        ("b", "x", "REAL"): 10,
        ("b", "y", "FAKE"): 3,
    }
    assert len(set(rows)) == 33
    # Without collections or sources.
    plain = table[["label"]]
    rows = drawn_evenly(plain, 20, np.random.default_rng(0))
    assert plain.iloc[rows]["label"].value_counts().to_dict() == {"REAL": 10, "FAKE": 10}


def test_only_clip_can_undo_degradation(faces: LabelledFaces) -> None:
    model = build_model("EfficientNetLite0", input_size=64)
    with pytest.raises(ValueError, match="only weights of CLIPViTB16's features can undo degradation"):
        reduce_degradation_shift(model, faces.part("train"), Preprocessing(input_size=64), 8)


@pytest.mark.parametrize(("experts", "clip_units"), [(1, 0), (2, 0), (2, 4)])
def test_a_network_is_moved_less_by_degradation(
    experts: int, clip_units: int, faces: LabelledFaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clip_vit, "LAYERS", 1)
    # One kind of degradation, always as strong: sixteen faces of noise are few for all of them.
    off = dict.fromkeys(("colour", "blur", "noise", "jpeg", "sharpen", "video"), 0.0)
    halved = replace(invariance.DEGRADATION, **off, rescale=1.0, rescale_to=(0.5, 0.5))
    monkeypatch.setattr(invariance, "DEGRADATION", halved)
    monkeypatch.setattr(invariance, "fit_invariance", partial(fit_invariance, ridge=1.0))
    head = Head(units=(), dropout=0, experts=experts, clip_units=clip_units)
    model = build_model("EfficientNetLite0+CLIPViTB16", head=head, input_size=64)
    first = model.get_layer("evidence").output.shape[-1]
    assert clip_columns(model) == slice(first, first + 2304)
    train = faces.part("train")
    images = [train.image(i) for i in range(len(train))]
    rng = np.random.default_rng(9)
    # The logits that are linear in the features; the gate's weights may move with degradation.
    head_layer = "expert_logits" if experts > 1 else "logit"
    logits_of = keras.Model(model.input, model.get_layer(head_layer).output)
    plain = np.stack(images).astype(np.float32)
    degraded = np.stack([apply(image, draw(rng, halved), 64) for image in images]).astype(np.float32)

    def moved() -> tuple[float, np.ndarray]:
        before, after = (np.asarray(logits_of.predict_on_batch(x)) for x in (plain, degraded))
        return float(np.abs(after - before).mean()), before

    first, logits = moved()
    weights = {layer.name: layer.get_weights() for layer in model.layers}
    assert reduce_degradation_shift(model, train, Preprocessing(input_size=64), 16) == 16
    second, steadier = moved()
    assert second < 0.75 * first
    for k in range(experts):
        assert np.corrcoef(logits[:, k], steadier[:, k])[0, 1] > 0.9
    changed = {name for name, old in weights.items() if not same(old, model.get_layer(name).get_weights())}
    assert changed == {head_layer}


def same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_a_face_that_cannot_be_read_is_left_out(
    faces: LabelledFaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clip_vit, "LAYERS", 1)
    model = build_model("CLIPViTB16", input_size=64)
    table = faces.part("train").table.reset_index(drop=True)
    table.loc[0, "file"] = "gone.png"
    broken = faces.with_table(table)
    assert reduce_degradation_shift(model, broken, Preprocessing(input_size=64), 16) == 15
    with pytest.raises(ValueError, match="2 training faces or more, not 1"):
        reduce_degradation_shift(model, broken, Preprocessing(input_size=64), 1)
