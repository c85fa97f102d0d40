"""The dataflow model in plain Python: every loop is walked, every element's words are listed."""

from itertools import product
from math import ceil

DIMENSIONS = "KCRSYX"
CONCERNS = {"weights": "KCRS", "inputs": "CRSYX", "outputs": "KYX"}
PAST = 10**9  # no loop


def tiles_of(design, bounds):
    """{dimension: size} at the outer and the inner level."""
    outer, inner = {}, {}
    for d in DIMENSIONS:
        size, small = design.get(f"outer_{d}", PAST), design.get(f"inner_{d}", PAST)
        if d in "RS":
            size = 1 if design["outer_parallel"] == d else size
            small = 1 if design["inner_parallel"] == d else small
        outer[d] = min(size, bounds[d])
        inner[d] = min(small, outer[d])
    return outer, inner


def steps_along(d, bounds, outer, inner, clusters, cluster, design):
    """[(outer step, inner step, [ranges of the clusters])]: each cluster's ranges one for each of its elements."""
    wide = clusters if design["outer_parallel"] == d else 1
    deep = cluster if design["inner_parallel"] == d else 1
    found = []
    for first in range(0, bounds[d], outer[d] * wide):
        shares = []
        for place in range(wide):
            low = first + place * outer[d]
            shares.append((low, min(low + outer[d], bounds[d])))
        shares = [(low, high) for low, high in shares if low < high]
        longest = max(high - low for low, high in shares)
        for second in range(0, longest, inner[d] * deep):
            held = []
            for low, high in shares:
                mine = []
                for place in range(deep):
                    start = low + second + place * inner[d]
                    stop = min(start + inner[d], high)
                    if start < stop:
                        mine.append((start, stop))
                if mine:
                    held.append(mine)
            found.append((first // (outer[d] * wide), second // (inner[d] * deep), held))
    return found


def pieces_of(held):
    """Ranges of consecutive outputs: clusters that hold what is consecutive have one together."""
    pieces = []
    for low, high in sorted((mine[0][0], mine[-1][1]) for mine in held):
        if pieces and pieces[-1][1] == low:
            pieces[-1] = (pieces[-1][0], high)
        else:
            pieces.append((low, high))
    return pieces


def layer_costs(design, bounds, strides):
    """Counts of one layer, as `dataflow.Counts` names them."""
    bounds = dict(zip(DIMENSIONS, bounds, strict=True))
    cluster = min(design["cluster"], design["elements"])
    clusters = design["elements"] // cluster
    outer, inner = tiles_of(design, bounds)
    along = {d: steps_along(d, bounds, outer, inner, clusters, cluster, design) for d in DIMENSIONS}

    cycles = 1
    for d in DIMENSIONS:
        cycles *= sum(max(stop - start for mine in held for start, stop in mine) for *_, held in along[d])

    loops = [(d, 0) for d in design["outer_order"]] + [(d, 1) for d in design["inner_order"]]
    trips = {}
    for d in DIMENSIONS:
        wide = clusters if design["outer_parallel"] == d else 1
        deep = cluster if design["inner_parallel"] == d else 1
        trips[d, 0], trips[d, 1] = ceil(bounds[d] / (outer[d] * wide)), ceil(outer[d] / (inner[d] * deep))

    def last_of(concerns):
        return max((place for place, loop in enumerate(loops) if loop[0] in concerns and trips[loop] > 1), default=-1)

    # Steps in the order of the loops, as places on each dimension.
    steps = sorted(
        product(*along.values()),
        key=lambda step: [step[DIMENSIONS.index(d)][level] for d, level in loops],
    )

    def words(tensor, step):
        """Words of a step."""
        total = 1
        for d in CONCERNS[tensor]:
            total *= sum(stop - start for mine in step[DIMENSIONS.index(d)][2] for start, stop in mine)
        return total

    def axis(step, rows, window, stride):
        """Inputs along an axis: each piece's first and last."""
        lines, taps = step[DIMENSIONS.index(rows)][2], step[DIMENSIONS.index(window)][2]
        spread = design["outer_parallel"] == rows and trips[rows, 1] > 1
        pieces = [(m[0][0], m[-1][1]) for m in lines] if spread else pieces_of(lines)
        low, high = taps[0][0][0], taps[-1][-1][1]
        return [set(range(start * stride + low, (stop - 1) * stride + high)) for start, stop in pieces]

    def fetches(tensor):
        last = last_of(CONCERNS[tensor])
        total, before, held = 0, None, None
        for step in steps:
            at = [step[DIMENSIONS.index(d)][level] for d, level in loops][: last + 1]
            if at == before:
                continue
            if tensor != "inputs":
                total += words(tensor, step)
            else:
                now = [axis(step, *each) for each in (("Y", "R", strides[0]), ("X", "S", strides[1]))]
                size = sum(stop - start for mine in step[1][2] for start, stop in mine)
                slid = loops[last][0] if last >= 0 and before is not None and at[:-1] == before[:-1] else ""
                for number, dimensions in enumerate(("YR", "XS")):
                    if slid and slid in dimensions:
                        size *= sum(len(mine - held[number][place]) for place, mine in enumerate(now[number]))
                    else:
                        size *= sum(len(mine) for mine in now[number])
                total += size
                held = now
            before = at
        return total

    strides = [min(s, bounds[w]) for s, w in zip(strides, "RS", strict=True)]
    weights, inputs, outputs = (fetches(tensor) for tensor in CONCERNS)
    distinct = bounds["K"] * bounds["Y"] * bounds["X"]

    def fan(tensor):
        times = 1
        for parallel, most, parts in (
            (design["outer_parallel"], clusters, lambda d: ceil(bounds[d] / outer[d])),
            (design["inner_parallel"], cluster, lambda d: ceil(outer[d] / inner[d])),
        ):
            if parallel not in CONCERNS[tensor]:
                times *= min(most, parts(parallel))
        return times

    def room(tile):
        reach = 1
        for (rows, window), stride in zip(("YR", "XS"), strides, strict=True):
            reach *= (tile[rows] - 1) * stride + tile[window]
        return tile["K"] * tile["C"] * tile["R"] * tile["S"] + tile["C"] * reach + tile["K"] * tile["Y"] * tile["X"]

    together = {
        d: min(size * (clusters if design["outer_parallel"] == d else 1), bounds[d]) for d, size in outer.items()
    }
    macs = 1
    for size in bounds.values():
        macs *= size
    return {
        "compute_cycles": cycles,
        "weight_reads": weights,
        "input_reads": inputs,
        "sum_reads": outputs - distinct,
        "output_writes": outputs,
        "fills": weights * fan("weights") + inputs * fan("inputs"),
        "macs": macs,
        "l1_words": room(inner),
        "l2_words": room(together),
    }


def costs(design, layers, words_per_cycle):
    """(cycles, J, mm2) of [(bounds, strides, occurrences)]."""
    cycles = energy = most_l1 = most_l2 = 0
    for bounds, strides, times in layers:
        c = layer_costs(design, bounds, strides)
        crossing = c["weight_reads"] + c["input_reads"] + c["sum_reads"] + c["output_writes"]
        cycles += times * max(c["compute_cycles"], ceil(crossing / words_per_cycle))
        energy += times * 0.5608e-12 * (c["macs"] + 1.68 * (4 * c["macs"] + c["fills"]) + 18.61 * crossing)
        most_l1, most_l2 = max(most_l1, 2 * c["l1_words"]), max(most_l2, 2 * c["l2_words"])
    element = 4470 + 4505.1889 * ceil(most_l1 / 64)
    return cycles, energy, (design["elements"] * element + 4161.536 * ceil(most_l2 / 32768)) * 1e-6
