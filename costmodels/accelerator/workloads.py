"""Workloads of the accelerator family: networks as tables of convolution and matrix-product layers.

A workload is a CSV file, one layer (or one group of identical layers) a row; the shipped ones lie in
`workload_tables/`, and `load_workload` reads a user's own file of the same form. Lines that start with `#` are
comments.

| column | applies to | meaning | default |
|---|---|---|---|
| layer | all | a name for the row | required |
| kind | all | `conv`; `gemm` (the K x N operand is weights); `attention` (a product of two activations) | required |
| in_channels, out_channels | conv | channels over all groups | required |
| in_height, in_width | conv | input size in pixels, without padding | required |
| kernel_height, kernel_width | conv | filter size in pixels | required |
| stride, padding, groups | conv | depthwise layers have groups = in_channels | 1, 0, 1 |
| m, n, k | gemm, attention | an (m x k) by (k x n) product | required |
| batch | all | conv: images; gemm and attention: independent products of this shape (heads, say) | 1 |
| repeat | all | how many times the row occurs in the network | 1 |

A convolution becomes a matrix product by im2col (one per group): M output pixels, N filters, K weights a filter.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .. import wide
from ..arrays import Array
from ..errors import InvalidWorkloadError, UnknownNameError
from ..tables import package_path, read_user_table, whole_number

__all__ = ["Layer", "LayerArrays", "Workload", "get_workload", "load_workload", "workload_names", "workload_rows"]

MAX_DIMENSION = 2**23  # of M, N and K: the fold count's float32 estimate is exact below this
MAX_OPERAND = 2**31 - 1  # words in one operand, so that they fit int32
MAX_WORK = 2**44  # multiply-accumulates in a network, so that every total stays below `wide.LIMIT`
VECTOR = 8  # 32-bit lanes of a vector register

_CONV = ("in_channels", "out_channels", "in_height", "in_width", "kernel_height", "kernel_width")
_GEMM = ("m", "n", "k")
_REQUIRED: Mapping[str, tuple[str, ...]] = {"conv": _CONV, "gemm": _GEMM, "attention": _GEMM}
_DEFAULTS = {"stride": 1, "padding": 0, "groups": 1, "batch": 1, "repeat": 1}
_COLUMNS = ("layer", "kind", "batch", *_CONV, "stride", "padding", "groups", *_GEMM, "repeat")
_TABLES = "accelerator/workload_tables"


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


def _touched(size: int, kernel: int, stride: int, padding: int) -> int:
    """Distinct input rows (or columns) that a strided, padded window reads."""
    starts = np.arange(-padding, size + padding - kernel + 1, stride)
    step = np.minimum(starts + kernel, size) - np.maximum(starts, 0)
    if kernel >= stride:  # windows touch or overlap: one contiguous range
        return max(0, min(int(starts[-1]) + kernel, size))
    return int(np.maximum(step, 0).sum())


def _conv(row: Mapping[str, int]) -> dict[str, int]:
    kernel_words = row["kernel_height"] * row["kernel_width"]
    pixels, touched = row["batch"], row["batch"]
    for axis in ("height", "width"):
        size, kernel = row[f"in_{axis}"], row[f"kernel_{axis}"]
        span = size + 2 * row["padding"] - kernel
        if span < 0:
            raise ValueError(f"the kernel ({kernel}) is larger than the padded input ({size + 2 * row['padding']})")
        outputs = span // row["stride"] + 1
        if outputs > MAX_DIMENSION:
            raise ValueError(f"the output's {axis} = {outputs} is above {MAX_DIMENSION}")
        pixels *= outputs
        touched *= _touched(size, kernel, row["stride"], row["padding"])
    if not touched:
        raise ValueError("every window lies in the padding, so the layer reads no input")
    groups = row["groups"]
    if row["in_channels"] % groups or row["out_channels"] % groups:
        raise ValueError(f"groups = {groups} must divide in_channels and out_channels")
    channels = row["in_channels"] // groups
    return {
        "m": pixels,
        "n": row["out_channels"] // groups,
        "k": channels * kernel_words,
        "products": groups,
        "ifmap_words": channels * touched,
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
    return whole_number(text, column, 0 if column == "padding" else 1, MAX_OPERAND)


def _parse_layer(row: Mapping[str, str]) -> Layer:
    kind = row["kind"]
    if kind not in _REQUIRED:
        raise ValueError(f"kind = '{kind}' is not one of {', '.join(_REQUIRED)}")
    name = row["layer"]
    if not name:
        raise ValueError("the row has no layer name")
    numbers = {column: _number(row, column, None) for column in _REQUIRED[kind]}
    numbers |= {column: _number(row, column, default) for column, default in _DEFAULTS.items()}
    layer = Layer(name=name, kind=kind, repeat=numbers["repeat"], **_LOWER[kind](numbers))
    for dimension in _GEMM:
        if getattr(layer, dimension) > MAX_DIMENSION:
            raise ValueError(f"the matrix product's {dimension} = {getattr(layer, dimension)} is above {MAX_DIMENSION}")
    largest = max(layer.m * layer.k, layer.k * layer.n, layer.m * layer.n, layer.count)
    if largest > MAX_OPERAND:
        raise ValueError(f"an operand (or the number of products) is {largest}, above {MAX_OPERAND} words")
    return layer


def _worst_traffic(layer: Layer) -> int:
    """DRAM words of a layer's products on the smallest hardware of the design space (4 rows, 8 KiB of 16-bit words)."""
    filters, outputs, tile = layer.k * layer.n, layer.m * layer.n, 2048
    refetched = filters * (layer.ifmap_words // tile + 1) + layer.ifmap_words
    spilled = 8 * outputs * (layer.k // 4 + 1)
    return layer.count * (refetched + filters + spilled)


def _wrong_header(header: Sequence[str]) -> str:
    return "" if {"layer", "kind"} <= set(header) else "the header needs layer and kind"


def load_workload(path: str | Path, name: str | None = None) -> Workload:
    """Reads and checks a workload file.

    Args:
        path: a CSV file of the form described at the top of this module.
        name: the workload's name; the file's stem when left out.

    Raises:
        InvalidWorkloadError: the file cannot be read or a row is wrong; names the file, the line and what is allowed.
    """
    path = Path(path)
    table = read_user_table(path, "workload file", "layer", _COLUMNS, _wrong_header)
    layers = tuple(table.parse(_parse_layer).values())
    workload = Workload(name or path.stem, layers, table.comments)
    if workload.macs > MAX_WORK:
        raise InvalidWorkloadError(f"'{path}': {workload.macs} multiply-accumulates in all, above {MAX_WORK}.")
    if (traffic := sum(map(_worst_traffic, workload.layers))) > wide.LIMIT:
        raise InvalidWorkloadError(f"'{path}': up to {traffic} words of DRAM traffic, above {wide.LIMIT}.")
    products = sum(layer.count for layer in layers)
    if products > MAX_OPERAND:
        raise InvalidWorkloadError(f"'{path}': {products} matrix products in all, above {MAX_OPERAND}.")
    return workload


@functools.cache
def workload_names() -> tuple[str, ...]:
    """The names of the shipped workloads, sorted."""
    return tuple(sorted(path.stem for path in package_path(_TABLES).glob("*.csv")))


@functools.cache
def _shipped_workload(name: str) -> Workload:
    return load_workload(package_path(_TABLES) / f"{name}.csv")


def get_workload(name_or_file: str) -> Workload:
    """A shipped workload by its name, or a user's own by its file's path (anything that ends in `.csv`).

    Raises:
        UnknownNameError: no shipped workload has that name.
        InvalidWorkloadError: the file cannot be read or a row is wrong.
    """
    if name_or_file in workload_names():
        return _shipped_workload(name_or_file)
    if name_or_file.endswith(".csv"):
        return load_workload(name_or_file)
    raise UnknownNameError("workload", name_or_file, (*workload_names(), "or the path of a .csv file"))


def workload_rows() -> Sequence[Mapping[str, object]]:
    """The shipped workloads, a row each, for people."""
    workloads = {name: get_workload(name) for name in workload_names()}
    return [
        {"workload": name, "layers": sum(layer.repeat for layer in each.layers)}
        | {"MACs": f"{each.macs:,}", "weights": f"{each.weights:,}"}
        for name, each in workloads.items()
    ]
