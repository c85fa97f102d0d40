"""How long a prompt phase and a token take on a DGX machine: Splitwise's measurements, and its way to interpolate them.

    prompt phase:  piecewise linear in the prompt tokens of a batch
    token:         piecewise linear in the tokens of a batch, of which each request in decode is one
    a batch that holds both:  1.1 x the prompt phase of as many tokens

The knots are medians over repeats (`tables/splitwise_batch_tokens.csv`); beyond them the nearest segment goes on, as in
splitwise-sim, with whose published clusters this is compared. Knots begin at 128 tokens, so that a decode batch of 64
requests costs as much as one request alone; measured, it takes up to twice as long: `measured` tells the medians of
single shapes, and `Times.token_by_batch_s` interpolates them over the size of the batch.

A capped DGX-H100 is allowed 0.7 of its power: its prompt phases take 1.3 times as long and its tokens no longer, as in
every row of the source. Float64 on the host; seconds.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...errors import DsegymError, UnknownNameError
from ...tables import package_rows

__all__ = [
    "GPUS",
    "MACHINES",
    "MEMORY_BYTES",
    "MIXED",
    "MODELS",
    "TENSOR_PARALLELISMS",
    "TOKEN_TIMES",
    "Machine",
    "Shape",
    "Times",
    "TokenTimes",
    "get_machine",
    "measured",
    "times_of",
]

GPUS = 8  # of a machine
MIXED = 1.1  # a batch with prompts and tokens takes so much longer than its prompts alone
MEMORY_BYTES = 80 * 2.0**30  # of a GPU; all of it holds weights and cache, as in splitwise-sim
TENSOR_PARALLELISMS = (2, 4, 8)
MODELS = ("BLOOM-176B", "Llama-2-70B")
_UNFIT = ("Llama-2-70B", 2, 64)  # a batch that did not fit, whose times nothing reads


@dataclass(frozen=True)
class Machine:
    """A DGX with or without a cap on its power."""

    name: str
    measured_as: str  # the machine of the tables
    prompt_factor: float  # on prompt phases
    tdp_w: float  # of a GPU, capped
    usd_per_h: float  # of a GPU: Splitwise's

    @property
    def power_kw(self) -> float:
        """What its GPUs are provisioned: the figure of Splitwise's iso-power clusters."""
        return GPUS * self.tdp_w / 1e3


MACHINES: Mapping[str, Machine] = {
    each.name: each
    for each in (
        Machine("DGX-A100", "DGX-A100", 1.0, 400, 2.21),
        Machine("DGX-H100", "DGX-H100", 1.0, 700, 4.76),
        Machine("DGX-H100-capped", "DGX-H100", 1.3, 490, 4.76),
    )
}


def get_machine(name: str) -> Machine:
    """A machine by its name.

    Raises:
        UnknownNameError: there is none.
    """
    if name not in MACHINES:
        raise UnknownNameError("machine", name, MACHINES)
    return MACHINES[name]


@dataclass(frozen=True)
class Shape:
    """Medians of one shape of a batch."""

    prompt_s: float
    token_s: float


@functools.cache
def _shapes() -> Mapping[tuple[str, str, int, int, int, int], Shape]:
    found = {}
    for row in package_rows("serving/tables/splitwise_medians.csv"):
        names = "tensor_parallelism", "prompt_tokens", "batch", "output_tokens"
        tensor, prompt, batch, output = (int(row[name]) for name in names)
        shape = Shape(float(row["prompt_ms"]) / 1e3, float(row["token_ms"]) / 1e3)
        found[row["model"], row["machine"], tensor, prompt, batch, output] = shape
    return found


def measured(
    model: str, machine: str, tensor_parallelism: int, prompt_tokens: int, batch: int, output_tokens: int = 128
) -> Shape:
    """The median of a shape that was measured.

    Raises:
        DsegymError: it was not; says which shapes were.
    """
    found = get_machine(machine)
    key = model, found.measured_as, tensor_parallelism, prompt_tokens, batch, output_tokens
    if key not in _shapes():
        times_of(model, machine, tensor_parallelism)  # refuses the model and the parallelism by name
        known = sorted({(shape[3], shape[4]) for shape in _shapes() if shape[:3] == key[:3]})
        raise DsegymError(
            f"No batch of {batch} prompts of {prompt_tokens} tokens with {output_tokens} output tokens was measured; "
            f"(prompt, batch) were {', '.join(map(str, known))}."
        )
    shape = _shapes()[key]
    return Shape(shape.prompt_s * found.prompt_factor, shape.token_s)


@dataclass(frozen=True)
class Times:
    """Times of a model on a machine's instances, each of so many of its GPUs."""

    batch_tokens: np.ndarray  # float64[K], ascending
    prompt_knots_s: np.ndarray  # float64[K]
    token_knots_s: np.ndarray
    batches: np.ndarray  # float64[M], requests in decode
    batch_knots_s: np.ndarray  # float64[M], of a token, with prompts of 512 tokens

    def prompt_s(self, tokens: np.ndarray | float) -> np.ndarray:
        """Of a batch of so many prompt tokens."""
        return _linear(self.batch_tokens, self.prompt_knots_s, tokens)

    def token_s(self, tokens: np.ndarray | float) -> np.ndarray:
        """A token of each of so many requests, as splitwise-sim has it."""
        return _linear(self.batch_tokens, self.token_knots_s, tokens)

    def token_by_batch_s(self, requests: np.ndarray | float) -> np.ndarray:
        """The same by what was measured with so many requests."""
        return _linear(self.batches, self.batch_knots_s, requests)

    def mixed_s(self, tokens: np.ndarray | float) -> np.ndarray:
        """Of a batch that holds prompts and requests in decode, of so many tokens together."""
        return MIXED * self.prompt_s(tokens)


TokenTimes = Literal["simulator", "measured"]
TOKEN_TIMES = ("simulator", "measured")


def _linear(x: np.ndarray, y: np.ndarray, at: np.ndarray | float) -> np.ndarray:
    """Piecewise linear, with the first and the last segment going on."""
    given = np.asarray(at, np.float64)
    place = np.clip(np.searchsorted(x, given, side="right") - 1, 0, len(x) - 2)
    return y[place] + (given - x[place]) * ((y[place + 1] - y[place]) / (x[place + 1] - x[place]))


@functools.cache
def times_of(model: str, machine: str, tensor_parallelism: int) -> Times:
    """Times by their names.

    Raises:
        DsegymError: the model was not measured so.
    """
    found = get_machine(machine)
    rows = [row for row in package_rows("serving/tables/splitwise_batch_tokens.csv") if row["model"] == model]
    if not rows:
        raise DsegymError(f"Splitwise measured {' and '.join(MODELS)}, not {model}.")
    known = sorted({int(row["tensor_parallelism"]) for row in rows})
    if tensor_parallelism not in known:
        raise DsegymError(
            f"Splitwise measured {model} on {', '.join(map(str, known))} GPUs an instance, not on {tensor_parallelism}."
        )
    where = found.measured_as, str(tensor_parallelism)
    rows = [row for row in rows if (row["machine"], row["tensor_parallelism"]) == where]
    tokens, prompt, token = (
        np.array([float(row[name]) for row in rows]) for name in ("batch_tokens", "prompt_ms", "token_ms")
    )
    batches = {
        key[4]: shape.token_s
        for key, shape in sorted(_shapes().items())
        if key[:3] == (model, found.measured_as, tensor_parallelism)
        and (key[3], key[5]) == (512, 128)
        and (model, tensor_parallelism, key[4]) != _UNFIT
    }
    return Times(
        batch_tokens=tokens,
        prompt_knots_s=prompt / 1e3 * found.prompt_factor,
        token_knots_s=token / 1e3,
        batches=np.array(sorted(batches), np.float64),
        batch_knots_s=np.array([batches[size] for size in sorted(batches)]),
    )
