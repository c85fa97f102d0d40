"""A complete sequential scenario in one file of another package: keep or recompute what each layer leaves for training.

Synthetic: sizes and times are invented to show the interface, so no number from here means anything.

    >>> import dsegym
    >>> env, params = dsegym.make_functional("toy_sequential:toy/Checkpointing-v0", memory=0.25)
    >>> env.horizon
    8
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

import dsegym
from dsegym.authoring import (
    DesignSpace,
    Discrete,
    Evaluation,
    Feature,
    FunctionalEnv,
    Objective,
    Options,
    Parameter,
    Problem,
    Scenario,
    choice,
    costed,
    enumerated,
    number,
    rollout_cost,
)

LAYERS, RECOMPUTE, KEEP = 8, 0, 1
NETWORKS = {  # (MiB that a layer leaves, ms to compute it again), whole numbers, whose float32 sums are exact
    "narrowing": ((64, 48, 32, 24, 16, 12, 8, 4), (9, 9, 8, 8, 6, 6, 4, 4)),
    "even": ((16, 48, 16, 48, 16, 48, 16, 48), (5, 4, 6, 7, 5, 4, 6, 7)),
}
# A design is the script of decisions. A parameter's values are names, so that its indices are the actions.
SPACE = DesignSpace(tuple(Parameter(f"layer_{i}", ("recompute", "keep"), ordered=False) for i in range(LAYERS)))


class Params(NamedTuple):
    """What tells instances apart. Traced, so that all instances share one compiled program."""

    size_mib: Any  # int32[LAYERS]
    recompute_ms: Any  # float32[LAYERS]
    capacity_mib: Any  # int32
    step_ms: Any  # float32, a training step that recomputes nothing


class State(NamedTuple):
    """Where an episode stands. Luck, where a game has some, is part of it too."""

    layer: Any  # int32, the next to be decided
    used_mib: Any  # int32
    lost_ms: Any  # float32, spent on recomputing
    kept: Any  # int32[LAYERS], the decisions
    illegal: Any  # int32, actions against the mask: `info` tells them as `illegal_actions`


class Metrics(NamedTuple):
    """What a script of decisions costs. Scalars."""

    recompute_ms: Any  # float32
    memory_mib: Any  # int32


@dataclass(frozen=True)
class Checkpointing(FunctionalEnv[State, Params]):
    """One layer a step. To keep what does not fit is masked, and counts as recomputing."""

    horizon = LAYERS
    features = (
        Feature("layer", meaning="layers decided, as a share of all"),
        Feature("free", meaning="free memory over the capacity"),
        Feature("size", meaning="what the next layer leaves, over the capacity, at most 1"),
        Feature("time", meaning="time to recompute the next layer over the longest one"),
    )

    @property
    def action_space(self) -> Discrete:
        """Recompute (0) or keep (1)."""
        return Discrete(2)

    def start(self, key: Any, params: Params) -> State:
        """An empty memory. Nothing here is random; what is would come from the key."""
        del key, params
        return State(jnp.int32(0), jnp.int32(0), jnp.float32(0), jnp.zeros(LAYERS, jnp.int32), jnp.int32(0))

    def advance(self, state: State, action: Any, params: Params) -> State:
        """Decides the next layer."""
        legal = self.action_mask(state, params)[action]
        keep = (action == KEEP) & legal
        return State(
            layer=state.layer + 1,
            used_mib=state.used_mib + jnp.where(keep, params.size_mib[state.layer], 0),
            lost_ms=state.lost_ms + jnp.where(keep, 0.0, params.recompute_ms[state.layer]),
            kept=state.kept.at[state.layer].set(keep.astype(jnp.int32)),
            illegal=state.illegal + ~legal,
        )

    def action_mask(self, state: State, params: Params) -> Any:
        """bool[2]."""
        fits = state.used_mib + params.size_mib[state.layer] <= params.capacity_mib
        return jnp.stack([jnp.bool_(True), fits])

    def observe(self, state: State, params: Params) -> dict[str, Any]:
        """{feature: value}; after the last layer JAX's indexing shows the last one once more."""
        return {
            "layer": state.layer / LAYERS,
            "free": (params.capacity_mib - state.used_mib) / params.capacity_mib,
            "size": jnp.minimum(params.size_mib[state.layer] / params.capacity_mib, 1.0),
            "time": params.recompute_ms[state.layer] / params.recompute_ms.max(),
        }

    def over(self, state: State, params: Params) -> Any:
        """bool[]."""
        del params
        return state.layer >= LAYERS

    def reward(self, state: State, next_state: State, params: Params) -> Any:
        """Time lost by the decision over a step's, negative. The return is 1 - objective / step_ms."""
        return (state.lost_ms - next_state.lost_ms) / params.step_ms

    def design(self, state: State, params: Params) -> Any:
        """int32[LAYERS], what replays the episode."""
        del params
        return state.kept

    def evaluation(self, state: State, params: Params) -> Evaluation:
        """Costs of a finished episode. Every script is feasible, as the game lets nothing overflow."""
        metrics = Metrics(state.lost_ms, state.used_mib)
        return Evaluation(metrics, params.step_ms + state.lost_ms, jnp.bool_(True))


COST = rollout_cost(Checkpointing())  # at the top level: the same object for every instance


@dataclass(frozen=True)
class CheckpointingOptions(Options):
    """What tells instances apart."""

    network: str = choice("narrowing", tuple(NETWORKS), "what is trained")
    memory: float = number(0.5, (0.25, 0.5, 0.75), least=0.25, most=1, summary="capacity over what all layers leave")


def build(options: CheckpointingOptions) -> Problem:
    """Makes an instance of typed options. There are 256 scripts, so the optimum is enumerated."""
    sizes, times = (np.array(row) for row in NETWORKS[options.network])
    params = Params(
        sizes.astype(np.int32),
        times.astype(np.float32),
        np.int32(options.memory * sizes.sum()),
        np.float32(3 * times.sum()),  # forward once; backward takes twice as long
    )
    return Problem(
        instance=options,
        space=SPACE,
        objective=Objective("step_time", "ms", "time of a training step"),
        cost=COST,
        params=params,
        reference_rule=costed("recompute_all", lambda problem: (RECOMPUTE,) * LAYERS, "keeps nothing"),
        bound_rule=enumerated(SPACE),
        forms={"sequential": lambda problem: Checkpointing()},
        baselines={"keep_first": lambda: (KEEP,) * LAYERS},  # what does not fit is recomputed
        notes=("Synthetic: sizes and times are invented.",),
    )


SCENARIO = Scenario(
    summary="Toy: keep or recompute each layer's activations in a limited memory (synthetic).",
    options_type=CheckpointingOptions,
    build=build,
)

dsegym.register("toy/Checkpointing-v0", "toy_sequential:SCENARIO")
