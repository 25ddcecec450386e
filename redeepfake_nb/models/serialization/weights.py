"""Assign the arrays of an HDF5 file to the weights of a Keras 3 model, all of them or none.

Three layouts are known. Full ``.h5`` models and old weights files name arrays by layer and variable
(``dense/kernel:0``). ``.keras`` files and ``.weights.h5`` files number them, in groups named by class; Keras
3 reads its own, and those of Keras 2.15 are read here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import NotAModel, one_line_message
from .hdf5 import Hdf5Store

if TYPE_CHECKING:
    import keras


# Variables that Keras 3 and Keras 2 name differently.
_SYNONYMS = {"depthwise_kernel": {"kernel"}, "kernel": {"depthwise_kernel"}}

# Cells of recurrent layers are numbered in the order in which a process has made them.
_CELL = re.compile(r"(lstm|gru|simple_rnn)_cell(_\d+)?")

# A variable without a name of its own; Keras numbers such ones.
_UNNAMED = re.compile(r"[Vv]ariable(_\d+)?")


def fill_by_name(model: keras.Model, store: Hdf5Store, names: Mapping[str, str] | None = None) -> None:
    """Fill a model from a full ``.h5`` model or an old weights file, whose arrays have names.

    Parameters
    ----------
    names
        Layer names in the file by layer names in the model, where they differ.

    Raises
    ------
    NotAModel
        A weight is missing, has another shape or several candidates, or an array is left over.
    """
    names = names or {}
    folder = "model_weights/" if "model_weights" in store.file else ""
    unused = {name for name in store.shapes if name.startswith(folder) and not name.startswith("optimizer")}
    for layer in model.layers:
        variables = own_variables(layer)
        if not variables:
            continue
        group = f"{folder}{names.get(layer.name, layer.name)}"
        keys = {name: _parts(re.sub(r":\d+$", "", name)) for name in store.below(group)}
        alone = len({id(owner) for owner, _ in variables}) == 1
        for owner, variable in variables:
            known_as = _names_of(owner, variable, keys)
            found = _find_array(keys, names.get(owner.name, owner.name), variable, known_as, alone)
            if found is None:
                raise _mismatch(f"the weight {owner.name}/{variable.name} is not in the file", store)
            keys.pop(found)
            unused.discard(f"{group}/{found}")
            _assign(variable, store, f"{group}/{found}")
        finalize_state(layer)
    if unused:
        raise _mismatch(f"its graph has no place for {min(unused)}", store)


def match_layers_by_order(model: keras.Model, store: Hdf5Store) -> dict[str, str]:
    """Map a model's layer names to those in a weights file by order, where Keras numbered them differently.

    A network may begin with ``conv2d_4``, depending on what was built before it in this process. Then layers
    with weights are matched in their order, as Keras 2 does; where the names agree the result is empty.
    """
    wanted = [layer.name for layer in model.layers if own_variables(layer)]
    listed = np.ravel(store.attribute("layer_names"))
    stored = [name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name) for name in listed]
    stored = [name for name in stored if store.below(name)]
    if set(wanted) == set(stored) or len(wanted) != len(stored):
        return {}
    return dict(zip(wanted, stored, strict=True))


def _names_of(owner: Any, variable: Any, keys: dict[str, list[str]]) -> set[str]:
    """Return the names that a variable of a layer may have in a file whose arrays are called ``keys``."""
    names = {variable.name} | _SYNONYMS.get(variable.name, set())
    if _UNNAMED.fullmatch(variable.name):
        names |= {parts[-1] for parts in keys.values() if _UNNAMED.fullmatch(parts[-1])}
        # Keras 2 may have named it as the layer does.
        names |= {name for name, value in vars(owner).items() if value is variable}
    return names


def _find_array(
    keys: dict[str, list[str]], owner: str, variable: Any, names: set[str], alone: bool
) -> str | None:
    """Return the name of a variable's array: the one that matches the longest end of the variable's path.

    ``keys`` maps array names to their parts, ``names`` are those that the variable may have, and ``alone``
    tells whether the layer has no sublayers with weights.
    """
    path = _parts(variable.path)
    ends = [path[-length:-1] for length in range(len(path), 1, -1)] + [_parts(owner)]
    ends += [[]] if alone else []
    for end in ends:
        wanted = [[*end, name] for name in names]
        found = [key for key, parts in keys.items() if parts in wanted]
        found = found or [key for key, parts in keys.items() if parts[-len(end) - 1 :] in wanted]
        if found:
            return found[0] if len(found) == 1 else None
    return None


def _parts(path: str) -> list[str]:
    """Split the path of a variable; cells of recurrent layers lose their number."""
    return [_CELL.sub(r"\1_cell", part) if _CELL.fullmatch(part) else part for part in path.split("/")]


class Attribute(str):
    """The name of an attribute by which a layer holds another one."""

    __slots__ = ()


def fill_by_group(model: keras.Model, groups: dict[tuple[str, ...], str], store: Hdf5Store) -> None:
    """Fill a model from the numbered arrays of a Keras 2.15 file.

    Parameters
    ----------
    groups
        ``weight_groups`` from :func:`redeepfake_nb.models.serialization.keras2_graph.translate`.

    Raises
    ------
    NotAModel
        A weight is missing or has another shape.
    """
    used = set()
    for path, group in groups.items():
        layer = model
        for name in path:
            layer = getattr(layer, name) if isinstance(name, Attribute) else layer.get_layer(name)
        for i, variable in enumerate(layer.weights):
            _assign(variable, store, f"{group}/vars/{i}")
            used.add(f"{group}/vars/{i}")
        finalize_state(layer)
    left = [name for name in store.shapes if name not in used and not name.startswith(("optimizer", "loss"))]
    left = [name for name in left if "generator" not in name and store.shapes[name]]
    if left:
        raise _mismatch(f"its graph has no place for {left[0]}", store)


def fit_hard_gates(model: keras.Model) -> None:
    """Scale the weights of gates with a hard sigmoid, so that Keras 3 computes what Keras 2 did.

    That is clip(0.2 x + 0.5, 0, 1) in Keras 2 and clip(x / 6 + 0.5, 0, 1) in Keras 3, so gates that receive
    1.2 times as much are the same. What is no gate is left as it is.
    """
    # Which of a cell's equal parts are gates: of an LSTM input, forget, candidate, output; of a GRU update,
    # reset, candidate.
    gates = {"LSTMCell": (1, 1, 0, 1), "ConvLSTMCell": (1, 1, 0, 1), "GRUCell": (1, 1, 0)}
    for cell in model._flatten_layers():
        own = gates.get(type(cell).__name__)
        if own is None or getattr(cell.recurrent_activation, "__name__", "") != "hard_sigmoid":
            continue
        for variable in cell.weights:
            value = np.array(variable)
            scale = np.where(own, 1.2, 1.0).repeat(value.shape[-1] // len(own)).astype(value.dtype)
            variable.assign(value * scale)


def fill_with_keras(model: keras.Model, path: Path, store: Hdf5Store) -> None:
    """Let Keras fill a model from the numbered arrays of a Keras 3 file.

    Raises
    ------
    NotAModel
        Keras cannot load them.
    """
    store.file.close()
    try:
        model.load_weights(path)
    except MemoryError:
        raise
    except Exception as error:  # Keras raises whatever its layers raise
        raise _mismatch(f"Keras cannot load them ({one_line_message(error)})", store) from error


def own_variables(layer: Any) -> list[tuple[Any, Any]]:
    """Return (layer, variable) for each variable of a layer and its sublayers, each variable once."""
    found, seen = [], set()
    for part in layer._flatten_layers():
        for variable in part._trainable_variables + part._non_trainable_variables:
            if id(variable) not in seen:
                seen.add(id(variable))
                found.append((part, variable))
    return found


def _assign(variable: Any, store: Hdf5Store, name: str) -> None:
    shape = store.shapes.get(name)
    if shape is None:
        raise _mismatch(f"the weight {variable.path} ({name}) is not in the file", store)
    if tuple(shape) != tuple(variable.shape):
        raise _mismatch(
            f"the weight {variable.path} has the shape {tuple(shape)}, "
            f"the graph needs {tuple(variable.shape)}",
            store,
        )
    value = store.read(name)
    if not isinstance(value, (np.ndarray, np.generic)) or value.dtype.kind not in "fiu":
        raise _mismatch(f"the weight {variable.path} is not numeric", store)
    variable.assign(value)


def count(variables: Any) -> int:
    """Count the elements of variables."""
    return sum(math.prod(variable.shape) for variable in variables)


def _mismatch(cause: str, store: Hdf5Store) -> NotAModel:
    return NotAModel(
        f"weights and architecture do not fit: {cause}",
        subject=store.subject,
        next_step="Check that both come from the same model.",
    )


def finalize_state(layer: keras.layers.Layer) -> None:
    """Recompute what a layer derives from its weights (Normalization does) after new ones were set."""
    for part in layer._flatten_layers():
        if hasattr(part, "finalize_state") and part._trainable_variables + part._non_trainable_variables:
            part.finalize_state()
