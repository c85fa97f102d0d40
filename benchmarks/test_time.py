"""Test-time compute: environment steps a second at batch 1,024, as ratios to plain Python in the same run.

A step is transition, reward, end and observation under actions drawn beforehand; whole episodes are played in
one compiled call, their beginnings included, and only steps before an episode's end count; two threads play half of the
batch each. Plain Python is the tests' oracles (`tests/costmodels/*_oracle.py`), which play single episodes; for the
tree it is a beam over recorded nodes. The goals are for two cores.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from timing import load_oracle, median_seconds, report

import dsegym
from dsegym.costmodels.test_time.outcomes import game24_nodes

LANES, THREADS, SECONDS = 1024, 2, 0.5
SYNTHETIC, REPLAY = "1 million", "300 thousand"
Player = Callable[[np.random.Generator], int]  # plays an episode in plain Python, and says how many steps it had


def rate(env: Any, params: Any, script: Sequence[int] | None) -> float:
    """Steps a second of `LANES` episodes at a time under random actions, or under those of a script."""
    space, horizon = env.action_space, env.horizon
    generator = np.random.default_rng(0)
    if script:
        actions = np.repeat(np.array(script, np.int32)[:, None], LANES, axis=1)
    elif isinstance(space, gymnasium.spaces.Discrete):
        actions = generator.integers(0, space.n, (horizon, LANES), dtype=np.int32)
    else:
        actions = generator.integers(0, space.nvec, (horizon, LANES, *space.shape)).astype(np.int32)

    @jax.jit
    def play(key: Any, script: Any) -> tuple[Any, ...]:
        states = jax.vmap(env.initial, in_axes=(0, None))(jax.random.split(key, LANES // THREADS), params)

        def lane(state: Any, action: Any) -> tuple[Any, ...]:
            over = env.terminal(state, None, params)
            moved = env.transition(state, action, None, params)
            moved = jax.tree.map(lambda old, new: old if old is new else jnp.where(over, old, new), state, moved)
            reward = env.reward(state, action, moved, None, params)
            return moved, ~over, reward, env.observation(moved, None, params)

        def step(states: Any, action: Any) -> tuple[Any, Any]:
            states, live, reward, observation = jax.vmap(lane)(states, action)
            return states, (live.sum(), reward.sum(), observation.sum())  # sums, so that nothing is left out

        return jax.lax.scan(step, states, script)[1]

    halves = [jax.device_put(actions[:, at : at + LANES // THREADS]) for at in range(0, LANES, LANES // THREADS)]
    keys = list(jax.random.split(jax.random.key(0), THREADS))
    steps = sum(int(np.asarray(play(key, script)[0]).sum()) for key, script in zip(keys, halves, strict=True))
    with ThreadPoolExecutor(THREADS) as pool:  # XLA keeps one core busy with loops as small as these
        seconds = median_seconds(
            lambda: list(pool.map(lambda *inputs: jax.block_until_ready(play(*inputs)), keys, halves)),
            repeats=7,
            warm_up=1,
        )
    return steps / seconds


def plain_rate(play: Player) -> float:
    """Steps a second of an oracle, episode after episode."""
    generator, steps = np.random.default_rng(0), 0
    start = time.perf_counter()
    while time.perf_counter() - start < SECONDS:
        steps += play(generator)
    return steps / (time.perf_counter() - start)


# Plain Python --------------------------------------------------------------------------------------------------------


def best_of_n(problem: dsegym.Problem) -> Player:
    """Batches of the same questions in plain Python."""
    oracle, env, params = load_oracle("best_of_n_oracle"), problem.functional_env("decisions"), problem.params
    first = jax.tree.map(np.asarray, env.initial(jax.random.key(0), params))
    columns = {name: getattr(first, name).tolist() for name in ("left", "right_left", "tokens_right", "tokens_wrong")}
    recorded = problem.options["data"] != "beta"
    budget = float(params.samples) * len(columns["left"])

    def play(generator: np.random.Generator) -> int:
        fresh = {name: list(column) for name, column in columns.items()}
        batch = oracle.Batch(int(generator.integers(2**31)), **fresh, budget=budget, recorded=recorded)
        steps = 0
        while legal := batch.legal():
            batch.step(legal[int(generator.integers(len(legal)))])
            steps += 1
        batch.accuracy()
        return steps

    return play


def solve_verify(problem: dsegym.Problem) -> Player:
    """Problems of the same recorded samples in plain Python."""
    oracle, env, params = load_oracle("solve_verify_oracle"), problem.functional_env("decisions"), problem.params
    first = jax.tree.map(np.asarray, env.initial(jax.random.key(0), params))
    words, order = first.inclined.tolist(), first.order.tolist()
    answers, right, tie = first.answers.tolist(), first.right.tolist(), first.tie.tolist()

    def play(generator: np.random.Generator) -> int:
        one = oracle.Problem(
            answers=answers,
            right=right,
            verdict=lambda group, number: (int(words[group]) >> order[number]) & 1,
            most=int(first.most),
            tie=tie,
            budget=float(params.budget),
            verify_cost=float(params.verify_cost),
        )
        steps = 0
        while one.accuracy is None:
            one.step(int(generator.choice(np.flatnonzero(one.legal()))))
            steps += 1
        return steps

    return play


def plans(problem: dsegym.Problem) -> Player:
    """Plans of sub-questions in plain Python."""
    del problem
    oracle = load_oracle("bbam_oracle")

    def play(generator: np.random.Generator) -> int:
        plan = oracle.draw(int(generator.integers(2**31)))
        oracle.play("clamped", plan, 350, lambda j, left, surprise: int(generator.integers(left + 1)))
        return len(plan)

    return play


def contexts(problem: dsegym.Problem) -> Player:
    """Contexts with their queries in plain Python."""
    del problem
    oracle = load_oracle("sleep_oracle")

    def play(generator: np.random.Generator) -> int:
        context = oracle.Context(int(generator.integers(1, 11)), 0.5, 0.5, int(generator.integers(2**31)))
        oracle.play(
            context, lambda query, left, slept: int(generator.integers(6)), budget=4000.0, mean_queries=5, price=10
        )
        return context.queries + 1

    return play


def cascades(problem: dsegym.Problem) -> Player:
    """Batches of recorded questions in plain Python."""
    oracle, env, params = load_oracle("cascade_oracle"), problem.functional_env("decisions"), problem.params
    chosen = np.asarray(env.initial(jax.random.key(0), params).chosen)
    columns = [np.asarray(leaf)[:, chosen].tolist() for leaf in (params.right, params.cost_tera, params.quantile)]
    mean, budget = params.mean_tera.tolist(), float(params.budget_tera) * len(chosen)

    def play(generator: np.random.Generator) -> int:
        batch, steps = oracle.Batch(*columns, mean, budget), 0
        while not batch.over:
            batch.act(int(generator.integers(len(mean) + 1)))
            steps += 1
        return steps

    return play


def recorded_beams(problem: dsegym.Problem) -> Player:
    """Random choices of five among the recorded nodes in plain Python."""
    del problem
    table = game24_nodes()
    nodes: dict[tuple[int, int, int], list[tuple[float, int, bool]]] = {}
    for row, puzzle in enumerate(table.puzzle.tolist()):
        good = bool(table.solvable[row] == 1 and table.legal[row])
        place = (puzzle, int(table.depth[row]), int(table.parent[row]))
        nodes.setdefault(place, []).append((-float(table.value[row]), int(table.node[row]), good))

    def play(generator: np.random.Generator) -> int:
        puzzle, kept = int(generator.integers(900, 1000)), [(0.0, -1, False)]
        for depth in (1, 2, 3):
            found = sorted(child for _, number, _ in kept for child in nodes.get((puzzle, depth, number), []))[:16]
            kept = [found[place] for place in sorted(generator.permutation(len(found))[:5])]
        any(good for _, _, good in kept)
        return 3

    return play


# Environment, options, goal, plain Python.
CASES: tuple[tuple[str, dict[str, str], str, Callable[[dsegym.Problem], Player] | None], ...] = (
    ("SubQuestionBudget", {}, SYNTHETIC, plans),
    ("BatchBestOfN", {"data": "beta"}, SYNTHETIC, best_of_n),
    ("BatchBestOfN", {"data": "humaneval"}, REPLAY, best_of_n),
    ("SolveVerify", {"data": "genrm"}, SYNTHETIC, None),
    ("SolveVerify", {"data": "humaneval"}, REPLAY, solve_verify),
    ("TreeSearch", {"tree": "steps"}, SYNTHETIC, None),
    ("TreeSearch", {"tree": "game24", "width": "16"}, SYNTHETIC, None),
    ("TreeSearch", {"tree": "game24", "width": "32"}, SYNTHETIC, None),
    ("TreeSearch", {"tree": "game24_log"}, REPLAY, recorded_beams),
    ("ReasoningServe", {"tasks": "aime24"}, SYNTHETIC, None),
    ("ReasoningServe", {"tasks": "gsm8k"}, REPLAY, cascades),
    ("SleepTime", {}, SYNTHETIC, contexts),
)


# Half of SolveVerify's budget of 16 on samples, then verdicts on the largest group, then an answer: of random actions
# every second would end the episode.
SCRIPTS = {"genrm": [0] * 8 + [1] * 4 + [6], "humaneval": [0] * 8 + [1] * 32 + [6]}


def main() -> None:
    """Prints the table."""
    print(f"Test-time compute: environment steps a second, batch {LANES}")
    for name, options, goal, make_player in CASES:
        problem = dsegym.make_problem(f"dsegym/{name}-v0", **options)
        script = SCRIPTS[options["data"]] if name == "SolveVerify" else None
        found = rate(problem.functional_env(), jax.tree.map(jnp.asarray, problem.params), script)
        label = ", ".join([name, *options.values()])
        if make_player is None:
            report(label, f"{found / 1e6:,.2f} M/s", goal)
        else:
            plain = plain_rate(make_player(problem))
            report(
                f"{label}, ratio to plain Python ({plain:,.0f}/s)",
                f"{found / 1e6:,.2f} M/s, {found / plain:,.0f}",
                goal,
            )


if __name__ == "__main__":
    main()
