"""Imports Keras and its backend without the greetings that TensorFlow's C++ parts write to standard error.

In a notebook those lines stand in a red box above the first result and look like a failure. No setting
silences them, as they are written before the log is set up.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache


def import_keras() -> None:
    """Import Keras, once, quietly. What was held back is shown if the import fails."""
    if "keras" in sys.modules:
        _share_gpus()
        return
    # Its warnings and errors are about processors and graphs; what matters comes as an exception as well.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with standard_error_held_back():
        import keras

        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            # Looks for a GPU now rather than at the first score, since not finding one is said aloud too.
            tf.config.list_physical_devices("GPU")
    _share_gpus()


@cache
def _share_gpus() -> None:
    """Let TensorFlow take a GPU's memory as it needs it; by itself it takes all, and others get none."""
    if "tensorflow" not in sys.modules:
        return
    import tensorflow as tf

    for gpu in tf.config.list_physical_devices("GPU"):
        # A GPU that somebody has used or set up before stays as it is.
        with suppress(RuntimeError, ValueError):
            tf.config.experimental.set_memory_growth(gpu, True)


@contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Let layers made in the block have this policy, such as ``"float32"`` or ``"mixed_bfloat16"``."""
    import_keras()
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


@contextmanager
def standard_error_held_back() -> Iterator[None]:
    """Keep the process's standard error, native code's included, in a file; show it after an exception."""
    with tempfile.TemporaryFile() as kept:
        sys.stderr.flush()
        saved = os.dup(2)
        try:
            os.dup2(kept.fileno(), 2)
            try:
                yield
            finally:
                sys.stderr.flush()
                os.dup2(saved, 2)
        except BaseException:
            kept.seek(0)
            sys.stderr.write(kept.read().decode("utf-8", "replace"))
            raise
        finally:
            os.close(saved)
