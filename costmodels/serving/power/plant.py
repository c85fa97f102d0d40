"""What servers of a class draw and how long their requests take, by load and GPU frequency. Pure JAX or NumPy.

    power of a server = IDLE_HOST + HOST_BUSY x busy + GPU_SHARE x g(busy, f),    over what it is provisioned
    g = GPU_IDLE + busy x ((1 - PREFILL) GPU_DECODE + PREFILL GPU_PREFILL - GPU_IDLE) x (f / f0)^EXPONENT
    time of a request = PREFILL x f0 / f + (1 - PREFILL) x max(1 + DECODE_SLOPE (f0 / f - 1), DECODE_FLOOR f0 / f)

Decode waits for memory, so that a moderate cap hardly slows it; the floor is where its arithmetic is slower than that.

Frequencies are POLCA's. `GPU_SHARE` is 8 x 400 W of a DGX-A100's 6.5 kW; `GPU_DECODE` and `GPU_PREFILL` are about what
Splitwise measured, `GPU_IDLE` is published. `IDLE_HOST`, `HOST_BUSY`, `PREFILL`, the exponent, the slope and the floor
are assumed, so that a row peaks at 79 %, a mix loses at most 7 % of its speed for 20 % less peak power and 0 to 5 % for
13 %, and low priority's first cap costs it 2 % (POLCA). That last figure chose the slope: a slope of 0.25 keeps the
other bands and costs 3.4 %.
"""

from __future__ import annotations

from typing import TypeAlias

import jax.numpy as jnp
import numpy as np

from ...arrays import Array

__all__ = [
    "BRAKE_MHZ",
    "LEVELS_MHZ",
    "PROVISIONED_SERVERS",
    "TOP_MHZ",
    "gpu_power",
    "request_time",
    "server_power",
]

Number: TypeAlias = "Array | float"

PROVISIONED_SERVERS = 40
TOP_MHZ = 1410.0  # of an A100
LEVELS_MHZ = (1410.0, 1305.0, 1275.0, 1110.0)  # that a class may be capped to; the first is no cap
BRAKE_MHZ = 288.0  # of all GPUs under the power brake
GPU_SHARE = 8 * 0.4 / 6.5
GPU_IDLE, GPU_DECODE, GPU_PREFILL = 0.2, 0.6, 1.05  # of the thermal design power
IDLE_HOST, HOST_BUSY = 0.34, 0.14  # of what a server is provisioned
PREFILL = 0.1  # of the time of a request at full speed
EXPONENT = 2.4
DECODE_SLOPE, DECODE_FLOOR = 0.09, 0.5


def gpu_power(busy: Number, frequency_mhz: Number) -> Number:
    """Of a GPU that is busy for so much of its time, over its thermal design power."""
    at_work = (1 - PREFILL) * GPU_DECODE + PREFILL * GPU_PREFILL
    return GPU_IDLE + busy * (at_work - GPU_IDLE) * (frequency_mhz / TOP_MHZ) ** EXPONENT


def server_power(busy: Number, frequency_mhz: Number) -> Number:
    """Of a server, over what it is provisioned."""
    return IDLE_HOST + HOST_BUSY * busy + GPU_SHARE * gpu_power(busy, frequency_mhz)


def request_time(frequency_mhz: Number) -> Array:
    """Of a request, over its time at full speed."""
    slower = TOP_MHZ / frequency_mhz
    maximum = np.maximum if isinstance(slower, float | np.ndarray) else jnp.maximum
    return PREFILL * slower + (1 - PREFILL) * maximum(1 + DECODE_SLOPE * (slower - 1), DECODE_FLOOR * slower)
