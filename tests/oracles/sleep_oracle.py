"""Sleep-time compute step by step in plain Python, from the formulas: contexts, policies and best allocations.

Hidden values are handed in: how a context draws them is the environment's own matter, except for the hash.
"""

import math
from typing import NamedTuple

import numpy as np

# accuracy(b, s) = A - B exp(-(b + rho g(s)) / (tau d)), g(s) = G (1 - exp(-s / sigma))
A, B, TAU, G, SIGMA = 0.9, 0.6, 1000.0, 2000.0, 10_000.0
WORD = 2**32


def worth(s):
    return G * (1.0 - math.exp(-s / SIGMA))


def accuracy(b, s, rho, d=1.0):
    return A - B * math.exp(-(b + rho * worth(s)) / (TAU * d))


def tokens_for(wanted, difficulty=1.0):
    """Test-time tokens, b + rho g(s), at which the accuracy is `wanted`, below A."""
    return TAU * difficulty * math.log(B / (A - wanted))


def break_even_tokens(before, after, *, queries, price):
    """Sleep pays while it costs fewer offline tokens: test-time tokens of a query without and with it."""
    return price * queries * (before - after)


def random(seed, counter):
    """MurmurHash3's finaliser of seed + counter times the golden ratio's word, its upper 24 bits as a fraction."""
    word = (seed + counter * 0x9E3779B9) % WORD
    word = (word ^ (word >> 16)) * 0x85EBCA6B % WORD
    word = (word ^ (word >> 13)) * 0xC2B2AE35 % WORD
    return ((word ^ (word >> 16)) >> 8) / 2**24


def difficulty(seed, query):
    return 2.0 ** (2.0 * random(seed, 2 * query) - 1.0)


def difficulty_hint(seed, query, noise):
    error = 2.0 * noise * math.sqrt(12.0) * (random(seed, 2 * query + 1) - 0.5)
    return min(max(math.log2(difficulty(seed, query)) + error, -2.0), 2.0)


class Context(NamedTuple):
    """What a context hides and hints at."""

    queries: int
    rho: float
    hint: float
    seed: int


class Result(NamedTuple):
    """Of an episode."""

    accuracy: float
    sleep_tokens: float
    test_tokens: float
    rewards: list


class Policy(NamedTuple):
    """A design by its values."""

    sleep_share: float
    sleep_slope: float
    test_share: float
    reserve: float
    difficulty_slope: float


def level(value):
    """Halves rounded up, 0 to 20."""
    return min(max(math.floor(value + 0.501), 0), 20)


def choose(policy, context, answered, left, slept, budget, noise):
    """The policy's action."""
    if answered < 0:
        return level((policy.sleep_share + policy.sleep_slope * (2.0 * context.hint - 1.0)) * 20)
    kept = 1.0 - policy.reserve + policy.reserve * left / max(budget - slept, 1e-6)
    doublings = policy.difficulty_slope * difficulty_hint(context.seed, answered, noise)
    return level(policy.test_share * kept * 2.0**doublings * 5)


def play(context, decide, *, budget, mean_queries, price):
    """One episode; `decide(answered, left, slept) -> action`."""
    slept = min(decide(-1, budget, 0.0) / 20 * budget, budget)
    left, test_tokens, answers, rewards = budget - slept, 0.0, [], [0.0]
    for query in range(context.queries):
        spent = min(decide(query, left, slept) / 5 * (budget - slept) / mean_queries, left)
        left -= spent
        test_tokens += spent / price
        before = sum(answers) / len(answers) if answers else 0.0
        answers.append(accuracy(spent / price, slept, context.rho, difficulty(context.seed, query)))
        rewards.append(sum(answers) / len(answers) - before)
    return Result(sum(answers) / len(answers), slept, test_tokens, rewards)


def best_tests(context, room, saved):
    """Greedy by small portions: each goes to the query whose accuracy it raises most."""
    portions = 400
    tokens = [0.0] * context.queries
    scales = [TAU * difficulty(context.seed, query) for query in range(context.queries)]
    for _ in range(portions):
        gains = [math.exp(-(saved + b) / scale) / scale for b, scale in zip(tokens, scales, strict=True)]
        tokens[int(np.argmax(gains))] += room / portions
    return tokens


def best_by_grid(context, *, budget, price):
    """The best accuracy over a grid of sleep tokens, with greedy test-time tokens: what is feasible, so no bound."""
    best = 0.0
    for s in np.linspace(0.0, budget, 41):
        saved = context.rho * worth(s)
        tokens = best_tests(context, (budget - s) / price, saved)
        answers = [accuracy(b, s, context.rho, difficulty(context.seed, query)) for query, b in enumerate(tokens)]
        best = max(best, sum(answers) / len(answers))
    return best


def cheapest_by_grid(tokens, *, rho, queries, price):
    """(offline tokens, cost of a query) of the cheapest sleep, each query needing b + rho g(s) = tokens."""
    grid = np.linspace(0.0, 200_000.0, 200_001)
    test = np.maximum(tokens - rho * G * (1.0 - np.exp(-grid / SIGMA)), 0.0)
    cost = grid / queries + price * test
    place = int(cost.argmin())
    return grid[place], cost[place]
