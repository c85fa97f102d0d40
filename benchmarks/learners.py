"""JAX PPO beside stable-baselines3's: the scores of both after as many steps, training steps a second, memory.

Scores: same hyperparameters, lanes and network (two layers of 64, one tower for the policy, one for the value); the
greedy policies play the cases that policies are scored on. 1 is the bound, 0 the reference. Where there are masks the
peer is sb3-contrib's MaskablePPO, and stable-baselines3's PPO, which does not know them, stands beside it.

Speed: our PPO with its default hyperparameters; stable-baselines3's PPO on 8 environments of `gymnasium.make`, and on
64 lanes of `gymnasium.make_vec`, with as many epochs and minibatches of an update, and with its own defaults, 10 epochs
of minibatches of 64. All take turns; torch has one thread, XLA all. Compilation is left out.

    python benchmarks/learners.py --steps 100000 --seeds 5
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import psutil
import scipy.stats
import torch
from stable_baselines3.common.env_util import make_vec_env
from timing import paired_seconds, report

import dsegym
from dsegym.agents.learners.base import greedy
from dsegym.agents.learners.ppo import ProximalPolicyOptimisation
from dsegym.agents.learners.stable_baselines3_ppo import Acting, reference_model
from dsegym.agents.learners.trainer import train, train_seeds
from dsegym.envs.faces.stable_baselines3_env import StableBaselines3Env

LANES, SINGLE = 64, 8  # of a vector environment; environments one after the other
EQUAL = ProximalPolicyOptimisation(
    lanes=LANES, rollout=32, epochs=4, minibatches=4, learning_rate=1e-3, architecture="mlp"
)
FAST = ProximalPolicyOptimisation(architecture="mlp")
SEEDS_AT_ONCE = 4
PEER_STEPS = 2048  # of one measurement
Act = Callable[[Any, Any], Any]  # (observations [C, ...], masks [C, A] or None) -> actions [C]


class Case(NamedTuple):
    """An environment."""

    scenario: str
    form: str
    options: dict[str, Any]


CASCADE = Case("dsegym/ReasoningCascade-v0", "decisions", {})
STREAM = Case("dsegym/SocSchedulingStream-v0", "decisions", {"count": 20})
MAPPING = Case("dsegym/MemoryMapping-v0", "sequential", {"program": "mlp_tiny", "capacity": 0.5})
SIZING = Case("dsegym/AcceleratorSizing-v0", "sequential", {})
SCORED, TIMED = (CASCADE, STREAM, MAPPING), (CASCADE, STREAM, MAPPING, SIZING)


def lanes_of(case: Case) -> StableBaselines3Env:
    """Our lanes, for stable-baselines3."""
    return StableBaselines3Env(gymnasium.make_vec(case.scenario, num_envs=LANES, form=case.form, **case.options))


# Scores ---------------------------------------------------------------------------------------------------------------


class Scored:
    """An instance whose cases policies are scored on."""

    def __init__(self, case: Case):
        self.problem = dsegym.make_problem(case.scenario, **case.options)
        self.env, self.params = self.problem.functional_env(case.form), self.problem.env_params(case.form)
        env, params = self.env, self.env.scored_params(self.problem)
        cases = np.arange(env.case_count(params), dtype=np.int32)
        params = jax.tree.map(jnp.asarray, params)

        def seen(state: Any) -> tuple[Any, ...]:
            return state, env.observation(state, params), env.action_mask(state, params), env.over(state, params)

        def step(state: Any, action: Any) -> tuple[Any, ...]:
            over = env.over(state, params)
            moved = env.advance(state, action, params)
            return seen(jax.tree.map(lambda old, new: jnp.where(over, old, new), state, moved))

        self._first = jax.jit(lambda: jax.vmap(lambda case: seen(env.start_case(case, params)))(cases))
        self._step = jax.jit(jax.vmap(step))
        self._objective = jax.jit(lambda states: env.mean_evaluation(states, params).objective)

    def score(self, act: Act) -> float:
        """0 of the reference, 1 of the bound."""
        state, observation, mask, over = self._first()
        while not np.all(over):
            actions = act(np.array(observation), None if mask is None else np.array(mask))  # torch wants its own
            state, observation, mask, over = self._step(state, np.asarray(actions, np.int32))
        reference, bound = self.problem.reference.value, self.problem.bound.value
        return (reference - float(self._objective(state))) / (reference - bound)


def difference(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float, float]:
    """The mean difference of two samples of as many seeds, and the ends of its 95 % interval: Welch's, with as few
    degrees of freedom as there can be.
    """
    mean, seeds = float(ours.mean() - theirs.mean()), len(ours)
    if seeds < 2:
        return mean, -np.inf, np.inf
    error = np.sqrt((ours.var(ddof=1) + theirs.var(ddof=1)) / seeds)
    reach = float(scipy.stats.t.ppf(0.975, seeds - 1) * error)
    return mean, mean - reach, mean + reach


def compare_scores(case: Case, learner: ProximalPolicyOptimisation, steps: int, seeds: int) -> None:
    """Prints the scores of one instance."""
    scored, figures = Scored(case), {}
    print(f"{case.scenario} ({case.form}), greedy score on scored cases after {steps:,} steps, {seeds} seeds")
    start = time.perf_counter()
    found = train_seeds(learner, scored.env, scored.params, steps=steps, seeds=range(seeds)).variables
    policy = jax.jit(lambda variables, seen, mask: greedy(learner.network(scored.env), variables)(seen, mask, None))
    own = [jax.tree.map(lambda leaf, seed=seed: leaf[seed], found) for seed in range(seeds)]
    figures["JAX PPO"] = [scored.score(functools.partial(policy, variables)) for variables in own]
    seconds = {"JAX PPO": time.perf_counter() - start}
    for masks in (True, False) if scored.env.action_mask(*_first_state(scored)) is not None else (False,):
        name, start = "MaskablePPO" if masks else "stable-baselines3 PPO", time.perf_counter()
        models = [reference_model(lanes_of(case), learner, seed, masks=masks).learn(steps) for seed in range(seeds)]
        figures[name] = [scored.score(Acting(model)) for model in models]
        seconds[name] = time.perf_counter() - start
    for name, scores in figures.items():
        spread = np.std(scores, ddof=1) if seeds > 1 else 0.0
        report(f"{name} ({seconds[name]:,.0f} s in all)", f"{np.mean(scores):.3f}, deviation {spread:.3f}")
    for name in list(figures)[1:]:
        mean, low, high = difference(np.array(figures["JAX PPO"]), np.array(figures[name]))
        report(f"  JAX PPO over {name}, 95 % interval", f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]", "not below 0")


def _first_state(scored: Scored) -> tuple[Any, Any]:
    params = jax.tree.map(jnp.asarray, scored.params)
    return scored.env.start(jax.random.key(0), params), params


# Speed ----------------------------------------------------------------------------------------------------------------


def compare_speed(case: Case, learner: ProximalPolicyOptimisation, updates: int, pairs: int) -> None:
    """Prints the training steps a second of one instance, and what memory grows by."""
    problem = dsegym.make_problem(case.scenario, **case.options)
    env, params = problem.functional_env(case.form), problem.env_params(case.form)
    print(f"{case.scenario} ({case.form}), training steps a second")
    steps = updates * learner.steps_per_update(env)
    one = functools.partial(train, learner, env, params, steps=steps, seed=0)
    many = functools.partial(train_seeds, learner, env, params, steps=steps, seeds=range(SEEDS_AT_ONCE))
    like = dataclasses.replace(learner, rollout=PEER_STEPS // SINGLE)
    on_lanes = dataclasses.replace(learner, rollout=PEER_STEPS // LANES)
    own = dataclasses.replace(like, minibatches=PEER_STEPS // 64, epochs=10)
    singly = functools.partial(
        make_vec_env, case.scenario, SINGLE, env_kwargs={"form": case.form, **case.options}, wrapper_class=None
    )
    peers = {
        f"PPO, {SINGLE} environments of gymnasium.make": (singly, like),
        f"PPO, {SINGLE} environments, its own defaults": (singly, own),
        f"PPO, StableBaselines3Env, {LANES} lanes": (functools.partial(lanes_of, case), on_lanes),
    }
    rate = 0.0
    for name, (make, settings) in peers.items():
        model = reference_model(make(), settings, 0, masks=False)
        learn = functools.partial(model.learn, PEER_STEPS, reset_num_timesteps=False)
        ours_s, theirs_s, ratio = paired_seconds(one, learn, pairs=pairs)
        rate = max(rate, steps / ours_s)
        report(f"stable-baselines3 {name}", f"{PEER_STEPS / theirs_s:,.0f}")
        report("  JAX PPO over it", f"{ratio * steps / PEER_STEPS:,.1f}", "at least 50, aim 100")
    report(f"JAX PPO, {learner.lanes} lanes", f"{rate:,.0f}")
    _, many_s, ratio = paired_seconds(one, many, pairs=pairs)
    report(f"JAX PPO, {SEEDS_AT_ONCE} seeds at once", f"{SEEDS_AT_ONCE * steps / many_s:,.0f}")
    report("  over one seed", f"{SEEDS_AT_ONCE / ratio:.2f}")
    used: list[int] = []
    train(
        learner,
        env,
        params,
        steps=10 * steps,
        seed=0,
        on_chunk=lambda chunk: used.append(psutil.Process().memory_info().rss),
    )
    grown = (used[-1] - used[len(used) // 2]) / 2**20
    report(f"Memory at the end over the middle of {10 * steps:,} steps, MiB", f"{grown:+.1f}", "flat, below 1")


def main(arguments: Sequence[str] = ()) -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100_000, help="of a training that is scored")
    parser.add_argument("--seeds", type=int, default=5, help="trainings that are scored")
    parser.add_argument("--updates", type=int, default=4, help="of a measurement of speed")
    parser.add_argument("--pairs", type=int, default=3, help="measurements of speed")
    parser.add_argument("--units", type=int, default=64, help="of each of the two layers")
    parser.add_argument("--scored", type=int, nargs="*", default=range(len(SCORED)), help="places in SCORED")
    parser.add_argument("--timed", type=int, nargs="*", default=range(len(TIMED)), help="places in TIMED")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print("Learners: JAX PPO beside stable-baselines3")
    for place in chosen.scored:
        compare_scores(SCORED[place], dataclasses.replace(EQUAL, units=chosen.units), chosen.steps, chosen.seeds)
    for place in chosen.timed:
        compare_speed(TIMED[place], dataclasses.replace(FAST, units=chosen.units), chosen.updates, chosen.pairs)


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
