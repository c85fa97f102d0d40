"""Recurrences, decoding with a cache, state spaces, graphs and recommendation: programs that are bound by memory."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax import lax

from .dense import cross_entropy, mlp_forward, rms_norm
from .shapes import Shipped, Tree, floats, integers

__all__ = ["PROGRAMS"]


def recurrent_scan(weights: Tree, x: jax.Array) -> jax.Array:
    """Residual layers of stacked weights [layers, d, d], by `scan`."""
    return lax.scan(lambda h, w: (h + jnp.tanh(h @ w), None), x, weights)[0]


def lstm(p: dict[str, Tree], sequence: jax.Array) -> jax.Array:
    """Hidden states [T, B, d] of a sequence [T, B, d]."""
    size = p["recurrent"].shape[0]

    def step(state: Tree, x: jax.Array) -> tuple[Tree, Tree]:
        h, c = state
        gates = x @ p["input"] + h @ p["recurrent"] + p["bias"]
        i, f, g, o = (gates[:, k * size : (k + 1) * size] for k in range(4))
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    zero = jnp.zeros((sequence.shape[1], size), sequence.dtype)
    return lax.scan(step, (zero, zero), sequence)[1]


def lstm_train(p: dict[str, Tree], sequence: jax.Array, labels: jax.Array) -> dict[str, Tree]:
    """A step of gradient descent through time: the last hidden state classifies the sequence."""

    def loss(p: dict[str, Tree]) -> jax.Array:
        return cross_entropy(lstm(p["cell"], sequence)[-1] @ p["head"], labels)

    return jax.tree.map(lambda w, g: w - 0.01 * g, p, jax.grad(loss)(p))


def gqa_decode(
    layers: list[Tree], caches: list[Tree], x: jax.Array, position: jax.Array
) -> tuple[jax.Array, list[Tree]]:
    """One token [B, d] through decoder layers of 16 query and 4 key heads; the caches are updated in place."""
    updated = []
    for p, (keys, values) in zip(layers, caches, strict=True):
        batch, length, heads, size = keys.shape
        y = rms_norm(x, p["norm1"])
        q = (y @ p["q"]).reshape(batch, heads, -1, size)
        k = (y @ p["k"]).reshape(batch, 1, heads, size)
        v = (y @ p["v"]).reshape(batch, 1, heads, size)
        keys = lax.dynamic_update_slice(keys, k, (0, position, 0, 0))
        values = lax.dynamic_update_slice(values, v, (0, position, 0, 0))
        updated.append((keys, values))
        scores = jnp.einsum("bhgd,bthd->bhgt", q, keys) * (1.0 / math.sqrt(size))
        weights = jax.nn.softmax(jnp.where(jnp.arange(length) <= position, scores, -1e30))
        x = x + jnp.einsum("bhgt,bthd->bhgd", weights, values).reshape(x.shape) @ p["o"]
        y = rms_norm(x, p["norm2"])
        x = x + (jax.nn.silu(y @ p["gate"]) * (y @ p["up"])) @ p["down"]
    return x, updated


def blocked_attention(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    """Attention over blocks of keys with a running maximum and sum; q [heads, T, d], k and v [blocks, heads, T, d]."""

    def step(state: Tree, block: Tree) -> tuple[Tree, None]:
        total, peak, mass = state
        keys, values = block
        scores = jnp.einsum("htd,hsd->hts", q, keys) * (1.0 / math.sqrt(q.shape[-1]))
        new_peak = jnp.maximum(peak, jnp.max(scores, axis=-1))
        weights = jnp.exp(scores - new_peak[..., None])
        shrink = jnp.exp(peak - new_peak)
        mass = mass * shrink + jnp.sum(weights, axis=-1)
        return (total * shrink[..., None] + jnp.einsum("hts,hsd->htd", weights, values), new_peak, mass), None

    start = jnp.zeros_like(q), jnp.full(q.shape[:2], -1e30, q.dtype), jnp.zeros(q.shape[:2], q.dtype)
    (total, _, mass), _ = lax.scan(step, start, (k, v))
    return total / mass[..., None]


def state_space(p: dict[str, Tree], x: jax.Array) -> jax.Array:
    """A selective state-space layer as in Mamba, its recurrence by `associative_scan`; x [B, T, d]."""
    inner = p["decay"].shape[0]
    y = x @ p["inwards"]
    u, gate = jax.nn.silu(y[..., :inner]), y[..., inner:]
    step = jax.nn.softplus(u @ p["step"])  # [B, T, inner]
    drive, read = u @ p["drive"], u @ p["read"]  # [B, T, states]
    a = jnp.exp(-step[..., None] * p["decay"])
    b = (step * u)[..., None] * drive[..., None, :]

    def combine(left: Tree, right: Tree) -> Tree:
        return left[0] * right[0], right[0] * left[1] + right[1]

    states = lax.associative_scan(combine, (a, b), axis=1)[1]
    y = jnp.einsum("btds,bts->btd", states, read) + u * p["skip"]
    return x + (y * jax.nn.silu(gate)) @ p["outwards"]


def graph_convolution(
    weights: list[Tree], nodes: jax.Array, senders: jax.Array, receivers: jax.Array, degrees: jax.Array
) -> jax.Array:
    """Layers that send node features along edges and sum what arrives."""
    for matrix, bias in weights:
        messages = (nodes @ matrix)[senders]
        arrived = jnp.zeros((nodes.shape[0], matrix.shape[1]), nodes.dtype).at[receivers].add(messages)
        nodes = jax.nn.relu(arrived / degrees[:, None] + bias)
    return nodes


def recommender(p: dict[str, Tree], dense: jax.Array, sparse: jax.Array) -> jax.Array:
    """Embeddings of 8 categories and of dense features, their products, a perceptron (as in DLRM)."""
    vectors = [mlp_forward(p["bottom"], dense)]
    vectors += [jnp.take(table, sparse[:, k], axis=0, mode="clip") for k, table in enumerate(p["tables"])]
    stacked = jnp.stack(vectors, axis=1)
    products = jnp.einsum("bnd,bmd->bnm", stacked, stacked)
    features = jnp.concatenate([vectors[0], products.reshape(dense.shape[0], -1)], axis=-1)
    return mlp_forward(p["top"], features)[:, 0]


def adam_step(weights: list[Tree], first: list[Tree], second: list[Tree], gradient: list[Tree]) -> Tree:
    """An update of the Adam optimiser, in place."""
    first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradient)
    second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * jnp.square(g), second, gradient)
    weights = jax.tree.map(lambda w, m, v: w - 0.001 * m / (jnp.sqrt(v) + 1e-8), weights, first, second)
    return weights, first, second


def decoder(width: int, keys: int, hidden: int) -> dict[str, Tree]:
    return {
        "norm1": floats(width),
        "norm2": floats(width),
        "q": floats(width, width),
        "k": floats(width, keys),
        "v": floats(width, keys),
        "o": floats(width, width),
        "gate": floats(width, hidden),
        "up": floats(width, hidden),
        "down": floats(hidden, width),
    }


_CELL = {"input": floats(256, 1024), "recurrent": floats(256, 1024), "bias": floats(1024)}
_CACHE = floats(8, 1024, 4, 64)
_STATE_SPACE = {
    "inwards": floats(256, 1024),
    "decay": floats(512, 16),
    "step": floats(512, 512),
    "drive": floats(512, 16),
    "read": floats(512, 16),
    "skip": floats(512),
    "outwards": floats(512, 256),
}
_RECOMMENDER = {
    "bottom": [(floats(13, 256), floats(256)), (floats(256, 64), floats(64))],
    "tables": [floats(100_000, 64)] * 8,
    "top": [(floats(145, 256), floats(256)), (floats(256, 1), floats(1))],
}
_WEIGHTS = [floats(1024, 1024), floats(1024), floats(1024, 4096), floats(4096), floats(4096, 1024), floats(1024)]

PROGRAMS = {
    "recurrent_scan": Shipped(
        recurrent_scan, (floats(6, 256, 256), floats(64, 256)), "6 residual layers by scan, width 256, batch 64"
    ),
    "lstm": Shipped(lstm, (_CELL, floats(32, 64, 256)), "LSTM, 32 steps, width 256, batch 64"),
    "lstm_train": Shipped(
        lstm_train,
        ({"cell": _CELL, "head": floats(256, 10)}, floats(8, 64, 256), integers(64)),
        "training step of an LSTM, 8 steps, width 256, batch 64",
    ),
    "gqa_decode": Shipped(
        gqa_decode,
        ([decoder(1024, 256, 2816)] * 4, [(_CACHE, _CACHE)] * 4, floats(8, 1024), integers()),
        "decodes a token, 4 layers of 16 query and 4 key heads, batch 8, caches of 1024 tokens updated in place",
        (1,),
    ),
    "blocked_attention": Shipped(
        blocked_attention,
        (floats(8, 512, 64), floats(8, 8, 256, 64), floats(8, 8, 256, 64)),
        "attention by scan over 8 blocks of 256 keys, 8 heads, 512 queries",
    ),
    "state_space": Shipped(
        state_space, (_STATE_SPACE, floats(2, 256, 256)), "selective state space, 16 states, width 256, 2 x 256 tokens"
    ),
    "graph_convolution": Shipped(
        graph_convolution,
        (
            [(floats(128, 128), floats(128))] * 3,
            floats(8192, 128),
            integers(65536),
            integers(65536),
            floats(8192),
        ),
        "3 layers, 8192 nodes, 65536 edges, 128 features",
    ),
    "recommender": Shipped(
        recommender,
        (_RECOMMENDER, floats(2048, 13), integers(2048, 8)),
        "8 embedding tables of 100000 x 64, products and perceptrons, batch 2048",
    ),
    "adam_step": Shipped(adam_step, (_WEIGHTS,) * 4, "Adam on 9 million weights, in place", (0, 1, 2)),
}
