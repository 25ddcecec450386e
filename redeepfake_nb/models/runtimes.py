"""Choose what computes scores, LiteRT or TensorFlow, and run a compiled network with LiteRT.

LiteRT (the package ``ai-edge-litert``, with XNNPACK) scores a face on a CPU in less time than TensorFlow, and
needs neither TensorFlow nor Keras, whose import takes longer than the analysis of a picture. On a GPU
TensorFlow scores.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Generic, Literal, TypeVar, cast

import numpy as np

from ..errors import UnknownChoice
from ..utils.keras_backend import buffered_stderr, import_keras
from ..utils.threads import scoring_threads
from ..utils.versions import version_of

_T = TypeVar("_T")

Runtime = Literal["auto", "litert", "tensorflow"]
RUNTIMES: tuple[Runtime, ...] = ("auto", "litert", "tensorflow")
RUNTIME_VARIABLE = "REDEEPFAKE_NB_RUNTIME"


def chosen_runtime(given: str | None = None) -> Runtime:
    """Return the runtime that was given, else that of ``REDEEPFAKE_NB_RUNTIME``, else ``"auto"``.

    Raises
    ------
    UnknownChoice
        There is no such runtime.
    """
    name = given or os.environ.get(RUNTIME_VARIABLE) or "auto"
    if name not in RUNTIMES:
        where = "" if given else f" in {RUNTIME_VARIABLE}"
        raise UnknownChoice(
            f"unknown runtime {name!r}{where}; there are {', '.join(RUNTIMES)}",
            next_step="Choose one of them as runtime.",
        )
    return name


def litert_installed() -> bool:
    """Tell whether the package ``ai-edge-litert`` is there."""
    return find_spec("ai_edge_litert") is not None


def has_gpu() -> bool:
    """Tell whether TensorFlow has a GPU; TensorFlow is imported only where there may be one."""
    if "tensorflow" not in sys.modules:
        if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
            return False
        # Of NVIDIA, of Windows in its Linux virtual machine, and of AMD; others, as Apple's, are plugins.
        devices = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
        if not any(map(os.path.exists, devices)) and find_spec("tensorflow-plugins") is None:
            return False
    import_keras()
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


class LiteRTNetwork:
    """A compiled network that LiteRT runs, one face at a time; may be used from several threads.

    Parameters
    ----------
    path
        A ``.tflite`` file with one float32 input of a batch of one, and one float32 output, (1, columns). It
        is mapped into memory, so processes that use the same file share its pages.

    Attributes
    ----------
    threads : int
        For one forward pass.
    input_shape : tuple of int
        Without the batch axis.
    columns : int
        The logit, and the columns of the network's further outputs.

    Raises
    ------
    ValueError, RuntimeError
        LiteRT cannot run it.
    """

    def __init__(self, path: Path) -> None:
        self.threads = scoring_threads()
        self._lock = threading.Lock()
        # LiteRT's C++ code announces itself on standard error.
        with buffered_stderr():
            from ai_edge_litert.interpreter import Interpreter

            self._interpreter = Interpreter(model_path=str(path), num_threads=self.threads)
            self._interpreter.allocate_tensors()
        (given,), (made,) = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        if given["dtype"] != np.float32 or made["dtype"] != np.float32 or len(made["shape"]) != 2:
            raise ValueError("the compiled network has another input or output")
        self._input, self._output = given["index"], made["index"]
        self.input_shape = tuple(int(side) for side in given["shape"][1:])
        self.columns = int(made["shape"][1])

    @property
    def description(self) -> str:
        """What runs the network, for reports."""
        threads = f"{self.threads} thread{'' if self.threads == 1 else 's'}"
        return f"LiteRT {version_of('ai-edge-litert')} on CPU, {threads}"

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        """Compute the network's outputs, (N, columns) float32, for a batch of inputs."""
        outputs = np.empty((len(batch), self.columns), np.float32)
        for i in range(len(batch)):
            # Nothing is gained by larger batches, and a score must not depend on them.
            with self._lock:
                self._interpreter.set_tensor(self._input, np.ascontiguousarray(batch[i : i + 1]))
                self._interpreter.invoke()
                outputs[i] = self._interpreter.get_tensor(self._output)[0]
        return outputs

    def mirrored(self, batch: np.ndarray) -> np.ndarray:
        """Compute the mean of the outputs for inputs and for their mirror images, (N, columns) float32."""
        return (self(batch) + self(batch[..., ::-1, :])) / np.float32(2)


class Deferred(Generic[_T]):
    """A Keras model that is built when it is first needed, once, by whichever thread comes first.

    Parameters
    ----------
    build
        Called at most once at a time; after it has raised an exception, the next request calls it again.
    """

    def __init__(self, build: Callable[[], _T]) -> None:
        self._build: Callable[[], _T] | None = build
        self._built: _T | None = None
        self._lock = threading.Lock()
        self._started = False

    def get(self) -> _T:
        """Return the model; the first call imports TensorFlow and builds it."""
        with self._lock:
            if self._build is not None:
                import_keras()
                self._built = self._build()
                self._build = None
            return cast(_T, self._built)

    def start(self, and_then: Callable[[], object] | None = None) -> None:
        """Build the model in the background; an exception is raised where the model is then asked for.

        Parameters
        ----------
        and_then
            Called in the background when the model is there.
        """
        if self._started:
            return
        self._started = True

        def work() -> None:
            with suppress(Exception):
                self.get()
                if and_then is not None:
                    and_then()

        # Not a daemon: a process that ended while TensorFlow is being imported would crash.
        threading.Thread(target=work, name="redeepfake-keras").start()
