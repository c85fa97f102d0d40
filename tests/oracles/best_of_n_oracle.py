"""Best of N in plain Python, from docs/batch_best_of_n.md: a batch sample by sample, and rules of allocation."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

MASK = 0xFFFFFFFF


def luck(seed, *words):
    """A number in [0, 1): Murmur3's finaliser after each word."""
    x = seed & MASK
    for word, factor in zip(words, (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D), strict=False):
        x ^= ((word + 1) * factor) & MASK
        x = ((x ^ (x >> 16)) * 0x85EBCA6B) & MASK
        x = ((x ^ (x >> 13)) * 0xC2B2AE35) & MASK
        x ^= x >> 16
    return (x >> 8) / 2**24


@dataclass
class Batch:
    """A batch of recorded questions, unit costs unless `tokens`; played by `step`, a question at a time."""

    seed: int
    left: list  # recorded attempts
    right_left: list  # successes among them
    tokens_right: list
    tokens_wrong: list
    budget: float
    tokens: bool = False
    recorded: bool = True
    rates: tuple = (1.0, 0.0)
    spent: float = 0.0
    history: list = field(default_factory=list)  # (question, right, accepted)

    def legal(self):
        """Questions that can be sampled."""
        found = []
        for i in range(len(self.left)):
            worst = max(self.tokens_right[i], self.tokens_wrong[i]) if self.tokens else 1
            if self.left[i] > 0 and self.spent + worst <= self.budget * (1 + 1e-6):
                found.append(i)
        return found

    def step(self, question):
        """One sample."""
        assert question in self.legal()
        number = sum(q == question for q, _, _ in self.history)
        chance = self.right_left[question] / (self.left[question] if self.recorded else 1)
        right = luck(self.seed, question, number, 0) < chance
        if self.rates == (1.0, 0.0):
            accepted = right
        else:
            accepted = luck(self.seed, question, number, 1) < self.rates[0 if right else 1]
        if self.recorded:
            self.left[question] -= 1
            self.right_left[question] -= right
        self.spent += (self.tokens_right if right else self.tokens_wrong)[question] if self.tokens else 1
        self.history.append((question, right, accepted))

    def accuracy(self):
        """The expected share of questions that are answered right."""
        total = 0.0
        for i in range(len(self.left)):
            mine = [(right, accepted) for q, right, accepted in self.history if q == i]
            pool = [right for right, accepted in mine if accepted] or [right for right, _ in mine]
            total += sum(pool) / len(pool) if pool else 0.0
            if self.rates == (1.0, 0.0) and not any(accepted for _, accepted in mine):
                total -= sum(pool) / len(pool) if pool else 0.0
        return total / len(self.left)


def play_rule(p, budget, choose, generator):
    """The share solved of independent questions: `choose(attempts, solved) -> question`, one sample at a time."""
    attempts, solved = [0] * len(p), [False] * len(p)
    for _ in range(budget):
        if all(solved):
            break
        question = choose(attempts, solved)
        attempts[question] += 1
        solved[question] |= bool(generator.random() < p[question])
    return sum(solved) / len(p)


def best_expected(p_values, weights, budget):
    """The most that any policy solves in expectation, and what the largest mean does, by dynamic programming.

    Args:
        p_values, weights: per question, the values that p may take, and their probabilities.
        budget: samples.
    """
    memory = {}

    def mean(question, failures):
        weight = [w * (1 - p) ** failures for p, w in zip(p_values[question], weights[question], strict=True)]
        return sum(w * p for w, p in zip(weight, p_values[question], strict=True)) / sum(weight)

    def value(state, left):  # state: failures so far of each question, None once solved
        if not left or all(failures is None for failures in state):
            return 0.0
        if (state, left) not in memory:
            options = []
            for i, failures in enumerate(state):
                if failures is not None:
                    chance = mean(i, failures)
                    won = (*state[:i], None, *state[i + 1 :])
                    lost = (*state[:i], failures + 1, *state[i + 1 :])
                    options.append(chance * (1 + value(won, left - 1)) + (1 - chance) * value(lost, left - 1))
            memory[state, left] = max(options)
        return memory[state, left]

    def greedy(state, left):
        if not left or all(failures is None for failures in state):
            return 0.0
        i = max((i for i, f in enumerate(state) if f is not None), key=lambda i: mean(i, state[i]))
        chance = mean(i, state[i])
        won, lost = (*state[:i], None, *state[i + 1 :]), (*state[:i], state[i] + 1, *state[i + 1 :])
        return chance * (1 + greedy(won, left - 1)) + (1 - chance) * greedy(lost, left - 1)

    start = (0,) * len(p_values)
    return value(start, budget), greedy(start, budget)


def beta_posterior(hint, sigma, alpha, beta):
    """(mean, variance) of p ~ Beta(alpha, beta) given logit p plus noise, by quadrature."""
    p = (np.arange(200_000) + 0.5) / 200_000
    log = (alpha - 1) * np.log(p) + (beta - 1) * np.log1p(-p)
    log += -0.5 * ((hint - np.log(p / (1 - p))) / sigma) ** 2
    weight = np.exp(log - log.max())
    mean = float((weight * p).sum() / weight.sum())
    return mean, float((weight * (p - mean) ** 2).sum() / weight.sum())


def logit(p):
    return math.log(p / (1 - p))


# Numbers of attempts that are fixed beforehand; five bins of difficulty: Snell et al., arXiv 2408.03314, section 3.


def static_solved(p, attempts):
    """The expected share solved where question i gets attempts[i], both [Q]."""
    return float(np.mean(-np.expm1(attempts * np.log1p(-np.minimum(p, 1 - 1e-12)))))


def static_optimum(p, budget):
    """int64[Q]: the best numbers of attempts for known p: the B largest of the falling gains p (1 - p)^k."""
    gains = np.where(p > 0, p, -1.0).astype(float)
    attempts = np.zeros(len(p), np.int64)
    for _ in range(budget):
        best = int(gains.argmax())
        attempts[best] += 1
        gains[best] *= 1 - p[best]
    return attempts


def static_bins(p, budget, bins=5):
    """int64[Q]: the best numbers of attempts that are equal within each of `bins` equal shares of difficulty.

    The bin with the largest mean gain is served next; the last one in part, as far as the budget lasts.
    """
    groups = np.array_split(np.argsort(-p, kind="stable"), bins)
    attempts = np.zeros(len(p), np.int64)
    left = budget
    while left:
        gains = [float(np.mean(p[group] * (1 - p[group]) ** attempts[group])) for group in groups]
        served = np.sort(groups[int(np.argmax(gains))])[:left]  # within a bin no question is known to be easier
        attempts[served] += 1
        left -= len(served)
    return attempts
