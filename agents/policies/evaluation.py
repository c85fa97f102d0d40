"""What a policy is worth on instances: every instance and case is played in one program, and finished designs are
costed by their problems. N instances, C cases, S samples.
"""

from __future__ import annotations

import functools
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from ...costmodels.arrays import Array
from ...costmodels.errors import DsegymError, UnknownNameError, reason_of, shortened
from ...costmodels.luck import episode_key
from ...envs.core.collections import Collection, Padded
from ...envs.core.functional import FunctionalEnv, play_cases
from ...envs.core.problem import Problem
from .players import MODES, Acting, Function, Policy, PureFunction

__all__ = ["MOST_SAMPLES", "Evaluated", "RuleOutcome", "evaluate", "evaluate_rules", "kind_of"]

MOST_SAMPLES = 10_000
_LANES = 2048  # episodes that are played side by side


@dataclass(frozen=True, eq=False)
class Evaluated:
    """What came of a policy's episodes.

    Attributes:
        problems: the instances.
        form: that was played.
        sizes: what they were padded to.
        objective: float64[N, S], of each sample, in the objective's unit, on the cases that policies are scored on.
        feasible: bool[N, S].
        searched: float64[N, S], the objective on the search's own cases, by which the best of several samples is
            chosen; None where there is one sample, or no held-out cases.
        designs: of each instance int32[S, n], where an episode stands for a design; None where it does not.
        trained_on: bool[N], whether the card says that the policy was trained on the instance.
    """

    problems: tuple[Problem, ...]
    form: str
    sizes: Mapping[str, int]
    objective: NDArray[np.float64]
    feasible: NDArray[np.bool_]
    searched: NDArray[np.float64] | None
    designs: tuple[NDArray[np.int32], ...] | None
    trained_on: NDArray[np.bool_]

    @functools.cached_property
    def chosen(self) -> NDArray[np.intp]:
        """[N], the sample that counts: the best, by values that a search may see."""
        seen = self.searched if self.searched is not None else np.where(self.feasible, self.objective, np.inf)
        return seen.argmin(axis=1)

    @functools.cached_property
    def value(self) -> NDArray[np.float64]:
        """[N], of the sample that counts; infinite where its design is not feasible, unless on held-out cases."""
        rows = np.arange(len(self.problems))
        return _counted(self.problems, self.objective[rows, self.chosen], self.feasible[rows, self.chosen])


@dataclass(frozen=True, eq=False)
class RuleOutcome:
    """What came of a rule, a family's heuristic.

    Attributes:
        problems: the instances.
        objective, feasible: [N], of its designs, on the cases that scores are taken on; NaN and False where an instance
            has no such rule.
        designs: N of int32[n], None where an instance has no such rule.
    """

    problems: tuple[Problem, ...]
    objective: NDArray[np.float64]
    feasible: NDArray[np.bool_]
    designs: tuple[NDArray[np.int32] | None, ...]

    @property
    def value(self) -> NDArray[np.float64]:
        """[N], as of `Evaluated`; NaN where an instance has no such rule."""
        return np.where(np.isnan(self.objective), np.nan, _counted(self.problems, self.objective, self.feasible))


def _counted(
    problems: Sequence[Problem], objective: NDArray[np.float64], feasible: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """[N], what designs are worth: infinite where not feasible, but on held-out cases, where the objective carries the
    penalty.
    """
    held_out = np.array([problem.held_out_params is not None for problem in problems])
    return np.where(feasible | held_out, objective, np.inf)


def kind_of(mode: str, samples: int) -> str:
    """How a policy was used, in words."""
    return f"adapted: best of {samples} samples" if samples > 1 else f"zero-shot, {mode}"


def evaluate(
    policy: Policy | PureFunction | Function,
    collection: Collection,
    split: str,
    *,
    mode: str = "greedy",
    samples: int = 1,
    seed: int = 0,
    trained_on: bool = False,
) -> Evaluated:
    """Plays a policy on the instances of a part of a collection.

    Args:
        policy: who plays.
        collection: of the policy's scenario and form.
        split: the part.
        mode: `greedy` or `sampled`.
        samples: episodes of each instance and case. One is zero-shot. Of more, which only `sampled` can differ in, the
            best counts: a search with so many samples that starts from the policy.
        seed: of what is drawn.
        trained_on: whether instances that the policy was trained on are allowed.

    Raises:
        UnknownNameError: there is no such part or mode.
        DsegymError: the policy is of another scenario, form or shape; an instance was trained on; no action was legal;
            an action was not legal; the instances cannot be made; the number of samples or the seed is out of range.
    """
    if mode not in MODES:
        raise UnknownNameError("mode", mode, MODES)
    if not 1 <= samples <= MOST_SAMPLES:
        raise DsegymError(f"samples = {samples} is not a whole number from 1 to {MOST_SAMPLES}.")
    if samples > 1 and (mode == "greedy" or isinstance(policy, Function)):
        what = "A greedy policy" if mode == "greedy" else "A function of NumPy arrays"
        raise DsegymError(f"{what} plays alike every time: {samples} samples of it are one; sampled ones may differ.")
    if not 0 <= seed < 2**31:
        raise DsegymError(f"seed = {seed} is not a whole number from 0 to {2**31 - 1}.")
    card = policy.card if isinstance(policy, Policy) else None
    if card is not None:
        card.check_form(collection.scenario, collection.form or card.form)
        if (collection.sizes, collection.form) != (card.sizes, card.form):  # equal ones keep what was made of them
            collection = replace(collection, sizes=card.sizes, form=card.form)
    problems = collection.problems(split)
    form = collection.form or next(iter(problems[0].forms))
    known = frozenset(card.trained_on) if card is not None else frozenset()
    seen = np.array([problem.digest in known for problem in problems])
    if seen.any() and not trained_on:
        first = problems[int(seen.argmax())].name
        raise DsegymError(
            f"The policy was trained on {seen.sum()} of the {len(problems)} instances of {split} in the collection "
            f"'{collection.name}' ({shortened(first)}, say): what it is worth on them is no zero-shot value."
        )
    padded = collection.padded(split, scored=True)
    if card is not None:
        card.check_shape(padded.env)
    found = _play(policy, padded, mode, samples, seed)
    designs = None if found.design is None else _own_designs(problems, found.design)
    objective, feasible = found.objective.astype(np.float64), found.feasible
    if designs is not None:
        costs = [problem.evaluate_held_out(each) for problem, each in zip(problems, designs, strict=True)]
        objective, feasible = np.stack([c.objective for c in costs]), np.stack([c.feasible for c in costs])
    searched = None
    if samples > 1 and any(problem.held_out_params is not None for problem in problems):
        searched = _play(policy, collection.padded(split, scored=True, searched=True), mode, samples, seed).objective
        searched = searched.astype(np.float64)
    return Evaluated(problems, form, dict(collection.common_sizes), objective, feasible, searched, designs, seen)


def evaluate_rules(problems: Sequence[Problem], *, without: Container[str] = ()) -> dict[str, RuleOutcome]:
    """{rule: what came of it} of every heuristic that any of the instances has, on the cases that scores are taken on.

    Designs are made one after the other on the host.

    Args:
        problems: the instances.
        without: rules that are left out.
    """
    makers = [{name: make for name, make in each.baselines.items() if name not in without} for each in problems]
    names = list(dict.fromkeys(name for own in makers for name in own))
    designs = [{name: np.asarray(make(), np.int32) for name, make in own.items()} for own in makers]
    costs = [
        problem.evaluate_held_out(np.stack(list(own.values()))) if own else None
        for problem, own in zip(problems, designs, strict=True)
    ]
    found = {}
    for name in names:
        objective, feasible = np.full(len(problems), np.nan), np.zeros(len(problems), bool)
        for place, (own, cost) in enumerate(zip(designs, costs, strict=True)):
            if cost is not None and name in own:
                row = list(own).index(name)
                objective[place], feasible[place] = cost.objective[row], cost.feasible[row]
        found[name] = RuleOutcome(tuple(problems), objective, feasible, tuple(own.get(name) for own in designs))
    return found


def _own_designs(problems: Sequence[Problem], padded: NDArray[np.int32]) -> tuple[NDArray[np.int32], ...]:
    return tuple(each[:, : len(problem.space)] for problem, each in zip(problems, padded, strict=True))


# Playing ---------------------------------------------------------------------------------------------------------


class _Outcome(NamedTuple):
    """Of all instances and samples, leaves [N, S, ...]."""

    objective: Any  # float32
    feasible: Any  # bool
    design: Any  # int32[longest], where an episode stands for a design; None where not
    stuck: Any  # bool, whether an episode came to a state without a legal action before its end
    illegal: Any  # bool, whether an action was not legal


class _WatchedState(NamedTuple):
    state: Any  # of the environment
    stuck: Any  # bool
    illegal: Any  # bool


@dataclass(frozen=True)
class _Watched(FunctionalEnv[_WatchedState, Any]):
    """An environment that notes states without a legal action, and actions that are not legal."""

    inner: FunctionalEnv[Any, Any]

    @property
    def horizon(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The environment's."""
        return self.inner.horizon

    def case_count(self, params: Any) -> int:
        """The environment's."""
        return self.inner.case_count(params)

    def start_case(self, case: Array, params: Any) -> _WatchedState:
        """The environment's."""
        return _WatchedState(self.inner.start_case(case, params), jnp.bool_(False), jnp.bool_(False))

    def over(self, state: _WatchedState, params: Any) -> Array:
        """The environment's, or no action is legal."""
        return self.inner.over(state.state, params) | state.stuck

    def advance(self, state: _WatchedState, action: Array, params: Any) -> _WatchedState:
        """The environment's, and what is to be noted."""
        mask = self.inner.action_mask(state.state, params)
        stuck = jnp.bool_(False) if mask is None else ~jnp.any(mask)
        legal = _in_space(self.inner.action_space, action)
        if mask is not None:
            legal &= jnp.asarray(mask)[jnp.asarray(action)]
        moved = self.inner.advance(state.state, action, params)
        return _WatchedState(moved, state.stuck | stuck, state.illegal | (~legal & ~stuck))


def _in_space(space: gymnasium.Space, action: Any) -> Any:
    """bool[], whether an action is one of a Discrete or MultiDiscrete space."""
    counts = (
        space.nvec if isinstance(space, gymnasium.spaces.MultiDiscrete) else np.asarray(getattr(space, "n", 2**31 - 1))
    )
    return jnp.all((jnp.asarray(action) >= 0) & (jnp.asarray(action) < counts))


def _play(policy: Policy | PureFunction | Function, padded: Padded, mode: str, samples: int, seed: int) -> _Outcome:
    if isinstance(policy, Function):
        found = _played_by_function(policy, padded)
    else:
        acting, variables = policy.acting(padded.env, mode)
        cases = padded.env.case_count(jax.tree.map(lambda leaf: leaf[0], padded.params))
        key = jax.random.key_data(episode_key(np.random.SeedSequence(seed).generate_state(1)[0]))
        at_once = min(samples, max(1, _LANES // cases))
        batches = max(1, _LANES // (cases * at_once)), at_once
        numbers = np.arange(samples, dtype=np.int32)
        found = _played(padded.params, variables, key, numbers, env=padded.env, acting=acting, batches=batches)
    found = jax.tree.map(np.asarray, found)
    for what, flags, hint in (
        ("no action is legal in a state that comes before the end", found.stuck, ""),
        (
            f"{policy.name} took an action that is not legal",
            found.illegal,
            "; the mask that it is given says which are",
        ),
    ):
        if flags.any():
            name = padded.problems[int(flags.any(axis=1).argmax())].name
            raise DsegymError(f"{shortened(name, 200)}: {what}, on {flags.any(axis=1).sum()} instances in all{hint}.")
    return found


@functools.partial(jax.jit, static_argnames=("env", "acting", "batches"))
def _played(
    params: Any,
    variables: Any,
    key: Array,
    samples: Array,
    *,
    env: FunctionalEnv[Any, Any],
    acting: Acting,
    batches: tuple[int, int],
) -> _Outcome:
    """Plays all instances, so many of them and of their samples at once."""
    act, root = acting(variables), jax.random.wrap_key_data(jnp.asarray(key))

    def of_sample(own: Any, sample: Array) -> _Outcome:
        mine = jax.random.fold_in(root, sample)

        def choose(state: _WatchedState, case: Array, step: Array) -> Any:
            turn = jax.random.fold_in(jax.random.fold_in(mine, case), step)
            return act(env.observation(state.state, own), env.action_mask(state.state, own), turn)

        return _outcome(env, play_cases(_Watched(env), choose, own), own)

    def of_instance(own: Any) -> _Outcome:
        return jax.lax.map(functools.partial(of_sample, own), samples, batch_size=batches[1])

    return jax.lax.map(of_instance, params, batch_size=batches[0])


def _outcome(env: FunctionalEnv[Any, Any], states: _WatchedState, params: Any) -> _Outcome:
    """Of the finished episodes of an instance's cases, leaves [C]."""
    mean = env.mean_evaluation(states.state, params)
    design = env.design(jax.tree.map(lambda leaf: leaf[0], states.state), params) if env.replayable else None
    return _Outcome(
        jnp.asarray(mean.objective, jnp.float32),
        jnp.asarray(mean.feasible),
        design,
        states.stuck.any(),
        states.illegal.any(),
    )


def _played_by_function(function: Function, padded: Padded) -> _Outcome:
    """Plays all instances' cases side by side, the function on the host."""
    env, watched = padded.env, _Watched(padded.env)
    params = jax.tree.map(jnp.asarray, padded.params)
    cases = jnp.arange(env.case_count(jax.tree.map(lambda leaf: leaf[0], params)), dtype=jnp.int32)

    def lanes(of_lane: Any) -> Any:
        """Of a function of a lane's own arguments and its instance's params: of all lanes, [N, C]."""
        return jax.jit(
            lambda params, *given: jax.vmap(lambda own, *mine: jax.vmap(lambda *each: of_lane(*each, own))(*mine))(
                params, *given
            )
        )

    starts = lanes(watched.start_case)
    look = lanes(lambda state, own: (env.observation(state.state, own), env.action_mask(state.state, own)))
    over = lanes(watched.over)
    advance = lanes(
        lambda state, action, goes_on, own: jax.tree.map(
            lambda new, old: jnp.where(goes_on, new, old), watched.advance(state, action, own), state
        )
    )
    states = starts(params, jnp.broadcast_to(cases, (len(padded.problems), len(cases))))
    shape = env.action_space.shape or ()
    for _ in range(env.horizon):
        goes_on = ~np.asarray(over(params, states))
        if not goes_on.any():
            break
        observation, mask = jax.tree.map(np.asarray, look(params, states))
        asked = goes_on if mask is None else goes_on & mask.any(axis=-1)
        actions = np.zeros((*goes_on.shape, *shape), np.int32)
        if asked.any():
            seen = jax.tree.map(lambda leaf, asked=asked: leaf[asked], (observation, mask))
            actions[asked] = _asked(function, seen, shape)
        states = advance(params, states, actions, goes_on)
    outcome = jax.jit(jax.vmap(functools.partial(_outcome, env)))(states, params)
    return jax.tree.map(lambda leaf: leaf[:, None], outcome)


def _asked(function: Function, seen: Any, shape: tuple[int, ...]) -> NDArray[np.int32]:
    """int32[lanes, ...]: the actions of a third party's function.

    Raises:
        DsegymError: it failed, or returned no whole numbers of the right shape.
    """
    observation, mask = seen
    count = len(jax.tree.leaves(observation)[0])
    try:
        if getattr(function.act, "batched", False):
            given = np.asarray(function.act(observation, mask))
        else:
            each = (jax.tree.map(lambda leaf, lane=lane: leaf[lane], seen) for lane in range(count))
            given = np.stack([np.asarray(function.act(*one)) for one in each])
    except (Exception, SystemExit) as error:  # whatever a third party's code raises
        raise DsegymError(f"{function.name} failed: {reason_of(error)}.") from error
    if given.shape != (count, *shape) or not np.issubdtype(given.dtype, np.integer):
        raise DsegymError(
            f"{function.name} returned {given.dtype}{list(given.shape)} where integers {[count, *shape]} are actions."
        )
    return np.clip(given, -1, 2**31 - 1).astype(np.int32)
