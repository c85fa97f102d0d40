"""Episodes that are counted: a vector environment's, stepped from outside, and a compiled rollout's.

An episode counts when it begins. Where the budget does not cover all lanes, the first ones play and the rest stand
still, so that no lane shows what is not paid for. B lanes, T steps, n parameters.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from ..costmodels.errors import DsegymError
from ..envs.core.functional import FunctionalEnv
from ..envs.core.problem import Problem
from ..envs.core.stepping import reset_lanes, step_lanes
from ..envs.faces.gymnasium_env import FunctionalVectorEnv
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


class CountedEnv:
    """A vector environment whose episodes the scorekeeper counts."""

    def __init__(self, problem: Problem, num_envs: int, form: str, keeper: Scorekeeper):
        self._env = FunctionalVectorEnv(problem, num_envs, form)
        self._keeper = keeper
        self._seen: tuple[np.ndarray, np.ndarray | None] | None = None  # the observation and the mask shown last
        self._design = jax.jit(jax.vmap(self._env.functional.design, (0, None)))
        self.episodes = Episodes(num_envs, lambda: np.asarray(self._design(self._env._lanes.state, problem.params)))

    @property
    def step_s(self) -> float:
        """s spent in steps."""
        return self._env.step_s

    @property
    def facts(self) -> Mapping[str, Any]:
        """What a face must know."""
        env = self._env
        return {
            "num_envs": env.num_envs,
            "single_observation_space": env.single_observation_space,
            "single_action_space": env.single_action_space,
            "metadata": dict(env.metadata),
            "feature_slices": env.functional.feature_slices,
        }

    def warm_up(self) -> None:
        """Compiles reset and step."""
        self._env.warm_up()

    def reset(self, *, seed: Any, options: Any) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts an episode in every lane."""
        self._keeper.settle(self.episodes)
        observation, info = self._env.reset(seed=seed, options=options)
        self._seen = observation, info.get("action_mask")
        return observation, info

    def step(self, actions: Any) -> tuple[Any, ...]:
        """One transition in every lane that is covered."""
        if self._seen is None:
            return self._env.step(actions)  # which says that a reset is due
        self._keeper.begin(self.episodes)
        idle = ~self.episodes.covered
        observation, reward, terminal, truncated, info = self._env.step(actions)
        if idle.any():
            observation, reward, terminal = observation.copy(), reward.copy(), terminal.copy()
            observation[idle], reward[idle], terminal[idle] = self._seen[0][idle], 0, False
            info = {name: _without(values, idle) for name, values in info.items()}
            if self._seen[1] is not None:
                info["action_mask"][idle] = self._seen[1][idle]
        if terminal.any():
            final = info["final_info"]
            exact = np.zeros(len(terminal))
            exact[terminal] = self._keeper.end(
                self.episodes, terminal, final["design"], final["objective"], final["feasible"]
            )
            final = {name: _without(values, ~terminal) for name, values in final.items()}  # what has not ended hides
            info = {**info, "final_info": {**final, "objective": exact}}
        self._seen = observation, info.get("action_mask")
        return observation, reward, terminal, truncated, info


def _without(values: Any, lanes: np.ndarray) -> Any:
    """Arrays [B, ...], zero in these lanes."""
    if isinstance(values, Mapping):
        return {name: _without(each, lanes) for name, each in values.items()}
    values = np.array(values)
    values[lanes] = 0
    return values


class CountedRollout:
    """Lanes that a policy plays inside one compiled program; they go on where the last rollout left them.

    Attributes:
        form: of the environment.
        facts: the shapes that a policy must fit, and the platform that it is exported for.
        step_bytes: what a step of all lanes brings.
    """

    def __init__(self, problem: Problem, lanes: int, form: str, keeper: Scorekeeper):
        self.form, self._count, self._keeper = form, lanes, keeper
        self._env = env = problem.functional_env(form)
        self._params = jax.tree.map(jnp.asarray, problem.params)
        self._programs: dict[tuple[Program, int], Callable[..., Any]] = {}
        self._reset = jax.jit(lambda keys: reset_lanes(env, keys, self._params))
        self._design = jax.jit(jax.vmap(env.design, (0, None)))
        self._at: Any = None  # lanes, observation and mask after the last step
        self.episodes = Episodes(lanes, lambda: np.asarray(self._design(self._at[0].state, self._params)))
        self._start = jax.eval_shape(self._reset, jax.ShapeDtypeStruct((lanes, 2), np.uint32))
        _, observation, mask = self._start
        self.facts: Mapping[str, Any] = {
            "observation": observation.shape,
            "mask": None if mask is None else mask.shape,
            "action": env.action_space.shape,
            "platform": jax.export.default_export_platform(),
        }
        self._values = np.asarray(getattr(env.action_space, "nvec", getattr(env.action_space, "n", None)))
        width = observation.shape[1] + (0 if mask is None else mask.shape[1]) + len(problem.space)
        self.step_bytes = 4 * lanes * (width + 8)

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
            run = jax.jit(functools.partial(_played, self._env, act, steps))
            key = jax.ShapeDtypeStruct((2,), np.uint32)
            self._programs[program, steps] = run.lower(self._params, leaves, self._start, key).compile()
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
        at, found = self._programs[program, steps](self._params, list(leaves), self._at, jax.random.key_data(keys[1]))
        found = _Found(*(None if leaf is None else np.array(leaf) for leaf in found))
        if (found.action < 0).any() or (found.action >= self._values).any():
            raise DsegymError(
                f"The policy's actions go from {found.action.min()} to {found.action.max()}; allowed: "
                f"0 to {self._values.max() - 1}."
            )
        self._at = at
        last = np.array(at[1]), None if at[2] is None else np.array(at[2])
        objective = np.full(found.done.shape, np.nan)
        if self.episodes.covered.all() and self._keeper.samples_left >= found.done.sum():
            self.episodes.begun[:] = self.episodes.covered[:] = ~found.done[-1]
            objective[found.done] = self._keeper.record(
                found.design[found.done], found.objective[found.done], found.feasible[found.done]
            )
        else:
            self._count_step_by_step(found, objective)
            idle = ~self.episodes.covered & self.episodes.begun
            last[0][idle] = 0
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
            found.observation[t, idle], found.reward[t, idle], found.done[t, idle] = 0, 0, False
            if found.done[t].any():
                objective[t, found.done[t]] = self._keeper.end(
                    self.episodes, found.done[t], found.design[t], found.objective[t], found.feasible[t]
                )


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
    env: FunctionalEnv[Any, Any], act: Callable[..., Any], steps: int, params: Any, leaves: Any, start: Any, key: Any
) -> tuple[Any, _Found]:
    """T steps of B lanes, from `(lanes, observation, mask)` to the same."""

    def step(carry: Any, key: Any) -> tuple[Any, _Found]:
        lanes, observation, mask = carry
        keys = jax.random.key_data(jax.random.split(key, len(observation)))
        action = act(leaves, observation, mask, keys)
        lanes, after = step_lanes(env, lanes, action, params)
        final = after.final_info
        row = (after.reward, after.terminal, final["objective"], final["feasible"], final["design"])
        return (lanes, after.observation, after.action_mask), _Found(observation, mask, action, *row)

    return jax.lax.scan(step, start, jax.random.split(jax.random.wrap_key_data(key), steps))
