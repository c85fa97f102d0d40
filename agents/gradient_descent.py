"""Gradient search on the smooth relaxation, with Adam by Optax; the exact model scores every step's rounding."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .base import Agent
from .referee import Referee

__all__ = ["GradientDescent"]


@dataclass(frozen=True)
class GradientDescent(Agent):
    """Adam on the logits of a categorical distribution per parameter, from many random starts at once.

    Each step of each start costs its most probable design exactly: one sample. After `steps` the starts are redrawn.

    Attributes:
        starts: that descend together.
        steps: of a start.
        learning_rate: Adam's.
        start_spread: standard deviation of the first logits, which are normal around 0.
    """

    starts: int = 10
    steps: int = 50
    learning_rate: float = 0.3
    start_spread: float = 1.0

    name = "gradient_descent"
    summary = "Adam on the cost model's smooth relaxation, multi-start (Optax)"
    libraries = ("optax",)
    needs = ("relaxation",)
    hyperparameters: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "starts": (5, 10, 20),
        "steps": (20, 50, 100),
        "learning_rate": (0.03, 0.1, 0.3, 1.0),
        "start_spread": (0.3, 1.0, 3.0),
    }
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {
        "starts": (1, 100_000),
        "steps": (1, 1_000_000),
        "learning_rate": (1e-6, 100),
        "start_spread": (0, 100),
    }

    def search(self, referee: Referee, seed: int) -> None:
        """Descends until the budget is spent."""
        import jax

        generator = np.random.default_rng(seed)
        initialise, advance = _adam(self.learning_rate)
        while True:
            logits = [
                generator.normal(0.0, self.start_spread, (self.starts, count)).astype(np.float32)
                for count in referee.space.cardinalities
            ]
            state = initialise(logits)
            for _ in range(self.steps):
                weights = [np.asarray(jax.nn.softmax(value)) for value in logits]
                _, gradients = referee.evaluate_relaxed(weights)
                logits, state = advance(logits, state, gradients)


@functools.lru_cache(maxsize=16)
def _adam(learning_rate: float):
    """Adam on logits, given gradients with respect to their softmax; compiled once per learning rate."""
    import jax
    import optax

    optimiser = optax.adam(learning_rate)

    @jax.jit
    def advance(logits, state, gradients):
        _, pull_back = jax.vjp(lambda values: [jax.nn.softmax(value) for value in values], logits)
        updates, state = optimiser.update(pull_back(gradients)[0], state)
        return optax.apply_updates(logits, updates), state

    return optimiser.init, advance
