"""Build a Keras model from a checked configuration and fill it with the file's weights, within limits.

A configuration may ask for any amount of memory, so the graph is first built without allocating its weights.
They are allocated only if the file holds as many array elements as the graph needs.
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

from ...errors import NotAModel, RedeepfakeError, UnsafeModel, one_line_message
from ...utils.keras_backend import import_keras
from .allowlist import check_config, serialized_objects
from .archive import Description, unpack_weights
from .hdf5 import open_store
from .keras2_graph import translate
from .keras3_hdf5 import restore_modules
from .weights import (
    count,
    fill_by_group,
    fill_by_name,
    fill_with_keras,
    fit_hard_gates,
    match_layers_by_order,
)

if TYPE_CHECKING:
    import keras

MAX_LAYERS = 3000
MAX_WEIGHTS = 2**28


@dataclass(frozen=True)
class LoadedModel:
    """A model as it is in its file: with its own output and nested models.

    Parameters
    ----------
    trusted
        Classes that are allowed only because the caller trusts the file.
    """

    model: keras.Model
    trusted: tuple[str, ...] = ()


def read_model(path: Path, description: Description, trust: bool = False) -> LoadedModel:
    """Build the model that a file describes and fill it with the file's weights.

    Parameters
    ----------
    description
        From :func:`redeepfake_nb.models.serialization.archive.describe`, with a configuration.
    trust
        See :func:`redeepfake_nb.models.serialization.allowlist.check_config`.

    Raises
    ------
    UnsafeModel
        It names classes that are not allowed, or asks for more than the limits.
    NotAModel
        Keras cannot build it, weights and graph do not match, or there is no configuration.
    """
    config, translation = description.config, None
    if config is None:
        raise NotAModel("it has no architecture", subject=path, next_step="Save the whole model.")
    if description.legacy:
        translation = translate(config, path, trust)
        config = translation.config
    elif description.format == "hdf5":
        import_keras()
        config = restore_modules(config)
    trusted = check_config(config, path, trust)
    check_layer_count(config, path)
    with tempfile.TemporaryDirectory(prefix="model-") as folder:
        file = path if description.format == "hdf5" else unpack_weights(path, Path(folder))
        with open_store(file, path) as store:
            model = _build(config, store.elements, path, unsafe=bool(trusted))
            if description.format == "hdf5":
                fill_by_name(model, store, translation.keras2_names if translation else None)
            elif translation is not None:
                fill_by_group(model, translation.weight_groups, store)
            else:
                fill_with_keras(model, file, store)
    if translation is not None:
        fit_hard_gates(model)
    return LoadedModel(model, trusted)


def fill_weights(model: keras.Model, path: Path) -> None:
    """Fill a model with the weights of a weights-only file.

    Raises
    ------
    NotAModel
        Weights and model do not match.
    UnsafeModel
        The file refers to other files.
    """
    with open_store(path) as store:
        if "layer_names" in store.attributes():
            fill_by_name(model, store, match_layers_by_order(model, store))
            return
        if path.name.endswith(".weights.h5"):
            fill_with_keras(model, path, store)
            return
        with tempfile.TemporaryDirectory(prefix="model-") as folder:
            # Keras recognises a weights file by this suffix.
            copy = Path(folder) / "model.weights.h5"
            copy.write_bytes(path.read_bytes())
            fill_with_keras(model, copy, store)


def check_layer_count(config: Any, subject: object) -> None:
    """Check that a configuration has at most ``MAX_LAYERS`` layers.

    Raises
    ------
    UnsafeModel
        It has more.
    """
    named = (node for node in serialized_objects(config) if "Policy" not in str(node["class_name"]))
    parts = sum(isinstance(node.get("config"), dict) and "name" in node["config"] for node in named)
    if parts > MAX_LAYERS:
        raise UnsafeModel(
            f"it has {parts:,} layers; the limit is {MAX_LAYERS:,}",
            subject=subject,
            next_step="Do not open it.",
        )


def _build(config: dict[str, Any], stored: int, subject: object, unsafe: bool) -> keras.Model:
    """Build the graph with zero weights; ``stored`` is the number of array elements in the file."""
    import_keras()
    import keras

    # A full .h5 model does not state the module of the outermost class.
    module = "keras.src.models.functional" if config.get("class_name") == "Functional" else "keras"
    config = {
        "module": module,
        "registered_name": None,
        **_with_recurrence_rolled(_with_zero_initializers(_without_unknown_options(config))),
    }
    with (
        _typed_keras_errors(subject),
        _pending_variables_restored(),
        keras.StatelessScope(initialize_variables=False) as scope,
    ):
        model = keras.saving.deserialize_keras_object(config, safe_mode=not unsafe)
        if not isinstance(model, keras.Model):
            raise NotAModel(
                f"it describes a {type(model).__name__}, not a model",
                subject=subject,
                next_step="Save the whole model.",
            )
        needed = count(model.weights)
        if needed > stored:
            raise NotAModel(
                f"its graph needs {needed:,} weights, and the file holds {stored:,}",
                subject=subject,
                next_step="Copy or download it again, or check that it was saved whole.",
            )
        if needed > MAX_WEIGHTS:
            raise UnsafeModel(
                f"it has {needed:,} weights; the limit is {MAX_WEIGHTS:,}",
                subject=subject,
                next_step="Use a smaller model.",
            )
        # Leaving the scope may now allocate them.
        scope.initialize_variables = True
    return model


@contextlib.contextmanager
def _pending_variables_restored() -> Iterator[None]:
    """After a failure, remove the variables of the block from Keras's list of variables to allocate.

    Keras would otherwise allocate them when the next model is built.
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
def _typed_keras_errors(subject: object) -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (MemoryError, RedeepfakeError):
        raise
    except Exception as error:  # Keras raises whatever its layers raise
        if "unsafe" in str(error).lower():
            raise UnsafeModel(
                one_line_message(error), subject=subject, next_step="Do not open it."
            ) from error
        raise NotAModel(
            f"Keras cannot load it ({one_line_message(error)})",
            subject=subject,
            next_step="Save it again with Keras 3, or check that the file is whole.",
        ) from error


def _without_unknown_options(node: Any) -> Any:
    """Remove options from a configuration that this version of Keras does not know, if they are switched off.

    A later Keras writes all its options into every file, such as ``renorm`` of batch normalisation. An
    unknown option that is on stays, and Keras then raises an error that names it.
    """
    if isinstance(node, list):
        return [_without_unknown_options(value) for value in node]
    if not isinstance(node, dict):
        return node
    found = {key: _without_unknown_options(value) for key, value in node.items()}
    settings, known = found.get("config"), _constructor_arguments(found.get("class_name"))
    if isinstance(settings, dict) and known:
        unknown = {key for key in settings if key not in known}
        off = {key for key in unknown if settings[key] is None or settings[key] is False}
        # Also what belongs to an option that is off: ``renorm_momentum``.
        off |= {key for key in unknown if any(key.startswith(f"{option}_") for option in off)}
        found["config"] = {key: value for key, value in settings.items() if key not in off}
    return found


def _constructor_arguments(name: Any) -> frozenset[str]:
    """Return the constructor arguments of a Keras layer; empty for models and for what is no layer."""
    import keras

    layer = getattr(keras.layers, name, None) if isinstance(name, str) else None
    if not (isinstance(layer, type) and issubclass(layer, keras.Layer)) or issubclass(layer, keras.Model):
        return frozenset()
    constructors = [vars(base)["__init__"] for base in layer.__mro__ if "__init__" in vars(base)]
    return frozenset(name for init in constructors for name in inspect.signature(init).parameters)


def _with_recurrence_rolled(node: Any) -> Any:
    """Switch off what recurrent layers keep between batches, and the unrolling of their steps.

    A score must not depend on the batch before. Unrolled, a long sequence makes a graph of any size; the
    result is the same.
    """
    if isinstance(node, dict):
        off = ("stateful", "unroll")
        return {key: False if key in off else _with_recurrence_rolled(value) for key, value in node.items()}
    return [_with_recurrence_rolled(value) for value in node] if isinstance(node, list) else node


def _with_zero_initializers(node: Any) -> Any:
    """Initialize all weights with zeros, because the file's replace them; some initializers take minutes."""
    if isinstance(node, dict):
        return {
            key: "zeros"
            if key.endswith("_initializer") and value is not None
            else _with_zero_initializers(value)
            for key, value in node.items()
        }
    return [_with_zero_initializers(value) for value in node] if isinstance(node, list) else node
