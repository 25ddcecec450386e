"""Traces of decoders: what they add to the spectrum, and what of the picture stays."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from helpers.patterned import shades

from redeepfake_nb.datasets import decoder_traces
from redeepfake_nb.datasets.decoder_traces import TRACES, generator_traces
from redeepfake_nb.datasets.image_operations import rescale

SEEDS = range(24)


def nyquist(image: np.ndarray) -> float:
    """Return the amplitude, in grey levels, of the patterns that repeat every 2 pixels."""
    grey = image.astype(np.float64).mean(axis=2)
    spectrum = np.abs(np.fft.fft2(grey)) / grey.size
    height, width = grey.shape
    return float(spectrum[height // 2, 0] + spectrum[0, width // 2] + spectrum[height // 2, width // 2])


def detail(image: np.ndarray) -> float:
    grey = image.astype(np.float32).mean(axis=2)
    return float(np.abs(grey - cv2.GaussianBlur(grey, (0, 0), 1)).mean())


@pytest.mark.parametrize("kind", TRACES)
def test_content_stays(kind):
    image = shades()
    for seed in SEEDS:
        made, mask = generator_traces(image, np.random.default_rng(seed), kind=kind)
        assert (made.shape, made.dtype) == (image.shape, np.uint8)
        assert (mask == 1).all()
        assert (mask.shape, mask.dtype) == (image.shape[:2], np.float32)
        difference = made.astype(float) - image
        assert np.abs(difference.mean(axis=(0, 1))).max() < 1.5
        assert (made != image).mean() > 0.05
        slow = cv2.blur(difference, (9, 9))[8:-8, 8:-8]
        assert np.abs(slow).mean() < 2  # nothing was moved, lit or coloured


def test_a_transposed_convolution_repeats_the_spectrum():
    flat = np.full((32, 32, 3), 100, np.float32)
    for seed in SEEDS:
        large = decoder_traces._transposed_convolution(flat, np.random.default_rng(seed))
        assert large.shape == (64, 64, 3)
        inner = large[8:-8, 8:-8]
        assert inner.mean() == pytest.approx(100, abs=0.01)
        assert nyquist(inner) > 0.05
        # Each of the four phases is flat: there is a checkerboard and nothing else.
        for y in (0, 1):
            for x in (0, 1):
                assert np.ptp(inner[y::2, x::2]) < 1e-3


def test_transposed_convolutions_show_at_the_nyquist_frequency():
    image = cv2.GaussianBlur(shades(), (0, 0), 1.5)
    made = [generator_traces(image, np.random.default_rng(s), kind="transposed")[0] for s in SEEDS]
    amplitudes = [nyquist(m) for m in made]
    assert nyquist(rescale(image, 80, 80)) < 0.05
    assert np.mean(amplitudes) > 0.3
    assert np.mean(amplitudes) < 10
    assert min(amplitudes) < 0.1  # where the picture was scaled down afterwards


def test_repeated_pixels_are_steps_before_the_convolution():
    small = np.zeros((4, 4, 3), np.float32)
    small[1, 2] = 16
    large = decoder_traces._repeated_pixels(small, np.random.default_rng(0))
    assert large.shape == (8, 8, 3)
    assert large.sum() == pytest.approx(4 * 16 * 3, rel=1e-4)
    rows, columns = np.nonzero(large[..., 0])
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (1, 4, 3, 6)


@pytest.mark.parametrize("kind", TRACES)
def test_results_are_not_just_blurred(kind):
    image = shades()
    made = [detail(generator_traces(image, np.random.default_rng(s), kind=kind)[0]) for s in SEEDS]
    assert np.mean(made) > 1.3 * detail(rescale(image, 80, 80))
    assert max(made) - min(made) > 0.2 * detail(image)  # from faint to strong


@pytest.mark.parametrize("shape", [(24, 40), (17, 31), (9, 8)])
@pytest.mark.parametrize("own", [False, True])
def test_all_components_give_the_plane_back(shape, own):
    plane = shades(*shape)[..., 1].astype(np.float32)
    rng = np.random.default_rng(0)
    np.testing.assert_allclose(
        decoder_traces._through_patches(plane, 63, 0.0, 0.0, own, rng), plane, atol=0.02
    )


@pytest.mark.parametrize("own", [False, True])
def test_slow_changes_show_no_grid(own):
    """Brightness that changes slowly comes back, even from one component, without the patches' period."""
    y, x = np.mgrid[:64, :64].astype(np.float32)
    plane = 100 + 0.5 * x + 0.3 * y + np.random.default_rng(0).normal(0, 1, x.shape).astype(np.float32)
    made = decoder_traces._through_patches(plane, 3, 1.0, 0.0, own, np.random.default_rng(0))
    pattern = (made - plane)[8:56, 8:56].reshape(12, 4, 12, 4).mean(axis=(0, 2))
    assert pattern.std() < 0.15


def test_few_components_are_smooth_and_invented_ones_are_not():
    plane = shades()[..., 0].astype(np.float32)
    rough, invented = (
        decoder_traces._through_patches(plane, 6, 2.0, share, False, np.random.default_rng(0))
        for share in (0.0, 1.0)
    )
    grain = [detail(p[..., None]) for p in (plane, rough, invented)]
    assert grain[1] < 0.35 * grain[0]
    assert grain[1] < 1.5 * grain[1] < grain[2] < grain[0]
    assert np.corrcoef((plane - rough).ravel(), (invented - rough).ravel())[0, 1] < 0.2


def test_the_bottleneck_takes_more_from_chroma():
    image = shades()
    ratios = []
    for seed in SEEDS:
        made, _ = generator_traces(image, np.random.default_rng(seed), kind="bottleneck")
        before, after = (cv2.cvtColor(p, cv2.COLOR_RGB2YCrCb) for p in (image, made))
        kept = [detail(after[..., [c]]) / detail(before[..., [c]]) for c in range(3)]
        ratios.append(kept)
    luma, *chroma = np.mean(ratios, axis=0)
    assert max(chroma) < 0.8 * luma


def test_every_kind_is_drawn():
    image = shades(48, 48)
    rng = np.random.default_rng
    made = [generator_traces(image, rng(s))[0] for s in SEEDS]
    kinds = [
        next(k for k in TRACES if (generator_traces(image, rng(s), kind=k)[0] == m).all())
        for s, m in zip(SEEDS, made, strict=True)
    ]
    assert set(kinds) == set(TRACES)


@pytest.mark.parametrize("kind", TRACES)
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (3, 5), (7, 70), (33, 65)])
def test_any_size(kind, shape):
    image = shades(*shape)
    kept = image.copy()
    image.setflags(write=False)
    for seed in range(6):
        made, mask = generator_traces(image, np.random.default_rng(seed), kind=kind)
        assert made.shape == image.shape
        assert mask.shape == image.shape[:2]
    np.testing.assert_array_equal(image, kept)


def test_invalid_arguments():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="kind must be one of transposed, nearest, bottleneck, not 'blur'"):
        generator_traces(shades(), rng, kind="blur")
    for wrong in (shades()[..., 0], shades().astype(float), np.zeros((0, 5, 3), np.uint8)):
        with pytest.raises(ValueError, match="image must be"):
            generator_traces(wrong, rng)
