"""Heatmaps of planted networks, from memory and from every kind of file: on the evidence, or refused."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from helpers import planted_networks
from helpers.moved_evidence import bright_face
from helpers.planted_networks import NETWORKS, SIZE, build, file_name

from redeepfake_nb import Card, Classifier, Preprocessing, UnsuitableModel, explain, load_model, predict
from redeepfake_nb.explanation.methods import METHODS

# Networks without a map that the whole score passes through; saliency explains them.
WITHOUT_MAP = ("two pooled branches", "flattened pixels")
FORMATS = ("memory", "nested", ".keras", ".h5")


def classifier_from(name: str, form: str, folder: Path) -> Classifier:
    """The network, built or loaded from a file of Keras 3."""
    preprocessing = Preprocessing(input_size=SIZE)
    model = build(name, keras, nested=form != "memory")
    if not form.startswith("."):
        return Classifier(model, Card(preprocessing=preprocessing, temperature=1.0))
    path = folder / f"{file_name(name)}{form}"
    model.save(path)
    return loaded(path)


def loaded(path: Path) -> Classifier:
    return load_model(
        path, preprocessing=Preprocessing(input_size=SIZE), positive_class="fake", output="logit"
    )


def check(name: str, classifier: Classifier) -> None:
    """Every method puts at least 85 % of its energy where the evidence is, or refuses."""
    planted = NETWORKS[name]
    (prediction,) = predict(classifier, [bright_face()])
    assert prediction.label() == planted.target
    refused = []
    for method in METHODS:
        try:
            found = explain(classifier, prediction, method, planted.target)
        except UnsuitableModel:
            refused.append(method)
            continue
        assert not found.empty, method
        assert found.heatmap[planted.box].sum() >= 0.85 * found.heatmap.sum(), method
    assert "saliency" not in refused
    assert ("gradcam" in refused) == ("hirescam" in refused) == (name in WITHOUT_MAP)


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file:UserWarning")
@pytest.mark.parametrize("name", NETWORKS)
def test_evidence_lies_where_it_was_planted(name: str, tmp_path: Path) -> None:
    form = FORMATS[list(NETWORKS).index(name) % len(FORMATS)]
    check(name, classifier_from(name, form, tmp_path))


@pytest.fixture(scope="module")
def legacy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the networks as Keras 2 saves them."""
    if importlib.util.find_spec("tf_keras") is None:
        pytest.skip("tf_keras is not installed")
    folder = tmp_path_factory.mktemp("legacy")
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "TF_USE_LEGACY_KERAS": "1"}
    script = planted_networks.__file__
    run = subprocess.run([sys.executable, script, folder], capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr[-2000:]
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_legacy_files(name: str, legacy: Path) -> None:
    check(name, loaded(legacy / f"{file_name(name)}.h5"))


def test_all_forms_of_a_network_have_the_same_heatmap(tmp_path: Path) -> None:
    heatmaps = []
    for form in ("memory", ".keras"):
        classifier = classifier_from("flattened", form, tmp_path)
        found = explain(classifier, predict(classifier, [bright_face()])[0])
        assert found.method == "hirescam"
        heatmaps.append(found.heatmap)
    np.testing.assert_allclose(*heatmaps, atol=1e-4)
