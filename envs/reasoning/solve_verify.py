"""dsegym/SolveVerify-v0: sample once more, verify an answer, or answer, within a budget for each problem.

The rules, the policy and where figures come from: docs/solve_verify.md. A sample costs 1, a verdict lambda. Samples
that give the same answer form a group (HumanEval: those that pass the same generated tests). K groups at most.

| form | action, Discrete(11) |
|---|---|
| `decisions` | 0: sample; 1 to 5: a verdict on the largest, second largest, ... group; 6 to 10: answer with it |
| `parametric`, `sequential` | the parameters of a policy, as of a one-shot family: what the leaderboard ranks |

Reward: when it answers, the share of the answer's sampled members that are right (a group may hold right and wrong
programs), less `price` times the spent share of the budget; the return is 1 - the objective. An action that is not
legal counts as answering with the largest group; `info["illegal_actions"]` counts those.
Observation: float32 in [0, 1]; of each of the five largest groups [share of samples, verdicts / (verdicts + 4), share
of yes, can be verified]; of all [spent share, samples / (samples + 8), entropy of the groups over log K, can sample].
Termination: with the answer.

    >>> import gymnasium, dsegym
    >>> env = gymnasium.make("dsegym/SolveVerify-v0", data="humaneval", budget="8")
    >>> observation, info = env.reset(seed=0)
    >>> info["action_mask"].tolist()  # nothing to verify yet; answering now would be wrong
    [1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from ...costmodels.breakdown import Breakdown
from ...costmodels.diagram import Diagram
from ...costmodels.reasoning.best_of_n import belief_grid
from ...costmodels.reasoning.laws import BetaFit
from ...costmodels.reasoning.luck import normal, uniform
from ...costmodels.reasoning.outcomes import human_eval
from ...costmodels.reasoning.splits import split_indices
from ...costmodels.reasoning.verify.model import ANSWERS, PRESET, PRIOR, wrong_answer_weights
from ..core.functional import ONE_SHOT_FORMS
from ..core.policies import HELD_OUT, SEARCH, PolicyEnv, policy_cost, policy_diagram, seeds_of
from ..core.problem import Objective, Problem, Sweep, Yardstick, one_shot_problem
from ..core.scenarios import Option, Scenario, number_between
from ..core.spaces import DesignSpace, Parameter
from .policy_diagrams import draw_problem

__all__ = ["SCENARIO", "Metrics", "Params", "Rules", "SolveVerify"]

RECORDED, SYNTHETIC = "humaneval", "genrm"
OWN = "own"
OWN_VERIFY_COST = {RECORDED: "0.25", SYNTHETIC: "2"}
EPISODES = 256
TOP = 5  # groups that can be seen, verified and answered with
TESTS = 32  # verdicts on a group, at most
GROUPS = 48  # of HumanEval's samples, at least as many as any problem has
BUDGETS = ("4", "8", "16", "32", "64")
MOST_BUDGET = 100  # samples that are recorded of each problem
QUANTILES = 1024
SAMPLE, VERIFY, ANSWER = 0, 1, 1 + TOP
_PADDING = 128  # problems
# What luck decides: the last word of its hash.
_PROBLEM, _ORDER, _RIGHT, _WRONG, _VERDICT, _TIE, _NOISE, _TEST = range(8)

_SHARES = (0.0, 0.125, 0.25, 0.375, 0.5, 0.75, 1.0)
_VERDICTS = (0, 1, 2, 4, 8, 16, 32)
_CONFIDENCES = (0.8, 0.9, 0.95, 0.99, 1.0)
_EXPONENTS = (0.0, 0.5, 1.0, 2.0)
SPACE = DesignSpace(
    (
        Parameter("samples", _SHARES, summary="share of the budget that is spent on samples first; one at least"),
        Parameter("groups", (1, 2, 3, 5), summary="the largest groups are verified"),
        Parameter("verdicts", _VERDICTS, summary="on each of them"),
        Parameter("escalate", ("no", "yes"), ordered=False, summary="two verdicts, and more only if they disagree"),
        Parameter("rest", ("stop", "sample"), ordered=False, summary="what is done when the verdicts are in"),
        Parameter("confidence", _CONFIDENCES, summary="answers once the largest group stays so this surely; 1: never"),
        Parameter("votes_exponent", _EXPONENTS, summary="a group's worth grows with its size to this power"),
        Parameter("verdict_worth", ("none", "share", "count"), ordered=False, summary="and with what of its verdicts"),
    )
)
_NEUTRAL: Mapping[str, object] = {
    "samples": 1.0,
    "groups": 1,
    "verdicts": 0,
    "escalate": "no",
    "rest": "stop",
    "confidence": 1.0,
    "votes_exponent": 1.0,
    "verdict_worth": "none",
}
_RULES: Mapping[str, Mapping[str, object]] = {
    "self_consistency": {},
    "single_sample": {"samples": 0.0},
    "confidence_stop": {"confidence": 0.95},
    "best_of_n": {"samples": 0.25, "groups": 5, "verdicts": 8, "votes_exponent": 0.0, "verdict_worth": "share"},
    "verify_top_two": {"samples": 0.5, "groups": 2, "verdicts": 16, "verdict_worth": "share"},
    "agreement_and_verdicts": {
        "samples": 0.5,
        "groups": 5,
        "verdicts": 32,
        "votes_exponent": 0.5,
        "verdict_worth": "count",
    },
    "escalation": {"samples": 0.5, "groups": 3, "verdicts": 8, "escalate": "yes", "verdict_worth": "share"},
    "verify_then_sample": {"samples": 0.25, "groups": 3, "verdicts": 4, "rest": "sample", "verdict_worth": "share"},
}
REFERENCE = "self_consistency"
OBJECTIVE = Objective("failure", "fraction", "1 - accuracy of the answers, plus price x spent share of the budget")
NOTES = {
    RECORDED: (
        "Samples and tests of CodeGen-16B on HumanEval (CodeT) are recorded; a verdict is one such test on a group.",
        "That a test costs a quarter of a sample is an assumption.",
    ),
    SYNTHETIC: ("Solver and verifier are synthetic; best-of-S then needs 3 to 12 times self-consistency's compute.",),
}


class Metrics(NamedTuple):
    """Of a problem; float32 scalars."""

    accuracy: Any
    spent_samples: Any  # samples + lambda x verdicts
    samples: Any
    verdicts: Any
    price_paid: Any  # price x spent share


class Rules(NamedTuple):
    """What shapes the program of an instance; the rest is in `Params`."""

    recorded: bool
    samples: int  # that the budget has room for
    verdicts: int

    @property
    def horizon(self) -> int:
        """Steps of an episode, the answer included: as many as the cheaper action has room for."""
        return max(self.samples, 1 + self.verdicts) + 1


class Params(NamedTuple):
    """An instance. P problems of the pool, padded; of the synthetic backend 1, without meaning."""

    seeds: Any  # uint32[E]
    problems: Any  # int32, how many of the P there are
    group: Any  # int32[P, 100], of each recorded sample
    correct: Any  # bool[P, 100]
    passed: Any  # uint32[P, GROUPS], the generated tests that a group passes, a bit each
    tests: Any  # int32[P], generated tests
    quantiles: Any  # float32[QUANTILES], of p
    wrong: Any  # float32[ANSWERS - 1], cumulative shares of wrong answers
    budget: Any  # float32, in samples
    verify_cost: Any  # float32, lambda
    price: Any  # float32


class State(NamedTuple):
    """Where a problem stands. S samples that the budget has room for."""

    seed: Any  # uint32
    answers: Any  # int32[S], the groups of the samples to come
    right: Any  # bool[S]
    inclined: Any  # float32[K], logits of yes (synthetic); or uint32[K], tests passed (recorded)
    order: Any  # int32[TESTS], the order of tests (recorded)
    most: Any  # int32, verdicts on a group at most
    votes: Any  # float32[K]
    members_right: Any  # float32[K], votes of samples that are right
    verdicts: Any  # float32[K]
    yes: Any  # float32[K]
    tie: Any  # float32[K], below 1: luck that breaks ties
    ranked: Any  # int32[TOP], the largest groups; ties by luck
    samples: Any  # int32
    spent: Any  # float32
    answered: Any  # bool
    accuracy: Any  # float32, of the answer
    illegal: Any  # int32


class SolveVerify(PolicyEnv):
    """Sample by sample and verdict by verdict; see the module's docstring."""

    def __init__(self, rules: Rules, reference: float = float("nan")):
        super().__init__()
        self._recorded, self._samples = rules.recorded, rules.samples
        self._groups = GROUPS if rules.recorded else ANSWERS
        self.horizon, self.reference = rules.horizon, reference
        self.action_space = gymnasium.spaces.Discrete(1 + 2 * TOP)
        self.observation_space = gymnasium.spaces.Box(0.0, 1.0, (4 * TOP + 4,), np.float32)

    # An episode ------------------------------------------------------------------------------------------------------

    def initial(self, rng: Any, params: Any = None) -> State:
        """A problem, nothing sampled."""
        seed = jax.random.bits(rng)
        groups, draws = jnp.arange(self._groups), jnp.arange(self._samples)
        if self._recorded:
            problem = (uniform(seed, 0, _PROBLEM) * params.problems).astype(jnp.int32)
            chosen = _shuffled(uniform(seed, jnp.arange(params.group.shape[1]), _ORDER))[: self._samples]
            answers = jnp.asarray(params.group)[problem][chosen]
            right = jnp.asarray(params.correct)[problem][chosen]
            inclined = jnp.asarray(params.passed)[problem]
            most = jnp.asarray(params.tests)[problem]
            tests = jnp.arange(TESTS)
            order = _shuffled(jnp.where(tests < most, uniform(seed, tests, _TEST), 1.0))
        else:
            p = jnp.asarray(params.quantiles)[(uniform(seed, 0, _PROBLEM) * QUANTILES).astype(jnp.int32)]
            right = uniform(seed, draws, _RIGHT) < p
            luck = uniform(seed, draws, _WRONG)
            wrong = 1 + jnp.sum(luck[:, None] >= jnp.asarray(params.wrong), axis=1)
            answers = jnp.where(right, 0, jnp.minimum(wrong, ANSWERS - 1)).astype(jnp.int32)
            noise = normal(seed, groups, _NOISE)
            wrong_logit = _logit(PRESET.yes_if_wrong) + PRESET.answer * noise
            inclined = jnp.where(groups == 0, _logit(PRESET.yes_if_right) + PRESET.problem * noise, wrong_logit)
            most, order = jnp.int32(TESTS), jnp.zeros(TESTS, jnp.int32)
        none, zero = jnp.zeros(self._groups), jnp.float32(0)
        tie = uniform(seed, groups, _TIE)
        return State(
            seed=seed,
            answers=answers,
            right=right,
            inclined=inclined,
            order=order,
            most=most,
            votes=none,
            members_right=none,
            verdicts=none,
            yes=none,
            tie=tie,
            ranked=_largest(none, tie),
            samples=jnp.int32(0),
            spent=zero,
            answered=jnp.bool_(False),
            accuracy=zero,
            illegal=jnp.int32(0),
        )

    def _possible(self, state: State, params: Params) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Whether a sample is possible, bool; which ranks can be verified and which answered with, bool[TOP]."""
        room = params.budget * (1 + 1e-6) - state.spent
        there = state.votes[state.ranked] > 0
        verify = there & (state.verdicts[state.ranked] < state.most) & (room >= params.verify_cost)
        answer = there | (jnp.arange(TOP) == 0)
        return (state.samples < self._samples) & (room >= 1), verify, answer

    def action_mask(self, state: State, params: Any = None) -> jax.Array:
        """bool[11]; the first answer is always legal, wrong where nothing was sampled."""
        sample, verify, answer = self._possible(state, params)
        return jnp.concatenate([sample[None], verify, answer])

    def transition(self, state: State, action: Any, rng: Any, params: Any = None) -> State:
        """Samples, verifies or answers."""
        del rng
        action = jnp.asarray(action, jnp.int32)
        legal = jnp.any((jnp.arange(1 + 2 * TOP) == action) & self.action_mask(state, params))
        action = jnp.where(legal, action, ANSWER)
        groups = jnp.arange(self._groups)
        samples, verifies, answers = action == SAMPLE, (action >= VERIFY) & (action < ANSWER), action >= ANSWER
        place = jnp.minimum(state.samples, self._samples - 1)
        drawn = samples & (groups == state.answers[place])
        rank = jnp.where(answers, action - ANSWER, jnp.clip(action - VERIFY, 0, TOP - 1))
        target = state.ranked[rank]
        here = groups == target
        yes = self._verdict(state, target)
        votes, right = state.votes[target], state.members_right[target]
        verdicts = state.verdicts + (verifies & here)
        taken = state.samples + samples
        more = state.votes + drawn
        return state._replace(
            votes=more,
            ranked=_largest(more, state.tie),
            members_right=state.members_right + (drawn & state.right[place]),
            verdicts=verdicts,
            yes=state.yes + jnp.where(verifies & here, yes, 0.0),
            samples=taken,
            spent=taken + params.verify_cost * jnp.sum(verdicts),  # of counts: a running sum would drift
            answered=state.answered | answers,
            accuracy=jnp.where(answers, right / jnp.maximum(votes, 1), state.accuracy),
            illegal=state.illegal + ~legal,
        )

    def _verdict(self, state: State, group: Any) -> jax.Array:
        """float32: the next verdict on a group, 1 for yes."""
        number = state.verdicts[group].astype(jnp.int32)
        if self._recorded:
            test = state.order[jnp.minimum(number, TESTS - 1)].astype(jnp.uint32)
            return ((state.inclined[group] >> test) & 1).astype(jnp.float32)
        solution = PRESET.solution * normal(state.seed, group, number, _NOISE)
        chance = jax.nn.sigmoid(state.inclined[group] + solution)
        return (uniform(state.seed, group, number, _VERDICT) < chance).astype(jnp.float32)

    def terminal(self, state: State, rng: Any, params: Any = None) -> jax.Array:
        """Whether it has answered."""
        del rng, params
        return state.answered

    def reward(self, state: State, action: Any, next_state: State, rng: Any, params: Any = None) -> Any:
        """float32: the answer's correctness, less what was paid."""
        del action, rng
        spent = (next_state.spent - state.spent) * params.price / params.budget
        return jnp.where(next_state.answered, next_state.accuracy, 0.0) - spent

    def observation(self, state: State, rng: Any, params: Any = None) -> jax.Array:
        """float32[24]; see the module's docstring."""
        del rng
        ranked = state.ranked
        sample, verify, _ = self._possible(state, params)
        share = state.votes / jnp.maximum(state.samples, 1)
        entropy = -jnp.sum(jnp.where(share > 0, share * jnp.log(jnp.maximum(share, 1e-9)), 0.0)) / math.log(
            self._groups
        )
        verdicts = state.verdicts[ranked]
        rows = [share[ranked], verdicts / (verdicts + 4), state.yes[ranked] / jnp.maximum(verdicts, 1), verify]
        of_all = [state.spent / params.budget, state.samples / (state.samples + 8), entropy, sample]
        parts = [jnp.asarray(part, jnp.float32) for part in rows]
        return jnp.clip(jnp.concatenate([*parts, jnp.stack([jnp.asarray(x, jnp.float32) for x in of_all])]), 0.0, 1.0)

    # What policies do ------------------------------------------------------------------------------------------------

    def decide(self, design: Any, state: State, params: Any = None) -> jax.Array:
        """The policy of a design, int32[8]: samples, then verdicts on the largest groups in turn, then the rest."""
        share, confidence = jnp.asarray(_SHARES)[design[0]], jnp.asarray(_CONFIDENCES)[design[5]]
        first = jnp.maximum(jnp.floor(share * params.budget * (1 + 1e-6)), 1)
        groups, wanted = jnp.array([1, 2, 3, 5])[design[1]], jnp.array(_VERDICTS)[design[2]]
        ranked = state.ranked
        sample, verify, _ = self._possible(state, params)
        verdicts, yes, votes = state.verdicts[ranked], state.yes[ranked], state.votes[ranked]
        agree = (verdicts >= 2) & ((yes == 0) | (yes == verdicts))
        settled = (verdicts >= wanted) | ((design[3] == 1) & agree)
        due = verify & ~settled & (jnp.arange(TOP) < groups)
        next_due = jnp.argmin(jnp.where(due, verdicts, jnp.inf))
        # The chance that the larger of two groups is the more likely one, by the normal approximation.
        lead = (votes[0] - votes[1]) / jnp.sqrt(votes[0] + votes[1] + 1)
        sure = (jax.scipy.stats.norm.cdf(lead) >= confidence) & (confidence < 1) & (state.samples > 1)
        early = sample & (state.samples < first) & ~sure
        late = sample & (design[4] == 1) & ~sure
        action = jnp.where(late, SAMPLE, ANSWER + self._best(design, votes, verdicts, yes, state.tie[ranked]))
        action = jnp.where(jnp.any(due), VERIFY + next_due, action)
        return jnp.where(early, SAMPLE, action).astype(jnp.int32)

    def _best(self, design: Any, votes: Any, verdicts: Any, yes: Any, tie: Any) -> jax.Array:
        """int32: the rank to answer with."""
        of_verdicts = jnp.stack([jnp.ones(TOP), (yes + 0.5) / (verdicts + 1), yes + 0.01])
        kind = jnp.arange(3)[:, None] == design[7]
        worth = votes ** jnp.asarray(_EXPONENTS)[design[6]] * jnp.sum(jnp.where(kind, of_verdicts, 0.0), axis=0)
        return jnp.argmax(jnp.where(votes > 0, worth * (1 + 1e-4 * tie), -1.0))

    def metrics(self, state: State, params: Any = None) -> Metrics:
        """Of a problem that is answered."""
        verdicts = jnp.sum(state.verdicts)
        return Metrics(
            state.accuracy,
            state.spent,
            state.samples.astype(jnp.float32),
            verdicts,
            params.price * state.spent / params.budget,
        )

    def drawing(self, states: Sequence[Any], actions: Sequence[Any], params: Any) -> Diagram:
        """Where the budget went; see `policy_diagrams.py`."""
        del actions
        return draw_problem(states, budget=float(params.budget))

    def objective(self, metrics: Metrics) -> jax.Array:
        """float32: 1 - accuracy, plus what was paid."""
        return 1.0 - metrics.accuracy + metrics.price_paid

    def transition_info(self, state: Any, action: Any, next_state: Any, params: Any = None) -> dict:
        """As of every policy family, and `illegal_actions`."""
        info = super().transition_info(state, action, next_state, params)
        return {**info, "illegal_actions": next_state.illegal}


def _shuffled(luck: Any) -> jax.Array:
    """int32[N], N at most 128: places in the order of their luck, float32[N]; one key of 32 bits sorts the fastest."""
    keys = ((luck * 2**24).astype(jnp.uint32) << 7) | jnp.arange(len(luck), dtype=jnp.uint32)
    return (jax.lax.sort(keys) & 127).astype(jnp.int32)


def _largest(votes: Any, tie: Any) -> jax.Array:
    """int32[TOP]: the groups of most votes, float32[K]; ties by luck, float32[K]. K at most 64, votes at most 127."""
    keys = (votes.astype(jnp.uint32) << 25) | ((tie * 2**19).astype(jnp.uint32) << 6)
    keys = keys | (63 - jnp.arange(len(votes), dtype=jnp.uint32))
    found = []
    for _ in range(TOP):
        found.append(jnp.max(keys))
        keys = jnp.where(keys == found[-1], jnp.uint32(0), keys)
    return (63 - (jnp.stack(found) & 63)).astype(jnp.int32)


def _logit(rate: float) -> float:
    return math.log(rate / (1 - rate))


# Instances -----------------------------------------------------------------------------------------------------------


@functools.cache
def _cost_function(rules: Rules) -> Callable[[Any, Any], Any]:
    return policy_cost(SolveVerify(rules))


@functools.cache
def _initial_function(rules: Rules) -> Callable[[Params], State]:
    """The first states of the episodes of `params.seeds`, leaves [E, ...], jitted."""
    env = SolveVerify(rules)
    return jax.jit(
        lambda params: jax.vmap(lambda seed: env.initial(jax.random.fold_in(jax.random.key(seed), 0), params))(
            params.seeds
        )
    )


def _coverage(rules: Rules, params: Params) -> float:
    """The share of episodes in which any sample that the budget has room for is right."""
    return float(np.asarray(_initial_function(rules)(params).right).max(1).mean())


def _bound(rules: Rules, params: Params) -> float:
    """No selector is right where no sample is; and an answer takes one sample at least."""
    return 1 - _coverage(rules, params) * (1 - float(params.price) / float(params.budget))


def _design(values: Mapping[str, object]) -> tuple[int, ...]:
    return tuple(int(index) for index in SPACE.encode({**_NEUTRAL, **values}))


def _recorded_pool(split: str) -> dict[str, Any]:
    table = human_eval()
    places = split_indices("humaneval", [str(i) for i in range(len(table.tests))], split)
    count, length = len(places), _PADDING
    group = np.zeros((length, 100), np.int32)
    correct = np.zeros((length, 100), bool)
    passed = np.zeros((length, GROUPS), np.uint32)
    tests = np.zeros(length, np.int32)
    group[:count], correct[:count], tests[:count] = table.group[places], table.correct[places], table.tests[places]
    words = table.passed[places].astype(np.uint32) @ (np.uint32(1) << np.arange(TESTS, dtype=np.uint32))
    for row in range(count):
        passed[row, group[row]] = words[row]
    return {"problems": np.int32(count), "group": group, "correct": correct, "passed": passed, "tests": tests}


def _synthetic_pool() -> dict[str, Any]:
    return {
        "problems": np.int32(1),
        "group": np.zeros((1, 1), np.int32),
        "correct": np.zeros((1, 1), bool),
        "passed": np.zeros((1, 1), np.uint32),
        "tests": np.zeros(1, np.int32),
    }


def _build(scenario_id: str, data: str, budget: str, verify_cost: str, price: str) -> Problem:
    recorded = data == RECORDED
    each = float(OWN_VERIFY_COST[data] if verify_cost == OWN else verify_cost)
    room = float(budget) * (1 + 1e-6)
    rules = Rules(recorded, math.floor(room), math.floor(max(room - 1, 0) / each))
    params = Params(
        seeds=seeds_of(SEARCH, EPISODES),
        **(_recorded_pool("train") if recorded else _synthetic_pool()),
        quantiles=belief_grid(BetaFit(*PRIOR), QUANTILES)[0].astype(np.float32),
        wrong=np.cumsum(wrong_answer_weights()).astype(np.float32),
        budget=np.float32(budget),
        verify_cost=np.float32(each),
        price=np.float32(price),
    )
    held_out = params._replace(seeds=seeds_of(HELD_OUT, EPISODES), **(_recorded_pool("test") if recorded else {}))
    cost = _cost_function(rules)
    baselines: dict[str, Callable[[], Sequence[int]]] = {
        name: functools.partial(_design, values) for name, values in _RULES.items()
    }
    problem = one_shot_problem(
        scenario=scenario_id,
        options={"data": data, "budget": budget, "verify_cost": verify_cost, "price": price},
        space=SPACE,
        objective=OBJECTIVE,
        cost=cost,
        params=params,
        held_out_params=held_out,
        reference=(REFERENCE, {**_NEUTRAL, **_RULES[REFERENCE]}, "the whole budget on samples, the largest group wins"),
        bound=Yardstick(
            "bound", _bound(rules, held_out), "coverage: any of the samples that the budget has room for is right"
        ),
        forms={"decisions": lambda problem: SolveVerify(rules, problem.reference.value), **ONE_SHOT_FORMS},
        breakdown=functools.partial(_break_down, rules, params, held_out, NOTES[data]),
        baselines=baselines,
        diagram=policy_diagram(SolveVerify(rules), params),
        batch_sizes=(1, 32),
        notes=NOTES[data],
        sweep=Sweep(
            "budget",
            BUDGETS,
            "budget (samples a problem)",
            "accuracy (fraction of problems answered right)",
            lambda failure: 1 - failure,
            ("single_sample", "agreement_and_verdicts"),
        ),
    )
    baselines["best_fixed"] = functools.cache(functools.partial(_best_fixed, problem.as_searched))
    return problem


def _best_fixed(problem: Problem) -> tuple[int, ...]:
    """The best on the search's problems of all fixed numbers of samples and verdicts, by either use of verdicts."""
    uses = ((0.0, "share"), (1.0, "share"), (0.5, "count"))
    designs = np.array(
        [
            _design(
                {"samples": share, "groups": 5, "verdicts": verdicts, "votes_exponent": votes, "verdict_worth": worth}
            )
            for share in _SHARES[1:]
            for verdicts in _VERDICTS
            for votes, worth in uses
        ]
    )
    objective = problem.evaluate(designs).objective
    return tuple(int(index) for index in designs[int(np.argmin(objective))])


def _break_down(
    rules: Rules, params: Params, held_out: Params, notes: Sequence[str], values: Mapping[str, Any]
) -> Breakdown:
    """A design's costs on both sets of problems."""
    design = SPACE.encode(values)
    rows, totals = [], {}
    for name, where in (("search", params), ("held-out", held_out)):
        metrics = jax.tree.map(float, _jitted_cost(rules)(design, where).metrics)
        row = {**metrics._asdict(), "coverage": _coverage(rules, where)}
        rows.append({"problems": name, **row})
        totals |= {f"{name}_{key}": value for key, value in row.items()}
    return Breakdown(totals, rows, notes)


@functools.cache
def _jitted_cost(rules: Rules) -> Callable[..., Any]:
    return jax.jit(_cost_function(rules))


def _facts() -> Sequence[tuple[str, Sequence[Mapping[str, object]]]]:
    rules = [{"rule": name} | {key: str(values.get(key, "")) for key in _NEUTRAL} for name, values in _RULES.items()]
    verifier = [{"constant": name, "value": value} for name, value in PRESET._asdict().items()]
    return (("Rules (blank: neutral)", rules), ("Synthetic verifier", verifier))


def core_instances() -> Sequence[Mapping[str, str]]:
    """Both backends at several budgets and prices of verification."""
    plain = {"verify_cost": OWN, "price": "0"}
    return [
        {"data": RECORDED, "budget": "8", **plain},
        {"data": RECORDED, "budget": "16", **plain},
        {"data": RECORDED, "budget": "16", "verify_cost": "1", "price": "0"},
        {"data": SYNTHETIC, "budget": "16", **plain},
        {"data": SYNTHETIC, "budget": "32", "verify_cost": "0.25", "price": "0"},
        {"data": SYNTHETIC, "budget": "16", "verify_cost": "1", "price": "0.2"},
    ]


SCENARIO = Scenario(
    summary="Sample again, verify, or answer: spend a budget on one problem at a time.",
    options={
        "data": Option(
            RECORDED, (RECORDED, SYNTHETIC), "recorded samples and tests, or a synthetic solver and verifier"
        ),
        "budget": Option(
            "16",
            BUDGETS,
            "of a problem, in samples",
            number_between(1, MOST_BUDGET),
            f"1 to {MOST_BUDGET}, the samples recorded",
        ),
        "verify_cost": Option(
            OWN,
            (OWN, "0.25", "1", "2"),
            "of a verdict, in samples; own: 0.25 for humaneval, 2 for genrm",
            number_between(0.05, 100),
            "0.05 to 100",
        ),
        "price": Option("0", ("0", "0.1", "0.2"), "of the whole budget, in accuracy", number_between(0, 1), "0 to 1"),
    },
    build=_build,
    core=core_instances,
    facts=_facts,
)
