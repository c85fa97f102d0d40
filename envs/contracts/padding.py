"""The clause of a form that has sizes: an instance in the shape of a larger one is played as it is alone."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..core.functional import FunctionalEnv
from ..core.problem import Problem
from .clauses import SEED, close, legal_action, require

__all__ = ["Axes", "a_larger_shape_changes_nothing"]

PADDED_STEPS = 150  # of an episode that is played in a larger shape, at most

Axes = tuple[int, ...]


def a_larger_shape_changes_nothing(
    problem: Problem,
    form: str,
    sizes: Mapping[str, int] | None = None,
    axes: tuple[Axes, Axes] | None = None,
    *,
    exact: bool = False,
) -> None:
    """Where the form has sizes, an episode in the shape of a larger instance, as `padded` makes it, is seen, ends and
    costs as the instance's own; what the instance lacks is 0 in observations and masked.
    """
    env, params = problem.functional_env(form), problem.env_params(form)
    own = env.sizes(params)
    if not own:
        return
    sizes = {name: count + 1 for name, count in own.items()} if sizes is None else sizes
    larger, padded = env.padded(params, sizes)
    (state, seen), (other, shown) = _begun(env, params), _begun(larger, padded)
    keep_last = {feature.name for feature in env.features if feature.keeps_last}
    generator, agree = np.random.default_rng(SEED), np.array_equal if exact else close
    for step in range(min(env.horizon, PADDED_STEPS) + 1):
        legal = _compare_views(seen, shown, axes, f"step {step}", keep_last)
        require(agree(seen.reward, shown.reward), f"step {step}: the reward is {shown.reward}, not {seen.reward}")
        if seen.over:
            break
        if legal is None:
            action = legal_action(generator, env.action_space, {})
            actions = action, np.zeros(larger.action_space.shape or (), np.int32)
            actions[1][tuple(map(slice, action.shape))] = action
        else:
            place = generator.integers(len(legal[0]))
            actions = legal[0][place], legal[1][place]
        state, seen = _advanced(env, state, actions[0], params)
        other, shown = _advanced(larger, other, actions[1], padded)
    for name, values in seen.final_info.items():
        found = np.asarray(shown.final_info[name])
        found = found[: len(values)] if name == "design" else found
        require(np.array_equal(found, values, equal_nan=True), f"the episode's {name} is {found}, not {values}")


class _View(NamedTuple):
    """What there is to know of a state."""

    features: Mapping[str, Any]  # float32 each, in the feature's shape
    action_mask: Any
    reward: Any  # of the transition that led to it
    over: Any
    final_info: Mapping[str, Any]


def _view(env: FunctionalEnv[Any, Any], before: Any, state: Any, params: Any) -> _View:
    observed = env.observe(state, params)
    return _View(
        {feature.name: jnp.reshape(observed[feature.name], feature.shape) for feature in env.features},
        env.action_mask(state, params),
        env.reward(before, state, params),
        env.over(state, params),
        env.final_info(state, params),
    )


@functools.partial(jax.jit, static_argnums=0)
def _begun(env: FunctionalEnv[Any, Any], params: Any) -> tuple[Any, _View]:
    state = env.start(jax.random.key(SEED), params)
    return state, _view(env, state, state, params)


@functools.partial(jax.jit, static_argnums=0)
def _advanced(env: FunctionalEnv[Any, Any], state: Any, action: Any, params: Any) -> tuple[Any, _View]:
    moved = env.advance(state, action, params)
    return moved, _view(env, state, moved, params)


def _compare_views(
    seen: _View, shown: _View, axes: tuple[Axes, Axes] | None, where: str, keep_last: Collection[str]
) -> tuple[np.ndarray, np.ndarray] | None:
    """The legal actions of a state, alone and in a larger shape, in their order; None where there are no masks."""
    seen, shown = (jax.tree.map(np.asarray, view) for view in (seen, shown))
    require(seen.over == shown.over, f"{where}: the episode ends at another time")
    masks, legal = (seen.action_mask, shown.action_mask), None
    if seen.action_mask is not None:
        legal = np.flatnonzero(masks[0]), np.flatnonzero(masks[1])
        tables = masks if axes is None else tuple(mask.reshape(each) for mask, each in zip(masks, axes, strict=True))
        same = len(legal[0]) == len(legal[1]) if axes is None else _is_continued(*tables)
        require(same or seen.over, f"{where}: other actions are legal")
    for name, values in seen.features.items():
        found = shown.features[name]
        same = _is_continued(values, found)
        if not same and legal is not None and (values.shape, found.shape) == (masks[0].shape, masks[1].shape):
            # Of each action, whose numbers may be others.
            same = np.array_equal(values[masks[0]], found[masks[1]]) and not found[~masks[1]].any()
        if not same and name in keep_last:
            same = np.array_equal(found[-1:], values[-1:]) and _is_continued(values[:-1], found[:-1])
        require(same, f"{where}: the feature {name} differs")
    return legal


def _is_continued(values: np.ndarray, longer: np.ndarray) -> bool:
    """Whether a larger array begins with the values, and has nothing beyond them."""
    own, beyond = tuple(map(slice, values.shape)), longer.copy()
    beyond[own] = 0
    return np.array_equal(longer[own], values) and not beyond.any()
