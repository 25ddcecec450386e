"""The private parts of Keras that the package uses: all are listed here, and the installed Keras has them."""

from __future__ import annotations

import ast
from pathlib import Path

import keras
import numpy as np
import pytest
from keras.src.backend.common import global_state
from keras.src.models.functional import Functional

# Keras may change these in any release; what is lacking then fails here, before a user meets it.
ATTRIBUTES = {
    "_flatten_layers",  # Layer: itself and its sublayers
    "_keras_history",  # KerasTensor: the operation that made it
    "_nodes_by_depth",  # Functional: the calls in its graph
    "_non_trainable_variables",  # Layer: its own, without those of sublayers
    "_run_through_graph",  # Functional: call the graph with other operations
    "_trainable_variables",  # Layer: its own, without those of sublayers
}
MODULES = {"keras.src.backend.common", "keras.src.models.functional", "keras.src.ops.numpy"}


@pytest.fixture(scope="module")
def model() -> keras.Model:
    image = keras.Input((4, 4, 1))
    return keras.Model(image, keras.layers.Dense(1)(keras.layers.Flatten()(image)))


def modules_of(root: Path) -> list[ast.Module]:
    return [ast.parse(path.read_text(encoding="utf-8")) for path in (root / "redeepfake_nb").rglob("*.py")]


def dotted_name(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted_name(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def test_all_private_attributes_of_keras_are_listed(root: Path, model: keras.Model) -> None:
    layer, tensor = model.layers[-1], model.outputs[0]
    keras_has = {name for thing in (model, layer, tensor) for name in dir(thing)}
    keras_has |= vars(tensor).keys() | vars(layer).keys() | vars(model).keys()
    private = [
        node
        for module in modules_of(root)
        for node in ast.walk(module)
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__")
    ]
    own = {node.attr for node in private if isinstance(node.ctx, ast.Store)}
    used = {node.attr for node in private} - own
    assert used & keras_has == ATTRIBUTES


@pytest.mark.slow
def test_all_private_modules_of_keras_are_listed(root: Path) -> None:
    used = set()
    for module in modules_of(root):
        for node in ast.walk(module):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("keras.src"):
                used.add(node.module)
            elif isinstance(node, ast.Attribute) and dotted_name(node).startswith("keras.src."):
                used.add(".".join(dotted_name(node).split(".")[:4]))
    assert {name for name in used if name.count(".") == 3} == MODULES


def test_calls_and_origins(model: keras.Model) -> None:
    assert isinstance(model, Functional)
    calls = [node.operation.name for nodes in model._nodes_by_depth.values() for node in nodes]
    assert sorted(calls) == sorted(layer.name for layer in model.layers)
    assert model.outputs[0]._keras_history.operation is model.layers[-1]


def test_running_a_graph_with_other_operations(model: keras.Model) -> None:
    x = np.ones((2, 4, 4, 1), np.float32)
    doubled = model._run_through_graph(x, operation_fn=lambda op: lambda value, **_: op(value) * 2)
    np.testing.assert_allclose(np.asarray(doubled), 4 * np.asarray(model(x)), rtol=1e-6)


def test_variables_of_a_layer(model: keras.Model) -> None:
    dense = model.layers[-1]
    assert dense in list(model._flatten_layers())
    assert [v.name for v in dense._trainable_variables] == ["kernel", "bias"]
    assert dense._non_trainable_variables == []


def test_variables_to_be_allocated_are_listed() -> None:
    with keras.StatelessScope(initialize_variables=False):
        variable = keras.Variable(keras.initializers.Zeros(), shape=(1,))
        waiting = global_state.get_global_attribute("uninitialized_variables")
        assert any(variable is other for other in waiting)
        waiting[:] = [other for other in waiting if other is not variable]
