"""`Layer`: a function with variables, made when it first sees its input."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from sw.graph.dtypes import float32
from sw.graph.errors import ShapeError
from sw.graph.graph import GraphKeys, get_default_graph
from sw.graph.ops.variables import Variable
from sw.graph.shapes import Shape
from sw.graph.tensor import Tensor
from sw.graph.variable_scope import VariableScope, get_variable, variable_scope

Activation = Callable[[Any], Tensor] | None


class Layer:
    """Base of the layers. A layer overrides `build(shape)`, which makes variables with
    `add_variable`, and `call(inputs, **options)`.

    Calling it again shares its variables. `name`: the variable scope (default: the class's name,
    made unique); `reuse`: find the scope's variables instead of making them.
    """

    def __init__(
        self,
        trainable: bool = True,
        name: str | None = None,
        dtype: Any = None,
        activity_regularizer: Any = None,
        reuse: Any = None,
    ) -> None:
        self.trainable, self.dtype = trainable, dtype
        self.activity_regularizer = activity_regularizer
        self.variables: list[Variable] = []
        self.losses: list[Tensor] = []
        self._name, self._reuse = name, reuse
        self._scope: VariableScope | None = None

    @property
    def built(self) -> bool:
        """Whether the variables exist."""
        return self._scope is not None

    @property
    def name(self) -> str:
        """The name of the layer: its scope once it is built."""
        return self._scope.name if self._scope else self._name or self._default_name()

    @property
    def trainable_variables(self) -> list[Variable]:
        """The variables that optimisers change."""
        return [v for v in self.variables if v.trainable]

    def _default_name(self) -> str:
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(self).__name__).lower()

    def build(self, shape: Shape) -> None:
        """Make the variables for inputs of that shape."""

    def call(self, inputs: Any, **options: Any) -> Any:
        """The outputs for the inputs."""
        raise NotImplementedError

    def __call__(self, inputs: Any, **options: Any) -> Any:
        inputs = get_default_graph().convert(inputs) if not isinstance(inputs, list) else inputs
        if self._scope is None:
            default = None if self._name else self._default_name()
            with variable_scope(self._name, default, reuse=self._reuse) as scope:
                first = inputs[0] if isinstance(inputs, list) else inputs
                self.dtype = self.dtype or (first.dtype if first.dtype.is_floating else float32)
                self.build(first.shape)
                self._scope = scope
                outputs = self.call(inputs, **options)
        else:
            with variable_scope(self._scope, reuse=True):
                outputs = self.call(inputs, **options)
        if self.activity_regularizer is not None:
            self._add_loss(self.activity_regularizer(outputs))
        return outputs

    apply = __call__

    def _add_loss(self, loss: Any) -> None:
        if loss is not None:
            self.losses.append(loss)
            get_default_graph().root.add_to_collection(GraphKeys.REGULARIZATION_LOSSES, loss)

    def add_variable(
        self,
        name: str,
        shape: Any,
        initializer: Any = None,
        regularizer: Any = None,
        trainable: bool = True,
    ) -> Variable:
        """A variable of this layer; for use in `build`."""
        variable = get_variable(
            name,
            shape,
            self.dtype,
            initializer,
            regularizer,
            trainable=trainable and self.trainable,
        )
        self.variables.append(variable)
        return variable


def known(shape: Shape, axis: int, layer: Layer) -> int:
    """The size of an axis; raises `ShapeError` naming the layer when it is unknown."""
    size = None if shape.dims is None else shape.dims[axis]
    if size is None:
        raise ShapeError(f"layer {layer.name!r} needs to know axis {axis} of its input's {shape}")
    return size
