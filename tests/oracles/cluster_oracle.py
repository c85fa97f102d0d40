"""Splitwise's clusters request by request, in plain Python: what the pools' closed forms are held against.

Imports nothing of the package. Times in seconds. A request is (prompt tokens, output tokens).
"""

from __future__ import annotations

import heapq
import itertools
import random
import statistics


def interpolated(knots, at):
    """Piecewise linear through [(x, y)], whose first and last segments go on."""
    knots = sorted(knots)
    for (x0, y0), (x1, y1) in itertools.pairwise(knots):
        if at < x1 or (x1, y1) == knots[-1]:
            return y0 + (at - x0) * (y1 - y0) / (x1 - x0)
    raise AssertionError


def medians_by_tokens(rows, column):
    """[(batch tokens, median)] of rows of the raw table, as dicts of texts."""
    groups = {}
    for row in rows:
        groups.setdefault(int(row["prompt_size"]) * int(row["batch_size"]), []).append(float(row[column]))
    return [(tokens, statistics.median(values)) for tokens, values in sorted(groups.items())]


def prompt_waits(rate, servers, services, shares, count, seed):
    """[(class, wait)] of Poisson arrivals at one queue before so many servers, first come first served."""
    luck, clock, free, found = random.Random(seed), 0.0, [0.0] * servers, []
    for _ in range(count):
        clock += luck.expovariate(rate)
        (kind,) = luck.choices(range(len(services)), shares)
        start = max(clock, heapq.heappop(free))
        heapq.heappush(free, start + services[kind])
        found.append((kind, start - clock))
    return found


def together(rate, instances, requests, shares, mixed, step, count, seed):
    """[(class, first token, mean of the others, end to end)] of instances that serve both phases in turn.

    A step with a prompt takes mixed(prompt tokens + running), one without step(running); each gives every request that
    runs a token. One prompt goes into a step.
    """
    luck, clock, arrivals = random.Random(seed), 0.0, [[] for _ in range(instances)]
    for place in range(count):
        clock += luck.expovariate(rate * instances)
        (kind,) = luck.choices(range(len(requests)), shares)
        arrivals[place % instances].append((clock, kind))
    found = []
    for own in arrivals:
        now, place, running = 0.0, 0, []
        while place < len(own) or running:
            if not running and own[place][0] > now:
                now = own[place][0]
            if place < len(own) and own[place][0] <= now:
                came, kind = own[place]
                place += 1
                now += mixed(requests[kind][0] + len(running))
                joined = [[kind, came, now, round(requests[kind][1])]]
            else:
                now += step(len(running))
                joined = []
            for each in running:
                each[3] -= 1
                if each[3] <= 0:
                    kind, came, first, _ = each
                    found.append((kind, first - came, (now - first) / requests[kind][1], now - came))
            running = [each for each in running if each[3] > 0] + joined
    return found


def percentile(values, share):
    """The value that a share of the values does not exceed."""
    return sorted(values)[min(int(share * len(values)), len(values) - 1)]


def cluster(prompts, tokens, rates, usd_per_h, power_kw):
    """(requests/s, $/h, kW) of (type, machines) of each pool; rates by pool, type and machines."""
    (prompt_type, n_p), (token_type, n_t) = prompts, tokens
    if n_p == 0:
        rate = rates["together"][token_type][n_t]
    else:
        rate = min(rates["prompt"][prompt_type][n_p], rates["token"][token_type][n_t])
    pools = ((prompt_type, n_p), (token_type, n_t))
    return rate, sum(n * usd_per_h[kind] for kind, n in pools), sum(n * power_kw[kind] for kind, n in pools)
