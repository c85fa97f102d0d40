"""Training: a learner's updates in compiled chunks, between which a caller shows progress, saves and stops.

A chunk is a loop of as many turns as it is told when it is called, so that one program runs every chunk: a training
that stops after any update and goes on has the bits of one that never stopped.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ...costmodels.arrays import Array
from ...costmodels.errors import DsegymError
from ...envs.core.functional import FunctionalEnv
from ...envs.core.stepping import lane_keys
from .base import Learner
from .networks import check_variables

__all__ = ["Carry", "Chunk", "OnChunk", "Trained", "carry_shapes", "train", "train_seeds", "updates_of"]

CHUNKS = 50  # of a training, at least; each costs a call, some microseconds
CHUNK_S = 5.0  # seconds of a chunk, at most about: what is saved between chunks is saved that often


class Carry(NamedTuple):
    """What a training goes on from: a pytree of arrays, and nothing else is needed."""

    learner: Any
    done: Any  # int, updates
    updates: Any  # int, of the whole training


class Chunk(NamedTuple):
    """Some updates that were just made."""

    steps: int  # of the environment, all so far
    total: int  # of the environment, in the whole training
    curve: Mapping[str, np.ndarray]  # of this chunk
    carry: Carry


OnChunk = Callable[[Chunk], bool | None]  # True stops the training


class Trained(NamedTuple):
    """What a training leaves behind."""

    variables: Any  # of the network
    curve: Mapping[str, np.ndarray]  # float32[updates made here], by name
    carry: Carry
    seconds: float  # of updates
    compile_seconds: float


def updates_of(learner: Learner, env: FunctionalEnv[Any, Any], steps: int) -> int:
    """Updates in a training of so many steps of the environment, rounded up.

    Raises:
        DsegymError: an update has more steps than int32 counts.
    """
    per_update = learner.steps_per_update(env)
    if per_update >= 2**31:
        raise DsegymError(
            f"{learner.name}'s hyperparameters make {per_update:,} steps of one update, {2**31 - 1:,} at most."
        )
    return max(1, -(-steps // per_update))


def carry_shapes(learner: Learner, env: FunctionalEnv[Any, Any], params: Any, *, steps: int) -> Carry:
    """The shapes and dtypes of the carry of a training of one seed: for who reads one that was saved."""
    updates = updates_of(learner, env, steps)
    return jax.eval_shape(
        functools.partial(_begun, learner=learner, env=env, updates=updates), params, lane_keys([0])[0]
    )


@functools.partial(jax.jit, static_argnames=("learner", "env", "updates"))
def _begun(params: Any, keys: Array, *, learner: Learner, env: FunctionalEnv[Any, Any], updates: int) -> Carry:
    """The carry of a key, uint32[words]; or of as many as it has rows, with a leading axis."""

    def begin(key: Any) -> Carry:
        own = learner.begin(env, params, jax.random.wrap_key_data(jnp.asarray(key)), updates)
        return Carry(own, jnp.int32(0), jnp.int32(updates))

    return begin(keys) if keys.ndim == 1 else jax.vmap(begin)(keys)


@functools.partial(jax.jit, static_argnames=("learner", "env", "longest"))
def _chunk(
    params: Any, carry: Carry, count: Array, *, learner: Learner, env: FunctionalEnv[Any, Any], longest: int
) -> tuple[Carry, Mapping[str, Array], Array]:
    """The carry after `count` updates, int32; curves, float32[..., longest], of which as many are filled; and whether
    all variables are finite.
    """

    def run(carry: Carry) -> tuple[Carry, Mapping[str, Array], Array]:
        figures = jax.eval_shape(lambda own: learner.update(env, params, own)[1], carry.learner)
        empty = jax.tree.map(lambda leaf: jnp.zeros((longest,), leaf.dtype), figures)

        def turn(number: Array, at: tuple[Any, Any]) -> tuple[Any, Any]:
            own, figures = learner.update(env, params, at[0])
            return own, jax.tree.map(lambda curve, figure: curve.at[number].set(figure), at[1], figures)

        own, curve = jax.lax.fori_loop(0, count, turn, (carry.learner, empty))
        finite = [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(learner.variables(own))]
        return Carry(own, carry.done + count, carry.updates), curve, jnp.stack(finite).all()

    return run(carry) if carry.done.ndim == 0 else jax.vmap(run)(carry)


def train(
    learner: Learner,
    env: FunctionalEnv[Any, Any],
    params: Any,
    *,
    steps: int,
    seed: int,
    on_chunk: OnChunk | None = None,
    carry: Carry | None = None,
    variables: Any = None,
) -> Trained:
    """Trains a policy.

    Args:
        learner: who trains.
        env: what is played, a collection's say.
        params: what it is played with.
        steps: of the environment, all lanes together; whole updates, rounded up.
        seed: of everything.
        on_chunk: is told of every chunk; where it returns True, the training stops after it.
        carry: of a training with the same arguments that was stopped: it goes on from there.
        variables: of an equal network that has learned already, by imitation say: the training starts from them.

    Returns:
        The policy's variables and the rest; curves are those of the updates made here.

    Raises:
        DsegymError: the carry is of another training, the variables do not fit, or weights are no longer finite; the
            chunks before have been told.
    """
    (key,) = lane_keys([seed])
    return _train(learner, env, params, steps, key, on_chunk, carry, variables)


def train_seeds(
    learner: Learner,
    env: FunctionalEnv[Any, Any],
    params: Any,
    *,
    steps: int,
    seeds: Sequence[int],
    on_chunk: OnChunk | None = None,
    carry: Carry | None = None,
) -> Trained:
    """As `train` of each seed, all at once; everything in what it returns has a leading axis of the seeds."""
    return _train(learner, env, params, steps, lane_keys(seeds), on_chunk, carry)


def _train(
    learner: Learner,
    env: FunctionalEnv[Any, Any],
    params: Any,
    steps: int,
    keys: Array,
    on_chunk: OnChunk | None,
    carry: Carry | None,
    variables: Any = None,
) -> Trained:
    updates, per_update = updates_of(learner, env, steps), learner.steps_per_update(env)
    longest = -(-updates // CHUNKS)
    params = jax.tree.map(jnp.asarray, params)
    start = time.perf_counter()
    begin = functools.partial(_begun, learner=learner, env=env, updates=updates)
    at = begin(params, keys) if carry is None else _gone_on(carry, jax.eval_shape(begin, params, keys), updates)
    if carry is None and variables is not None:
        check_variables(env, learner.network(env), variables)
        at = at._replace(learner=learner.going_on_from(at.learner, jax.tree.map(jnp.asarray, variables)))
    run = functools.partial(_chunk, params, learner=learner, env=env, longest=longest)
    jax.block_until_ready(run(at, jnp.int32(0)))  # compiles, and makes no update
    compiled = time.perf_counter()
    curves, done, most = [], int(np.ravel(at.done)[0]), longest
    while done < updates:
        count, begun = min(most, updates - done), time.perf_counter()
        at, curve, finite = jax.block_until_ready(run(at, jnp.int32(count)))
        done += count
        most = min(longest, max(1, int(count * CHUNK_S / (time.perf_counter() - begun))))
        if not np.all(finite):
            raise DsegymError(
                f"{learner.name}'s weights were no longer finite after {done * per_update} steps; a lower learning "
                "rate may help."
            )
        curves.append({name: np.asarray(values)[..., :count] for name, values in curve.items()})
        if on_chunk is not None and on_chunk(Chunk(done * per_update, updates * per_update, curves[-1], at)):
            break
    variables = jax.block_until_ready(_variables(learner, at))
    whole = {name: np.concatenate([each[name] for each in curves], axis=-1) for name in (curves[0] if curves else ())}
    return Trained(variables, whole, at, time.perf_counter() - compiled, compiled - start)


def _gone_on(carry: Carry, expected: Any, updates: int) -> Carry:
    """A carry as arrays of JAX, if it is of the shapes of one that begins."""
    at = jax.tree.map(jnp.asarray, carry)
    shapes = [jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree) for tree in (at, expected)]
    if shapes[0] != shapes[1]:
        raise DsegymError("The training to go on from is of another learner, environment, or number of seeds.")
    if np.any(at.updates != updates):
        raise DsegymError(
            f"The training to go on from is one of {np.ravel(at.updates)[0]} updates, not of {updates}: its learning "
            "rate falls by its length."
        )
    return at


def _variables(learner: Learner, carry: Carry) -> Any:
    of = learner.variables
    return of(carry.learner) if carry.done.ndim == 0 else jax.vmap(of)(carry.learner)
