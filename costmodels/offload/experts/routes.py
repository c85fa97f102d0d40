"""Routes: which experts a router chooses, recorded, drawn by a documented generator, or read from a user's log.

N tokens, L layers, X experts a layer, K experts a token and layer by falling router weight.

The generator: of a layer's X experts, `active` are ever chosen, with popularity falling as rank^-zipf in an order of
the layer's own; a token takes the K largest of log(popularity) + stickiness [chosen for the token before] + Gumbel
noise. Its three constants are fitted to each record (`models.csv`), which it tracks in what repeats from token to token
and in how popular the popular ones are; it knows no topics and no dependence between layers.
"""

from __future__ import annotations

import functools
import gzip
import io
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...errors import InvalidWorkloadError, UnknownNameError
from ...files import MOST_BYTES, fail, is_path, number, read_bytes, shown, text_of, whole_number
from ...formats import MOST_LOOK_UPS, format_of
from ...tables import normalised, package_rows, read_user_table

__all__ = [
    "DECODE",
    "MODELS",
    "PROMPT",
    "RECORDED_LAYERS",
    "Model",
    "Routes",
    "generate",
    "load_routes",
    "recorded",
    "route_names",
    "routes_of",
    "statistics",
]

PROMPT, DECODE = 0, 1  # phases
RECORDED_LAYERS = 8  # of the tables of this package
MOST_EXPERTS, MOST_SLOTS, MOST_LAYERS = 4096, 64, 512
_RECORDED = "_recorded"  # after a model's name: its recorded routes


@dataclass(frozen=True)
class Model:
    """A mixture of experts, as `models.csv` has it."""

    name: str
    layers: int
    experts: int
    top_k: int
    expert_bytes: int  # at 4 bits
    compute_ms: float  # of a token, with all experts in memory
    active: int
    zipf: float
    stickiness: float
    weights: tuple[float, ...]  # mean router weight by slot


@dataclass(frozen=True, eq=False)
class Routes:
    """Routes of tokens in their order.

    Attributes:
        experts: X.
        chosen: int16[N, L, K], -1 where a token has no row, as most of a prompt in the last layer.
        phase: int8[N].
        turn: int32[N], of a conversation.
        expert_bytes: int64[L], as recorded.
        weights: float64[K], mean router weight by slot; they add up to 1.
    """

    experts: int
    chosen: np.ndarray
    phase: np.ndarray
    turn: np.ndarray
    expert_bytes: np.ndarray
    weights: np.ndarray


class Statistics(NamedTuple):
    """What the generator is fitted to."""

    repeated: float  # share of a token's experts that the token before had
    repeated_after_16: float
    hottest_16: float  # share of the look-ups that the 16 most popular experts of a layer have
    used: float  # share of the experts that are chosen at all


@functools.cache
def _models() -> dict[str, Model]:
    return {
        row["model"]: Model(
            name=row["name"],
            layers=int(row["layers"]),
            experts=int(row["experts"]),
            top_k=int(row["top_k"]),
            expert_bytes=int(row["expert_bytes"]),
            compute_ms=float(row["compute_ms"]),
            active=int(row["active"]),
            zipf=float(row["zipf"]),
            stickiness=float(row["stickiness"]),
            weights=tuple(map(float, row["weights"].split())),
        )
        for row in package_rows("offload/experts/models.csv")
    }


MODELS: Mapping[str, Model] = _models()


def route_names() -> tuple[str, ...]:
    """All that need no file: generated like a model's record, or the record's own first layers."""
    return (*MODELS, *(f"{name}{_RECORDED}" for name in MODELS))


def generate(model: Model, *, tokens: int, layers: int, seed: int) -> np.ndarray:
    """int16[N, L, K]: routes of the generator; the same seed gives the same popularity and the same tokens."""
    generator = np.random.default_rng(np.random.SeedSequence([seed, model.active, model.top_k]))
    shape = (layers, model.experts)
    rank = np.argsort(generator.random(shape), axis=1)
    popularity = np.where(rank < model.active, -model.zipf * np.log(rank + 1.0), -np.inf)
    before, chosen = np.zeros(shape), np.empty((tokens, layers, model.top_k), np.int16)
    for token in range(tokens):
        score = popularity + model.stickiness * before - np.log(-np.log(generator.random(shape)))
        best = np.argsort(-score, axis=1, kind="stable")[:, : model.top_k]
        before = np.zeros(shape)
        np.put_along_axis(before, best, 1.0, axis=1)
        chosen[token] = best
    return chosen


def statistics(chosen: np.ndarray, experts: int) -> Statistics:
    """What the generator is fitted to, of int[N, L, K] with N of 17 at least."""
    tokens, layers, top_k = chosen.shape
    there = np.zeros((tokens, layers, experts), bool)
    np.put_along_axis(there, chosen.astype(np.int64), True, axis=2)
    counts = np.sort(there.sum(0), axis=1)[:, ::-1]

    def repeated(lag: int) -> float:
        return float((there[lag:] & there[:-lag]).sum() / ((tokens - lag) * layers * top_k))

    hottest = float(counts[:, :16].sum() / counts.sum())
    return Statistics(repeated(1), repeated(16), hottest, float((counts > 0).mean()))


@functools.cache
def recorded(name: str) -> Routes:
    """The recorded routes of a model's decoded tokens, in its first layers."""
    model = MODELS[name]
    rows = package_rows(f"offload/experts/routes_{name}.csv")
    cells = [[row[f"layer_{layer}"].split() for layer in range(RECORDED_LAYERS)] for row in rows]
    return _decoded(model, np.array(cells, np.int16))


def _decoded(model: Model, chosen: np.ndarray) -> Routes:
    tokens, layers, _ = chosen.shape
    return Routes(
        experts=model.experts,
        chosen=chosen,
        phase=np.full(tokens, DECODE, np.int8),
        turn=np.zeros(tokens, np.int32),
        expert_bytes=np.full(layers, model.expert_bytes, np.int64),
        weights=np.array(model.weights) / sum(model.weights),
    )


def model_of(name: str) -> Model | None:
    """The model of a name of `route_names`; None for a file."""
    return MODELS.get(name.removesuffix(_RECORDED))


def routes_of(name: str, *, tokens: int, layers: int, seed: int) -> Routes:
    """Decoded tokens in a model's first layers.

    Args:
        name: one of `route_names`, or the path of a user's log.
        tokens: that the generator draws; records have their own.
        layers: L.
        seed: of the generator.

    Raises:
        UnknownNameError: it is neither a name nor a path.
        InvalidWorkloadError: the file is no log of routes, or has fewer layers or no decoded token.
    """
    model = model_of(name)
    if model is not None and name in MODELS:
        return _decoded(model, generate(model, tokens=tokens, layers=layers, seed=seed))
    if model is None and not is_path(name):
        raise UnknownNameError("routes", name, route_names())
    found = recorded(name.removesuffix(_RECORDED)) if model is not None else load_routes(name)
    there = found.chosen.shape[1]
    if there < layers:
        raise InvalidWorkloadError(f"{shown(name)}: layers = {layers}, but there are routes of {there} layers only.")
    kept = (found.phase == DECODE) & (found.chosen[:, :layers] >= 0).all((1, 2))
    if not kept.any():
        raise InvalidWorkloadError(f"{shown(name)}: no decoded token has experts in each of the {layers} layers.")
    return Routes(
        found.experts,
        found.chosen[kept, :layers],
        found.phase[kept],
        found.turn[kept],
        found.expert_bytes[:layers],
        found.weights,
    )


# Files

_COLUMNS = ("turn", "phase", "step", "layer", "slot", "expert", "weight")
_NEEDED = ("step", "layer", "expert")
_FACT = re.compile(r"(?<!\S)(n_layer|n_expert|n_expert_used|expert_bytes|layer)=(\S*)")


class _LookUp(NamedTuple):
    turn: int
    phase: int
    step: int
    layer: int
    slot: int | None
    expert: int
    weight: float | None


def _text_of(path: str) -> str:
    """The text of a log; gzip's files, as BigMoeOnEdge publishes them, are unpacked."""
    content = read_bytes(path)
    if content.startswith(b"\x1f\x8b"):
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
                content = file.read(MOST_BYTES + 1)
        except (OSError, EOFError, zlib.error):
            fail(path, "the gzip file is broken")
        if len(content) > MOST_BYTES:
            fail(path, f"the unpacked file has more than {MOST_BYTES:,} bytes")
    return text_of(path, content)


def load_routes(path: str | Path) -> Routes:
    """A log of routes: BigMoeOnEdge's `route_trace v1`, plain or gzipped, or the same with fewer columns.

    Lines of comments say the model: `# n_layer=48 n_expert=128 n_expert_used=6`, and what an expert takes at 4 bits,
    once for all layers, `# expert_bytes=3059712`, or a line a layer, `# layer=0 expert_bytes=3059712`. A row is a
    look-up: `step` (the token), `layer`, `expert`; where they are given, `turn`, `phase` (0 prompt, 1 decode; else all
    are decoded), `slot` (the rank by router weight; else the order of rows) and `weight`. Other columns are not read.

    Raises:
        InvalidWorkloadError: it is no such file, or a row does not fit the model; names the file and the line.
    """
    path = str(path)
    text = _text_of(path)
    format_of(path, text, "routes")
    facts, sizes = _facts_of(path, text)

    def row(cells: Mapping[str, str]) -> _LookUp:
        def whole(column: str, most: int) -> int:
            return whole_number(cells[column], column, 0, most)

        expert, layer = whole("expert", 2**31), whole("layer", 2**31)
        if expert >= facts["n_expert"]:
            raise ValueError(f"expert {expert} is unknown: the model has experts 0 to {facts['n_expert'] - 1}")
        if layer >= facts["n_layer"]:
            raise ValueError(f"layer {layer} is unknown: the model has layers 0 to {facts['n_layer'] - 1}")
        return _LookUp(
            turn=whole("turn", 10**6) if "turn" in cells else 0,
            phase=whole("phase", 1) if "phase" in cells else DECODE,
            step=whole("step", 10**9),
            layer=layer,
            slot=whole("slot", facts["n_expert_used"] - 1) if "slot" in cells else None,
            expert=expert,
            weight=number(cells["weight"], "weight", 0, 1e9) if "weight" in cells else None,
        )

    table = read_user_table(
        Path(path),
        "log of routes",
        "look-up",
        (),
        lambda header: "",
        text=text,
        rename=lambda given: [normalised(name) if normalised(name) in _COLUMNS else None for name in given],
        most=MOST_LOOK_UPS,
    )
    return _assembled(path, table.parse(row), facts, sizes)


def _facts_of(path: str, text: str) -> tuple[dict[str, int], np.ndarray]:
    """What the comments say: {n_layer, n_expert, n_expert_used: number}, and int64[L], bytes of an expert."""
    most = {"n_layer": MOST_LAYERS, "n_expert": MOST_EXPERTS, "n_expert_used": MOST_SLOTS}
    facts: dict[str, int] = {}
    by_layer: dict[int, int] = {}
    of_all = None
    for line, content in enumerate(text.split("\n"), 1):
        if not content.startswith("#"):
            continue
        said = _FACT.findall(content)
        found = dict(said)
        try:
            if len(found) < len(said):
                raise ValueError("a comment says the same thing twice")
            for name in most.keys() & found.keys():
                facts[name] = _once(name, whole_number(found[name], name, 1, most[name]), facts.get(name))
            if "expert_bytes" in found:
                size = whole_number(found["expert_bytes"], "expert_bytes", 1, 2**36)
                if "layer" in found:
                    layer = whole_number(found["layer"], "layer", 0, MOST_LAYERS - 1)
                    by_layer[layer] = _once(f"expert_bytes of layer {layer}", size, by_layer.get(layer))
                else:
                    of_all = _once("expert_bytes", size, of_all)
        except ValueError as error:
            fail(path, f"line {line}: {error}")
    for name in most:
        if name not in facts:
            fail(path, f"a comment must say {name}, as in '# n_layer=48 n_expert=128 n_expert_used=6'")
    if facts["n_expert_used"] > facts["n_expert"]:
        fail(path, f"n_expert_used = {facts['n_expert_used']} is more than n_expert = {facts['n_expert']}")
    if unknown := [layer for layer in by_layer if layer >= facts["n_layer"]]:
        fail(path, f"a comment says the bytes of layer {unknown[0]}; the model has layers 0 to {facts['n_layer'] - 1}")
    sizes = [by_layer.get(layer, of_all) for layer in range(facts["n_layer"])]
    missing = next((layer for layer, size in enumerate(sizes) if size is None), None)
    if missing is not None:
        fail(path, f"no comment says the bytes of layer {missing}'s experts, as in '# layer=0 expert_bytes=3059712'")
    return facts, np.array(sizes, np.int64)


def _once(what: str, value: int, before: int | None) -> int:
    if before not in (None, value):
        raise ValueError(f"{what} = {value}, and a comment above says {before}")
    return value


def _assembled(path: str, rows: Mapping[int, _LookUp], facts: Mapping[str, int], sizes: np.ndarray) -> Routes:
    order = sorted({(each.turn, each.phase, each.step) for each in rows.values()})
    place = {token: index for index, token in enumerate(order)}
    top_k = facts["n_expert_used"]
    chosen = np.full((len(order), facts["n_layer"], top_k), -1, np.int16)
    weight = np.zeros(top_k)
    filled = np.zeros(chosen.shape[:2], np.int32)
    for line, each in rows.items():
        token = place[(each.turn, each.phase, each.step)]
        here = chosen[token, each.layer]
        slot = int(filled[token, each.layer]) if each.slot is None else each.slot
        if slot >= top_k or here[slot] >= 0:
            fail(path, f"line {line}: step {each.step}, layer {each.layer} has more than one expert in slot {slot}")
        if each.expert in here:
            fail(path, f"line {line}: step {each.step}, layer {each.layer} has expert {each.expert} twice")
        here[slot] = each.expert
        filled[token, each.layer] += 1
        weight[slot] += each.weight or 0.0
    short = np.argwhere((filled > 0) & (filled < top_k))
    if len(short):
        token, layer = short[0]
        fail(path, f"step {order[token][2]}, layer {layer} has {filled[token, layer]} experts; the model uses {top_k}")
    return Routes(
        experts=facts["n_expert"],
        chosen=chosen,
        phase=np.array([token[1] for token in order], np.int8),
        turn=np.array([token[0] for token in order], np.int32),
        expert_bytes=sizes,
        weights=weight / weight.sum() if weight.sum() > 0 else np.full(top_k, 1 / top_k),
    )
