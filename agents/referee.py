"""The referee: the only way from an agent to a problem. It costs, counts, records, and stops."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..costmodels.errors import BudgetExhausted, DsegymError, TimeLimitReached, UnknownNameError
from ..envs.core.evaluation import Evaluation
from ..envs.core.problem import Problem
from ..envs.core.spaces import DesignSpace
from .base import replayable_forms

if TYPE_CHECKING:
    from ..envs.faces.stable_baselines3_env import StableBaselines3Env
    from ..envs.faces.vector_env import FunctionalVectorEnv

__all__ = ["REFERENCE", "Referee", "Samples"]

REFERENCE = "reference"  # the baseline that every problem with a reference design has, whatever the design's own name


class Samples(NamedTuple):
    """Every sample of a trial, in the order in which they were spent. S samples of n parameters."""

    designs: np.ndarray  # int32[S, n]
    objective: np.ndarray  # float64[S], in the objective's unit
    feasible: np.ndarray  # bool[S]
    elapsed_s: np.ndarray  # float64[S], s since the search began, when the sample's cost was known

    @property
    def best(self) -> int | None:
        """The first feasible sample with the least objective; None where none is feasible."""
        if not self.feasible.any():
            return None
        return int(np.argmin(np.where(self.feasible, self.objective, np.inf)))


class Referee:
    """Costs designs for one trial.

    One complete design costed, or one complete episode, is one sample, whichever way it was spent.

    Args:
        problem: the instance.
        samples: the budget.
        time_limit_s: s, from now; None for no limit. Compilation of environments and gradients does not count.
    """

    def __init__(self, problem: Problem, samples: int, time_limit_s: float | None = None):
        self._problem = problem.as_searched  # also what the environments that it hands out hold
        self._budget = samples
        self._parts: list[Samples] = []
        self._used = 0
        self._start = time.perf_counter()
        self._time_limit_s = time_limit_s
        self._compile_start: float | None = None
        self._cost_model_s = 0.0
        self._vector_envs: list[FunctionalVectorEnv] = []
        self._compiled_rows: set[int] = set()  # numbers of relaxed designs whose gradients are compiled
        self._baselines: dict[str, np.ndarray] = {}  # those computed so far
        self.compile_s = 0.0

    @property
    def elapsed_s(self) -> float:
        """s since the trial began, compilation left out."""
        now = time.perf_counter() if self._compile_start is None else self._compile_start
        return now - self._start

    @property
    def cost_model_s(self) -> float:
        """s spent in the cost model and in environments so far."""
        return self._cost_model_s + sum(env.step_s for env in self._vector_envs)

    @property
    def space(self) -> DesignSpace:
        """The design space, the same for every agent."""
        return self._problem.space

    @property
    def budget(self) -> int:
        """Samples that the trial may spend in all."""
        return self._budget

    @property
    def samples_left(self) -> int:
        """Samples that may still be spent."""
        return self._budget - self._used

    @functools.cached_property
    def forms(self) -> tuple[str, ...]:
        """The environment forms that `vector_env` offers: those whose episodes can be replayed. The first is the
        default.
        """
        return replayable_forms(self._problem)

    @property
    def baselines(self) -> tuple[str, ...]:
        """The names that `baseline` knows: `reference` where the reference has a design, and the problem's own."""
        return tuple(self._baseline_makers)

    def baseline(self, name: str) -> np.ndarray:
        """The design of a named heuristic, int32[n]. It is no sample; to know what it costs is one.

        The time that a heuristic takes is the agent's: it runs on the trial's clock, once a trial.

        Raises:
            UnknownNameError: there is no such baseline.
        """
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
    def samples(self) -> Samples:
        """All samples so far."""
        if not self._parts:
            n = len(self.space)
            return Samples(np.zeros((0, n), np.int32), np.zeros(0), np.zeros(0, bool), np.zeros(0))
        return Samples(*(np.concatenate(column) for column in zip(*self._parts, strict=True)))

    def evaluate(self, designs: object) -> Evaluation:
        """Costs a batch of designs, one sample each.

        Args:
            designs: integers [B, n], or one design [n].

        Returns:
            `Evaluation` of arrays [B].

        Raises:
            InvalidDesignError: before anything is spent.
            BudgetExhausted: the budget does not cover the batch; what it did cover has been costed and recorded.
            TimeLimitReached: the trial's time is up.
        """
        checked = self.space.check(designs)
        self._check_limits()
        covered = checked[: self.samples_left]
        start = time.perf_counter()
        result = self._problem.evaluate(covered)
        self._cost_model_s += time.perf_counter() - start
        self._record(covered, result.objective, result.feasible)
        if len(covered) < len(checked):
            raise BudgetExhausted(f"The budget of {self._budget} samples is spent.")
        return result

    def evaluate_relaxed(self, weights: Sequence[Any]) -> tuple[Evaluation, list[np.ndarray]]:
        """Costs the designs nearest to relaxed ones, with gradients of the smooth objective: one sample each.

        Args:
            weights: per parameter i, float32[B, values of i], each row a probability vector.

        Returns:
            The exact `Evaluation` of the most probable designs, arrays [B]; and, per parameter i, the gradient of the
            smooth log objective with respect to its weights, float32[B, values of i].

        Raises:
            DsegymError: the problem has no smooth relaxation.
            BudgetExhausted, TimeLimitReached: as `evaluate`.
        """
        if self._problem.relaxation is None:
            raise DsegymError(f"{self._problem.scenario} has no smooth relaxation, so no gradients.")
        result = self.evaluate(np.stack([np.argmax(w, axis=1) for w in weights], axis=1))
        gradients_of = _gradients(self._problem.relaxation)
        weights = tuple(np.asarray(weight, np.float32) for weight in weights)
        if len(weights[0]) not in self._compiled_rows:
            with self._compiling():
                gradients_of(weights, self._problem.params)[0].block_until_ready()
            self._compiled_rows.add(len(weights[0]))
        start = time.perf_counter()
        gradients = [np.asarray(gradient) for gradient in gradients_of(weights, self._problem.params)]
        self._cost_model_s += time.perf_counter() - start
        return result, gradients

    def vector_env(self, num_envs: int, form: str | None = None) -> FunctionalVectorEnv:
        """A Gymnasium vector environment whose finished episodes are counted and recorded, one sample each.

        Its `step` raises `BudgetExhausted` or `TimeLimitReached` when the trial is over.

        Raises:
            DsegymError: `forms` does not list the form.
        """
        from ..envs.faces.vector_env import FunctionalVectorEnv

        with self._compiling():
            form = self._offered(form)
            env = FunctionalVectorEnv(self._problem, num_envs, form, recorder=self._record_episodes)
            env.warm_up()
        self._vector_envs.append(env)
        return env

    def stable_baselines3_env(self, num_envs: int, form: str | None = None) -> StableBaselines3Env:
        """The same as a stable-baselines3 `VecEnv`."""
        from ..envs.faces.stable_baselines3_env import StableBaselines3Env

        return StableBaselines3Env(self.vector_env(num_envs, form))

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

    @contextlib.contextmanager
    def _compiling(self) -> Iterator[None]:
        """Stops the trial's clock."""
        start = self._compile_start = time.perf_counter()
        try:
            yield
        finally:
            self._compile_start = None
            spent = time.perf_counter() - start
            self.compile_s += spent
            self._start += spent

    def _record_episodes(self, designs: np.ndarray, objective: np.ndarray, feasible: np.ndarray) -> None:
        self._check_limits()
        left = self.samples_left
        self._record(designs[:left], objective[:left], feasible[:left])
        if self.samples_left == 0:
            raise BudgetExhausted(f"The budget of {self._budget} samples is spent.")

    def _check_limits(self) -> None:
        if self.samples_left <= 0:
            raise BudgetExhausted(f"The budget of {self._budget} samples is spent.")
        if self._time_limit_s is not None and self.elapsed_s > self._time_limit_s:
            raise TimeLimitReached(f"The trial's time limit of {self._time_limit_s:g} s has passed.")

    def _record(self, designs: np.ndarray, objective: np.ndarray, feasible: np.ndarray) -> None:
        elapsed = np.full(len(designs), self.elapsed_s)
        self._parts.append(
            Samples(designs.astype(np.int32), objective.astype(np.float64), feasible.astype(bool), elapsed)
        )
        self._used += len(designs)


@functools.lru_cache(maxsize=64)
def _gradients(relaxation):
    import jax

    return jax.jit(jax.vmap(jax.grad(relaxation), in_axes=(0, None)))
