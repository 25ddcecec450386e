"""Import Keras on TensorFlow, quietly, and compile functions with it.

TensorFlow's C++ code writes start-up messages to standard error. A notebook shows those lines in a red box
above the first result, where they look like a failure. No setting silences all of them, because some are
written before TensorFlow's logging is set up.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, wraps
from typing import TYPE_CHECKING, Any, TextIO

from ..errors import ModelError

if TYPE_CHECKING:
    import tensorflow as tf

_BACKENDS = ("jax", "torch", "openvino")


def import_keras(*, any_backend: bool = False) -> None:
    """Import Keras once and quietly; the buffered messages are shown if the import fails.

    Parameters
    ----------
    any_backend
        Whether another backend than TensorFlow will do, as for building and training a network.

    Raises
    ------
    ModelError
        Keras or TensorFlow is set up in this process so that models cannot be run; the message says what to
        set.
    """
    if "keras" not in sys.modules:
        try:
            _import_quietly()
        except ModuleNotFoundError as error:
            if error.name in _BACKENDS:
                raise _wrong_backend(str(error.name)) from error
            raise
    _check_setup(any_backend)
    _enable_memory_growth()


def _import_quietly() -> None:
    # Real failures are raised as exceptions as well; the log holds only notes on processors and graphs.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with buffered_stderr():
        import keras

        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            # Search for GPUs inside this block, because not finding one is logged too.
            tf.config.list_physical_devices("GPU")


def _check_setup(any_backend: bool) -> None:
    """Raise :class:`ModelError` if settings of this process keep the package's models from running."""
    import keras

    if keras.backend.backend() == "tensorflow":
        _check_eager()
    elif not any_backend:
        raise _wrong_backend(keras.backend.backend())
    if keras.config.image_data_format() != "channels_last":
        raise ModelError(
            "images have their channels first by the setting image_data_format, and here they come last",
            subject="Keras",
            next_step='Call keras.config.set_image_data_format("channels_last"), or remove the setting from '
            "the file keras.json in ~/.keras.",
        )


def _check_eager() -> None:
    import tensorflow as tf

    if not tf.compat.v1.executing_eagerly_outside_functions():
        raise ModelError(
            "eager execution is switched off in this process, and models need it",
            subject="TensorFlow",
            next_step="Restart the process (in a notebook: the kernel), and leave out "
            "tf.compat.v1.disable_eager_execution() and disable_v2_behavior().",
        )


def _wrong_backend(name: str) -> ModelError:
    return ModelError(
        f"it is set to run on {name}, and models are run on TensorFlow",
        subject="Keras",
        next_step='Set the environment variable KERAS_BACKEND to "tensorflow" and start the process again '
        '(in a notebook: restart the kernel, and begin with import os; os.environ["KERAS_BACKEND"] = '
        '"tensorflow").',
    )


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


def compile_function(
    function: Callable[..., tf.Tensor], *signature: tf.TensorSpec
) -> Callable[..., tf.Tensor]:
    """Trace a function of tensors once, and return what runs its graph; it takes tensors and arrays.

    ``tf.function`` would do, but it counts the traces of all functions that come from one line of code, and
    warns of retracing from the fifth on, as if models that are each traced once were one.
    """
    import tensorflow as tf

    graph = tf.function(function, input_signature=signature, autograph=False).get_concrete_function()

    # The wrapper also keeps the function, since the graph holds the model's variables only weakly.
    @wraps(function)
    def run(*tensors: Any) -> tf.Tensor:
        given = zip(tensors, signature, strict=True)
        return graph(*(tf.convert_to_tensor(tensor, spec.dtype) for tensor, spec in given))

    return run


@contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Set the dtype policy of layers created in the block, such as ``"float32"`` or ``"mixed_bfloat16"``."""
    import_keras(any_backend=True)
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


class _StderrByThread(io.TextIOBase):
    """Standard error of Python: one thread writes to what is buffered, all others to the terminal itself."""

    def __init__(self, buffered: TextIO, terminal: TextIO) -> None:
        self._buffered, self._terminal, self._thread = buffered, terminal, threading.get_ident()

    def write(self, text: str) -> int:
        return (self._buffered if threading.get_ident() == self._thread else self._terminal).write(text)

    def flush(self) -> None:
        self._buffered.flush()
        self._terminal.flush()

    def fileno(self) -> int:
        return self._buffered.fileno()

    def isatty(self) -> bool:
        return self._terminal.isatty()


def _descriptor(stream: TextIO) -> int | None:
    """Return the file descriptor of a stream; None for one in memory, such as a notebook's or a test's."""
    try:
        return stream.fileno()
    except (OSError, ValueError):
        return None


@contextmanager
def _other_threads_write() -> Iterator[None]:
    """Let other threads write to standard error while this one, in the background, buffers it."""
    before = sys.stderr
    direct = isinstance(before, io.TextIOWrapper) and _descriptor(before) == 2
    if not direct or threading.current_thread() is threading.main_thread():
        yield
        return
    with open(os.dup(2), "w", buffering=1, encoding=before.encoding, errors="backslashreplace") as terminal:
        sys.stderr = _StderrByThread(before, terminal)
        try:
            yield
        finally:
            sys.stderr = before


@contextmanager
def buffered_stderr() -> Iterator[None]:
    """Buffer standard error, including that of native code, and print it only after an exception.

    In the background, what other threads write in Python is not held back.
    """
    with tempfile.TemporaryFile() as kept, _other_threads_write():
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
