"""Training learns, resumes where it was killed, and keeps the function it starts from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import keras
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from redeepfake_nb import Head, build_model, load_model, training
from redeepfake_nb.augmentation import apply, draw
from redeepfake_nb.datasets import LabelledFaces
from redeepfake_nb.export import About, export, round_to_half, train_and_export
from redeepfake_nb.recipes import Recipe, Stage
from redeepfake_nb.training import PairBatches, measure_batchnorm, train


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> LabelledFaces:
    """16 training and 8 val "faces" of 64 px: coarse noise is real, the same noise blurred is fake."""
    folder, rows = tmp_path_factory.mktemp("faces"), []
    for i in range(12):
        noise = np.random.default_rng(i).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        real = cv2.resize(noise, (64, 64), interpolation=cv2.INTER_NEAREST)
        for label, image in (("REAL", real), ("FAKE", cv2.GaussianBlur(real, (0, 0), 3))):
            name = f"{i}-{label}.png"
            Image.fromarray(image).save(folder / name)
            rows.append((name, label, f"v{i}", i, "train" if i < 8 else "val", 60 + i))
    columns = ["file", "label", "original", "identity", "split", "original_width"]
    return LabelledFaces(pd.DataFrame(rows, columns=columns), folder)


@pytest.fixture(scope="module")
def smoke(root: Path) -> Recipe:
    return Recipe.read(root / "models" / "recipes" / "smoke.toml")


@pytest.fixture(scope="module")
def brief(smoke: Recipe) -> Recipe:
    """Two short stages, for the tests of resuming."""
    stages = (Stage(67, 12, 1e-2, 2), Stage(83, 8, 1e-2, 1))
    return replace(smoke, name="brief", stages=stages, evaluate_every=4, checkpoint_every=3)


def tiny_network(backbone: str, *, head: Head, input_size: int, weights: str | None) -> keras.Model:
    """Stands in for ``build_model`` where only the run around the network is tested."""
    image = keras.Input((input_size, input_size, 3))
    x = keras.layers.Conv2D(4, 5, 3)(keras.layers.Rescaling(1 / 127.5, -1.0)(image))
    x = keras.layers.Activation("relu")(keras.layers.BatchNormalization(name="norm_0")(x))
    return keras.Model(image, keras.layers.Dense(1)(keras.layers.GlobalAveragePooling2D()(x)))


def use_tiny_network(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(training, "build_model", tiny_network)
    # The average follows every step, so that it can tell one run from another within few.
    patch.setattr(training.Run, "_AVERAGE_EVERY", 1)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    use_tiny_network(monkeypatch)


# ------------------------------------------------------------------ batches


def test_batches_depend_on_seed_and_step_alone(faces: LabelledFaces, smoke: Recipe) -> None:
    one, same = PairBatches(faces.part("train"), smoke), PairBatches(faces.part("train"), smoke)
    same.make(3, 67)
    x, y = one.make(7, 67)
    np.testing.assert_array_equal(x, same.make(7, 67)[0])
    assert not np.array_equal(x, one.make(8, 67)[0])
    assert not np.array_equal(x, PairBatches(faces.part("train"), replace(smoke, seed=1)).make(7, 67)[0])
    assert (x.shape, x.dtype) == ((8, 67, 67, 3), np.float32)
    np.testing.assert_array_equal(y[:, 0], [1, 1, 1, 1, 0, 0, 0, 0])


def test_a_fake_stands_with_its_own_original_under_the_same_change(
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


def test_batches_made_ahead_come_in_order(faces: LabelledFaces, smoke: Recipe) -> None:
    batches = PairBatches(faces.part("train"), smoke)
    found = list(batches.ahead(2, 9, 67))
    assert [step for step, _ in found] == list(range(2, 9))
    np.testing.assert_array_equal(found[4][1][0], batches.make(6, 67)[0])


# ------------------------------------------------------------------ start


def test_measuring_statistics_keeps_the_function(rng: np.random.Generator) -> None:
    model = build_model("FaceResNet", input_size=83, weights="face_recognition")
    x = rng.uniform(0, 255, (8, 83, 83, 3)).astype(np.float32)
    before = model.predict_on_batch(x)
    neutral = model.get_layer("norm_3").get_weights()[2]
    measure_batchnorm(model, x, batch=4)
    np.testing.assert_allclose(model.predict_on_batch(x), before, rtol=1e-3, atol=1e-3)
    layer = model.get_layer("norm_3")
    assert not np.array_equal(layer.get_weights()[2], neutral)
    inputs = keras.Model(model.inputs, layer.input).predict_on_batch(x)
    np.testing.assert_allclose(layer.get_weights()[2], inputs.mean((0, 1, 2)), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(layer.get_weights()[3], inputs.var((0, 1, 2)), rtol=1e-2, atol=1e-3)


# ------------------------------------------------------------------ run


def test_smoke_recipe_learns_and_exports(faces: LabelledFaces, smoke: Recipe, tmp_path: Path) -> None:
    steps = []
    path = train_and_export(
        replace(smoke, mirror=True),
        faces,
        tmp_path,
        progress=lambda step, of, loss: steps.append((step, of)),
        resamples=20,
    )
    assert steps == [(i + 1, 30) for i in range(30)]
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "checkpoint.npz",
        "history.csv",
        "smoke.json",
        "smoke.keras",
        "smoke.md",
    ]
    classifier = load_model(path)
    metrics = classifier.card.metrics
    assert classifier.card.mirror
    assert metrics["auc"]["value"] == 1
    assert metrics["training"]["identities"] == 8
    assert metrics["groups"] == 4
    assert classifier.card.min_face == 60
    assert classifier.explain_layer == "evidence"
    history = pd.read_csv(tmp_path / "history.csv")
    assert list(history["step"]) == [10, 20, 30]
    assert list(history["input_size"]) == [67, 67, 83]
    text = (tmp_path / "smoke.md").read_text()
    assert "| auc | 1.0000 (1.0000 to 1.0000) |" in text
    assert "8 faces of 4 people" in text


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def whole(
    faces: LabelledFaces, brief: Recipe, tmp_path_factory: pytest.TempPathFactory
) -> tuple[training.TrainingResult, dict[str, np.ndarray]]:
    """An unbroken run, and the checkpoint at its end."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        use_tiny_network(patch)
        return train(brief, faces.part("train"), faces.part("val"), folder), checkpoint(folder)


def checkpoint(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "checkpoint.npz") as saved:
        return {name: saved[name] for name in saved.files if name != "state"}


def test_training_moves_the_weights(whole: tuple, brief: Recipe, tiny: None) -> None:
    """What the tests of resuming compare is not the start."""
    result, arrays = whole
    start = training._build(brief, 67, None, False).get_weights()
    assert np.abs(result.model.get_weights()[0] - start[0]).max() > 0.01
    assert np.abs(arrays["model_0"] - arrays["average_0"]).max() > 1e-4


@pytest.mark.parametrize("at", [2, 5, 8, 17], ids=["no checkpoint yet", "early", "later", "second stage"])
def test_a_killed_run_ends_like_an_unbroken_one(
    faces: LabelledFaces, brief: Recipe, tiny: None, tmp_path: Path, whole: tuple, at: int
) -> None:
    def kill(step: int, steps: int, loss: float) -> None:
        if step == at:
            raise Killed

    sets = faces.part("train"), faces.part("val")
    with pytest.raises(Killed):
        train(brief, *sets, tmp_path, progress=kill)
    seen = []
    resumed = train(brief, *sets, tmp_path, progress=lambda step, *_: seen.append(step))
    # Checkpoints are written every third step and at the end of the first stage, step 12.
    assert seen == list(range(at // 3 * 3 + 1, 21))
    unbroken, arrays = whole
    for one, other in zip(unbroken.history, resumed.history, strict=True):
        # The loss is averaged over the steps that this process saw.
        assert {**one, "train_loss": 0} == pytest.approx({**other, "train_loss": 0}, abs=1e-4)
    for name, values in checkpoint(tmp_path).items():
        np.testing.assert_allclose(values, arrays[name], rtol=1e-3, atol=1e-4, err_msg=name)
    for one, other in zip(unbroken.model.get_weights(), resumed.model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


def test_a_finished_run_is_not_run_again(
    faces: LabelledFaces, brief: Recipe, tiny: None, tmp_path: Path
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("a step was taken")

    sets = faces.part("train"), faces.part("val")
    short = replace(brief, stages=(Stage(67, 4, 1e-2, 1),))
    first = train(short, *sets, tmp_path)
    again = train(short, *sets, tmp_path, progress=never)
    assert (again.step, again.history) == (first.step, first.history)
    for one, other in zip(first.model.get_weights(), again.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_checkpoint_of_another_recipe_is_refused(
    faces: LabelledFaces, brief: Recipe, tiny: None, tmp_path: Path
) -> None:
    sets = faces.part("train"), faces.part("val")
    short = replace(brief, stages=(Stage(67, 2, 1e-3, 1),))
    train(short, *sets, tmp_path)
    with pytest.raises(ValueError, match="another recipe"):
        train(replace(short, seed=9), *sets, tmp_path)
    assert train(replace(short, seed=9), *sets, tmp_path, resume=False).step == 2


def test_patience_ends_a_run(faces: LabelledFaces, brief: Recipe, tiny: None, tmp_path: Path) -> None:
    """Two evaluations that are no better than the first end it: at the latest where AUC is 1."""
    recipe = replace(
        brief, stages=(Stage(67, 200, 1e-2, 1),), evaluate_every=2, patience=2, checkpoint_every=100
    )
    result = train(recipe, faces.part("train"), faces.part("val"), tmp_path)
    scores = [line["val_auc"] for line in result.history]
    assert result.step == 2 * len(scores) < 200
    assert scores.index(max(scores)) == len(scores) - 3
    assert checkpoint(tmp_path)["best_0"].shape == (5, 5, 3, 4)


def test_the_average_does_not_share_memory_with_the_model(
    faces: LabelledFaces, brief: Recipe, tiny: None, tmp_path: Path
) -> None:
    run = training.Run(brief, faces.part("train"), faces.part("val"), tmp_path)
    run.enter(0, None)
    for kept in run.average:
        kept += 1
    for kept, live in zip(run.average, run.model.get_weights(), strict=True):
        np.testing.assert_allclose(kept - 1, live, atol=1e-5)


# ------------------------------------------------------------------ export


@pytest.mark.parametrize(
    ("backbone", "convolution", "normalisation"),
    [("FaceResNet", "conv_0", "norm_0"), ("MobileNetV2", "Conv1", "bn_Conv1")],
)
def test_rounding_halves_precision_but_spares_normalisations(
    backbone: str, convolution: str, normalisation: str
) -> None:
    model = build_model(backbone, input_size=67, head=Head(()))
    model.get_layer(normalisation).set_weights([np.full(32, 1e-9)] * 4)
    round_to_half(model)
    kernel = model.get_layer(convolution).get_weights()[0]
    np.testing.assert_array_equal(kernel, kernel.astype(np.float16).astype(np.float32))
    assert model.get_layer(normalisation).get_weights()[3][0] == pytest.approx(1e-9)


def test_export_needs_both_splits(faces: LabelledFaces, smoke: Recipe, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="both splits"):
        train_and_export(smoke, faces.part("train"), tmp_path)


def test_export_describes_what_it_is_told(faces: LabelledFaces, brief: Recipe, tmp_path: Path) -> None:
    size = brief.stages[-1].input_size
    model = tiny_network("any", head=Head(()), input_size=size, weights=None)
    result = training.TrainingResult(model, [], 0)
    path = export(
        result,
        brief,
        faces.part("train"),
        faces.part("val"),
        tmp_path / "m.keras",
        about=About("mine", licence="MIT", training_data="Noise."),
        resamples=20,
    )
    card = load_model(path).card
    assert (card.name, card.licence, card.training_data) == ("mine", "MIT", "Noise.")
    assert card.preprocessing.input_size == size
    assert card.explain_layer is None
    assert "# mine 1" in path.with_suffix(".md").read_text()
