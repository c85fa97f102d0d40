"""The operations of a flat jaxpr as kernels: what runs as one, what each kernel moves, and what shares storage.

1. **Fuse**, backwards from the outputs: a producer joins the kernel of its consumers if they are all in that one kernel
   and it is
   - elementwise or data movement, and the consumer is elementwise, data movement or a reduction;
   - a broadcast, cast, transpose, reversal or slice, and the consumer is a contraction;
   - a contraction, and the kernel is elementwise, no larger, and without a contraction yet.
   Reductions, updates and sorts never join a consumer. What a scan carries to its next iteration is written. An
   operation whose consumers are in several kernels is repeated in each of them, if it may join them all and is a
   broadcast, an iota or a mask made of them, a widening cast, a slice, a transpose into contractions, elementwise on
   tensors 16 times smaller than the kernels', or elementwise without a transcendental and reads no more than it yields.
2. **Order** kernels by their last operation. A kernel reads what was made outside it and writes what is used outside.
3. **Alias**: updates, donated arguments and the carries of a scan share storage with what they replace, where nothing
   reads it later and the kernel itself reads it element by element at most.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from .jaxpr import Operation, Value

__all__ = ["Fusion", "Kernel", "Traffic", "share_storage", "traffic_of"]

_INTO_CONTRACTIONS = {"broadcast_in_dim", "convert_element_type", "dynamic_slice", "iota", "rev", "slice", "transpose"}
# Elementwise, but worth computing once.
_EXPENSIVE = {"acos", "asin", "atan", "atan2", "cbrt", "cos", "digamma", "div", "erf", "erf_inv", "erfc", "exp", "exp2"}
_EXPENSIVE |= {"expm1", "lgamma", "log", "log1p", "logistic", "pow", "rem", "rsqrt", "sin", "sqrt", "tan", "tanh"}
_EXPENSIVE |= {"acosh", "asinh", "atanh", "cosh", "sinh"}
_SMALL = 16  # an elementwise operation this many times smaller than a kernel costs the kernel next to nothing
_KERNEL_KINDS = {"reduction": "reduction", "contraction": "contraction", "opaque": "opaque"}


@dataclass(eq=False)
class Kernel:
    """Operations that run as one, while it is being put together: from its last operation backwards."""

    root: int  # the last operation
    kind: str  # loop, reduction, contraction or opaque
    elements: int  # of its result (of an update: of what it writes)
    work: int  # elements of its largest tensor
    members: list[int] = field(default_factory=list)  # operations, last first
    before: set[int] = field(default_factory=set)  # members that lead to its contraction, and the contraction


class Fusion:
    """Groups operations into kernels, in order."""

    def __init__(self, operations: Sequence[Operation], values: Sequence[Value], live_out: set[int], carried: set[int]):
        self.operations, self.values, self.carried = operations, values, carried
        self.consumers: dict[int, list[int]] = defaultdict(list)  # value -> operations
        for index, operation in enumerate(operations):
            for value in dict.fromkeys(operation.operands):
                self.consumers[value].append(index)
        self.kernels: list[Kernel] = []
        self._of: list[list[Kernel]] = [[] for _ in operations]
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
            kernel = Kernel(index, kind, size, work if kind == "reduction" else size, [index], before)
            self.kernels.append(kernel)
            self._of[index].append(kernel)

    def _costs_little(self, operation: Operation, kernels: Sequence[Kernel]) -> bool:
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

    def _may_join(self, index: int, users: Sequence[int], kernel: Kernel) -> bool:
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
class Traffic:
    """What a kernel moves."""

    reads: dict[int, int]  # value -> B
    writes: dict[int, int]
    flops: int
    name: str
    target: int = -1  # the value that an update overwrites, or -1


def traffic_of(fusion: Fusion, kernel: Kernel, live_out: set[int], number: int) -> Traffic:
    """What a kernel moves; its name is that of its product, if it has one, with its number."""
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
    return Traffic(dict(sorted(reads.items())), writes, flops, f"{operations[hero].primitive}.{number}", target)


def share_storage(
    fusion: Fusion,
    kernels: Sequence[tuple[Kernel, Traffic]],
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


def _reads_elementwise(fusion: Fusion, kernel: Kernel, value: int) -> bool:
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
