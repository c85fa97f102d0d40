"""Any JAX function as a `Program`: its jaxpr, flattened, fused into kernels, with the traffic of each.

Nothing is compiled, so a program depends on the JAX version but not on a backend. The steps:

1. **Flatten.** Calls (`jit`, `custom_jvp`, `custom_vjp`, `checkpoint`) are inlined. `scan` is unrolled: an iteration
   reads its slice of the inputs, and writes its slice of the outputs in place. Of a `cond`, the costliest branch is
   taken. `while` is refused. Views (reshape, squeeze, a transpose that only moves axes of length 1, ...) are their
   source. What has been computed before is not computed again, except by `checkpoint`; what no output needs is dropped.
2. **Count.** A contraction costs 2 operations per product of two elements of its operands (a convolution's padding and
   dilation holes are not counted), a reduction its input elements, a window reduction its window times its output
   elements, data movement and casts nothing, everything else its output elements. A slice or a gather reads as many
   bytes as it yields; an update (`dynamic_update_slice`, `scatter`) writes only the update, if it can happen in place.
3. **Fuse**, backwards from the outputs: a producer joins the kernel of its consumers if they are all in that one kernel
   and it is
   - elementwise or data movement, and the consumer is elementwise, data movement or a reduction;
   - a broadcast, cast, transpose, reversal or slice, and the consumer is a contraction;
   - a contraction, and the kernel is elementwise, no larger, and without a contraction yet.
   Reductions, updates and sorts never join a consumer. What a scan carries to its next iteration is written. An
   operation whose consumers are in several kernels is repeated in each of them, if it may join them all and is a
   broadcast, an iota or a mask made of them, a widening cast, a slice, a transpose into contractions, elementwise on
   tensors 16 times smaller than the kernels', or elementwise without a transcendental and reads no more than it yields.
4. **Order** kernels by their last operation. A kernel reads what was made outside it and writes what is used outside.
5. **Alias**: updates, donated arguments and the carries of a scan share storage with what they replace, where nothing
   reads it later and the kernel itself reads it element by element at most.

A tensor of one element, or of none, is no buffer: it travels in registers.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import math
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from jax.extend import core

from ..errors import DsegymError, InvalidWorkloadError, UnknownNameError
from .program import Buffer, Instruction, Program

__all__ = ["MAX_OPERATIONS", "parse_spec", "trace", "trace_location"]

MAX_OPERATIONS = 20_000  # of a flattened function, before fusion
VERSION = "1"  # of the rules above; goes into the provenance

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
_INTO_CONTRACTIONS = {"broadcast_in_dim", "convert_element_type", "dynamic_slice", "iota", "rev", "slice", "transpose"}
_REDUCTIONS = {"argmax", "argmin", "reduce"}
_CUMULATIVE = {"cumlogsumexp", "cummax", "cummin", "cumprod", "cumsum"}
# Elementwise, but worth computing once.
_EXPENSIVE = {"acos", "asin", "atan", "atan2", "cbrt", "cos", "digamma", "div", "erf", "erf_inv", "erfc", "exp", "exp2"}
_EXPENSIVE |= {"expm1", "lgamma", "log", "log1p", "logistic", "pow", "rem", "rsqrt", "sin", "sqrt", "tan", "tanh"}
_EXPENSIVE |= {"acosh", "asinh", "atanh", "cosh", "sinh"}
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
class _Value:
    """A tensor of the flattened function."""

    bytes: int  # B
    elements: int
    dtype: Any
    parameter: str = ""  # the name, if it is an input or a constant


@dataclass(frozen=True)
class _Operation:
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


class _Flattener:
    """Turns a jaxpr into a list of operations on values."""

    def __init__(self, name: str, limit: int):
        self.name, self.limit = name, limit
        self.values: list[_Value] = []
        self.operations: list[_Operation] = []
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
        self.values.append(_Value(elements * item, elements, aval.dtype, parameter))
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
        self._add(_Operation(name, kind, flops, operands, tuple(read), outputs, generated=generated, cheap=cheap))
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
        self._add(
            _Operation(name, "update", flops, operands, tuple(read), (output,), update=written, fresh=old is None)
        )
        return [output]

    def _add(self, operation: _Operation) -> None:
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
        first, second = parameters["num_consts"], parameters["num_consts"] + parameters["num_carry"]
        constants, carry, stacked = inputs[:first], inputs[first:second], inputs[second:]
        variables = body.jaxpr.invars[second:]
        shapes = [variable.aval for variable in body.jaxpr.outvars[parameters["num_carry"] :]]
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


def _needed(operations: Sequence[_Operation], outputs: Sequence[int]) -> list[_Operation]:
    """The operations that some output depends on, in their order."""
    wanted, kept = set(outputs), []
    for operation in reversed(operations):
        if not wanted.isdisjoint(operation.outputs):
            wanted.update(operation.operands)
            kept.append(operation)
    return kept[::-1]


@dataclass(eq=False)
class _Kernel:
    """Operations that run as one, while it is being put together: from its last operation backwards."""

    root: int  # the last operation
    kind: str  # loop, reduction, contraction or opaque
    elements: int  # of its result (of an update: of what it writes)
    work: int  # elements of its largest tensor
    members: list[int] = field(default_factory=list)  # operations, last first
    before: set[int] = field(default_factory=set)  # members that lead to its contraction, and the contraction


_SMALL = 16  # an elementwise operation this many times smaller than a kernel costs the kernel next to nothing
_KERNEL_KINDS = {"reduction": "reduction", "contraction": "contraction", "opaque": "opaque"}


class _Fusion:
    """Groups operations into kernels, in order."""

    def __init__(
        self, operations: Sequence[_Operation], values: Sequence[_Value], live_out: set[int], carried: set[int]
    ):
        self.operations, self.values, self.carried = operations, values, carried
        self.consumers: dict[int, list[int]] = defaultdict(list)  # value -> operations
        for index, operation in enumerate(operations):
            for value in dict.fromkeys(operation.operands):
                self.consumers[value].append(index)
        self.kernels: list[_Kernel] = []
        self._of: list[list[_Kernel]] = [[] for _ in operations]
        for index in reversed(range(len(operations))):
            self._place(index, live_out)
        self.kernels.reverse()
        self.homes = self._of

    def _users(self, index: int) -> list[int]:
        return sorted({user for value in self.operations[index].outputs for user in self.consumers[value]})

    def _place(self, index: int, live_out: set[int]) -> None:
        operation = self.operations[index]
        users = self._users(index)
        kernels = list(dict.fromkeys(kernel for user in users for kernel in self._of[user]))
        elements = self.values[operation.outputs[0]].elements
        escapes = not live_out.isdisjoint(operation.outputs)
        fits = bool(kernels) and all(self._may_join(index, users, kernel) for kernel in kernels)
        fits = fits and self.carried.isdisjoint(operation.outputs)
        repeatable = operation.cheap and (operation.primitive != "transpose" or self._only_contracted(users))
        repeatable = repeatable or (self._costs_little(operation, kernels) and not escapes)
        own = not fits or (escapes and (len(kernels) > 1 or elements < kernels[0].elements))
        if len(kernels) > 1 or own:
            fits = fits and repeatable
            own = own or not fits
        if fits:
            for kernel in kernels:
                if operation.kind == "contraction":
                    kernel.kind = "contraction"
                    kernel.before.add(index)
                elif any(user in kernel.before for user in users):
                    kernel.before.add(index)
                kernel.members.append(index)
                kernel.work = max(kernel.work, elements)
                self._of[index].append(kernel)
        if own:
            size = elements
            if operation.kind == "update":
                size = elements * operation.update // max(self.values[operation.outputs[0]].bytes, 1)
            kind = _KERNEL_KINDS.get(operation.kind, "loop")
            if operation.primitive.startswith("scatter"):
                kind = "opaque"
            before = {index} if operation.kind == "contraction" else set[int]()
            work = max([size, *(self.values[value].elements for value in operation.operands)])
            kernel = _Kernel(index, kind, size, work if kind == "reduction" else size, [index], before)
            self.kernels.append(kernel)
            self._of[index].append(kernel)

    def _costs_little(self, operation: _Operation, kernels: Sequence[_Kernel]) -> bool:
        """Whether kernels rather do an operation themselves than read what it yields."""
        result = self.values[operation.outputs[0]]
        if operation.kind in ("elementwise", "data") and all(_SMALL * result.elements <= k.work for k in kernels):
            return True
        if operation.kind != "elementwise" or operation.primitive in _EXPENSIVE:
            return False
        operands = [self.values[value] for value in operation.operands]
        return sum(tensor.bytes for tensor in operands if _SMALL * tensor.elements > result.elements) <= result.bytes

    def _only_contracted(self, users: Sequence[int]) -> bool:
        return all(user in kernel.before for user in users for kernel in self._of[user])

    def _may_join(self, index: int, users: Sequence[int], kernel: _Kernel) -> bool:
        operation = self.operations[index]
        if operation.kind in ("reduction", "update", "opaque"):
            return False
        if operation.generated and kernel.kind == "opaque":
            return True
        if kernel.kind == "opaque":
            return False
        for user in users:
            if kernel not in self._of[user]:
                continue
            consumer = self.operations[user]
            target = consumer.operands[0] if consumer.operands else -1
            if target in operation.outputs and not operation.generated:
                if consumer.kind == "update" and not consumer.fresh:
                    return False
                if consumer.kind == "slice" and operation.kind != "slice":
                    return False
            if user in kernel.before and operation.primitive not in _INTO_CONTRACTIONS:
                return False
        root = self.operations[kernel.root]
        if root.kind == "update" and not root.fresh and root.operands[0] in operation.operands:
            return False  # it would read while the kernel writes in place
        if operation.kind == "contraction":
            return kernel.kind == "loop" and self.values[operation.outputs[0]].elements >= kernel.elements
        return True


@dataclass
class _Traffic:
    """What a kernel moves."""

    reads: dict[int, int]  # value -> B
    writes: dict[int, int]
    flops: int
    name: str
    target: int = -1  # the value that an update overwrites, or -1


def _traffic(fusion: _Fusion, kernel: _Kernel, live_out: set[int], number: int) -> _Traffic:
    operations, values = fusion.operations, fusion.values
    members = sorted(kernel.members)
    inside = {value for index in members for value in operations[index].outputs}
    reads: dict[int, int] = {}
    target = -1
    charged: dict[int, int] = {}  # what slices that slices are made of really need
    for index in reversed(members):
        operation = operations[index]
        for position, (value, size) in enumerate(zip(operation.operands, operation.read, strict=True)):
            if operation.kind == "slice" and position == 0:
                users = [user for user in fusion.consumers[operation.outputs[0]] if user in charged or user in members]
                if users and all(operations[user].kind == "slice" and user in charged for user in users):
                    size = min(size, sum(charged[user] for user in users))
                charged[index] = size
            if value in inside:
                continue
            if operation.kind == "update" and position == 0 and not operation.fresh:
                target = value
            reads[value] = min(reads.get(value, 0) + size, values[value].bytes)
    writes: dict[int, int] = {}
    for index in members:
        operation = operations[index]
        for value in operation.outputs:
            home = fusion.homes[index][-1]  # of a repeated operation, the kernel of its own
            users = fusion.consumers[value]
            outside = any(k is not kernel for user in users for k in fusion.homes[user]) and index == kernel.root
            if outside or (value in live_out and home is kernel):
                writes[value] = values[value].bytes
    root = operations[kernel.root]
    if root.kind == "update" and (root.fresh or target >= 0):
        writes = dict.fromkeys(writes, root.update)
    hero = next((index for index in members if operations[index].kind == "contraction"), kernel.root)
    flops = sum(operations[index].flops for index in members)
    return _Traffic(dict(sorted(reads.items())), writes, flops, f"{operations[hero].primitive}.{number}", target)


def _reads_elementwise(fusion: _Fusion, kernel: _Kernel, value: int) -> bool:
    """Whether a kernel uses an element of a value for the same element of its result only."""
    members = sorted(kernel.members)
    tainted = {value}
    for index in members:
        operation = fusion.operations[index]
        if not tainted.isdisjoint(operation.operands):
            if operation.kind != "elementwise" and operation.primitive != "convert_element_type":
                return False
            if fusion.values[operation.outputs[0]].elements != fusion.values[value].elements:
                return False
            tainted.update(operation.outputs)
    return True


def trace(
    function: Callable[..., Any],
    *args: Any,
    name: str,
    summary: str = "",
    donate: Sequence[int] = (),
    source: str = "",
    limit: int = MAX_OPERATIONS,
) -> Program:
    """The program of a JAX function; the module's docstring says how.

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
    flattener = _Flattener(name, limit)
    names = _parameter_names(function, args)
    inputs = [flattener.parameter(v.aval, n) for v, n in zip(closed.jaxpr.invars, names, strict=True)]
    outputs = flattener.run(closed, inputs)
    operations = _needed(flattener.operations, outputs)
    values = flattener.values
    live_out = {value for value in outputs if values[value].elements > 1}
    carried = {after for before, after in flattener.carries if after != before}
    fusion = _Fusion(operations, values, live_out, carried)
    kernels = [(kernel, _traffic(fusion, kernel, live_out, n)) for n, kernel in enumerate(fusion.kernels)]
    donated = _donated_pairs(args, donate, closed, inputs, outputs)
    former = _share_storage(fusion, kernels, live_out, donated, flattener.carries)
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


def _share_storage(
    fusion: _Fusion,
    kernels: Sequence[tuple[_Kernel, _Traffic]],
    live_out: set[int],
    donated: Sequence[tuple[int, int]],
    carries: Sequence[tuple[int, int]],
) -> dict[int, int]:
    """Value -> the value that it is written in place of. Updates that cannot be in place become copies."""
    values = fusion.values
    last_use: dict[int, int] = {}
    written_at: dict[int, int] = {}
    for time, (_, traffic) in enumerate(kernels):
        for value in (*traffic.reads, *([traffic.target] if traffic.target >= 0 else [])):
            last_use[value] = time
        written_at.update(dict.fromkeys(traffic.writes, time))
    owned = {value for value, _ in donated}
    former: dict[int, int] = {}
    replaced: set[int] = set()

    def may_replace(old: int, new: int) -> bool:
        exists = old in written_at or (bool(values[old].parameter) and old in last_use)
        return (
            exists
            and new in written_at
            and new not in former
            and old not in replaced
            and old != new
            and values[old].elements > 1
            and values[old].bytes == values[new].bytes
            and old not in live_out
            and (not values[old].parameter or old in owned)
            and last_use.get(old, -1) <= written_at[new]
            and written_at.get(old, -1) < written_at[new]
        )

    for kernel, traffic in kernels:
        if traffic.target < 0:
            continue
        new = fusion.operations[kernel.root].outputs[0]
        if may_replace(traffic.target, new):
            former[new] = traffic.target
            replaced.add(traffic.target)
            if not traffic.reads[traffic.target]:
                del traffic.reads[traffic.target]
        else:
            traffic.reads[traffic.target] = values[traffic.target].bytes
            traffic.writes = {value: values[value].bytes for value in traffic.writes}
    for old, new in (*donated, *carries):
        if new < 0 or not may_replace(old, new):
            continue
        kernel, traffic = kernels[written_at[new]]
        if old not in traffic.reads or _reads_elementwise(fusion, kernel, old):
            former[new] = old
            replaced.add(old)
    return former


def _assemble(
    name: str,
    summary: str,
    provenance: dict[str, str],
    values: Sequence[_Value],
    traffics: Sequence[_Traffic],
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

    instructions: list[tuple[_Traffic, list[tuple[int, int]], list[tuple[int, int]]]] = []
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
