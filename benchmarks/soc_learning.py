"""A learned scheduler beside the rules, on the held-out traces of dsegym/SocSchedulingStream-v0.

PPO (stable-baselines3) trains on the form `decisions`, whose episodes are training traces; its greedy policy then plays
the 16 held-out traces, which the rules play as well. Beside them: the weighted rule that hill climbing finds on the
search traces. S traces, P elements.

    python benchmarks/soc_learning.py --steps 1000000 --seeds 0 1 2 --noise 0 0.1
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize
from timing import report

import dsegym
from dsegym.agents.hill_climb import HillClimb
from dsegym.agents.referee import Referee
from dsegym.costmodels.errors import BudgetExhausted
from dsegym.costmodels.soc import rules, simulator, stream_game
from dsegym.envs.faces.stable_baselines3_env import StableBaselines3Env
from dsegym.envs.faces.vector_env import FunctionalVectorEnv
from dsegym.envs.soc.stream import weights_of

SCENARIO = "dsegym/SocSchedulingStream-v0"
RULES = ("eft", "met", "etf_finish", "heft_rt", "stf")
SAMPLES = 300  # of hill climbing
LANES, ROLLOUT, UNITS = 64, 64, 64  # of PPO: environments, steps of each between updates, units of its two layers
SUSPICIOUS = 0.6  # of ETF's latency: an agent below it has probably found a mistake

Policy = Callable[[np.ndarray, np.ndarray], np.ndarray]  # observations [S, ...], masks [S, P] -> elements, int[S]


def train(problem: dsegym.Problem, steps: int, seed: int) -> PPO:
    """A policy, trained on the problem's training traces."""
    env = StableBaselines3Env(FunctionalVectorEnv(problem.as_searched, LANES, "decisions"))
    torch.set_num_threads(1)
    agent = PPO(
        "MlpPolicy",
        VecNormalize(env, norm_obs=False, gamma=0.99),  # a step's reward is about 1/600
        learning_rate=lambda left: 1e-3 * left,
        n_steps=ROLLOUT,
        batch_size=LANES * ROLLOUT // 4,
        n_epochs=10,
        gamma=0.99,  # a decision, not a unit of time: what stable-baselines3 offers
        gae_lambda=0.95,
        ent_coef=0.005,
        policy_kwargs={"net_arch": [UNITS, UNITS]},
        seed=seed,
        device="cpu",
    )
    return agent.learn(steps)


def play_policy(problem: dsegym.Problem, policy: Policy) -> np.ndarray:
    """float[S], us: the average latency of a job on each held-out trace, decision by decision."""
    params = problem.held_out_params
    params = params._replace(pool=params.traces)  # what the environment plays
    env = problem.functional_env("decisions")
    numbers = np.arange(len(params.traces.arrival_us))

    def first(number):
        trace = stream_game.trace_of(params.pool, number)
        stream = simulator.initial(params.arrays, trace, queue=len(params.queue))
        return stream_game.State(stream, number, jnp.int32(0), jnp.int32(0))

    def seen(state):
        return state, env.observation(state, params), env.action_mask(state, params), env.over(state, params)

    step = jax.jit(jax.vmap(lambda state, action: seen(env.advance(state, action, params))))
    state, observation, mask, over = jax.jit(jax.vmap(lambda number: seen(first(number))))(numbers)
    while not np.all(over):  # a lane that is over stays as it is
        state, observation, mask, over = step(state, policy(np.asarray(observation), np.asarray(mask)))
    assert not np.any(state.illegal)
    return np.asarray(jax.vmap(lambda each: env.evaluation(each, params).objective)(state))


def play_rule(problem: dsegym.Problem, name: str) -> np.ndarray:
    """float[S], us: the same under a named rule."""
    params = problem.held_out_params
    play = jax.jit(
        lambda traces: simulator.play(
            params.arrays,
            traces,
            lambda _: rules.named_rule(name, params.facts),
            np.zeros((1, 0), np.int32),
            queue=len(params.queue),
        )
    )
    return np.asarray(play(params.traces).latency_us)[0] / params.traces.arrival_us.shape[1]


def play_design(problem: dsegym.Problem, design: np.ndarray) -> np.ndarray:
    """float[S], us: the same under a design of the weighted rule."""
    params = problem.held_out_params
    last = jax.jit(stream_game.play)(weights_of(design[None]), params)
    return np.asarray(last.latency_us)[0] / params.traces.arrival_us.shape[1]


def climb(problem: dsegym.Problem, seed: int) -> np.ndarray:
    """The best design that hill climbing finds on the search traces."""
    referee = Referee(problem, SAMPLES)
    with contextlib.suppress(BudgetExhausted):
        HillClimb().search(referee, seed)
    best = referee.samples.best
    assert best is not None
    return referee.samples.designs[best]


def earliest_finish(observation: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """EFT, from what an agent sees: to check that rules and agents are measured in the same way."""
    finish = np.where(mask, observation[:, : mask.shape[1]], np.inf)
    return finish.argmin(axis=1)


def random_legal(observation: np.ndarray, mask: np.ndarray, *, generator: np.random.Generator) -> np.ndarray:
    """Any element that can run the task."""
    del observation
    return np.where(mask, generator.random(mask.shape), -1.0).argmax(axis=1)


def compare(steps: int, seeds: Sequence[int], **options: str) -> None:
    """Prints the table of one instance."""
    problem = dsegym.make_problem(SCENARIO, **options)
    print(f"Learned schedulers: {', '.join(f'{key}={value}' for key, value in options.items())}")
    latencies = {name: play_rule(problem, name) for name in RULES}
    eft, etf = latencies["eft"], latencies["etf_finish"]
    same = np.allclose(play_policy(problem, earliest_finish), eft, rtol=1e-6)
    report("EFT played as an agent equals EFT played as a rule", str(same), "True")
    generator = np.random.default_rng(0)
    latencies["random, legal"] = play_policy(problem, functools.partial(random_legal, generator=generator))
    for seed in seeds:
        latencies[f"weighted rule, {SAMPLES} samples, seed {seed}"] = play_design(problem, climb(problem, seed))
    for seed in seeds:
        start = time.perf_counter()
        agent = train(problem, steps, seed)
        seconds = time.perf_counter() - start
        latencies[f"PPO, {steps:,} steps ({seconds:,.0f} s), seed {seed}"] = play_policy(
            problem, functools.partial(_greedy, agent)
        )
    print(f"  {'':<48} {'latency, us':>15} {'over EFT':>16} {'over ETF':>16}")
    for name, each in latencies.items():
        ratios = (_mean(each / rule.mean(), rule / rule.mean()) for rule in (eft, etf))
        print("  {:<48} {:>15} {:>16} {:>16}".format(name, _mean(each), *ratios))
    learned = min(each.mean() for name, each in latencies.items() if name.startswith("PPO"))
    if learned < SUSPICIOUS * etf.mean():
        print(f"  SUSPICIOUS: an agent at {learned / etf.mean():.2f} of ETF's latency; look for a mistake first.")


def _greedy(agent: PPO, observation: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The likeliest of the legal actions."""
    with torch.no_grad():
        distribution: Any = agent.policy.get_distribution(torch.tensor(observation)).distribution
    return np.where(mask, distribution.logits.numpy(), -np.inf).argmax(axis=1)


def _mean(values: np.ndarray, paired: np.ndarray | None = None) -> str:
    """The mean, with its standard error, or that of the differences to values on the same traces."""
    differences = values if paired is None else values - paired
    error = differences.std(ddof=1) / np.sqrt(len(values))
    digits = 1 if paired is None else 3
    return f"{values.mean():.{digits}f} +- {error:.{digits}f}"


def main(arguments: Sequence[str] = ()) -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300_000, help="decisions that PPO trains on")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--noise", nargs="+", default=["0", "0.1"], help="as the option of the scenario")
    parser.add_argument("--jobs", default="top", help="as the option of the scenario")
    chosen = parser.parse_args(arguments)
    for noise in chosen.noise:
        compare(chosen.steps, chosen.seeds, jobs=chosen.jobs, count="60", noise=noise)
    print(
        "  Averages of 16 traces +- standard error; of ratios that of the differences on the same traces.\n"
        "  An agent beats a rule where its ratio is below 1 by several standard errors, and is so for every seed."
    )


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
