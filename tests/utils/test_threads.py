"""OpenCV keeps to one thread while several threads of the package use it, and gets its own back."""

from __future__ import annotations

import cv2
import pytest

from redeepfake_nb.utils import threads


def test_opencv_gets_its_threads_back_from_whoever_leaves_last() -> None:
    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    try:
        with threads.opencv_in_one_thread():
            with threads.opencv_in_one_thread():
                assert cv2.getNumThreads() == 1
            assert cv2.getNumThreads() == 1
        assert cv2.getNumThreads() == 2
    finally:
        cv2.setNumThreads(before)


def test_opencv_gets_its_threads_back_after_an_error() -> None:
    before = cv2.getNumThreads()
    with pytest.raises(ZeroDivisionError), threads.opencv_in_one_thread():
        _ = 1 / 0
    assert cv2.getNumThreads() == before
