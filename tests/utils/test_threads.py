"""OpenCV keeps to one thread while several threads of the package use it, and gets its own back."""

from __future__ import annotations

import cv2
import pytest

from redeepfake_nb.utils import threads


def test_opencv_gets_its_threads_back_from_whoever_leaves_last() -> None:
    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    try:
        with pytest.raises(RuntimeError), threads.opencv_in_one_thread():
            with threads.opencv_in_one_thread():
                assert cv2.getNumThreads() == 1
            assert cv2.getNumThreads() == 1
            raise RuntimeError
        assert cv2.getNumThreads() == 2
    finally:
        cv2.setNumThreads(before)
