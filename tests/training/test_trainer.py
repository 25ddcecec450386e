"""Training: a run learns, resumes exactly, stops early, and copes with unreadable pictures."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from helpers.face_points import face_points

from redeepfake_nb import Head, build_model, load_model
from redeepfake_nb.datasets import landmarks
from redeepfake_nb.datasets.labelled_faces import LabelledFaces
from redeepfake_nb.training import network_start, trainer, validation
from redeepfake_nb.training.exporter import About, export, round_weights, train_and_export
from redeepfake_nb.training.recipes import Recipe, Source, Stage
from redeepfake_nb.training.trainer import train


@pytest.fixture(scope="module")
def brief(smoke: Recipe) -> Recipe:
    """Two short stages, to test resuming."""
    stages = (Stage(67, 12, 1e-2, 2), Stage(83, 8, 1e-2, 1))
    return replace(smoke, name="brief", stages=stages, evaluate_every=4, checkpoint_every=3)


def tiny_network(backbone: str, *, head: Head, input_size: int, weights: str | None) -> keras.Model:
    """Replaces ``build_model`` where only the training run is tested."""
    image = keras.Input((input_size, input_size, 3))
    x = keras.layers.Conv2D(4, 5, 3)(keras.layers.Rescaling(1 / 127.5, -1.0)(image))
    x = keras.layers.Activation("relu")(keras.layers.BatchNormalization(name="norm_0")(x))
    x = keras.layers.Dropout(0.2)(keras.layers.GlobalAveragePooling2D()(x))
    return keras.Model(image, keras.layers.Dense(1)(x))


def use_tiny_network(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(network_start, "build_model", tiny_network)
    # Update the average at every step, so that runs differ after a few steps.
    patch.setattr(trainer.TrainingRun, "_AVERAGE_EVERY", 1)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    use_tiny_network(monkeypatch)


# ------------------------------------------------------------------ run


@pytest.mark.slow
def test_smoke_recipe_learns_and_exports(faces: LabelledFaces, smoke: Recipe, tmp_path: Path) -> None:
    steps, said = [], []
    path = train_and_export(
        replace(smoke, mirror=True),
        faces,
        tmp_path,
        progress=lambda step, of, loss: steps.append((step, of)),
        log=said.append,
        resamples=20,
    )
    assert [sentence.split()[0] for sentence in said] == ["Calibrating", "Measuring", "Measuring", "Writing"]
    assert steps == [(i + 1, 30) for i in range(30)]
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "checkpoint.npz",
        "history.csv",
        "smoke.json",
        "smoke.keras",
        "smoke.md",
        "tensorboard",
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
    assert "| AUC | 1.0000 |" in text  # no interval of four people
    assert "8 faces of 4 people" in text


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def whole(
    faces: LabelledFaces, brief: Recipe, tmp_path_factory: pytest.TempPathFactory
) -> tuple[trainer.TrainingResult, dict[str, np.ndarray]]:
    """An uninterrupted run, and its last checkpoint."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        use_tiny_network(patch)
        return train(brief, faces.part("train"), faces.part("val"), folder), checkpoint(folder)


def checkpoint(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "checkpoint.npz") as saved:
        return {name: saved[name] for name in saved.files if name != "state"}


@pytest.mark.slow
def test_training_moves_the_weights(whole: tuple, brief: Recipe, tiny: None) -> None:
    """The weights compared by the tests of resuming differ from the initial ones."""
    result, arrays = whole
    start = network_start.build(brief, 67, None, False).get_weights()
    assert np.abs(result.model.get_weights()[0] - start[0]).max() > 0.01
    assert np.abs(arrays["model_0"] - arrays["average_0"]).max() > 1e-4


@pytest.mark.slow
def test_processes_that_make_batches_change_nothing(
    faces: LabelledFaces, brief: Recipe, tiny: None, tmp_path: Path, whole: tuple
) -> None:
    result = train(brief, faces.part("train"), faces.part("val"), tmp_path, workers=2)
    for one, other in zip(whole[0].model.get_weights(), result.model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_only_the_layers_that_a_recipe_names_are_trained(
    faces: LabelledFaces, brief: Recipe, tiny: None, tmp_path: Path
) -> None:
    recipe = replace(brief, stages=brief.stages[:1], trainable=("norm",))
    result = train(recipe, faces.part("train"), faces.part("val"), tmp_path)
    start = network_start.build(recipe, 67, None, False).get_weights()
    moved = [
        not np.array_equal(one, other) for one, other in zip(result.model.get_weights(), start, strict=True)
    ]
    # Convolution, batch normalisation (scale, shift, and its moving statistics), logit.
    assert moved == [False, False, True, True, True, True, False, False]


@pytest.mark.slow
@pytest.mark.parametrize("at", [2, 5, 8, 17], ids=["no checkpoint yet", "early", "later", "second stage"])
def test_a_resumed_run_ends_like_an_uninterrupted_one(
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
    uninterrupted, arrays = whole
    for one, other in zip(map(dict, uninterrupted.history), map(dict, resumed.history), strict=True):
        assert one.pop("start") == other.pop("start") == "random"
        assert one == pytest.approx(other, abs=1e-4)
    for name, values in checkpoint(tmp_path).items():
        np.testing.assert_allclose(values, arrays[name], rtol=1e-3, atol=1e-4, err_msg=name)
    for one, other in zip(uninterrupted.model.get_weights(), resumed.model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_a_finished_run_takes_no_further_step(
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


@pytest.mark.slow
def test_a_checkpoint_of_another_recipe_is_rejected(
    faces: LabelledFaces, brief: Recipe, tiny: None, tmp_path: Path
) -> None:
    sets = faces.part("train"), faces.part("val")
    short = replace(brief, stages=(Stage(67, 2, 1e-3, 1),))
    train(short, *sets, tmp_path)
    with pytest.raises(ValueError, match="another recipe"):
        train(replace(short, seed=9), *sets, tmp_path)
    assert train(replace(short, seed=9), *sets, tmp_path, resume=False).step == 2


@pytest.mark.slow
def test_a_checkpoint_of_other_faces_is_rejected(
    faces: LabelledFaces, brief: Recipe, tiny: None, tmp_path: Path
) -> None:
    """Else the old weights would be judged on faces that they were trained on."""
    train_faces, val_faces = faces.part("train"), faces.part("val")
    short = replace(brief, stages=(Stage(67, 2, 1e-3, 1),))
    train(short, train_faces, val_faces, tmp_path)
    with pytest.raises(ValueError, match="other faces, or another split"):
        train(short, val_faces, train_faces, tmp_path)
    with pytest.raises(ValueError, match="other faces, or another split"):
        train(short, train_faces.take(np.arange(len(train_faces) - 1)), val_faces, tmp_path)
    assert train(short, val_faces, train_faces, tmp_path, resume=False).step == 2


@pytest.mark.slow
def test_early_stopping(faces: LabelledFaces, brief: Recipe, tiny: None, tmp_path: Path) -> None:
    """Two evaluations without a better AUC end the run, at the latest once AUC is 1."""
    recipe = replace(
        brief, stages=(Stage(67, 200, 1e-2, 1),), evaluate_every=2, patience=2, checkpoint_every=100
    )
    result = train(recipe, faces.part("train"), faces.part("val"), tmp_path)
    scores = [line["val_auc"] for line in result.history]
    assert result.step == 2 * len(scores) < 200
    assert scores.index(max(scores)) == len(scores) - 3
    assert checkpoint(tmp_path)["best_0"].shape == (5, 5, 3, 4)
    again = train(recipe, faces.part("train"), faces.part("val"), tmp_path)
    assert (again.step, again.history) == (result.step, result.history)
    np.testing.assert_array_equal(again.model.get_weights()[0], result.model.get_weights()[0])


def test_the_average_does_not_share_memory_with_the_model(
    faces: LabelledFaces, brief: Recipe, tiny: None, tmp_path: Path
) -> None:
    run = trainer.TrainingRun(brief, faces.part("train"), faces.part("val"), tmp_path)
    run.start_stage(0, None)
    for kept in run.average:
        kept += 1
    for kept, live in zip(run.average, run.model.get_weights(), strict=True):
        np.testing.assert_allclose(kept - 1, live, atol=1e-5)


def test_the_average_moves_in_stages_shorter_than_its_interval(
    faces: LabelledFaces, brief: Recipe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(network_start, "build_model", tiny_network)
    short = replace(brief, stages=(Stage(67, 3, 1e-2, 1),), evaluate_every=100)
    result = train(short, faces.part("train"), faces.part("val"), tmp_path)
    start = network_start.build(short, 67, None, False).get_weights()
    assert np.abs(result.model.get_weights()[0] - start[0]).max() > 1e-3


def test_the_average_by_hand(faces: LabelledFaces, brief: Recipe, tiny: None, tmp_path: Path) -> None:
    """After 5 steps without an update: (5 / 25)**5 of the old average, the rest of the current weights."""
    run = trainer.TrainingRun(brief, faces.part("train"), faces.part("val"), tmp_path)
    run.start_stage(0, None)
    live = run.model.get_weights()
    run.step, run.average = 5, [np.zeros_like(w) for w in live] + [np.array([3], np.int64)]
    run.model.get_weights = lambda: [*live, np.array([7], np.int64)]
    run._update_average()
    np.testing.assert_allclose(run.average[0], live[0] * (1 - 0.2**5), rtol=1e-5)
    assert run.average[-1] == [7]  # a counter is no weight
    run._update_average()
    np.testing.assert_allclose(run.average[0], live[0] * (1 - 0.2**5), rtol=1e-5)


def broken(faces: LabelledFaces, folder: Path, files: dict[str, bytes | None]) -> LabelledFaces:
    """A copy of the data set in which these files have the given content, or are missing."""
    for name in faces.table["file"]:
        (folder / name).write_bytes((faces.root / name).read_bytes())
    for name, content in files.items():
        (folder / name).unlink() if content is None else (folder / name).write_bytes(content)
    return LabelledFaces(faces.table, folder)


def test_unreadable_pictures_do_not_stop_a_run(
    faces: LabelledFaces, brief: Recipe, tiny: None, tmp_path: Path
) -> None:
    """Missing ones and those of val are left out with one warning; damaged training pictures are replaced."""
    folder = tmp_path / "faces"
    folder.mkdir()
    bad = broken(faces, folder, {"0-REAL.png": None, "1-FAKE.png": b"no picture", "9-REAL.png": b"x"})
    short = replace(brief, stages=(Stage(67, 4, 1e-2, 1),))
    with pytest.warns(UserWarning, match="pictures were") as warned:
        train(short, bad.part("train"), bad.part("val"), tmp_path / "out")
    left_out, replaced = (str(w.message) for w in warned if w.category is UserWarning)
    assert left_out.startswith("2 pictures were left out: 0-REAL.png (")
    assert "9-REAL.png (" in left_out
    assert replaced.startswith("1 pictures were replaced by other pairs: 1-FAKE.png (")


def test_val_needs_both_labels(faces: LabelledFaces, brief: Recipe, tmp_path: Path) -> None:
    val = faces.part("val")
    with pytest.raises(ValueError, match="both labels"):
        train(brief, faces.part("train"), val.take(np.flatnonzero(val.y)), tmp_path)


def test_val_needs_a_source_of_the_recipe(faces: LabelledFaces, brief: Recipe, tmp_path: Path) -> None:
    """Else no evaluation could be better than the first."""
    recipe = replace(brief, sources=(Source("swaps"),))
    named = by_source(faces)
    val = named.part("val")
    with pytest.raises(
        ValueError, match=r"no fakes with real faces .* of any source of the recipe \(swaps\)"
    ):
        train(recipe, named.part("train"), val.take(np.flatnonzero(val.table["source"] != "swaps")), tmp_path)


def test_self_blending_trains_without_fakes_and_saves_landmarks(
    faces: LabelledFaces, brief: Recipe, tiny: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = face_points((32, 32), 26)
    monkeypatch.setattr(landmarks, "find_landmarks", lambda image, boxes: [found for _ in boxes])
    recipe = replace(brief, stages=(Stage(67, 4, 1e-2, 1),), self_blend=1.0)
    part = faces.part("train")
    reals = part.take(np.flatnonzero(part.y == 0))
    assert train(recipe, reals, faces.part("val"), tmp_path).step == 4
    with np.load(tmp_path / "landmarks.npz") as saved:
        assert saved["points"].shape == (8, 68, 2)


# ------------------------------------------------------------------ several sources


def by_source(faces: LabelledFaces) -> LabelledFaces:
    """The faces of even people, and those of odd people as another source."""
    return faces.with_table(
        faces.table.assign(source=np.where(faces.table["identity"] % 2 == 0, "swaps", "portraits"))
    )


def test_each_source_is_evaluated_against_real_faces_of_its_making(faces: LabelledFaces) -> None:
    table = pd.DataFrame(
        {
            "label": ["FAKE", "FAKE", "REAL", "REAL", "FAKE", "REAL"],
            "source": ["a", "a", "a", "a", "b", "c"],
        }
    )
    recipe = Recipe(
        "r", "FaceResNet", (Stage(67, 1, 0.1),), sources=(Source("a"), Source("b", real=("a", "c")))
    )
    logits = np.array([3.0, 1.0, 2.0, 0.0, 1.5, 1.0])
    # a: 3 above both, 1 above one of two; b: 1.5 above 0 and 1, below 2.
    aucs = validation.source_aucs(recipe, faces.with_table(table), logits)
    assert aucs == {"a": pytest.approx(0.75), "b": pytest.approx(2 / 3)}


def test_a_run_with_sources_records_the_auc_of_each(
    faces: LabelledFaces, brief: Recipe, tiny: None, tmp_path: Path
) -> None:
    sources = (Source("swaps"), Source("portraits", 2))
    stages = (Stage(67, 4, 1e-2, 1, leave_out=("portraits",)), Stage(67, 4, 1e-2, 1))
    recipe = replace(brief, sources=sources, stages=stages)
    parts = by_source(faces).part("train"), by_source(faces).part("val")
    result = train(recipe, *parts, tmp_path)
    for line in result.history:
        both = line["val_auc swaps"], line["val_auc portraits"]
        assert line["val_auc"] == pytest.approx(np.mean(both), abs=1e-4)
    written = pd.read_csv(tmp_path / "history.csv")
    assert written["val_auc portraits"].notna().all()


def test_val_is_sampled_evenly(faces: LabelledFaces) -> None:
    part = by_source(faces)
    some = validation.sample_of_each_source(part, 3)
    counts = some.table.groupby(["source", "label"]).size()
    assert counts.tolist() == [3, 3, 3, 3]
    assert validation.sample_of_each_source(part, 0) is part
    assert len(validation.sample_of_each_source(part, 99)) == len(part)


BLOCKED = """
import sys
class Absent:  # Keras takes any entry in sys.modules, None too, for a TensorFlow that is there
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "tensorflow":
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Absent())
from redeepfake_nb.datasets.labelled_faces import read_faces
from redeepfake_nb.training.recipes import Recipe
from redeepfake_nb.training.trainer import train
import keras
recipe, data, out = sys.argv[1:]
faces = read_faces(data)
result = train(Recipe.read(recipe), faces.part("train"), faces.part("val"), out)
print(result.step, result.history[-1]["val_auc"])
"""


# PyTorch looks for TensorFlow by itself, and so cannot run where that is blocked.
@pytest.mark.parametrize("backend", ["jax"])
def test_other_backends_train_where_there_is_no_tensorflow(
    faces: LabelledFaces, root: Path, tmp_path: Path, backend: str
) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed; `pip install {backend}` runs this test")
    table = tmp_path / "faces.csv"
    faces.table.assign(file=[str(faces.root / name) for name in faces.table["file"]]).to_csv(
        table, index=False
    )
    recipe = root / "models" / "recipes" / "smoke.toml"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BLOCKED, str(recipe), str(table), str(tmp_path / "out")],
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["30", "1.0"]


# ------------------------------------------------------------------ export


@pytest.mark.parametrize(
    ("backbone", "convolution", "normalisation"),
    [("FaceResNet", "conv_0", "norm_0"), ("MobileNetV2", "Conv1", "bn_Conv1")],
)
def test_weights_are_rounded_but_for_normalisation(
    backbone: str, convolution: str, normalisation: str
) -> None:
    model = build_model(backbone, input_size=67, head=Head(()))
    model.get_layer(normalisation).set_weights([np.full(32, 1e-9)] * 4)
    kernel, *bias = model.get_layer(convolution).get_weights()
    # By hand: eight bits from the leading one on count 1 in steps of 1/128.
    kernel[0, 0, 0, :3] = [1 + 1 / 256 + 1 / 2048, -1 - 3 / 512, 3.0]
    model.get_layer(convolution).set_weights([kernel, *bias])
    logit = model.get_layer("logit").get_weights()[0]
    round_weights(model)
    rounded = model.get_layer(convolution).get_weights()[0]
    np.testing.assert_array_equal(rounded[0, 0, 0, :3], [1 + 1 / 128, -1 - 1 / 128, 3])
    np.testing.assert_array_equal(rounded, rounded.astype(np.float16))
    assert 0 < np.abs(rounded / kernel - 1).max() <= 2**-8
    np.testing.assert_array_equal(
        model.get_layer("logit").get_weights()[0], logit.astype(np.float16).astype(np.float32)
    )
    assert model.get_layer(normalisation).get_weights()[3][0] == pytest.approx(1e-9)


def test_export_needs_both_splits(faces: LabelledFaces, smoke: Recipe, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="both splits"):
        train_and_export(smoke, faces.part("train"), tmp_path)


@pytest.mark.slow
def test_export_writes_the_facts_about_the_model(faces: LabelledFaces, brief: Recipe, tmp_path: Path) -> None:
    size = brief.stages[-1].input_size
    model = tiny_network("any", head=Head(()), input_size=size, weights=None)
    result = trainer.TrainingResult(model, [], 0)
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
