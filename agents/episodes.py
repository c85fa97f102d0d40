"""Episodes that are counted: a vector environment's, stepped from outside, and a compiled rollout's.

An episode counts when it begins. Where the budget does not cover all lanes, the first ones play and the rest stand
still, so that no lane shows what is not paid for. B lanes, T steps, n parameters.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from ..costmodels.errors import DsegymError
from ..envs.core.functional import FunctionalEnv
from ..envs.core.problem import Problem
from ..envs.core.stepping import constants_of, reset_lanes, step_lanes
from ..envs.faces.actions import checked_action
from ..envs.faces.vector_env import FunctionalVectorEnv
from .referee import Program, Trajectory

if TYPE_CHECKING:
    from .scorekeeper import Scorekeeper

__all__ = ["CountedEnv", "CountedRollout", "Episodes"]


class Episodes:
    """The episodes of an environment's lanes.

    Attributes:
        begun: bool[B], which have begun.
        covered: bool[B], which of these the budget covers.
        standing: gives int32[B, n], the lanes' designs as they stand.
    """

    def __init__(self, lanes: int, standing: Callable[[], np.ndarray]):
        self.begun, self.covered = np.zeros(lanes, bool), np.zeros(lanes, bool)
        self.standing = standing


class CountedEnv(FunctionalVectorEnv):
    """A vector environment whose episodes the scorekeeper counts."""

    def __init__(self, problem: Problem, num_envs: int, form: str, keeper: Scorekeeper):
        super().__init__(problem, num_envs, form)
        self._keeper = keeper
        self._shown: Any = None  # the observation and the mask shown last
        self.episodes = Episodes(num_envs, lambda: np.asarray(self._compiled.design(self._lanes)))

    @property
    def facts(self) -> Mapping[str, Any]:
        """What a face must know."""
        return {
            "num_envs": self.num_envs,
            "single_observation_space": self.single_observation_space,
            "single_action_space": self.single_action_space,
            "metadata": dict(self.metadata),
            "feature_slices": self.functional.feature_slices,
        }

    def reset(self, *, seed: Any = None, options: Any = None):
        """As every vector environment's; episodes that have begun count as their designs stand."""
        self._lane_seeds(seed)  # before anything counts
        again = self._lanes_to_reset(options)
        self._keeper.settle(self.episodes, again)
        observation, info = super().reset(seed=seed, options=options)
        self._shown = observation, self._mask
        return observation, info

    def step(self, actions: Any):
        """As every vector environment's; lanes whose episodes the budget does not cover stand still."""
        if self._lanes is None:
            return super().step(actions)  # which says that a reset is due
        actions = checked_action(self.single_action_space, actions, self.num_envs)
        self._keeper.begin(self.episodes)
        idle = ~self.episodes.covered
        observation, reward, terminal, truncated, info = super().step(actions)
        if idle.any():
            info = {name: _without(values, idle) for name, values in info.items()}
            observation = jax.tree.map(lambda new, old: _where(idle, old, new), observation, self._shown[0])
            reward, terminal = _without(reward, idle), terminal & ~idle
            if self._mask is not None:
                self._mask = _where(idle, self._shown[1], self._mask)
                info = self._with_mask(info)
        self._shown = observation, self._mask
        if terminal.any():
            final = {name: _without(values, ~terminal) for name, values in info["final_info"].items()}
            info["final_info"] = final  # of what has ended, and of nothing else
            self._keeper.end(self.episodes, terminal, final["design"], final["objective"], final["feasible"])
        return observation, reward, terminal, truncated, info


def _where(lanes: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Arrays [B, ...], `one` in these lanes."""
    return np.where(lanes.reshape(-1, *[1] * (one.ndim - 1)), one, other)


def _without(values: Any, lanes: np.ndarray) -> Any:
    """A tree of arrays [B, ...], zero in these lanes."""
    return jax.tree.map(lambda leaf: _where(lanes, np.zeros_like(leaf), leaf), values)


class CountedRollout:
    """Lanes that a policy plays inside one compiled program; they go on where the last rollout left them.

    Attributes:
        form: of the environment.
        facts: the shapes that a policy must fit, and the platform that it is exported for.
        step_bytes: what a step of all lanes brings.
    """

    def __init__(self, problem: Problem, lanes: int, form: str, keeper: Scorekeeper):
        self.form, self._problem, self._count, self._keeper = form, problem, lanes, keeper
        self._env = env = problem.functional_env(form)
        self._params = params = constants_of(problem.env_params(form))
        self._programs: dict[tuple[Program, int], Callable[..., Any]] = {}
        self._reset = jax.jit(lambda keys: reset_lanes(env, keys, params()))
        self._design = jax.jit(lambda lanes: jax.vmap(lambda state: env.design(state, params()))(lanes.state))
        self._at: Any = None  # lanes, observation and mask after the last step
        self.episodes = Episodes(lanes, lambda: np.asarray(self._design(self._at[0])))
        self._start = jax.eval_shape(self._reset, jax.ShapeDtypeStruct((lanes, 2), np.uint32))
        _, observation, mask = self._start
        self.facts: Mapping[str, Any] = {
            "observation": observation,
            "mask": mask,
            "action": env.action_space.shape,
            "platform": jax.export.default_export_platform(),
        }
        shown = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves((observation, mask)))
        self.step_bytes = 4 * (shown + lanes * (8 + len(problem.space)))

    def compile(self, program: Program, steps: int) -> None:
        """Compiles the rollout of a policy; costs nothing the second time.

        Raises:
            DsegymError: the program does not fit.
        """
        if (program, steps) in self._programs:
            return
        leaves = [jax.ShapeDtypeStruct(shape, np.dtype(dtype)) for shape, dtype in program.leaves]
        try:
            act = self._imported(program.module, leaves)
            run = jax.jit(functools.partial(_played, self._env, self._params, act, steps))
            key = jax.ShapeDtypeStruct((2,), np.uint32)
            self._programs[program, steps] = run.lower(leaves, self._start, key).compile()
        except Exception as error:  # what an agent sends may be anything
            raise DsegymError(f"The policy cannot be compiled: {type(error).__name__}: {error}") from None

    def _imported(self, module: bytes, leaves: Sequence[Any]) -> Callable[..., Any]:
        """`(leaves, observation, mask, keys) -> int32[B, ...]` of an exported policy.

        A module travels alone: what else JAX notes of an exported function is that of one with the same signature.
        """
        _, observation, mask = self._start
        shape = (self._count, *self.facts["action"])
        alike = jax.jit(lambda leaves, observation, mask, keys: jnp.zeros(shape, jnp.int32), keep_unused=True)
        keys = jax.ShapeDtypeStruct((self._count, 2), np.uint32)
        exported = jax.export.export(alike, platforms=[self.facts["platform"]])(leaves, observation, mask, keys)
        return dataclasses.replace(exported, mlir_module_serialized=module).call

    def run(self, program: Program, leaves: Sequence[np.ndarray], steps: int, key: np.ndarray) -> Trajectory:
        """Plays T steps in every lane, and records the episodes that end.

        Raises:
            DsegymError: parameters or actions out of range; nothing is recorded, and the lanes stay where they were.
            BudgetExhausted, TimeLimitReached: what the budget covers is recorded.
        """
        given = tuple((np.shape(leaf), np.asarray(leaf).dtype.str) for leaf in leaves)
        if given != program.leaves:
            raise DsegymError(f"The policy's parameters are {given}; it was exported for {program.leaves}.")
        keys = jax.random.split(jax.random.wrap_key_data(jnp.asarray(key, jnp.uint32)))
        if self._at is None:
            self._at = self._reset(jax.random.key_data(jax.random.split(keys[0], self._count)))
        self._keeper.begin(self.episodes)
        at, found = self._programs[program, steps](list(leaves), self._at, jax.random.key_data(keys[1]))
        found = jax.tree.map(np.array, found)
        actions = found.action.reshape(-1, *found.action.shape[2:])
        checked_action(self._env.action_space, actions, len(actions))
        self._at, last = at, jax.tree.map(np.array, at[1:])
        objective = np.full(found.done.shape, np.nan)
        if self.episodes.covered.all() and self._keeper.samples_left >= found.done.sum():
            self.episodes.begun[:] = self.episodes.covered[:] = ~found.done[-1]
            design, value = found.design[found.done], found.objective[found.done]
            objective[found.done] = exact = self._problem.exact_objective(design, value)
            self._keeper.record(design, exact, found.feasible[found.done])
        else:
            self._count_step_by_step(found, objective)
            last = _without(last, ~self.episodes.covered & self.episodes.begun)
        found.feasible[~found.done] = False
        return Trajectory(
            found.observation, found.mask, found.action, found.reward, found.done, objective, found.feasible, *last
        )

    def _count_step_by_step(self, found: _Found, objective: np.ndarray) -> None:
        """The end of the budget: lanes that it does not cover show nothing."""
        for t in range(len(found.done)):
            if t:
                self._keeper.begin(self.episodes)
            idle = ~self.episodes.covered
            for leaf in (*jax.tree.leaves(found.observation), found.reward, found.done):
                leaf[t, idle] = 0
            done = found.done[t]
            if done.any():
                objective[t, done] = self._problem.exact_objective(found.design[t, done], found.objective[t, done])
                self._keeper.end(self.episodes, done, found.design[t], objective[t], found.feasible[t])


class _Found(NamedTuple):
    """What the compiled program brings; leaves [T, B, ...]."""

    observation: Any
    mask: Any
    action: Any
    reward: Any
    done: Any
    objective: Any
    feasible: Any
    design: Any


def _played(
    env: FunctionalEnv[Any, Any],
    params: Callable[[], Any],
    act: Callable[..., Any],
    steps: int,
    leaves: Any,
    start: Any,
    key: Any,
) -> tuple[Any, _Found]:
    """T steps of B lanes, from `(lanes, observation, mask)` to the same."""

    def step(carry: Any, key: Any) -> tuple[Any, _Found]:
        lanes, observation, mask = carry
        keys = jax.random.key_data(jax.random.split(key, len(lanes.key)))
        action = act(leaves, observation, mask, keys)
        lanes, after = step_lanes(env, lanes, action, params())
        final = after.final_info
        row = (after.reward, after.terminal, final["objective"], final["feasible"], final["design"])
        return (lanes, after.observation, after.action_mask), _Found(observation, mask, action, *row)

    return jax.lax.scan(step, start, jax.random.split(jax.random.wrap_key_data(key), steps))
