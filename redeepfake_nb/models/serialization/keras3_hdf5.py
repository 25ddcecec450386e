"""Restore the modules that Keras 3 leaves out of the configurations in its ``.h5`` files.

Such a file names classes without their modules, and Keras 3 then takes an operation for the layer of the same
name: ``x + 3.0`` for an Add layer, which it cannot call with a number.
"""

from __future__ import annotations

import importlib
from typing import Any

from .allowlist import APPLICATION_CLASSES

_OPERATION_MODULES = tuple(f"keras.src.ops.{name}" for name in ("numpy", "nn", "core", "math", "image"))
# Settings that every layer and model has, and no operation.
_OF_LAYERS = {"trainable", "dtype", "layers"}


def restore_modules(node: Any) -> Any:
    """Return a configuration in which operations, and layers that are not in ``keras.layers``, have a module.

    Parameters
    ----------
    node
        Configuration of a Keras 3 model from an HDF5 file, as plain JSON.
    """
    if isinstance(node, list):
        return [restore_modules(value) for value in node]
    if not isinstance(node, dict):
        return node
    found = {key: restore_modules(value) for key, value in node.items()}
    if "module" in found or not isinstance(name := found.get("class_name"), str):
        return found
    if ">" in name:  # package>Name, of a class that its author has registered
        return {**found, "module": None, "class_name": name.rpartition(">")[2], "registered_name": name}
    if name in APPLICATION_CLASSES:
        return {**found, "module": APPLICATION_CLASSES[name], "registered_name": None}
    settings = found.get("config")
    if "inbound_nodes" in found and isinstance(settings, dict) and not _OF_LAYERS & settings.keys():
        module = _module_of_operation(name)
        return found if module is None else {**found, "module": module, "registered_name": None}
    return found


def _module_of_operation(name: str) -> str | None:
    for module in _OPERATION_MODULES:
        if isinstance(getattr(importlib.import_module(module), name, None), type):
            return module
    return None
