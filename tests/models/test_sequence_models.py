"""Models over windows of frames: loaded, flattened and scored; single pictures are refused."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from helpers.planted_models import colour_classifier
from helpers.sequence_architectures import ARCHITECTURES, FRAMES, SIZE, randomize, windows
from helpers.sequence_models import change_classifier
from keras import layers

from redeepfake_nb import (
    Card,
    Classifier,
    Face,
    Frame,
    Preprocessing,
    UnsuitableModel,
    load_model,
    preprocess,
)
from redeepfake_nb.models import save_model
from redeepfake_nb.models.cost_limits import check_cost
from redeepfake_nb.models.graph import flatten, spatial_cut_layer
from redeepfake_nb.models.heads import infer_output

SETTINGS = Preprocessing(input_size=SIZE)


def grey_window(*levels: int) -> list[Face]:
    """Faces that are grey all over, one of each level."""
    return [Face.whole(Frame(np.full((SIZE, SIZE, 3), level, np.uint8))) for level in levels]


def test_score_by_hand() -> None:
    classifier = change_classifier()
    assert classifier.preprocessing.frames == FRAMES  # read from the model's input
    batch = preprocess([grey_window(51, 9, 9, 204), grey_window(255, 0, 0, 255)], classifier.preprocessing)
    assert batch.shape == (2, FRAMES, SIZE, SIZE, 3)
    np.testing.assert_allclose(classifier.logits(batch), [8 * (204 - 51) / 255, 0], atol=1e-5)
    assert classifier.logits(batch[:0]).shape == (0,)
    assert not classifier.card.unresponsive


def test_mirror_turns_the_width() -> None:
    """The logit of the left half alone, and the mean of both halves with the mirror image."""
    window = keras.Input((2, SIZE, SIZE, 3))
    left = layers.Cropping3D(((0, 0), (0, 0), (0, SIZE // 2)))(window)
    conv = layers.Conv3D(1, 1, use_bias=False, kernel_initializer="ones")
    model = keras.Model(window, layers.GlobalAveragePooling3D()(conv(left)))
    batch = np.zeros((1, 2, SIZE, SIZE, 3), np.float32)
    batch[..., SIZE // 2 :, :] = 1
    plain, mirrored = (Classifier(model, Card(preprocessing=SETTINGS, mirror=m)) for m in (False, True))
    assert (plain.logits(batch)[0], mirrored.logits(batch)[0]) == (0, 1.5)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_files_have_the_score_of_the_model(name: str, tmp_path: Path) -> None:
    model = ARCHITECTURES[name](keras)
    randomize(model)
    x = windows()
    np.testing.assert_array_equal(np.asarray(flatten(model)(x)), np.asarray(model(x, training=False)))
    card = Card(preprocessing=SETTINGS, output=infer_output(model))
    expected = Classifier(model, card).logits(x)
    assert np.ptp(expected) > 0
    for suffix in (".keras", ".h5"):
        model.save(tmp_path / f"m{suffix}")
        loaded = load_model(tmp_path / f"m{suffix}", preprocessing=SETTINGS, positive_class="fake")
        assert loaded.preprocessing.frames == FRAMES
        np.testing.assert_allclose(loaded.logits(x), expected, rtol=1e-5, atol=1e-6)
    again = load_model(save_model(loaded, tmp_path / "again.keras"))
    assert again.preprocessing == loaded.preprocessing
    np.testing.assert_allclose(again.logits(x), expected, rtol=1e-5, atol=1e-6)


def test_networks_over_frames_are_flattened() -> None:
    """The layers inside of TimeDistributed are in the graph, so that heatmaps can be computed at them."""
    flat = flatten(ARCHITECTURES["lstm"](keras))
    assert not [layer for layer in flat.layers if isinstance(layer, (keras.Model, layers.TimeDistributed))]
    cut = flat.get_layer(spatial_cut_layer(flat))
    assert isinstance(cut, layers.Add)
    assert len(cut.output.shape) == 4  # with the frames in the batch
    flat = flatten(ARCHITECTURES["conv3d"](keras))
    assert flat.get_layer(spatial_cut_layer(flat)).output.shape[1:] == (2, 4, 4, 6)


def test_mobilenet_over_frames_loads(tmp_path: Path) -> None:
    trunk = keras.applications.MobileNetV2(
        input_shape=(64, 64, 3), include_top=False, weights=None, alpha=0.35, pooling="avg"
    )
    window = keras.Input((3, 64, 64, 3))
    x = layers.LSTM(4)(layers.TimeDistributed(trunk)(layers.Rescaling(1 / 127.5, -1.0)(window)))
    model = keras.Model(window, layers.Dense(1, activation="sigmoid")(x))
    model.save(tmp_path / "m.keras")
    settings = Preprocessing(input_size=64)
    loaded = load_model(tmp_path / "m.keras", preprocessing=settings, positive_class="real")
    x = windows(2, 3, 64)
    p = np.asarray(model(x, training=False), np.float64)[:, 0]
    np.testing.assert_allclose(loaded.logits(x), -np.log(p / (1 - p)), atol=1e-4)
    assert loaded.explain_layer == "out_relu"


# ------------------------------------------------------------------ the number of frames


def test_number_of_frames_that_the_model_leaves_open() -> None:
    with pytest.raises(UnsuitableModel, match=r"does not say how many at once.*Preprocessing\(frames="):
        change_classifier(open_ends=True)
    given = Preprocessing(input_size=SIZE, frames=6)
    assert change_classifier(open_ends=True, preprocessing=given).logits(windows(1, 6)).shape == (1,)


def test_contradicting_numbers_of_frames() -> None:
    with pytest.raises(UnsuitableModel, match=f"takes {FRAMES} frames at once, but its preprocessing says 9"):
        change_classifier(preprocessing=Preprocessing(input_size=SIZE, frames=9))
    card = Card(preprocessing=Preprocessing(input_size=32, frames=3))
    with pytest.raises(UnsuitableModel, match=r"takes single pictures.*says 3 frames"):
        Classifier(colour_classifier().keras_model, card)


def test_preprocessing_of_pictures_is_written_as_before() -> None:
    assert "frames" not in SETTINGS.to_dict()
    several = Preprocessing(input_size=SIZE, frames=5)
    assert Preprocessing.from_dict(several.to_dict()) == several
    assert several.summary.startswith("5 frames of 16 px")
    for wrong in (0, 1.5, True, 257):
        with pytest.raises(ValueError, match="frames must be an integer from 1 to 256"):
            Preprocessing(frames=wrong)


# ------------------------------------------------------------------ what is refused


def test_single_pictures_are_refused() -> None:
    classifier = change_classifier()
    pictures = np.zeros((1, SIZE, SIZE, 3), np.float32)
    for attempt in (
        lambda: classifier.logits(pictures),
        lambda: preprocess(grey_window(0, 0, 0, 0), classifier.preprocessing),
    ):
        with pytest.raises(UnsuitableModel, match=r"scores 4 frames of a video at once.*analyze_video"):
            attempt()
    with pytest.raises(ValueError, match="a window has 4 faces, not 3"):
        preprocess([grey_window(0, 0, 0)], classifier.preprocessing)


def test_one_score_per_frame_is_refused_with_advice() -> None:
    window = keras.Input((FRAMES, SIZE, SIZE, 3))
    x = layers.TimeDistributed(layers.Flatten())(window)
    model = keras.Model(window, layers.Dense(1)(layers.LSTM(2, return_sequences=True)(x)))
    with pytest.raises(UnsuitableModel, match=r"one score for each of 4 frames.*return_sequences=False"):
        Classifier(model, Card(preprocessing=SETTINGS))


def test_cost_counts_every_frame_and_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """3 frames, 16 units: 3 * (4 * 16 * (F + 16 + 1)) multiplications, with F features of a frame."""
    from redeepfake_nb.models import cost_limits

    window = keras.Input((3, 8, 8, 3))
    x = layers.TimeDistributed(layers.Flatten())(window)
    model = flatten(keras.Model(window, layers.LSTM(16)(x)))
    lstm = 3 * 4 * 16 * (192 + 16 + 1)
    monkeypatch.setattr(cost_limits, "MAX_WORK", lstm // cost_limits.WINDOW_WORK)
    with pytest.raises(UnsuitableModel, match="one window of frames takes about"):
        check_cost(model, "m", 3)
    monkeypatch.setattr(cost_limits, "MAX_WORK", 2 * lstm // cost_limits.WINDOW_WORK)
    check_cost(model, "m", 3)


def test_maps_of_all_frames_count_together() -> None:
    """256 frames of 256 x 256 px with 64 channels are 2 ** 30 elements, though one frame has 2 ** 22."""
    window = keras.Input((256, 256, 256, 3))
    x = layers.TimeDistributed(layers.Conv2D(64, 1))(window)
    model = keras.Model(window, layers.Dense(1)(layers.GlobalAveragePooling3D()(x)))
    with pytest.raises(UnsuitableModel, match="feature map of 1,073,741,824 elements"):
        Classifier(model, Card(preprocessing=Preprocessing(input_size=256)))


def test_state_is_not_kept_between_batches() -> None:
    window = keras.Input((FRAMES, SIZE, SIZE, 3), batch_size=1)
    x = layers.LSTM(3, stateful=True)(layers.TimeDistributed(layers.Flatten())(window))
    model = keras.Model(window, layers.Dense(1)(x))
    classifier = Classifier(model, Card(preprocessing=SETTINGS))
    x = windows(2) / 255
    first = classifier.logits(x)
    np.testing.assert_array_equal(classifier.logits(x), first)
