"""Choose what computes scores, LiteRT or TensorFlow, and run a compiled network with LiteRT.

LiteRT (the package ``ai-edge-litert``, with XNNPACK) scores a face on a CPU in less time than TensorFlow, and
needs neither TensorFlow nor Keras, whose import takes longer than the analysis of a picture. On a GPU
TensorFlow scores.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
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


@cache
def gpu_memory() -> int | None:
    """Return how many bytes of its first GPU TensorFlow may use; ``None`` where that is not known."""
    if not has_gpu():
        return None
    import tensorflow as tf
    from tensorflow.python.client import device_lib

    with suppress(Exception):  # not part of TensorFlow's stable interface
        options = tf.compat.v1.GPUOptions(allow_growth=True)
        devices = device_lib.list_local_devices(tf.compat.v1.ConfigProto(gpu_options=options))
        return next(int(d.memory_limit) for d in devices if d.device_type == "GPU") or None
    return None


def gpu_name() -> str:
    """Return the name of TensorFlow's first GPU, such as ``"Tesla T4"``; empty without a GPU."""
    if not has_gpu():
        return ""
    import tensorflow as tf

    first = tf.config.list_physical_devices("GPU")[0]
    return str(tf.config.experimental.get_device_details(first).get("device_name", first.name))


# Bytes of a network from which it is run by one interpreter.
_LARGE = 64 * 2**20


class LiteRTNetwork:
    """A compiled network that LiteRT runs, one face at a time; may be used from several threads.

    Several faces, and a face and its mirror image, are shared out among two interpreters, each with half of
    the threads: small networks gain less from threads than from being run twice at once. A single input gets
    all threads, and so does each of several where the network is large, since every interpreter has a copy of
    the weights.

    Parameters
    ----------
    path
        A ``.tflite`` file with one float32 input of a batch of one, and one float32 output, (1, columns). It
        is mapped into memory, so processes that use the same file share its pages.

    Attributes
    ----------
    threads : int
        For one forward pass, or for the two that run at once.
    input_shape : tuple of int
        Without the batch axis.
    columns : int
        The logit, the columns of the network's further outputs, and the cells of its evidence map.

    Raises
    ------
    ValueError, RuntimeError
        LiteRT cannot run it.
    """

    def __init__(self, path: Path) -> None:
        self.threads = scoring_threads()
        self._path = path
        self._making = threading.Lock()
        self._interpreters: dict[int, list[_Interpreter]] = {}
        self._at_once = 1 if path.stat().st_size > _LARGE else min(self.threads, 2)
        first = self._shared_out(self._at_once)[0]
        self.input_shape, self.columns = first.input_shape, first.columns
        self._helper = ThreadPoolExecutor(1, thread_name_prefix="redeepfake-litert")

    @property
    def description(self) -> str:
        """What runs the network, for reports."""
        threads = f"{self.threads} thread{'' if self.threads == 1 else 's'}"
        return f"LiteRT {version_of('ai-edge-litert')} on CPU, {threads}"

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        """Compute the network's outputs, (N, columns) float32, for a batch of inputs."""
        outputs = np.empty((len(batch), self.columns), np.float32)
        left = iter(range(len(batch)))
        first, *others = self._shared_out(max(min(len(batch), self._at_once), 1))
        helping = [self._helper.submit(other.run, batch, left, outputs) for other in others]
        try:
            first.run(batch, left, outputs)
        finally:
            for help in helping:
                help.result()
        return outputs

    def mirrored(self, batch: np.ndarray) -> np.ndarray:
        """Compute the mean of the outputs for inputs and for their mirror images, (N, columns) float32."""
        outputs = self(np.concatenate([batch, batch[..., ::-1, :]]))
        return (outputs[: len(batch)] + outputs[len(batch) :]) / np.float32(2)

    def _shared_out(self, count: int) -> list[_Interpreter]:
        """Return this many interpreters that share the threads; made when they are first needed."""
        with self._making:
            if count not in self._interpreters:
                threads = max(self.threads // count, 1)
                self._interpreters[count] = [_Interpreter(self._path, threads) for _ in range(count)]
            return self._interpreters[count]


class _Interpreter:
    """LiteRT's interpreter of one network, used by one thread at a time."""

    def __init__(self, path: Path, threads: int) -> None:
        self._lock = threading.Lock()
        # LiteRT's C++ code announces itself on standard error.
        with buffered_stderr():
            from ai_edge_litert.interpreter import Interpreter

            self._interpreter = Interpreter(model_path=str(path), num_threads=threads)
            self._interpreter.allocate_tensors()
        (given,), (made,) = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        if given["dtype"] != np.float32 or made["dtype"] != np.float32 or len(made["shape"]) != 2:
            raise ValueError("the compiled network has another input or output")
        self._input, self._output = given["index"], made["index"]
        self.input_shape = tuple(int(side) for side in given["shape"][1:])
        self.columns = int(made["shape"][1])

    def run(self, batch: np.ndarray, numbers: Iterator[int], outputs: np.ndarray) -> None:
        """Compute the outputs of those inputs whose numbers nobody else has taken.

        Nothing is gained by larger batches, and a score must not depend on them.
        """
        for number in numbers:
            with self._lock:
                self._interpreter.set_tensor(self._input, np.ascontiguousarray(batch[number : number + 1]))
                self._interpreter.invoke()
                outputs[number] = self._interpreter.get_tensor(self._output)[0]


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
