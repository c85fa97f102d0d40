"""Convolutional networks: residual, inverted residual, U-shaped, and a step of diffusion."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from .dense import attention, cross_entropy
from .shapes import Shipped, Tree, floats, integers

__all__ = ["PROGRAMS"]


def convolution(x: jax.Array, kernel: jax.Array, stride: int = 1, groups: int = 1) -> jax.Array:
    """Same padding; x [B, H, W, C], kernel [h, w, C / groups, K]."""
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=groups
    )


def batch_norm(x: jax.Array, p: dict[str, Tree], training: bool) -> jax.Array:
    """With the batch's own statistics in training, else with stored ones."""
    if training:
        mean = jnp.mean(x, axis=(0, 1, 2))
        variance = jnp.mean(jnp.square(x), axis=(0, 1, 2)) - jnp.square(mean)
    else:
        mean, variance = p["mean"], p["variance"]
    return (x - mean) * jax.lax.rsqrt(variance + 1e-5) * p["scale"] + p["bias"]


def _normalised(x: jax.Array, p: dict[str, Tree], training: bool, stride: int = 1) -> jax.Array:
    return batch_norm(convolution(x, p["kernel"], stride), p, training)


def max_pool(x: jax.Array, window: int = 3, stride: int = 2) -> jax.Array:
    """Same padding."""
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, window, window, 1), (1, stride, stride, 1), "SAME")


def resnet_forward(p: dict[str, Tree], images: jax.Array, training: bool = False) -> jax.Array:
    """Stem, bottleneck blocks, global mean, linear classifier. The first block of a stage but the first halves."""
    x = max_pool(jax.nn.relu(_normalised(images, p["stem"], training, 2)))
    for stage, blocks in enumerate(p["stages"]):
        for number, block in enumerate(blocks):
            stride = 2 if stage > 0 and number == 0 else 1
            y = jax.nn.relu(_normalised(x, block["reduce"], training))
            y = jax.nn.relu(_normalised(y, block["spatial"], training, stride))
            y = _normalised(y, block["expand"], training)
            if "project" in block:
                x = _normalised(x, block["project"], training, stride)
            x = jax.nn.relu(x + y)
    return jnp.mean(x, axis=(1, 2)) @ p["head"] + p["head_bias"]


def resnet_train(p: dict[str, Tree], images: jax.Array, labels: jax.Array) -> dict[str, Tree]:
    """A step of gradient descent; the moving averages of the statistics are left out."""
    gradient = jax.grad(lambda p: cross_entropy(resnet_forward(p, images, training=True), labels))(p)
    return jax.tree.map(lambda w, g: w - 0.01 * g, p, gradient)


def mobilenet_block(blocks: list[Tree], x: jax.Array) -> jax.Array:
    """Inverted residuals: expand, depthwise, project; inference, batch norm folded into a bias."""
    for p in blocks:
        y = jax.nn.relu6(convolution(x, p["expand"]) + p["expand_bias"])
        y = jax.nn.relu6(convolution(y, p["depthwise"], groups=y.shape[-1]) + p["depthwise_bias"])
        x = x + convolution(y, p["project"]) + p["project_bias"]
    return x


def dense_net(kernels: list[Tree], x: jax.Array) -> jax.Array:
    """Layers that see all before them: each adds channels to what the next reads (as in DenseNet)."""
    for kernel in kernels:
        x = jnp.concatenate([x, convolution(jax.nn.relu(x), kernel)], axis=-1)
    return jnp.mean(x, axis=(1, 2))


def group_norm(x: jax.Array, scale: jax.Array, bias: jax.Array, groups: int = 8) -> jax.Array:
    """Over pixels and the channels of a group."""
    batch, height, width, channels = x.shape
    y = x.reshape(batch, height * width, groups, channels // groups)
    mean = jnp.mean(y, axis=(1, 3), keepdims=True)
    variance = jnp.mean(jnp.square(y), axis=(1, 3), keepdims=True) - jnp.square(mean)
    y = (y - mean) * jax.lax.rsqrt(variance + 1e-5)
    return y.reshape(x.shape) * scale + bias


def residual_block(p: dict[str, Tree], x: jax.Array, condition: jax.Array | None = None) -> jax.Array:
    """Norm, SiLU, convolution, twice; `condition` [B, d] is added in between."""
    y = convolution(jax.nn.silu(group_norm(x, p["scale1"], p["bias1"])), p["first"])
    if condition is not None:
        y = y + (jax.nn.silu(condition) @ p["condition"])[:, None, None, :]
    y = convolution(jax.nn.silu(group_norm(y, p["scale2"], p["bias2"])), p["second"])
    return y + (convolution(x, p["project"]) if "project" in p else x)


def enlarge(x: jax.Array) -> jax.Array:
    """Every pixel as two by two."""
    batch, height, width, channels = x.shape
    x = jnp.broadcast_to(x[:, :, None, :, None, :], (batch, height, 2, width, 2, channels))
    return x.reshape(batch, 2 * height, 2 * width, channels)


def unet_block(p: dict[str, Tree], x: jax.Array, condition: jax.Array | None = None) -> jax.Array:
    """A U: levels down, attention at the bottom, as many up with the skipped tensors."""
    skipped = []
    for block, down in zip(p["down"], p["shrink"], strict=True):
        x = residual_block(block, x, condition)
        skipped.append(x)
        x = convolution(x, down, 2)
    x = residual_block(p["bottom"], x, condition)
    batch, height, width, channels = x.shape
    tokens = x.reshape(batch, height * width, channels)
    x = x + (attention(*(tokens @ p[name] for name in "qkv"), heads=4) @ p["o"]).reshape(x.shape)
    for block, up in zip(p["up"], p["grow"], strict=True):
        x = convolution(enlarge(x), up)
        x = residual_block(block, jnp.concatenate([x, skipped.pop()], axis=-1), condition)
    return x


def diffusion_step(
    p: dict[str, Tree], x: jax.Array, time: jax.Array, noise_now: jax.Array, noise_next: jax.Array
) -> jax.Array:
    """A DDIM step: the noise that a U-Net predicts from image and time embedding, taken out of the image."""
    frequencies = jnp.exp(jnp.linspace(0.0, -9.0, 32, dtype=x.dtype))
    angles = time[:, None] * frequencies
    embedding = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)
    condition = jax.nn.silu(embedding @ p["time1"]) @ p["time2"]
    noise = convolution(unet_block(p["unet"], convolution(x, p["inwards"]), condition), p["outwards"])
    clean = (x - jnp.sqrt(1 - noise_now) * noise) / jnp.sqrt(noise_now)
    return jnp.sqrt(noise_next) * clean + jnp.sqrt(1 - noise_next) * noise


def _unit(size: int, inputs: int, outputs: int, training: bool) -> dict[str, Tree]:
    names = ("scale", "bias") if training else ("scale", "bias", "mean", "variance")
    return {"kernel": floats(size, size, inputs, outputs)} | {name: floats(outputs) for name in names}


def resnet(stages: Sequence[int], training: bool = False, channels: int = 64) -> dict[str, Tree]:
    """Weights of `resnet_forward`: bottlenecks by stage, of twice as many channels at each."""
    width, blocks = channels, []
    for stage, count in enumerate(stages):
        inner, outer = channels * 2**stage, 4 * channels * 2**stage
        blocks.append([])
        for number in range(count):
            block = {
                "reduce": _unit(1, width, inner, training),
                "spatial": _unit(3, inner, inner, training),
                "expand": _unit(1, inner, outer, training),
            }
            blocks[-1].append(block | ({"project": _unit(1, width, outer, training)} if number == 0 else {}))
            width = outer
    head = {"head": floats(width, 1000), "head_bias": floats(1000)}
    return {"stem": _unit(7, 3, channels, training), "stages": blocks} | head


def inverted(width: int, factor: int = 6) -> dict[str, Tree]:
    """Weights of a block of `mobilenet_block`."""
    hidden = factor * width
    return {
        "expand": floats(1, 1, width, hidden),
        "expand_bias": floats(hidden),
        "depthwise": floats(3, 3, 1, hidden),
        "depthwise_bias": floats(hidden),
        "project": floats(1, 1, hidden, width),
        "project_bias": floats(width),
    }


def _residual(inputs: int, outputs: int, condition: int = 0) -> dict[str, Tree]:
    block = {"scale1": floats(inputs), "bias1": floats(inputs), "scale2": floats(outputs), "bias2": floats(outputs)}
    block |= {"first": floats(3, 3, inputs, outputs), "second": floats(3, 3, outputs, outputs)}
    block |= {"project": floats(1, 1, inputs, outputs)} if inputs != outputs else {}
    return block | ({"condition": floats(condition, outputs)} if condition else {})


def unet(condition: int = 0, widths: Sequence[int] = (64, 128, 256)) -> dict[str, Tree]:
    """Weights of `unet_block`: channels of every level, the bottom last."""
    levels, bottom = list(itertools.pairwise(widths)), widths[-1]
    return {
        "down": [_residual(a, a, condition) for a, _ in levels],
        "shrink": [floats(3, 3, a, b) for a, b in levels],
        "bottom": _residual(bottom, bottom, condition),
        "up": [_residual(2 * a, a, condition) for a, _ in reversed(levels)],
        "grow": [floats(3, 3, b, a) for a, b in reversed(levels)],
    } | {name: floats(bottom, bottom) for name in "qkvo"}


_IMAGES, _LABELS = floats(8, 224, 224, 3), integers(8)
_DIFFUSION = {
    "unet": unet(128),
    "inwards": floats(3, 3, 4, 64),
    "outwards": floats(3, 3, 64, 4),
    "time1": floats(64, 128),
    "time2": floats(128, 128),
}

PROGRAMS = {
    "resnet_forward": Shipped(resnet_forward, (resnet((2, 2)), _IMAGES), "4 bottlenecks, 8 images of 224 pixels"),
    "resnet_train": Shipped(
        resnet_train,
        (resnet((2, 2), training=True), _IMAGES, _LABELS),
        "training step of resnet_forward, gradient descent",
    ),
    "resnet50_forward": Shipped(resnet_forward, (resnet((3, 4, 6, 3)), _IMAGES), "ResNet-50, 8 images of 224 pixels"),
    "mobilenet_block": Shipped(
        mobilenet_block, ([inverted(64)] * 4, floats(8, 28, 28, 64)), "4 inverted residuals, 64 channels, 8 x 28 x 28"
    ),
    "unet_block": Shipped(
        unet_block, (unet(), floats(4, 64, 64, 64)), "2 levels with attention, 64 to 256 channels, 4 x 64 x 64"
    ),
    "diffusion_step": Shipped(
        diffusion_step,
        (_DIFFUSION, floats(4, 64, 64, 4), floats(4), floats(), floats()),
        "DDIM step in place, U-Net with time embedding, 4 latents of 64 x 64",
        (1,),
    ),
}
