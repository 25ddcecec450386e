"""Heatmaps where ``tf.keras`` is set to be Keras 2, as tutorials and hosted notebooks do."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from redeepfake_nb import Card, Classifier, Preprocessing
from redeepfake_nb.explanation.methods import GENERAL_METHODS
from redeepfake_nb.explanation.split_network import SplitNetwork


def maps() -> dict[str, list]:
    """Maps of all methods, also at a layer that some paths bypass, of a model with fixed weights."""
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="conv")(image)
    side = keras.layers.Conv2D(4, 3, padding="same", name="side")(image)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Add(name="sum")([x, side]))
    model = keras.Model(image, keras.layers.Dense(1)(x))
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(size=w.shape) for w in model.weights])
    classifier = Classifier(model, Card(preprocessing=Preprocessing(input_size=8, value_range=(0, 1))))
    batch = rng.random((2, 8, 8, 3)).astype(np.float32)
    networks = {layer: SplitNetwork(classifier, layer) for layer in ("sum", "conv")}
    return {
        f"{method} {layer}": network.maps(batch, method, "fake").tolist()
        for layer, network in networks.items()
        for method in GENERAL_METHODS
    }


@pytest.mark.slow
def test_heatmaps_are_the_same_where_tf_keras_is_keras_2() -> None:
    if importlib.util.find_spec("tf_keras") is None:
        pytest.skip("tf_keras is not installed")
    environment = {**os.environ, "TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    run = subprocess.run([sys.executable, Path(__file__)], capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr[-2000:]
    assert "WARNING" not in run.stderr.replace("WARNING: All log messages before absl", "")
    module, found = json.loads(run.stdout.splitlines()[-1])
    assert module.startswith("tf_keras.")
    for name, expected in maps().items():
        np.testing.assert_allclose(found[name], expected, rtol=1e-4, atol=1e-6, err_msg=name)


if __name__ == "__main__":
    import tf_keras  # noqa: F401 - imported first, as by somebody who also uses Keras 2

    found = maps()
    import tensorflow as tf

    print(json.dumps([tf.keras.Model.__module__, found]))
