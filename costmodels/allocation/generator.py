"""Seeded synthetic instances, regenerated from their names.

| name | what | what is known |
|---|---|---|
| `perfect_N_sSEED` | a rectangle, 1 MiB x 1024 time steps, cut into N buffers | the optimum: its height |
| `layered_N_sSEED` | N buffers of a training step of a network, layer by layer | the load, a lower bound |
| `requests_N_sSEED` | key-value caches of N requests to a language model | the load, a lower bound |

All are synthetic: cuts, the network's sizes and requests are drawn, not measured. Sizes are multiples of 1 KiB. The
order of the buffers is shuffled, so that it tells nothing. The capacity is the height of the rectangle, or for the
others the load, whether or not a packing of that size exists.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from .bounds import max_load
from .instance import AllocationInstance, Buffer, checked, load_instance

__all__ = ["KINDS", "generate", "get_instance", "instance_rows", "is_generated_name", "layered", "perfect", "requests"]

KIB = 1024
HEIGHT, LENGTH = 1024, 1024  # of the rectangle that is cut, in KiB and time steps
FEWEST, MOST = 2, 500  # buffers
_NAME = re.compile(r"(perfect|layered|requests)_([1-9][0-9]{0,3})_s(0|[1-9][0-9]{0,8})")


def perfect(count: int, seed: int) -> AllocationInstance:
    """A rectangle cut into `count` buffers; the optimal peak is its height.

    A piece is chosen with a probability proportional to its area and cut in two, along time or along the address, at a
    place drawn from the middle 60 % of its side.
    """
    generator = np.random.default_rng([1, count, seed])
    pieces = [(0, LENGTH, 0, HEIGHT)]  # lower, upper, offset, end
    while len(pieces) < count:
        areas = np.array([(upper - lower) * (end - offset) for lower, upper, offset, end in pieces], float)
        lower, upper, offset, end = pieces.pop(int(generator.choice(len(pieces), p=areas / areas.sum())))
        along_time = generator.random() < 0.5
        if (upper - lower if along_time else end - offset) < 2:
            along_time = not along_time
        if along_time:
            cut = _cut(generator, lower, upper)
            pieces += [(lower, cut, offset, end), (cut, upper, offset, end)]
        else:
            cut = _cut(generator, offset, end)
            pieces += [(lower, upper, offset, cut), (lower, upper, cut, end)]
    pieces = [pieces[i] for i in generator.permutation(count)]
    buffers = tuple(
        Buffer(f"b{i}", lower, upper, (end - offset) * KIB) for i, (lower, upper, offset, end) in enumerate(pieces)
    )
    return AllocationInstance(
        f"perfect_{count}_s{seed}",
        buffers,
        HEIGHT * KIB,
        "synthetic: guillotine cuts of a rectangle",
        tuple(piece[2] * KIB for piece in pieces),
    )


def _cut(generator: np.random.Generator, start: int, end: int) -> int:
    """A whole number strictly between two, from the middle 60 % where that has one."""
    margin = (end - start) // 5
    return int(generator.integers(start + max(margin, 1), end - max(margin, 1) + 1))


def layered(count: int, seed: int) -> AllocationInstance:
    """`count` buffers of a network's training step: forward through its layers, backward again, a layer a time step.

    Every layer's activation lives until its backward pass, or for one in three, which is computed again then, until
    the next two layers have read it. Every backward pass has a gradient that the next one reads; one layer in two has
    scratch memory in either pass. Sizes halve at four layers, as image networks shrink, and vary between layers.
    """
    generator = np.random.default_rng([2, count, seed])
    layers = max(count // 3, 1)
    base = float(generator.integers(256, 1025))
    shrink = set(generator.choice(layers, size=min(4, layers), replace=False).tolist())
    buffers: list[tuple[int, int, int]] = []  # lower, upper, KiB
    for layer in range(layers):
        base = base / 2.0 if layer in shrink else base
        backward = 2 * layers - 1 - layer
        size = max(int(base * generator.choice([0.25, 0.5, 1.0, 1.5, 2.0])), 1)
        again = generator.random() < 1.0 / 3.0
        buffers.append((layer, min(layer + 3, backward + 1) if again else backward + 1, size))
        if again:
            buffers.append((backward - 1, backward + 1, size))
        buffers.append((backward, backward + 2, size))
        for time in (layer, backward):
            if generator.random() < 0.5:
                buffers.append((time, time + 1, max(int(base * generator.uniform(0.1, 3.0)), 1)))
    while len(buffers) < count:  # scratch memory that lasts for a few layers
        time = int(generator.integers(0, 2 * layers))
        life = int(generator.integers(1, 9))
        buffers.append((time, time + life, max(int(base * generator.uniform(0.5, 4.0)), 1)))
    buffers = [buffers[i] for i in generator.permutation(count)]
    instance = AllocationInstance(
        f"layered_{count}_s{seed}",
        tuple(Buffer(f"b{i}", lower, upper, size * KIB) for i, (lower, upper, size) in enumerate(buffers)),
        1,
        "synthetic: a network's training step, layer by layer",
    )
    return replace(instance, capacity=max_load(instance))


def requests(count: int, seed: int) -> AllocationInstance:
    """The caches of `count` requests to a language model, each reserved from arrival until the last token.

    Requests arrive at random, about twelve at a time in the system. Tokens are log-normal (0.8 the deviation of the
    logarithm), of prompts with the median 400, of answers 200; an answer's token takes a time step, every token 16 KiB.
    """
    generator = np.random.default_rng([3, count, seed])
    prompts, answers = (np.rint(np.exp(generator.normal(np.log(median), 0.8, count))) + 1 for median in (400, 200))
    arrivals = np.cumsum(np.rint(generator.exponential(answers.mean() / 12, count)))
    buffers = np.stack([arrivals, arrivals + answers, 16 * (prompts + answers)], 1).astype(int)
    instance = AllocationInstance(
        f"requests_{count}_s{seed}",
        tuple(
            Buffer(f"b{i}", int(lower), int(upper), int(size) * KIB)
            for i, (lower, upper, size) in enumerate(buffers[generator.permutation(count)])
        ),
        1,
        "synthetic: caches of a language model's requests",
    )
    return replace(instance, capacity=max_load(instance))


KINDS: Mapping[str, Callable[[int, int], AllocationInstance]] = {
    "perfect": perfect,
    "layered": layered,
    "requests": requests,
}


def is_generated_name(name: str) -> bool:
    """Whether `generate` makes an instance of this name."""
    match = _NAME.fullmatch(name)
    return match is not None and FEWEST <= int(match[2]) <= MOST


@functools.lru_cache(maxsize=64)
def generate(name: str) -> AllocationInstance:
    """The instance of a name for which `is_generated_name` holds."""
    match = _NAME.fullmatch(name)
    assert match is not None, name
    return checked(KINDS[match[1]](int(match[2]), int(match[3])))


def get_instance(name_or_file: str, capacity: int | None = None) -> AllocationInstance:
    """A generated instance by its name, or a file's by its path.

    Args:
        name_or_file: a name for which `is_generated_name` holds, else a path.
        capacity: bytes; the instance's own when left out.

    Raises:
        InvalidWorkloadError: the file cannot be read or a line is wrong, or a buffer is larger than the capacity.
    """
    if not is_generated_name(name_or_file):
        return load_instance(name_or_file, capacity)
    instance = generate(name_or_file)
    return instance if capacity is None else instance.with_capacity(capacity)


def instance_rows(names: Sequence[str]) -> Sequence[Mapping[str, object]]:
    """Generated instances, a row each, for people."""
    return [
        {"instance": name, "buffers": len(instance), "capacity (B)": f"{instance.capacity:,}"}
        | {"load (B)": f"{max_load(instance):,}", "source": instance.source}
        for name, instance in ((name, generate(name)) for name in names)
    ]
