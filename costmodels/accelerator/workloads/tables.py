"""Workloads as tables of convolution and matrix-product layers.

A workload is a CSV file, one layer (or one group of identical layers) a row; the shipped ones lie in
`../workload_tables/`, and `load_workload` reads a user's own file of the same form, or a topology of SCALE-Sim. Lines
that start with `#` are comments.

| column | applies to | meaning | default |
|---|---|---|---|
| layer | all | a name for the row | required |
| kind | all | `conv`; `gemm` (the K x N operand is weights); `attention` (a product of two activations) | required |
| in_channels, out_channels | conv | channels over all groups | required |
| in_height, in_width | conv | input size in pixels, without padding | required |
| kernel_height, kernel_width | conv | filter size in pixels | required |
| stride, padding, dilation | conv | of both axes, or `HxW` as in `0x3` | 1, 0, 1 |
| stride_height, stride_width, ... | conv | the same of one axis; likewise of padding and dilation | |
| groups | conv | depthwise layers have groups = in_channels | 1 |
| m, n, k | gemm, attention | an (m x k) by (k x n) product | required |
| batch | all | conv: images; gemm and attention: independent products of this shape (heads, say) | 1 |
| repeat | all | how many times the row occurs in the network | 1 |

A convolution becomes a matrix product by im2col (one per group): M output pixels, N filters, K weights a filter.
Outputs are rounded down, as frameworks do; `same` gives ceil(input / stride) outputs, the odd pixel of padding at the
end; `0+1` pads 0 before and 1 after, `valid` not at all. One padding for both axes of a filter that is 1 wide or high
is refused: it would pad an axis that needs none.

A topology of SCALE-Sim has its columns (IFMAP Height, ..., Strides; or M, N, K) and its conventions: sizes hold their
padding, outputs are rounded up, and a layer with DP in its name is depthwise.
"""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ... import wide
from ...arrays import Array
from ...errors import InvalidWorkloadError, UnknownNameError
from ...files import is_path, read_text, shortened, shown, whole_number
from ...formats import MOST_LAYERS, format_of
from ...tables import UserTable, normalised, package_path, read_user_table

__all__ = [
    "COLUMNS",
    "Layer",
    "LayerArrays",
    "Loops",
    "Workload",
    "checked",
    "get_workload",
    "load_workload",
    "parse_layer",
    "workload_names",
    "workload_rows",
]

MAX_DIMENSION = 2**23  # of M, N and K: the fold count's float32 estimate is exact below this
MAX_OPERAND = 2**31 - 1  # words in one operand, so that they fit int32
MAX_WORK = 2**44  # multiply-accumulates in a network, so that every total stays below `wide.LIMIT`
VECTOR = 8  # 32-bit lanes of a vector register

_CONV = ("in_channels", "out_channels", "in_height", "in_width", "kernel_height", "kernel_width")
_GEMM = ("m", "n", "k")
_REQUIRED: Mapping[str, tuple[str, ...]] = {"conv": _CONV, "gemm": _GEMM, "attention": _GEMM}
_DEFAULTS = {"groups": 1, "batch": 1, "repeat": 1}
_WINDOW = {"stride": 1, "padding": 0, "dilation": 1}  # defaults of what each axis of a convolution has
_AXES = ("height", "width")
COLUMNS = (
    *("layer", "kind", "batch", *_CONV),
    *(name for column in _WINDOW for name in (column, *(f"{column}_{axis}" for axis in _AXES))),
    *("groups", *_GEMM, "repeat"),
)
_NOT_GEMM = tuple(column for column in COLUMNS if column in _CONV or column.partition("_")[0] in _WINDOW)
_NOT_OF: Mapping[str, Sequence[str]] = {"conv": _GEMM, "gemm": _NOT_GEMM, "attention": _NOT_GEMM}
_TABLES = "accelerator/workload_tables"

# SCALE-Sim's columns, by their names as `normalised`, and ours. `filter width` stands there twice in some topologies.
_TOPOLOGY: Mapping[str, str] = {
    name: column
    for column, names in {
        "layer": ("layer name", "layer", "l", "name"),
        "in_height": ("ifmap height", "ifmap h"),
        "in_width": ("ifmap width", "ifmap w"),
        "kernel_height": ("filter height", "filter h"),
        "kernel_width": ("filter width", "filter w"),
        "in_channels": ("channels", "channel", "num channels"),
        "out_channels": ("num filter", "num filters"),
        "stride": ("strides", "stride"),
        "stride_height": ("stride height", "strides height", "stride h"),
        "stride_width": ("stride width", "strides width", "stride w"),
        "batch": ("batch size", "batch"),
    }.items()
    for name in names
}


class Loops(NamedTuple):
    """A product as a nest of seven loops, by Timeloop's letters."""

    bounds: tuple[int, int, int, int, int, int, int]  # R, S: kernel width, height; P, Q: output width, height; C; K; N
    strides: tuple[int, int] = (1, 1)  # of P and Q in the input
    dilations: tuple[int, int] = (1, 1)  # of R and S in the input


@dataclass(frozen=True)
class Layer:
    """One row of a workload as the matrix products that the array runs, one after another."""

    name: str
    kind: str  # conv, gemm or attention
    m: int  # rows of the product: output pixels or tokens
    n: int  # columns of the product: filters or output features
    k: int  # inner dimension: weights per filter or input features
    products: int  # independent products per layer: groups or heads
    repeat: int  # identical layers in the network
    ifmap_words: int  # distinct input words of one product (im2col repeats them, DRAM need not)
    window: Loops | None = None  # of a convolution

    @property
    def loops(self) -> Loops:
        """One product as loops: a convolution's own, or those of an (m x k) by (k x n) product, m as P."""
        return self.window or Loops((1, 1, self.m, 1, self.k, self.n, 1))

    @property
    def count(self) -> int:
        """Products of this shape in the whole network."""
        return self.products * self.repeat

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one layer (one repeat)."""
        return self.m * self.n * self.k * self.products

    @property
    def weights(self) -> int:
        """Weights of one layer (one repeat), in words; none for a product of activations."""
        return 0 if self.kind == "attention" else self.n * self.k * self.products


class LayerArrays(NamedTuple):
    """The distinct products of a workload, the form that the cost model takes. All int32[L]."""

    m: Array
    n: Array
    k: Array
    ifmap_words: Array
    occurrences: Array  # in the network


@dataclass(frozen=True)
class Workload:
    """A network: its layers in order, and where the shapes come from."""

    name: str
    layers: tuple[Layer, ...]
    source: str

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the network."""
        return sum(layer.macs * layer.repeat for layer in self.layers)

    @property
    def weights(self) -> int:
        """Weights of the network, in words (every repeat has its own)."""
        return sum(layer.weights * layer.repeat for layer in self.layers)

    @functools.cached_property
    def distinct(self) -> LayerArrays:
        """The network with equal products merged: the totals are the same, and ResNet-50 has 24 rows instead of 54.

        Rows that occur zero times fill the table up to a multiple of `VECTOR`, which halves the time of the model.
        """
        counts: Counter[tuple[int, int, int, int]] = Counter()
        for layer in self.layers:
            counts[layer.m, layer.n, layer.k, layer.ifmap_words] += layer.count
        table = [(*shape, count) for shape, count in counts.items()]
        table += [(1, 1, 1, 1, 0)] * (-len(table) % VECTOR)
        return LayerArrays(*np.array(table, dtype=np.int32).T)

    @property
    def in_order(self) -> LayerArrays:
        """One row per row of the table, for the breakdown by layer."""
        rows = [(layer.m, layer.n, layer.k, layer.ifmap_words, layer.count) for layer in self.layers]
        return LayerArrays(*np.array(rows, dtype=np.int32).T)


class _Axis(NamedTuple):
    """One axis of a convolution."""

    size: int  # pixels, without padding
    kernel: int
    stride: int
    dilation: int
    before: int  # pixels of padding
    after: int
    round_up: bool = False  # a last window may reach beyond the padded input, as in SCALE-Sim

    @property
    def outputs(self) -> int:
        """Pixels of the output."""
        span = self.size + self.before + self.after - (self.kernel - 1) * self.dilation - 1
        return (-(-span // self.stride) if self.round_up else span // self.stride) + 1

    @property
    def touched(self) -> int:
        """Distinct input pixels that the windows read.

        Window i reads pixels i * stride + j * dilation. With g the greatest common divisor of the two, equal pixels
        are those of (i, j) and (i + dilation / g, j - stride / g): so each is counted at its least j.
        """
        common = math.gcd(self.stride, self.dilation)
        jump, repeats = self.stride // common, self.dilation // common
        tap = np.arange(self.kernel, dtype=np.int64)
        first = np.where(tap >= jump, max(self.outputs - repeats, 0), 0)  # windows from which a pixel is not seen yet
        least = -(-(self.before - tap * self.dilation) // self.stride)  # the first window that reads no padding there
        last = (self.before + self.size - 1 - tap * self.dilation) // self.stride
        counts = np.minimum(last, self.outputs - 1) - np.maximum(first, least) + 1
        return int(np.maximum(counts, 0).sum())


def _axis(row: Mapping[str, int], axis: str, *, round_up: bool) -> _Axis:
    size, kernel = row[f"in_{axis}"], row[f"kernel_{axis}"]
    stride, padding, dilation = (row[f"{column}_{axis}"] for column in _WINDOW)
    reach = (kernel - 1) * dilation + 1
    before, after = padding, row.get(f"padding_after_{axis}", padding)
    if padding == _SAME:
        total = max((-(-size // stride) - 1) * stride + reach - size, 0)
        before, after = total // 2, total - total // 2
    if max(size, kernel, before, after) > MAX_OPERAND or kernel > MAX_DIMENSION:
        raise ValueError(f"the {axis} of the kernel is {kernel}; at most {MAX_DIMENSION} are allowed")
    if size + before + after < reach:
        raise ValueError(f"the kernel ({reach}) is larger than the padded input ({size + before + after}) in {axis}")
    return _Axis(size, kernel, stride, dilation, before, after, round_up)


_SAME = -1  # padding of which the outputs are input / stride, rounded up
_BEFORE_AND_AFTER = re.compile(r"([0-9]+)\+([0-9]+)")  # pixels of padding


def _conv(row: Mapping[str, int], *, round_up: bool = False) -> dict[str, Any]:
    pixels, touched = row["batch"], row["batch"]
    outputs: dict[str, int] = {}
    for name in _AXES:
        axis = _axis(row, name, round_up=round_up)
        if axis.outputs > MAX_DIMENSION:
            raise ValueError(f"the output's {name} = {axis.outputs} is above {MAX_DIMENSION}")
        outputs[name] = axis.outputs
        pixels *= axis.outputs
        touched *= axis.touched
    if not touched:
        raise ValueError("every window lies in the padding, so the layer reads no input")
    groups = row["groups"]
    if row["in_channels"] % groups or row["out_channels"] % groups:
        raise ValueError(f"groups = {groups} must divide in_channels and out_channels")
    channels, filters = row["in_channels"] // groups, row["out_channels"] // groups
    kernel = row["kernel_width"], row["kernel_height"]
    window = Loops(
        (*kernel, outputs["width"], outputs["height"], channels, filters, row["batch"]),
        (row["stride_width"], row["stride_height"]),
        (row["dilation_width"], row["dilation_height"]),
    )
    return {
        "m": pixels,
        "n": filters,
        "k": channels * row["kernel_height"] * row["kernel_width"],
        "products": groups,
        "ifmap_words": channels * touched,
        "window": window,
    }


def _gemm(row: Mapping[str, int]) -> dict[str, int]:
    return {
        "m": row["m"],
        "n": row["n"],
        "k": row["k"],
        "products": row["batch"],
        "ifmap_words": row["m"] * row["k"],
    }


_LOWER = {"conv": _conv, "gemm": _gemm, "attention": _gemm}


def _number(row: Mapping[str, str], column: str, default: int | None) -> int:
    text = row.get(column, "")
    if not text:
        if default is None:
            raise ValueError(f"a {row['kind']} row needs '{column}'")
        return default
    return whole_number(text, column, 1, MAX_OPERAND)


def _window(row: Mapping[str, str], kernel: Mapping[str, int]) -> dict[str, int]:
    """{column_axis: value} of stride, padding and dilation; `kernel` has kernel_height and kernel_width.

    A padding that differs at the two ends of an axis has its second end as padding_after_AXIS.
    """
    found: dict[str, int] = {}
    for column, default in _WINDOW.items():
        least, both = min(default, 1), row.get(column, "")
        separate = [row.get(f"{column}_{axis}", "") for axis in _AXES]
        if both and any(separate):
            raise ValueError(f"give {column}, or {column}_height and {column}_width, not both")
        texts = separate if any(separate) else both.lower().split("x") if "x" in both.lower() else [both, both]
        if len(texts) != 2:
            raise ValueError(f"{column} = '{shortened(both)}' is not a whole number or HEIGHTxWIDTH, as in 0x3")
        for axis, text in zip(_AXES, texts, strict=True):
            if column == "padding" and text.lower() in ("same", "valid"):
                found[f"padding_{axis}"] = _SAME if text.lower() == "same" else 0
            elif column == "padding" and (ends := _BEFORE_AND_AFTER.fullmatch(text)):
                before, after = (whole_number(end, column, 0, MAX_OPERAND) for end in ends.groups())
                found |= {f"padding_{axis}": before, f"padding_after_{axis}": after}
            else:
                found[f"{column}_{axis}"] = whole_number(text, column, least, MAX_OPERAND) if text else default
        if column == "padding" and both and texts[0] == texts[1] and "x" not in both.lower():
            for axis in _AXES:
                if (
                    max(found[f"padding_{axis}"], found.get(f"padding_after_{axis}", 0)) > 0
                    and kernel[f"kernel_{axis}"] == 1
                ):
                    raise ValueError(
                        f"padding = {both} also pads the {axis}, of which the kernel is 1, with zeros alone; give "
                        "padding_height and padding_width, or a padding such as 0x3"
                    )
    return found


def parse_layer(row: Mapping[str, str]) -> Layer:
    """A row of our own table as a layer.

    Raises:
        ValueError: the row is wrong; says what is allowed.
    """
    kind = row.get("kind", "")
    if kind not in _REQUIRED:
        raise ValueError(f"kind = '{shortened(kind)}' is not one of {', '.join(_REQUIRED)}")
    name = row.get("layer", "")
    if not name:
        raise ValueError("the row has no layer name")
    numbers = {column: _number(row, column, None) for column in _REQUIRED[kind]}
    numbers |= {column: _number(row, column, default) for column, default in _DEFAULTS.items()}
    if ignored := [column for column in _NOT_OF[kind] if row.get(column)]:
        raise ValueError(f"{ignored[0]} = '{shortened(row[ignored[0]])}' says nothing of a {kind} row; leave it empty")
    if kind != "conv" and numbers["groups"] != 1:
        raise ValueError(f"groups = {numbers['groups']} says nothing of a {kind} row; leave it empty, or give batch")
    numbers |= _window(row, numbers) if kind == "conv" else {}
    return _layer(name, kind, numbers["repeat"], _LOWER[kind](numbers))


def _layer(name: str, kind: str, repeat: int, product: Mapping[str, Any]) -> Layer:
    layer = Layer(name=name, kind=kind, repeat=repeat, **product)
    for dimension in _GEMM:
        if getattr(layer, dimension) > MAX_DIMENSION:
            raise ValueError(f"the matrix product's {dimension} = {getattr(layer, dimension)} is above {MAX_DIMENSION}")
    largest = max(layer.m * layer.k, layer.k * layer.n, layer.m * layer.n, layer.count)
    if largest > MAX_OPERAND:
        raise ValueError(f"an operand (or the number of products) is {largest}, above {MAX_OPERAND} words")
    return layer


# Topologies of SCALE-Sim.


def _topology_columns(names: Sequence[str]) -> list[str | None]:
    """Our columns for SCALE-Sim's; what stands beyond a column without a name is a note of the sheet's."""
    noted = names.index("", 1) if "" in names[1:] else len(names)
    found: list[str | None] = [_TOPOLOGY.get(normalised(name), normalised(name)) for name in names[:noted]]
    if found.count("in_width") == 2 and "in_height" not in found:  # SCALE-Sim goes by place, and so do some headers
        found[found.index("in_width")] = "in_height"
    return [*found, *[None] * (len(names) - noted)]


def _dense(row: Mapping[str, str]) -> None:
    """Raises unless all weights are there."""
    kept, _, of = row.get("sparsity", "").partition(":")
    if kept != of:
        raise ValueError(f"sparsity = '{shortened(row['sparsity'])}' is not supported; only dense layers, 1:1, are")


def _parse_topology(row: Mapping[str, str]) -> Layer:
    _dense(row)
    full = {"kind": "conv", **row}
    numbers = {column: _number(full, column, None) for column in _CONV}
    numbers |= {"batch": _number(full, "batch", 1), "groups": 1} | _window(full, numbers)
    repeat = 1
    if "DP" in row["layer"]:  # each channel by itself, with every filter
        repeat, numbers["in_channels"] = numbers["in_channels"], 1
    return _layer(row["layer"], "conv", repeat, _conv(numbers, round_up=True))


def _parse_gemm_topology(row: Mapping[str, str]) -> Layer:
    _dense(row)
    numbers = {column: _number({"kind": "gemm", **row}, column, None) for column in _GEMM} | {"batch": 1}
    return _layer(row["layer"], "gemm", 1, _gemm(numbers))


def _with_whole_rows(table: UserTable) -> UserTable:
    """Without titles, a name alone, and with the cells that a row leaves out at its end."""
    rows = tuple(
        (number, [*cells, *[""] * (len(table.header) - len(cells))]) for number, cells in table.lines if any(cells[1:])
    )
    if not rows:
        raise InvalidWorkloadError(f"'{shown(table.path)}' needs at least one layer.")
    return replace(table, lines=rows)


def _worst_traffic(layer: Layer) -> int:
    """DRAM words of a layer's products on the smallest hardware of the design space (4 rows, 8 KiB of 16-bit words)."""
    filters, outputs, tile = layer.k * layer.n, layer.m * layer.n, 2048
    refetched = filters * (layer.ifmap_words // tile + 1) + layer.ifmap_words
    spilled = 8 * outputs * (layer.k // 4 + 1)
    return layer.count * (refetched + filters + spilled)


def _own_columns(names: Sequence[str]) -> list[str | None]:
    return [
        normalised(name).replace(" ", "_") if normalised(name).replace(" ", "_") in COLUMNS else name for name in names
    ]


def _naming(parse: Callable[[Mapping[str, str]], Layer]) -> Callable[[Mapping[str, str]], Layer]:
    def parse_named(row: Mapping[str, str]) -> Layer:
        try:
            return parse(row)
        except ValueError as error:
            name = row.get("layer", "")
            raise ValueError(f"{error}, in layer '{shortened(name)}'" if name else str(error)) from None

    return parse_named


def _needs(*columns: str) -> Callable[[Sequence[str]], str]:
    def wrong(header: Sequence[str]) -> str:
        missing = [column for column in columns if column not in header]
        return f"the header needs {' and '.join(columns)}" if missing else ""

    return wrong


class _Dialect(NamedTuple):
    """How one kind of table is read."""

    columns: Sequence[str]
    rename: Callable[[Sequence[str]], list[str | None]]
    wrong_header: Callable[[Sequence[str]], str]
    parse: Callable[[Mapping[str, str]], Layer]


_STRIDES = ("stride", "stride_height", "stride_width")
_DIALECTS: Mapping[str, _Dialect] = {
    "a table of layers": _Dialect(COLUMNS, _own_columns, _needs("layer", "kind"), parse_layer),
    "a SCALE-Sim topology of convolutions": _Dialect(
        ("layer", *_CONV, *_STRIDES, "batch", "sparsity"), _topology_columns, _needs("layer", *_CONV), _parse_topology
    ),
    "a SCALE-Sim topology of matrix products": _Dialect(
        ("layer", *_GEMM, "sparsity"), _topology_columns, _needs("layer", *_GEMM), _parse_gemm_topology
    ),
}
_OWN = "a table of layers"


def load_workload(path: str | Path, name: str | None = None) -> Workload:
    """Reads and checks a workload file.

    Args:
        path: a CSV file of the form described at the top of this module.
        name: the workload's name; the file's stem when left out.

    Raises:
        InvalidWorkloadError: the file cannot be read or a row is wrong; names the file, the line and what is allowed.
    """
    path = Path(path)
    text = read_text(path)
    kind = format_of(path, text, "workload", {".csv": _OWN}).name
    dialect = _DIALECTS[kind]
    table = read_user_table(
        path,
        "workload file",
        "layer",
        dialect.columns,
        dialect.wrong_header,
        text=text,
        rename=dialect.rename,
        most=MOST_LAYERS,
    )
    layers = tuple((table if kind == _OWN else _with_whole_rows(table)).parse(_naming(dialect.parse)).values())
    source = table.comments if kind == _OWN else f"{kind}. {table.comments}".strip()
    return checked(Workload(name or path.stem, layers, source), shown(path))


def checked(workload: Workload, where: str) -> Workload:
    """The workload, if the model's integers hold what it takes in all.

    Raises:
        InvalidWorkloadError: they do not; begins with `where`.
    """
    if workload.macs > MAX_WORK:
        raise InvalidWorkloadError(f"'{where}': {workload.macs} multiply-accumulates in all, above {MAX_WORK}.")
    if (traffic := sum(map(_worst_traffic, workload.layers))) > wide.LIMIT:
        raise InvalidWorkloadError(f"'{where}': up to {traffic} words of DRAM traffic, above {wide.LIMIT}.")
    products = sum(layer.count for layer in workload.layers)
    if products > MAX_OPERAND:
        raise InvalidWorkloadError(f"'{where}': {products} matrix products in all, above {MAX_OPERAND}.")
    return workload


@functools.cache
def workload_names() -> tuple[str, ...]:
    """The names of the shipped workloads, sorted."""
    return tuple(sorted(path.stem for path in package_path(_TABLES).glob("*.csv")))


@functools.cache
def _shipped_workload(name: str) -> Workload:
    return load_workload(package_path(_TABLES) / f"{name}.csv")


def get_workload(name_or_file: str) -> Workload:
    """A shipped workload by its name, or a user's own by its file's path.

    Raises:
        UnknownNameError: no shipped workload has that name, and no file.
        InvalidWorkloadError: the file cannot be read or a row is wrong.
    """
    if name_or_file in workload_names():
        return _shipped_workload(name_or_file)
    if is_path(name_or_file):
        return load_workload(name_or_file)
    raise UnknownNameError("workload", name_or_file, (*workload_names(), "or the path of a file"))


def workload_rows() -> Sequence[Mapping[str, object]]:
    """The shipped workloads, a row each, for people."""
    workloads = {name: get_workload(name) for name in workload_names()}
    return [
        {"workload": name, "layers": sum(layer.repeat for layer in each.layers)}
        | {"MACs": f"{each.macs:,}", "weights": f"{each.weights:,}"}
        for name, each in workloads.items()
    ]
