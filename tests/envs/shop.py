"""A third party's stochastic scenario in one file: a shop orders stock for `DAYS` days of demand, at least mean cost.

A design is a policy of two parameters: when the stock in the morning is at most `reorder`, order up to `level`. A
search costs it on four demand traces and is scored on four others. It is feasible where no trace leaves more than the
option's share of the demand unserved; the search's traces are the milder ones, so that some policies are feasible on
them only.

Forms: `days`, the default, in which an episode draws a demand trace of its own and the agent orders day by day, so that
no design replays it; and the one-shot forms.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import dsegym
from dsegym import DesignSpace, Evaluation, Objective, Options, Parameter, Problem, Scenario, one_shot_problem
from dsegym.envs.core.features import Discrete, Feature
from dsegym.envs.core.functional import FunctionalEnv
from dsegym.envs.core.one_shot import ONE_SHOT_FORMS
from dsegym.envs.core.options import choice, number

DAYS, LARGEST, PENALTY = 20, 12, 1000.0
HOLDING, LOST, ORDER = 1.0, 6.0, 8.0  # cost of a unit in stock overnight, of a unit of demand not served, of an order
SPACE = DesignSpace((Parameter("reorder", tuple(range(9)), "units"), Parameter("level", tuple(range(4, 13)), "units")))


class Params(NamedTuple):
    demand: Any  # int32[traces, DAYS]
    per_demand: Any  # float32[traces], 1 over a trace's demand
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
    reorder, level = SPACE.values(design).values()

    def of_trace(demand):
        def step(stock, today):
            order = jnp.where(stock <= reorder, jnp.maximum(level - stock, 0), 0)
            left, lost, spent = a_day(stock, order, today)
            return left, (lost, spent)

        _, (lost, spent) = jax.lax.scan(step, jnp.int32(0), demand)
        return lost.sum(), spent.sum()

    lost, spent = jax.vmap(of_trace)(params.demand)
    shares = lost * params.per_demand
    mean = spent.sum() * np.float32(1 / spent.size / DAYS)  # costs are whole numbers: their sum has no order
    excess = shares.max() - params.lost_share
    feasible = excess <= 0
    return Evaluation(Metrics(mean, shares.max()), jnp.where(feasible, mean, PENALTY * (1 + excess)), feasible)


@dataclass(frozen=True)
class Days(FunctionalEnv):
    replayable = False
    horizon = DAYS
    features = (Feature("stock", meaning=f"units over {LARGEST}"), Feature("day", meaning=f"days over {DAYS}"))

    @property
    def action_space(self):
        return Discrete(LARGEST + 1)

    def start(self, key, params):
        return State(jnp.int32(0), jnp.int32(0), jnp.float32(0), jax.random.randint(key, (DAYS,), 0, 8))

    def advance(self, state, action, params):
        left, _, spent = a_day(state.stock, action, state.demand[state.day])
        return State(state.day + 1, left, state.cost + spent, state.demand)

    def observe(self, state, params):
        return {"stock": state.stock / LARGEST, "day": state.day / DAYS}

    def over(self, state, params):
        return state.day >= DAYS

    def reward(self, state, next_state, params):
        return (state.cost - next_state.cost) / DAYS

    def step_info(self, state, action, next_state, params):
        return {"stock": next_state.stock, "demand": state.demand[state.day], "ordered": jnp.minimum(action, LARGEST)}

    def design(self, state, params):
        return jnp.zeros(len(SPACE), jnp.int32)

    def evaluation(self, state, params):
        return Evaluation(Metrics(state.cost / DAYS, jnp.float32(0)), state.cost / DAYS, jnp.bool_(True))


def demands(seed, highest):
    return np.random.default_rng(seed).integers(0, highest + 1, (4, DAYS)).astype(np.int32)


@dataclass(frozen=True)
class ShopOptions(Options):
    lost: float = number(0.05, (0.05, 1), least=0, most=1, summary="share of the demand that may be lost")
    cases: str = choice("held out", ("held out", "same"), "what scores are taken on")


def _build(options: ShopOptions) -> Problem:
    share = np.float32(options.lost)
    traces = [(demand, (1 / demand.sum(1)).astype(np.float32)) for demand in (demands(1, 6), demands(2, 8))]
    return one_shot_problem(
        options=options,
        space=SPACE,
        objective=Objective("cost", "1", "a day, mean over traces"),
        cost=cost,
        params=Params(*traces[0], share),
        held_out_params=Params(*traces[1], share) if options.cases == "held out" else None,
        reference=("large", {"reorder": 8, "level": 12}, "order every day"),
        forms={"days": lambda problem: Days(), **ONE_SHOT_FORMS},
    )


SCENARIO = Scenario(summary="order stock", options_type=ShopOptions, build=_build)

dsegym.register("toy/Shop-v0", "shop:SCENARIO")
