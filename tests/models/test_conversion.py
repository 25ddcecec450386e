"""Third-party models: missing preprocessing, weights-only files, trusted code, limits, conversion."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import keras
import numpy as np
import pytest
from helpers.hostile_models import (
    good_archive,
    good_hdf5,
    keras2_config,
    keras2_file,
    keras2_layer,
    marker_code,
)

from redeepfake_nb import (
    HashMismatch,
    Head,
    ModelIncomplete,
    NotAModel,
    Preprocessing,
    UnsafeModel,
    UnsuitableModel,
    analyze_image,
    analyze_video,
    build_model,
    load_model,
    save_model,
)
from redeepfake_nb.cli import main
from redeepfake_nb.datasets.samples import sample_clip, sample_image
from redeepfake_nb.models import loading
from redeepfake_nb.models.card import Card, read_sidecar
from redeepfake_nb.models.classifier import Classifier, probe_images
from redeepfake_nb.models.conversion import convert_model
from redeepfake_nb.models.cost_limits import check_cost
from redeepfake_nb.models.graph import flatten
from redeepfake_nb.models.named_architectures import meso4
from redeepfake_nb.models.serialization.allowlist import check_config
from redeepfake_nb.models.serialization.archive import describe
from redeepfake_nb.models.serialization.build import read_model

INPUT = {"preprocessing": Preprocessing(input_size=8), "positive_class": "fake"}


def probe(classifier: Classifier) -> np.ndarray:
    return probe_images(classifier.preprocessing)


# ------------------------------------------------------------------ questions


@pytest.mark.parametrize("make", [good_archive, good_hdf5])
def test_error_suggests_the_likely_preprocessing(make, tmp_path: Path) -> None:
    with pytest.raises(ModelIncomplete) as caught:
        load_model(make(tmp_path))
    step = caught.value.next_step
    for part in ("input_size=8", "value_range=(0, 1)", 'output="probability"', "ends in sigmoid", '"BGR"'):
        assert part in step


@pytest.mark.parametrize(
    ("compute", "words"),
    [
        (
            lambda x: x / 127.5 - 1,
            "value_range=(0, 255)), it scales or shifts pixels of 0 to 255 itself (TrueDivide, Subtract)",
        ),
        (
            lambda x: (x + 1) / 2,
            "value_range=(-1, 1)), it scales or shifts pixels of -1 to 1 itself (Add, TrueDivide)",
        ),
        (
            lambda x: keras.ops.power(x, 2.2),
            "value_range=(..., ...)), it computes something with the pixels first (Power)",
        ),
        (lambda x: x, "value_range=(0, 1)), it does not rescale pixels"),
        (
            lambda x: x[..., ::-1],
            "it does not rescale pixels, it swaps the first and the last channel itself",
        ),
    ],
)
def test_value_range_is_inferred_from_what_the_model_computes(compute, words: str, tmp_path: Path) -> None:
    image = keras.Input((8, 8, 3))
    head = keras.layers.Dense(2, activation="softmax")
    path = tmp_path / "m.keras"
    keras.Model(image, head(keras.layers.Flatten()(compute(image)))).save(path)
    with pytest.raises(ModelIncomplete, match="no sidecar") as caught:
        load_model(path)
    step = caught.value.next_step
    assert all(part in step for part in ('output="softmax"', *words.split(", it ")))
    known = "scales or shifts" in words
    assert ("Two things are not" in step, "how pixels were scaled" in step) == (known, not known)
    assert ("does not rescale" in step) == ("does not rescale" in words)


@pytest.mark.parametrize(
    ("given", "cause", "asked", "not_asked"),
    [
        (
            {"preprocessing": INPUT["preprocessing"]},
            "so the meaning of its output is unknown",
            "which class",
            "colour order",
        ),
        (
            {"positive_class": "real"},
            "so its colour order and its value range are unknown",
            "colour order",
            "which class",
        ),
    ],
)
def test_what_was_given_is_not_asked_for(
    given: dict, cause: str, asked: str, not_asked: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelIncomplete, match=cause) as caught:
        load_model(good_archive(tmp_path), **given)
    step = caught.value.next_step
    assert asked in step
    assert not_asked not in step
    assert 'positive_class="fake" or "real"' in step or 'positive_class="real"' in step


def test_suggested_command_converts_the_model(tmp_path: Path) -> None:
    path = good_hdf5(tmp_path)
    with pytest.raises(ModelIncomplete) as caught:
        load_model(path)
    command = re.search("`redeepfake-nb (.*?)`", caught.value.next_step)[1].replace("FAKE_OR_REAL", "real")
    assert main(shlex.split(command)) == 0
    assert load_model(path.with_suffix(".keras")).preprocessing == Preprocessing(8, "RGB", (0, 1))


@pytest.mark.parametrize(
    ("shape", "outputs", "message"),
    [
        ((8, 8, 3), [("sigmoid", 1), ("sigmoid", 1)], "it has 2 outputs"),
        ((8, 8, 3), [("softmax", 3)], "its output has 3 values"),
        ((8, 8, 3), [("tanh", 1)], "it ends in tanh"),
        ((8, 8, 1), [("sigmoid", 1)], "it takes grey images"),
        ((8, 12, 3), [("sigmoid", 1)], "it takes images of 8 x 12 px"),
    ],
)
def test_what_no_preprocessing_would_make_usable_is_refused_at_once(
    shape: tuple, outputs: list, message: str, tmp_path: Path
) -> None:
    image = keras.Input(shape)
    flat = keras.layers.Flatten()(image)
    path = tmp_path / "m.keras"
    keras.Model(image, [keras.layers.Dense(n, activation=name)(flat) for name, n in outputs]).save(path)
    with pytest.raises(UnsuitableModel, match=message):
        load_model(path)


def test_without_rescaling_the_usual_ways_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelIncomplete) as caught:
        load_model(good_archive(tmp_path))
    step = caught.value.next_step
    assert "probably divided by 255" not in step
    for part in ('"imagenet"', '"caffe"', '"tf"', "Three things", "how pixels were scaled"):
        assert part in step
    for name, preset in (("resnet50", "caffe"), ("resnet50v2", "tf"), ("densenet121", "imagenet")):
        block, dense = keras.layers.ReLU(name=f"{name}_block"), keras.layers.Dense(1, activation="sigmoid")
        path = tmp_path / f"{name}.keras"
        keras.Sequential([keras.Input((8, 8, 3)), block, keras.layers.Flatten(), dense]).save(path)
        with pytest.raises(ModelIncomplete, match=re.escape(f'Preprocessing.preset("{preset}")')):
            load_model(path)


def test_suggested_call_loads_the_model(tmp_path: Path) -> None:
    """What stands in the message can be typed as it is, once the class is chosen."""
    path = good_archive(tmp_path)
    with pytest.raises(ModelIncomplete) as caught:
        load_model(path)
    call = re.search(r"load_model\(path.*?\), since", caught.value.next_step)[0].removesuffix(", since")
    call = call.replace('"fake" or "real"', '"real"')
    loaded = eval(call, {"load_model": load_model, "Preprocessing": Preprocessing, "path": path})
    assert (loaded.card.output, loaded.card.positive_class) == ("probability", "real")


def test_output_is_inferred_from_the_last_activation(tmp_path: Path) -> None:
    for activation, units, output in (
        ("sigmoid", 1, "probability"),
        (None, 1, "logit"),
        ("softmax", 2, "softmax"),
    ):
        parts = [
            keras.Input((8, 8, 3)),
            keras.layers.Flatten(),
            keras.layers.Dense(units, activation=activation),
        ]
        path = tmp_path / f"{output}.keras"
        keras.Sequential(parts).save(path)
        assert load_model(path, **INPUT).card.output == output


# ------------------------------------------------------------------ weights alone


@pytest.mark.slow
def test_weights_only_file_of_a_named_backbone(tmp_path: Path) -> None:
    path = tmp_path / "mine.weights.h5"
    model = build_model("MobileNetV2", head=Head(units=(24, 12)), input_size=64)
    model.save_weights(path)
    loaded = load_model(
        path, architecture="MobileNetV2", preprocessing=Preprocessing(input_size=64), positive_class="fake"
    )
    x = probe(loaded)
    np.testing.assert_allclose(loaded.logits(x), np.asarray(model(x, training=False))[:, 0], atol=1e-5)
    assert loaded.card.architecture == "MobileNetV2"

    card = Card(
        name="mine", architecture="MobileNetV2, 2,588,341 weights", preprocessing=Preprocessing(input_size=64)
    )
    path.with_suffix(".json").write_text(json.dumps(card.to_dict()))
    np.testing.assert_array_equal(load_model(path).logits(x), loaded.logits(x))


def test_weights_only_file_of_a_given_model(tmp_path: Path) -> None:
    path = tmp_path / "m.weights.h5"
    model, empty = (
        keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(1)])
        for _ in "ab"
    )
    model.save_weights(path)
    loaded = load_model(path, architecture=empty, **INPUT)
    x = probe(loaded)
    np.testing.assert_allclose(loaded.logits(x), np.asarray(model(x))[:, 0], rtol=1e-5)


@pytest.mark.slow
def test_meso4_predicts_real(tmp_path: Path) -> None:
    """Its weights are published alone; a high output means real."""
    path = tmp_path / "Meso4_DF.weights.h5"
    model = meso4(64)
    model.save_weights(path)
    with pytest.raises(
        ModelIncomplete, match=re.escape('input_size=256, color_order="RGB", value_range=(0, 1)')
    ):
        load_model(path, architecture="Meso4")
    meso_input = {"preprocessing": Preprocessing(64, "RGB", (0, 1)), "positive_class": "real"}
    loaded = load_model(path, architecture="Meso4", **meso_input)
    x = probe(loaded)
    p = np.asarray(model(x, training=False))[:, 0].astype(np.float64)
    np.testing.assert_allclose(loaded.logits(x), np.log((1 - p) / p), atol=1e-5)


@pytest.mark.parametrize(
    ("architecture", "error", "message"),
    [
        (None, ModelIncomplete, "names one"),
        ("Unheard", ModelIncomplete, "no network is known"),
        ("EfficientNetLite0", NotAModel, "do not fit"),
    ],
)
def test_weights_only_file_that_does_not_match(
    tmp_path: Path, architecture: str | None, error: type, message: str
) -> None:
    path = tmp_path / "m.weights.h5"
    meso4(64).save_weights(path)
    with pytest.raises(error, match=message):
        load_model(
            path, architecture=architecture, preprocessing=Preprocessing(input_size=64), positive_class="fake"
        )


def test_architecture_for_a_full_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="of its own"):
        load_model(good_archive(tmp_path), architecture="Meso4", **INPUT)


# ------------------------------------------------------------------ trust


def with_lambda(folder: Path) -> Path:
    """A Keras 2 file whose Lambda passes its input on and leaves a file behind."""
    code = [marker_code(folder), None, None]
    layers = [keras2_layer("Lambda", function=code, function_type="lambda"), keras2_layer("Flatten")]
    config = keras2_config(*layers, keras2_layer("Dense", units=1, activation="sigmoid"))
    arrays = {"dense__kernel": np.ones((192, 1), np.float32), "dense__bias": np.zeros(1, np.float32)}
    return keras2_file(folder, "code", config, **arrays)


def test_trust_requires_the_hash(tmp_path: Path) -> None:
    path = with_lambda(tmp_path)
    with pytest.raises(UnsafeModel, match="Lambda"):
        load_model(path, **INPUT)
    with pytest.raises(UnsafeModel, match="needs the SHA-256"):
        load_model(path, trust=True, **INPUT)
    with pytest.raises(HashMismatch):
        load_model(path, trust=True, sha256="0" * 64, **INPUT)
    assert not (tmp_path / "ran").exists()


@pytest.mark.slow
def test_every_report_mentions_trust(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = with_lambda(tmp_path)
    loaded = load_model(path, trust=True, sha256=loading.sha256_of(path), **INPUT)
    assert (tmp_path / "ran").exists()
    assert loaded.card.trusted == ("__lambda__", "keras.layers.Lambda")
    assert loaded.logits(np.full((1, 8, 8, 3), 1 / 192, np.float32))[0] == pytest.approx(1, abs=1e-5)
    report = analyze_image(sample_image(), loaded)
    assert report.to_dict()["model"]["trusted"] == ["__lambda__", "keras.layers.Lambda"]
    said = "the model was loaded on trust: it contains __lambda__, keras.layers.Lambda"
    assert said in report.verdict.reasons
    assert said in analyze_image(np.zeros((64, 64, 3), np.uint8), loaded).verdict.reasons
    clip, nobody = sample_clip(), lambda pixels: []
    assert said in analyze_video(clip, loaded, frames=2, explain_top=0).verdict.reasons
    assert said in analyze_video(clip, loaded, frames=2, detector=nobody, explain_top=0).verdict.reasons
    assert load_model(good_archive(tmp_path), **INPUT).card.trusted == ()


def test_sidecar_cannot_set_trust(tmp_path: Path) -> None:
    path = good_archive(tmp_path)
    card = Card(preprocessing=Preprocessing(input_size=8), output="probability", trusted=("x",))
    path.with_suffix(".json").write_text(json.dumps(card.to_dict()))
    assert read_sidecar(path).trusted == ("x",)
    assert load_model(path).card.trusted == ()


@pytest.mark.parametrize("name", ["TFSMLayer", "TorchModuleWrapper", "StringLookup", "JaxLayer"])
def test_trust_does_not_cover_other_files(name: str) -> None:
    with pytest.raises(UnsafeModel, match="does not cover"):
        check_config({"class_name": name, "module": "keras.layers"}, "m", trust=True)
    with pytest.raises(UnsafeModel, match="does not cover"):
        check_config({"class_name": "system", "module": "os"}, "m", trust=True)


def test_trust_covers_other_layers_and_registered_ones() -> None:
    node = {"class_name": "Discretization", "module": "keras.layers"}
    assert check_config(node, "m", trust=True) == ("keras.layers.Discretization",)

    @keras.saving.register_keras_serializable("ours")
    class Mine(keras.layers.Layer):
        pass

    node = {"class_name": "Mine", "module": None, "registered_name": "ours>Mine"}
    assert check_config(node, "m", trust=True) == ("ours>Mine",)
    with pytest.raises(UnsafeModel, match="Theirs"):
        check_config({**node, "registered_name": "ours>Theirs"}, "m", trust=True)


# ------------------------------------------------------------------ limits


def test_nothing_is_left_to_allocate_after_a_failure(tmp_path: Path) -> None:
    """Keras would else make room for the weights of a refused file at the next occasion."""
    from keras.src.backend.common import global_state

    config = keras2_config(keras2_layer("Flatten"), keras2_layer("Dense", units=10**9))
    path = keras2_file(tmp_path, "m", config)
    with pytest.raises(NotAModel, match="needs 193,000,000,000 weights"):
        read_model(path, describe(path))
    assert not global_state.get_global_attribute("uninitialized_variables")


@pytest.mark.parametrize(
    "layers",
    [
        [keras.layers.UpSampling2D(500)],
        [keras.layers.UpSampling2D(128), keras.layers.MaxPooling2D(512, strides=1, padding="same")],
        [keras.layers.Reshape((192, 1)), keras.layers.UpSampling1D(30), keras.layers.Dot(axes=2)],
    ],
    ids=["map", "window", "product"],
)
def test_excessive_cost_is_refused(layers: list) -> None:
    x = image = keras.Input((8, 8, 3))
    for layer in layers:
        x = layer([x, x]) if isinstance(layer, keras.layers.Dot) else layer(x)
    x = keras.ops.mean(keras.ops.reshape(x, (-1, 1, int(np.prod(x.shape[1:])))), axis=2)
    with pytest.raises(UnsuitableModel, match=r"feature map of|multiplications"):
        check_cost(keras.Model(image, x), "m")


@pytest.mark.slow
def test_real_networks_are_far_from_the_limits() -> None:
    check_cost(flatten(build_model("EfficientNetB4", input_size=380)), "m")


def test_open_input_size_is_fixed(tmp_path: Path) -> None:
    x = image = keras.Input((None, None, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(2, 3)(x))
    keras.Model(image, keras.layers.Dense(1)(x)).save(tmp_path / "open.keras")
    loaded = load_model(
        tmp_path / "open.keras", preprocessing=Preprocessing(input_size=16), positive_class="fake"
    )
    assert loaded.keras_model.inputs[0].shape[1:] == (16, 16, 3)


def test_channels_first_runs_or_is_refused(tmp_path: Path) -> None:
    """TensorFlow can compute it on some processors only."""
    config = {"name": "conv2d", "filters": 2, "kernel_size": 3, "data_format": "channels_first"}
    config = keras2_config(
        {"class_name": "Conv2D", "config": config}, keras2_layer("Flatten"), keras2_layer("Dense", units=1)
    )
    arrays = {
        "conv2d__kernel": np.ones((3, 3, 8, 2), np.float32), "conv2d__bias": np.zeros(2),
        "dense__kernel": np.ones((12, 1)), "dense__bias": np.zeros(1),
    }  # fmt: skip
    path = keras2_file(tmp_path, "m", config, **arrays)
    try:
        loaded = load_model(path, **INPUT)
    except UnsuitableModel as error:
        assert "probe image" in str(error)  # noqa: PT017
    else:
        # Rows stand where channels would: each of 2 x (6 x 1) outputs is a sum over 3 x 3 of all 8 rows.
        assert loaded.logits(np.ones((1, 8, 8, 3), np.float32)) == pytest.approx(12 * 72)


@pytest.mark.parametrize("change", [{"min_face": "50"}, {"mirror": "yes"}, {"name": 3}, {"metrics": [1]}])
def test_card_with_wrong_types(change: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        Card.from_dict(change)


# ------------------------------------------------------------------ convert


@pytest.mark.slow
def test_converted_model_scores_the_same(tmp_path: Path) -> None:
    source = good_hdf5(tmp_path)
    done = convert_model(source, tmp_path / "new.keras", **INPUT)
    assert done.difference <= 1e-5
    assert done.card.converted_from == loading.sha256_of(source)
    x = probe(load_model(done.path))
    expected = load_model(source, **INPUT).logits(x)
    np.testing.assert_allclose(load_model(done.path).logits(x), expected, atol=1e-5)
    assert np.ptp(expected) > 0
    assert save_model(load_model(done.path), tmp_path / "again.keras").exists()
    assert load_model(tmp_path / "again.keras").card.converted_from == loading.sha256_of(source)


@pytest.mark.slow
def test_convert_command(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    source, out = str(good_hdf5(tmp_path)), tmp_path / "new.keras"
    assert main(["convert", source, str(out)]) == 1
    assert "input_size=8" in capsys.readouterr().err
    assert not out.exists()
    options = [
        "--input-size",
        "8",
        "--color-order",
        "RGB",
        "--value-range",
        "0",
        "1",
        "--positive-class",
        "real",
    ]
    assert main(["convert", source, str(out), *options[:2]]) == 2
    assert "must be given together" in capsys.readouterr().err
    assert main(["convert", source, str(out), *options]) == 0
    printed = capsys.readouterr().out
    assert f"model: {out}" in printed
    assert "differ by at most" in printed
    assert load_model(out).preprocessing == Preprocessing(8, "RGB", (0, 1))


@pytest.mark.slow
def test_convert_command_takes_mean_deviation_and_presets(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    old = str(good_archive(tmp_path))
    common = ["--positive-class", "fake", "--input-size", "8"]
    ranges = ["--color-order", "RGB", "--value-range", "0", "1"]
    numbers = ["--mean", "0.485", "0.456", "0.406", "--std", "0.229", "0.224", "0.225"]
    for i, options in enumerate((["--preset", "imagenet"], [*ranges, *numbers])):
        new = tmp_path / f"new{i}.keras"
        assert main(["convert", old, str(new), *common, *options]) == 0
        assert load_model(new).preprocessing == Preprocessing.preset("imagenet", 8)
    capsys.readouterr()
    for options, message in (
        (["--preset", "torch"], "unknown preset 'torch'"),
        (["--preset", "tf", "--value-range", "0", "1"], "--preset needs --input-size"),
        (["--mean", "1", "2", "3"], "must be given together"),
    ):
        assert main(["convert", old, str(tmp_path / "no.keras"), *common, *options]) != 0
        assert message in capsys.readouterr().err


@pytest.mark.slow
def test_a_margin_alone_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """It would not be used: preprocessing comes whole from the sidecar or the command."""
    assert main(["convert", "redeepfake-v1.3", str(tmp_path / "m.keras"), "--margin", "0.2"]) == 2
    assert "must be given together" in capsys.readouterr().err


def test_convert_command_with_weights_only_and_trust(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    options = [
        "--input-size",
        "64",
        "--color-order",
        "RGB",
        "--value-range",
        "0",
        "1",
        "--positive-class",
        "real",
    ]
    weights = tmp_path / "m.weights.h5"
    meso4(64).save_weights(weights)
    assert main(["convert", str(weights), str(tmp_path / "m.keras"), "--backbone", "Meso4", *options]) == 0
    code = with_lambda(tmp_path)
    options[1] = "8"
    trust = ["--trust", "--sha256", loading.sha256_of(code)]
    assert main(["convert", str(code), str(tmp_path / "c.keras"), *options, *trust]) == 0
    assert "trusted beyond the allowlist: __lambda__" in capsys.readouterr().out
