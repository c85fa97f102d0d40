"""Solve or verify in plain Python, from docs/solve_verify.md: a problem step by step; a tiny one by belief states."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Problem:
    """A problem whose samples and verdicts are known beforehand."""

    answers: list  # groups of the samples to come
    right: list
    verdict: object  # (group, number) -> 0 or 1
    most: int  # verdicts on a group
    tie: list  # of each group
    budget: float
    verify_cost: float
    drawn: list = field(default_factory=list)  # places of samples
    verdicts: dict = field(default_factory=dict)  # group -> list of 0 and 1
    spent: float = 0.0
    accuracy: float | None = None

    def votes(self, group):
        return sum(self.answers[place] == group for place in self.drawn)

    def ranked(self):
        """The five largest groups, the empty ones among them."""
        return sorted(range(len(self.tie)), key=lambda g: (-self.votes(g) - 0.5 * self.tie[g], g))[:5]

    def legal(self):
        room, ranked = self.budget * (1 + 1e-6) - self.spent, self.ranked()
        sample = len(self.drawn) < len(self.answers) and room >= 1
        verify = [
            self.votes(g) > 0 and len(self.verdicts.get(g, [])) < self.most and room >= self.verify_cost for g in ranked
        ]
        answer = [self.votes(g) > 0 or rank == 0 for rank, g in enumerate(ranked)]
        return [sample, *verify, *answer]

    def step(self, action):
        assert self.legal()[action]
        if action == 0:
            self.drawn.append(len(self.drawn))
            self.spent += 1
        elif action <= 5:
            group = self.ranked()[action - 1]
            mine = self.verdicts.setdefault(group, [])
            mine.append(self.verdict(group, len(mine)))
            self.spent += self.verify_cost
        else:
            group = self.ranked()[action - 6]
            members = [self.right[place] for place in self.drawn if self.answers[place] == group]
            self.accuracy = sum(members) / len(members) if members else 0.0


def best_of_by_enumeration(scores, correct, samples):
    """The mean, over all subsets of S samples, of the correctness of a best-scored one, ties shared."""
    found = []
    for subset in itertools.combinations(range(len(scores)), samples):
        top = max(scores[i] for i in subset)
        best = [correct[i] for i in subset if scores[i] == top]
        found.append(sum(best) / len(best))
    return sum(found) / len(found)


def best_policy(chances, *, yes_if_right, yes_if_wrong, budget, verify_cost):
    """The most that any policy reaches on a problem with two answers, by exact belief states.

    A sample is right (answer A) with probability p, else it gives answer B; p is one of `chances`, equally likely. A
    verdict on A is yes with probability `yes_if_right`, on B with `yes_if_wrong`. The answer may be A or B; which of
    the two is right is what the policy does not know: it is the one named A in half of all problems.
    """
    rates = {"yes_if_right": yes_if_right, "yes_if_wrong": yes_if_wrong}
    return belief_values(chances, **rates, budget=budget, verify_cost=verify_cost)((0, 0), ((0, 0), (0, 0)), 0.0)[0]


def belief_values(chances, *, yes_if_right, yes_if_wrong, budget, verify_cost):
    """`(votes, ((yes, no), (yes, no)), spent) -> (value, (action, group))` of the problem of `best_policy`."""

    def likelihood(p, first_is_right, votes, verdicts):
        right = p if first_is_right else 1 - p
        value = right ** votes[0] * (1 - right) ** votes[1]
        for group, (yes, no) in enumerate(verdicts):
            rate = yes_if_right if (group == 0) == first_is_right else yes_if_wrong
            value *= rate**yes * (1 - rate) ** no
        return value

    def weight(first_is_right, votes, verdicts):
        return sum(likelihood(p, first_is_right, votes, verdicts) for p in chances)

    @functools.cache
    def value(votes, verdicts, spent):
        one, other = weight(True, votes, verdicts), weight(False, votes, verdicts)
        if one + other == 0:  # cannot happen
            return 0.0, ("answer", 0)
        worth = [(one if votes[0] else 0) / (one + other), (other if votes[1] else 0) / (one + other)]
        best = (max(worth), ("answer", worth.index(max(worth))))
        if spent + 1 <= budget:
            found = 0.0
            for group in (0, 1):
                after = tuple(v + (g == group) for g, v in enumerate(votes))
                found += (weight(True, after, verdicts) + weight(False, after, verdicts)) * value(
                    after, verdicts, spent + 1
                )[0]
            best = max(best, (found / (one + other), ("sample", 0)), key=_first)
        if spent + verify_cost <= budget:
            for group in (0, 1):
                if votes[group]:
                    found = 0.0
                    for yes in (0, 1):
                        after = tuple(
                            (y + (yes and g == group), n + (not yes and g == group))
                            for g, (y, n) in enumerate(verdicts)
                        )
                        found += (weight(True, votes, after) + weight(False, votes, after)) * value(
                            votes, after, spent + verify_cost
                        )[0]
                    best = max(best, (found / (one + other), ("verify", group)), key=_first)
        return best

    return value


def _first(pair):
    return pair[0]


def hashed(values):
    """Plain Python numbers of an array."""
    return np.asarray(values).tolist()
