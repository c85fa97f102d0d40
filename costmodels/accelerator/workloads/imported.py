"""What a reader makes of somebody's model: layers as rows of our table, and every operator that is no row.

A product of two tensors has dimensions of four kinds: of the left operand and the result (M), of the right one and the
result (N), of both operands alone (K, summed over), and of all three (independent products). Convolutions stay
convolutions; everything else becomes a matrix product of those sizes:

| operator | rows |
|---|---|
| convolution of one axis | a `conv` of height 1 |
| convolution of three axes | a `conv`: depths of the result are images, depths of the kernel channels |
| transposed convolution | a `gemm`, once a group: M = input pixels, N = filters x kernel, K = channels |
| product with weights on the left | a `gemm` of the transposed operands, so that the weights are the K x N one |
| scaled dot-product attention | two rows of kind `attention`, once a head; masks save nothing |
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import InvalidWorkloadError
from ...files import shortened, shown
from ...formats import MOST_LAYERS
from ...tables import package_rows
from .tables import COLUMNS, Layer, Workload, checked, parse_layer

__all__ = [
    "RECURRENT",
    "UNKNOWN",
    "FreeOperators",
    "ImportedNetwork",
    "Reading",
    "Row",
    "Unsupported",
    "attention",
    "contraction",
    "convolution",
    "einsum",
    "free_operators",
    "joined",
    "matmul",
    "product",
    "transposed_convolution",
]

RECURRENT = "each step waits for the one before, which the model does not know; write its products as rows"
UNKNOWN = "there is no rule for it, and it may hold multiply-accumulates"

Row = Mapping[str, int | str]  # {column of our table: cell}
Shape = tuple[int, ...]


class Unsupported(NamedTuple):
    """An operator that may hold multiply-accumulates, and is not among the rows."""

    layer: str
    operator: str
    reason: str


class FreeOperators(NamedTuple):
    """Operators of one name that hold no multiply-accumulates."""

    kind: str  # activation, norm, pooling, ...
    operator: str
    times: int


@dataclass(frozen=True)
class ImportedNetwork:
    """A model as a reader understood it."""

    name: str
    source: str  # what it was read from, in a line
    rows: tuple[Row, ...]  # in the order of the model
    operators: tuple[str, ...]  # of each row
    layers: tuple[Layer, ...]  # of each row
    free: tuple[FreeOperators, ...]
    unsupported: tuple[Unsupported, ...]

    def workload(self) -> Workload:
        """The network as a workload.

        Raises:
            InvalidWorkloadError: an operator is not supported, there is no layer, or the network is too large.
        """
        if self.unsupported:
            first = self.unsupported[0]
            more = f", and {len(self.unsupported) - 1} operators more are not" if len(self.unsupported) > 1 else ""
            raise InvalidWorkloadError(
                f"'{self.name}': {first.operator} of layer '{first.layer}' is not supported ({first.reason}){more}."
            )
        if not self.layers:
            raise InvalidWorkloadError(f"'{self.name}' holds no operator with multiply-accumulates.")
        return checked(Workload(self.name, self.layers, self.source), self.name)

    def table(self) -> str:
        """The rows as a table of layers; comments say what is not among them."""
        used = [column for column in COLUMNS if any(column in row for row in self.rows)]
        text = io.StringIO()
        for line in self._remarks():
            text.write(f"# {' '.join(line.split())}\n")
        hidden = any(str(row["layer"]).startswith("#") for row in self.rows)  # as a comment, unless in quotes
        writer = csv.DictWriter(
            text, used, restval="", lineterminator="\n", quoting=csv.QUOTE_ALL if hidden else csv.QUOTE_MINIMAL
        )
        writer.writeheader()
        writer.writerows(self.rows)
        return text.getvalue()

    def save(self, path: str | Path, *, partial: bool = False) -> None:
        """Writes the table of layers; `partial` leaves out what is not supported.

        Raises:
            InvalidWorkloadError: there is no layer, or an operator is not supported and `partial` is False.
        """
        if self.unsupported and not partial:
            first, *others = self.unsupported
            more = f" (and {len(others)} operators more are)" if others else ""
            raise InvalidWorkloadError(
                f"{first.operator} of layer '{first.layer}' is{more} not supported, so nothing is written; --partial, "
                "or save(..., partial=True), writes the layers beside."
            )
        if not self.rows:
            raise InvalidWorkloadError(
                f"'{self.name}' holds no operator with multiply-accumulates; nothing is written."
            )
        Path(path).write_text(self.table(), encoding="utf-8")

    def _remarks(self) -> Iterator[str]:
        yield self.source
        if self.free:
            counts = ", ".join(f"{each.times} {each.operator}" for each in self.free)
            yield f"Without multiply-accumulates: {counts}."
        for each in self.unsupported:
            yield f"NOT SUPPORTED, LEFT OUT: {each.operator} of layer '{each.layer}': {each.reason}."


def joined(networks: Sequence[ImportedNetwork], name: str) -> ImportedNetwork:
    """Networks one after another as one, under a name."""

    def parts(field: str) -> tuple[Any, ...]:
        return tuple(part for each in networks for part in getattr(each, field))

    counts: Counter[tuple[str, str]] = Counter()
    for kind, operator, count in parts("free"):
        counts[kind, operator] += count
    free = tuple(FreeOperators(*key, count) for key, count in sorted(counts.items()))
    source = " ".join(each.source for each in networks)
    return ImportedNetwork(name, source, parts("rows"), parts("operators"), parts("layers"), free, parts("unsupported"))


def free_operators(library: str) -> dict[str, str]:
    """{operator: what it is} of a library's operators without multiply-accumulates."""
    rows = (row for row in package_rows("accelerator/workloads/operators.csv") if row["library"] == library)
    return {operator: row["kind"] for row in rows for operator in row["operators"].split()}


@dataclass
class Reading:
    """A model that is being read."""

    name: str
    source: str
    rows: list[Row] = field(default_factory=list)
    operators: list[str] = field(default_factory=list)
    layers: list[Layer] = field(default_factory=list)
    free: Counter[tuple[str, str]] = field(default_factory=Counter)
    unsupported: list[Unsupported] = field(default_factory=list)

    def add(self, layer: str, operator: str, row: Row) -> None:
        """Takes a row, or notes why it is none."""
        name = " ".join(layer.split()) or f"{operator}_{len(self.rows)}"
        if len(self.rows) >= MOST_LAYERS:
            raise InvalidWorkloadError(f"'{self.name}': more than {MOST_LAYERS:,} layers.")
        row = {"layer": name, **row}
        try:
            found = parse_layer({column: str(cell) for column, cell in row.items()})
        except ValueError as error:
            self.cannot(name, operator, str(error))
            return
        self.rows.append(row)
        self.operators.append(operator)
        self.layers.append(found)

    def skip(self, kind: str, operator: str) -> None:
        """Counts an operator without multiply-accumulates."""
        self.free[kind, operator] += 1

    def cannot(self, layer: str, operator: str, reason: str) -> None:
        """Notes an operator that is not supported."""
        self.unsupported.append(Unsupported(shortened(layer), operator, reason))

    def done(self) -> ImportedNetwork:
        """What was read."""
        free = tuple(FreeOperators(*key, count) for key, count in sorted(self.free.items()))
        rows, operators, layers = tuple(self.rows), tuple(self.operators), tuple(self.layers)
        return ImportedNetwork(shown(self.name), self.source, rows, operators, layers, free, tuple(self.unsupported))


# Rows of operators. Errors are ValueErrors, whose text is the reason.


def convolution(
    *,
    images: int,
    channels: int,
    filters: int,
    size: Shape,
    kernel: Shape,
    stride: Sequence[int],
    padding: Sequence[tuple[int, int]],
    dilation: Sequence[int],
    groups: int,
) -> Row:
    """The row of a convolution of one to three axes.

    Args:
        images: of the batch.
        channels, filters: over all groups.
        size, kernel, stride, dilation: of each axis.
        padding: (before, after) of each axis.
        groups: of channels and filters.
    """
    if not len(size) == len(kernel) == len(stride) == len(padding) == len(dilation) or not 1 <= len(size) <= 3:
        raise ValueError(
            f"a convolution of {len(size)} axes with a kernel of {len(kernel)}; one to three are supported"
        )
    if min(*size, *kernel, *stride, *dilation, groups) < 1:
        raise ValueError("a size, stride, dilation or number of groups is below 1")
    if min(map(min, padding)) < 0:
        raise ValueError("a negative padding cuts the input")
    axes = list(zip(size, kernel, stride, padding, dilation, strict=True))
    if len(axes) == 3:
        extent, taps, step, (before, after), spread = axes.pop(0)
        reach, padded = (taps - 1) * spread + 1, extent + before + after
        if padded < reach:
            raise ValueError(f"the kernel's depth ({reach}) is larger than the padded input's ({padded})")
        images, channels = images * ((padded - reach) // step + 1), channels * taps
    axes = [(1, 1, 1, (0, 0), 1)] * (2 - len(axes)) + axes
    sizes, kernels, strides, paddings, dilations = zip(*axes, strict=True)
    row: dict[str, int | str] = {"kind": "conv", "in_channels": channels, "out_channels": filters}
    row |= {"in_height": sizes[0], "in_width": sizes[1], "kernel_height": kernels[0], "kernel_width": kernels[1]}
    row |= {"stride": _of_both(strides), "padding": _padding(paddings, kernels), "dilation": _of_both(dilations)}
    return row | {"groups": groups, "batch": images}


def _of_both(values: Sequence[int]) -> int | str:
    return values[0] if values[0] == values[1] else f"{values[0]}x{values[1]}"


def _padding(padding: Sequence[tuple[int, int]], kernel: Sequence[int]) -> int | str:
    ends = [str(before) if before == after else f"{before}+{after}" for before, after in padding]
    plain = ends[0] == ends[1] and (ends[0] == "0" or 1 not in kernel)  # one for an axis of kernel 1 is refused
    return int(ends[0]) if plain and "+" not in ends[0] else "x".join(ends)


def transposed_convolution(*, images: int, channels: int, filters: int, size: Shape, kernel: Shape, groups: int) -> Row:
    """The row of a transposed convolution: each input pixel by each tap of each filter; see the module's table."""
    if groups < 1 or channels % groups or filters % groups:
        raise ValueError(f"groups = {groups} must divide {channels} channels and {filters} filters")
    return product(
        m=images * math.prod(size), n=filters // groups * math.prod(kernel), k=channels // groups, batch=groups
    )


def product(*, m: int, n: int, k: int, batch: int = 1, weights: bool = True) -> Row:
    """The row of independent (m x k) by (k x n) products; whether the k x n operand is weights."""
    return {"kind": "gemm" if weights else "attention", "m": m, "n": n, "k": k, "batch": batch}


def matmul(left: Shape, right: Shape, *, left_is_weights: bool = False, right_is_weights: bool = False) -> Row:
    """The row of NumPy's matmul: operands of one axis are vectors, axes before the last two are broadcast."""
    if not left or not right:
        raise ValueError("an operand is a scalar")
    (*left_batch, m, k) = (1, *left) if len(left) == 1 else left
    (*right_batch, inner, n) = (*right, 1) if len(right) == 1 else right
    if k != inner:
        raise ValueError(f"operands of shapes {list(left)} and {list(right)} do not match")
    length, batch = max(len(left_batch), len(right_batch)), 1
    left_batch, right_batch = ([1] * (length - len(each)) + each for each in (left_batch, right_batch))
    for one, other in zip(left_batch, right_batch, strict=True):
        if one == other:
            batch *= one
        elif other == 1:  # the same right operand for all of them
            m *= one
        elif one == 1:
            n *= other
        else:
            raise ValueError(f"operands of shapes {list(left)} and {list(right)} do not match")
    if left_is_weights and not right_is_weights:
        m, n = n, m
    return product(m=m, n=n, k=k, batch=batch, weights=left_is_weights or right_is_weights)


def einsum(equation: str, shapes: Sequence[Shape], weights: Sequence[bool]) -> Row:
    """The row of an Einstein sum of two operands; whether each is weights."""
    inputs, arrow, result = equation.replace(" ", "").partition("->")
    terms = inputs.split(",")
    if len(terms) != 2 or len(shapes) != 2:
        raise ValueError(
            f"'{shortened(equation)}' is a sum over {len(terms)} operands; only those of two are supported"
        )
    if "..." in equation:
        terms, result = _without_ellipsis(terms, result, shapes)
    if not arrow:  # the letters that occur once, sorted
        letters = Counter("".join(terms))
        result = "".join(sorted(letter for letter, count in letters.items() if count == 1))
    if len(set(result)) < len(result) or not set(result) <= set("".join(terms)):
        raise ValueError(f"the result of '{shortened(equation)}' does not name axes of its operands, each once")
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        if len(term) != len(shape) or len(set(term)) < len(term):
            raise ValueError(f"'{shortened(equation)}' does not name each axis of the shape {list(shape)} once")
        for letter, extent in zip(term, shape, strict=True):
            if sizes.setdefault(letter, extent) != extent:
                raise ValueError(f"'{shortened(equation)}': the axis {letter} is {sizes[letter]} and {extent}")
    return contraction(sizes, terms[0], terms[1], result, *weights)


_ROLES = {  # (in the left operand, in the right one, in the result): a dimension of the product
    (True, False, True): "m",
    (False, True, True): "n",
    (True, True, False): "k",
    (True, True, True): "batch",
}


def contraction(
    sizes: Mapping[str, int],
    left: Container[str],
    right: Container[str],
    result: Container[str],
    left_is_weights: bool,
    right_is_weights: bool,
) -> Row:
    """The row of a product of two tensors, whose axes have names with sizes."""
    groups = {"m": 1, "n": 1, "k": 1, "batch": 1}
    for name, extent in sizes.items():
        role = (name in left, name in right, name in result)
        if role not in _ROLES:
            raise ValueError(f"the axis {name} is summed over in one operand alone")
        groups[_ROLES[role]] *= extent
    if left_is_weights and not right_is_weights:
        groups["m"], groups["n"] = groups["n"], groups["m"]
    return product(**groups, weights=left_is_weights or right_is_weights)


def _without_ellipsis(terms: Sequence[str], result: str, shapes: Sequence[Shape]) -> tuple[list[str], str]:
    """Letters that are not used for the axes that `...` stands for, counted from the right."""
    unused = [chr(code) for code in range(0x3B1, 0x3B1 + 24)]
    named, most = [], 0
    for term, shape in zip(terms, shapes, strict=True):
        count = len(shape) - len(term.replace("...", "")) if "..." in term else 0
        if not 0 <= count < len(unused):
            raise ValueError(f"'{shortened(term)}' does not fit the shape {list(shape)}")
        most = max(most, count)
        named.append(term.replace("...", "".join(unused[:count][::-1])))
    return named, result.replace("...", "".join(unused[:most][::-1]))


def attention(query: Shape, key: Shape, value: Shape, past: int = 0) -> dict[str, Row]:
    """{what: row} of scaled dot-product attention.

    Args:
        query, key, value: [..., heads, tokens, width].
        past: keys and values beside those.
    """
    if not len(query) == len(key) == len(value) >= 2:
        raise ValueError("query, key and value have other numbers of axes")
    batch = math.prod(query[:-2])
    tokens, width, keys = query[-2], query[-1], key[-2] + past
    shared = [each for other in (key, value) for each in zip(query[:-2], other[:-2], strict=True)]  # by heads, say
    if width != key[-1] or key[-2] != value[-2] or any(other < 1 or count % other for count, other in shared):
        raise ValueError(f"query {list(query)}, key {list(key)} and value {list(value)} do not fit each other")
    return {
        "qk": product(m=tokens, n=keys, k=width, batch=batch, weights=False),
        "av": product(m=tokens, n=value[-1], k=keys, batch=batch, weights=False),
    }
