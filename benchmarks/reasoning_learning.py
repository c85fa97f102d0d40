"""Policies that learn to decide, beside the rules and the oracle, on the held-out problems of test-time environments.

PPO (`agents/learners/ppo.py`) trains on the form `decisions`, whose episodes are training problems; its greedy policy
then plays the held-out episodes, on which the rules and the oracle are scored, too.

    python benchmarks/reasoning_learning.py --steps 10000000 --seeds 0 1
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from timing import report

import dsegym
from dsegym.agents.learners.base import greedy
from dsegym.agents.learners.networks import default_kind
from dsegym.agents.learners.ppo import ProximalPolicyOptimisation
from dsegym.agents.learners.trainer import train
from dsegym.envs.core.functional import play_cases

# Environment and options.
INSTANCES: tuple[tuple[str, dict[str, object]], ...] = (
    ("dsegym/BatchBestOfN-v0", {"data": "humaneval", "samples": 4}),
    ("dsegym/BatchBestOfN-v0", {"data": "beta", "samples": 4, "rounds": 4}),
    ("dsegym/SubQuestionBudget-v0", {}),
    ("dsegym/SleepTime-v0", {}),
)


def compare(scenario: str, options: dict[str, object], steps: int, seeds: Sequence[int]) -> None:
    """Prints the failures of rules, oracle and learned policies on an instance."""
    problem = dsegym.make_problem(scenario, **options)
    print(f"{scenario} ({', '.join(f'{key}={value}' for key, value in options.items()) or 'defaults'}), failure")
    rules = {name: float(problem.evaluate_held_out(make()).objective[0]) for name, make in problem.baselines.items()}
    best = min(rules, key=lambda name: rules[name])
    reference, bound = problem.reference.value, problem.bound.value
    report(f"{problem.bound.name}", f"{bound:.4f}")
    report(f"{problem.reference.name} (reference)", f"{reference:.4f}")
    report(f"best rule, {best}", f"{rules[best]:.4f}", "")
    env = problem.functional_env("decisions")
    learner = ProximalPolicyOptimisation(units=32 if default_kind(env) == "scorer" else 64)
    training = problem.as_searched.params
    held_out = jax.tree.map(jnp.asarray, problem.held_out_params)

    @jax.jit
    def failures(variables):
        act = greedy(learner.network(env), variables)

        def decide(state, case, step):
            return act(env.observation(state, held_out), env.action_mask(state, held_out), None)

        last = play_cases(env, decide, held_out)
        return jax.vmap(lambda state: env.evaluation(state, held_out).objective)(last)

    for seed in seeds:
        start = time.perf_counter()
        trained = train(learner, env, training, steps=steps, seed=seed)
        seconds = time.perf_counter() - start
        found = np.asarray(failures(trained.variables))
        error = found.std(ddof=1) / np.sqrt(len(found))
        score = (reference - found.mean()) / (reference - bound)
        report(
            f"PPO, {steps:,} steps in {seconds:,.0f} s ({steps / seconds:,.0f}/s), seed {seed}",
            f"{found.mean():.4f} +- {error:.4f}, score {score:.2f}",
            "between reference and oracle",
        )


def main(arguments: Sequence[str] = ()) -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10_000_000, help="decisions that PPO trains on")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument(
        "--instances", type=int, nargs="+", default=list(range(len(INSTANCES))), help="places in INSTANCES"
    )
    chosen = parser.parse_args(arguments)
    for place in chosen.instances:
        compare(*INSTANCES[place], chosen.steps, chosen.seeds)


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
