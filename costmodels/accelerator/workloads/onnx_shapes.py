"""Shapes of the tensors of an ONNX model, those that other tensors' shapes decide included.

ONNX's own inference follows shapes through a few operators of arithmetic only. What exporters write between a `Shape`
and a `Reshape` is computed here, by ONNX's reference implementation, where all of it is small and known.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["LARGE", "inferred_shapes"]

Shape = tuple[int, ...]
LARGE = 1024  # elements: no tensor that decides a shape has more
_CONSTANTS = {"value_int": np.int64, "value_ints": np.int64, "value_float": np.float32, "value_floats": np.float32}
_ARITHMETIC = {
    *("Abs", "Add", "And", "Cast", "Ceil", "Concat", "ConstantOfShape", "Div", "Equal", "Expand", "Flatten", "Floor"),
    *("Gather", "Greater", "GreaterOrEqual", "Identity", "Less", "LessOrEqual", "Max", "Min", "Mod", "Mul", "Neg"),
    *("Not", "Or", "Pow", "Range", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceSum", "Reshape", "Slice", "Split"),
    *("Sqrt", "Squeeze", "Sub", "Transpose", "Unsqueeze", "Where"),
}


def inferred_shapes(model: Any) -> dict[str, Shape | None]:
    """{tensor: its shape, None where it is not known} of a model whose large weights are inputs.

    Raises:
        Exception: there is a contradiction; of several kinds, ONNX's own too.
    """
    import onnx

    model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    graph = model.graph
    types = {each.name: each.type for each in (*graph.input, *graph.value_info, *graph.output)}
    shapes = {name: _static(kind) for name, kind in types.items()}
    values: dict[str, np.ndarray] = {}
    for each in graph.initializer:
        shapes[each.name] = tuple(each.dims)
        types[each.name] = onnx.helper.make_tensor_type_proto(each.data_type, list(each.dims))
        try:
            values[each.name] = onnx.numpy_helper.to_array(each)
        except Exception as error:  # of whatever kind
            raise ValueError(f"the constant '{each.name}' is damaged ({error})") from error
    versions = {each.domain or "": each.version for each in model.opset_import}
    for node in graph.node:
        if node.domain in ("", "ai.onnx"):
            _follow(onnx, model, node, versions.get("", 1), types, shapes, values)
            if node.op_type == "Reshape":
                _check(node, shapes)
    return shapes


def _check(node: Any, shapes: Mapping[str, Shape | None]) -> None:
    """Raises where a reshape loses or makes elements, as in a model whose exporter froze a dimension."""
    before, after = shapes.get(node.input[0]), shapes.get(node.output[0])
    if before is not None and after is not None and math.prod(before) != math.prod(after):
        raise ValueError(f"'{node.name or node.output[0]}' reshapes {list(before)} to {list(after)}")


def _static(kind: Any) -> Shape | None:
    tensor = kind.tensor_type
    if not kind.HasField("tensor_type") or not tensor.HasField("shape"):
        return None
    extents = [each.dim_value if each.HasField("dim_value") else -1 for each in tensor.shape.dim]
    return tuple(extents) if min(extents, default=1) >= 0 else None


def _follow(
    onnx: Any,
    model: Any,
    node: Any,
    version: int,
    types: dict[str, Any],
    shapes: dict[str, Shape | None],
    values: dict[str, np.ndarray],
) -> None:
    """Takes one node: its value where that is small and known, and its shapes where they are not."""
    inputs, outputs = [name for name in node.input if name], [name for name in node.output if name]
    found = _value(onnx, model, node, shapes, values)
    if found is not None and len(outputs) == len(found):
        for name, value in zip(outputs, found, strict=True):
            if value.size <= LARGE:
                values[name], shapes[name] = value, value.shape
                kind = onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
                types[name] = onnx.helper.make_tensor_type_proto(kind, list(value.shape))
        return
    if all(shapes.get(name) is not None for name in outputs) or any(name not in types for name in inputs):
        return
    if any(attribute.HasField("g") or len(attribute.graphs) for attribute in node.attribute):
        return
    known = {}
    for name in inputs:
        if (shape := shapes.get(name)) is None:
            return
        known[name] = onnx.helper.make_tensor_type_proto(types[name].tensor_type.elem_type, list(shape))
    data = {name: onnx.numpy_helper.from_array(values[name], name) for name in inputs if name in values}
    try:
        schema = onnx.defs.get_schema(node.op_type, version, "")
        results = onnx.shape_inference.infer_node_outputs(
            schema, node, known, data, opset_imports=list(model.opset_import)
        )
    except Exception:  # it stays unknown, and the layer that needs it says so
        return
    for name, kind in results.items():
        types[name], shapes[name] = kind, _static(kind)


def _value(
    onnx: Any, model: Any, node: Any, shapes: Mapping[str, Shape | None], values: Mapping[str, np.ndarray]
) -> list[np.ndarray] | None:
    """What a node computes of shapes and small constants; None where it does not."""
    from onnx.reference import ReferenceEvaluator

    attributes = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
    if node.op_type == "Constant":
        tensor = attributes.get("value")
        if tensor is not None and math.prod(tensor.dims) <= LARGE:
            return [onnx.numpy_helper.to_array(tensor)]
        return [np.array(attributes[name], kind) for name, kind in _CONSTANTS.items() if name in attributes] or None
    names = [name for name in node.input if name]
    if node.op_type in ("Shape", "Size") and names and (shape := shapes.get(names[0])) is not None:
        if node.op_type == "Size":
            return [np.array(math.prod(shape), np.int64)]
        return [np.array(shape[attributes.get("start", 0) : attributes.get("end")], np.int64)]
    if node.op_type not in _ARITHMETIC or not names or any(name not in values for name in names):
        return None
    given = [values[name] for name in names]
    if _elements(node.op_type, given) > LARGE:
        return None
    graph = onnx.helper.make_graph(
        [node],
        "node",
        [onnx.helper.make_tensor_value_info(each, onnx.helper.np_dtype_to_tensor_dtype(values[each].dtype), None)
         for each in dict.fromkeys(names)],
        [onnx.helper.make_value_info(each, onnx.TypeProto()) for each in node.output if each],
    )  # fmt: skip
    single = onnx.helper.make_model(graph, opset_imports=list(model.opset_import))
    try:
        with np.errstate(all="ignore"):
            return [np.asarray(each) for each in ReferenceEvaluator(single).run(None, {n: values[n] for n in names})]
    except Exception:  # of whatever kind: it stays unknown
        return None


def _elements(operator: str, given: list[np.ndarray]) -> float:
    """How many elements a result may have."""
    match operator:
        case "ConstantOfShape":
            return float(np.prod(given[0].astype(float)))
        case "Expand":
            return given[0].size * float(np.prod(given[1].astype(float)))
        case "Range":
            first, last, step = (float(each) for each in given)
            return abs((last - first) / step) if step else math.inf
        case _:
            return math.prod(each.size for each in given)
