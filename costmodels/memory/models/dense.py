"""Perceptrons, transformers and their parts, and matrix multiplication after Strassen."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from .shapes import Shipped, Tree, floats, integers

__all__ = ["PROGRAMS"]


def mlp_forward(weights: list[Tree], x: jax.Array) -> jax.Array:
    """Dense layers with ReLU between them; `weights` holds a pair (matrix, bias) per layer."""
    for k, (matrix, bias) in enumerate(weights):
        x = x @ matrix + bias
        if k < len(weights) - 1:
            x = jax.nn.relu(x)
    return x


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Mean over the batch; labels int32[B]."""
    one_hot = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    return -jnp.mean(jnp.sum(jax.nn.log_softmax(logits) * one_hot, axis=-1))


def momentum_step(loss: Callable[..., jax.Array], weights: Tree, momentum: Tree, *data: jax.Array) -> tuple[Tree, Tree]:
    """One step of gradient descent with momentum: the new weights and the new momentum."""
    gradient = jax.grad(loss)(weights, *data)
    momentum = jax.tree.map(lambda m, g: 0.9 * m + g, momentum, gradient)
    return jax.tree.map(lambda w, m: w - 0.01 * m, weights, momentum), momentum


def mlp_train(weights: list[Tree], momentum: list[Tree], x: jax.Array, labels: jax.Array) -> tuple[Tree, Tree]:
    """A training step of the perceptron."""
    return momentum_step(lambda w, x, y: cross_entropy(mlp_forward(w, x), y), weights, momentum, x, labels)


def layer_norm(x: jax.Array, scale: jax.Array, bias: jax.Array) -> jax.Array:
    """Over the last axis."""
    mean = jnp.mean(x, axis=-1, keepdims=True)
    variance = jnp.mean(jnp.square(x), axis=-1, keepdims=True) - jnp.square(mean)
    return (x - mean) * jax.lax.rsqrt(variance + 1e-5) * scale + bias


def rms_norm(x: jax.Array, scale: jax.Array) -> jax.Array:
    """Over the last axis."""
    return x * jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + 1e-5) * scale


def attention(q: jax.Array, k: jax.Array, v: jax.Array, heads: int, bias: jax.Array | None = None) -> jax.Array:
    """Softmax attention of [B, T, d] tensors; `bias` is added to the scores [B, heads, T, T]."""
    batch, length, width = q.shape

    def split(x: jax.Array) -> jax.Array:
        return x.reshape(batch, -1, heads, width // heads).transpose(0, 2, 1, 3)

    scores = split(q) @ split(k).transpose(0, 1, 3, 2) * (1.0 / math.sqrt(width // heads))
    weights = jax.nn.softmax(scores if bias is None else scores + bias)
    return (weights @ split(v)).transpose(0, 2, 1, 3).reshape(batch, length, width)


def transformer_forward(blocks: list[Tree], x: jax.Array, heads: int = 4) -> jax.Array:
    """Pre-norm transformer blocks on embedded tokens [B, T, d]."""
    for p in blocks:
        y = layer_norm(x, p["scale1"], p["bias1"])
        x = x + attention(y @ p["q"], y @ p["k"], y @ p["v"], heads) @ p["o"]
        y = layer_norm(x, p["scale2"], p["bias2"])
        x = x + jax.nn.gelu(y @ p["up"] + p["up_bias"]) @ p["down"] + p["down_bias"]
    return x


def transformer_train(blocks: list[Tree], x: jax.Array, target: jax.Array) -> list[Tree]:
    """A step of gradient descent towards target outputs."""
    gradient = jax.grad(lambda p: jnp.mean(jnp.square(transformer_forward(p, x) - target)))(blocks)
    return jax.tree.map(lambda w, g: w - 0.01 * g, blocks, gradient)


def bert_layer(p: dict[str, Tree], x: jax.Array, mask: jax.Array, heads: int = 12) -> jax.Array:
    """A post-norm encoder layer with biases and a padding mask, bool[B, T]."""
    bias = jnp.where(mask[:, None, None, :], 0.0, -1e4).astype(x.dtype)
    q, k, v = (x @ p[name] + p[f"{name}_bias"] for name in "qkv")
    x = layer_norm(x + attention(q, k, v, heads, bias) @ p["o"] + p["o_bias"], p["scale1"], p["bias1"])
    y = jax.nn.gelu(x @ p["up"] + p["up_bias"]) @ p["down"] + p["down_bias"]
    return layer_norm(x + y, p["scale2"], p["bias2"])


def vision_transformer(p: dict[str, Tree], images: jax.Array) -> jax.Array:
    """Patches of 16 pixels, a class token, pre-norm blocks, a linear classifier."""
    patches = jax.lax.conv_general_dilated(
        images, p["patch"], (16, 16), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    batch, width = images.shape[0], p["patch"].shape[-1]
    tokens = patches.reshape(batch, -1, width)
    x = jnp.concatenate([jnp.broadcast_to(p["token"], (batch, 1, width)), tokens], axis=1) + p["position"]
    x = transformer_forward(p["blocks"], x, heads=3)
    return x[:, 0] @ p["head"]


def llama_mlp(p: dict[str, Tree], x: jax.Array) -> jax.Array:
    """RMS norm, SwiGLU and residual."""
    y = rms_norm(x, p["scale"])
    return x + (jax.nn.silu(y @ p["gate"]) * (y @ p["up"])) @ p["down"]


def rotate(x: jax.Array, cosine: jax.Array, sine: jax.Array) -> jax.Array:
    """Rotary position embedding of [B, T, heads, d]; tables [T, d / 2]."""
    first, second = jnp.split(x, 2, axis=-1)
    cosine, sine = cosine[None, :, None, :], sine[None, :, None, :]
    return jnp.concatenate([first * cosine - second * sine, second * cosine + first * sine], axis=-1)


def llama_block(p: dict[str, Tree], x: jax.Array, cosine: jax.Array, sine: jax.Array) -> jax.Array:
    """Causal attention of 16 query heads on 4 key heads with rotary embedding, then SwiGLU."""
    batch, length, width = x.shape
    size = p["k"].shape[1] // 4
    y = rms_norm(x, p["norm"])
    q = rotate((y @ p["q"]).reshape(batch, length, 16, size), cosine, sine).reshape(batch, length, 4, 4, size)
    k = rotate((y @ p["k"]).reshape(batch, length, 4, size), cosine, sine)
    v = (y @ p["v"]).reshape(batch, length, 4, size)
    scores = jnp.einsum("btkgd,bskd->bkgts", q, k) * (1.0 / math.sqrt(size))
    causal = jnp.tril(jnp.ones((length, length), bool))
    weights = jax.nn.softmax(jnp.where(causal, scores, -1e30))
    mixed = jnp.einsum("bkgts,bskd->btkgd", weights, v).reshape(batch, length, width)
    return llama_mlp(p["mlp"], x + mixed @ p["o"])


def mlp_mixer(blocks: list[Tree], x: jax.Array) -> jax.Array:
    """Mixer blocks on [B, patches, d]: a perceptron across patches, then one across channels."""
    for p in blocks:
        y = layer_norm(x, p["scale1"], p["bias1"]).transpose(0, 2, 1)
        x = x + (jax.nn.gelu(y @ p["token_up"]) @ p["token_down"]).transpose(0, 2, 1)
        y = layer_norm(x, p["scale2"], p["bias2"])
        x = x + jax.nn.gelu(y @ p["channel_up"]) @ p["channel_down"]
    return x


def moe_block(p: dict[str, Tree], x: jax.Array) -> jax.Array:
    """Mixture of 8 experts, 2 per token, dispatched by one-hot matrices with a capacity (as in GShard)."""
    tokens = x.shape[0]
    experts = p["router"].shape[1]
    capacity = 2 * tokens // experts
    y = rms_norm(x, p["scale"])
    gates = jax.nn.softmax(y @ p["router"])
    top, chosen = jax.lax.top_k(gates, 2)
    hot = jax.nn.one_hot(chosen, experts, dtype=x.dtype)  # [T, 2, E]
    flat = hot.transpose(1, 0, 2).reshape(2 * tokens, experts)  # first choices before second choices
    place = ((jnp.cumsum(flat, axis=0) - 1) * flat).sum(-1).astype(jnp.int32)
    slot = jax.nn.one_hot(place, capacity, dtype=x.dtype).reshape(2, tokens, capacity)
    dispatch = jnp.einsum("tke,ktc->tec", hot, slot)
    combine = jnp.einsum("tke,ktc->tec", hot * top[:, :, None], slot)
    inputs = jnp.einsum("tec,td->ecd", dispatch, y)
    hidden = jax.nn.silu(jnp.einsum("ecd,edf->ecf", inputs, p["gate"])) * jnp.einsum("ecd,edf->ecf", inputs, p["up"])
    outputs = jnp.einsum("ecf,efd->ecd", hidden, p["down"])
    return x + jnp.einsum("tec,ecd->td", combine, outputs)


def strassen(a: jax.Array, b: jax.Array, levels: int = 2) -> jax.Array:
    """Matrix product by 7 instead of 8 products per level."""
    if levels == 0:
        return a @ b
    n = a.shape[0] // 2
    a11, a12, a21, a22 = a[:n, :n], a[:n, n:], a[n:, :n], a[n:, n:]
    b11, b12, b21, b22 = b[:n, :n], b[:n, n:], b[n:, :n], b[n:, n:]
    m1 = strassen(a11 + a22, b11 + b22, levels - 1)
    m2 = strassen(a21 + a22, b11, levels - 1)
    m3 = strassen(a11, b12 - b22, levels - 1)
    m4 = strassen(a22, b21 - b11, levels - 1)
    m5 = strassen(a11 + a12, b22, levels - 1)
    m6 = strassen(a21 - a11, b11 + b12, levels - 1)
    m7 = strassen(a12 - a22, b21 + b22, levels - 1)
    upper = jnp.concatenate([m1 + m4 - m5 + m7, m3 + m5], axis=1)
    lower = jnp.concatenate([m2 + m4, m1 - m2 + m3 + m6], axis=1)
    return jnp.concatenate([upper, lower], axis=0)


def attention_tiny(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    """Softmax attention of one head."""
    return jax.nn.softmax(q @ k.T * 0.125) @ v


def residual_tiny(weights: list[Tree], x: jax.Array) -> jax.Array:
    """Residual perceptron blocks."""
    for up, down in weights:
        x = x + jax.nn.relu(x @ up) @ down
    return x


def layers(*widths: int) -> list[Tree]:
    return [(floats(a, b), floats(b)) for a, b in itertools.pairwise(widths)]


def block(width: int, factor: int = 4, biases: bool = False) -> dict[str, Tree]:
    found = {name: floats(width) for name in ("scale1", "bias1", "scale2", "bias2", "down_bias")}
    found |= {name: floats(width, width) for name in "qkvo"}
    found |= {f"{name}_bias": floats(width) for name in "qkvo" if biases}
    hidden = factor * width
    return found | {"up": floats(width, hidden), "up_bias": floats(hidden), "down": floats(hidden, width)}


def swiglu(width: int, hidden: int) -> dict[str, Tree]:
    return {
        "scale": floats(width),
        "gate": floats(width, hidden),
        "up": floats(width, hidden),
        "down": floats(hidden, width),
    }


_MLP = layers(784, 1024, 1024, 1024, 10)
_MLP_STATE = (_MLP, _MLP, floats(512, 784), integers(512))
_MIXER = {name: floats(512) for name in ("scale1", "bias1", "scale2", "bias2")} | {
    "token_up": floats(196, 256),
    "token_down": floats(256, 196),
    "channel_up": floats(512, 2048),
    "channel_down": floats(2048, 512),
}
_VIT = {
    "patch": floats(16, 16, 3, 192),
    "token": floats(1, 1, 192),
    "position": floats(1, 197, 192),
    "blocks": [block(192)] * 4,
    "head": floats(192, 1000),
}
_LLAMA = {"norm": floats(1024), "q": floats(1024, 1024), "k": floats(1024, 256), "v": floats(1024, 256)}
_LLAMA |= {"o": floats(1024, 1024), "mlp": swiglu(1024, 2816)}
_MOE = {
    "scale": floats(512),
    "router": floats(512, 8),
    "gate": floats(8, 512, 1024),
    "up": floats(8, 512, 1024),
    "down": floats(8, 1024, 512),
}

PROGRAMS = {
    "mlp_tiny": Shipped(mlp_forward, (layers(64, 128, 128, 64), floats(32, 64)), "perceptron 64-128-128-64, batch 32"),
    "attention_tiny": Shipped(attention_tiny, (floats(128, 64),) * 3, "attention, one head, 128 tokens, width 64"),
    "residual_tiny": Shipped(
        residual_tiny,
        ([(floats(64, 256), floats(256, 64))] * 4, floats(64, 64)),
        "4 residual perceptron blocks, 64 tokens, width 64",
    ),
    "mlp_forward": Shipped(mlp_forward, (_MLP, floats(512, 784)), "perceptron 784-1024x3-10, batch 512"),
    "mlp_train": Shipped(mlp_train, _MLP_STATE, "training step of mlp_forward, momentum"),
    "mlp_train_donated": Shipped(mlp_train, _MLP_STATE, "mlp_train with weights and momentum updated in place", (0, 1)),
    "transformer_forward": Shipped(
        transformer_forward, ([block(256)] * 2, floats(8, 256, 256)), "2 blocks, width 256, 4 heads, 8 x 256 tokens"
    ),
    "transformer_train": Shipped(
        transformer_train,
        ([block(256)] * 2, floats(8, 256, 256), floats(8, 256, 256)),
        "training step of transformer_forward, gradient descent",
    ),
    "bert_layer": Shipped(
        bert_layer,
        (block(768, biases=True), floats(8, 128, 768), jax.ShapeDtypeStruct((8, 128), jnp.bool_)),
        "encoder layer, width 768, 12 heads, 8 x 128 tokens",
    ),
    "vision_transformer": Shipped(
        vision_transformer, (_VIT, floats(8, 224, 224, 3)), "4 blocks, width 192, 8 images of 224 pixels"
    ),
    "llama_mlp": Shipped(
        llama_mlp, (swiglu(2048, 5632), floats(512, 2048)), "RMS norm and SwiGLU, width 2048, 512 tokens"
    ),
    "llama_block": Shipped(
        llama_block,
        (_LLAMA, floats(2, 512, 1024), floats(512, 32), floats(512, 32)),
        "decoder block: rotary embedding, 16 query and 4 key heads, SwiGLU; width 1024, 2 x 512 tokens",
    ),
    "mlp_mixer": Shipped(mlp_mixer, ([_MIXER] * 4, floats(8, 196, 512)), "4 mixer blocks, width 512, 8 x 196 patches"),
    "moe_block": Shipped(moe_block, (_MOE, floats(1024, 512)), "8 experts, 2 per token, width 512, 1024 tokens"),
    "strassen": Shipped(strassen, (floats(1024, 1024),) * 2, "1024 x 1024 matrices, 2 levels, 49 products"),
}
