"""Any JAX function as a `Program`: its jaxpr, flattened, fused into kernels, with the traffic of each.

Nothing is compiled, so a program depends on the JAX version but not on a backend. The rules stand where they are
applied: `jaxpr.py` flattens and counts, `fusion.py` fuses, orders and aliases. Here a program is made of the result,
and a function that a command names by where it is becomes one.

A tensor of one element, or of none, is no buffer: it travels in registers.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from ..errors import DsegymError, InvalidWorkloadError, UnknownNameError
from .fusion import Fusion, Traffic, share_storage, traffic_of
from .jaxpr import Flattener, Value, needed
from .program import Buffer, Instruction, Program

__all__ = ["MAX_OPERATIONS", "parse_spec", "trace", "trace_location"]

MAX_OPERATIONS = 20_000  # of a flattened function, before fusion
VERSION = "1"  # of the rules of `jaxpr.py` and `fusion.py`; goes into the provenance


def trace(
    function: Callable[..., Any],
    *args: Any,
    name: str,
    summary: str = "",
    donate: Sequence[int] = (),
    source: str = "",
    limit: int = MAX_OPERATIONS,
) -> Program:
    """The program of a JAX function; the docstrings of `jaxpr.py` and `fusion.py` say how.

    Args:
        function: what `jax.jit` takes.
        args: its arguments: arrays, `jax.ShapeDtypeStruct`s, or trees of them. Only shapes and dtypes matter.
        name: the program's.
        summary: one line.
        donate: positions of arguments whose storage the outputs may take, as `donate_argnums` of `jax.jit`.
        source: where the function is, for the provenance; by default its module and name.
        limit: operations after unrolling, at most.

    Raises:
        InvalidWorkloadError: the function cannot be traced, uses a primitive that has no rule, or computes nothing.
    """
    _check_donate(donate, len(args), name)
    try:
        closed = jax.make_jaxpr(function)(*args)
    except DsegymError:
        raise
    except Exception as error:  # whatever the user's function does under tracing
        reason = (str(error).splitlines() or [""])[0].rstrip(".")[:300]
        raise InvalidWorkloadError(
            f"Cannot trace '{name}' with {_shapes_text(args)}: {type(error).__name__}: {reason}."
        ) from error
    flattener = Flattener(name, limit)
    names = _parameter_names(function, args)
    inputs = [flattener.parameter(v.aval, n) for v, n in zip(closed.jaxpr.invars, names, strict=True)]
    outputs = flattener.run(closed, inputs)
    operations = needed(flattener.operations, outputs)
    values = flattener.values
    live_out = {value for value in outputs if values[value].elements > 1}
    carried = {after for before, after in flattener.carries if after != before}
    fusion = Fusion(operations, values, live_out, carried)
    kernels = [(kernel, traffic_of(fusion, kernel, live_out, n)) for n, kernel in enumerate(fusion.kernels)]
    donated = _donated_pairs(args, donate, closed, inputs, outputs)
    former = share_storage(fusion, kernels, live_out, donated, flattener.carries)
    provenance = {
        "source": source or f"{getattr(function, '__module__', '?')}:{getattr(function, '__qualname__', '?')}",
        "jax": jax.__version__,
        "tracer": f"dsegym.costmodels.memory.tracer, rules {VERSION}",
    }
    return _assemble(name, summary, provenance, values, [traffic for _, traffic in kernels], live_out, former)


def _check_donate(donate: Sequence[int], count: int, name: str) -> None:
    for position in donate:
        if not 0 <= position < count:
            raise InvalidWorkloadError(
                f"Cannot donate argument {position} of '{name}'; it is traced with {count}, numbered from 0."
            )


def _shapes_text(args: Sequence[Any]) -> str:
    leaves = [leaf for leaf in jax.tree.leaves(args) if hasattr(leaf, "shape")]
    texts = [f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]" for leaf in leaves[:6]]
    return ", ".join([*texts, *(["..."] if len(leaves) > 6 else [])]) or "no arrays"


def _parameter_names(function: Callable[..., Any], args: Sequence[Any]) -> list[str]:
    """Names of the leaves of the arguments, such as `weights.0.bias`; unique."""
    try:
        positional = [p for p in inspect.signature(function).parameters.values() if p.kind in (0, 1)]
        heads = [parameter.name for parameter in positional][: len(args)]
    except (TypeError, ValueError):
        heads = []
    heads += [f"argument{position}" for position in range(len(heads), len(args))]
    found = []
    for head, arg in zip(heads, args, strict=True):
        for path, _ in jax.tree_util.tree_flatten_with_path(arg)[0]:
            tail = jax.tree_util.keystr(path, simple=True, separator=".")
            found.append(f"{head}.{tail}" if tail else head)
    return found


def _donated_pairs(
    args: Sequence[Any], donate: Sequence[int], closed: Any, inputs: Sequence[int], outputs: Sequence[int]
) -> list[tuple[int, int]]:
    """(input, output) of equal shape and dtype, paired in order as JAX does. An input without an output is -1."""
    positions = np.cumsum([0, *(len(jax.tree.leaves(arg)) for arg in args)])
    waiting: dict[Any, list[int]] = defaultdict(list)
    pairs: list[tuple[int, int]] = []
    for argument in sorted(set(donate)):
        for leaf in range(positions[argument], positions[argument + 1]):
            aval = closed.jaxpr.invars[leaf].aval
            waiting[aval.shape, str(aval.dtype)].append(inputs[leaf])
            pairs.append((inputs[leaf], -1))
    for value, aval in zip(outputs, closed.out_avals, strict=True):
        queue = waiting[aval.shape, str(aval.dtype)]
        if queue:
            pairs.append((queue.pop(0), value))
    return pairs


def _assemble(
    name: str,
    summary: str,
    provenance: dict[str, str],
    values: Sequence[Value],
    traffics: Sequence[Traffic],
    live_out: set[int],
    former: dict[int, int],
) -> Program:
    """The program of what the kernels move, without tensors of one element."""
    order: dict[int, str] = {}  # value -> name of the buffer
    taken: set[str] = set()

    def unique(text: str) -> str:
        while text in taken:
            text += "'"
        taken.add(text)
        return text

    instructions: list[tuple[Traffic, list[tuple[int, int]], list[tuple[int, int]]]] = []
    used = {value for traffic in traffics for value in (*traffic.reads, *former.values())}
    for value, tensor in enumerate(values):
        if tensor.parameter and tensor.elements > 1 and value in used:
            order[value] = unique(tensor.parameter)
    for traffic in traffics:
        reads, writes = (
            [(value, size) for value, size in uses.items() if values[value].elements > 1]
            for uses in (traffic.reads, traffic.writes)
        )
        if reads or writes:
            instructions.append((traffic, reads, writes))
        for k, (value, _) in enumerate(writes):
            order[value] = unique(traffic.name + (f":{k}" if k else ""))
    if not instructions:
        raise InvalidWorkloadError(f"'{name}' computes nothing on tensors: no output depends on an operation.")
    numbers = {value: number for number, value in enumerate(order)}
    chains: dict[int, int] = {}
    heads = [value for value in order if value in former.values() and value not in former]
    following = {old: new for new, old in former.items()}
    for group, head in enumerate(heads):
        value: int | None = head
        while value is not None:
            chains[value] = group
            value = following.get(value)
    buffers = [
        Buffer(
            text,
            values[value].bytes,
            "parameter" if values[value].parameter else "temporary",
            value in live_out,
            chains.get(value, -1),
        )
        for value, text in order.items()
    ]
    dtypes = Counter[str]()
    for value in order:
        dtypes[str(values[value].dtype)] += values[value].bytes
    return Program(
        name,
        tuple(
            Instruction(traffic.name, traffic.flops, *(tuple((numbers[v], s) for v, s in u) for u in (reads, writes)))
            for traffic, reads, writes in instructions
        ),
        tuple(buffers),
        summary,
        dtypes.most_common(1)[0][0],
        provenance,
    )


_SHORT = {"bf16": "bfloat16", "f16": "float16", "f32": "float32", "pred": "bool"}
_SHORT |= {
    f"{letter}{bits}": f"{word}{bits}"
    for letter, word in (("s", "int"), ("i", "int"), ("u", "uint"))
    for bits in (8, 16, 32)
}
_DTYPES = tuple(dict.fromkeys(_SHORT.values()))


def parse_spec(text: str) -> jax.ShapeDtypeStruct:
    """A shape and dtype from a text such as `bf16[8,128]`, `float32[784]` or `int32[]`.

    Raises:
        InvalidWorkloadError: it is written in another way.
        UnknownNameError: there is no such dtype.
    """
    match = re.fullmatch(r"\s*(\w+)\s*\[\s*((?:\d+\s*(?:,\s*\d+\s*)*)?)\]\s*", text)
    if not match:
        raise InvalidWorkloadError(f"'{text}' is not a shape; write dtype and sizes, such as bf16[8,128] or f32[].")
    dtype = _SHORT.get(match[1], match[1])
    if dtype not in _DTYPES:
        raise UnknownNameError("dtype", match[1], (*_DTYPES, *_SHORT))
    return jax.ShapeDtypeStruct(tuple(int(size) for size in match[2].split(",") if size.strip()), np.dtype(dtype))


def trace_location(
    location: str, inputs: Sequence[str] = (), *, name: str | None = None, donate: Sequence[int] = ()
) -> Program:
    """The program of a function that is named by where it is.

    Args:
        location: `module:function`; the module may lie in the current directory.
        inputs: a text such as `bf16[8,128]` for each argument. If there are none, the function's attribute
            `example_args` says them: a tuple of arrays, `jax.ShapeDtypeStruct`s, such texts, or trees of them; or a
            function without arguments that returns the tuple.
        name: the program's; by default the function's.
        donate: positions of arguments whose storage the outputs may take.

    Raises:
        DsegymError: there is no such function.
        InvalidWorkloadError: the inputs do not fit it, or it cannot be traced.
    """
    module, colon, attribute = location.partition(":")
    if not (module and colon and attribute):
        raise InvalidWorkloadError(f"'{location}' is not a location; write module:function, such as my_model:forward.")
    here = "" not in sys.path
    if here:
        sys.path.insert(0, "")
    try:
        function = _load(module, attribute, location)
        args = _arguments(function, inputs, location)
        summary = (inspect.getdoc(function) or "").partition("\n")[0]
        return trace(
            function, *args, name=name or attribute.rpartition(".")[2], summary=summary, donate=donate, source=location
        )
    finally:
        if here and "" in sys.path:
            sys.path.remove("")


def _load(module: str, attribute: str, location: str) -> Callable[..., Any]:
    try:
        found: Any = importlib.import_module(module)
    except Exception as error:  # the user's module may fail in any way
        raise DsegymError(f"Cannot import '{module}' for '{location}': {type(error).__name__}: {error}.") from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            names = sorted(n for n, thing in vars(found).items() if callable(thing) and not n.startswith("_"))
            raise UnknownNameError(f"function of {module}", attribute, names)
        found = getattr(found, part)
    if not callable(found):
        raise InvalidWorkloadError(f"'{location}' is a {type(found).__name__}, not a function.")
    return found


def _arguments(function: Callable[..., Any], inputs: Sequence[str], location: str) -> tuple[Any, ...]:
    if inputs:
        args = tuple(parse_spec(text) for text in inputs)
    else:
        example = getattr(function, "example_args", None)
        example = example() if callable(example) else example
        if isinstance(example, tuple | list):
            args = tuple(jax.tree.map(lambda leaf: parse_spec(leaf) if isinstance(leaf, str) else leaf, list(example)))
        elif example is None:
            args = ()
        else:
            raise InvalidWorkloadError(f"{location}.example_args is a {type(example).__name__}; a tuple is expected.")
    try:
        inspect.signature(function).bind(*args)
    except TypeError as error:
        given = f"{len(args)} input" + ("" if len(args) == 1 else "s")
        raise InvalidWorkloadError(
            f"'{location}' does not take {given} ({error}); give one shape such as bf16[8,128] for each argument, "
            "or set the function's attribute example_args."
        ) from None
    except ValueError:  # no signature to check
        pass
    return args
