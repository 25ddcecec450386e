"""Import Keras without the start-up messages that TensorFlow's C++ code writes to standard error.

A notebook shows those lines in a red box above the first result, where they look like a failure. No setting
silences all of them, because some are written before TensorFlow's logging is set up.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache


def import_keras() -> None:
    """Import Keras once and quietly; the buffered messages are shown if the import fails."""
    if "keras" in sys.modules:
        _enable_memory_growth()
        return
    # Real failures are raised as exceptions as well; the log holds only notes on processors and graphs.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with buffered_stderr():
        import keras

        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            # Search for GPUs inside this block, because not finding one is logged too.
            tf.config.list_physical_devices("GPU")
    _enable_memory_growth()


@cache
def _enable_memory_growth() -> None:
    """Let TensorFlow allocate GPU memory as needed; by default it takes all, and other processes get none."""
    if "tensorflow" not in sys.modules:
        return
    import tensorflow as tf

    for gpu in tf.config.list_physical_devices("GPU"):
        # A GPU that is already in use or configured otherwise stays as it is.
        with suppress(RuntimeError, ValueError):
            tf.config.experimental.set_memory_growth(gpu, True)


@contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Set the dtype policy of layers created in the block, such as ``"float32"`` or ``"mixed_bfloat16"``."""
    import_keras()
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


@contextmanager
def buffered_stderr() -> Iterator[None]:
    """Buffer standard error, including that of native code, and print it only after an exception."""
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
