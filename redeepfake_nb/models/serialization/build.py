"""A file that was looked through -> a Keras model with its weights, within limits.

A configuration may ask for any amount of memory, so a graph is first built without allocating its weights,
and only what the file really holds is given a place.
"""

from __future__ import annotations

import contextlib
import inspect
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import NotAModel, RedeepfakeError, UnsafeModel, in_one_line
from ...utils.keras_backend import import_keras
from .allowlist import check_config, objects
from .archive import Description, unpack_weights
from .hdf5 import open_store
from .keras2_graph import translate
from .weights import count, fill_by_name, fill_by_place, fill_in_keras_3, names_in_order

if TYPE_CHECKING:
    import keras

MAX_LAYERS = 3000
MAX_WEIGHTS = 2**28


@dataclass(frozen=True)
class Read:
    """A model as its file has it: its own output, models inside models.

    ``trusted`` names what the lists would have refused.
    """

    model: keras.Model
    trusted: tuple[str, ...] = ()


def read_model(path: Path, described: Description, trust: bool = False) -> Read:
    """Build the model that a file describes, and give it the file's weights.

    Parameters
    ----------
    described
        From :func:`redeepfake_nb.models.serialization.archive.describe`, with a configuration.
    trust
        See :func:`redeepfake_nb.models.serialization.allowlist.check_config`.

    Raises
    ------
    UnsafeModel
        It names what is not on the lists, or asks for more than the file holds.
    NotAModel
        Keras cannot build it, or weights and graph do not fit.
    """
    config, old = described.config, None
    if described.legacy:
        old = translate(config, path, trust)
        config = old.config
    trusted = check_config(config, path, trust)
    check_size(config, path)
    with tempfile.TemporaryDirectory(prefix="model-") as folder:
        file = path if described.format == "hdf5" else unpack_weights(path, Path(folder))
        with open_store(file, path) as store:
            model = _build(config, store.elements, path, unsafe=bool(trusted))
            if described.format == "hdf5":
                fill_by_name(model, store, old.names if old else None)
            elif old is not None:
                fill_by_place(model, old.places, store)
            else:
                fill_in_keras_3(model, file, store)
    return Read(model, trusted)


def fill_weights(model: keras.Model, path: Path) -> None:
    """Give a model the weights of a file that holds nothing else.

    Raises
    ------
    NotAModel
        They do not fit.
    UnsafeModel
        The file refers to other files.
    """
    with open_store(path) as store:
        if "layer_names" in store.attributes():
            fill_by_name(model, store, names_in_order(model, store))
            return
        if path.name.endswith(".weights.h5"):
            fill_in_keras_3(model, path, store)
            return
        with tempfile.TemporaryDirectory(prefix="model-") as folder:
            # Keras goes by the name's ending.
            copy = Path(folder) / "model.weights.h5"
            copy.write_bytes(path.read_bytes())
            fill_in_keras_3(model, copy, store)


def check_size(config: Any, subject: object) -> None:
    """Refuse a graph of more parts than any network has.

    Raises
    ------
    UnsafeModel
    """
    named = (node for node in objects(config) if "Policy" not in str(node["class_name"]))
    parts = sum(isinstance(node.get("config"), dict) and "name" in node["config"] for node in named)
    if parts > MAX_LAYERS:
        raise UnsafeModel(
            f"it has {parts:,} layers; the limit is {MAX_LAYERS:,}",
            subject=subject,
            next_step="Do not open it.",
        )


def _build(config: dict[str, Any], held: int, subject: object, unsafe: bool) -> keras.Model:
    """The graph, with weights that are still to be filled; ``held`` numbers are in the file."""
    import_keras()
    import keras

    # A full .h5 model does not say where Keras keeps the outermost class.
    home = "keras.src.models.functional" if config.get("class_name") == "Functional" else "keras"
    config = {"module": home, "registered_name": None, **_with_simple_starts(_understood(config))}
    with (
        _failures_named(subject),
        _unborn_forgotten(),
        keras.StatelessScope(initialize_variables=False) as scope,
    ):
        model = keras.saving.deserialize_keras_object(config, safe_mode=not unsafe)
        if not isinstance(model, keras.Model):
            raise NotAModel(
                f"it describes a {type(model).__name__}, not a model",
                subject=subject,
                next_step="Save the whole model.",
            )
        wanted = count(model.weights)
        if wanted > held:
            raise NotAModel(
                f"its graph needs {wanted:,} weights, and the file holds {held:,}",
                subject=subject,
                next_step="Copy or download it again, or check that it was saved whole.",
            )
        if wanted > MAX_WEIGHTS:
            raise UnsafeModel(
                f"it has {wanted:,} weights; the limit is {MAX_WEIGHTS:,}",
                subject=subject,
                next_step="Use a smaller model.",
            )
        # Only now may leaving the scope allocate them.
        scope.initialize_variables = True
    return model


@contextlib.contextmanager
def _unborn_forgotten() -> Iterator[None]:
    """After a failure, take the weights that were to be allocated off Keras's list.

    Keras would make room for them at the next occasion. The list is private; tests/test_model_building.py
    holds that nothing is left in it.
    """
    from keras.src.backend.common import global_state

    key = "uninitialized_variables"
    before = list(global_state.get_global_attribute(key) or [])
    try:
        yield
    except BaseException:
        global_state.set_global_attribute(key, before)
        raise


@contextlib.contextmanager
def _failures_named(subject: object) -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (MemoryError, RedeepfakeError):
        raise
    except Exception as error:  # Keras raises whatever its layers raise
        if "unsafe" in str(error).lower():
            raise UnsafeModel(in_one_line(error), subject=subject, next_step="Do not open it.") from error
        raise NotAModel(
            f"Keras cannot load it ({in_one_line(error)})",
            subject=subject,
            next_step="Save it again with Keras 3, or check that the file is whole.",
        ) from error


def _understood(node: Any) -> Any:
    """Layers' settings without those that this Keras does not know yet, as far as they are switched off.

    A later Keras writes all its options into every file, such as ``renorm`` of batch normalisation; one that
    is on stays, and Keras then says that it does not know it.
    """
    if isinstance(node, list):
        return [_understood(value) for value in node]
    if not isinstance(node, dict):
        return node
    found = {key: _understood(value) for key, value in node.items()}
    settings, known = found.get("config"), _settings_of(found.get("class_name"))
    if isinstance(settings, dict) and known:
        unknown = {key for key in settings if key not in known}
        off = {key for key in unknown if settings[key] is None or settings[key] is False}
        # What belongs to an option that is off: ``renorm_momentum``.
        off |= {key for key in unknown if any(key.startswith(f"{option}_") for option in off)}
        found["config"] = {key: value for key, value in settings.items() if key not in off}
    return found


def _settings_of(name: Any) -> frozenset[str]:
    """What a layer of this Keras can be made with; empty for what is no layer of its own."""
    import keras

    layer = getattr(keras.layers, name, None) if isinstance(name, str) else None
    if not (isinstance(layer, type) and issubclass(layer, keras.Layer)) or issubclass(layer, keras.Model):
        return frozenset()
    makers = [vars(base)["__init__"] for base in layer.__mro__ if "__init__" in vars(base)]
    return frozenset(name for make in makers for name in inspect.signature(make).parameters)


def _with_simple_starts(node: Any) -> Any:
    """All weights start at zero, as the file's take their place: some ways to start take minutes."""
    if isinstance(node, dict):
        return {
            key: "zeros" if key.endswith("_initializer") and value is not None else _with_simple_starts(value)
            for key, value in node.items()
        }
    return [_with_simple_starts(value) for value in node] if isinstance(node, list) else node
