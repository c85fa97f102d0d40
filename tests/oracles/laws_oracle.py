"""The laws of repeated sampling by enumeration, exact fractions and simulation: nothing shared with the library."""

import itertools
import math
import random
from fractions import Fraction


def pass_at(attempts, successes, k):
    """The share of the k-subsets of recorded attempts with a success in them, counted one by one."""
    outcomes = [True] * successes + [False] * (attempts - successes)
    subsets = list(itertools.combinations(outcomes, k))
    return Fraction(sum(any(subset) for subset in subsets), len(subsets))


def all_of(attempts, successes, k):
    """The share of the k-subsets that are successes throughout."""
    outcomes = [True] * successes + [False] * (attempts - successes)
    subsets = list(itertools.combinations(outcomes, k))
    return Fraction(sum(all(subset) for subset in subsets), len(subsets))


def beta_coverage(alpha, beta, k):
    """1 - E[(1 - p)^k] for whole k, as the product of (beta + i) / (alpha + beta + i)."""
    failed = 1.0
    for i in range(k):
        failed *= (beta + i) / (alpha + beta + i)
    return 1.0 - failed


def beta_log_likelihood(alpha, beta, attempts, successes):
    """Of the beta-binomial, without the binomial coefficients."""
    total = 0.0
    for n, c in zip(attempts, successes, strict=True):
        total += sum(math.log(alpha + i) for i in range(c)) + sum(math.log(beta + i) for i in range(n - c))
        total -= sum(math.log(alpha + beta + i) for i in range(n))
    return total


def chain(p, ceiling, rounds):
    """TTSPM's sequential form: a two-state chain, absorbed with probability p in each round."""
    right = 0.0
    for _ in range(rounds):
        right += (1.0 - right) * p
    return ceiling * right


def expected_rounds(p, limit):
    """Of a chain that stops at the first success or after `limit` rounds."""
    total, going = 0.0, 1.0
    for _ in range(limit):
        total += going
        going *= 1.0 - p
    return total


def simulated_parallel(p, k, episodes, seed):
    """The share of episodes in which one of k samples is right."""
    generator = random.Random(seed)
    return sum(any(generator.random() < p for _ in range(k)) for _ in range(episodes)) / episodes


def matched_compute(size_ratio, inference_ratio):
    """The multiple at which both cost alike, solved from 6 N D + 2 N T k = M (6 N D + 2 N T), D = 1, T = the ratio."""
    large = size_ratio * (6.0 + 2.0 * inference_ratio)
    return (large - 6.0) / (2.0 * inference_ratio)


def marginal_gain(k, *, success, ceiling=1.0):
    """TTSPM: F(k + 1) - F(k) = ceiling p (1 - p)^k."""
    return ceiling * success * (1 - success) ** k


def sequential_tokens(k, *, success, tokens=1.0):
    """Expected tokens of at most k rounds of `tokens` each that stop at the first success."""
    return tokens * (1 - (1 - success) ** k) / success
