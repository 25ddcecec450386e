"""Every network of keras.applications, as people save it, loads with equal outputs."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
from helpers import applications
from helpers.applications import FAMILIES, KERAS_2_FAMILIES

from redeepfake_nb.models.serialization.archive import describe
from redeepfake_nb.models.serialization.build import read_model

# Those with layers or operations that other networks lack; the other families are slow together.
QUICK = ("ConvNeXtTiny", "MobileNetV3Small")
# tests/models/serialization/test_keras2.py has other families; the rest are made of the same layers.
OF_KERAS_2 = ("InceptionResNetV2", "EfficientNetV2B0", "ConvNeXtTiny", *KERAS_2_FAMILIES)


def head_of(name: str) -> str:
    """Give half of the networks a head inside their graph, and the others one around them."""
    return "flat" if len(name) % 2 else "pooled"


def check(folder: Path, name: str) -> None:
    stem = f"{name}-{head_of(name)}"
    reference = np.load(folder / f"{stem}.npz")
    spread = np.ptp(reference["y"])
    assert spread > 1e-3, "the output does not depend on the image"
    for ending in (".keras", ".h5"):
        path = folder / f"{stem}{ending}"
        found = applications.logits(keras, read_model(path, describe(path)).model, reference["x"])
        np.testing.assert_allclose(found, reference["y"], rtol=0, atol=5e-3 * spread, err_msg=path.name)


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES]
)
def test_networks_of_keras_3(tmp_path: Path, name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # HDF5 is a legacy format
        applications.save(keras, str(tmp_path), name, head_of(name))
    check(tmp_path, name)


@pytest.fixture(scope="module")
def old_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save the networks with Keras 2, in another process."""
    if importlib.util.find_spec("tf_keras") is None:
        pytest.skip("tf_keras, which makes Keras 2 files, is not installed")
    folder = tmp_path_factory.mktemp("applications")
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore"}
    tasks = [f"{name}-{head_of(name)}" for name in OF_KERAS_2]
    command = [sys.executable, applications.__file__, str(folder), *tasks]
    run = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr[-3000:]
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_KERAS_2)
def test_networks_of_keras_2(old_files: Path, name: str) -> None:
    check(old_files, name)
