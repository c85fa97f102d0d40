"""Test-time compute: environment steps a second at batch 1,024, as ratios to plain Python in the same run.

A step is advance, reward, end and observation under actions drawn beforehand; whole episodes are played in one
compiled call, their beginnings included, and only steps before an episode's end count; two threads play half of the
batch each. Plain Python is the tests' oracles (`tests/oracles/`), which play single episodes; around
those of trees, children are drawn here. The goals are for two cores.
"""

from __future__ import annotations

import math
import random
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
from dsegym.costmodels.reasoning.outcomes import game24_nodes

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
        states = jax.vmap(env.start, in_axes=(0, None))(jax.random.split(key, LANES // THREADS), params)

        def lane(state: Any, action: Any) -> tuple[Any, ...]:
            over = env.over(state, params)
            moved = env.advance(state, action, params)
            moved = jax.tree.map(lambda old, new: old if old is new else jnp.where(over, old, new), state, moved)
            reward = env.reward(state, moved, params)
            return moved, ~over, reward, env.observation(moved, params)

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
    oracle, env, params = (
        load_oracle("best_of_n_oracle"),
        problem.functional_env("decisions"),
        problem.env_params("decisions"),
    )
    first = jax.tree.map(np.asarray, env.start(jax.random.key(0), params))
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
    """Problems of the same samples in plain Python."""
    oracle, env, params = (
        load_oracle("solve_verify_oracle"),
        problem.functional_env("decisions"),
        problem.env_params("decisions"),
    )
    first = jax.tree.map(np.asarray, env.start(jax.random.key(0), params))
    if problem.options["data"] == "humaneval":
        verdicts = (first.inclined[:, None].astype(np.int64) >> first.order[None]) & 1
    else:  # a verdict is luck there: drawn beforehand
        chance = 1 / (1 + np.exp(-first.inclined[:, None]))
        verdicts = (np.random.default_rng(0).random((len(first.inclined), 32)) < chance).astype(int)
    yes = verdicts.tolist()
    answers, right, tie = first.answers.tolist(), first.right.tolist(), first.tie.tolist()

    def play(generator: np.random.Generator) -> int:
        one = oracle.Problem(
            answers=answers,
            right=right,
            verdict=lambda group, number: yes[group][number],
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
    oracle, env, params = (
        load_oracle("cascade_oracle"),
        problem.functional_env("decisions"),
        problem.env_params("decisions"),
    )
    chosen = np.asarray(env.start(jax.random.key(0), params).chosen)
    columns = [np.asarray(leaf)[:, chosen].tolist() for leaf in (params.right, params.cost_tera, params.quantile)]
    mean, budget = params.mean_tera.tolist(), float(params.budget_tera) * len(chosen)

    def play(generator: np.random.Generator) -> int:
        batch, steps = oracle.Batch(*columns, mean, budget), 0
        while not batch.over:
            batch.act(int(generator.integers(len(mean) + 1)))
            steps += 1
        return steps

    return play


def services(problem: dsegym.Problem) -> Player:
    """One answer a design, its cost added up token by token in plain Python."""
    del problem
    oracle = load_oracle("kinetics_oracle")

    def play(generator: np.random.Generator) -> int:
        length, budget = int(generator.integers(1, 32_769)), int(generator.choice([0, 128, 1024]))
        oracle.token_by_token((8.2e9, 32, 8, 128 * 36), prompt=1024, length=length, trials=4, budget=budget)
        return 1

    return play


def trees_of_luck(problem: dsegym.Problem) -> Player:
    """Searches under random levels in plain Python: children drawn, widths shared out, the cache counted as a set."""
    oracle, env = load_oracle("tree_search_oracle"), problem.functional_env("decisions")
    width, depths, steps = len(env.action_space.nvec), env.horizon, problem.options["tree"] == "steps"
    if not steps:
        table = problem.params.table
        solvable, quantiles = table.solvable[: int(table.count)].tolist(), table.values.tolist()

    def synthetic(draw: random.Random, parent: tuple, seen: dict) -> tuple:
        name, good, path = parent
        group = (name, draw.randrange(3))
        right, noise = seen.setdefault(group, (draw.random() < 0.77, draw.gauss(0, 0.7)))
        value = (0.7 if good and right else -0.7) + noise + draw.gauss(0, 0.7)
        return draw.random(), good and right, path, 1 / (1 + math.exp(-value))

    def hand(draw: random.Random, parent: tuple, depth: int, number: int, row: list) -> tuple:
        name, good, path = parent
        move = draw.randrange(36 if depth == 1 else 18)
        child = move if depth == 1 else 36 + (name % 36) * 18 + move if depth == 2 else number
        good = good and (bool(row[child]) if depth < 3 else number == 0) and draw.random() >= 0.062
        return child, good, path, quantiles[depth - 1][int(good)][draw.randrange(256)]

    def play(generator: np.random.Generator) -> int:
        draw = random.Random(int(generator.integers(2**31)))
        row = [] if steps else solvable[draw.randrange(len(solvable))]
        leaves, shares, cache = [(0, True, ())], [width], 0
        for depth in range(1, depths + 1):
            seen: dict = {}
            nodes = [
                synthetic(draw, leaf, seen) if steps else hand(draw, leaf, depth, number, row)
                for leaf, count in zip(leaves, shares, strict=True)
                for number in range(count)
            ]
            leaves = [(name, good, (*path, slot)) for slot, (name, good, path, _) in enumerate(nodes)]
            levels = [draw.randrange(8) for _ in leaves]
            levels[0] = levels[0] or 7
            cache += oracle.cache_nodes([leaf[2] for leaf in leaves], [level > 0 for level in levels], depth)
            shares = oracle.shares([2.0 ** (level - 7) if level else 0.0 for level in levels], width)
        return depths

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
CASES: tuple[tuple[str, dict[str, str], str, Callable[[dsegym.Problem], Player]], ...] = (
    ("SubQuestionBudget", {}, SYNTHETIC, plans),
    ("BatchBestOfN", {"data": "beta"}, SYNTHETIC, best_of_n),
    ("BatchBestOfN", {"data": "humaneval"}, REPLAY, best_of_n),
    ("SolveVerify", {"data": "genrm"}, SYNTHETIC, solve_verify),
    ("SolveVerify", {"data": "humaneval"}, REPLAY, solve_verify),
    ("TreeSearch", {"tree": "steps"}, SYNTHETIC, trees_of_luck),
    ("TreeSearch", {"tree": "game24", "width": "16"}, SYNTHETIC, trees_of_luck),
    ("TreeSearch", {"tree": "game24", "width": "32"}, SYNTHETIC, trees_of_luck),
    ("TreeSearch", {"tree": "game24_log"}, REPLAY, recorded_beams),
    ("ReasoningServe", {"tasks": "aime24"}, SYNTHETIC, services),
    ("ReasoningCascade", {}, REPLAY, cascades),
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
        found = rate(problem.functional_env(), jax.tree.map(jnp.asarray, problem.env_params()), script)
        label = ", ".join([name, *options.values()])
        plain = plain_rate(make_player(problem))
        report(
            f"{label}, ratio to plain Python ({plain:,.0f}/s)", f"{found / 1e6:,.2f} M/s, {found / plain:,.0f}", goal
        )


if __name__ == "__main__":
    main()
