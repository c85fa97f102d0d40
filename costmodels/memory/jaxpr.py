"""A jaxpr as a flat list of operations on values, each with what it computes and reads.

1. **Flatten.** Calls (`jit`, `custom_jvp`, `custom_vjp`, `checkpoint`) are inlined. `scan` is unrolled: an iteration
   reads its slice of the inputs, and writes its slice of the outputs in place. Of a `cond`, the costliest branch is
   taken. `while` is refused. Views (reshape, squeeze, a transpose that only moves axes of length 1, ...) are their
   source. What has been computed before is not computed again, except by `checkpoint`; what no output needs is dropped.
2. **Count.** A contraction costs 2 operations per product of two elements of its operands (a convolution's padding and
   dilation holes are not counted), a reduction its input elements, a window reduction its window times its output
   elements, data movement and casts nothing, everything else its output elements. A slice or a gather reads as many
   bytes as it yields; an update (`dynamic_update_slice`, `scatter`) writes only the update, if it can happen in place.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.extend import core

from ..errors import InvalidWorkloadError

__all__ = ["Flattener", "Operation", "Value", "needed"]

_CALLS = {"jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call", "remat", "remat2"}
_CALLS |= {"checkpoint", "custom_vjp_call_jaxpr"}
_CALL_KEYS = ("jaxpr", "call_jaxpr", "fun_jaxpr")
# Results are the operands, one by one.
_VIEWS = {"reshape", "squeeze", "expand_dims", "stop_gradient", "copy", "copy_p", "bitcast_convert_type", "name"}
_VIEWS |= {"optimization_barrier", "sharding_constraint", "device_put", "mesh_cast", "reshard", "pvary", "pcast"}
# Views of their first operand where they neither grow, shrink nor reorder it.
_MAYBE_VIEWS = {"broadcast_in_dim", "slice", "dynamic_slice", "concatenate", "pad", "convert_element_type", "transpose"}
_DATA = {"broadcast_in_dim", "concatenate", "convert_element_type", "iota", "pad", "rev", "stack", "tile", "transpose"}
_SLICES = {"slice", "dynamic_slice", "gather"}
_REDUCTIONS = {"argmax", "argmin", "reduce"}
_CUMULATIVE = {"cumlogsumexp", "cummax", "cummin", "cumprod", "cumsum"}
_OPAQUE = {"cholesky", "fft", "select_and_gather_add", "select_and_scatter_add", "sort", "top_k", "triangular_solve"}
_REFUSED = {
    "while": "has no fixed trip count; use jax.lax.scan, or jax.lax.fori_loop with constant bounds",
    **dict.fromkeys(
        ("pallas_call", "custom_call", "ffi_call", "pure_callback", "io_callback", "custom_partitioning", "shard_map"),
        "hides its work from the tracer; trace the same computation in jax.numpy",
    ),
    **dict.fromkeys(
        (
            "eig",
            "eigh",
            "hessenberg",
            "householder_product",
            "lu",
            "qr",
            "geqrf",
            "schur",
            "svd",
            "tridiagonal",
            "custom_linear_solve",
            "ragged_dot",
            "ragged_dot_general",
            "scaled_matmul",
        ),
        "has no rule for its operations; leave it out, or write it with matrix products",
    ),
    **dict.fromkeys(
        ("psum", "psum2", "psum_invariant", "all_gather", "all_to_all", "ppermute", "pmax", "pmin", "reduce_scatter"),
        "needs several devices; trace what one device does",
    ),
}


@dataclass(frozen=True)
class Value:
    """A tensor of the flattened function."""

    bytes: int  # B
    elements: int
    dtype: Any
    parameter: str = ""  # the name, if it is an input or a constant


@dataclass(frozen=True)
class Operation:
    """One primitive of the flattened function."""

    primitive: str
    kind: str  # elementwise, data, slice, reduction, contraction, update or opaque
    flops: int
    operands: tuple[int, ...]  # values; an update's first one is what it overwrites
    read: tuple[int, ...]  # B of each operand
    outputs: tuple[int, ...]  # values
    update: int = -1  # of an update: B written in place
    fresh: bool = False  # of an update: there is nothing before it
    generated: bool = False  # depends on no parameter
    cheap: bool = False  # may be repeated in several kernels


class Flattener:
    """Turns a jaxpr into a list of operations on values."""

    def __init__(self, name: str, limit: int):
        self.name, self.limit = name, limit
        self.values: list[Value] = []
        self.operations: list[Operation] = []
        self.carries: list[tuple[int, int]] = []  # (value before an iteration of a scan, after it)
        self._constants: dict[int, int] = {}  # id -> value
        self._kept: list[Any] = []  # so that no id is given twice
        self._generated: set[int] = set()
        self._known: dict[Any, list[int]] = {}  # what has been computed before -> its values
        self._texts: dict[int, str] = {}  # id of an equation -> its parameters

    def parameter(self, aval: Any, name: str) -> int:
        """The value of an input."""
        return self._value(aval, name)

    def _value(self, aval: Any, parameter: str = "") -> int:
        elements = math.prod(aval.shape)
        item = getattr(aval.dtype, "itemsize", 4)
        self.values.append(Value(elements * item, elements, aval.dtype, parameter))
        return len(self.values) - 1

    def _constant(self, constant: Any) -> int:
        if id(constant) not in self._constants:
            self._constants[id(constant)] = self._value(constant, f"constant{len(self._constants)}")
            self._kept.append(constant)
        return self._constants[id(constant)]

    def _literal(self, literal: Any) -> int:
        value = literal.val
        if math.prod(np.shape(value)) > 1:
            return self._constant(value)
        key = "literal", literal.aval.dtype, np.asarray(value).tobytes()
        if key not in self._known:
            self._known[key] = [self._value(literal.aval)]
            self._generated.update(self._known[key])
        return self._known[key][0]

    def run(self, closed: Any, inputs: Sequence[int]) -> list[int]:
        """The values of a jaxpr's outputs."""
        jaxpr = getattr(closed, "jaxpr", closed)
        constants = [self._constant(np.asarray(c) if np.isscalar(c) else c) for c in getattr(closed, "consts", ())]
        known = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*constants, *inputs), strict=True))

        def look_up(atom: Any) -> int:
            return self._literal(atom) if isinstance(atom, core.Literal) else known[atom]

        for equation in jaxpr.eqns:
            outputs = self._equation(equation, [look_up(atom) for atom in equation.invars])
            known.update(zip(equation.outvars, outputs, strict=True))
        return [look_up(atom) for atom in jaxpr.outvars]

    def _equation(self, equation: Any, inputs: list[int]) -> list[int]:
        name, parameters = equation.primitive.name, equation.params
        if name in _REFUSED:
            raise InvalidWorkloadError(f"Cannot trace '{self.name}': its primitive '{name}' {_REFUSED[name]}.")
        if name in _CALLS:
            outside = self._known
            if parameters.get("prevent_cse"):  # a checkpoint: to compute it again is its purpose
                self._known = {key: values for key, values in outside.items() if key[0] == "literal"}
            outputs = self.run(next(parameters[key] for key in _CALL_KEYS if key in parameters), inputs)
            if parameters.get("prevent_cse"):
                self._known = outside
            return outputs
        if name == "scan":
            return self._scan(parameters, inputs)
        if name == "cond":
            return self._costliest(parameters["branches"], inputs[1:])
        if not equation.outvars:  # prints and checks
            return []
        if name in _VIEWS and len(inputs) == len(equation.outvars):
            return inputs
        if id(equation) not in self._texts:  # a scan comes here many times
            self._texts[id(equation)] = repr(sorted(parameters.items()))
            self._kept.append(equation)
        key = name, self._texts[id(equation)], *inputs
        if key not in self._known or name.startswith("rng"):
            self._known[key] = self._compute(equation, inputs)
        return self._known[key]

    def _compute(self, equation: Any, inputs: list[int]) -> list[int]:
        name, parameters = equation.primitive.name, equation.params
        shapes = [atom.aval for atom in equation.invars]
        results = [variable.aval for variable in equation.outvars]
        if name in ("split", "unstack"):
            return [self._emit("slice", "slice", 0, inputs, [aval])[0] for aval in results]
        if inputs and _is_view(name, parameters, shapes, results):
            return inputs[:1]
        kind, flops = _kind_and_flops(name, parameters, shapes, results)
        if kind == "update":
            update = shapes[1] if name == "dynamic_update_slice" else shapes[2]
            combines = name.startswith("scatter") and name != "scatter"
            return self._update(name, inputs, results[0], update, flops, reads_old=combines)
        return self._emit(name, kind, flops, inputs, results)

    def _emit(self, name: str, kind: str, flops: int, inputs: Sequence[int], results: Sequence[Any]) -> list[int]:
        operands = tuple(inputs)
        read = [self.values[value].bytes for value in operands]
        outputs = tuple(self._value(aval) for aval in results)
        if kind == "slice":
            read[0] = min(read[0], self.values[outputs[0]].bytes)
        generated = kind in ("elementwise", "data", "slice") and all(value in self._generated for value in operands)
        size = self.values[outputs[0]].bytes
        cheap = generated or name in ("broadcast_in_dim", "slice", "dynamic_slice", "transpose")
        cheap = cheap or (name == "convert_element_type" and size >= sum(read))
        self._add(Operation(name, kind, flops, operands, tuple(read), outputs, generated=generated, cheap=cheap))
        return list(outputs)

    def _update(
        self, name: str, inputs: Sequence[int | None], result: Any, update: Any, flops: int, reads_old: bool = False
    ) -> list[int]:
        """An update; its first input is None if nothing is there before."""
        old, *others = inputs
        operands = tuple(value for value in others if value is not None)
        read = [self.values[value].bytes for value in operands]
        output = self._value(result)
        written = min(math.prod(update.shape) * update.dtype.itemsize, self.values[output].bytes)
        if old is not None:
            operands, read = (old, *operands), [written if reads_old else 0, *read]
        self._add(Operation(name, "update", flops, operands, tuple(read), (output,), update=written, fresh=old is None))
        return [output]

    def _add(self, operation: Operation) -> None:
        if len(self.operations) >= self.limit:
            raise InvalidWorkloadError(
                f"'{self.name}' has more than {self.limit} operations once its scans are unrolled; "
                "shorten the scans, or trace fewer layers."
            )
        self.operations.append(operation)
        if operation.generated:
            self._generated.update(operation.outputs)

    def _scan(self, parameters: Any, inputs: list[int]) -> list[int]:
        body, length = parameters["jaxpr"], parameters["length"]
        first, carried = _scan_counts(parameters)
        second = first + carried
        constants, carry, stacked = inputs[:first], inputs[first:second], inputs[second:]
        variables = body.jaxpr.invars[second:]
        shapes = [variable.aval for variable in body.jaxpr.outvars[carried:]]
        wholes = [jax.ShapeDtypeStruct((length, *aval.shape), aval.dtype) for aval in shapes]
        collected: list[int | None] = [None] * len(shapes)
        for _ in range(length):  # backwards if it says so: which slice it is makes no difference to the traffic
            elements = [
                whole if length == 1 else self._emit("slice", "slice", 0, [whole], [v.aval])[0]
                for whole, v in zip(stacked, variables, strict=True)
            ]
            outputs = self.run(body, [*constants, *carry, *elements])
            after, rows = outputs[: len(carry)], outputs[len(carry) :]
            self.carries += zip(carry, after, strict=True)
            carry = after
            for k, (row, whole) in enumerate(zip(rows, wholes, strict=True)):
                if length == 1:
                    collected[k] = row
                else:
                    collected[k] = self._update("dynamic_update_slice", [collected[k], row], whole, shapes[k], 0)[0]
        empty = [value for value in collected if value is None]
        if empty:
            raise InvalidWorkloadError(f"Cannot trace '{self.name}': it stacks the outputs of a scan of length 0.")
        return [*carry, *(value for value in collected if value is not None)]

    def _costliest(self, branches: Sequence[Any], inputs: list[int]) -> list[int]:
        """The branch with the most operations, then the most bytes, then the first."""

        def cost(branch: Any) -> tuple[int, int]:
            here = len(self.operations), len(self.values), len(self.carries)
            constants, known = dict(self._constants), dict(self._known)
            self.run(branch, inputs)
            added = self.operations[here[0] :]
            found = sum(o.flops for o in added), sum(sum(o.read) for o in added)
            for things, count in zip((self.operations, self.values, self.carries), here, strict=True):
                del things[count:]
            self._constants, self._known = constants, known
            self._generated = {value for value in self._generated if value < here[1]}
            return found

        return self.run(max(branches, key=cost), inputs)


def _scan_counts(parameters: Any) -> tuple[int, int]:
    """How many of a scan's inputs are constants, and how many it carries: groups, or (JAX 0.10) numbers."""
    if "ft_in" in parameters:
        constants, carry, _ = parameters["ft_in"].unpack()
        return len(constants), len(carry)
    return parameters["num_consts"], parameters["num_carry"]


def _is_view(name: str, parameters: Any, shapes: Sequence[Any], results: Sequence[Any]) -> bool:
    """Whether an operation's result is its first operand under another shape."""
    source, result = shapes[0], results[0]
    if math.prod(source.shape) != math.prod(result.shape) or source.dtype != result.dtype:
        return False
    if name == "transpose":
        moved = [axis for axis in parameters["permutation"] if source.shape[axis] != 1]
        return moved == sorted(moved)
    if name == "pad":
        return not any(any(sizes) for sizes in parameters["padding_config"])
    return name in _MAYBE_VIEWS or (name.startswith("reduce_") and bool(parameters.get("axes")))


def _kind_and_flops(name: str, parameters: Any, shapes: Sequence[Any], results: Sequence[Any]) -> tuple[str, int]:
    """What kind of operation it is, and how many floating-point operations it costs."""
    inputs = math.prod(shapes[0].shape) if shapes else 0
    outputs = sum(math.prod(result.shape) for result in results)
    if name in _DATA:
        return "data", 0
    if name in _SLICES:
        return "slice", 0
    if name == "dot_general":
        (contracted, _), _ = parameters["dimension_numbers"]
        return "contraction", 2 * outputs * math.prod(shapes[0].shape[axis] for axis in contracted)
    if name == "conv_general_dilated":
        return "contraction", _convolution_flops(parameters, shapes[0], shapes[1], results[0])
    if name == "dynamic_update_slice":
        return "update", 0
    if name.startswith("scatter"):
        return "update", 0 if name == "scatter" else math.prod(shapes[2].shape)
    if name.startswith("reduce_window"):
        return "reduction", outputs * math.prod(parameters["window_dimensions"])
    if name in _REDUCTIONS or (name.startswith("reduce_") and name != "reduce_precision"):
        return "reduction", inputs
    if name in _CUMULATIVE:
        return "reduction", inputs
    if name in _OPAQUE:
        return "opaque", _opaque_flops(name, parameters, shapes, outputs)
    fits = len(results) == 1 and all(_broadcasts(shape.shape, results[0].shape) for shape in shapes)
    return ("elementwise" if fits else "opaque"), outputs


def _broadcasts(shape: Sequence[int], result: Sequence[int]) -> bool:
    if math.prod(shape) == 1:
        return True
    return len(shape) == len(result) and all(a in (1, b) for a, b in zip(shape, result, strict=True))


def _opaque_flops(name: str, parameters: Any, shapes: Sequence[Any], outputs: int) -> int:
    """Leading terms of the textbook counts."""
    elements, shape = math.prod(shapes[0].shape), shapes[0].shape
    if name in ("sort", "top_k"):  # comparisons
        length = shape[parameters["dimension"]] if name == "sort" else shape[-1]
        return elements * math.ceil(math.log2(max(length, 2)))
    if name == "fft":
        return round(5 * outputs * math.log2(max(math.prod(parameters["fft_lengths"]), 2)))
    if name == "cholesky":
        return elements * shape[-1] // 3
    if name == "triangular_solve":
        return outputs * shape[-1]
    if name == "select_and_scatter_add":
        return math.prod(parameters["window_dimensions"]) * elements
    return outputs


def _convolution_flops(parameters: Any, image: Any, kernel: Any, result: Any) -> int:
    """2 per pair of an image element and a kernel element; padding and the holes of a dilation do not count."""
    numbers = parameters["dimension_numbers"]
    pairs = 1
    for axis, padding in enumerate(parameters["padding"]):
        pairs *= _valid_pairs(
            image.shape[numbers.lhs_spec[2 + axis]],
            kernel.shape[numbers.rhs_spec[2 + axis]],
            result.shape[numbers.out_spec[2 + axis]],
            parameters["window_strides"][axis],
            padding[0],
            parameters["lhs_dilation"][axis],
            parameters["rhs_dilation"][axis],
        )
    batch, features = (result.shape[numbers.out_spec[k]] for k in (0, 1))
    return 2 * batch * features * kernel.shape[numbers.rhs_spec[1]] * pairs


@functools.cache
def _valid_pairs(image: int, kernel: int, result: int, stride: int, low: int, spread: int, dilation: int) -> int:
    """Pairs of an output and a kernel position, along one axis, that meet an element of the image."""
    position = np.arange(result)[:, None] * stride + np.arange(kernel) * dilation - low
    return int(((position >= 0) & (position <= (image - 1) * spread) & (position % spread == 0)).sum())


def needed(operations: Sequence[Operation], outputs: Sequence[int]) -> list[Operation]:
    """The operations that some output depends on, in their order."""
    wanted, kept = set(outputs), []
    for operation in reversed(operations):
        if not wanted.isdisjoint(operation.outputs):
            wanted.update(operation.operands)
            kept.append(operation)
    return kept[::-1]
