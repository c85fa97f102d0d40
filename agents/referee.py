"""The referee: an agent's only way to a problem. What it costs, counts and records, the scorekeeper does."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from ..costmodels.errors import DsegymError

if TYPE_CHECKING:
    import gymnasium

    from ..envs.core.evaluation import Evaluation
    from ..envs.core.problem import Problem
    from ..envs.core.spaces import DesignSpace
    from ..envs.faces.stable_baselines3_env import StableBaselines3Env
    from .vector_env import RefereedVectorEnv

__all__ = ["REFERENCE", "Program", "Referee", "Samples", "Trajectory"]

REFERENCE = "reference"  # the baseline that every problem with a reference design has, whatever the design's own name


class Samples(NamedTuple):
    """Every sample of a trial, in the order in which they were spent. S samples of n parameters."""

    designs: np.ndarray  # int32[S, n]
    objective: np.ndarray  # float64[S], in the objective's unit
    feasible: np.ndarray  # bool[S]
    elapsed_s: np.ndarray  # float64[S], s since the search began, when the sample's cost was known

    @property
    def best(self) -> int | None:
        """The first feasible sample with the least objective; None where none is feasible and has a number."""
        counts = self.feasible & ~np.isnan(self.objective)
        return int(np.argmin(np.where(counts, self.objective, np.inf))) if counts.any() else None


class Trajectory(NamedTuple):
    """What a rollout brings. T steps of B lanes; a lane whose episode ended has started again in the same step."""

    observation: Any  # float32[T, B, n] (a tree of arrays, if the form's is one), before the step
    mask: np.ndarray | None  # bool[T, B, actions], before the step; None where every action is legal
    action: np.ndarray  # int32[T, B, ...]
    reward: np.ndarray  # float32[T, B]
    done: np.ndarray  # bool[T, B], whether the step ended an episode
    objective: np.ndarray  # float64[T, B], of the episodes that ended; NaN elsewhere
    feasible: np.ndarray  # bool[T, B], likewise; False elsewhere
    last_observation: Any  # float32[B, n], after the last step
    last_mask: np.ndarray | None  # bool[B, actions], likewise


class Program(NamedTuple):
    """A policy as a program: so no code of an agent's runs where the problem is."""

    module: (
        bytes  # `(leaves, observation [B, n], mask [B, actions], keys uint32[B, 2]) -> int32[B, ...]`, as JAX has it
    )
    leaves: tuple[tuple[tuple[int, ...], str], ...]  # shape and dtype of each of the policy's parameters


class Referee:
    """What an agent sees of a trial.

    One complete design costed, or one episode begun, is one sample, whichever way it was spent. The problem, the counts
    and the clock are the scorekeeper's; nothing here leads to them but questions.

    Args:
        problem: the instance.
        samples: the budget.
        time_limit_s: s, from now; None for no limit. Compilation of environments, gradients and policies does not
            count.
    """

    def __init__(self, problem: Problem, samples: int, time_limit_s: float | None = None):
        from .scorekeeper import Scorekeeper

        keeper = Scorekeeper(problem, samples, time_limit_s)
        self._sit(keeper.ask, keeper.space, keeper.budget)

    @classmethod
    def of(cls, ask: Callable[..., Any], space: DesignSpace, budget: int) -> Self:
        """The referee of a scorekeeper elsewhere, which answers `ask(name, *arguments)`."""
        referee = cls.__new__(cls)
        referee._sit(ask, space, budget)
        return referee

    def _sit(self, ask: Callable[..., Any], space: DesignSpace, budget: int) -> None:
        self._ask = lambda *question: ask(*question)  # a function: a bound method would be a way to its object
        self._space, self._budget = space, budget
        self._forms: tuple[str, ...] = ()
        self._programs: dict[Any, tuple[Program, str]] = {}  # policies traced so far, and their forms

    @property
    def elapsed_s(self) -> float:
        """s since the trial began, compilation left out."""
        return self._ask("elapsed_s")

    @property
    def compile_s(self) -> float:
        """s spent compiling, which do not count."""
        return self._ask("compile_s")

    @property
    def cost_model_s(self) -> float:
        """s spent in the cost model and in environments so far."""
        return self._ask("cost_model_s")

    @property
    def space(self) -> DesignSpace:
        """The design space, the same for every agent."""
        return self._space

    @property
    def budget(self) -> int:
        """Samples that the trial may spend in all."""
        return self._budget

    @property
    def samples_left(self) -> int:
        """Samples that may still be spent; those of episodes that have begun are spent."""
        return self._ask("samples_left")

    @property
    def samples(self) -> Samples:
        """All samples so far."""
        return self._ask("samples")

    @property
    def forms(self) -> tuple[str, ...]:
        """The environment forms that agents may play: whose episodes can be replayed. The first is the default."""
        if not self._forms:
            self._forms = self._ask("forms")
        return self._forms

    def spaces(self, form: str | None = None) -> tuple[gymnasium.Space, gymnasium.Space]:
        """The spaces of one lane's observations and actions, in one of `forms`; the first when left out."""
        return self._ask("spaces", form)

    @property
    def baselines(self) -> tuple[str, ...]:
        """The names that `baseline` knows: `reference` where the reference has a design, and the problem's own."""
        return self._ask("baselines")

    def baseline(self, name: str) -> np.ndarray:
        """The design of a named heuristic, int32[n]. It is no sample; to know what it costs is one.

        The time that a heuristic takes is the agent's: it runs on the trial's clock, once a trial.

        Raises:
            UnknownNameError: there is no such baseline.
        """
        return self._ask("baseline", name)

    @property
    def solvers(self) -> tuple[str, ...]:
        """The names that `incumbent` knows: exact methods of the problem, the best for it first."""
        return self._ask("solvers")

    def incumbent(self, solver: str, effort_s: float = math.inf) -> np.ndarray | None:
        """The next better design of an exact method, int32[n]; None when it has proven the last or given up.

        It is no sample; to know what it costs is one. The method works while it is asked (CP-SAT also in between), on
        the trial's clock, until the trial's time is up at most.

        Args:
            solver: one of `solvers`.
            effort_s: of its own count of its work, about a second each; what is said first counts.

        Raises:
            UnknownNameError: the problem has no such solver.
            DsegymError: the solver's library is not installed.
            TimeLimitReached: the trial's time is up.
        """
        return self._ask("incumbent", solver, effort_s)

    @property
    def front(self) -> tuple[str, ...]:
        """The metrics that the problem declares as costs, beside its objective; empty where it declares none."""
        return self._ask("front")

    @property
    def parts(self) -> tuple[tuple[int, ...], ...]:
        """The places of the parameters of each part that may be chosen by itself once those of no part are."""
        return self._ask("parts")

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
        return self._ask("evaluate", self._space.check(designs))

    def costs(self, designs: object) -> np.ndarray:
        """What `evaluate` says of each design in one number, float64[B]: the objective, infinite where it is none.

        A cost model that divides by zero has no number for a design; it must not pass for the least.
        """
        objective = np.asarray(self.evaluate(designs).objective, np.float64)
        return np.where(np.isnan(objective), np.inf, objective)

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
        return self._ask("evaluate_relaxed", [np.asarray(weight, np.float32) for weight in weights])

    def vector_env(self, num_envs: int, form: str | None = None) -> RefereedVectorEnv:
        """A Gymnasium vector environment whose episodes are counted when they begin and recorded when they end.

        Where the budget covers some lanes only, the rest stand still. An episode that is given up, by `reset` or at the
        end of the trial, is recorded as its design stands. `step` raises `BudgetExhausted` or `TimeLimitReached` when
        the trial is over.

        Raises:
            DsegymError: `forms` does not list the form.
        """
        from .vector_env import RefereedVectorEnv

        number, facts = self._ask("open_env", num_envs, form)
        return RefereedVectorEnv(self._ask, number, **facts)

    def stable_baselines3_env(self, num_envs: int, form: str | None = None) -> StableBaselines3Env:
        """The same as a stable-baselines3 `VecEnv`."""
        from ..envs.faces.stable_baselines3_env import StableBaselines3Env

        return StableBaselines3Env(self.vector_env(num_envs, form))

    def rollout(
        self,
        policy: Callable[[Any, Any, Any, Any], Any],
        policy_params: Any,
        lanes: int,
        steps: int,
        key: Any,
        form: str | None = None,
    ) -> Trajectory:
        """Plays a policy in one compiled program, steps and resets included; its episodes are samples.

        Lanes go on where the last rollout of as many lanes of the form left them. The policy is traced once.

        Args:
            policy: `(policy_params, observation float32[n], mask bool[actions] or None, key) -> action`, of one lane;
                pure JAX, an integer or, for several choices at once, integers.
            policy_params: a pytree of arrays.
            lanes, steps: B and T.
            key: of JAX, or a seed; the actions' luck, and at the first rollout that of the episodes.
            form: one of `forms`; the first when left out.

        Raises:
            DsegymError: `forms` does not list the form, or the policy or its actions do not fit.
            BudgetExhausted, TimeLimitReached: the trial is over; what the budget covers has been recorded.
        """
        import jax

        leaves, tree = jax.tree.flatten(policy_params)
        leaves = [np.asarray(leaf) for leaf in leaves]
        shapes = tuple((leaf.shape, leaf.dtype.str) for leaf in leaves)
        which = policy, tree, shapes, lanes, form
        if which not in self._programs:
            name, facts = self._ask("open_rollout", lanes, form)
            self._programs[which] = _exported(policy, tree, shapes, lanes, facts), name
        program, name = self._programs[which]
        key = jax.random.key(key) if isinstance(key, int | np.integer) else key
        words = jax.random.key_data(key) if jax.numpy.issubdtype(key.dtype, jax.dtypes.prng_key) else key
        return self._ask("rollout", tuple(program), leaves, lanes, steps, np.asarray(words, np.uint32), name)


def _exported(
    policy: Callable[..., Any],
    tree: Any,
    leaves: Sequence[tuple[tuple[int, ...], str]],
    lanes: int,
    facts: Mapping[str, Any],
) -> Program:
    """A policy of all lanes as a program that needs no Python.

    Raises:
        DsegymError: its actions are no integers of the form's shape.
    """
    import jax
    import jax.export

    def act(leaves: Any, observation: Any, mask: Any, keys: Any) -> Any:
        def of_lane(observation: Any, mask: Any, words: Any) -> Any:
            key = jax.random.wrap_key_data(words)
            return jax.numpy.asarray(policy(jax.tree.unflatten(tree, leaves), observation, mask, key))

        action = jax.vmap(of_lane)(observation, mask, keys)
        if action.shape[1:] != facts["action"] or not jax.numpy.issubdtype(action.dtype, jax.numpy.integer):
            raise DsegymError(
                f"The policy's action is {action.dtype}{list(action.shape[1:])}; allowed: int32{list(facts['action'])}."
            )
        return action.astype(jax.numpy.int32)

    shapes = [jax.ShapeDtypeStruct(shape, np.dtype(dtype)) for shape, dtype in leaves]
    keys = jax.ShapeDtypeStruct((lanes, 2), np.uint32)
    exported = jax.export.export(jax.jit(act, keep_unused=True), platforms=[facts["platform"]])(
        shapes, facts["observation"], facts["mask"], keys
    )
    return Program(exported.mlir_module_serialized, tuple(leaves))
