"""Several models are joined to one file, which is calibrated on val, and whose card names the parts."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from helpers.light_and_dark import light_and_dark_faces

from redeepfake_nb import Card, Classifier, Head, Preprocessing, build_model, load_model
from redeepfake_nb.datasets.labelled_faces import LabelledFaces
from redeepfake_nb.evaluation.calibration import fit_temperature
from redeepfake_nb.evaluation.scoring import score_all
from redeepfake_nb.models.architectures import clip_vit
from redeepfake_nb.training.invariance import clip_columns
from redeepfake_nb.training.joining import join_and_export
from redeepfake_nb.training.recipes import Recipe, Stage


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> LabelledFaces:
    return light_and_dark_faces(tmp_path_factory.mktemp("faces"))


def test_joined_networks_are_written_as_one_model(faces: LabelledFaces, tmp_path: Path) -> None:
    parts = []
    for seed, backbone in enumerate(("EfficientNetLite0", "FaceResNet")):
        model = build_model(backbone, input_size=96)
        rng = np.random.default_rng(seed)
        model.layers[-1].set_weights([rng.normal(0, 0.05, w.shape) for w in model.layers[-1].get_weights()])
        card = Card(
            name=backbone,
            preprocessing=Preprocessing(input_size=96),
            temperature=1.0 + seed,
            mirror=True,
            metrics={"training": {"recipe": f"r{seed}", "recipe_digest": "abc", "steps": 7}},
        )
        parts.append(Classifier(model, card))
    written = load_model(join_and_export(parts, 96, faces, tmp_path / "both.keras", resamples=20))
    assert written.card.mirror
    assert written.card.name == "EfficientNetLite0 + FaceResNet"
    assert written.card.architecture.startswith("EfficientNetLite0+FaceResNet, ")
    assert written.explain_layer == "evidence"
    assert [p["recipe"] for p in written.card.metrics["training"]["parts"]] == ["r0", "r1"]
    text = (tmp_path / "both.md").read_text()
    assert "* recipe `r0` (settings `abc`), 7 steps\n* recipe `r1`" in text
    # Written weights are rounded, so the mean is only approximate; each part is first calibrated on val.
    val = faces.part("val")
    shares = []
    for part in parts:
        logits = score_all([part], val).logits[0]
        shares.append(logits / fit_temperature(val.y, logits))
    expected = (shares[0] + shares[1]) / 2
    found = score_all([written], val).logits[0]
    assert np.corrcoef(found, expected)[0, 1] > 0.99  # but for the shift of the calibration


def test_joined_networks_name_kinds_with_a_recipe(faces: LabelledFaces, tmp_path: Path) -> None:
    kinds = faces.table["original"].map(lambda name: ("generated", "edited")[int(name[1:]) % 2])
    table = faces.table.assign(kind=kinds.where(faces.y == 1, None))
    twice = table[table["split"] == "train"]  # six fakes of each kind, of which five are needed
    named = faces.with_table(pd.concat([table, twice], ignore_index=True))
    backbones = ("EfficientNetLite0", "EfficientNetLite1")
    card = Card(preprocessing=Preprocessing(input_size=64), mirror=True)
    parts = [Classifier(build_model(backbone, input_size=64), card) for backbone in backbones]
    recipe = Recipe("r", backbones[0], (Stage(96, 1, 1e-3),))
    steps: list[str] = []
    options = {"weights": (2, 1), "mirror": False, "recipe": recipe, "resamples": 20, "log": steps.append}
    written = load_model(join_and_export(parts, 64, named, tmp_path / "both.keras", **options))
    assert not written.card.mirror
    assert written.card.kinds == ("generated", "edited")
    assert "Telling kinds of fakes apart" in steps
    assert set(written.card.metrics["kinds"]["confusion"]) == set(written.card.kinds)
    score = written.score(np.stack([named.image(0)]).astype(np.float32))[0]
    assert sum(score.kinds.values()) == pytest.approx(1, abs=1e-5)
    for weights in written.saved_model.get_layer("kinds").get_weights():
        np.testing.assert_array_equal(weights, weights.astype(np.float16))


def test_both_splits_are_needed(faces: LabelledFaces, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="both splits"):
        join_and_export([], 96, faces.part("train"), tmp_path / "m.keras")


def of_size(
    backbone: str, size: int, seed: int, like: Classifier | None = None, clip_units: int = 0, **card
) -> Classifier:
    """A network with a random head; ``like``: the same one below it."""
    model = build_model(backbone, head=Head(units=(), clip_units=clip_units), input_size=size)
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if layer.name in ("logit", "clip_hidden"):
            layer.set_weights([rng.normal(0, 0.05, w.shape) for w in layer.get_weights()])
        elif like is not None and layer.weights:
            layer.set_weights(like.keras_model.get_layer(layer.name).get_weights())
    return Classifier(model, Card(name=f"part {seed}", preprocessing=Preprocessing(input_size=size), **card))


@pytest.mark.slow
@pytest.mark.parametrize("clip_units", [0, 3])
def test_a_gate_weights_the_experts_of_each_face(
    clip_units: int, faces: LabelledFaces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gate tells dark faces from light ones, and each head is calibrated on the faces it is given."""
    monkeypatch.setattr(clip_vit, "LAYERS", 1)
    first = of_size("CLIPViTB16", 64, 0, clip_units=clip_units, shift=0.7)
    # A shift of a part's logit is no shift of the gate.
    parts = [of_size("EfficientNetLite0", 64, 2), first, of_size("CLIPViTB16", 64, 1, like=first)]
    body = keras.Model(first.keras_model.input, first.keras_model.get_layer("clip_features").output)
    val = faces.part("val")
    dark = np.array([val.image(i).mean() < 120 for i in range(len(val))])
    files = []
    for name, members in (("dark", dark), ("light", ~dark)):
        pixels = np.stack([val.image(int(i)) for i in np.flatnonzero(members)]).astype(np.float32)
        files.append(tmp_path / f"{name}.npz")
        # As a probe writes them: batches of features.
        np.savez(files[-1], features=np.repeat(body.predict_on_batch(pixels)[None], 3, axis=0))
    shares = [[1, 2, 0], [1, 0, 4]]
    options = {"weights": shares, "gate": files, "prior": [3, 1], "logit_scale": [1, 0.5]}
    path = join_and_export(parts, 64, faces, tmp_path / "mixture.keras", resamples=20, **options)
    written = load_model(path)
    assert written.card.architecture.startswith("EfficientNetLite0+CLIPViTB16, ")
    assert written.explain_layer == "evidence"
    training = written.card.metrics["training"]
    assert training["experts"] == [[0.3333, 0.6667, 0.0], [0.2, 0.0, 0.8]]
    assert (training["prior"], training["logit_scale"]) == ([0.75, 0.25], [1, 0.5])
    assert "2 experts" in path.with_suffix(".md").read_text()

    names = [layer.name for layer in written.keras_model.layers]
    gate = keras.Model(written.keras_model.input, written.keras_model.get_layer("gate").output)
    given = gate.predict_on_batch(np.stack([val.image(i) for i in range(len(val))]).astype(np.float32))
    np.testing.assert_allclose(given.sum(1), 1, atol=1e-5)
    assert given[dark, 0].min() > given[~dark, 0].max()
    logits = [score_all([part], val).logits[0] for part in parts]
    taken = [np.ones(len(val)), given[:, 0], given[:, 1]]
    alike = [z / fit_temperature(val.y, z, w) for z, w in zip(logits, taken, strict=True)]
    experts = np.stack([(alike[0] + 2 * alike[1]) / 3, (alike[0] + 4 * alike[2]) / 5], axis=1)
    expected = (experts * given * [1, 0.5]).sum(1)
    found = score_all([written], val).logits[0]
    slope, shift = np.polyfit(expected, found, 1)
    np.testing.assert_allclose(found, slope * expected + shift, atol=0.02 * np.ptp(found))
    assert slope == pytest.approx(1, abs=0.02)
    assert names[-1] == "logit"

    np.savez(tmp_path / "narrow.npz", features=np.random.default_rng(0).normal(size=(2, 4, 8)))
    with pytest.raises(ValueError, match="has 8 features, and CLIPViTB16 has 2304"):
        join_and_export(parts, 64, faces, path, **{**options, "gate": [tmp_path / "narrow.npz"] * 2})


@pytest.mark.slow
def test_degradation_is_undone_by_clip_alone(
    faces: LabelledFaces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clip_vit, "LAYERS", 1)
    parts = [of_size("EfficientNetLite0", 64, 2), of_size("CLIPViTB16", 64, 0)]
    files = [
        join_and_export(parts, 64, faces, tmp_path / f"{n}.keras", resamples=20, degraded_faces=n)
        for n in (0, 8)
    ]
    plain, corrected = (load_model(path) for path in files)
    assert "degraded_faces" not in plain.card.metrics["training"]
    count = corrected.card.metrics["training"]["degraded_faces"]
    assert 2 <= count <= 8
    assert f"on {count} training faces" in files[1].with_suffix(".md").read_text()
    kernels = [model.keras_model.get_layer("logit").kernel.numpy() for model in (plain, corrected)]
    clip = clip_columns(corrected.keras_model)
    assert not np.array_equal(kernels[0][clip], kernels[1][clip])
    np.testing.assert_array_equal(kernels[0][: clip.start], kernels[1][: clip.start])

    networks = [of_size("EfficientNetLite0", 64, 0), of_size("EfficientNetLite1", 64, 1)]
    with pytest.raises(ValueError, match="only weights of CLIPViTB16's features can undo degradation"):
        join_and_export(networks, 64, faces, tmp_path / "m.keras", degraded_faces=8)
    for count in (1, -3):
        with pytest.raises(ValueError, match="degradation needs 2 training faces or more"):
            join_and_export(parts, 64, faces, tmp_path / "m.keras", degraded_faces=count)


def test_weights_and_gate_belong_together(faces: LabelledFaces, tmp_path: Path) -> None:
    parts = [of_size("EfficientNetLite0", 64, 0), of_size("EfficientNetLite1", 64, 1)]
    path = tmp_path / "m.keras"
    for option in ("prior", "logit_scale"):
        with pytest.raises(ValueError, match="there is no gate"):
            join_and_export(parts, 64, faces, path, **{option: [3, 1]})
    with pytest.raises(ValueError, match="need a gate"):
        join_and_export(parts, 64, faces, path, weights=[[1, 1], [1, 2]])
    for weights in (None, [1, 2], [[1, 2]]):
        with pytest.raises(ValueError, match="between 2 experts needs as many lists of weights"):
            join_and_export(parts, 64, faces, path, weights=weights, gate=["a.npz", "b.npz"])
    with pytest.raises(ValueError, match="holds no features of a probe"):
        join_and_export(parts, 64, faces, path, weights=[[1, 2], [1, 0]], gate=["a.npz", "b.npz"])
    with pytest.raises(ValueError, match="classifier 2 has no weight in any expert"):
        join_and_export(parts, 64, faces, path, weights=[[1, 0], [1, 0]], gate=["a.npz", "b.npz"])
    options = {"weights": [[1, 2], [1, 0]], "gate": ["a.npz", "b.npz"]}
    with pytest.raises(ValueError, match="need a positive scale each"):
        join_and_export(parts, 64, faces, path, logit_scale=[1], **options)
    for name in "ab":
        np.savez(tmp_path / f"{name}.npz", features=np.random.default_rng(0).normal(size=(2, 4, 8)))
    gate = [tmp_path / "a.npz", tmp_path / "b.npz"]
    with pytest.raises(ValueError, match="reads the features of CLIPViTB16"):
        join_and_export(parts, 64, faces, path, weights=[[1, 2], [1, 0]], gate=gate)
    assert not path.exists()
