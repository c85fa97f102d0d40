"""Stochastic sequential families: a design is the parameter vector of a policy, costed over fixed episodes.

A family writes a `PolicyEnv` and gets its cost function, its problem, its pictures and its breakdown here. The search
costs a design on the episodes of `params.seeds`, scores are taken on other seeds (and other cases) in the held-out
params, and the form of decisions plays episodes of its own, drawn at `reset`. E episodes.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from ...costmodels.arrays import Array
from ...costmodels.breakdown import Breakdown
from ...costmodels.luck import episode_key
from .evaluation import Evaluation, Objective, Sweep
from .functional import FunctionalEnv, advanced, play_cases
from .one_shot import ONE_SHOT_FORMS
from .problem import Problem, YardstickRule, costed

if TYPE_CHECKING:
    from ...costmodels.diagram import Diagram
    from .options import Options
    from .spaces import Heuristics

__all__ = [
    "HELD_OUT",
    "SEARCH",
    "PolicyEnv",
    "break_down",
    "policy_cost",
    "policy_problem",
    "seeds_of",
    "standard_error",
]

SEARCH, HELD_OUT = 1, 2  # the first word of each set's seeds
BATCH_SIZES = (1, 16, 128)
_ERROR = (
    "Held-out figures stand on {test} test problems ({train} train, {validation} validation), drawn again and again: "
    "the standard error over problems of the share solved is {0:.2g} (binomial), so that differences of less than "
    "about twice that are weak evidence."
)


def seeds_of(which: int, episodes: int) -> np.ndarray:
    """uint32[episodes]: the seeds of the search's or the held-out episodes."""
    return np.random.SeedSequence(which).generate_state(episodes)


class _Seeded(Protocol):
    @property
    def seeds(self) -> Any: ...  # uint32[E]: the episodes of the cost


State = TypeVar("State")
Params = TypeVar("Params", bound=_Seeded)


class PolicyEnv(FunctionalEnv[State, Params]):
    """An environment whose designs are policies. Subclasses also write `decide`, the action that the policy of a design
    takes, and `drawing`.

    `params` has a field `seeds`, uint32[E]: the episodes of the cost.
    """

    replayable: ClassVar[bool] = False  # what an episode did is no policy

    def metrics(self, state: State, params: Params) -> Any:
        """The family's named tuple of scalars, of a finished episode; costs are means over episodes. The game's."""
        return self.of_game("metrics")(state, params)

    def objective(self, metrics: Any) -> Array:
        """float32, to be minimised, of an episode's metrics or of means: the game's `failure`, or 1 - accuracy."""
        return self.game.failure(metrics) if hasattr(self.game, "failure") else 1.0 - metrics.accuracy

    def reward(self, state: State, next_state: State, params: Params) -> Array:
        """float32: minus the growth of the objective, of all that was played so far."""
        before, after = (self.objective(self.metrics(each, params)) for each in (state, next_state))
        return before - after

    def drawing(self, states: Sequence[State], actions: Sequence[Any], params: Params) -> Diagram:
        """An episode so far: its states, the first one included, leaves on the host, and the actions between them."""
        raise NotImplementedError

    def picture(self, problem: Problem, first: State, actions: Sequence[Any]) -> Diagram:
        """See `drawing`."""
        states = [_on_host(first)]
        for action in actions:
            states.append(_on_host(advanced(self, states[-1], action, problem.params)))
        return self.drawing(states, actions, problem.params)

    def case_count(self, params: Params) -> int:
        """Every episode is a case."""
        return len(params.seeds)

    def start_case(self, case: Array, params: Params) -> State:
        """Begins the episode of a seed."""
        return self.start(episode_key(jnp.asarray(params.seeds)[case]), params)

    def mean_evaluation(self, states: State, params: Params) -> Evaluation:
        """The means of the metrics over episodes, and their objective."""
        metrics = jax.tree.map(mean_over_episodes, jax.vmap(lambda state: self.metrics(state, params))(states))
        return Evaluation(metrics, self.objective(metrics), jnp.bool_(True))

    def evaluation(self, state: State, params: Params) -> Evaluation:
        """Costs of the episode that was played."""
        metrics = self.metrics(state, params)
        return Evaluation(metrics, self.objective(metrics), jnp.bool_(True))

    def final_info(self, state: State, params: Params) -> dict[str, Array]:
        """As of every family, and each of the episode's metrics by name."""
        return {**super().final_info(state, params), **self.metrics(state, params)._asdict()}


def _on_host(state: Any) -> Any:
    return jax.tree.map(np.asarray, state)


# Programs of environments, one for each of equal value.


@functools.partial(jax.jit, static_argnums=0)
def _started(env: PolicyEnv[Any, Any], seed: Any, params: Any) -> Any:
    return env.start(episode_key(seed), params)


@functools.partial(jax.jit, static_argnums=0)
def _decided(env: PolicyEnv[Any, Any], design: Any, state: Any, params: Any) -> tuple[Any, Any, Any]:
    """The action, the state that it leads to, and whether the state was an end already."""
    action = env.decide(design, state, params)
    return action, env.advance(state, action, params), env.over(state, params)


def mean_over_episodes(values: Array) -> Array:
    """float32, the mean of [E], by halves: additions in a fixed order, so that no bit depends on a batch."""
    total, count = values.astype(jnp.float32), values.shape[0]
    while total.shape[0] > 1:
        half = total.shape[0] // 2
        pairs = total[:half] + total[half : 2 * half]
        total = jnp.concatenate([pairs, total[2 * half :]]) if total.shape[0] % 2 else pairs
    return total[0] * np.float32(1 / count)


def designs_at_once() -> int:
    """Designs whose episodes run side by side: enough to fill an accelerator; a processor is full with one design's."""
    return 1 if jax.default_backend() == "cpu" else 512


@functools.cache
def policy_cost(env: PolicyEnv[Any, Any]) -> Callable[[Any, Any], Evaluation]:
    """The cost function of a family, one object for equal environments: the means of a policy's metrics over the
    episodes of `params.seeds`.

    A batch is costed in blocks of `designs_at_once` designs: compilers contract products and sums as the shapes of a
    program suggest, so that the last bits of a cost would depend on the batch if each batch had a program of its own.
    """

    def of_one(design: Array, params: Any) -> Evaluation:
        states = play_cases(env, lambda state, case, step: env.decide(design, state, params), params)
        return env.mean_evaluation(states, params)

    def of_many(designs: Array, params: Any) -> Evaluation:
        count, block = designs.shape[0], designs_at_once()
        blocks = jnp.pad(designs, ((0, -count % block), (0, 0))).reshape(-1, block, designs.shape[1])
        costs = jax.lax.map(lambda each: jax.vmap(of_one, in_axes=(0, None))(each, params), blocks)
        return jax.tree.map(lambda leaf: leaf.reshape(-1)[:count], costs)

    @jax.custom_batching.custom_vmap
    def cost(design: Array, params: Any) -> Evaluation:
        return jax.tree.map(lambda leaf: leaf[0], of_many(design[None], params))

    @cost.def_vmap
    def _(axis_size: int, in_batched: Any, designs: Array, params: Any) -> tuple[Evaluation, Any]:
        batched = jax.tree.leaves(in_batched[1])
        if any(batched):  # an instance for each design, as where a batch holds many instances
            everything = jax.tree.map(
                lambda leaf, varies: leaf if varies else jnp.broadcast_to(leaf, (axis_size, *jnp.shape(leaf))),
                (designs, params),
                tuple(in_batched),
            )
            costs = jax.lax.map(lambda one: cost(*one), everything)
        else:
            costs = of_many(designs, params)
        return costs, jax.tree.map(lambda leaf: True, costs)

    return cost


def policy_problem(
    env: PolicyEnv[Any, Any],
    *,
    options: Options,
    heuristics: Heuristics,
    params: Any,
    held_out_params: Any,
    reference: tuple[str, str],
    bound: YardstickRule,
    objective: Objective,
    notes: Sequence[str],
    splits: Mapping[str, int] | None = None,
    sweep: Sweep | None = None,
    forms: Mapping[str, FunctionalEnv[Any, Any]] | None = None,
    batch_sizes: tuple[int, ...] = BATCH_SIZES,
    best: Callable[[Any], Any] | None = None,
    derived: Callable[[Any], Mapping[str, float]] = lambda metrics: {},
    searched: Mapping[str, Callable[[Problem], Sequence[int]]] | None = None,
) -> Problem:
    """The problem of a policy family.

    Args:
        env: the environment, of the form of decisions.
        options: of the instance.
        heuristics: the policies of the field, and the space of all.
        params: of the search's episodes.
        held_out_params: of the episodes that scores are taken on.
        reference: the heuristic's name, and where it comes from.
        bound: gives the yardstick that no policy beats.
        objective: what is minimised.
        notes: what is synthetic or uncalibrated.
        splits: {train, validation, test: recorded problems}; None or empty where cases are drawn anew.
        sweep: the option that results are drawn against.
        forms: {name: environment} of the forms of decisions, the default first; `env` as `decisions` when left out.
        batch_sizes: what batches are padded to.
        best: `params -> metrics` of the bound, for the breakdown; None where the bound has no metrics.
        derived: `metrics -> {name with unit: figure}`, what the breakdown says beside the metrics.
        searched: further baselines, whose designs are found on the search's episodes, once, when asked.
    """
    name, source = reference
    makers = {form: (lambda problem, each=each: each) for form, each in (forms or {"decisions": env}).items()}
    problem = Problem(
        instance=options,
        space=heuristics.space,
        objective=objective,
        cost=policy_cost(env),
        params=params,
        held_out_params=held_out_params,
        reference_rule=costed(name, lambda problem: heuristics.design(name), source),
        bound_rule=bound,
        forms={**makers, **ONE_SHOT_FORMS},
        breakdown=lambda values: break_down(problem, values, best, derived, splits or {}),
        baselines={
            **heuristics.makers,
            **{key: functools.cache(lambda find=find: find(problem)) for key, find in (searched or {}).items()},
        },
        diagram=functools.partial(_draw, env, params),
        batch_sizes=batch_sizes,
        notes=tuple(notes),
        sweep=sweep,
    )
    return problem


def _draw(env: PolicyEnv[Any, Any], params: Any, design: np.ndarray) -> Diagram:
    """The first of the episodes that searches cost a design on."""
    states, actions = [_on_host(_started(env, params.seeds[0], params))], []
    for _ in range(env.horizon):
        action, moved, over = _on_host(_decided(env, design, states[-1], params))
        if over:
            break
        states.append(moved)
        actions.append(action)
    return env.drawing(states, actions, params)


def break_down(
    problem: Problem,
    values: Mapping[str, Any],
    best: Callable[[Any], Any] | None = None,
    derived: Callable[[Any], Mapping[str, float]] = lambda metrics: {},
    splits: Mapping[str, int] | None = None,
) -> Breakdown:
    """The metrics of a design, the reference and the bound on both sets of episodes; the design's as totals. Where
    the held-out cases are recorded problems, also how many, and the standard error over them of the share solved, the
    metric `accuracy` or `success`, where there is one.

    A metric that is not a number, as an energy where power is unknown, is left out. Arguments as of `policy_problem`.
    """
    designs = np.stack([problem.space.encode(values), np.array(problem.reference.design, np.int32)])
    sets = {
        "search": (problem.params, problem.evaluate),
        "held-out": (problem.held_out_params, problem.evaluate_held_out),
    }
    rows, totals = [], {}
    for which, (params, evaluate) in sets.items():
        found = evaluate(designs).metrics
        policies = {
            "design": jax.tree.map(lambda leaf: float(leaf[0]), found),
            problem.reference.name: jax.tree.map(lambda leaf: float(leaf[1]), found),
        }
        if best is not None:
            policies[problem.bound.name] = jax.tree.map(float, best(params))
        for policy, metrics in policies.items():
            figures = {**metrics._asdict(), **derived(metrics)}
            figures = {key: value for key, value in figures.items() if math.isfinite(value)}
            rows.append({"episodes": which, "policy": policy, **figures})
            if policy == "design":
                totals |= {f"{which}_{key}": value for key, value in figures.items()}
    if not splits:
        return Breakdown(totals, rows, problem.notes)
    totals |= {f"{split}_problems": float(count) for split, count in splits.items()}
    name = next((name for name in ("held-out_accuracy", "held-out_success") if name in totals), None)
    if name is None:  # no share of problems, so no binomial law
        return Breakdown(totals, rows, problem.notes)
    error = standard_error(totals[name], splits["test"])
    return Breakdown(totals | {f"{name}_standard_error": error}, rows, (_ERROR.format(error, **splits), *problem.notes))


def standard_error(share: float, problems: int) -> float:
    """Of a share of problems solved, by the binomial law: what other problems of the kind would change at most, as a
    chance between 0 and 1 of solving each varies less. However often the same problems are drawn, it stays.
    """
    return math.sqrt(min(max(share * (1 - share), 0.0), 0.25) / problems)
