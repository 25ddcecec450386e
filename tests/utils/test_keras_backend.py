"""Keras is imported without start-up messages, and failures are still shown."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from redeepfake_nb import ModelError
from redeepfake_nb.utils import keras_backend as backend
from redeepfake_nb.utils.keras_backend import buffered_stderr, compile_function, import_keras


def fresh(code: str, *path: Path) -> subprocess.CompletedProcess:
    """Run code in a separate process, because imports happen once; ``path`` is searched for modules first."""
    environment = {k: v for k, v in os.environ.items() if k not in ("TF_CPP_MIN_LOG_LEVEL", "PYTHONPATH")}
    if path:
        environment["PYTHONPATH"] = os.pathsep.join(map(str, path))
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120
    )


def write_error(text: str) -> None:
    """Write as native code does, bypassing ``sys.stderr``."""
    os.write(2, text.encode())


@pytest.mark.slow
def test_importing_is_quiet() -> None:
    """Two computations and a search for devices follow, because messages may come late."""
    done = fresh(
        "from redeepfake_nb.utils.keras_backend import import_keras\n"
        "import_keras(); import_keras()\n"
        "import keras\n"
        "print(float(keras.ops.sum(keras.ops.ones(3))))\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "3.0\n", "")


def test_a_failed_import_shows_the_buffered_messages(tmp_path: Path) -> None:
    (tmp_path / "keras.py").write_text(
        "import os\nos.write(2, b'no such driver\\n')\nraise ImportError('broken')\n"
    )
    done = fresh("from redeepfake_nb.utils.keras_backend import import_keras\nimport_keras()", tmp_path)
    assert done.returncode == 1
    assert "no such driver" in done.stderr
    assert done.stderr.rstrip().endswith("ImportError: broken")


def test_an_imported_keras_is_not_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log level stays as set, and nothing is imported again."""
    marker = SimpleNamespace(backend=SETUP.backend, config=SETUP.config)
    monkeypatch.setitem(sys.modules, "keras", marker)
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL")
    import_keras()
    assert sys.modules["keras"] is marker
    assert "TF_CPP_MIN_LOG_LEVEL" not in os.environ


def test_a_chosen_log_level_stays(tmp_path: Path) -> None:
    (tmp_path / "keras.py").write_text("class backend:\n    backend = staticmethod(lambda: 'jax')\n")
    code = (
        "import os; {}\n"
        "from redeepfake_nb.utils.keras_backend import _import_quietly\n"
        "_import_quietly(); print(os.environ['TF_CPP_MIN_LOG_LEVEL'])"
    )
    assert fresh(code.format("pass"), tmp_path).stdout == "3\n"
    chosen = "os.environ['TF_CPP_MIN_LOG_LEVEL'] = '0'"
    assert fresh(code.format(chosen), tmp_path).stdout == "0\n"


SETUP = SimpleNamespace(
    backend=SimpleNamespace(backend=lambda: "tensorflow"),
    config=SimpleNamespace(image_data_format=lambda: "channels_last"),
)


def test_another_backend_is_named_with_what_to_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = SimpleNamespace(backend=SimpleNamespace(backend=lambda: "torch"))
    monkeypatch.setitem(sys.modules, "keras", other)
    with pytest.raises(ModelError, match=r"set to run on torch.*KERAS_BACKEND to \"tensorflow\""):
        import_keras()
    # Where that backend is not installed, Keras cannot even be imported.
    (tmp_path / "keras.py").write_text("raise ModuleNotFoundError(\"No module named 'jax'\", name='jax')")
    done = fresh("from redeepfake_nb.utils.keras_backend import import_keras\nimport_keras()", tmp_path)
    assert "ModelError: Keras: it is set to run on jax" in done.stderr


def test_channels_first_is_named_with_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    first = SimpleNamespace(image_data_format=lambda: "channels_first")
    monkeypatch.setitem(sys.modules, "keras", SimpleNamespace(backend=SETUP.backend, config=first))
    with pytest.raises(ModelError, match=r"keras\.config\.set_image_data_format"):
        import_keras()


def test_graphs_of_tensorflow_1_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    monkeypatch.setattr(tf.compat.v1, "executing_eagerly_outside_functions", lambda: False)
    with pytest.raises(ModelError, match=r"leave out tf\.compat\.v1\.disable_eager_execution"):
        import_keras()


def test_compiled_functions_are_not_counted_together(caplog: pytest.LogCaptureFixture) -> None:
    """TensorFlow warns of retracing from the fifth function on, though each is traced once."""
    import tensorflow as tf

    tensorflow_log = logging.getLogger("tensorflow")
    tensorflow_log.addHandler(caplog.handler)
    x = np.ones((3, 2), np.float32)
    try:
        for factor in range(8):
            run = compile_function(lambda t, f=factor: t * f, tf.TensorSpec((None, 2), tf.float32))
            np.testing.assert_array_equal(run(x), x * factor)
            np.testing.assert_array_equal(run(x[:1]), x[:1] * factor)
    finally:
        tensorflow_log.removeHandler(caplog.handler)
    assert "retracing" not in caplog.text


def test_standard_error_is_buffered_and_restored(capfd: pytest.CaptureFixture[str]) -> None:
    with buffered_stderr():
        write_error("greeting\n")
    write_error("after\n")
    assert capfd.readouterr().err == "after\n"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_buffered_messages_are_shown_after_an_exception(
    error: type[BaseException], capfd: pytest.CaptureFixture[str]
) -> None:
    def fails() -> None:
        with buffered_stderr():
            write_error("cause\n")
            raise error

    with pytest.raises(error):
        fails()
    write_error("after\n")
    assert capfd.readouterr().err == "cause\nafter\n"


def test_standard_error_may_be_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """As under some test runners and in some notebooks: then there is no file descriptor to ask for."""
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO()))
    with buffered_stderr():
        write_error("greeting\n")


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts open files through /proc")
def test_no_file_stays_open() -> None:
    def held() -> None:
        with buffered_stderr():
            pass

    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        held()
    assert len(os.listdir("/proc/self/fd")) == before


def test_gpu_memory_grows_as_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is allocated as needed; a GPU that is configured already stays as it is."""
    import tensorflow as tf

    asked = []

    def grow(gpu: str, on: bool) -> None:
        asked.append((gpu, on))
        if gpu == "used":
            raise RuntimeError("Physical devices cannot be modified after being initialized")

    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["used", "new"])
    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", grow)
    backend._enable_memory_growth.__wrapped__()
    assert asked == [("used", True), ("new", True)]
