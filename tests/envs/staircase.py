"""A third party's sequential scenario in one file: climb a staircase of `TOP` steps in `HORIZON` moves, at least cost.

A move climbs 0, 1 or 2 steps; a move beyond the top is masked, and counts as the largest move that is not. The episode
ends at the top, or after the last move. A design is the script of moves; it is feasible where it reaches the top.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dsegym.costmodels.diagram import Diagram, Rectangle
from dsegym.envs.core.evaluation import Evaluation, Objective, Yardstick
from dsegym.envs.core.features import Discrete, Feature
from dsegym.envs.core.functional import FunctionalEnv, rollout_cost
from dsegym.envs.core.options import Options, choice
from dsegym.envs.core.problem import Problem, given
from dsegym.envs.core.scenarios import Scenario
from dsegym.envs.core.spaces import DesignSpace, Parameter

HORIZON, TOP, MOVES = 5, 6, 3
PENALTY = 1000.0
SPACE = DesignSpace(tuple(Parameter(f"move_{i}", tuple(range(MOVES)), "steps") for i in range(HORIZON)))


class Params(NamedTuple):
    prices: Any  # float32[HORIZON, MOVES], cost of a move at a time
    lowest: Any  # int32, episodes start from step 0 to `lowest`


class State(NamedTuple):
    position: Any  # int32
    time: Any  # int32
    cost: Any  # float32
    moves: Any  # int32[HORIZON]
    illegal: Any  # int32, moves that were masked


class Metrics(NamedTuple):
    moves_made: Any  # 1


@dataclass(frozen=True)
class Staircase(FunctionalEnv):
    horizon = HORIZON
    features = (
        Feature("position", meaning=f"steps climbed over {TOP}"),
        Feature("time", meaning=f"moves made over {HORIZON}"),
    )

    @property
    def action_space(self):
        return Discrete(MOVES)

    def start(self, key, params):
        first = jax.random.randint(key, (), 0, params.lowest + 1)
        return State(first, jnp.int32(0), jnp.float32(0), jnp.zeros(HORIZON, jnp.int32), jnp.int32(0))

    def advance(self, state, action, params):
        move = jnp.minimum(action, TOP - state.position)
        return State(
            state.position + move,
            state.time + 1,
            state.cost + params.prices[state.time, move],
            state.moves.at[state.time].set(move),
            state.illegal + (move != action),
        )

    def observe(self, state, params):
        return {"position": state.position / TOP, "time": state.time / HORIZON}

    def over(self, state, params):
        return (state.position >= TOP) | (state.time >= HORIZON)

    def reward(self, state, next_state, params):
        return state.cost - next_state.cost

    def action_mask(self, state, params):
        return jnp.arange(MOVES) <= TOP - state.position

    def design(self, state, params):
        return state.moves

    def evaluation(self, state, params):
        reached = state.position >= TOP
        return Evaluation(Metrics(state.time), jnp.where(reached, state.cost, PENALTY), reached)


_COST = rollout_cost(Staircase())


def cost_by_hand(moves, prices):
    """Objective and feasibility of a script of moves from step 0, in plain Python."""
    position, cost = 0, 0.0
    for time, move in enumerate(moves):
        if position == TOP:
            break
        climbed = min(move, TOP - position)
        position, cost = position + climbed, cost + float(prices[time][climbed])
    return (cost, True) if position == TOP else (PENALTY, False)


def diagram(design):
    """The climb over time, a rectangle a move."""
    rectangles, position = [], 0
    for time, move in enumerate(design.tolist()):
        kind = ("rest", "step", "leap")[move]
        rectangles.append(Rectangle(float(time), float(position), 1.0, move + 0.05, kind, f"move {time}"))
        position += move
    return Diagram(
        f"A climb of {position} steps",
        "time (moves)",
        "position (steps)",
        (0.0, float(HORIZON)),
        (0.0, float(HORIZON * (MOVES - 1))),
        rectangles,
        (float(TOP), "top <6>"),
    )


@dataclass(frozen=True)
class StaircaseOptions(Options):
    start: str = choice("fixed", lambda: ("fixed", "random"), "where episodes start")


def _build(options):
    prices = np.arange(1, HORIZON * MOVES + 1, dtype=np.float32).reshape(HORIZON, MOVES) ** 1.5
    return Problem(
        instance=options,
        space=SPACE,
        objective=Objective("cost", "1", "of all moves"),
        cost=_COST,
        params=Params(prices, np.int32(2 if options.start == "random" else 0)),
        reference_rule=given(Yardstick("ten", 10.0, "a round number")),
        bound_rule=given(Yardstick("bound", 1.0, "no move costs less")),
        forms={"sequential": lambda problem: Staircase()},
        baselines={"leaps": lambda: (2, 2, 2, 0, 0), "steps": lambda: (1, 1, 1, 1, 2)},
        diagram=diagram,
    )


SCENARIO = Scenario(
    summary="climb a staircase",
    options_type=StaircaseOptions,
    build=_build,
    core=lambda: [{"start": "fixed"}],
)
