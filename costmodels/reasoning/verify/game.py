"""Solve or verify as a game: sample once more, verify a group of answers, or answer; pure JAX on one problem.

The rules: docs/solve_verify.md. Samples that give the same answer form a group (HumanEval: those that pass the same
generated tests). K groups at most, of which the TOP largest can be verified and answered with; S samples that the
budget has room for.
"""

from __future__ import annotations

import math
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from ...arrays import Array
from ...luck import normal, uniform
from ..best_of_n import belief_grid
from ..laws import BetaFit
from ..outcomes import human_eval
from ..splits import split_indices, split_sizes
from .model import ANSWERS, PRESET, PRIOR, Verifier, logit, wrong_answer_weights

__all__ = [
    "ANSWER",
    "QUANTILES",
    "SAMPLE",
    "TOP",
    "VERIFY",
    "WITHIN",
    "Metrics",
    "Params",
    "Recorded",
    "State",
    "Synthetic",
    "action_mask",
    "advance",
    "failure",
    "legal",
    "metrics",
    "over",
    "params_of",
    "recorded",
    "recorded_sizes",
    "start",
    "synthetic",
]

TOP = 5  # groups that can be seen, verified and answered with
TESTS = 32  # verdicts on a group, at most
GROUPS = 48  # groups of HumanEval's samples, no fewer than any problem has
QUANTILES = 1024
WITHIN = 1 + 1e-6  # factor on the budget that leaves room for rounding
SAMPLE, VERIFY, ANSWER = 0, 1, 1 + TOP  # actions; the last two are the first of TOP
_PADDING = 128  # problems
# What luck decides: the last word of its hash.
_PROBLEM, _ORDER, _RIGHT, _WRONG, _VERDICT, _TIE, _NOISE, _TEST = range(8)


class Metrics(NamedTuple):
    """Costs of a problem, averaged over problems. Scalars, float32."""

    accuracy: Array
    spent_samples: Array  # samples + lambda x verdicts
    samples: Array
    verdicts: Array
    price_paid: Array  # price x spent share


class Recorded(NamedTuple):
    """Recorded problems of a split, padded to P."""

    problems: Array  # int32[], how many of the P there are
    group: Array  # int32[P, 100], of each sample
    correct: Array  # bool[P, 100]
    passed: Array  # uint32[P, GROUPS], the generated tests that a group passes, a bit each
    tests: Array  # int32[P], generated tests


class Synthetic(NamedTuple):
    """The solver and the verifier of `model.py`. Scalars float32 but for the first two."""

    quantiles: Array  # float32[QUANTILES], of p
    wrong: Array  # float32[ANSWERS - 1], cumulative shares of wrong answers
    yes_if_right: Array  # logit
    yes_if_wrong: Array  # logit
    problem: Array  # deviations of the noise, in logits
    answer: Array
    solution: Array


Source: TypeAlias = "Recorded | Synthetic"


class Params(NamedTuple):
    """An instance. Scalars float32."""

    seeds: Array  # uint32[E]
    source: Source  # where samples and verdicts come from
    budget: Array  # budget of a problem, in samples
    verify_cost: Array  # lambda, in samples
    price: Array  # price of the whole budget, in accuracy
    samples: Array  # int32, that the budget has room for


class State(NamedTuple):
    """Where a problem stands. Scalars if not said otherwise."""

    seed: Array  # uint32
    answers: Array  # int32[S], the groups of the samples to come
    right: Array  # bool[S]
    inclined: Array  # float32[K], logits of yes (synthetic); or uint32[K], tests passed (recorded)
    order: Array  # int32[TESTS], the order of tests (recorded)
    most: Array  # int32, verdicts on a group at most
    votes: Array  # float32[K]
    members_right: Array  # float32[K], votes of samples that are right
    verdicts: Array  # float32[K]
    yes: Array  # float32[K]
    tie: Array  # float32[K], below 1: luck that breaks ties
    ranked: Array  # int32[TOP], the largest groups; ties by luck
    samples: Array  # int32
    spent: Array  # float32
    answered: Array  # bool
    accuracy: Array  # float32, of the answer
    illegal: Array  # int32, actions so far that were not legal


def _names() -> list[str]:
    return [str(i) for i in range(len(human_eval().tests))]


def recorded_sizes() -> dict[str, int]:
    """{split: HumanEval's problems in it}."""
    return split_sizes("humaneval", _names())


def recorded(split: str) -> Recorded:
    """HumanEval's problems of a split."""
    table = human_eval()
    places = split_indices("humaneval", _names(), split)
    count, length = len(places), _PADDING
    group = np.zeros((length, 100), np.int32)
    correct = np.zeros((length, 100), bool)
    passed = np.zeros((length, GROUPS), np.uint32)
    tests = np.zeros(length, np.int32)
    group[:count], correct[:count], tests[:count] = table.group[places], table.correct[places], table.tests[places]
    words = table.passed[places].astype(np.uint32) @ (np.uint32(1) << np.arange(TESTS, dtype=np.uint32))
    for row in range(count):
        passed[row, group[row]] = words[row]
    return Recorded(np.asarray(count, np.int32), group, correct, passed, tests)


def synthetic(verifier: Verifier = PRESET) -> Synthetic:
    """Problems without end, and a verifier that errs."""
    rates = logit(verifier.yes_if_right), logit(verifier.yes_if_wrong)
    numbers = (*rates, verifier.problem, verifier.answer, verifier.solution)
    return Synthetic(
        belief_grid(BetaFit(*PRIOR), QUANTILES)[0].astype(np.float32),
        np.cumsum(wrong_answer_weights()).astype(np.float32),
        *(np.asarray(number, np.float32) for number in numbers),
    )


def params_of(split: str | None, seeds: np.ndarray, *, budget: float, verify_cost: float, price: float) -> Params:
    """An instance on HumanEval's problems of a split, or without one on synthetic ones; numbers as of `Params`."""
    return Params(
        seeds=seeds,
        source=recorded(split) if split else synthetic(),
        budget=np.asarray(budget, np.float32),
        verify_cost=np.asarray(verify_cost, np.float32),
        price=np.asarray(price, np.float32),
        samples=np.asarray(math.floor(budget * WITHIN), np.int32),
    )


def start(samples: int, key: Array, params: Params) -> State:
    """A problem, nothing sampled; `samples` is S."""
    seed, source = jax.random.bits(key), params.source
    groups, draws = jnp.arange(GROUPS if isinstance(source, Recorded) else ANSWERS), jnp.arange(samples)
    if isinstance(source, Recorded):
        problem = (uniform(seed, 0, _PROBLEM) * source.problems).astype(jnp.int32)
        chosen = _shuffled(uniform(seed, jnp.arange(source.group.shape[1]), _ORDER))[:samples]
        answers = jnp.asarray(source.group)[problem][chosen]
        right = jnp.asarray(source.correct)[problem][chosen]
        inclined = jnp.asarray(source.passed)[problem]
        most = jnp.asarray(source.tests)[problem]
        tests = jnp.arange(TESTS)
        order = _shuffled(jnp.where(tests < most, uniform(seed, tests, _TEST), 1.0))
    else:
        p = jnp.asarray(source.quantiles)[(uniform(seed, 0, _PROBLEM) * QUANTILES).astype(jnp.int32)]
        right = uniform(seed, draws, _RIGHT) < p
        luck = uniform(seed, draws, _WRONG)
        wrong = 1 + jnp.sum(luck[:, None] >= jnp.asarray(source.wrong), axis=1)
        answers = jnp.where(right, 0, jnp.minimum(wrong, ANSWERS - 1)).astype(jnp.int32)
        noise = normal(seed, groups, _NOISE)
        wrong_logit = source.yes_if_wrong + source.answer * noise
        inclined = jnp.where(groups == 0, source.yes_if_right + source.problem * noise, wrong_logit)
        most, order = jnp.int32(TESTS), jnp.zeros(TESTS, jnp.int32)
    none, zero = jnp.zeros(len(groups)), jnp.float32(0)
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


def legal(state: State, params: Params) -> tuple[Array, Array, Array]:
    """Whether a sample is possible, bool; which ranks can be verified and which answered with, bool[TOP]."""
    room = params.budget * WITHIN - state.spent
    there = state.votes[state.ranked] > 0
    verify = there & (state.verdicts[state.ranked] < state.most) & (room >= params.verify_cost)
    answer = there | (jnp.arange(TOP) == 0)
    return (state.samples < params.samples) & (room >= 1), verify, answer


def action_mask(state: State, params: Params) -> Array:
    """bool[1 + 2 TOP]; the first answer is always legal, wrong where nothing was sampled."""
    sample, verify, answer = legal(state, params)
    return jnp.concatenate([sample[None], verify, answer])


def advance(state: State, action: Array, params: Params) -> State:
    """Samples, verifies or answers; what is not legal answers with the largest group."""
    action = jnp.asarray(action, jnp.int32)
    allowed = action_mask(state, params)
    is_legal = jnp.any((jnp.arange(1 + 2 * TOP) == action) & allowed)
    action = jnp.where(is_legal, action, ANSWER)
    groups = jnp.arange(len(state.votes))
    samples, verifies, answers = action == SAMPLE, (action >= VERIFY) & (action < ANSWER), action >= ANSWER
    place = jnp.minimum(state.samples, len(state.answers) - 1)
    drawn = samples & (groups == state.answers[place])
    rank = jnp.where(answers, action - ANSWER, jnp.clip(action - VERIFY, 0, TOP - 1))
    target = state.ranked[rank]
    here = groups == target
    yes = _verdict(state, target, params.source)
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
        spent=taken + params.verify_cost * jnp.sum(verdicts),  # sums of counts: a running sum would drift
        answered=state.answered | answers,
        accuracy=jnp.where(answers, right / jnp.maximum(votes, 1), state.accuracy),
        illegal=state.illegal + ~is_legal,
    )


def _verdict(state: State, group: Array, source: Source) -> Array:
    """float32: the next verdict on a group, 1 for yes."""
    number = state.verdicts[group].astype(jnp.int32)
    if isinstance(source, Recorded):
        test = state.order[jnp.minimum(number, TESTS - 1)].astype(jnp.uint32)
        return ((state.inclined[group] >> test) & 1).astype(jnp.float32)
    solution = source.solution * normal(state.seed, group, number, _NOISE)
    chance = jax.nn.sigmoid(state.inclined[group] + solution)
    return (uniform(state.seed, group, number, _VERDICT) < chance).astype(jnp.float32)


def over(state: State, params: Params) -> Array:
    """Whether it has answered."""
    del params
    return state.answered


def metrics(state: State, params: Params) -> Metrics:
    """Costs of a problem that is answered."""
    return Metrics(
        accuracy=state.accuracy,
        spent_samples=state.spent,
        samples=state.samples.astype(jnp.float32),
        verdicts=jnp.sum(state.verdicts),
        price_paid=params.price * state.spent / params.budget,
    )


def failure(found: Metrics) -> Array:
    """float32: 1 - accuracy, plus what was paid."""
    return 1.0 - found.accuracy + found.price_paid


def _shuffled(luck: Array) -> Array:
    """int32[N], N at most 128: places in the order of their luck, float32[N]; one key of 32 bits sorts the fastest."""
    keys = ((luck * 2**24).astype(jnp.uint32) << 7) | jnp.arange(len(luck), dtype=jnp.uint32)
    return (jax.lax.sort(jnp.asarray(keys)) & 127).astype(jnp.int32)


def _largest(votes: Array, tie: Array) -> Array:
    """int32[TOP]: the groups of most votes, float32[K]; ties by luck, float32[K]. K at most 64, votes at most 127."""
    keys = (votes.astype(jnp.uint32) << 25) | ((tie * 2**19).astype(jnp.uint32) << 6)
    keys = keys | (63 - jnp.arange(len(votes), dtype=jnp.uint32))
    found = []
    for _ in range(TOP):
        found.append(jnp.max(keys))
        keys = jnp.where(keys == found[-1], jnp.uint32(0), keys)
    return (63 - (jnp.stack(found) & 63)).astype(jnp.int32)
