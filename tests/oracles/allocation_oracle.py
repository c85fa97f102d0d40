"""The packing model a second time, in plain Python and another way: every address is tried against every placed buffer.

A placement is a list of (lower, upper, size, offset). Nothing here is shared with the library.
"""


def fits_at(placed, lower, upper, size, offset):
    """Whether a buffer at an address overlaps no placed one in time and in address."""
    return all(
        upper <= other_lower or other_upper <= lower or offset + size <= start or start + other_size <= offset
        for other_lower, other_upper, other_size, start in placed
    )


def free_addresses(placed, lower, upper, size):
    """Where a buffer can lie without room below it: address 0, or the end of a placed buffer live at the same time."""
    ends = [start + other for low, up, other, start in placed if low < upper and lower < up]
    return [offset for offset in sorted({0, *ends}) if fits_at(placed, lower, upper, size, offset)]


def first_fit(placed, lower, upper, size):
    """The lowest free address."""
    return free_addresses(placed, lower, upper, size)[0]


def best_fit(placed, lower, upper, size):
    """The free address with the least room up to the next buffer above it; the lowest of equal ones."""

    def room(offset):
        above = [start for low, up, _, start in placed if low < upper and lower < up and start >= offset + size]
        return min(above, default=float("inf")) - offset

    return min(free_addresses(placed, lower, upper, size), key=lambda offset: (room(offset), offset))


def pack(buffers, order, placement):
    """Peak and offsets of buffers [(lower, upper, size)] placed in an order."""
    find = {"first_fit": first_fit, "best_fit": best_fit}[placement]
    placed, offsets = [], {}
    for number in order:
        lower, upper, size = buffers[number]
        offsets[number] = find(placed, lower, upper, size)
        placed.append((lower, upper, size, offsets[number]))
    return peak(buffers, offsets), [offsets[number] for number in range(len(buffers))]


def peak(buffers, offsets):
    """The end of the topmost buffer."""
    return max(offsets[number] + size for number, (_, _, size) in enumerate(buffers))


def load(buffers):
    """The most that is live at one time."""
    return max(sum(size for low, up, size in buffers if low <= time < up) for time, _, _ in buffers)


def overlaps(buffers, offsets):
    """Pairs of buffers that share an address at a time."""
    return [
        (a, b)
        for a, (lower, upper, size) in enumerate(buffers)
        for b in range(a)
        if not fits_at([(*buffers[b], offsets[b])], lower, upper, size, offsets[a])
    ]


def order_of(ranks, buffers):
    """Buffers by ascending rank; of equal ranks the larger first, then the earlier in the table."""
    return sorted(range(len(buffers)), key=lambda b: (ranks[b], -buffers[b][2], b))
