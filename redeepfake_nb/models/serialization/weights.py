"""Arrays of an HDF5 file -> the weights of a Keras 3 model, each in its place or not at all.

Three layouts are known. Full ``.h5`` models and old weights files name arrays by layer and variable
(``dense/kernel:0``). ``.keras`` files and ``.weights.h5`` files number them, in groups named by class; Keras
3 reads its own, and those of Keras 2.15 are read here. A model is filled completely or refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import NotAModel, in_one_line
from .hdf5 import Store

if TYPE_CHECKING:
    import keras


from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras


# Keras 3 calls these otherwise than Keras 2.
_SAME = {"depthwise_kernel": {"kernel"}, "kernel": {"depthwise_kernel"}}


def fill_by_name(model: keras.Model, store: Store, names: Mapping[str, str] | None = None) -> None:
    """From a full ``.h5`` model or an old weights file.

    Parameters
    ----------
    names
        Layers' names -> those in the file, where they differ.

    Raises
    ------
    NotAModel
        A weight is missing, has another shape, or could be one of several; or an array is left over.
    """
    names = names or {}
    folder = "model_weights/" if "model_weights" in store.file else ""
    unused = {name for name in store.shapes if name.startswith(folder) and not name.startswith("optimizer")}
    for layer in model.layers:
        variables = leaf_variables(layer)
        if not variables:
            continue
        place = f"{folder}{names.get(layer.name, layer.name)}"
        keys = {name: re.sub(r":\d+$", "", name).split("/") for name in store.below(place)}
        alone = len({id(owner) for owner, _ in variables}) == 1
        for owner, variable in variables:
            found = _named(keys, names.get(owner.name, owner.name), variable, alone)
            if found is None:
                raise _misfit(f"the weight {owner.name}/{variable.name} is not in the file", store)
            keys.pop(found)
            unused.discard(f"{place}/{found}")
            _assign(variable, store, f"{place}/{found}")
        settle(layer)
    if unused:
        raise _misfit(f"its graph has no place for {min(unused)}", store)


def names_in_order(model: keras.Model, store: Store) -> dict[str, str]:
    """Layers' names -> those of a weights file, where Keras has numbered the layers otherwise.

    A network that is built anew may begin with ``conv2d_4``, by what was built before it in this process.
    Then layers with weights are taken in their order, as Keras 2 did.
    """
    wanted = [layer.name for layer in model.layers if leaf_variables(layer)]
    listed = np.ravel(store.attribute("layer_names"))
    stored = [name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name) for name in listed]
    stored = [name for name in stored if store.below(name)]
    if set(wanted) == set(stored) or len(wanted) != len(stored):
        return {}
    return dict(zip(wanted, stored, strict=True))


def _named(keys: dict[str, list[str]], owner: str, variable: Any, alone: bool) -> str | None:
    """The array that bears a variable's name: as much of its path as tells it apart."""
    path = variable.path.split("/")
    ends = [path[-length:-1] for length in range(len(path), 1, -1)] + [owner.split("/")]
    ends += [[]] if alone else []
    for end in ends:
        wanted = [[*end, name] for name in {variable.name} | _SAME.get(variable.name, set())]
        found = [key for key, parts in keys.items() if parts in wanted]
        found = found or [key for key, parts in keys.items() if parts[-len(end) - 1 :] in wanted]
        if found:
            return found[0] if len(found) == 1 else None
    return None


def fill_by_place(model: keras.Model, places: dict[tuple[str, ...], str], store: Store) -> None:
    """From the numbered arrays of a Keras 2.15 file.

    Parameters
    ----------
    places
        From :func:`redeepfake_nb.models.serialization.keras2_graph.translate`.

    Raises
    ------
    NotAModel
        A weight is missing or has another shape.
    """
    used = set()
    for way, place in places.items():
        layer = model
        for name in way:
            layer = layer.get_layer(name)
        for i, variable in enumerate(layer.weights):
            _assign(variable, store, f"{place}/vars/{i}")
            used.add(f"{place}/vars/{i}")
        settle(layer)
    left = [name for name in store.shapes if name not in used and not name.startswith(("optimizer", "loss"))]
    left = [name for name in left if "generator" not in name and store.shapes[name]]
    if left:
        raise _misfit(f"its graph has no place for {left[0]}", store)


def fill_in_keras_3(model: keras.Model, path: Any, store: Store) -> None:
    """From numbered arrays, by Keras itself.

    Raises
    ------
    NotAModel
        Keras finds that they do not fit.
    """
    store.file.close()
    try:
        model.load_weights(path)
    except MemoryError:
        raise
    except Exception as error:  # Keras raises whatever its layers raise
        raise _misfit(f"Keras cannot load them ({in_one_line(error)})", store) from error


def leaf_variables(layer: Any) -> list[tuple[Any, Any]]:
    """(layer, variable) of everything a layer holds, models inside it included, each variable once."""
    found, seen = [], set()
    for part in layer._flatten_layers():
        for variable in part._trainable_variables + part._non_trainable_variables:
            if id(variable) not in seen:
                seen.add(id(variable))
                found.append((part, variable))
    return found


def _assign(variable: Any, store: Store, name: str) -> None:
    shape = store.shapes.get(name)
    if shape is None:
        raise _misfit(f"the weight {variable.path} ({name}) is not in the file", store)
    if tuple(shape) != tuple(variable.shape):
        raise _misfit(
            f"the weight {variable.path} has the shape {tuple(shape)}, "
            f"the graph wants {tuple(variable.shape)}",
            store,
        )
    value = store.read(name)
    if not isinstance(value, (np.ndarray, np.generic)) or value.dtype.kind not in "fiu":
        raise _misfit(f"the weight {variable.path} is not made of numbers", store)
    variable.assign(value)


def count(variables: Any) -> int:
    """How many numbers they hold."""
    return sum(math.prod(variable.shape) for variable in variables)


def _misfit(cause: str, store: Store) -> NotAModel:
    return NotAModel(
        f"weights and architecture do not fit: {cause}",
        subject=store.subject,
        next_step="Check that both come from the same model.",
    )


def settle(layer: keras.layers.Layer) -> None:
    """To be called on a layer with new weights: Normalization computes with values that follow from them."""
    for part in layer._flatten_layers():
        if hasattr(part, "finalize_state") and part._trainable_variables + part._non_trainable_variables:
            part.finalize_state()
