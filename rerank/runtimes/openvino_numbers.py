"""The formats of an OpenVINO network's numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy

from rerank.devices import has_native_bf16, import_openvino

openvino = import_openvino()

# inputs of int8 products are rounded on the way, by a scale for each stretch: of this length at least
_SHORTEST_STRETCH = 64


def precision_hint(precision: str) -> str:
    """Format of the network's numbers, but for those of int8 products."""
    if precision == "int8":
        return "bf16" if has_native_bf16() else "f32"
    return {"fp32": "f32", "bf16": "bf16"}[precision]


def rounded_throughout(network: Any) -> Any:
    """The network with outputs in bf16, and with them the sums that lead from layer to layer.

    OpenVINO leaves in fp32 what reaches an output in fp32 without a product on the way, and reads and writes two to
    three times as much for it. That makes scores in bf16 more exact; with int8 products it hardly does.
    """
    prepared = openvino.preprocess.PrePostProcessor(network)
    for place in range(len(network.outputs)):
        prepared.output(place).tensor().set_element_type(openvino.Type.bf16)
    return prepared.build()


def copier(output: Any) -> Callable[[numpy.ndarray], numpy.ndarray]:
    """What copies an output's numbers, to fp32 if they are bf16."""
    return _of_bf16 if output.element_type == openvino.Type.bf16 else numpy.copy


def _of_bf16(array: numpy.ndarray) -> numpy.ndarray:
    # numpy has no such type: the numbers are the upper halves of those in fp32
    widened: numpy.ndarray = array.view(numpy.uint16).astype(numpy.uint32) << 16
    return widened.view(numpy.float32)


def stretch(network: Any) -> int:
    """Numbers of an int8 product's input that share a scale: the most that divide each such input.

    The fewer scales, the faster; one that is longer than an input would turn the rounding off.
    """
    products = [op for op in network.get_ops() if op.get_type_name() == "MatMul"]
    weights = [(op, op.input(1).get_partial_shape()) for op in products]
    inputs = [
        shape.to_shape()[1 if op.get_attributes()["transpose_b"] else 0]
        for op, shape in weights
        if shape.is_static and len(shape) == 2
    ]
    return max(math.gcd(*inputs), _SHORTEST_STRETCH)
