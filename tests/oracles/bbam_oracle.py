"""Sub-question budgets step by step in plain Python, from the formulas: plans, schedulers, policies, best tokens."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

BUDGETS = (200, 250, 350, 450, 600)
SCALES = (10.0, 14.0, 18.0, 24.0, 32.0)
CREDITS = {3: (0.219, 0.306, 0.475), 4: (0.182, 0.230, 0.266, 0.322), 5: (0.130, 0.184, 0.223, 0.223, 0.240)}
LEVELS = (43, 90, 105, 128, 134)
COUNTS = (
    {1: 0.02, 2: 0.61, 3: 0.37},
    {2: 0.42, 3: 0.58},
    {3: 0.87, 4: 0.13},
    {4: 0.91, 5: 0.09},
    {4: 0.078, 5: 0.859, 6: 0.048, 7: 0.015},
)
WORD = 2**32


# --- The model --------------------------------------------------------------------------------------------------------


def uncertainty(b, c, beta, u):
    return c / b**beta + u


def success(b, c, beta, u):
    return (1.0 - u) * max(0.0, 1.0 - c / b**beta) if b > 0 else 0.0


class Plan(NamedTuple):
    """What a question's plan shows (level 0 to 4, credits) and hides (c, beta, u of each sub-question)."""

    level: int
    credits: Sequence
    c: Sequence
    beta: Sequence
    u: Sequence

    def __len__(self):
        return len(self.credits)


def utility_of(kind, plan, tokens):
    n = len(plan)
    if kind == "sum":
        return sum(1.0 - uncertainty(tokens[j], plan.c[j], plan.beta[j], plan.u[j]) for j in range(n)) / n
    solved = [success(tokens[j], plan.c[j], plan.beta[j], plan.u[j]) for j in range(n)]
    return math.prod(solved) if kind == "all" else sum(solved) / n


def best_whole_tokens(kind, plan, budget, least=0):
    """(utility, tokens) of the best allocation of whole tokens, by dynamic programming over every number of them."""
    n = len(plan)
    join = np.multiply if kind == "all" else np.add
    best, choices = np.full(budget + 1, 1.0 if kind == "all" else 0.0), []
    for j in range(n):
        value = np.full(budget + 1, -np.inf)
        for b in range(max(least, 1 if kind == "sum" else 0), budget + 1):
            value[b] = (
                1.0 - uncertainty(b, plan.c[j], plan.beta[j], plan.u[j])
                if kind == "sum"
                else success(b, plan.c[j], plan.beta[j], plan.u[j])
            )
        start = np.argmax(value > -np.inf)
        after, chosen = np.full(budget + 1, -np.inf), np.zeros(budget + 1, int)
        for total in range(start, budget + 1):
            joined = join(best[total - np.arange(start, total + 1)], value[start : total + 1])
            chosen[total] = start + int(np.argmax(joined))
            after[total] = joined[chosen[total] - start]
        best, choices = after, [*choices, chosen]
    left, tokens = int(np.argmax(best)), []
    value = best[left]
    for chosen in reversed(choices):
        tokens.insert(0, int(chosen[left]))
        left -= tokens[0]
    return (value if kind == "all" else value / n), tokens


# --- The released schedulers ------------------------------------------------------------------------------------------


def position(name, i, n):
    if name == "constant":
        return 1.0
    if name == "linear":
        return float(n - i)
    if name == "polynomial":
        return float((n - i) ** 2)
    if name == "exponential":
        return 0.9**i
    return 1.0 if n == 1 else 0.5 * (1 + math.cos(math.pi * i / (n - 1))) + 0.1


def handed_out(weights, budget):
    """floor(share B), the remainder one by one to the largest shares."""
    tokens = rounded_down(weights, budget)
    order = sorted(range(len(weights)), key=lambda i: -weights[i])
    for i in order[: budget - sum(tokens)]:
        tokens[i] += 1
    return tokens


def rounded_down(weights, budget):
    return [whole(weight / sum(weights) * budget) for weight in weights]


def whole(tokens):
    """A thousandth of a token below a whole number counts as it."""
    return math.floor(tokens + 1e-3)


def scheduled(name, credits, budget):
    return handed_out([w * position(name, i, len(credits)) for i, w in enumerate(credits)], budget)


# --- Plans ------------------------------------------------------------------------------------------------------------


def random(seed, counter):
    """MurmurHash3's finaliser of seed + counter times the golden ratio's word, its upper 24 bits as a fraction."""
    word = (seed + counter * 0x9E3779B9) % WORD
    word = (word ^ (word >> 16)) * 0x85EBCA6B % WORD
    word = (word ^ (word >> 13)) * 0xC2B2AE35 % WORD
    return ((word ^ (word >> 16)) >> 8) / 2**24


def spread(seed, counter):
    return math.sqrt(12.0) * (random(seed, counter) - 0.5)


def which(u, shares):
    """The first entry whose cumulative share exceeds u."""
    total = 0.0
    for key, share in shares.items():
        total += share
        if u < total:
            return key
    return list(shares)[-1]


def trend(world, n):
    """Of the best share of the tokens, mean 1."""
    rows = {
        "measured": CREDITS.get(n, [1 + i / max(n - 1, 1) for i in range(n)]),
        "decreasing": [n - i for i in range(n)],
        "increasing": [i + 1 for i in range(n)],
        "equal": [1] * n,
    }
    return [each * n / sum(rows[world]) for each in rows[world]]


def draw(seed, world="measured", spread_beta=0.5, credit_noise=0.3):
    """The plan of a 32-bit seed."""
    level = which(random(seed, 0), {k: number / sum(LEVELS) for k, number in enumerate(LEVELS)})
    n = which(random(seed, 8), COUNTS[level])
    alike = world == "equal"
    c, beta, u, credits, error = [], [], [], [], 0.0
    for j in range(n):
        own = 0 if alike else j
        deviation = 0.0 if alike else 0.35 * spread(seed, 24 + j)
        b0 = SCALES[level] * math.exp(0.4 * spread(seed, 16)) * (trend(world, n)[j] * math.exp(deviation)) ** 2
        beta.append(1.0 + spread_beta * random(seed, 32 + own))
        c.append(b0 ** beta[j])
        u.append(0.2 * random(seed, 40 + own))
        fresh = spread(seed, 48 + j)
        error = fresh if j == 0 else 0.6 * error + 0.8 * fresh
        credits.append(trend("measured", n)[j] * math.exp(deviation + credit_noise * error))
    return Plan(level, [each / sum(credits) for each in credits], c, beta, u)


# --- Episodes ---------------------------------------------------------------------------------------------------------


class Result(NamedTuple):
    utility: float
    tokens: list
    rewards: list
    residuals: list
    surprises: list


def estimate(kind, plan, j, tokens):
    """Of the residual, from level and credit."""
    left = SCALES[plan.level] * (plan.credits[j] * len(plan)) ** 2 / max(tokens, 1)
    return left + 0.1 if kind == "sum" else 0.1 + 0.9 * min(left, 1.0)


def least_of(kind, plan, budget):
    return max(budget // (10 * len(plan)), 1) if kind == "sum" else 0


def play(kind, plan, budget, choose):
    """One episode, sub-question by sub-question; `choose(j, left, surprise)` gives its tokens, legal or not."""
    n, least = len(plan), least_of(kind, plan, budget)
    left, utility, surprise = budget, 0.0, 0.0
    spent, rewards, residuals, surprises = [], [], [], []
    for j in range(n):
        tokens = min(max(choose(j, left, surprise), least), left - least * (n - 1 - j))
        what = (plan.c[j], plan.beta[j], plan.u[j])
        residual = uncertainty(tokens, *what) if kind == "sum" else 1.0 - success(tokens, *what)
        before = utility
        if kind == "all":
            utility = (1.0 if j == 0 else utility) * (1.0 - residual)
        else:
            utility += (1.0 - residual) / n
        surprise = min(max(math.log(residual / estimate(kind, plan, j, tokens)), -2.0), 2.0)
        left -= tokens
        spent.append(tokens)
        rewards.append(utility - before)
        residuals.append(residual)
        surprises.append(surprise)
    return Result(utility, spent, rewards, residuals, surprises)


def policy(values, plan, budget):
    """`choose` of a design by its values."""
    n, weights = len(plan), []
    for i, credit in enumerate(plan.credits):
        weight = (credit * n) ** values["credit_exponent"]
        weight *= position(values["schedule"], i, n) ** values["sharpness"]
        weights.append(weight if credit * n <= values["drop_above"] else 0.0)
    fixed = (handed_out if values["plan"] == "fixed" else rounded_down)(weights, budget)

    def choose(j, left, surprise):
        if values["plan"] != "adaptive":
            return fixed[j]
        own, later = weights[j] * math.exp(values["surprise"] * surprise), sum(weights[j + 1 :])
        if own == 0:
            return 0
        return whole((1 - (values["reserve"] if later > 0 else 0)) * left * own / (own + later))

    return choose
