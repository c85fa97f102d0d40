"""dsegym/SolveVerify-v0: sample once more, verify an answer, or answer, within a budget for each problem.

The rules, the policy and where figures come from: docs/solve_verify.md. The game: `costmodels/reasoning/verify/`. A
sample costs 1, a verdict lambda. Samples that give the same answer form a group (HumanEval: those that pass the same
generated tests). K groups at most.

| form | action, Discrete(11) |
|---|---|
| `decisions` | 0: sample; 1 to 5: a verdict on the largest, second largest, ... group; 6 to 10: answer with it |
| `parametric`, `sequential` | the parameters of a policy, as of a one-shot family: what the leaderboard ranks |

Reward: when it answers, the share of the answer's sampled members that are right (a group may hold right and wrong
programs), less `price` times the spent share of the budget; the return is 1 - the objective. An action that is not
legal counts as answering with the largest group; `info["illegal_actions"]` counts those.
Observation: float32[27], `SolveVerify.features`.
Termination: with the answer.

    >>> import gymnasium, dsegym
    >>> env = gymnasium.make("dsegym/SolveVerify-v0", data="humaneval", budget=8)
    >>> observation, info = env.reset(seed=0)
    >>> info["action_mask"].tolist()  # nothing to verify yet; answering now would be wrong
    [1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from ...costmodels.arrays import Array
from ...costmodels.diagram import Diagram
from ...costmodels.reasoning.verify import bounds, game, model
from ...costmodels.reasoning.verify.game import ANSWER, SAMPLE, TOP, VERIFY, Params, State
from ...costmodels.reasoning.verify.picture import draw_problem
from ..core.evaluation import Objective, Sweep
from ..core.features import Discrete, Feature
from ..core.options import Options, choice, number, number_or_own
from ..core.policies import HELD_OUT, SEARCH, PolicyEnv, policy_problem, seeds_of
from ..core.problem import Problem, bounded
from ..core.scenarios import Scenario
from ..core.spaces import DesignSpace, Heuristics, Parameter

__all__ = ["HEURISTICS", "SCENARIO", "SolveVerify", "SolveVerifyOptions"]

EPISODES = 256  # problems that a design is costed on
BATCH_SIZES = (1, 32)
RECORDED, SYNTHETIC = "humaneval", "genrm"
OWN_VERIFY_COST = {RECORDED: 0.25, SYNTHETIC: 2}
BUDGETS = (4, 8, 16, 32, 64)  # that are drawn
_TYPICAL_BUDGET = 16  # is seen as 1/2
MOST_BUDGET = 100  # samples that are recorded of each problem

OBJECTIVE = Objective("failure", "fraction", "1 - accuracy of the answers, plus price x spent share of the budget")
NOTES = {
    RECORDED: (
        "Samples and tests of CodeGen-16B on HumanEval (CodeT) are recorded; a verdict is one such test on a group.",
        "That a test costs a quarter of a sample is an assumption.",
    ),
    SYNTHETIC: ("Solver and verifier are synthetic; best-of-S then needs 3 to 12 times self-consistency's compute.",),
}
_SHARES = (0.0, 0.125, 0.25, 0.375, 0.5, 0.75, 1.0)
_VERDICTS = (0, 1, 2, 4, 8, 16, 32)
_CONFIDENCES = (0.8, 0.9, 0.95, 0.99, 1.0)
SPACE = DesignSpace(
    (
        Parameter("samples", _SHARES, summary="share of the budget that is spent on samples first; one at least"),
        Parameter("groups", (1, 2, 3, 5), summary="the largest groups are verified"),
        Parameter("verdicts", _VERDICTS, summary="on each of them"),
        Parameter("escalate", ("no", "yes"), ordered=False, summary="two verdicts, and more only if they disagree"),
        Parameter("rest", ("stop", "sample"), ordered=False, summary="what is done when the verdicts are in"),
        Parameter("confidence", _CONFIDENCES, summary="answers once the largest group stays so this surely; 1: never"),
        Parameter("votes_exponent", (0.0, 0.5, 1.0, 2.0), summary="a group's worth grows with its size to this power"),
        Parameter("verdict_worth", ("none", "share", "count"), ordered=False, summary="and with what of its verdicts"),
    )
)
HEURISTICS = Heuristics(
    SPACE,
    dict(
        samples=1.0,
        groups=1,
        verdicts=0,
        escalate="no",
        rest="stop",
        confidence=1.0,
        votes_exponent=1.0,
        verdict_worth="none",
    ),
    {
        "self_consistency": {},
        "single_sample": {"samples": 0.0},
        "confidence_stop": {"confidence": 0.95},
        "best_of_n": {"samples": 0.25, "groups": 5, "verdicts": 8, "votes_exponent": 0.0, "verdict_worth": "share"},
        "verify_top_two": {"samples": 0.5, "groups": 2, "verdicts": 16, "verdict_worth": "share"},
        "agreement_and_verdicts": dict(samples=0.5, groups=5, verdicts=32, votes_exponent=0.5, verdict_worth="count"),
        "escalation": {"samples": 0.5, "groups": 3, "verdicts": 8, "escalate": "yes", "verdict_worth": "share"},
        "verify_then_sample": {"samples": 0.25, "groups": 3, "verdicts": 4, "rest": "sample", "verdict_worth": "share"},
    },
)


@dataclass(frozen=True)
class SolveVerifyOptions(Options):
    """What tells instances apart."""

    data: str = choice(
        RECORDED, (RECORDED, SYNTHETIC), "recorded samples and tests, or a synthetic solver and verifier"
    )
    budget: float = number(
        16, BUDGETS, least=1, most=MOST_BUDGET, unit="samples", summary="of a problem; 100 samples are recorded of each"
    )
    verify_cost: float | None = number_or_own(
        (0.25, 1, 2), least=0.05, most=100, unit="samples", summary="of a verdict; own: 0.25 for humaneval, 2 for genrm"
    )
    price: float = number(0, (0, 0.1, 0.2), least=0, most=1, summary="of the whole budget, in accuracy")


@dataclass(frozen=True)
class SolveVerify(PolicyEnv[State, Params]):
    """Sample by sample and verdict by verdict; see the module's docstring.

    Attributes:
        samples: that the budget has room for, at most.
        horizon: as many steps as the cheaper action has room for, and the answer; a field, so that environments are
            equal, and share compiled code, at all prices of a verdict that leave it as it is.
    """

    samples: int
    horizon: int
    game = game
    action_space = Discrete(1 + 2 * TOP)
    features = (
        Feature("share", (TOP,), meaning="of samples, in each of the largest groups"),
        Feature("verdicts", (TOP,), meaning="n / (n + 4) of each group's number of verdicts"),
        Feature("yes", (TOP,), meaning="share of yes among each group's verdicts; 0 where there are none"),
        Feature("can_verify", (TOP,), meaning="1 where the budget pays for a verdict on the group"),
        Feature("spent", meaning="share of the budget"),
        Feature("samples", meaning="n / (n + 8) of the number of samples"),
        Feature("entropy", meaning="of the groups' shares, over log K"),
        Feature("can_sample", meaning="1 where the budget pays for a sample"),
        Feature("budget", meaning=f"b / (b + {_TYPICAL_BUDGET}) of b samples"),
        Feature("verify_cost", meaning="c / (c + 1) of c samples"),
        Feature("price", meaning="of the whole budget, in accuracy"),
    )

    def start(self, key: Array, params: Params) -> State:
        """A problem, nothing sampled."""
        return game.start(self.samples, key, params)

    def reward(self, state: State, next_state: State, params: Params) -> Array:
        """float32: the answer's correctness, less what was paid."""
        paid = params.price * (next_state.spent - state.spent) / params.budget
        return jnp.where(next_state.answered, next_state.accuracy, 0.0) - paid

    def observe(self, state: State, params: Params) -> Mapping[str, Array]:
        """See `features`."""
        ranked = state.ranked
        sample, verify, _ = game.legal(state, params)
        share = state.votes / jnp.maximum(state.samples, 1)
        bits = jnp.sum(jnp.where(share > 0, share * jnp.log(jnp.maximum(share, 1e-9)), 0.0))
        verdicts = state.verdicts[ranked]
        return {
            "share": share[ranked],
            "verdicts": verdicts / (verdicts + 4),
            "yes": state.yes[ranked] / jnp.maximum(verdicts, 1),
            "can_verify": verify,
            "spent": jnp.clip(state.spent / params.budget, 0.0, 1.0),
            "samples": state.samples / (state.samples + 8),
            "entropy": jnp.clip(-bits / math.log(len(state.votes)), 0.0, 1.0),
            "can_sample": sample,
            "budget": params.budget / (params.budget + _TYPICAL_BUDGET),
            "verify_cost": params.verify_cost / (params.verify_cost + 1),
            "price": params.price,
        }

    def decide(self, design: Array, state: State, params: Params) -> Array:
        """int32, the action of a design's policy: samples, verdicts on the largest groups in turn, then the rest."""
        chosen, ranked = SPACE.values(design), state.ranked
        first = jnp.maximum(jnp.floor(chosen["samples"] * params.budget * (1 + 1e-6)), 1)
        sample, verify, _ = game.legal(state, params)
        verdicts, yes, votes = state.verdicts[ranked], state.yes[ranked], state.votes[ranked]
        agree = (verdicts >= 2) & ((yes == 0) | (yes == verdicts))
        settled = (verdicts >= chosen["verdicts"]) | ((chosen["escalate"] == SPACE["escalate"].index("yes")) & agree)
        due = verify & ~settled & (jnp.arange(TOP) < chosen["groups"])
        next_due = jnp.argmin(jnp.where(due, verdicts, jnp.inf))
        # The chance that the larger of two groups is the more likely one, by the normal approximation.
        lead = (votes[0] - votes[1]) / jnp.sqrt(votes[0] + votes[1] + 1)
        sure = jax.scipy.stats.norm.cdf(lead) >= chosen["confidence"]
        sure = sure & (chosen["confidence"] < 1) & (state.samples > 1)
        early = sample & (state.samples < first) & ~sure
        late = sample & (chosen["rest"] == SPACE["rest"].index("sample")) & ~sure
        action = jnp.where(late, SAMPLE, ANSWER + _best(chosen, votes, verdicts, yes, state.tie[ranked]))
        action = jnp.where(jnp.any(due), VERIFY + next_due, action)
        return jnp.where(early, SAMPLE, action).astype(jnp.int32)

    def sizes(self, params: Params) -> Mapping[str, int]:
        """The samples and the steps that the budget has room for."""
        return {"samples": self.samples, "steps": self.horizon}

    def padded(self, params: Params, sizes: Mapping[str, int]) -> tuple[SolveVerify, Params]:
        """More samples, which the budget never has room for."""
        return SolveVerify(sizes["samples"], sizes["steps"]), params

    def drawing(self, states: Sequence[State], actions: Sequence[object], params: Params) -> Diagram:
        """Where the budget went."""
        return draw_problem(states, budget=float(params.budget))


def _best(chosen: Mapping[str, Array], votes: Array, verdicts: Array, yes: Array, tie: Array) -> Array:
    """int32: the rank to answer with."""
    worths = {"none": jnp.ones(TOP), "share": (yes + 0.5) / (verdicts + 1), "count": yes + 0.01}
    by_place = jnp.stack([worths[str(name)] for name in SPACE["verdict_worth"].values])
    kind = jnp.arange(len(by_place))[:, None] == chosen["verdict_worth"]
    worth = votes ** chosen["votes_exponent"] * jnp.sum(jnp.where(kind, by_place, 0.0), axis=0)
    return jnp.argmax(jnp.where(votes > 0, worth * (1 + 1e-4 * tie), -1.0))


def _best_fixed(problem: Problem) -> Sequence[int]:
    """The best on the search's problems of all fixed numbers of samples and verdicts, by either use of verdicts."""
    uses = ((0.0, "share"), (1.0, "share"), (0.5, "count"))
    designs = np.array(
        [
            HEURISTICS.encode(dict(samples=share, groups=5, verdicts=count, votes_exponent=votes, verdict_worth=worth))
            for share in _SHARES[1:]
            for count in _VERDICTS
            for votes, worth in uses
        ]
    )
    return tuple(designs[int(np.argmin(problem.evaluate(designs).objective))].tolist())


def build(options: SolveVerifyOptions) -> Problem:
    """An instance."""
    recorded = options.data == RECORDED
    each = OWN_VERIFY_COST[options.data] if options.verify_cost is None else options.verify_cost
    room = options.budget * game.WITHIN
    samples, verdicts = math.floor(room), math.floor(max(room - 1, 0) / each)
    figures = {"budget": options.budget, "verify_cost": each, "price": options.price}
    held_out = game.params_of("test" if recorded else None, seeds_of(HELD_OUT, EPISODES), **figures)
    return policy_problem(
        SolveVerify(samples=samples, horizon=max(samples, 1 + verdicts) + 1),
        options=options,
        heuristics=HEURISTICS,
        params=game.params_of("train" if recorded else None, seeds_of(SEARCH, EPISODES), **figures),
        held_out_params=held_out,
        reference=("self_consistency", "the whole budget on samples, the largest group wins"),
        bound=bounded(
            "bound",
            lambda problem: bounds.least_failure(samples, held_out),
            "coverage: any of the samples that the budget has room for is right",
        ),
        best=lambda params: bounds.oracle_metrics(samples, params),
        searched={"best_fixed": _best_fixed},
        objective=OBJECTIVE,
        notes=NOTES[options.data],
        splits=game.recorded_sizes() if recorded else {},
        sweep=Sweep(
            option="budget",
            values=tuple(map(str, BUDGETS)),
            x_label="budget (samples a problem)",
            y_label="accuracy (fraction of problems answered right)",
            baselines=("single_sample", "agreement_and_verdicts"),
        ),
        batch_sizes=BATCH_SIZES,
    )


CORE = (  # both backends at several budgets and prices of verification
    {"budget": 8},
    {},
    {"verify_cost": 1},
    {"data": SYNTHETIC},
    {"data": SYNTHETIC, "budget": 32, "verify_cost": 0.25},
    {"data": SYNTHETIC, "verify_cost": 1, "price": 0.2},
)
SCENARIO = Scenario(
    summary="Sample again, verify, or answer: spend a budget on one problem at a time.",
    options_type=SolveVerifyOptions,
    build=build,
    core=CORE,
    facts=lambda: (("Rules (blank: neutral)", HEURISTICS.rows()), ("Synthetic verifier", model.preset_rows())),
)
