"""dsegym/BatchBestOfN-v0: which question of a batch gets the next sample of a shared budget.

The rules, the policy and where figures come from: docs/batch_best_of_n.md. Q questions of a batch.

| form | action |
|---|---|
| `decisions` | the question that is sampled next: Discrete(Q) |
| `parametric`, `sequential` | the parameters of the index policy, as of a one-shot family: what the leaderboard ranks |

Reward: the growth of the expected share of questions that are answered right; an episode's rewards sum to its accuracy,
which is 1 - the objective. An action that is not legal (no attempt left, or not affordable) counts as the legal
question with the fewest attempts; `info["illegal_actions"]` counts those.
Observation: float32 in [-1, 1]; of each question [attempts / (attempts + 4), accepted samples that are visible over
attempts, posterior mean, hint / 10, expected cost over the mean cost / 4, legal]; of all [spent share, share of
questions with an accepted sample, share of results that are not visible yet].
Termination: when no further attempt is affordable or left, or (with a perfect verifier) every question is solved.

    >>> import gymnasium, dsegym
    >>> env = gymnasium.make("dsegym/BatchBestOfN-v0", data="humaneval", samples="4")
    >>> observation, info = env.reset(seed=0)
    >>> env.action_space, int(info["action_mask"].sum())
    (Discrete(16), 16)
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from ...costmodels.breakdown import Breakdown
from ...costmodels.diagram import Diagram
from ...costmodels.errors import DsegymError
from ...costmodels.reasoning.best_of_n import belief_grid, noisy_logit_beta
from ...costmodels.reasoning.laws import BetaFit, fit_beta
from ...costmodels.reasoning.luck import normal, uniform
from ...costmodels.reasoning.outcomes import Outcomes, dataset_names, is_outcome_file, load_outcomes
from ...costmodels.reasoning.scores import cost_of_pass, e3
from ..core.functional import ONE_SHOT_FORMS
from ..core.policies import HELD_OUT, SEARCH, PolicyEnv, play, policy_cost, policy_diagram, seeds_of
from ..core.problem import Objective, Problem, Sweep, Yardstick, one_shot_problem
from ..core.scenarios import Option, Scenario, whole_between
from ..core.spaces import DesignSpace, Parameter
from .policy_diagrams import draw_batch

__all__ = ["SCENARIO", "BatchBestOfN", "Metrics", "Params", "Rules"]

SYNTHETIC = "beta"
NO_HINT = "none"
EPISODES = 128
BUDGETS = ("1", "2", "4", "8", "16", "32")
QUESTIONS = 16
MOST_QUESTIONS, MOST_SAMPLES = 64, 64
PRIOR = BetaFit(0.254, 0.893)  # of the synthetic backend: the fit to HumanEval with CodeGen-16B
# Synthetic tokens: median of a successful attempt, deviation of its logarithm, and a failed attempt's factor.
TOKENS, SPREAD_OF_TOKENS, LONGER_WHEN_WRONG = 100.0, 0.5, 1.5
MEASURED_VERIFIER = "0.425/0.141"  # one generated test of HumanEval: true and false positive rates
QUANTILES = 4096
_PADDING = 128  # problems
# What luck decides: the last word of its hash.
_RESULT, _VERDICT, _DRAW, _WHICH, _LENGTH, _HINT = range(6)
NEVER = 99
_LOGISTIC = 3**0.5 / np.pi  # a logistic draw times this has a deviation of 1

SPACE = DesignSpace(
    (
        Parameter("stop", (1, 2, 3, NEVER), summary="accepted samples after which a question is left; 99: never"),
        Parameter("evidence", (0, 0.25, 0.5, 1, 2, 4), summary="weight of an attempt's result in the posterior"),
        Parameter("hint_trust", (0, 0.25, 0.5, 0.75, 1), summary="weight of the hint in the prior"),
        Parameter("cost_exponent", (0, 0.5, 1, 2), summary="the index is divided by expected cost to this power"),
        Parameter("optimism", (0, 0.1, 0.3, 1), summary="times the posterior's deviation, added to the index"),
        Parameter("thompson", ("no", "yes"), ordered=False, summary="a draw from the posterior in place of its mean"),
        Parameter("turns", (0, 0.01, 0.03, 0.1, 1000), summary="times attempts, taken from the index; 1000: in turns"),
        Parameter("epsilon", (0, 0.05, 0.1, 0.3), summary="share of attempts at a random question"),
        Parameter("threshold", (0, 0.005, 0.01, 0.02, 0.05, 0.1), summary="in order, the first with a larger index"),
    )
)
_NEUTRAL: Mapping[str, object] = {
    "stop": 1,
    "evidence": 1,
    "hint_trust": 1,
    "cost_exponent": 0,
    "optimism": 0,
    "thompson": "no",
    "turns": 0,
    "epsilon": 0,
    "threshold": 0,
}
# The rules of the field as parameters; what is not named is neutral: the posterior's mean, until a sample is accepted.
_RULES: Mapping[str, Mapping[str, object]] = {
    "uniform": {"stop": NEVER, "evidence": 0, "hint_trust": 0, "turns": 1000},
    "round_robin": {"turns": 1000, "hint_trust": 0},
    "posterior_greedy": {},
    "posterior_greedy_no_hint": {"hint_trust": 0},
    "knowledge_gradient": {"cost_exponent": 1},
    "thompson": {"thompson": "yes"},
    "ucb": {"optimism": 1},
    "epsilon_greedy": {"epsilon": 0.1},
    "lagrangian": {"cost_exponent": 1, "threshold": 0.05},
    "confident": {"stop": 2},
}
REFERENCE = "uniform"
OBJECTIVE = Objective("failure", "fraction", "1 - accuracy: questions of a batch that are not answered right, expected")
NOTES: Mapping[str, str] = {
    "recorded": "Recorded attempts are replayed without replacement by their counts; hints are synthetic.",
    "synthetic": "Difficulties (Beta, as fitted to CodeGen-16B on HumanEval), tokens and hints are synthetic.",
    "noisy": "The verifier's errors are synthetic: independent, with the two rates that the option names.",
}


class Metrics(NamedTuple):
    """What a batch came to; float32 scalars."""

    accuracy: Any  # expected share of questions that are answered right
    samples_per_question: Any
    tokens_per_question: Any


class Rules(NamedTuple):
    """What shapes the program of an instance; the rest is in `Params`."""

    questions: int  # Q
    samples: int  # budget for each question, in mean samples
    recorded: bool  # attempts, or else synthetic ones
    tokens: bool  # are what the budget counts, or else samples
    rounds: int  # at whose ends results are seen; 0: at once
    noisy: bool  # verifier
    hinted: bool

    @property
    def horizon(self) -> int:
        """Steps of an episode; in tokens, cheap samples make more than the budget has on average: this many at most."""
        return self.questions * self.samples * (3 if self.tokens else 1)


class Params(NamedTuple):
    """An instance. P problems of the pool."""

    seeds: Any  # uint32[E]
    attempts: Any  # float32[P], recorded; 0 beyond the problems of the pool (all of it in the synthetic backend)
    successes: Any  # float32[P]
    tokens_right: Any  # float32[P]
    tokens_wrong: Any  # float32[P]
    prior: Any  # float32[2], alpha and beta of p
    grid: Any  # float32[2, G], values of p that are equally likely beforehand, and their logits
    quantiles: Any  # float32[QUANTILES], of p, for the synthetic backend to draw from
    sigma: Any  # float32, of hints
    rates: Any  # float32[2], of acceptance: of right and of wrong samples
    mean_tokens: Any  # float32, of a sample
    samples: Any  # float32, budget for each question, in mean samples


class State(NamedTuple):
    """Where a batch stands; arrays float32[Q] if no other shape is given."""

    seed: Any  # uint32[]
    left: Any  # recorded attempts that are left; the synthetic backend's never end
    right_left: Any  # successes among them; for the synthetic backend p
    tokens_right: Any  # of a sample that is right
    tokens_wrong: Any
    hint: Any  # logit with noise
    hinted: Any  # float32[2, Q], Beta prior given the hint
    attempts: Any
    accepted_right: Any
    accepted_wrong: Any
    right: Any  # samples that are right, accepted or not
    seen: Any  # accepted samples that are visible
    seen_attempts: Any  # attempts whose results are
    spent: Any  # [], samples or tokens, as the budget counts
    tokens: Any  # []
    illegal: Any  # int32[]


class BatchBestOfN(PolicyEnv):
    """Sample by sample; see the module's docstring."""

    def __init__(self, rules: Rules, reference: float = float("nan")):
        super().__init__()
        self._q, self.recorded, self._tokens = rules.questions, rules.recorded, rules.tokens
        self._rounds, self._noisy, self._hinted = rules.rounds, rules.noisy, rules.hinted
        self.horizon = rules.horizon
        self.reference = reference
        self.action_space = gymnasium.spaces.Discrete(self._q)
        self.observation_space = gymnasium.spaces.Box(-1.0, 1.0, (6 * self._q + 3,), np.float32)

    # An episode ------------------------------------------------------------------------------------------------------

    def initial(self, rng: Any, params: Any = None) -> State:
        """A batch of the pool, untouched."""
        seed, places = jax.random.bits(rng), jnp.arange(self._q)
        if self.recorded:
            there = jnp.asarray(params.attempts) > 0
            luck = uniform(seed, jnp.arange(len(there)), _WHICH)
            _, chosen = jax.lax.top_k(jnp.where(there, luck, -1.0), self._q)
            left, right = jnp.asarray(params.attempts)[chosen], jnp.asarray(params.successes)[chosen]
            p = (right + 0.5) / (left + 1)
            tokens_right = jnp.asarray(params.tokens_right)[chosen]
            tokens_wrong = jnp.asarray(params.tokens_wrong)[chosen]
        else:
            p = jnp.asarray(params.quantiles)[(uniform(seed, places, _WHICH) * QUANTILES).astype(jnp.int32)]
            left, right = jnp.full(self._q, 1e6), p
            tokens_right = TOKENS * jnp.exp(SPREAD_OF_TOKENS * normal(seed, places, _LENGTH))
            tokens_wrong = LONGER_WHEN_WRONG * tokens_right
        p = jnp.clip(p, 1e-4, 1 - 1e-4)
        hint = jnp.log(p) - jnp.log1p(-p) + params.sigma * normal(seed, places, _HINT)
        alpha, beta = noisy_logit_beta(hint, params.sigma, grid=params.grid[0], logits=params.grid[1])
        plain = jnp.broadcast_to(jnp.asarray(params.prior)[:, None], (2, self._q))
        hinted = jnp.stack([alpha, beta]) if self._hinted else plain
        none, scalar = jnp.zeros(self._q), jnp.float32(0)
        return State(
            seed=seed,
            left=left,
            right_left=right,
            tokens_right=tokens_right,
            tokens_wrong=tokens_wrong,
            hint=hint if self._hinted else none,
            hinted=hinted,
            attempts=none,
            accepted_right=none,
            accepted_wrong=none,
            right=none,
            seen=none,
            seen_attempts=none,
            spent=scalar,
            tokens=scalar,
            illegal=jnp.int32(0),
        )

    def _budget(self, params: Params) -> Any:
        return params.samples * self._q * (params.mean_tokens if self._tokens else 1.0)

    def legal(self, state: State, params: Params) -> jax.Array:
        """bool[Q]: questions with an attempt left that is affordable whatever it brings."""
        worst = jnp.maximum(state.tokens_right, state.tokens_wrong) if self._tokens else 1.0
        return (state.left > 0) & (state.spent + worst <= self._budget(params) * (1 + 1e-6))

    def relative_cost(self, state: State, chance: Any, params: Params) -> Any:
        """float32[Q]: the expected cost of a sample over the mean cost."""
        if not self._tokens:
            return jnp.ones(self._q)
        return (chance * state.tokens_right + (1 - chance) * state.tokens_wrong) / params.mean_tokens

    def transition(self, state: State, action: Any, rng: Any, params: Any = None) -> State:
        """Draws a sample of one question."""
        del rng
        places, legal = jnp.arange(self._q), self.legal(state, params)
        here = places == jnp.asarray(action, jnp.int32)
        good = jnp.any(here & legal)
        fewest = places == jnp.argmin(jnp.where(legal, state.attempts, jnp.inf))
        one = jnp.where(good, here, fewest & legal).astype(jnp.float32)

        def of(values):
            return jnp.sum(one * values)

        number = of(state.attempts)
        chance = of(state.right_left) / (jnp.maximum(of(state.left), 1) if self.recorded else 1.0)
        place = jnp.sum(one * places)
        right = (uniform(state.seed, place, number, _RESULT) < chance).astype(jnp.float32)
        tokens = jnp.where(right > 0, of(state.tokens_right), of(state.tokens_wrong))
        if self._noisy:
            rate = jnp.where(right > 0, params.rates[0], params.rates[1])
            accepted = (uniform(state.seed, place, number, _VERDICT) < rate).astype(jnp.float32)
        else:
            accepted = right
        spent = state.spent + (tokens if self._tokens else jnp.sum(one))
        attempts = state.attempts + one
        accepted_right = state.accepted_right + one * accepted * right
        accepted_wrong = state.accepted_wrong + one * accepted * (1 - right)
        if self._rounds:
            length = self._budget(params) / self._rounds
            shown = jnp.floor(spent / length * (1 + 1e-6)) > jnp.floor(state.spent / length * (1 + 1e-6))
        else:
            shown = jnp.bool_(True)
        return state._replace(
            left=state.left - one,
            right_left=state.right_left - one * right if self.recorded else state.right_left,
            attempts=attempts,
            accepted_right=accepted_right,
            accepted_wrong=accepted_wrong,
            right=state.right + one * right,
            seen=jnp.where(shown, accepted_right + accepted_wrong, state.seen),
            seen_attempts=jnp.where(shown, attempts, state.seen_attempts),
            spent=spent,
            tokens=state.tokens + tokens,
            illegal=state.illegal + ~good,
        )

    def _answered(self, state: State) -> jax.Array:
        """float32[Q]: how surely each question is answered right: a draw among accepted samples, or else among all."""
        accepted = state.accepted_right + state.accepted_wrong
        if not self._noisy:
            return (accepted > 0).astype(jnp.float32)
        among = jnp.where(accepted > 0, accepted, jnp.maximum(state.attempts, 1))
        return jnp.where(accepted > 0, state.accepted_right, state.right) / among

    def terminal(self, state: State, rng: Any, params: Any = None) -> jax.Array:
        """Whether nothing more can be tried, or everything is solved."""
        del rng
        over = ~jnp.any(self.legal(state, params))
        return over if self._noisy else over | jnp.all(state.accepted_right > 0)

    def reward(self, state: State, action: Any, next_state: State, rng: Any, params: Any = None) -> Any:
        """float32: the growth of the expected accuracy."""
        del action, rng, params
        return jnp.mean(self._answered(next_state) - self._answered(state))

    def action_mask(self, state: State, params: Any = None) -> jax.Array:
        """bool[Q]: questions with an attempt left that is affordable; all at the end."""
        legal = self.legal(state, params)
        return legal | ~jnp.any(legal)

    # What is seen ----------------------------------------------------------------------------------------------------

    def _belief(self, state: State, params: Params, trust: Any, evidence: Any) -> tuple[jax.Array, jax.Array]:
        """Beta posteriors, float32[Q] each; attempts whose results are not visible count as failures.

        With a noisy verifier a result counts by how far the two rates of acceptance lie apart.
        """
        alpha, beta = (trust * state.hinted[k] + (1 - trust) * jnp.asarray(params.prior)[k] for k in range(2))
        weight = evidence * (params.rates[0] - params.rates[1] if self._noisy else 1.0)
        return alpha + weight * state.seen, beta + weight * (state.attempts - state.seen)

    def observation(self, state: State, rng: Any, params: Any = None) -> jax.Array:
        """float32[6 Q + 3]; see the module's docstring."""
        del rng
        alpha, beta = self._belief(state, params, 1.0, 1.0)
        mean = alpha / (alpha + beta)
        rows = [
            state.attempts / (state.attempts + 4),
            state.seen / jnp.maximum(state.seen_attempts, 1),
            mean,
            state.hint / 10,
            self.relative_cost(state, mean, params) / 4,
            self.legal(state, params).astype(jnp.float32),
        ]
        hidden = jnp.sum(state.attempts - state.seen_attempts) / jnp.maximum(jnp.sum(state.attempts), 1)
        of_all = jnp.stack([state.spent / self._budget(params), jnp.mean(state.seen > 0), hidden])
        return jnp.clip(jnp.concatenate([*rows, of_all]), -1.0, 1.0)

    # What policies do ------------------------------------------------------------------------------------------------

    def decide(self, design: Any, state: State, params: Any = None) -> jax.Array:
        """The index policy of a design, int32[9]: the largest index, or the first one above the threshold."""
        values = {
            parameter.name: jnp.asarray([0.0, 1.0] if parameter.name == "thompson" else parameter.values, jnp.float32)[
                design[place]
            ]
            for place, parameter in enumerate(SPACE.parameters)
        }
        alpha, beta = self._belief(state, params, values["hint_trust"], values["evidence"])
        total = alpha + beta
        mean = alpha / total
        deviation = jnp.sqrt(mean * (1 - mean) / (total + 1))
        places, time = jnp.arange(self._q), jnp.sum(state.attempts)
        luck = uniform(state.seed, places, time, _DRAW)
        # A logistic draw with the posterior's mean and deviation: Thompson sampling without a Beta sampler in the step.
        draw = jnp.log(luck + 1e-6) - jnp.log1p(-luck + 1e-6)
        index = mean + deviation * (values["optimism"] + values["thompson"] * _LOGISTIC * draw)
        cost = self.relative_cost(state, mean, params)
        index = index / cost ** values["cost_exponent"] - values["turns"] * state.attempts
        legal = self.legal(state, params)
        open_ = legal & (state.seen < values["stop"])
        open_ = jnp.where(jnp.any(open_), open_, legal)
        above = open_ & (index >= values["threshold"]) & (values["threshold"] > 0)
        first, best = jnp.argmax(above), jnp.argmax(jnp.where(open_, index, -jnp.inf))
        coin = uniform(state.seed, self._q, time, _DRAW)
        random = jnp.argmax(jnp.where(open_, luck, -1.0))
        chosen = jnp.where(jnp.any(above), first, best)
        return jnp.where(coin < values["epsilon"], random, chosen).astype(jnp.int32)

    def metrics(self, state: State, params: Any = None) -> Metrics:
        """Of a finished batch."""
        del params
        return Metrics(jnp.mean(self._answered(state)), jnp.sum(state.attempts) / self._q, state.tokens / self._q)

    def drawing(self, states: Sequence[Any], actions: Sequence[Any], params: Any) -> Diagram:
        """Where the budget went; see `policy_diagrams.py`."""
        del actions
        unit = "tokens" if self._tokens else "samples"
        return draw_batch(states, budget=float(self._budget(params)), unit=unit, noisy=self._noisy)

    def objective(self, metrics: Metrics) -> jax.Array:
        """float32: 1 - accuracy."""
        return 1.0 - metrics.accuracy

    def transition_info(self, state: Any, action: Any, next_state: Any, params: Any = None) -> dict:
        """As of every policy family, and `illegal_actions`."""
        info = super().transition_info(state, action, next_state, params)
        return {**info, "illegal_actions": next_state.illegal}


# Instances -----------------------------------------------------------------------------------------------------------


@functools.cache
def _cost_function(rules: Rules) -> Callable[[Any, Any], Any]:
    return policy_cost(BatchBestOfN(rules))


@functools.cache
def _initial_function(rules: Rules) -> Callable[[Params], State]:
    """The first states of the episodes of `params.seeds`, leaves [E, ...], jitted."""
    env = BatchBestOfN(rules)
    return jax.jit(
        lambda params: jax.vmap(lambda seed: env.initial(jax.random.fold_in(jax.random.key(seed), 0), params))(
            params.seeds
        )
    )


def _oracle(rules: Rules, params: Params) -> np.ndarray:
    """float64[E]: accuracies of who knows every question's chances and every sample's result, on the same luck.

    The largest chance for its cost first, until a sample is right: with a perfect verifier, independent questions and
    unit costs no policy does better in expectation. An answer is right if any sample of the question was.
    """
    state = jax.tree.map(np.asarray, _initial_function(rules)(params))
    rows, left, right_left = np.arange(EPISODES), state.left.copy(), state.right_left.copy()
    attempts, solved, spent = np.zeros(left.shape, np.uint32), np.zeros(left.shape, bool), np.zeros(EPISODES)
    ones = np.ones(left.shape)
    cost_right, cost_wrong = (state.tokens_right, state.tokens_wrong) if rules.tokens else (ones, ones)
    budget = float(params.samples) * rules.questions * (float(params.mean_tokens) if rules.tokens else 1.0)
    for _ in range(rules.horizon):
        chance = right_left / np.maximum(left, 1) if rules.recorded else right_left
        legal = (left > 0) & (spent[:, None] + np.maximum(cost_right, cost_wrong) <= budget * (1 + 1e-6)) & ~solved
        worth = np.where(legal, chance / (chance * cost_right + (1 - chance) * cost_wrong), -1.0)
        one = worth.argmax(1)
        goes = worth[rows, one] >= 0
        right = goes & (_luck(state.seed, one, attempts[rows, one]) < chance[rows, one])
        spent += goes * np.where(right, cost_right[rows, one], cost_wrong[rows, one])
        left[rows, one] -= goes
        right_left[rows, one] -= right if rules.recorded else 0
        attempts[rows, one] += goes
        solved[rows, one] |= right
    return solved.mean(1)


def _luck(seeds: np.ndarray, questions: np.ndarray, attempts: np.ndarray) -> np.ndarray:
    return np.asarray(_jitted_uniform()(seeds, questions, attempts, _RESULT))


@functools.cache
def _jitted_uniform() -> Callable[..., jax.Array]:
    return jax.jit(uniform)


def _design(values: Mapping[str, object]) -> tuple[int, ...]:
    return tuple(int(index) for index in SPACE.encode({**_NEUTRAL, **values}))


def _pool(data: Outcomes | None, length: int) -> dict[str, np.ndarray]:
    """The counts of a split, padded: data sets of similar size share compiled code."""
    columns = ("attempts", "successes", "tokens_right", "tokens_wrong")
    padded = {name: np.zeros(length, np.float32) for name in columns}
    if data is not None:
        for name in columns:
            padded[name][: len(data)] = getattr(data, name)
    return padded


def _mean_tokens(data: Outcomes | None) -> float:
    """Of a sample: of the training problems, or of the synthetic distribution."""
    if data is None:
        wrong = PRIOR.beta / (PRIOR.alpha + PRIOR.beta)
        return TOKENS * float(np.exp(SPREAD_OF_TOKENS**2 / 2)) * (1 + (LONGER_WHEN_WRONG - 1) * wrong)
    right = data.successes / data.attempts
    return float(np.mean(right * data.tokens_right + (1 - right) * data.tokens_wrong))


def _rates(verifier: str) -> tuple[float, float] | None:
    """Rates of acceptance of right and of wrong samples; None if they are no pair with 0 <= second < first <= 1."""
    if verifier == "perfect":
        return 1.0, 0.0
    first, _, second = (MEASURED_VERIFIER if verifier == "noisy" else verifier).partition("/")
    try:
        rates = float(first), float(second)
    except ValueError:
        return None
    return rates if 0 <= rates[1] < rates[0] <= 1 else None


def _recorded(data: str, samples: int, questions: int) -> dict[str, Outcomes]:
    """The splits of a data set, once it is known to be large enough."""
    everything = load_outcomes(data)
    fewest = int(everything.attempts.min())
    if samples > fewest:
        raise DsegymError(
            f"samples = {samples} is beyond the {fewest} recorded attempts of {everything.name}; 1 to {fewest} are "
            "allowed, as no recorded attempt is drawn twice."
        )
    splits = {split: everything.split(split) for split in ("train", "test")}
    for split, part in splits.items():
        if len(part) < questions:
            raise DsegymError(
                f"questions = {questions} is more than the {len(part)} {split} problems of {everything.name}; 1 to "
                f"{min(map(len, splits.values()))} are allowed."
            )
    return splits


def _build(
    scenario_id: str, data: str, samples: str, questions: str, hint: str, cost: str, rounds: str, verifier: str
) -> Problem:
    if (hint, cost, rounds, verifier) == (NO_HINT, "samples", "online", "perfect"):
        raise DsegymError(
            "Without hints, with unit costs, results at once and a perfect verifier there is nothing to learn: taking "
            "turns and stopping at a success is optimal; set hint, cost=tokens, rounds or verifier=noisy."
        )
    rates = _rates(verifier)
    assert rates is not None  # the option's values were checked
    splits = None if data == SYNTHETIC else _recorded(data, int(samples), int(questions))
    train = splits["train"] if splits else None
    prior = fit_beta(attempts=train.attempts, successes=train.successes) if train else PRIOR
    rules = Rules(
        questions=int(questions),
        samples=int(samples),
        recorded=splits is not None,
        tokens=cost == "tokens",
        rounds=0 if rounds == "online" else int(rounds),
        noisy=verifier != "perfect",
        hinted=hint != NO_HINT,
    )
    length = _PADDING * -(-max(map(len, splits.values())) // _PADDING) if splits else 1
    params = Params(
        seeds=seeds_of(SEARCH, EPISODES),
        **_pool(train, length),
        prior=np.array(prior, np.float32),
        grid=np.array(belief_grid(prior), np.float32),
        quantiles=belief_grid(prior, QUANTILES)[0].astype(np.float32),
        sigma=np.float32(1.0 if hint == NO_HINT else hint),
        rates=np.array(rates, np.float32),
        mean_tokens=np.float32(_mean_tokens(train)),
        samples=np.float32(samples),
    )
    held_out = params._replace(seeds=seeds_of(HELD_OUT, EPISODES), **_pool(splits["test"] if splits else None, length))
    oracle = 1 - float(_oracle(rules, held_out).mean())
    notes = [NOTES["recorded" if splits else "synthetic"]]
    if rules.noisy:
        notes.append(NOTES["noisy"])
    if train:
        notes.append(f"Recorded outcomes: {train.source}.")
    most = int(min(train.attempts.min(), splits["test"].attempts.min())) if train and splits else MOST_SAMPLES
    return one_shot_problem(
        scenario=scenario_id,
        options={
            "data": data,
            "samples": samples,
            "questions": questions,
            "hint": hint,
            "cost": cost,
            "rounds": rounds,
            "verifier": verifier,
        },
        space=SPACE,
        objective=OBJECTIVE,
        cost=_cost_function(rules),
        params=params,
        held_out_params=held_out,
        reference=(REFERENCE, {**_NEUTRAL, **_RULES[REFERENCE]}, "equal numbers of samples, whatever comes out"),
        bound=Yardstick("oracle", oracle, "knows every question's chances and every sample's result"),
        forms={
            "decisions": lambda problem: BatchBestOfN(rules, problem.reference.value),
            **ONE_SHOT_FORMS,
        },
        breakdown=functools.partial(_break_down, rules, params, held_out, tuple(notes)),
        baselines={name: functools.partial(_design, values) for name, values in _RULES.items()},
        diagram=policy_diagram(BatchBestOfN(rules), params),
        batch_sizes=(1, 32),
        notes=tuple(notes),
        sweep=Sweep(
            "samples",
            tuple(value for value in BUDGETS if int(value) <= most),
            "budget (mean samples a question)",
            "accuracy (fraction of questions answered right)",
            lambda failure: 1 - failure,
            ("round_robin", "posterior_greedy", "thompson"),
        ),
    )


def _break_down(
    rules: Rules, params: Params, held_out: Params, notes: Sequence[str], values: Mapping[str, Any]
) -> Breakdown:
    """A design's batches on the held-out problems beside the oracle's."""
    design = SPACE.encode(values)
    env = BatchBestOfN(rules)

    @jax.jit
    def batches(where: Params) -> Metrics:
        def episode(seed):
            return env.metrics(play(env, lambda state: env.decide(design, state, where), jax.random.key(seed), where))

        return jax.vmap(episode)(where.seeds)

    rows, totals = [], {}
    for name, where in (("search", params), ("held-out", held_out)):
        found = jax.tree.map(np.asarray, batches(where))
        oracle = _oracle(rules, where)
        accuracy, tokens = float(found.accuracy.mean()), float(found.tokens_per_question.mean())
        totals |= {
            f"{name}_accuracy": accuracy,
            f"{name}_oracle_accuracy": float(oracle.mean()),
            f"{name}_samples_per_question": float(found.samples_per_question.mean()),
            f"{name}_tokens_per_question": tokens,
            f"{name}_e3_per_kilotoken": float(e3(accuracy, tokens)),
            f"{name}_cost_of_pass_tokens": float(cost_of_pass(tokens, accuracy)),
        }
        rows += [
            {
                "problems": name,
                "batch": number,
                "accuracy": float(found.accuracy[number]),
                "oracle_accuracy": float(oracle[number]),
                "samples_per_question": float(found.samples_per_question[number]),
                "tokens_per_question": float(found.tokens_per_question[number]),
            }
            for number in range(8)
        ]
    return Breakdown(totals, rows, notes)


def _facts() -> Sequence[tuple[str, Sequence[Mapping[str, object]]]]:
    data = [
        {
            "data": name,
            "problems": len(found),
            "train": len(found.split("train")),
            "test": len(found.split("test")),
            "attempts": int(found.attempts.min()),
            "solved at once": round(float((found.successes / found.attempts).mean()), 3),
            "source": found.source,
        }
        for name in dataset_names()
        for found in [load_outcomes(name)]
    ]
    filled = [{"rule": name} | {key: str(values.get(key, "")) for key in _NEUTRAL} for name, values in _RULES.items()]
    return (("Recorded outcomes", data), ("Rules (blank: neutral)", filled))


def _positive(value: str) -> bool:
    try:
        return 0 < float(value) <= 1000
    except ValueError:
        return False


def core_instances() -> Sequence[Mapping[str, str]]:
    """Every data set, and each of the things that make the problem hard."""
    plain = {
        "samples": "4",
        "questions": "16",
        "hint": "1",
        "cost": "samples",
        "rounds": "online",
        "verifier": "perfect",
    }
    return [
        {**plain, "data": SYNTHETIC},
        {**plain, "data": SYNTHETIC, "hint": NO_HINT, "cost": "tokens"},
        {**plain, "data": SYNTHETIC, "verifier": "noisy"},
        {**plain, "data": "humaneval"},
        {**plain, "data": "humaneval", "rounds": "4"},
        {**plain, "data": "humaneval", "cost": "tokens"},
        {**plain, "data": "game24_chain_of_thought"},
        {**plain, "data": "tau_airline", "samples": "2", "questions": "8"},
    ]


SCENARIO = Scenario(
    summary="Spread a budget of samples over a batch of questions of unknown difficulty.",
    options={
        "data": Option(
            SYNTHETIC,
            lambda: (SYNTHETIC, *dataset_names()),
            "recorded outcomes, or synthetic ones (beta)",
            is_outcome_file,
            "a path that ends in .csv",
        ),
        "samples": Option(
            "4", BUDGETS, "mean samples a question", whole_between(1, MOST_SAMPLES), f"any from 1 to {MOST_SAMPLES}"
        ),
        "questions": Option(
            str(QUESTIONS),
            ("8", "16"),
            "in a batch",
            whole_between(1, MOST_QUESTIONS),
            f"any from 1 to {MOST_QUESTIONS}",
        ),
        "hint": Option(
            "1", (NO_HINT, "5", "2", "1", "0.5"), "noise of the logit of p that is seen", _positive, "above 0, to 1000"
        ),
        "cost": Option("samples", ("samples", "tokens"), "what the budget counts"),
        "rounds": Option(
            "online", ("online", "1", "2", "4", "8"), "results are seen at once, or at the end of each round"
        ),
        "verifier": Option(
            "perfect",
            ("perfect", "noisy"),
            f"noisy: accepts right and wrong samples at the rates {MEASURED_VERIFIER}",
            lambda value: _rates(value) is not None,
            "two rates as 0.9/0.2, the first above the second",
        ),
    },
    build=_build,
    core=core_instances,
    facts=_facts,
)
