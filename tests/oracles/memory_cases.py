"""Small programs for the tests of the memory-mapping game: by hand, and at random from a seed."""

from dataclasses import replace

import numpy as np

from dsegym.costmodels.memory.discrete import NONE, discretise
from dsegym.costmodels.memory.platforms import get_platform
from dsegym.costmodels.memory.program import Buffer, Instruction, Program

PLATFORM = get_platform("xla_unit_test")  # 1000 operations/s, 100 B/s, 1000 B/s; 128 B in 16 granules


def small_program(buffers, instructions):
    """A program by hand.

    Args:
        buffers: {name: B} or {name: (B, option, ...)} with the options "live_out" and an alias group's number. What no
            instruction writes is a parameter.
        instructions: (operations, names read, names written), each access with all of the buffer's bytes.
    """
    written = {name for _, _, writes in instructions for name in writes}
    entries = []
    for name, given in buffers.items():
        size, *options = given if isinstance(given, tuple) else (given,)
        group = next((option for option in options if isinstance(option, int)), NONE)
        kind = "temporary" if name in written else "parameter"
        entries.append(Buffer(name, size, kind, "live_out" in options, group))
    number = {entry.name: index for index, entry in enumerate(entries)}

    def uses(names):
        return tuple((number[name], entries[number[name]].bytes) for name in names)

    return Program(
        "by_hand",
        tuple(Instruction(f"i{t}", flops, uses(r), uses(w)) for t, (flops, r, w) in enumerate(instructions)),
        tuple(entries),
    )


def random_program(rng, instructions=None, *, accesses=None, capacity_bytes=128):
    """A random program with all that the rules know: live-outs, storage in place, partial accesses, outputs that
    nothing reads, buffers of no bytes and of more than the capacity, instructions bound by compute or by memory.

    Args:
        rng: a NumPy generator.
        instructions: how many; 3 ... 30 when left out.
        accesses: stop at the first instruction with which there are so many; overrides `instructions`.
        capacity_bytes: what sizes are measured by.
    """
    length = int(rng.integers(3, 31)) if instructions is None else instructions
    sizes, kinds, groups = [], [], []
    alive = []  # what may still be read: all but the overwritten
    overwritten = set()
    lines = []
    count = 0

    def add(kind, size=None, group=NONE):
        if size is None:
            chance = rng.random()
            if chance < 0.04:
                size = 0
            elif chance < 0.08:
                size = capacity_bytes + 8 * int(rng.integers(1, 4))
            elif chance < 0.75:
                size = 8 * int(rng.integers(1, max(2, capacity_bytes // 16)))  # many equal sizes, exact granules
            else:
                size = int(rng.integers(1, capacity_bytes + 1))
        sizes.append(size)
        kinds.append(kind)
        groups.append(group)
        return len(sizes) - 1

    def moved(buffer):
        return int(rng.integers(0, sizes[buffer] + 1)) if rng.random() < 0.25 else sizes[buffer]

    for _ in range(int(rng.integers(1, 6))):
        alive.append(add("parameter"))
    while (count < accesses) if accesses is not None else (len(lines) < length):
        if rng.random() < 0.1:
            alive.append(add("parameter"))
        recent = alive[-10:] if rng.random() < 0.8 else alive
        reads = [int(b) for b in rng.permutation(recent)[: rng.integers(0, 4)]]
        writes = []
        for _ in range(int(rng.choice([0, 1, 1, 1, 2, 2]) if reads else 1)):
            if alive and rng.random() < 0.25:
                former = int(rng.choice(reads)) if reads and rng.random() < 0.7 else int(rng.choice(alive[-10:]))
                if former not in overwritten:
                    if groups[former] == NONE:
                        groups[former] = max([NONE, *groups]) + 1
                    writes.append(add("temporary", sizes[former], groups[former]))
                    overwritten.add(former)
                    if former in alive:
                        alive.remove(former)
                    continue
            writes.append(add("temporary"))
        uses = [tuple((b, moved(b)) for b in buffers) for buffers in (reads, writes)]
        alive += writes
        slow_s = sum(size for part in uses for _, size in part) / PLATFORM.slow_bytes_per_s
        share = rng.choice([0.0, 0.0, rng.uniform(0.0, 1.0), 1.0, rng.uniform(1.0, 4.0)])
        lines.append(Instruction(f"i{len(lines)}", float(share * slow_s * PLATFORM.peak_flops), *uses))
        count += sum(map(len, uses))
    buffers = tuple(
        Buffer(f"b{b}", size, kind, bool(b not in overwritten and rng.random() < 0.25), group)
        for b, (size, kind, group) in enumerate(zip(sizes, kinds, groups, strict=True))
    )
    return Program("random", tuple(lines), buffers)


def with_residents(rng, discrete, share=0.5):
    """The same instance, with some of the parameters that it uses in fast memory at the start."""
    arrays = discrete.arrays
    offsets = np.full(len(arrays.granules), NONE, np.int32)
    free = 0
    for b in rng.permutation(len(offsets)):
        need = int(arrays.granules[b])
        if not (arrays.in_slow[b] and arrays.first_use[b] != NONE and need) or rng.random() > share:
            continue
        gap = int(rng.integers(0, 3))
        if free + gap + need <= int(arrays.capacity):
            offsets[b] = free + gap
            free += gap + need
    fields = {name: getattr(discrete, name) for name in discrete.__dataclass_fields__}
    return type(discrete)(**(fields | {"arrays": arrays._replace(resident_offset=offsets)}))


def random_case(rng, instructions=None, *, accesses=None):
    """A random program on the platform of XLA's unit tests: either accounting, several capacities, at times with
    parameters in fast memory at the start."""
    program = random_program(rng, instructions, accesses=accesses)
    capacity = int(rng.choice([24, 64, 128, 128, 256]))
    discrete = discretise(
        program, PLATFORM, capacity_bytes=capacity, bandwidth=str(rng.choice(["charged", "charged", "idle"]))
    )
    return with_residents(rng, discrete) if rng.random() < 0.3 else discrete


def random_plan(rng, discrete):
    """Actions at random, legal or not; some plans like one action more than another."""
    return rng.choice(3, size=len(discrete.arrays.instruction), p=rng.dirichlet([0.5, 1.0, 1.0])).tolist()


def padded(arrays, instructions, buffers, accesses):
    """The same instance with so many instructions, buffers and accesses, so that all cases share compiled code.

    What is added costs nothing: instructions that take no time, buffers of no granules, and reads of the last buffer in
    the last instruction, which can only be dropped.
    """
    length, count, decisions = len(arrays.compute), len(arrays.granules), len(arrays.buffer)
    if decisions < accesses and not (length <= instructions and count < buffers):
        raise ValueError("added accesses need an added buffer to read")

    def fill(values, size, value):
        if len(values) > size:
            raise ValueError(f"{len(values)} do not fit into {size}")
        return np.concatenate([values, np.full(size - len(values), value, values.dtype)])

    instruction, buffer = instructions - 1, buffers - 1
    added = [
        (instructions, {"compute": 0, "slow_bound": 0}),
        (accesses, {"instruction": instruction, "buffer": buffer, "is_output": False, "slow": 0, "fast": 0}),
        (accesses, {"next_use": NONE, "last_access": False, "copy_allowed": True}),
        (buffers, {"granules": 0, "copy": 0, "live_out": False, "in_slow": True, "predecessor": NONE}),
        (buffers, {"first_use": NONE, "resident_offset": NONE}),
    ]
    filled = {name: fill(getattr(arrays, name), size, value) for size, part in added for name, value in part.items()}
    return arrays._replace(**filled)


def padded_plan(plan, accesses):
    """A plan with drops for the accesses that `padded` adds."""
    return np.concatenate([np.asarray(plan, np.int32), np.zeros(accesses - len(plan), np.int32)])


# (instructions, buffers, accesses) that shipped programs are filled up to.
SHAPES = ((24, 48, 80), (80, 132, 288), (264, 328, 928))


def padded_program(program):
    """The same program filled up to the first of SHAPES that it fits into: parameters of no bytes, and instructions at
    the end that do nothing but read them."""
    length, count, decisions = len(program.instructions), len(program.buffers), len(program.accesses)
    for instructions, buffers, accesses in SHAPES:
        lines, names, reads = instructions - length, buffers - count, accesses - decisions
        if min(lines, names) >= 1 and lines <= reads <= lines * names:
            break
    else:
        return program
    fillers = tuple(Buffer(f"filler {i}", 0, "parameter") for i in range(names))
    shares = [reads // lines + (i < reads % lines) for i in range(lines)]
    idle = tuple(
        Instruction(f"filler {i}", 0.0, tuple((count + b, 0) for b in range(share)), ())
        for i, share in enumerate(shares)
    )
    return replace(program, buffers=program.buffers + fillers, instructions=program.instructions + idle)
