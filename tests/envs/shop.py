"""A third party's stochastic scenario in one file: a shop orders stock for `DAYS` days of demand, at least mean cost.

A design is a policy of two parameters: when the stock in the morning is at most `reorder`, order up to `level`. A
search costs it on four demand traces and is scored on four others. It is feasible where no trace leaves more than the
option's share of the demand unserved; the search's traces are the milder ones, so that some policies are feasible on
them only.

Forms: `days`, the default, in which an episode draws a demand trace of its own and the agent orders day by day, so that
no design replays it; and the one-shot forms.
"""

from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

import dsegym
from dsegym import DesignSpace, Evaluation, Objective, Option, Parameter, Problem, Scenario, one_shot_problem
from dsegym.envs.core.functional import ONE_SHOT_FORMS, FunctionalEnv

DAYS, LARGEST, PENALTY = 20, 12, 1000.0
HOLDING, LOST, ORDER = 1.0, 6.0, 8.0  # cost of a unit in stock overnight, of a unit of demand not served, of an order
SPACE = DesignSpace((Parameter("reorder", tuple(range(9)), "units"), Parameter("level", tuple(range(4, 13)), "units")))


class Params(NamedTuple):
    demand: Any  # int32[traces, DAYS]
    lost_share: Any  # float32, of the demand, the most that may be lost


class Metrics(NamedTuple):
    cost: Any  # 1 a day
    lost_share: Any


class State(NamedTuple):
    day: Any  # int32
    stock: Any  # int32
    cost: Any  # float32
    demand: Any  # int32[DAYS], of this episode


def a_day(stock, order, demand):
    """Stock in the evening, units lost, cost."""
    stock = jnp.minimum(stock + order, LARGEST)
    lost = jnp.maximum(demand - stock, 0)
    left = jnp.maximum(stock - demand, 0)
    return left, lost, HOLDING * left + LOST * lost + ORDER * (order > 0)


def cost(design, params):
    reorder, level = (jnp.asarray(parameter.values)[design[i]] for i, parameter in enumerate(SPACE.parameters))

    def of_trace(demand):
        def step(stock, today):
            order = jnp.where(stock <= reorder, jnp.maximum(level - stock, 0), 0)
            left, lost, spent = a_day(stock, order, today)
            return left, (lost, spent)

        _, (lost, spent) = jax.lax.scan(step, jnp.int32(0), demand)
        return lost.sum() / demand.sum(), spent.sum() / DAYS

    shares, costs = jax.vmap(of_trace)(params.demand)
    excess = shares.max() - params.lost_share
    feasible = excess <= 0
    return Evaluation(
        Metrics(costs.mean(), shares.max()), jnp.where(feasible, costs.mean(), PENALTY * (1 + excess)), feasible
    )


class Days(FunctionalEnv):
    replayable = False
    horizon = DAYS
    observation_space = gymnasium.spaces.Box(0.0, 1.0, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(LARGEST + 1)

    def __init__(self, problem):
        super().__init__()
        self.reference = problem.reference.value

    def initial(self, rng, params=None):
        return State(jnp.int32(0), jnp.int32(0), jnp.float32(0), jax.random.randint(rng, (DAYS,), 0, 8))

    def transition(self, state, action, rng, params=None):
        left, _, spent = a_day(state.stock, action, state.demand[state.day])
        return State(state.day + 1, left, state.cost + spent, state.demand)

    def observation(self, state, rng, params=None):
        return jnp.stack([state.stock / LARGEST, state.day / DAYS]).astype(jnp.float32)

    def terminal(self, state, rng, params=None):
        return state.day >= DAYS

    def reward(self, state, action, next_state, rng, params=None):
        return (state.cost - next_state.cost) / DAYS

    def step_info(self, state, action, next_state, params=None):
        return {"stock": next_state.stock, "demand": state.demand[state.day], "ordered": jnp.minimum(action, LARGEST)}

    def design(self, state, params=None):
        return jnp.zeros(len(SPACE), jnp.int32)

    def evaluation(self, state, params=None):
        return Evaluation(Metrics(state.cost / DAYS, jnp.float32(0)), state.cost / DAYS, jnp.bool_(True))


def demands(seed, highest):
    return np.random.default_rng(seed).integers(0, highest + 1, (4, DAYS)).astype(np.int32)


def _build(scenario_id: str, lost: str, cases: str) -> Problem:
    share = np.float32(lost)
    return one_shot_problem(
        scenario=scenario_id,
        options={"lost": lost, "cases": cases},
        space=SPACE,
        objective=Objective("cost", "1", "a day, mean over traces"),
        cost=cost,
        params=Params(demands(1, 6), share),
        held_out_params=Params(demands(2, 8), share) if cases == "held out" else None,
        reference=("large", {"reorder": 8, "level": 12}, "order every day"),
        forms={"days": Days, **ONE_SHOT_FORMS},
    )


SCENARIO = Scenario(
    summary="order stock",
    options={
        "lost": Option("0.05", ("0.05", "1"), "share of the demand that may be lost"),
        "cases": Option("held out", ("held out", "same"), "what scores are taken on"),
    },
    build=_build,
)

dsegym.register("toy/Shop-v0", "shop:SCENARIO")
