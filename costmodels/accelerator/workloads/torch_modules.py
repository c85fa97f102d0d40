"""PyTorch modules as layers: `from_torch`, by torch.export; and models that torchvision and transformers construct.

Nothing is computed: torch.export traces shapes alone, so that a module may have its tensors on the device `meta`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import inspect
import io
import logging
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import DsegymError, InvalidWorkloadError, UnknownNameError, literal, shortened
from ...files import fail, parse_json, read_text
from .imported import (
    RECURRENT,
    UNKNOWN,
    ImportedNetwork,
    Reading,
    Row,
    Shape,
    attention,
    contraction,
    convolution,
    einsum,
    free_operators,
    matmul,
    product,
    transposed_convolution,
)

__all__ = ["LIBRARIES", "from_named_model", "from_torch"]

_FREE = free_operators("torch")
_REASONS: Mapping[str, str] = {
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), RECURRENT),
    **dict.fromkeys(("_grouped_mm", "grouped_mm_fallback"), "how many rows each expert gets is decided by data"),
}
LIBRARIES = ("torchvision", "transformers")


class _Call:
    """A call of an operator with its arguments by their names, and the shapes of those that are tensors."""

    def __init__(self, node: Any, weights: Mapping[Any, str | None]):
        schema = node.target._schema.arguments
        self._arguments: dict[str, Any] = {each.name: each.default_value for each in schema if each.has_default_value()}
        self._arguments |= {each.name: value for each, value in zip(schema, node.args, strict=False)} | node.kwargs
        self._weights = weights

    def get(self, name: str) -> Any:
        return self._arguments[name]

    def shape(self, name: str) -> Shape:
        return _shape_of(self._arguments[name])

    def is_weights(self, name: str) -> bool:
        return self._arguments[name] in self._weights

    def numbers(self, name: str, axes: int) -> list[int]:
        value = self._arguments[name]
        values = [value] if isinstance(value, int) else list(value)
        return [int(each) for each in (values * axes if len(values) == 1 else values)]


def _shape_of(node: Any) -> Shape:
    value = node.meta.get("val")
    if value is None or not hasattr(value, "shape"):
        raise ValueError(f"the shape of '{node}' is not known")
    if dynamic := [str(extent) for extent in value.shape if not isinstance(extent, int)]:
        raise ValueError(f"the dimension {dynamic[0]} of '{node}' is dynamic; export it with fixed shapes")
    return tuple(value.shape)


def _images_and_size(shape: Shape, axes: int) -> tuple[int, int, Shape]:
    """(images, channels, size) of an input, which may lack the batch."""
    full = shape if len(shape) == axes + 2 else (1, *shape)
    return full[0], full[1], full[2:]


def _conv(call: _Call) -> dict[str, Row]:
    filters, depth, *kernel = call.shape("weight")
    axes, groups = len(kernel), call.get("groups")
    images, channels, size = _images_and_size(call.shape("input"), axes)
    if call._arguments.get("transposed"):
        return _conv_transpose(call)
    dilation = call.numbers("dilation", axes)
    given = call.get("padding")
    if given == "same":
        total = [(reach - 1) * spread for reach, spread in zip(kernel, dilation, strict=True)]
        padding = [(each // 2, each - each // 2) for each in total]
    else:
        padding = [(each, each) for each in ([0] * axes if given == "valid" else call.numbers("padding", axes))]
    if depth * groups != channels:
        raise ValueError(f"{channels} channels where {groups} groups of the kernel have {depth}")
    row = convolution(
        images=images,
        channels=channels,
        filters=filters,
        size=size,
        kernel=tuple(kernel),
        stride=call.numbers("stride", axes),
        padding=padding,
        dilation=dilation,
        groups=groups,
    )
    return {"": row}


def _conv_transpose(call: _Call) -> dict[str, Row]:
    _, depth, *kernel = call.shape("weight")
    groups = call.get("groups")
    images, channels, size = _images_and_size(call.shape("input"), len(kernel))
    row = transposed_convolution(
        images=images, channels=channels, filters=depth * groups, size=size, kernel=tuple(kernel), groups=groups
    )
    return {"": row}


def _linear(call: _Call) -> dict[str, Row]:
    rows, (filters, features) = call.shape("input"), call.shape("weight")
    return {"": product(m=math.prod(rows[:-1]), n=filters, k=features, weights=call.is_weights("weight"))}


def _product_of(left: str, right: str) -> Callable[[_Call], dict[str, Row]]:
    """A matrix product of two of the call's arguments."""

    def rows(call: _Call) -> dict[str, Row]:
        weights = {"left_is_weights": call.is_weights(left), "right_is_weights": call.is_weights(right)}
        return {"": matmul(call.shape(left), call.shape(right), **weights)}

    return rows


def _einsum(call: _Call) -> dict[str, Row]:
    operands = call.get("tensors")
    weights = [each in call._weights for each in operands]
    return {"": einsum(call.get("equation"), [_shape_of(each) for each in operands], weights)}


def _tensordot(call: _Call) -> dict[str, Row]:
    left, right = call.shape("self"), call.shape("other")
    of_left = [f"left {axis}" for axis in range(len(left))]
    of_right = [f"right {axis}" for axis in range(len(right))]
    for one, other in zip(call.get("dims_self"), call.get("dims_other"), strict=True):
        of_right[other] = of_left[one]
    sizes = dict(zip((*of_left, *of_right), (*left, *right), strict=True))
    result = set(of_left) ^ set(of_right)
    return {"": contraction(sizes, of_left, of_right, result, call.is_weights("self"), call.is_weights("other"))}


def _attention(call: _Call) -> dict[str, Row]:
    return attention(call.shape("query"), call.shape("key"), call.shape("value"))


_PRODUCTS: Mapping[str, Callable[[_Call], dict[str, Row]]] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d", "convolution", "_convolution"), _conv),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), _conv_transpose),
    "linear": _linear,
    "matmul": _product_of("self", "other"),
    "mm": _product_of("self", "mat2"),
    "bmm": _product_of("self", "mat2"),
    "mv": _product_of("self", "vec"),
    "dot": _product_of("self", "tensor"),
    "addmm": _product_of("mat1", "mat2"),
    "addmv": _product_of("mat", "vec"),
    "addbmm": _product_of("batch1", "batch2"),
    "baddbmm": _product_of("batch1", "batch2"),
    "_int_mm": _product_of("self", "mat2"),
    "_scaled_mm": _product_of("self", "mat2"),
    "einsum": _einsum,
    "tensordot": _tensordot,
    "scaled_dot_product_attention": _attention,
    "_scaled_dot_product_flash_attention": _attention,
    "_scaled_dot_product_flash_attention_for_cpu": _attention,
    "_scaled_dot_product_efficient_attention": _attention,
    "_scaled_dot_product_cudnn_attention": _attention,
}


def from_torch(
    module: Any,
    example_inputs: Sequence[Any] = (),
    example_keywords: Mapping[str, Any] | None = None,
    *,
    name: str | None = None,
) -> ImportedNetwork:
    """The layers of a PyTorch module, as torch.export traces it.

    Args:
        module: a `torch.nn.Module`, on any device, or a `torch.export.ExportedProgram`.
        example_inputs: the positional arguments of its call; their shapes count, their values do not.
        example_keywords: the arguments by name.
        name: of the network; the class's when left out.

    Raises:
        InvalidWorkloadError: torch.export cannot trace the module, or a shape is dynamic; says why.
        DsegymError: torch is not installed.
    """
    torch = _import("torch", "dsegym[agents]")
    name = name or type(module).__name__
    if not isinstance(module, torch.nn.Module | torch.export.ExportedProgram):
        raise InvalidWorkloadError(f"{literal(module)} is neither a torch.nn.Module nor an ExportedProgram.")
    try:
        with _quiet():
            program = module
            if isinstance(module, torch.nn.Module):
                program = torch.export.export(module, tuple(example_inputs), dict(example_keywords or {}), strict=False)
            if _is_transformed(program):
                program = program.run_decompositions({})
    except Exception as error:  # of many kinds, those of the module's own code too
        lines = str(error).strip().split("\n")
        raise InvalidWorkloadError(
            f"torch.export cannot trace '{name}': {type(error).__name__}: {shortened(lines[0])}."
        ) from error
    signature = program.graph_signature
    held = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    held |= dict.fromkeys(signature.inputs_to_lifted_tensor_constants, "")
    weights = {node: held[node.name] for node in program.graph.nodes if node.op == "placeholder" and node.name in held}
    reading = Reading(
        name, f"Layers of the PyTorch module {name}, as torch.export of torch {torch.__version__} traces it."
    )
    _read_graph(reading, program.graph_module, weights)
    return reading.done()


def _is_transformed(program: Any) -> bool:
    """Whether calls stand in a torch.vmap or a derivative, which hides how many there are until it is decomposed."""
    graphs = [each.graph for each in program.graph_module.modules() if hasattr(each, "graph")]
    targets = {node.target for graph in graphs for node in graph.nodes if node.op == "call_function"}
    return any(getattr(each, "__module__", "") == "torch._functorch.predispatch" for each in targets)


def _import(library: str, extra: str) -> Any:
    try:
        return importlib.import_module(library)
    except ImportError:
        raise DsegymError(f"This needs {library}: pip install '{extra}'.") from None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what libraries say while they trace and construct, which nobody asked for."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def _offline() -> Iterator[None]:
    """Without downloads from Hugging Face's hub, which some constructors would begin."""
    try:
        constants: Any = importlib.import_module("huggingface_hub.constants")
    except ImportError:
        yield
        return
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _read_graph(reading: Reading, module: Any, weights: dict[Any, str | None]) -> None:
    """Takes the calls of a graph; `weights` are its nodes that do not depend on the inputs, and their names."""
    for node in module.graph.nodes:
        if node.op != "call_function":
            continue
        if node.all_input_nodes and all(each in weights for each in node.all_input_nodes):
            named = [weights[each] for each in node.all_input_nodes]
            weights[node] = named[0] if len(named) == 1 else None
        if type(node.target).__name__ == "OpOverload":
            _read_call(reading, node, weights)
        elif "HigherOrderOperator" in {each.__name__ for each in type(node.target).__mro__}:
            _read_nested(reading, module, node, weights)
        else:
            name = getattr(node.target, "__name__", str(node.target))
            if _takes_tensors(node):
                reading.cannot(_layer_of(node, weights), name, UNKNOWN)
            else:  # Python's own, on sizes and tuples
                reading.skip("reshape", name)


def _takes_tensors(node: Any) -> bool:
    return any(hasattr(each.meta.get("val"), "shape") for each in node.all_input_nodes)


def _read_call(reading: Reading, node: Any, weights: Mapping[Any, str | None]) -> None:
    import torch

    space, _, operator = node.target._schema.name.partition("::")
    plain = operator.removesuffix("_") if operator not in _FREE else operator
    title = f"{space}.{operator}"
    layer = _layer_of(node, weights)
    if space == "aten" and plain in _PRODUCTS:
        try:
            rows = _PRODUCTS[plain](_Call(node, weights))
        except ValueError as error:
            reading.cannot(layer, title, str(error))
            return
        for part, row in rows.items():
            reading.add(f"{layer}.{part}" if part else layer, title, row)
    elif space == "aten" and plain in _FREE:
        reading.skip(_FREE[plain], title)
    elif kind := _kind_of(torch, getattr(getattr(torch.ops, space), plain, None), node.target):
        reading.skip(kind, title)
    elif not _takes_tensors(node):
        reading.skip("constant", title)  # of numbers alone
    else:
        reading.cannot(layer, title, _REASONS.get(plain, UNKNOWN))


def _kind_of(torch: Any, packet: Any, target: Any) -> str:
    """What torch says of an operator, in any of its overloads: that it is pointwise, or a view; empty for others."""
    overloads = [target, *(getattr(packet, name) for name in (packet.overloads() if packet else ()))]
    if any(torch.Tag.pointwise in each.tags for each in overloads):
        return "elementwise"
    return "reshape" if target.is_view else ""


def _read_nested(reading: Reading, module: Any, node: Any, weights: Mapping[Any, str | None]) -> None:
    """Takes what a call runs once; what it runs by a rule of its own is not supported."""
    name = str(node.target)
    graphs = [each for each in node.all_input_nodes if each.op == "get_attr"]
    found = [getattr(module, str(each.target), None) for each in graphs]
    inner: list[Any] = [each for each in found if hasattr(each, "graph")]
    if not name.startswith("wrap") or len(inner) != 1:
        reading.cannot(_layer_of(node, weights), name, "how often it runs what it holds is decided by data or a rule")
        return
    places = [each for each in inner[0].graph.nodes if each.op == "placeholder"]
    operands = node.args[node.args.index(graphs[found.index(inner[0])]) + 1 :]
    pairs = ((place, each) for place, each in zip(places, operands, strict=False) if hasattr(each, "meta"))
    known = {place: weights[each] for place, each in pairs if each in weights}
    _read_graph(reading, inner[0], known)


def _layer_of(node: Any, weights: Mapping[Any, str | None]) -> str:
    """The module whose weights a call takes, or the one that it stands in, with the call's name."""
    for each in node.all_input_nodes:
        if (weights.get(each) or "").endswith(".weight"):
            return str(weights[each]).removesuffix(".weight")
    stack = list(node.meta.get("nn_module_stack", {}).values())
    path = str(stack[-1][0]).removeprefix("L['self'].") if stack else ""
    return f"{path}.{node.name}" if path else node.name


# Models of libraries, by their own constructors.


def from_named_model(
    spelling: str,
    *,
    inputs: Sequence[Sequence[int]] = (),
    settings: Mapping[str, str] | None = None,
    config: str | Path | None = None,
) -> ImportedNetwork:
    """The layers of `torchvision:NAME` or `transformers:CLASS`, constructed without weights; nothing is downloaded.

    Args:
        spelling: `torchvision:resnet50`, `transformers:BertModel`.
        inputs: the shape of each input; by default an image of 224 x 224, or 128 tokens.
        settings: {name: value} in place of the configuration's own (transformers).
        config: a file config.json of the configuration (transformers).

    Raises:
        UnknownNameError: the library has no such model.
        InvalidWorkloadError: it cannot be constructed or traced; says why.
        DsegymError: a library is not installed.
    """
    library, _, name = spelling.partition(":")
    if library not in LIBRARIES or not name.isidentifier():
        raise UnknownNameError("model", spelling, ("torchvision:NAME", "transformers:CLASS"))
    torch = _import("torch", "dsegym[agents]")
    with _quiet():
        _import(library, library)
    if library == "torchvision" and (settings or config):
        raise InvalidWorkloadError("torchvision's models have no configuration; only those of transformers have.")
    try:
        with _quiet(), _offline():
            if library == "torchvision":
                module, examples = _of_torchvision(torch, name, inputs)
            else:
                with torch.device("meta"):
                    module, examples = _of_transformers(torch, name, inputs, settings or {}, config)
    except DsegymError:
        raise
    except Exception as error:  # of many kinds: the library's own
        reason = shortened(" ".join(str(error).split()))
        raise InvalidWorkloadError(f"'{spelling}' cannot be constructed: {type(error).__name__}: {reason}.") from error
    network = from_torch(module.eval(), *examples, name=name)
    version = _import(library, library).__version__
    source = f"{network.source} Constructed by {library} {version} as {spelling}."
    return dataclasses.replace(network, source=source)


def _of_torchvision(torch: Any, name: str, inputs: Sequence[Sequence[int]]) -> tuple[Any, tuple[Any, ...]]:
    models = _import("torchvision.models", "torchvision")
    if name not in models.list_models():
        raise UnknownNameError("model of torchvision", name, models.list_models())
    without: dict[str, Any] = {"weights": None}
    if "weights_backbone" in inspect.signature(models.get_model_builder(name)).parameters:
        without["weights_backbone"] = None  # which would be downloaded
    try:
        with torch.device("meta"):
            module = models.get_model(name, **without)
    except NotImplementedError:  # a constructor that computes with tensors
        module = models.get_model(name, **without).to("meta")
    return module, ([torch.empty(tuple(shape), device="meta") for shape in inputs or [(1, 3, 224, 224)]],)


def _of_transformers(
    torch: Any, name: str, inputs: Sequence[Sequence[int]], settings: Mapping[str, str], config: str | Path | None
) -> tuple[Any, tuple[Any, ...]]:
    transformers = _import("transformers", "transformers")
    kind: Any = getattr(transformers, name, None) if not name.startswith("_") else None
    base = transformers.PreTrainedModel
    if not isinstance(kind, type) or not issubclass(kind, base) or getattr(kind, "config_class", None) is None:
        raise UnknownNameError("model of transformers", name, ("a class such as BertModel or LlamaForCausalLM",))
    given: dict[str, Any] = {}
    if config is not None:
        members = parse_json(config, read_text(config))
        if not isinstance(members, dict):
            fail(config, "it is no configuration: a JSON object is needed")
        wanted = kind.config_class.model_type
        if (found := members.get("model_type", wanted)) != wanted:
            fail(config, f"it is of the model type '{shortened(str(found))}'; {name} is of {wanted}")
        given = {key: value for key, value in members.items() if key not in ("auto_map", "torch_dtype", "dtype")}
    defaults = kind.config_class()
    for key, text in settings.items():
        if not hasattr(defaults, key):
            raise UnknownNameError("setting", key, sorted(defaults.to_dict()))
        given[key] = parse_json("--set", text) if text[:1] in "[{-0123456789tfn" else text
    settled = kind.config_class(**given)
    for flag in ("use_cache", "output_attentions", "output_hidden_states"):
        if hasattr(settled, flag):
            setattr(settled, flag, False)
    module = kind(settled)
    keyword = module.main_input_name
    if inputs:
        shapes = [tuple(each) for each in inputs]
    elif keyword == "input_ids":
        shapes = [(1, 128)]
    elif keyword == "pixel_values" and isinstance(getattr(settled, "image_size", None), int):
        shapes = [(1, getattr(settled, "num_channels", 3), settled.image_size, settled.image_size)]
    else:
        example = "1x3x224x224" if keyword == "pixel_values" else "1x80x3000"
        raise InvalidWorkloadError(f"{name} takes {keyword}, whose shape must be given, as in --input {example}.")
    examples: dict[str, Any] = {keyword: torch.empty(shapes[0], dtype=torch.long if "ids" in keyword else None)}
    if getattr(settled, "is_encoder_decoder", False) and keyword != "pixel_values":
        examples["decoder_input_ids"] = torch.empty(shapes[-1] if len(shapes[-1]) == 2 else (1, 128), dtype=torch.long)
    return module, ((), examples)
