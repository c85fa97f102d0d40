"""ONNX models as layers: `from_onnx`.

Only shapes are read. Weights are let go as soon as the file is parsed, and data in external files are not opened: a
model in which they would decide shapes is told by the layer whose shape is not known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import DsegymError
from ...files import MOST_HASHED_BYTES, fail, read_bytes, shortened
from .imported import (
    RECURRENT,
    UNKNOWN,
    ImportedNetwork,
    Reading,
    Row,
    Shape,
    attention,
    convolution,
    einsum,
    free_operators,
    matmul,
    transposed_convolution,
)
from .onnx_shapes import LARGE, inferred_shapes

__all__ = ["from_onnx"]

_FREE = free_operators("onnx")
_REASONS: Mapping[str, str] = dict.fromkeys(("LSTM", "GRU", "RNN"), RECURRENT)
MOST_NODES = 2**20  # of a graph with its functions inlined
_CONTROL = ("If", "Loop", "Scan", "SequenceMap")


class _Node:
    """A node with its attributes, and the shapes of its inputs."""

    def __init__(self, node: Any, shapes: Mapping[str, Shape | None], constants: set[str]):
        from onnx import helper

        self.inputs: Sequence[str] = node.input
        self.attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        self._shapes, self._constants = shapes, constants

    def has(self, index: int) -> bool:
        return index < len(self.inputs) and bool(self.inputs[index])

    def shape(self, index: int, least_axes: int = 0) -> Shape:
        if not self.has(index):
            raise ValueError(f"its input {index} is missing")
        found = self._shapes.get(self.inputs[index])
        if found is None:
            raise ValueError(f"the shape of its input '{shortened(self.inputs[index])}' is not known")
        if len(found) < least_axes:
            name = shortened(self.inputs[index])
            raise ValueError(f"its input '{name}' has {len(found)} axes; at least {least_axes} are needed")
        return found

    def is_weights(self, index: int) -> bool:
        return self.inputs[index] in self._constants

    def numbers(self, name: str, default: Sequence[int]) -> list[int]:
        value = self.attributes.get(name, default)
        if not isinstance(value, list | tuple) or len(value) != len(default):
            raise ValueError(f"{name} are not {len(default)} whole numbers")
        return [_whole(name, each) for each in value]

    def number(self, name: str, default: int) -> int:
        return _whole(name, self.attributes.get(name, default))

    def word(self, name: str, default: str) -> str:
        value = self.attributes.get(name, default)
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _whole(name: str, value: Any) -> int:
    if not isinstance(value, int):
        raise ValueError(f"{name} is no whole number")
    return value


def _conv(node: _Node, x: int = 0, w: int = 1) -> dict[str, Row]:
    (images, channels, *size), (filters, depth, *kernel) = node.shape(x, 3), node.shape(w, 3)
    groups, axes = node.number("group", 1), len(kernel)
    if depth * groups != channels:
        raise ValueError(f"{channels} channels where {groups} groups of the kernel have {depth}")
    if len(size) != axes:
        raise ValueError(f"an input of {len(size)} axes with a kernel of {axes}")
    if node.numbers("kernel_shape", kernel) != kernel:
        raise ValueError(f"kernel_shape is {node.numbers('kernel_shape', kernel)}, and the kernel is {kernel}")
    stride, dilation = node.numbers("strides", [1] * axes), node.numbers("dilations", [1] * axes)
    if min(*stride, *dilation) < 1:
        raise ValueError(
            f"a size, stride, dilation or number of groups is below 1: strides = {stride}, dilations = {dilation}"
        )
    padding = _pads(node, size, kernel, stride, dilation)
    return {
        "": convolution(
            images=images,
            channels=channels,
            filters=filters,
            size=tuple(size),
            kernel=tuple(kernel),
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
        )
    }


def _pads(
    node: _Node, size: Sequence[int], kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> list[tuple[int, int]]:
    auto, axes = node.word("auto_pad", "NOTSET"), len(kernel)
    pads = node.numbers("pads", [0] * 2 * axes)
    if auto in ("NOTSET", "VALID"):
        pads = [0] * 2 * axes if auto == "VALID" else pads
        return list(zip(pads[:axes], pads[axes:], strict=True))
    if auto not in ("SAME_UPPER", "SAME_LOWER"):
        raise ValueError(f"auto_pad = '{shortened(auto)}' is not known")
    found = []
    for extent, reach, step, spread in zip(size, kernel, stride, dilation, strict=True):
        total = max((-(-extent // step) - 1) * step + (reach - 1) * spread + 1 - extent, 0)
        less, more = total // 2, total - total // 2
        found.append((less, more) if auto == "SAME_UPPER" else (more, less))
    return found


def _conv_transpose(node: _Node) -> dict[str, Row]:
    (images, channels, *size), (_, depth, *kernel) = node.shape(0, 3), node.shape(1, 3)
    groups = node.number("group", 1)
    row = transposed_convolution(
        images=images,
        channels=channels,
        filters=depth * groups,
        size=tuple(size),
        kernel=tuple(kernel),
        groups=groups,
    )
    return {"": row}


def _matmul(node: _Node, a: int = 0, b: int = 1) -> dict[str, Row]:
    left, right = node.shape(a), node.shape(b)
    left = _swapped(left) if node.number("transA", 0) else left  # of FusedMatMul and Gemm
    right = _swapped(right) if node.number("transB", 0) else right
    return {"": matmul(left, right, left_is_weights=node.is_weights(a), right_is_weights=node.is_weights(b))}


def _swapped(shape: Shape) -> Shape:
    if len(shape) < 2:
        raise ValueError("an operand to be transposed has one axis")
    return (*shape[:-2], shape[-1], shape[-2])


def _einsum(node: _Node) -> dict[str, Row]:
    operands = range(len(node.inputs))
    return {"": einsum(node.word("equation", ""), [*map(node.shape, operands)], [*map(node.is_weights, operands)])}


def _attention(node: _Node) -> dict[str, Row]:
    query, key, value = (node.shape(index, 3) for index in range(3))
    if len(query) == 3:  # [batch, tokens, heads * width]
        heads = node.number("q_num_heads", 0), node.number("kv_num_heads", 0), node.number("kv_num_heads", 0)
        if min(heads) < 1:
            raise ValueError("it does not say how many heads there are")
        if any(shape[2] % count for shape, count in zip((query, key, value), heads, strict=True)):
            raise ValueError(
                f"{heads[0]} and {heads[1]} heads do not divide the widths {query[2]}, {key[2]}, {value[2]}"
            )
        query, key, value = (
            (batch, count, tokens, width // count)
            for (batch, tokens, width), count in zip((query, key, value), heads, strict=True)
        )
    return attention(query, key, value, past=node.shape(4, 4)[2] if node.has(4) else 0)


_PRODUCTS: Mapping[str, Callable[[_Node], dict[str, Row]]] = {
    "Conv": _conv,
    "FusedConv": _conv,
    "ConvInteger": _conv,
    "QLinearConv": lambda node: _conv(node, 0, 3),
    "ConvTranspose": _conv_transpose,
    "MatMul": _matmul,
    "FusedMatMul": _matmul,
    "Gemm": _matmul,
    "FusedGemm": _matmul,
    "MatMulInteger": _matmul,
    "QLinearMatMul": lambda node: _matmul(node, 0, 3),
    "Einsum": _einsum,
    "Attention": _attention,
}
_CONTRIBUTED = ("FusedConv", "FusedMatMul", "FusedGemm")  # of ONNX Runtime's domain


def from_onnx(path: str | Path, dimensions: Mapping[str, int] | None = None) -> ImportedNetwork:
    """The layers of an ONNX model.

    Args:
        path: of the file, up to 1 GiB.
        dimensions: {name of a dynamic dimension: its size}, as in {"batch": 1}.

    Raises:
        InvalidWorkloadError: the file is no ONNX model, or an input's shape is dynamic; names the input.
        DsegymError: onnx is not installed.
    """
    onnx = _library()
    content = read_bytes(path, most_bytes=MOST_HASHED_BYTES)
    try:
        model = onnx.load_model_from_string(content)
    except Exception:
        fail(path, "it is no ONNX model, or it is damaged")
    del content
    if not model.graph.node:
        fail(path, "it is no ONNX model, or its graph is empty")
    if len(model.functions):
        if _inlined_nodes(model) > MOST_NODES:
            fail(path, f"with its functions inlined it has more than {MOST_NODES:,} nodes")
        try:
            model = onnx.inliner.inline_local_functions(model)
        except Exception as error:
            fail(path, f"its functions cannot be inlined: {shortened(str(error))}")
    if wrong := _out_of_order(model.graph):
        fail(path, wrong)
    weights, external = _without_weights(model)
    constants = _constants(model, weights)
    imported = {each.domain for each in model.opset_import}
    for domain in sorted({node.domain for node in model.graph.node} - imported - {"", "ai.onnx"}):
        model.opset_import.append(onnx.helper.make_opsetid(domain, 1))  # without, shapes would not be inferred
    _bind(path, model, constants, dimensions or {})
    try:
        shapes = inferred_shapes(model)
    except (ValueError, onnx.shape_inference.InferenceError) as error:
        fail(path, f"its shapes contradict each other: {shortened(' '.join(str(error).split()))}")
    except Exception as error:  # of whatever kind, of a node whose inputs or attributes are not its operator's
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        fail(path, f"its shapes cannot be followed ({shortened(reason)})")
    graph = model.graph
    producer = " ".join(f"{model.producer_name} {model.producer_version}".split()) or "an unnamed producer"
    reading = Reading(Path(path).stem, f"Layers of the ONNX model {Path(path).name}, of {producer}.")
    for index, node in enumerate(graph.node):
        _read(reading, node, index, shapes, constants)
    network = reading.done()
    if external and not network.rows and network.unsupported:
        fail(path, f"{network.unsupported[0].reason}; data in external files are not opened")
    return network


def _library() -> Any:
    try:
        import onnx
        import onnx.inliner
        import onnx.shape_inference
    except ImportError:
        raise DsegymError("Reading ONNX models needs onnx: pip install 'dsegym[workloads]'.") from None
    return onnx


def _inlined_nodes(model: Any) -> int:
    """How many nodes the graph has once functions are inlined; a cycle, which ONNX refuses, counts once."""
    bodies = {(each.domain, each.name): each.node for each in model.functions}
    counts: dict[tuple[str, str], int] = {}

    def count(nodes: Any) -> int:
        total = 0
        for node in nodes:
            key = (node.domain, node.op_type)
            if key in bodies and key not in counts:
                counts[key] = 1  # while it is counted
                counts[key] = count(bodies[key])
            inner = sum(count(graph.node) for graph in _graphs_of(node))
            total += counts.get(key, 1) + inner
        return total

    return count(model.graph.node)


def _out_of_order(graph: Any) -> str:
    """What is wrong where a tensor is written twice, or read before it is written, as in a cycle; else nothing."""
    writers = {name: _label(node, index) for index, node in enumerate(graph.node) for name in node.output if name}
    written: set[str] = set()
    for index, node in enumerate(graph.node):
        for name in node.input:
            if name in writers and name not in written:
                return (
                    f"node '{_label(node, index)}' reads '{shortened(name)}' before node '{writers[name]}' writes it: "
                    "the graph has a cycle, or is not sorted"
                )
        for name in filter(None, node.output):
            if name in written:
                return f"'{shortened(name)}' is written twice, the second time by node '{_label(node, index)}'"
            written.add(name)
    return ""


def _label(node: Any, index: int) -> str:
    return shortened(node.name or (node.output[0] if node.output else "") or f"{node.op_type}_{index}")


def _without_weights(model: Any) -> tuple[set[str], bool]:
    """Lets go of large tensors, which then are inputs of the same shape.

    Returns:
        The names of all constants, and whether some lay in external files.
    """
    from onnx import TensorProto, helper

    kept, inputs, external = [], {each.name for each in model.graph.input}, False
    for tensor in model.graph.initializer:
        size = 1
        for extent in tensor.dims:
            size *= extent
        outside = tensor.data_location == TensorProto.EXTERNAL
        external |= outside
        if size <= LARGE and not outside:
            kept.append(tensor)
        elif tensor.name not in inputs:
            model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    names = {tensor.name for tensor in model.graph.initializer}
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    return names, external


def _constants(model: Any, weights: set[str]) -> set[str]:
    """Names of the tensors that do not depend on the model's inputs."""
    found = weights | {each.values.name for each in model.graph.sparse_initializer}
    for node in model.graph.node:
        if all(name in found for name in node.input if name) and node.op_type not in _CONTROL:
            found.update(node.output)
    return found


def _bind(path: str | Path, model: Any, constants: set[str], dimensions: Mapping[str, int]) -> None:
    """Gives the dynamic dimensions their sizes; raises where one has none."""
    seen: set[str] = set()
    for value in model.graph.input:
        if not value.type.HasField("tensor_type") or value.name in constants:
            continue
        kind = value.type.tensor_type
        if not kind.HasField("shape"):
            fail(path, f"the input '{shortened(value.name)}' has no shape")
        for index, extent in enumerate(kind.shape.dim):
            if extent.HasField("dim_param") and extent.dim_param in dimensions:
                seen.add(extent.dim_param)
                extent.dim_value = dimensions[extent.dim_param]
            if not extent.HasField("dim_value") or extent.dim_value < 1:
                name = extent.dim_param or f"{value.name}.{index}"
                if name in dimensions:
                    seen.add(name)
                    extent.dim_value = dimensions[name]
                    continue
                fail(
                    path,
                    f"dimension {index} of the input '{shortened(value.name)}' is dynamic ('{shortened(name)}'); give "
                    f"its size, as in --dimension {shortened(name)}=1",
                )
    if left := [name for name in dimensions if name not in seen]:
        fail(path, f"no input has a dynamic dimension '{shortened(left[0])}'")
    if dimensions:  # what was inferred without them is inferred again
        del model.graph.value_info[:]
    for value in model.graph.output:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")


def _read(reading: Reading, node: Any, index: int, shapes: Mapping[str, Shape | None], constants: set[str]) -> None:
    """Takes one node."""
    standard = node.domain in ("", "ai.onnx")
    operator = node.op_type if standard else f"{node.domain}.{node.op_type}"
    layer = node.name or (node.output[0] if node.output else "") or f"{node.op_type}_{index}"
    if node.op_type in (_PRODUCTS if standard else _CONTRIBUTED if node.domain == "com.microsoft" else ()):
        names = [name.removesuffix(".weight") for name in node.input if name.endswith(".weight") and name in constants]
        layer = names[0] if names else layer
        try:
            rows = _PRODUCTS[node.op_type](_Node(node, shapes, constants))
        except ValueError as error:  # unpacking a shape of another number of axes too
            reading.cannot(layer, operator, str(error))
            return
        for part, row in rows.items():
            reading.add(f"{layer}.{part}" if part else layer, operator, row)
    elif standard and node.op_type in _FREE:
        reading.skip(_FREE[node.op_type], operator)
    elif standard and node.op_type in _CONTROL:
        inside = sorted({each for each in _operators_of(node) if each not in _FREE})
        if inside:
            reading.cannot(layer, operator, f"how often it runs {', '.join(inside)} is decided by data")
        else:
            reading.skip("control flow", operator)
    else:
        reading.cannot(layer, operator, _REASONS.get(operator, UNKNOWN))


def _operators_of(node: Any) -> Iterator[str]:
    """The operators in the graphs that a node holds, those in other control flow's too."""
    for graph in _graphs_of(node):
        for each in graph.node:
            standard = each.domain in ("", "ai.onnx")
            if standard and each.op_type in _CONTROL:
                yield from _operators_of(each)
            else:
                yield each.op_type if standard else f"{each.domain}.{each.op_type}"


def _graphs_of(node: Any) -> Iterator[Any]:
    for attribute in node.attribute:
        yield from (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs)
