"""A batch of dsegym/ReasoningCascade-v0, run by run in plain Python, and the best that hindsight can do.

Written from the rules in `envs/reasoning/cascade.py`'s docstring. Models and their rows are in the ladder's order.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

SLACK = 1 + 1e-6  # of affordability, for rounding


@dataclass
class Batch:
    """right, cost, quantile: [model][question]; mean: [model], cost on the training questions; budget of the batch."""

    right: list
    cost: list
    quantile: list
    mean: list
    budget: float
    at: int = 0
    ran: list = field(default_factory=list)  # models, in order, on the question that is asked
    last: bool = False
    spent: float = 0.0
    solved: int = 0
    runs: int = 0

    @property
    def questions(self):
        return len(self.right[0])

    @property
    def over(self):
        return self.at == self.questions

    def runnable(self):
        return [
            model
            for model in range(len(self.mean))
            if not self.over and model not in self.ran and self.spent + self.mean[model] <= self.budget * SLACK
        ]

    def act(self, action):
        """0 moves on, as does what is not legal; m runs model m - 1."""
        model = action - 1
        if model not in self.runnable():
            self.solved += self.last
            self.at, self.ran, self.last = self.at + 1, [], False
            return
        left = self.budget - self.spent
        price = self.cost[model][self.at]
        self.last = bool(self.right[model][self.at]) and price <= left * SLACK
        self.spent += min(price, left)
        self.ran.append(model)
        self.runs += 1


@dataclass(frozen=True)
class Policy:
    """Models are places in the ladder."""

    first: int
    first_limit: float
    second: int
    second_limit: float
    third: int
    reserve: bool

    def choose(self, batch):
        runnable = batch.runnable()
        if not runnable:
            return 0
        fresh = not batch.ran
        kept = batch.mean[self.first] * (batch.questions - batch.at - 1) if self.reserve else 0.0

        def able(model):
            fits = fresh or batch.spent + batch.mean[model] + kept <= batch.budget * SLACK
            return model in runnable and fits

        def long(model, limit):
            return limit < 1 and batch.quantile[model][batch.at] >= limit

        wanted = [
            (self.first, True),
            (self.second, self.first not in batch.ran or long(self.first, self.first_limit)),
            (
                self.third,
                long(self.second, self.second_limit) if self.second in batch.ran else self.first not in batch.ran,
            ),
        ]
        for model, going_on in wanted:
            if going_on and able(model):
                return model + 1
        return min(runnable) + 1 if fresh else 0


def play(batch, policy):
    """The batch when all its questions are left."""
    while not batch.over:
        batch.act(policy.choose(batch))
    return batch


def most_solved(right, cost, budget):
    """The most questions that can be answered right within a budget, by trying every choice of a model or none."""
    models, questions = len(right), len(right[0])
    best = 0
    for choice in itertools.product(range(-1, models), repeat=questions):
        taken = [(model, question) for question, model in enumerate(choice) if model >= 0]
        if sum(cost[model][question] for model, question in taken) <= budget:
            best = max(best, sum(bool(right[model][question]) for model, question in taken))
    return best
