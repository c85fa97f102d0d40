"""The zoo: programs made by architecture and seed, `zoo/ARCHITECTURE/SEED`, as many as a policy needs to learn from.

An architecture draws its depth, widths, batch, resolution or length from a seed and is traced with them, always the
same. Sizes are chosen so that programs have at most `MOST_ACCESSES` accesses. Networks are ours, in the manner of
published ones, in bfloat16; a platform's element width scales them (`Program.with_element_bits`).
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

import jax
import jax.numpy as jnp
import numpy as np

from ...errors import DsegymError, UnknownNameError, shortened
from ..program import Program
from ..tracer import trace
from . import dense, sequence, vision
from .shapes import Shipped, Tree, floats, integers

__all__ = ["ARCHITECTURES", "MOST_ACCESSES", "MOST_SEED", "is_zoo_name", "zoo_program", "zoo_rows"]

MOST_ACCESSES = 256
MOST_SEED = 2**31 - 1
_PREFIX = "zoo/"

Generator = np.random.Generator


def _one(generator: Generator, values: tuple[int, ...]) -> int:
    """One of the values, all alike."""
    return int(generator.choice(values))


def _between(generator: Generator, least: int, most: int) -> int:
    """A whole number, both ends included, all alike."""
    return int(generator.integers(least, most + 1))


def _stacked(layer: Callable[..., jax.Array], weights: list[Tree], x: jax.Array, *rest: jax.Array) -> jax.Array:
    """A layer again and again."""
    return functools.reduce(lambda x, p: layer(p, x, *rest), weights, x)


def _stack(layer: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    return functools.partial(_stacked, layer)


def _descent(forward: Callable[..., jax.Array], weights: Tree, x: jax.Array, target: jax.Array) -> Tree:
    """A step of gradient descent towards target outputs."""
    gradient = jax.grad(lambda p: jnp.mean(jnp.square(forward(p, x) - target)))(weights)
    return jax.tree.map(lambda w, g: w - 0.01 * g, weights, gradient)


def _perceptron(generator: Generator) -> Shipped:
    depth, batch = _between(generator, 2, 7), _one(generator, (16, 32, 64, 128, 256, 512, 1024, 2048))
    widths = [_one(generator, (64, 128, 256, 512, 784, 1024, 2048)) for _ in range(depth)]
    widths.append(_one(generator, (10, 100, 1000)))
    weights, x = dense.layers(*widths), floats(batch, widths[0])
    said = f"perceptron {'-'.join(map(str, widths))}, batch {batch}"
    if generator.random() < 0.5:
        return Shipped(dense.mlp_forward, (weights, x), said)
    in_place = (0, 1) if generator.random() < 0.5 else ()
    said = f"training step of a {said}, momentum{', in place' if in_place else ''}"
    return Shipped(dense.mlp_train, (weights, weights, x, integers(batch)), said, in_place)


def _transformer(generator: Generator) -> Shipped:
    heads, size = _one(generator, (2, 3, 4, 6, 8, 12)), _one(generator, (16, 32, 64))
    width, factor, depth = heads * size, _one(generator, (2, 3, 4)), _between(generator, 1, 3)
    batch, length = _one(generator, (1, 2, 4, 8, 16)), _one(generator, (64, 96, 128, 256, 512))
    x = floats(batch, length, width)
    said = f"{heads} heads, width {width}, {batch} x {length} tokens"
    kind = _one(generator, (0, 1, 2))
    if kind == 0:
        blocks, mask = [dense.block(width, factor, biases=True)] * depth, jax.ShapeDtypeStruct((batch, length), bool)
        return Shipped(
            _stack(functools.partial(dense.bert_layer, heads=heads)),
            (blocks, x, mask),
            f"{depth} encoder layers, {said}",
        )
    forward = functools.partial(dense.transformer_forward, heads=heads)
    if kind == 1:
        return Shipped(forward, ([dense.block(width, factor)] * depth, x), f"{depth} blocks, {said}")
    return Shipped(
        functools.partial(_descent, forward), ([dense.block(width, factor)], x, x), f"training step of a block, {said}"
    )


def _residual(generator: Generator) -> Shipped:
    channels, pixels = _one(generator, (16, 32, 48, 64)), _one(generator, (32, 64, 96, 128, 224))
    batch = _one(generator, (1, 2, 4, 8, 16))
    stages = tuple(_between(generator, 1, 2) for _ in range(_between(generator, 1, 3)))
    said = f"{sum(stages)} bottlenecks in {len(stages)} stages, {channels} channels, {batch} images of {pixels} pixels"
    return Shipped(
        vision.resnet_forward, (vision.resnet(stages, channels=channels), floats(batch, pixels, pixels, 3)), said
    )


def _inverted(generator: Generator) -> Shipped:
    channels, factor, depth = (
        _one(generator, (16, 24, 32, 64, 96, 160)),
        _between(generator, 2, 6),
        _between(generator, 2, 12),
    )
    batch, pixels = _one(generator, (1, 2, 4, 8, 16)), _one(generator, (7, 14, 28, 56))
    said = f"{depth} inverted residuals by {factor}, {channels} channels, {batch} x {pixels} x {pixels}"
    return Shipped(
        vision.mobilenet_block,
        ([vision.inverted(channels, factor)] * depth, floats(batch, pixels, pixels, channels)),
        said,
    )


def _mixer(generator: Generator) -> Shipped:
    width, patches = _one(generator, (64, 128, 192, 256, 512)), _one(generator, (49, 64, 196, 256))
    across, factor = _one(generator, (64, 128, 256, 384)), _one(generator, (2, 3, 4))
    batch, depth = _one(generator, (1, 2, 4, 8, 16)), _between(generator, 1, 6)
    p = {name: floats(width) for name in ("scale1", "bias1", "scale2", "bias2")} | {
        "token_up": floats(patches, across),
        "token_down": floats(across, patches),
        "channel_up": floats(width, factor * width),
        "channel_down": floats(factor * width, width),
    }
    said = f"{depth} mixer blocks, width {width}, {batch} x {patches} patches"
    return Shipped(dense.mlp_mixer, ([p] * depth, floats(batch, patches, width)), said)


def _u_shaped(generator: Generator) -> Shipped:
    width, levels = _one(generator, (16, 32, 48, 64)), _between(generator, 1, 2)
    batch, pixels = _one(generator, (1, 2, 4, 8)), _one(generator, (16, 32, 64))
    widths = [width * 2**level for level in range(levels + 1)]
    said = f"U of {levels} levels with attention, {width} channels, {batch} x {pixels} x {pixels}"
    weights, x = vision.unet(0, widths), floats(batch, pixels, pixels, width)
    if generator.random() < 0.5:
        return Shipped(vision.unet_block, (weights, x), said)
    condition = _one(generator, (64, 128, 256))
    return Shipped(
        vision.unet_block, (vision.unet(condition, widths), x, floats(batch, condition)), f"{said}, conditioned"
    )


def _recurrent(generator: Generator) -> Shipped:
    width, batch = _one(generator, (64, 128, 256, 512)), _one(generator, (8, 16, 32, 64, 128, 256))
    kind = _one(generator, (0, 1, 2))
    if kind == 0:
        depth = _between(generator, 6, 48)
        said = f"{depth} residual layers by scan, width {width}, batch {batch}"
        return Shipped(sequence.recurrent_scan, (floats(depth, width, width), floats(batch, width)), said)
    inputs = _one(generator, (64, 128, 256, 512))
    cell = {"input": floats(inputs, 4 * width), "recurrent": floats(width, 4 * width), "bias": floats(4 * width)}
    if kind == 1:
        steps = _between(generator, 2, 15)
        said = f"LSTM, {steps} steps, width {width}, batch {batch}"
        return Shipped(sequence.lstm, (cell, floats(steps, batch, inputs)), said)
    weights = {"cell": cell, "head": floats(width, 10)}
    said = f"training step of an LSTM, 2 steps, width {width}, batch {batch}"
    return Shipped(sequence.lstm_train, (weights, floats(2, batch, inputs), integers(batch)), said)


def _mixture(generator: Generator) -> Shipped:
    width, hidden = _one(generator, (64, 128, 256, 512)), _one(generator, (128, 256, 512, 1024))
    experts, tokens = _one(generator, (4, 8, 16)), _one(generator, (128, 256, 512, 1024))
    depth = _between(generator, 1, 4)
    p = {
        "scale": floats(width),
        "router": floats(width, experts),
        "gate": floats(experts, width, hidden),
        "up": floats(experts, width, hidden),
        "down": floats(experts, hidden, width),
    }
    said = f"{depth} mixtures of {experts} experts, width {width}, {tokens} tokens"
    return Shipped(_stack(dense.moe_block), ([p] * depth, floats(tokens, width)), said)


def _decoder(generator: Generator) -> Shipped:
    size, depth = _one(generator, (16, 32, 48, 64)), _between(generator, 1, 4)
    width, hidden = 16 * size, 16 * size * _between(generator, 2, 4)
    batch, length = _one(generator, (1, 2, 4, 8)), _one(generator, (64, 128, 256, 512))
    p = {"norm": floats(width), "q": floats(width, width), "k": floats(width, 4 * size), "v": floats(width, 4 * size)}
    p |= {"o": floats(width, width), "mlp": dense.swiglu(width, hidden)}
    table = floats(length, size // 2)
    said = f"{depth} decoder blocks, 16 query and 4 key heads, width {width}, {batch} x {length} tokens"
    return Shipped(_stack(dense.llama_block), ([p] * depth, floats(batch, length, width), table, table), said)


def _decoding(generator: Generator) -> Shipped:
    size, heads, depth = _one(generator, (16, 32, 64)), _one(generator, (2, 4, 8)), _between(generator, 1, 4)
    width, batch = heads * size * _one(generator, (1, 2, 4)), _one(generator, (1, 4, 8, 16))
    length = _one(generator, (128, 256, 512, 1024, 2048))
    layer = sequence.decoder(width, heads * size, width * _between(generator, 2, 4))
    cache = floats(batch, length, heads, size)
    said = (
        f"decodes a token, {depth} layers, width {width}, {heads} key heads, batch {batch}, caches of {length} tokens"
    )
    return Shipped(
        sequence.gqa_decode, ([layer] * depth, [(cache, cache)] * depth, floats(batch, width), integers()), said, (1,)
    )


def _state_space(generator: Generator) -> Shipped:
    width, states, depth = _one(generator, (64, 128, 256)), _one(generator, (4, 8, 16)), _between(generator, 1, 2)
    batch, length = _one(generator, (1, 2, 4, 8)), _one(generator, (32, 64, 128, 256))
    inner = 2 * width
    p = {
        "inwards": floats(width, 2 * inner),
        "decay": floats(inner, states),
        "step": floats(inner, inner),
        "drive": floats(inner, states),
        "read": floats(inner, states),
        "skip": floats(inner),
        "outwards": floats(inner, width),
    }
    said = f"{depth} selective state spaces of {states} states, width {width}, {batch} x {length} tokens"
    return Shipped(_stack(sequence.state_space), ([p] * depth, floats(batch, length, width)), said)


def _graph(generator: Generator) -> Shipped:
    depth, nodes = _between(generator, 2, 8), _one(generator, (512, 1024, 2048, 8192))
    edges, widths = (
        nodes * _one(generator, (4, 8, 16)),
        [_one(generator, (16, 32, 64, 128, 256)) for _ in range(depth + 1)],
    )
    said = f"graph convolution {'-'.join(map(str, widths))}, {nodes} nodes, {edges} edges"
    of_edges = integers(edges)
    args = dense.layers(*widths), floats(nodes, widths[0]), of_edges, of_edges, floats(nodes)
    return Shipped(sequence.graph_convolution, args, said)


def _recommender(generator: Generator) -> Shipped:
    tables, width = _between(generator, 2, 24), _one(generator, (16, 32, 64, 128))
    batch, features = _one(generator, (128, 512, 2048, 4096)), _one(generator, (13, 64, 256))
    hidden = [_one(generator, (64, 128, 256, 512)) for _ in range(4)]
    p = {
        "bottom": dense.layers(features, *hidden[:2], width),
        "tables": [floats(10_000, width)] * tables,
        "top": dense.layers(width + (tables + 1) ** 2, *hidden[2:], 1),
    }
    said = f"{tables} embedding tables of width {width}, products and perceptrons, batch {batch}"
    return Shipped(sequence.recommender, (p, floats(batch, features), integers(batch, tables)), said)


def _dense_net(generator: Generator) -> Shipped:
    growth, depth, channels = (
        _one(generator, (8, 12, 24, 32)),
        _between(generator, 3, 12),
        _one(generator, (16, 32, 64)),
    )
    batch, pixels = _one(generator, (1, 2, 4, 8)), _one(generator, (14, 28, 32, 56))
    kernels = [floats(3, 3, channels + k * growth, growth) for k in range(depth)]
    said = f"{depth} densely connected layers of {growth} channels, {batch} x {pixels} x {pixels}"
    return Shipped(vision.dense_net, (kernels, floats(batch, pixels, pixels, channels)), said)


def _blocked_attention(generator: Generator) -> Shipped:
    heads, size, blocks = _one(generator, (1, 2, 4, 8)), _one(generator, (32, 64, 128)), _between(generator, 2, 10)
    queries, keys = _one(generator, (64, 128, 256, 512)), _one(generator, (64, 128, 256))
    cached = floats(blocks, heads, keys, size)
    said = f"attention by scan over {blocks} blocks of {keys} keys, {heads} heads, {queries} queries"
    return Shipped(sequence.blocked_attention, (floats(heads, queries, size), cached, cached), said)


# Name: draws a program's function and shapes.
ARCHITECTURES: Mapping[str, Callable[[Generator], Shipped]] = MappingProxyType(
    {
        "perceptron": _perceptron,
        "transformer": _transformer,
        "residual": _residual,
        "inverted": _inverted,
        "mixer": _mixer,
        "u_shaped": _u_shaped,
        "recurrent": _recurrent,
        "mixture": _mixture,
        "decoder": _decoder,
        "decoding": _decoding,
        "state_space": _state_space,
        "graph": _graph,
        "recommender": _recommender,
        "dense_net": _dense_net,
        "blocked_attention": _blocked_attention,
    }
)


def is_zoo_name(text: str) -> bool:
    """Whether a text is meant as the name of a program of the zoo; what exists as a file is none.

    Raises:
        UnknownNameError: there is no such architecture.
        DsegymError: what follows it is no seed.
    """
    if not text.startswith(_PREFIX) or os.path.isfile(text):
        return False
    architecture, _, seed = text.removeprefix(_PREFIX).partition("/")
    if architecture not in ARCHITECTURES:
        raise UnknownNameError("architecture of the zoo", architecture, ARCHITECTURES)
    if not re.fullmatch("0|[1-9][0-9]{0,9}", seed) or int(seed) > MOST_SEED:
        raise DsegymError(
            f"'{shortened(text)}' is no program of the zoo; write {_PREFIX}{architecture}/SEED with a whole number "
            f"from 0 to {MOST_SEED}, such as {_PREFIX}{architecture}/17."
        )
    return True


@functools.lru_cache(maxsize=1024)
def zoo_program(name: str) -> Program:
    """A program of the zoo, traced.

    Args:
        name: for which `is_zoo_name` holds.
    """
    architecture, seed = name.removeprefix(_PREFIX).split("/")
    drawn, source = _drawn(architecture, int(seed)), f"{__name__}:{architecture}, seed {seed}"
    return trace(drawn.function, *drawn.args, name=name, summary=drawn.summary, donate=drawn.donate, source=source)


def _drawn(architecture: str, seed: int) -> Shipped:
    return ARCHITECTURES[architecture](np.random.default_rng([*architecture.encode(), seed]))


def zoo_rows() -> list[dict[str, str]]:
    """The architectures, a row each, for people."""
    return [{"program": f"{_PREFIX}{name}/SEED", "seed 0": _drawn(name, 0).summary} for name in ARCHITECTURES]
