"""Functional environments: pure functions on one lane, from which every face is made, and the door to them.

A family writes `start`, `advance`, `observe`, `over`, `reward`, `action_mask` and what an episode leaves behind, or
names the module of its rules, whose functions some of these then are; it gets `reset` and `step` as gymnax has them,
and its cost function if a design is the script of actions (`rollout_cost`).
Environments are values: frozen dataclasses of what shapes their program, so that equal ones share compiled code.
What tells instances apart beside that is `params`, a pytree of arrays.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, TypeVar

import gymnasium
import jax
import jax.numpy as jnp

from ...costmodels.arrays import Array
from ...costmodels.luck import episode_key
from .evaluation import Evaluation
from .features import Box, Dict, Feature, observed, slices_of, space_of

if TYPE_CHECKING:
    from ...costmodels.diagram import Diagram
    from .problem import Problem

__all__ = ["FunctionalEnv", "Step", "advanced", "play", "play_cases", "rollout_cost"]

State = TypeVar("State")
Params = TypeVar("Params")


class Step(NamedTuple):
    """What one transition of a lane brings; where the episode ended, the lane has started again."""

    observation: Array  # float32[n]
    reward: Array  # float32[]
    terminal: Array  # bool[], whether the transition ended an episode
    action_mask: Array | None  # bool[actions], of what comes next
    final_observation: Array  # float32[n], of the state that the transition led to
    final_info: dict[str, Array]  # of the finished episode; without meaning before its end
    step_info: dict[str, Array]  # of every transition


class FunctionalEnv(Generic[State, Params]):
    """Base of every environment. Every method but `picture` is pure JAX on one lane; faces `vmap` and `jit` it.

    Subclasses are frozen dataclasses, and write the methods from `start` to `evaluation`. Luck is part of the state: it
    is drawn at `start`, and `advance` is a function of state and action alone.
    """

    features: Sequence[Feature]  # the parts of an observation, in order
    action_space: gymnasium.Space
    horizon: int  # steps in an episode, at most
    # Whether an episode's `design` gives its `objective` when the problem costs it; if not, as where an episode draws
    # its own cases, the referee offers the form to no agent.
    replayable: ClassVar[bool] = True
    # The module of the family's rules: what is not written here is its function of the same name, which takes
    # `game_arguments` first.
    game: ClassVar[Any] = None

    # What a family writes -----------------------------------------------------------------------------------------

    @property
    def game_arguments(self) -> tuple[Any, ...]:
        """What shapes the programs of the game's functions, their first arguments."""
        return ()

    def of_game(self, name: str) -> Callable[..., Any]:
        """A function of the game, its first arguments given.

        Raises:
            NotImplementedError: there is no such function, so that the family should have written the method.
        """
        function = getattr(self.game, name, None)
        if function is None:
            raise NotImplementedError(f"{type(self).__name__} writes no `{name}`, and no game of its own has one.")
        return functools.partial(function, *self.game_arguments)

    def params_of(self, problem: Problem) -> Params:
        """What the environment is played with: the params of a problem, and the reference's value if rewards need it.

        Args:
            problem: `Problem.as_searched` of an instance, whose reference is costed when it is asked for.
        """
        return problem.params

    def start(self, key: Array, params: Params) -> State:
        """The state in which an episode begins; all that is random about it comes from the key. The game's."""
        return self.of_game("start")(key, params)

    def advance(self, state: State, action: Array, params: Params) -> State:
        """The state after an action; what an action that is not legal counts as, the family documents. The game's."""
        return self.of_game("advance")(state, action, params)

    def observe(self, state: State, params: Params) -> Mapping[str, Any]:
        """{feature: values}, in the order of `features`."""
        raise NotImplementedError

    def over(self, state: State, params: Params) -> Array:
        """bool[], whether the episode has ended. The game's."""
        return self.of_game("over")(state, params)

    def reward(self, state: State, next_state: State, params: Params) -> Array:
        """float32[], of a transition."""
        raise NotImplementedError

    def action_mask(self, state: State, params: Params) -> Array | None:
        """bool[actions], True where legal; None where actions are no single choice or all are always legal.

        Where there is a mask, `illegal` counts what is done against it. The game's, if it has one.
        """
        return self.of_game("action_mask")(state, params) if hasattr(self.game, "action_mask") else None

    def illegal(self, state: State) -> Array | None:
        """int32[], actions of the episode that were not legal and counted as another: the state's field `illegal`.

        None where the family counts none.
        """
        return getattr(state, "illegal", None)

    def design(self, state: State, params: Params) -> Array | None:
        """int32[n], the design that a finished episode stands for; None where it stands for none."""
        del state, params
        return None

    def decide(self, design: Array, state: State, params: Params) -> Array:
        """The action that follows a design, int32[n], in a state: an episode that takes it everywhere costs what the
        design does where the form is replayable, and is an episode of its policy where designs are policies.

        Args:
            design: of the instance; of a padded one followed by zeros.
            state: whose actions so far may be others.
            params: of the instance.

        Raises:
            NotImplementedError: the form has no such actions.
        """
        del design, state, params
        raise NotImplementedError(f"{type(self).__name__} does not say which actions follow a design.")

    def evaluation(self, state: State, params: Params) -> Evaluation:
        """Costs of a finished episode; what it holds before the end has no meaning."""
        raise NotImplementedError

    def step_info(self, state: State, action: Array, next_state: State, params: Params) -> dict[str, Array]:
        """{name: array} of what `info` holds after every step, not only the last."""
        del state, action, next_state, params
        return {}

    def final_info(self, state: State, params: Params) -> dict[str, Array]:
        """What `info` holds of a finished episode: its design and `illegal_actions` if any, objective, feasibility."""
        evaluation = self.evaluation(state, params)
        found = {
            "design": self.design(state, params),
            "objective": evaluation.objective,
            "feasible": evaluation.feasible,
            "illegal_actions": self.illegal(state),
        }
        return {name: value for name, value in found.items() if value is not None}

    # What a family writes so that policies are trained and scored on many instances --------------------------------

    def sizes(self, params: Params) -> Mapping[str, int]:
        """{what a larger instance has more of, as tasks or accesses: how many}; empty where all have one shape."""
        del params
        return {}

    def padded(self, params: Params, sizes: Mapping[str, int]) -> tuple[FunctionalEnv[State, Params], Params]:
        """The same instance in the shape of a larger one, for programs that many instances share; on the host.

        What an episode is worth, its masks and its observations are the instance's own, bit for bit, but for rows of
        observations that stand for what the instance lacks, which are 0, and actions that it lacks, which are masked.
        Its design begins with the instance's own, of which there is no more to read.

        Args:
            params: of the instance.
            sizes: as `sizes` names them, none below the instance's own.

        Returns:
            The environment, equal for equal sizes, and params of leaves whose shapes depend on the sizes only.
        """
        if sizes:
            raise NotImplementedError(f"{type(self).__name__} has sizes, and should write `padded`.")
        return self, params

    def scored_params(self, problem: Problem) -> Params:
        """What a policy is scored with: params of the held-out cases, or of the search's own where there are none."""
        cases = problem.params if problem.held_out_params is None else problem.held_out_params
        return self.params_of(replace(problem, params=cases, held_out_params=None))

    def case_count(self, params: Params) -> int:
        """How many cases a policy is scored on; 1 where episodes have no luck."""
        del params
        return 1

    def start_case(self, case: Array, params: Params) -> State:
        """The state in which the episode of a case, int32 from 0 to `case_count`, begins."""
        del case
        return self.start(episode_key(0), params)

    def mean_evaluation(self, states: State, params: Params) -> Evaluation:
        """Costs over finished episodes of all cases, leaves [cases]."""
        return self.evaluation(jax.tree.map(lambda leaf: leaf[0], states), params)

    def picture(self, problem: Problem, first: State, actions: Sequence[Any]) -> Diagram | None:
        """An episode so far, for a person; on the host, unlike the rest.

        Args:
            problem: the instance.
            first: the state after `start`.
            actions: int32[...], what was asked for since then.

        Returns:
            None: the problem's diagram of `design(state)` shows it.
        """
        del problem, first, actions
        return None

    # The door -----------------------------------------------------------------------------------------------------

    @property
    def observation_space(self) -> Box | Dict:
        """The features one after another, float32[n], or as `image` and `vector` where some are channels; a new object
        at each call, as a space holds a random state.
        """
        return space_of(self.features)

    @property
    def feature_slices(self) -> dict[str, slice]:
        """{feature: where its numbers stand in an observation, or in its `vector`}."""
        return slices_of(self.features)

    def observation(self, state: State, params: Params) -> Any:
        """float32[n], or as `observation_space` has it."""
        return observed(self.features, self.observe(state, params))

    def reset(self, key: Array, params: Params) -> tuple[Array, State]:
        """Starts an episode: the observation and the state, as gymnax has them."""
        state = self.start(key, params)
        return self.observation(state, params), state

    def step(
        self, key: Array, state: State, action: Array, params: Params
    ) -> tuple[Array, State, Array, Array, dict[str, Any]]:
        """One transition, as gymnax has it: where it ends the episode, the next one has begun.

        Args:
            key: what the next episode draws from, if this one ends.
            state: of the lane.
            action: of the action space.
            params: of the instance.

        Returns:
            The observation and the state of what comes next, the reward, whether an episode ended, and `info`: what
            `step_info` names, `final_observation`, and what `final_info` names, meaningful where an episode ended.
        """
        after, step = self.lane_step(key, state, action, params)
        info = {**step.step_info, "final_observation": step.final_observation, **step.final_info}
        return step.observation, after, step.reward, step.terminal, info

    def lane_step(self, key: Array, state: State, action: Array, params: Params) -> tuple[State, Step]:
        """The transition that every face and learner is made of: the state of what comes next, and what it brought."""
        moved = self.advance(state, action, params)
        terminal = self.over(moved, params)
        after = jax.tree.map(lambda new, old: jnp.where(terminal, new, old), self.start(key, params), moved)
        return after, Step(
            self.observation(after, params),
            self.reward(state, moved, params),
            terminal,
            self.action_mask(after, params),
            self.observation(moved, params),
            self.final_info(moved, params),
            self.step_info(state, action, moved, params),
        )


@functools.partial(jax.jit, static_argnums=0)
def advanced(env: FunctionalEnv[State, Params], state: State, action: Any, params: Params) -> State:
    """`env.advance`, compiled once for environments of equal value: for pictures."""
    return env.advance(state, action, params)


def rollout_cost(env: FunctionalEnv[Any, Any], seed: int = 0) -> Callable[[Array, Any], Evaluation]:
    """The cost function of a sequential family: the design is the script of actions, one a step.

    Args:
        env: an environment with Discrete actions; illegal ones count as its `advance` documents.
        seed: of the key with which the episode starts.

    Returns:
        `(int32[horizon], params) -> Evaluation`; steps after the episode's end change nothing.
    """

    def cost(design: Array, params: Any) -> Evaluation:
        first = env.start(episode_key(seed), params)
        last = play(env, first, lambda state, index: design[index], params)
        return env.evaluation(last, params)

    return cost


def play(env: FunctionalEnv[State, Params], first: State, act: Callable[[State, Array], Any], params: Params) -> State:
    """The final state of an episode.

    A batch of episodes takes as many steps as its longest, which may be far fewer than the horizon.

    Args:
        env: the environment.
        first: the state in which the episode begins.
        act: `(state, int32 step) -> action`, pure JAX.
        params: of the instance.
    """

    def goes_on(carry: tuple[Any, Array]) -> Array:
        state, index = carry
        return (index < env.horizon) & ~env.over(state, params)

    def step(carry: tuple[Any, Array]) -> tuple[Any, Array]:
        state, index = carry
        return env.advance(state, act(state, index), params), index + 1

    last, _ = jax.lax.while_loop(goes_on, step, (first, jnp.int32(0)))
    return last


def play_cases(env: FunctionalEnv[State, Params], act: Callable[[State, Array, Array], Any], params: Params) -> State:
    """The final states, leaves [cases], of the episodes of every case.

    Args:
        env: the environment.
        act: `(state, int32 case, int32 step) -> action`, pure JAX.
        params: of the cases, as `scored_params` makes them.
    """

    def episode(case: Array) -> Any:
        return play(env, env.start_case(case, params), lambda state, step: act(state, case, step), params)

    return jax.vmap(episode)(jnp.arange(env.case_count(params), dtype=jnp.int32))
