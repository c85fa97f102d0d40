"""Seconds of a matrix product and of attention: a roofline whose corner is smooth, and a launch.

    time = ((FLOP / (a PEAK))^w + (bytes / (b BANDWIDTH))^w)^(1/w) + launch

w = 1 adds arithmetic and memory, w = infinity overlaps them fully. The constants are fitted by least squares of
logarithms on half of the measured shapes of ai-dynamo/aiconfigurator (Apache-2.0; vLLM 0.14, bf16; H100 fp8 too); the
error on the other half stands beside them. They are for these accelerators: others take the ones of the A100, or of the
H100 from Hopper on, which nothing here has tried.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from ..arrays import Array

__all__ = ["EFFICIENCIES", "Efficiency", "decode_attention_s", "gemm_s", "prefill_attention_s", "roofline_s"]

Number: TypeAlias = "Array | float"


class Efficiency(NamedTuple):
    """How near an operator comes to the peaks."""

    arithmetic: Number  # a, share of the peak
    memory: Number  # b, share of the bandwidth
    launch_s: Number
    sharpness: Number  # w
    held_out_error: float  # mean relative error on the shapes that were not fitted


# (Device, operator): its constants. Attention's arithmetic share in decode is no share of anything: memory decides.
EFFICIENCIES: Mapping[tuple[str, str], Efficiency] = {
    ("A100-SXM-80GB", "gemm_bf16"): Efficiency(0.854, 0.739, 4.73e-6, 1.50, 0.134),
    ("A100-SXM-80GB", "prefill_attention"): Efficiency(0.557, 0.315, 12.3e-6, 1.21, 0.150),
    ("A100-SXM-80GB", "decode_attention"): Efficiency(0.892, 0.707, 19.0e-6, 0.807, 0.270),
    ("H100-SXM-80GB", "gemm_bf16"): Efficiency(0.834, 0.852, 3.09e-6, 2.94, 0.135),
    ("H100-SXM-80GB", "gemm_fp8"): Efficiency(0.319, 0.865, 13.7e-6, 1.34, 0.221),
    ("H100-SXM-80GB", "prefill_attention"): Efficiency(0.610, 0.350, 12.3e-6, 1.03, 0.143),
    ("H100-SXM-80GB", "decode_attention"): Efficiency(0.101, 0.844, 12.4e-6, 1.02, 0.226),
}


def roofline_s(
    flop: Number, size_bytes: Number, *, peak_flops: Number, bandwidth_bytes_s: Number, efficiency: Efficiency
) -> Number:
    """Seconds of an operator of so much arithmetic over so many bytes."""
    w = efficiency.sharpness
    arithmetic = flop / (efficiency.arithmetic * peak_flops)
    memory = size_bytes / (efficiency.memory * bandwidth_bytes_s)
    larger = arithmetic + (memory - arithmetic) * (memory > arithmetic)  # divided by, so that no power underflows
    return larger * ((arithmetic / larger) ** w + (memory / larger) ** w) ** (1 / w) + efficiency.launch_s


def gemm_s(
    m: Number,
    n: Number,
    k: Number,
    *,
    number_bytes: Number,
    peak_flops: Number,
    bandwidth_bytes_s: Number,
    efficiency: Efficiency,
) -> Number:
    """Seconds of [m, k] x [k, n], whose inputs take `number_bytes` a number and whose output takes 2."""
    size = number_bytes * (m * k + n * k) + 2 * m * n
    return roofline_s(
        2 * m * n * k, size, peak_flops=peak_flops, bandwidth_bytes_s=bandwidth_bytes_s, efficiency=efficiency
    )


def prefill_attention_s(
    batch: Number,
    length: Number,
    *,
    heads: Number,
    kv_heads: Number,
    head_dimension: Number,
    peak_flops: Number,
    bandwidth_bytes_s: Number,
    efficiency: Efficiency,
) -> Number:
    """Seconds of one layer's causal attention over whole prompts: half of the pairs; 2 bytes a number."""
    flop = 2 * batch * heads * head_dimension * length * length
    size = 2 * batch * length * head_dimension * (2 * heads + 2 * kv_heads)
    return roofline_s(flop, size, peak_flops=peak_flops, bandwidth_bytes_s=bandwidth_bytes_s, efficiency=efficiency)


def decode_attention_s(
    batch: Number,
    context: Number,
    *,
    heads: Number,
    kv_heads: Number,
    head_dimension: Number,
    peak_flops: Number,
    bandwidth_bytes_s: Number,
    efficiency: Efficiency,
) -> Number:
    """Seconds of one layer's attention for a token each of `batch` sequences; 2 bytes a number in the cache."""
    flop = 4 * batch * heads * head_dimension * context
    size = 2 * batch * context * 2 * kv_heads * head_dimension
    return roofline_s(flop, size, peak_flops=peak_flops, bandwidth_bytes_s=bandwidth_bytes_s, efficiency=efficiency)
