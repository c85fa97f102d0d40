"""The scorekeeper: the referee's other half, which holds the problem, costs, counts, records, and stops.

An agent never meets it. It asks through a `Referee`, by name and with plain values: in this process or, in a
competition, from a process of its own. B lanes, T steps, S samples of n parameters.
"""

from __future__ import annotations

import contextlib
import functools
import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from ..costmodels.errors import BudgetExhausted, DsegymError, InvalidDesignError, TimeLimitReached, UnknownNameError
from ..costmodels.solver import Limits
from ..envs.core.evaluation import Evaluation
from ..envs.core.problem import Problem
from .base import replayable_forms
from .episodes import CountedEnv, CountedRollout, Episodes
from .referee import REFERENCE, Program, Samples, Trajectory

__all__ = ["MOST_BYTES", "Scorekeeper"]

MOST_LANES = 2**16
FREE_COMPILING_S = 300.0  # of compiling, beyond which it counts
MOST_BYTES = 2**30  # of a trajectory, or of a trial's records where nothing else is said


class Scorekeeper:
    """Costs designs for one trial.

    One complete design costed, or one episode begun, is one sample, whichever way it was spent.

    Args:
        problem: the instance.
        samples: the budget.
        time_limit_s: s, from `start` or, without it, from now; None for no limit. Compilation of environments,
            gradients and policies does not count.
        record_bytes: what the records of samples may take.
    """

    # What an agent may ask for.
    OFFERED = frozenset(
        {
            "baseline",
            "baselines",
            "compile_s",
            "cost_model_s",
            "elapsed_s",
            "evaluate",
            "evaluate_relaxed",
            "forms",
            "front",
            "incumbent",
            "open_env",
            "open_rollout",
            "parts",
            "reset_env",
            "rollout",
            "samples",
            "samples_left",
            "solvers",
            "spaces",
            "step_env",
        }
    )

    def __init__(
        self, problem: Problem, samples: int, time_limit_s: float | None = None, record_bytes: int = MOST_BYTES
    ):
        self._problem = problem.as_searched  # also what the environments are made of
        self.space = self._problem.space
        self.budget = samples
        self._most_recorded = record_bytes // (17 + 4 * len(self.space))
        self._parts: list[Samples] = []
        self._recorded = 0
        self._start = time.perf_counter()
        self._closed_s: float | None = None
        self._time_limit_s = time_limit_s
        self._compile_start: float | None = None
        self._cost_model_s = 0.0
        self._envs: list[CountedEnv] = []
        self._rollouts: dict[tuple[int, str], CountedRollout] = {}
        self._compiled_rows: set[int] = set()  # numbers of relaxed designs whose gradients are compiled
        self._baselines: dict[str, np.ndarray] = {}  # those computed so far
        self._incumbents: dict[str, Generator[Sequence[int], None, None]] = {}  # of the solvers at work
        self.compile_s = 0.0

    def ask(self, name: str, *arguments: Any) -> Any:
        """What an agent asks for, one of `OFFERED`.

        Raises:
            DsegymError: it is not offered; or as what is asked for.
        """
        if name not in self.OFFERED:
            raise DsegymError(f"The referee offers no {name!r}.")
        offered = getattr(self, name)
        return offered(*arguments) if callable(offered) else offered

    # The clock and the count ------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts the trial's clock anew."""
        self._start, self.compile_s = time.perf_counter(), 0.0

    def close(self) -> None:
        """Ends the trial: the clock stops, and episodes that have begun count as their designs stand, as far as there
        is memory for their records.
        """
        self._closed_s = self.elapsed_s
        for incumbents in self._incumbents.values():
            incumbents.close()
        for episodes in self._all_episodes():
            self.settle(episodes, np.cumsum(episodes.covered) <= self._most_recorded - self._recorded)

    @property
    def elapsed_s(self) -> float:
        """s since the trial began, compilation left out."""
        if self._closed_s is not None:
            return self._closed_s
        now = time.perf_counter() if self._compile_start is None else self._compile_start
        return now - self._start

    @property
    def time_left_s(self) -> float | None:
        """s until the trial's time is up; None without a limit."""
        return None if self._time_limit_s is None else self._time_limit_s - self.elapsed_s

    @property
    def cost_model_s(self) -> float:
        """s spent in the cost model and in environments so far."""
        return self._cost_model_s + sum(env.step_s for env in self._envs)

    @property
    def samples_left(self) -> int:
        """Samples that may still be spent; those of episodes that have begun are spent."""
        return self.budget - self._recorded - sum(int(episodes.covered.sum()) for episodes in self._all_episodes())

    @property
    def samples(self) -> Samples:
        """All samples so far."""
        if not self._parts:
            return Samples(np.zeros((0, len(self.space)), np.int32), np.zeros(0), np.zeros(0, bool), np.zeros(0))
        if len(self._parts) > 1:
            self._parts = [Samples(*(np.concatenate(column) for column in zip(*self._parts, strict=True)))]
        return Samples(*(column.copy() for column in self._parts[0]))

    def time_is_up(self) -> TimeLimitReached:
        """The signal of the time limit."""
        return TimeLimitReached(f"The trial's time limit of {self._time_limit_s:g} s has passed.")

    def _is_spent(self) -> BudgetExhausted:
        return BudgetExhausted(f"The budget of {self.budget} samples is spent.")

    def _check_time(self) -> None:
        left = self.time_left_s
        if left is not None and left < 0:
            raise self.time_is_up()

    def _record(self, designs: np.ndarray, objective: np.ndarray, feasible: np.ndarray) -> None:
        if self._recorded + len(designs) > self._most_recorded:
            raise DsegymError(f"{self._recorded} samples are recorded, and there is no memory for more.")
        elapsed = np.full(len(designs), self.elapsed_s)
        self._parts.append(
            Samples(designs.astype(np.int32), objective.astype(np.float64), feasible.astype(bool), elapsed)
        )
        self._recorded += len(designs)

    @contextlib.contextmanager
    def _compiling(self) -> Iterator[None]:
        """Stops the trial's clock."""
        start = self._compile_start = time.perf_counter()
        try:
            yield
        finally:
            self._compile_start = None
            free = min(time.perf_counter() - start, FREE_COMPILING_S - self.compile_s)
            self.compile_s += free
            self._start += free

    @contextlib.contextmanager
    def _costing(self) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self._cost_model_s += time.perf_counter() - start

    # Designs ----------------------------------------------------------------------------------------------------------

    @functools.cached_property
    def forms(self) -> tuple[str, ...]:
        """The environment forms whose episodes can be replayed. The first is the default."""
        return replayable_forms(self._problem)

    @property
    def front(self) -> tuple[str, ...]:
        """As `Referee.front`."""
        return self._problem.front

    @property
    def parts(self) -> tuple[tuple[int, ...], ...]:
        """As `Referee.parts`."""
        return self._problem.parts

    @property
    def baselines(self) -> tuple[str, ...]:
        """The names that `baseline` knows."""
        return tuple(self._baseline_makers)

    def baseline(self, name: str) -> np.ndarray:
        """As `Referee.baseline`."""
        makers = self._baseline_makers
        if name not in makers:
            raise UnknownNameError(f"baseline of {self._problem.scenario}", name, makers)
        if name not in self._baselines:
            self._baselines[name] = self.space.check(makers[name]())[0]
        return self._baselines[name].copy()

    @functools.cached_property
    def _baseline_makers(self) -> Mapping[str, Callable[[], Sequence[int]]]:
        reference, own = self._problem.reference, self._problem.baselines
        design = reference.design
        first = own.get(reference.name) if design is None else lambda: design
        stored = {} if first is None else {REFERENCE: first, reference.name: first}
        return {**stored, **own, **stored}  # first in order, and not to be replaced

    @property
    def solvers(self) -> tuple[str, ...]:
        """As `Referee.solvers`."""
        return tuple(self._problem.solvers)

    def incumbent(self, solver: str, effort_s: float) -> np.ndarray | None:
        """As `Referee.incumbent`."""
        if solver not in self._problem.solvers:
            raise UnknownNameError(f"solver of {self._problem.scenario}", solver, self._problem.solvers)
        self._check_time()
        if solver not in self._incumbents:
            left = self.time_left_s
            limits = Limits(float(effort_s), math.inf if left is None else left)
            self._incumbents[solver] = self._problem.solvers[solver](limits)
        design = next(self._incumbents[solver], None)
        return None if design is None else self.space.check(design)[0]

    def evaluate(self, designs: object) -> Evaluation:
        """As `Referee.evaluate`."""
        checked = self.space.check(designs)
        left = self._left()
        with self._costing():
            result = self._problem.evaluate(checked[:left])
        self._record(checked[:left], result.objective, result.feasible)
        if left < len(checked):
            raise self._is_spent()
        return result

    def _left(self) -> int:
        """Samples left, at least one.

        Raises:
            BudgetExhausted, TimeLimitReached: there is none, or no time.
        """
        left = self.samples_left
        if left <= 0:
            raise self._is_spent()
        self._check_time()
        return left

    def evaluate_relaxed(self, weights: Sequence[Any]) -> tuple[Evaluation, list[np.ndarray]]:
        """As `Referee.evaluate_relaxed`."""
        if self._problem.relaxation is None:
            raise DsegymError(f"{self._problem.scenario} has no smooth relaxation, so no gradients.")
        weights = tuple(np.asarray(weight, np.float32) for weight in weights)
        rows = len(weights[0]) if weights and weights[0].ndim else 0
        given, allowed = [w.shape for w in weights], [(rows, int(count)) for count in self.space.cardinalities]
        if given != allowed:
            raise InvalidDesignError(f"Relaxed designs have the shapes {given}; allowed: {allowed}.")
        result = self.evaluate(np.stack([np.argmax(w, axis=1) for w in weights], axis=1))
        gradients_of = _gradients(self._problem.relaxation)
        if rows not in self._compiled_rows:
            with self._compiling():
                gradients_of(weights, self._problem.params)[0].block_until_ready()
            self._compiled_rows.add(rows)
        with self._costing():
            gradients = [np.asarray(gradient) for gradient in gradients_of(weights, self._problem.params)]
        return result, gradients

    # Episodes ---------------------------------------------------------------------------------------------------------

    def spaces(self, form: str | None) -> tuple[Any, Any]:
        """As `Referee.spaces`."""
        env = self._problem.functional_env(self._offered(form))
        return env.observation_space, env.action_space

    def open_env(self, num_envs: int, form: str | None) -> tuple[int, Mapping[str, Any]]:
        """An environment of many lanes: the number by which it is stepped, and what a face must know of it."""
        form, num_envs = self._offered(form), _whole("num_envs", num_envs, MOST_LANES)
        with self._compiling():
            env = CountedEnv(self._problem, num_envs, form, self)
            env.warm_up()
        self._envs.append(env)
        return len(self._envs) - 1, env.facts

    def reset_env(self, number: int, seed: Any, options: Any) -> tuple[np.ndarray, dict[str, Any]]:
        """As the vector environment's `reset`; episodes that have begun count as their designs stand."""
        return self._envs[number].reset(seed=seed, options=options)

    def step_env(self, number: int, actions: Any) -> tuple[Any, ...]:
        """As the vector environment's `step`; lanes whose episodes the budget does not cover stand still."""
        return self._envs[number].step(actions)

    def open_rollout(self, lanes: int, form: str | None) -> tuple[str, Mapping[str, Any]]:
        """The form's name, and the shapes that a policy must fit: of observation, mask and actions."""
        rollout = self._rollout(lanes, form)
        return rollout.form, rollout.facts

    def rollout(
        self,
        program: tuple[Any, ...],
        leaves: Sequence[np.ndarray],
        lanes: int,
        steps: int,
        key: np.ndarray,
        form: str,
    ) -> Trajectory:
        """As `Referee.rollout`, of a policy that is the fields of a `Program`."""
        policy = Program(*program)
        rollout = self._rollout(lanes, form)
        steps = _whole("steps", steps, MOST_BYTES // rollout.step_bytes)
        self._check_time()
        with self._compiling():
            rollout.compile(policy, steps)
        with self._costing():
            return rollout.run(policy, leaves, steps, key)

    def _rollout(self, lanes: int, form: str | None) -> CountedRollout:
        form, lanes = self._offered(form), _whole("lanes", lanes, MOST_LANES)
        if (lanes, form) not in self._rollouts:
            self._rollouts[lanes, form] = CountedRollout(self._problem, lanes, form, self)
        return self._rollouts[lanes, form]

    def _offered(self, form: str | None) -> str:
        """The form asked for, or the first of `forms`."""
        if form in self.forms:
            return form
        if form is None and self.forms:
            return self.forms[0]
        if form is not None and form not in self._problem.forms:
            raise UnknownNameError("form", form, self.forms)
        which = "no form of it" if form is None else f"not the form '{form}'"
        raise DsegymError(
            f"{self._problem.scenario}: an agent may play {which}, as no design replays its episodes; allowed: "
            f"{', '.join(self.forms) or 'none'}."
        )

    def _all_episodes(self) -> Iterator[Episodes]:
        yield from (env.episodes for env in self._envs)
        yield from (rollout.episodes for rollout in self._rollouts.values())

    def begin(self, episodes: Episodes) -> None:
        """Counts the episodes that begin with the step to come, in the order of lanes, as far as the budget goes.

        Raises:
            BudgetExhausted: it covers none of the environment's.
            TimeLimitReached: the trial's time is up.
        """
        self._check_time()
        fresh = np.flatnonzero(~episodes.begun)
        if len(fresh):
            episodes.covered[fresh[: max(self.samples_left, 0)]] = True
            episodes.begun[:] = True
        if not episodes.covered.any():
            raise self._is_spent()

    def end(
        self, episodes: Episodes, ended: np.ndarray, designs: np.ndarray, objective: np.ndarray, feasible: np.ndarray
    ) -> None:
        """Records episodes, of lanes that are covered.

        Args:
            episodes: of the environment.
            ended: bool[B], which end here.
            designs, objective, feasible: of each lane.

        Raises: as `record`.
        """
        episodes.begun &= ~ended
        episodes.covered &= ~ended
        self.record(designs[ended], objective[ended], feasible[ended])

    def record(self, designs: np.ndarray, objective: np.ndarray, feasible: np.ndarray) -> None:
        """Records finished episodes.

        Raises:
            BudgetExhausted: the last sample of the budget is recorded.
        """
        self._record(designs, objective, feasible)
        if self._recorded >= self.budget:
            raise self._is_spent()

    def settle(self, episodes: Episodes, lanes: np.ndarray | bool = True) -> None:
        """Records episodes that are given up, bool[B] or all: each counts as its design stands."""
        given_up = episodes.covered & lanes
        if given_up.any():
            designs = np.clip(episodes.standing()[given_up], 0, self.space.cardinalities - 1).astype(np.int32)
            result = self._problem.evaluate(designs)
            self._record(designs, result.objective, result.feasible)
        episodes.begun &= ~given_up & ~np.asarray(lanes)
        episodes.covered &= ~given_up


def _whole(name: str, value: object, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 1 <= value <= most:
        raise DsegymError(f"{name} = {value!r} is not allowed; allowed: a whole number from 1 to {most}.")
    return int(value)


@functools.lru_cache(maxsize=64)
def _gradients(relaxation):
    return jax.jit(jax.vmap(jax.grad(relaxation), in_axes=(0, None)))
