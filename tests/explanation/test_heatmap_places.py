"""Heatmaps lie where their evidence lies, behind every operation that moves or drops cells."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from helpers.moved_evidence import (
    HALF,
    OPERATIONS,
    SIZE,
    bright_face,
    classifier_of,
    conv,
    quarter_model,
    share_in_quarter,
    transformer,
)

from redeepfake_nb import Classifier, Face, Frame, UnsuitableModel, explain, predict
from redeepfake_nb.explanation.method_choice import default_layer, network_for
from redeepfake_nb.explanation.methods import METHODS
from redeepfake_nb.models.geometry import Layout, layout_of
from redeepfake_nb.models.graph import flatten

layers = keras.layers


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_heatmap_lies_on_the_quarter_that_counts(operation: str) -> None:
    nested = len(operation) % 2 == 0  # flat and nested in turn; that they agree is tested below
    classifier = classifier_of(quarter_model(operation, nested))
    prediction = predict(classifier, [bright_face()])[0]
    for method in ("gradcam", "layercam"):
        found = explain(classifier, prediction, method)
        assert share_in_quarter(found.heatmap) >= 0.85, method
    # What the marked places carry is the whole logit, which has no bias.
    assert found.evidence == pytest.approx(prediction.logit, rel=0.15)


@pytest.mark.parametrize("operation", ["cropping", "valid strided convolutions", "flipping"])
def test_every_method_nested_and_flat(operation: str) -> None:
    flat, nested = (classifier_of(quarter_model(operation, nested)) for nested in (False, True))
    face = bright_face()
    for method in METHODS:
        if method == "attention":
            continue
        one, other = (explain(c, predict(c, [face])[0], method) for c in (flat, nested))
        assert share_in_quarter(one.heatmap) >= 0.85, method
        np.testing.assert_allclose(one.heatmap, other.heatmap, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("RandomFlip", {}),
        ("RandomRotation", {"factor": 0.5}),
        ("RandomTranslation", {"height_factor": 0.5, "width_factor": 0.5}),
        ("RandomZoom", {"height_factor": (-0.5, 0.5)}),
        ("RandomShear", {"x_factor": (0.1, 0.5), "y_factor": (0.1, 0.5)}),
        ("RandomPerspective", {}),
        ("RandomElasticTransform", {}),
        ("RandomErasing", {}),
        ("RandomGaussianBlur", {}),
        ("RandomBrightness", {"factor": 0.5}),
        ("RandomContrast", {"factor": 0.5}),
        ("RandomInvert", {}),
        ("RandomCrop", {"height": SIZE, "width": SIZE}),
        ("AugMix", {}),
        ("RandAugment", {}),
    ],
)
def test_augmentation_in_the_network_moves_nothing(name: str, options: dict) -> None:
    """Layers that change pictures in training only leave the places of all cells where they are."""
    for _ in range(4):
        image = keras.Input((SIZE, SIZE, 3))
        augmentation = keras.Sequential([getattr(layers, name)(**options)])
        made = layers.Conv2D(2, 3, 2, "same", name="cells")(augmentation(image))
        flat = flatten(keras.Model(image, layers.Dense(1)(layers.GlobalAveragePooling2D()(made))))
        found = layout_of(flat, "cells")
        assert isinstance(found, Layout), found
        np.testing.assert_allclose((found.rows, found.columns), [1 + 2 * np.arange(SIZE // 2)] * 2)


def test_a_random_crop_is_refused() -> None:
    """Keras crops in training only, so that a whole picture's map has other cells than the graph states."""
    image = keras.Input((SIZE, SIZE, 3))
    made = layers.Conv2D(2, 3, 2, "same", name="cells")(layers.RandomCrop(HALF, HALF)(image))
    model = keras.Model(image, layers.Dense(1)(layers.GlobalAveragePooling2D()(made)))
    for _ in range(4):
        assert "cannot be followed" in layout_of(keras.models.clone_model(model), "cells")


def test_augmentation_leaves_attention_alone() -> None:
    plain = transformer(class_token=False)
    image = keras.Input((SIZE, SIZE, 3))
    augmented = keras.Model(image, plain(layers.RandomFlip()(image)))
    one, other = (
        explain(c, predict(c, [bright_face()])[0], "attention").heatmap
        for c in (classifier_of(plain), classifier_of(augmented))
    )
    np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_mirrored_score_has_evidence_on_both_sides() -> None:
    classifier = classifier_of(quarter_model("cropping", True), mirror=True)
    heatmap = explain(classifier, predict(classifier, [bright_face()])[0]).heatmap
    half = SIZE // 2
    lower = heatmap[half:].sum() / heatmap.sum()
    assert lower >= 0.95
    assert heatmap[half:, half:].sum() == pytest.approx(heatmap[half:, :half].sum(), rel=0.05)


def test_a_layer_whose_places_are_unknown_is_refused() -> None:
    """Both halves are joined as channels, and behind that no cell lies anywhere."""
    image = keras.Input((SIZE, SIZE, 3))
    x = layers.Concatenate(name="joined")([conv(image[:, :, :16]), conv(image[:, :, 16:])])
    model = keras.Model(image, layers.Dense(1)(layers.GlobalAveragePooling2D()(x)))
    classifier = classifier_of(model)
    prediction = predict(classifier, [bright_face()])[0]
    with pytest.raises(UnsuitableModel, match="cannot be followed back to places"):
        explain(classifier, prediction)
    with pytest.raises(UnsuitableModel, match="joined cannot be laid over the picture"):
        explain(classifier, prediction, layer="joined")
    assert not explain(classifier, prediction, "saliency", prediction.label()).empty


@pytest.mark.parametrize("by_hand", [False, True])
@pytest.mark.parametrize("class_token", [False, True])
class TestTransformers:
    """Tokens are laid out as a grid, and the class token is none of them."""

    @pytest.fixture
    def classifier(self, class_token: bool, by_hand: bool) -> Classifier:
        return classifier_of(transformer(class_token=class_token, by_hand=by_hand))

    def test_evidence_lies_on_the_quarter(self, classifier: Classifier) -> None:
        prediction = predict(classifier, [bright_face()])[0]
        assert prediction.logit > 2
        for method in ("gradcam", "hirescam", "saliency", "attention"):
            found = explain(classifier, prediction, method)
            assert found.method == ("hirescam" if method == "gradcam" else method)
            assert share_in_quarter(found.heatmap) >= 0.85, method

    def test_methods_for_feature_maps_are_refused(self, classifier: Classifier) -> None:
        prediction = predict(classifier, [bright_face()])[0]
        for method in ("gradcam++", "layercam", "scorecam"):
            with pytest.raises(UnsuitableModel, match=r"made for feature maps, and layer .* has tokens"):
                explain(classifier, prediction, method)

    def test_positions_are_no_evidence(self, classifier: Classifier) -> None:
        """A black picture has the same tokens as none, though they hold the codes of their positions."""
        prediction = predict(classifier, [Face.whole(Frame(np.zeros((SIZE, SIZE, 3), np.uint8)))])[0]
        assert explain(classifier, prediction, "hirescam", "real").empty

    def test_heatmaps_are_taken_before_attention_mixes_the_places(
        self, classifier: Classifier, class_token: bool
    ) -> None:
        network = network_for(classifier, "gradcam")
        assert len(network.layout.placed) == 64
        assert network.layout.index.min() == (-1 if class_token else 0)
        layer = default_layer(classifier, "gradcam")
        model = classifier.keras_model
        assert layout_of(model, layer) is network.layout
        sums = [x.name for x in model.operations if type(x).__name__ == "Add"]
        assert layer == sums[0]
        assert "brings from the whole picture" in layout_of(model, sums[-1])


def test_attention_needs_a_transformer(classifier: Classifier) -> None:
    prediction = predict(classifier, [bright_face()])[0]
    with pytest.raises(UnsuitableModel, match="no attention layers"):
        explain(classifier, prediction, "attention")
