"""dsegym/PowerCap-v0: cap the GPUs of a row that has more servers than its power supply feeds at once.

After POLCA. The rules and where figures come from: docs/power_cap.md. The game: `costmodels/serving/power/`. A row of
40 provisioned servers has some more; half of them serve low priority, half high. Loads come by the time of the
day, with noise and bursts. A cap on a class's GPU frequency takes 40 s; above the supply a brake stops the row.

| form | action, every 5 s |
|---|---|
| `decisions` | Discrete(16): 4 x low priority's level + high priority's, of 1410 (no cap), 1305, 1275, 1110 MHz |
| `parametric`, `sequential` | the parameters of a policy with two thresholds, as of a one-shot family: what is ranked |

Objective: 0.1 + per cent of latency lost, high priority's weighing ten times low priority's, + 10 for each brake.
Reward: minus the growth of the objective; the return is 0.1 - objective.
Observation: float32[27], `PowerCap.features`.
Termination: when the hours around the day's peak are over.

    >>> import gymnasium, dsegym
    >>> env = gymnasium.make("dsegym/PowerCap-v0")
    >>> observation, info = env.reset(seed=0)
    >>> observation, reward, terminated, truncated, info = env.step(4 * 2)  # low priority to 1275 MHz, in 40 s
    >>> reward, terminated
    (0.0, False)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from ...costmodels.arrays import Array
from ...costmodels.diagram import Diagram
from ...costmodels.errors import DsegymError
from ...costmodels.serving.power import bounds, game
from ...costmodels.serving.power.game import HISTORY, MOST_WAITING, STEP_S, Metrics, Params, State
from ...costmodels.serving.power.picture import draw_row
from ...costmodels.serving.power.plant import LEVELS_MHZ, PROVISIONED_SERVERS
from ..core.evaluation import Objective, Sweep
from ..core.features import Discrete, Feature
from ..core.options import Options, number, whole
from ..core.policies import HELD_OUT, SEARCH, PolicyEnv, policy_problem, seeds_of
from ..core.problem import Problem, bounded
from ..core.scenarios import Scenario
from ..core.spaces import DesignSpace, Heuristics, Parameter

__all__ = ["HEURISTICS", "SCENARIO", "PowerCap", "PowerCapOptions"]

EPISODES = 256  # that a design is costed on, if not said otherwise
BATCH_SIZES = (1, 16)
SERVERS = (48, 52, 56)  # that are drawn: 20, 30, 40 % more than are provisioned
STEPS_AN_HOUR = round(3600 / STEP_S)
_LEVELS = len(LEVELS_MHZ)

OBJECTIVE = Objective(
    "impact", "%", "latency lost, high priority weighing ten times low, and 10 for each brake; 0.1 is added"
)
NOTES = (
    "Loads are synthetic, tuned to POLCA's peak of 79 % and rise of 11.8 % in 40 s; nothing is a recorded trace.",
    "What frequency does to power and latency is assumed within POLCA's published bands, and chosen so that low "
    "priority's first cap costs the published 2 %; hosts' power is assumed.",
)
_THRESHOLDS = (0.0, *(round(0.7 + 0.01 * place, 2) for place in range(31)), 9.0)  # 0: always, 9: never
_RELEASES = (0.01, 0.02, 0.03, 0.05, 0.08, 0.1)
_MHZ = tuple(int(each) for each in LEVELS_MHZ)
SPACE = DesignSpace(
    (
        Parameter(
            "first_threshold", _THRESHOLDS, summary="power over the supply, above which the first caps are given"
        ),
        Parameter("first_low", _MHZ, "MHz", summary="low priority's frequency there"),
        Parameter("first_high", _MHZ, "MHz", summary="high priority's frequency there"),
        Parameter("second_threshold", _THRESHOLDS, summary="power above which the second caps are given"),
        Parameter("second_low", _MHZ, "MHz", summary="low priority's frequency there"),
        Parameter("second_high", _MHZ, "MHz", summary="high priority's, once low priority's second cap is in force"),
        Parameter("release", _RELEASES, summary="how far below its threshold power must be for a cap to be lifted"),
    )
)
HEURISTICS = Heuristics(
    SPACE,
    {
        "first_threshold": 9.0,
        "first_low": 1410,
        "first_high": 1410,
        "second_threshold": 9.0,
        "second_low": 1410,
        "second_high": 1410,
        "release": 0.05,
    },
    {
        "polca": {
            "first_threshold": 0.8,
            "first_low": 1275,
            "second_threshold": 0.89,
            "second_low": 1110,
            "second_high": 1305,
        },
        "no_cap": {},
        "cap_all": {"first_threshold": 0.0, "first_low": 1275, "first_high": 1275},
        "one_threshold_low": {"first_threshold": 0.89, "first_low": 1110},
        "one_threshold_all": {"first_threshold": 0.89, "first_low": 1275, "first_high": 1275},
    },
)


@dataclass(frozen=True)
class PowerCapOptions(Options):
    """What tells instances apart."""

    servers: int = whole(
        52,
        SERVERS,
        least=PROVISIONED_SERVERS,
        most=2 * PROVISIONED_SERVERS,
        unit="servers",
        summary=f"on the supply of {PROVISIONED_SERVERS}",
    )
    hours: int = whole(1, (1, 4), least=1, most=24, unit="h", summary="of an episode, around the day's peak")
    delay: int = whole(40, (20, 40, 80), least=0, most=120, unit="s", summary="until a cap takes effect")
    high: float = number(0.5, (0.25, 0.5, 0.75), least=0.05, most=0.95, summary="share of high priority's servers")
    episodes: int = whole(
        EPISODES,
        (EPISODES,),
        least=16,
        most=4096,
        summary="that a design is costed on, and as many others that its score is taken on",
    )


@dataclass(frozen=True)
class PowerCap(PolicyEnv[State, Params]):
    """Step by step; see the module's docstring.

    Attributes:
        horizon: steps of an episode.
    """

    horizon: int
    game = game
    action_space = Discrete(_LEVELS**2)
    features = (
        Feature("power", (HISTORY,), high=2.0, meaning="over the supply, of the last 40 s, the newest first"),
        Feature("rise", (), -2.0, 2.0, "of power in these 40 s"),
        Feature("load", (2,), meaning="of low and high priority, over what their servers can do"),
        Feature("waiting", (2,), high=MOST_WAITING, meaning="work that waits, in steps of a class's servers"),
        Feature("commanded", (2, _LEVELS), meaning="1 at the level of each class's last command"),
        Feature("applied", (2,), meaning="level in force over the highest"),
        Feature("braked", meaning="1 while the brake holds or is called"),
        Feature("left", meaning="of the episode"),
        Feature("servers", high=2.0, meaning="over the provisioned ones"),
        Feature("day", meaning="the mean load at this hour"),
    )

    def advance(self, state: State, action: Array, params: Params) -> State:
        """Gives both classes' commands; a number that is no action counts as the nearest one."""
        action = jnp.clip(jnp.asarray(action, jnp.int32), 0, _LEVELS**2 - 1)
        return game.advance(state, jnp.stack([action // _LEVELS, action % _LEVELS]), params)

    def objective(self, metrics: Metrics) -> Array:
        """See the module's docstring."""
        return game.impact(metrics)

    def observe(self, state: State, params: Params) -> Mapping[str, Array]:
        """See `features`."""
        hour = params.first_hour + state.step.astype(jnp.float32) * (STEP_S / 3600)
        return {
            "power": jnp.clip(state.history, 0.0, 2.0),
            "rise": jnp.clip(state.history[0] - state.history[-1], -2.0, 2.0),
            "load": state.load,
            "waiting": state.waiting,
            "commanded": (state.commanded[:, None] == np.arange(_LEVELS)).astype(jnp.float32),
            "applied": state.applied.astype(jnp.float32) / (_LEVELS - 1),
            "braked": (state.brake_left > 0) | state.brake_called,
            "left": jnp.maximum(params.steps - state.step, 0).astype(jnp.float32) / params.steps.astype(jnp.float32),
            "servers": jnp.asarray(params.servers, jnp.float32),
            "day": game.day_curve(hour),
        }

    def decide(self, design: Array, state: State, params: Params) -> Array:
        """The action of a policy with two thresholds: caps stay until power is `release` below theirs."""
        chosen = SPACE.values(design)
        places = {
            name: jnp.asarray(design)[SPACE.names.index(name)]
            for name in ("first_low", "first_high", "second_low", "second_high")
        }
        power, (low, high) = state.power, (state.commanded[0], state.commanded[1])
        has_second = (low == places["second_low"]) & ((high == places["second_high"]) | (high == places["first_high"]))
        has_first = (low > 0) | (high > 0)
        kept = chosen["release"]
        second = (power > chosen["second_threshold"]) | (has_second & (power > chosen["second_threshold"] - kept))
        first = (power > chosen["first_threshold"]) | (has_first & (power > chosen["first_threshold"] - kept))
        reached = (state.applied[0] == places["second_low"]) | (high == places["second_high"])
        second_high = jnp.where(reached, places["second_high"], jnp.where(first, places["first_high"], 0))
        low = jnp.where(second, places["second_low"], jnp.where(first, places["first_low"], 0))
        high = jnp.where(second, second_high, jnp.where(first, places["first_high"], 0))
        return (low * _LEVELS + high).astype(jnp.int32)

    def drawing(self, states: Sequence[State], actions: Sequence[object], params: Params) -> Diagram:
        """The row's power."""
        return draw_row(states)


def build(options: PowerCapOptions) -> Problem:
    """An instance.

    Raises:
        DsegymError: the delay is no whole number of steps.
    """
    if options.delay % STEP_S:
        raise DsegymError(f"delay = {options.delay} is no multiple of {STEP_S:g} s, the time of a step.")
    steps = options.hours * STEPS_AN_HOUR
    held_out = Params(
        seeds=seeds_of(HELD_OUT, options.episodes),
        steps=np.asarray(steps, np.int32),
        delay_steps=np.asarray(round(options.delay / STEP_S), np.int32),
        shares=np.array([1 - options.high, options.high], np.float32),
        servers=np.asarray(options.servers / PROVISIONED_SERVERS, np.float32),
        first_hour=np.asarray(game.PEAK_HOUR - options.hours / 2, np.float32),
    )
    return policy_problem(
        PowerCap(steps),
        options=options,
        heuristics=HEURISTICS,
        params=held_out._replace(seeds=seeds_of(SEARCH, options.episodes)),
        held_out_params=held_out,
        reference=(
            "polca",
            "POLCA's thresholds: low priority to 1275 MHz above 80 %, to 1110 above 89 %, then high to 1305",
        ),
        bound=bounded(
            "bound",
            lambda problem: float(bounds.least_impact(held_out).mean()),
            "every moment capped at once and no more than it must be, or a single brake",
        ),
        objective=OBJECTIVE,
        notes=NOTES,
        sweep=Sweep(
            option="servers",
            values=("44", "48", "52", "56"),
            x_label="servers on the supply of 40",
            y_label="impact (%)",
            baselines=("no_cap", "cap_all"),
        ),
        batch_sizes=BATCH_SIZES,
    )


CORE: Sequence[Mapping[str, object]] = (  # POLCA's row, fewer and more servers, slow and fast actuators, priorities
    {},
    {"servers": 54},
    {"servers": 56, "delay": 20},
    {"delay": 80},
    {"high": 0.75},
    {"hours": 4},
)
SCENARIO = Scenario(
    summary="Cap the GPUs of a row with more servers than its power supply feeds at once, by priority and in time.",
    options_type=PowerCapOptions,
    build=build,
    core=CORE,
    facts=lambda: (("Heuristics (blank: neutral)", HEURISTICS.rows()),),
)
