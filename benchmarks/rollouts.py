"""Lane-steps a second of a policy that competes: compiled rollouts against the referee's vector environment.

The policy is the same, two small layers; through the vector environment it is jitted alone, and observations, actions
and outcomes cross at every step. Both are measured in this process and, as in a competition, through an agent's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from timing import paired_seconds, report

import dsegym
from dsegym import Agent, Referee
from dsegym.agents.scorekeeper import Scorekeeper
from dsegym.experiments.agent_process import Job
from dsegym.experiments.isolation import search_apart

SCENARIO, FORM = "dsegym/AcceleratorSizing-v0", "sequential"
LANES, STEPS, BUDGET = (16, 1024), 64, 10**8


def players(referee: Referee, lanes: int) -> tuple[Callable[[], object], Callable[[], object]]:
    """A rollout, and the same number of steps of the vector environment."""
    import jax
    import jax.numpy as jnp

    observations, actions = referee.spaces(FORM)
    generator = np.random.default_rng(0)
    weights = [
        generator.normal(size=shape).astype(np.float32) * 0.1
        for shape in ((observations.shape[0], 64), (64, actions.n))
    ]

    def policy(weights: Any, observation: Any, mask: Any, key: Any) -> Any:
        logits = jnp.tanh(observation @ weights[0]) @ weights[1]
        return jax.random.categorical(key, jnp.where(mask, logits, -1e9))

    act = jax.jit(jax.vmap(policy, (None, 0, 0, 0)))
    env = referee.vector_env(lanes, FORM)
    observation, info = env.reset(seed=0)
    mask = info["action_mask"].astype(bool)

    def stepped() -> None:
        seen, legal = observation, mask
        for key in jax.random.split(jax.random.key(0), STEPS):
            action = act(weights, seen, legal, jax.random.split(key, lanes))
            seen, _, _, _, info = env.step(np.asarray(action))
            legal = info["action_mask"].astype(bool)

    return lambda: referee.rollout(policy, weights, lanes, STEPS, 0, FORM), stepped


def show(referee: Referee, where: str) -> None:
    """Lane-steps a second of both, and their ratio."""
    for lanes in LANES:
        rolled_s, stepped_s, ratio = paired_seconds(*players(referee, lanes), pairs=7)
        report(f"{where}, {lanes} lanes: rollout", f"{lanes * STEPS / rolled_s:,.0f}")
        report(f"{where}, {lanes} lanes: vector environment", f"{lanes * STEPS / stepped_s:,.0f}")
        report(f"{where}, {lanes} lanes: ratio", f"{ratio:.1f}", "at least 3" if lanes == LANES[0] else "")


@dataclass(frozen=True)
class Measured(Agent):
    """Measures in its own process, and prints."""

    name = "measured"
    summary = "measures"

    def search(self, referee: Referee, seed: int) -> None:
        """Prints the rates."""
        show(referee, "an agent's own process")


def main() -> None:
    """Prints the table."""
    print(f"Rollouts: lane-steps a second, {STEPS} steps, {SCENARIO}, {FORM}", flush=True)
    problem = dsegym.make_problem(SCENARIO)
    show(Referee(problem, BUDGET), "one process")
    keeper = Scorekeeper(problem, BUDGET, record_bytes=2**33)
    ended = search_apart(Job(f"{Path(__file__).stem}:Measured", {}, 0, keeper.space, keeper.budget), keeper)
    assert ended.status == "finished", ended.message


if __name__ == "__main__":
    main()
