"""Traces of handling: quantisation tables."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from helpers.metadata_files import picture, saved
from PIL.JpegPresets import presets

from redeepfake_nb.provenance.embedded import read_embedded
from redeepfake_nb.provenance.handling import jpeg_traces, libjpeg_quality, photoshop_preset


def _tables(jpeg: bytes) -> dict[int, tuple[int, ...]]:
    return read_embedded(io.BytesIO(jpeg), "JPEG").tables


@pytest.mark.parametrize("quality", [1, 10, 49, 50, 75, 90, 95, 100])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_the_quality_of_libjpeg_is_exact(quality: int, mode: str) -> None:
    jpeg = saved(picture().convert(mode), quality=quality)
    assert libjpeg_quality(_tables(jpeg)) == quality
    assert f"quality {quality}" in jpeg_traces(_tables(jpeg))[0].finding


def test_opencv_writes_the_same_tables() -> None:
    _, jpeg = cv2.imencode(".jpg", np.asarray(picture()), [cv2.IMWRITE_JPEG_QUALITY, 85])
    assert libjpeg_quality(_tables(jpeg.tobytes())) == 85


@pytest.mark.parametrize("name", ["low", "high", "maximum", "web_very_high"])
def test_settings_of_photoshop(name: str) -> None:
    tables = _tables(saved(picture(), qtables=presets[name]["quantization"]))
    assert libjpeg_quality(tables) is None
    assert photoshop_preset(tables) == name.replace("_", " ")


def test_other_tables_are_their_own() -> None:
    tables = _tables(saved(picture(), qtables=[[3] * 64, [5] * 64]))
    assert jpeg_traces(tables)[0].finding == "tables of their own"
    assert jpeg_traces({}) == []
