"""A batch of questions as a game: which one gets the next sample of a shared budget; pure JAX on one batch.

The rules: docs/batch_best_of_n.md; beliefs and allocations: `costmodels/reasoning/best_of_n.py`. Luck: what a sample
brings is a hash of the batch's seed, the question and the attempt's number. Q questions of a batch, P of the pool, E
batches, G places of a belief's grid.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ...arrays import Array
from ...errors import DsegymError
from ...luck import normal, uniform
from ..best_of_n import belief_grid, noisy_logit_beta
from ..laws import BetaFit, fit_beta
from ..outcomes import Outcomes, is_outcome_file, load_outcomes

__all__ = [
    "DRAW",
    "POOL",
    "RESULT",
    "Metrics",
    "Params",
    "Rules",
    "State",
    "advance",
    "answered",
    "belief",
    "budget_of",
    "legal",
    "metrics",
    "over",
    "params_of",
    "recorded_splits",
    "relative_cost",
    "start",
]

PRIOR = BetaFit(0.254, 0.893)  # prior of the synthetic backend: the fit to HumanEval with CodeGen-16B
# Synthetic tokens: median of a successful attempt, deviation of its logarithm, and a failed attempt's factor.
TOKENS, SPREAD_OF_TOKENS, LONGER_WHEN_WRONG = 100.0, 0.5, 1.5
QUANTILES = 4096
POOL = ("attempts", "successes", "tokens_right", "tokens_wrong")  # the fields of `Params` that are [P]
WITHIN = 1 + 1e-6  # factor on the budget that leaves room for rounding
MOST_IN_TOKENS = 3  # mean samples a sample of the budget: cheap ones make more than it has on average
_PADDING = 128  # problems: data sets of similar size share compiled code
# What luck decides: the last word of its hash.
RESULT, _VERDICT, DRAW, _WHICH, _LENGTH, _HINT = range(6)


class Metrics(NamedTuple):
    """What a batch came to; float32 scalars."""

    accuracy: Array  # expected share of questions that are answered right
    samples_per_question: Array
    tokens_per_question: Array


QUESTIONS = 16  # of a batch, when nothing else is asked for


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
        """Steps of an episode, at most."""
        return self.questions * self.samples * (MOST_IN_TOKENS if self.tokens else 1)


class Params(NamedTuple):
    """An instance. P problems of the pool."""

    seeds: Array  # uint32[E]
    attempts: Array  # float32[P], recorded; 0 beyond the problems of the pool (all of it in the synthetic backend)
    successes: Array  # float32[P]
    tokens_right: Array  # float32[P]
    tokens_wrong: Array  # float32[P]
    prior: Array  # float32[2], alpha and beta of p
    grid: Array  # float32[2, G], values of p that are equally likely beforehand, and their logits
    quantiles: Array  # float32[QUANTILES], of p, for the synthetic backend to draw from
    sigma: Array  # float32, of hints
    rates: Array  # float32[2], of acceptance: of right and of wrong samples
    mean_tokens: Array  # float32, of a sample
    samples: Array  # float32, budget for each question, in mean samples


class State(NamedTuple):
    """Where a batch stands; arrays float32[Q] if no other shape is given."""

    seed: Array  # uint32[]
    left: Array  # recorded attempts that are left; the synthetic backend's never end
    right_left: Array  # successes among them; for the synthetic backend p
    tokens_right: Array  # tokens of a sample that is right
    tokens_wrong: Array
    hint: Array  # logit with noise
    hinted: Array  # float32[2, Q], Beta prior given the hint
    attempts: Array
    accepted_right: Array
    accepted_wrong: Array
    right: Array  # samples that are right, accepted or not
    seen: Array  # accepted samples that are visible
    seen_attempts: Array  # attempts whose results are
    spent: Array  # [], samples or tokens, as the budget counts
    tokens: Array  # []
    illegal: Array  # int32[]


def start(rules: Rules, key: Array, params: Params) -> State:
    """A batch of the pool, untouched."""
    seed, places = jax.random.bits(key), jnp.arange(rules.questions)
    if rules.recorded:
        there = jnp.asarray(params.attempts) > 0
        luck = uniform(seed, jnp.arange(len(there)), _WHICH)
        _, chosen = jax.lax.top_k(jnp.where(there, luck, -1.0), rules.questions)
        left, right = jnp.asarray(params.attempts)[chosen], jnp.asarray(params.successes)[chosen]
        p = (right + 0.5) / (left + 1)
        tokens_right = jnp.asarray(params.tokens_right)[chosen]
        tokens_wrong = jnp.asarray(params.tokens_wrong)[chosen]
    else:
        p = jnp.asarray(params.quantiles)[(uniform(seed, places, _WHICH) * QUANTILES).astype(jnp.int32)]
        left, right = jnp.full(rules.questions, 1e6), p
        tokens_right = TOKENS * jnp.exp(SPREAD_OF_TOKENS * normal(seed, places, _LENGTH))
        tokens_wrong = LONGER_WHEN_WRONG * tokens_right
    p = jnp.clip(p, 1e-4, 1 - 1e-4)
    hint = jnp.log(p) - jnp.log1p(-p) + params.sigma * normal(seed, places, _HINT)
    alpha, beta = noisy_logit_beta(hint, params.sigma, grid=params.grid[0], logits=params.grid[1])
    plain = jnp.broadcast_to(jnp.asarray(params.prior)[:, None], (2, rules.questions))
    hinted = jnp.stack([alpha, beta]) if rules.hinted else plain
    none, scalar = jnp.zeros(rules.questions), jnp.float32(0)
    return State(
        seed=seed,
        left=left,
        right_left=right,
        tokens_right=tokens_right,
        tokens_wrong=tokens_wrong,
        hint=hint if rules.hinted else none,
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


def budget_of(rules: Rules, params: Params) -> Array:
    """float32, samples or tokens of a batch, as the budget counts."""
    return params.samples * rules.questions * (params.mean_tokens if rules.tokens else 1.0)


def legal(rules: Rules, state: State, params: Params) -> Array:
    """bool[Q]: questions with an attempt left that is affordable whatever it brings."""
    worst = jnp.maximum(state.tokens_right, state.tokens_wrong) if rules.tokens else 1.0
    return (state.left > 0) & (state.spent + worst <= budget_of(rules, params) * WITHIN)


def relative_cost(rules: Rules, state: State, chance: Array, params: Params) -> Array:
    """float32[Q]: the expected cost of a sample over the mean cost."""
    if not rules.tokens:
        return jnp.ones(rules.questions)
    return (chance * state.tokens_right + (1 - chance) * state.tokens_wrong) / params.mean_tokens


def advance(rules: Rules, state: State, action: Array, params: Params) -> State:
    """Draws a sample of one question; an action that is not legal counts as the legal one with the fewest attempts."""
    places, allowed = jnp.arange(rules.questions), legal(rules, state, params)
    here = places == jnp.asarray(action, jnp.int32)
    good = jnp.any(here & allowed)
    fewest = places == jnp.argmin(jnp.where(allowed, state.attempts, jnp.inf))
    one = jnp.where(good, here, fewest & allowed).astype(jnp.float32)

    def of(values: Array) -> Array:
        return jnp.sum(one * values)

    number = of(state.attempts)
    chance = of(state.right_left) / (jnp.maximum(of(state.left), 1) if rules.recorded else 1.0)
    place = jnp.sum(one * places)
    right = (uniform(state.seed, place, number, RESULT) < chance).astype(jnp.float32)
    tokens = jnp.where(right > 0, of(state.tokens_right), of(state.tokens_wrong))
    if rules.noisy:
        rate = jnp.where(right > 0, params.rates[0], params.rates[1])
        accepted = (uniform(state.seed, place, number, _VERDICT) < rate).astype(jnp.float32)
    else:
        accepted = right
    spent = state.spent + (tokens if rules.tokens else jnp.sum(one))
    attempts = state.attempts + one
    accepted_right = state.accepted_right + one * accepted * right
    accepted_wrong = state.accepted_wrong + one * accepted * (1 - right)
    if rules.rounds:
        length = budget_of(rules, params) / rules.rounds
        shown = jnp.floor(spent / length * WITHIN) > jnp.floor(state.spent / length * WITHIN)
    else:
        shown = jnp.bool_(True)
    return state._replace(
        left=state.left - one,
        right_left=state.right_left - one * right if rules.recorded else state.right_left,
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


def answered(rules: Rules, state: State) -> Array:
    """float32[Q]: how surely each question is answered right: a draw among accepted samples, or else among all."""
    accepted = state.accepted_right + state.accepted_wrong
    if not rules.noisy:
        return (accepted > 0).astype(jnp.float32)
    among = jnp.where(accepted > 0, accepted, jnp.maximum(state.attempts, 1))
    return jnp.where(accepted > 0, state.accepted_right, state.right) / among


def over(rules: Rules, state: State, params: Params) -> Array:
    """Whether nothing more can be tried, or everything is solved, or as many samples are drawn as are at most."""
    stuck = ~jnp.any(legal(rules, state, params))
    if rules.tokens:  # here, as the horizon of a padded instance is a longer one's
        stuck = stuck | (jnp.sum(state.attempts) >= params.samples * rules.questions * MOST_IN_TOKENS)
    return stuck if rules.noisy else stuck | jnp.all(state.accepted_right > 0)


def belief(
    rules: Rules, state: State, params: Params, trust: Array | float, evidence: Array | float
) -> tuple[Array, Array]:
    """Beta posteriors, float32[Q] each; attempts whose results are not visible count as failures.

    With a noisy verifier a result counts by how far the two rates of acceptance lie apart.

    Args:
        trust: weight of the hint in the prior.
        evidence: weight of an attempt's result.
    """
    alpha, beta = (trust * state.hinted[k] + (1 - trust) * jnp.asarray(params.prior)[k] for k in range(2))
    weight = evidence * (params.rates[0] - params.rates[1] if rules.noisy else 1.0)
    return alpha + weight * state.seen, beta + weight * (state.attempts - state.seen)


def metrics(rules: Rules, state: State, params: Params) -> Metrics:
    """Costs of a finished batch."""
    del params
    count = rules.questions
    return Metrics(jnp.mean(answered(rules, state)), jnp.sum(state.attempts) / count, state.tokens / count)


def _pool(data: Outcomes | None, length: int) -> dict[str, np.ndarray]:
    """The counts of a split, padded."""
    padded = {name: np.zeros(length, np.float32) for name in POOL}
    if data is not None:
        for name in POOL:
            padded[name][: len(data)] = getattr(data, name)
    return padded


def _mean_tokens(data: Outcomes | None) -> float:
    """Mean tokens of a sample of the training problems, or of the synthetic distribution."""
    if data is None:
        wrong = PRIOR.beta / (PRIOR.alpha + PRIOR.beta)
        return TOKENS * float(np.exp(SPREAD_OF_TOKENS**2 / 2)) * (1 + (LONGER_WHEN_WRONG - 1) * wrong)
    right = data.successes / data.attempts
    return float(np.mean(right * data.tokens_right + (1 - right) * data.tokens_wrong))


def questions_of(data: str) -> int:
    """Questions of a batch when nothing else is asked for: 16, or as many as each part of a user's log has."""
    if not is_outcome_file(data):
        return QUESTIONS
    everything = load_outcomes(data)
    return max(1, min(QUESTIONS, *(len(everything.split(split)) for split in ("train", "test"))))


def recorded_splits(data: str, samples: int, questions: int, *, exact: bool) -> tuple[Outcomes, Outcomes]:
    """The training and the test problems of a data set.

    Args:
        data: its name, or the path of a log.
        samples: budget for each question, in mean samples.
        questions: of a batch.
        exact: whether the budget counts samples and a perfect verifier accepts them.

    Raises:
        DsegymError: it has fewer recorded attempts, or fewer problems, than a batch takes; or there is nothing to
            search, as no problem was ever solved, or none can fail within the budget.
        InvalidWorkloadError: a user's file cannot be read.
    """
    everything = load_outcomes(data)
    fewest = int(everything.attempts.min())
    if samples > fewest:
        raise DsegymError(
            f"samples = {samples} is beyond the {fewest} recorded attempts of {everything.name}; 1 to {fewest} "
            "are allowed, as no recorded attempt is drawn twice."
        )
    splits = {split: everything.split(split) for split in ("train", "test")}
    for split, part in splits.items():
        if len(part) < questions:
            raise DsegymError(
                f"questions = {questions} is more than the {len(part)} {split} problems of {everything.name}; 1 "
                f"to {min(map(len, splits.values()))} are allowed."
            )
        if not part.successes.any():
            raise DsegymError(f"No {split} problem of {everything.name} was ever solved; there is nothing to search.")
        failures = int((part.attempts - part.successes).max())
        if exact and failures < samples:
            allowed = f"samples = 1 to {failures} leave some" if failures else "every attempt was right"
            raise DsegymError(
                f"With {samples} samples a question no {split} problem of {everything.name} can fail, so that the "
                f"reference is perfect and there is nothing to search; {allowed}."
            )
    return splits["train"], splits["test"]


def params_of(
    splits: tuple[Outcomes, Outcomes] | None,
    seeds: tuple[np.ndarray, np.ndarray],
    *,
    samples: int,
    sigma: float,
    rates: tuple[float, float],
) -> tuple[Params, Params]:
    """The parameters of the search's batches and of the held-out ones.

    Args:
        splits: recorded outcomes, training problems and test problems; None for the synthetic backend.
        seeds: uint32[E] each.
        samples: budget for each question, in mean samples.
        sigma: of hints.
        rates: of acceptance, of right and of wrong samples.
    """
    train = None if splits is None else splits[0]
    prior = PRIOR if train is None else fit_beta(attempts=train.attempts, successes=train.successes)
    length = 1 if splits is None else _PADDING * -(-max(map(len, splits)) // _PADDING)
    search = Params(
        seeds=seeds[0],
        **_pool(train, length),
        prior=np.array(prior, np.float32),
        grid=np.array(belief_grid(prior), np.float32),
        quantiles=belief_grid(prior, QUANTILES)[0].astype(np.float32),
        sigma=np.asarray(sigma, np.float32),
        rates=np.array(rates, np.float32),
        mean_tokens=np.asarray(_mean_tokens(train), np.float32),
        samples=np.asarray(samples, np.float32),
    )
    return search, search._replace(seeds=seeds[1], **_pool(None if splits is None else splits[1], length))
