"""Collections: declared distributions of instances of one scenario, for policies that carry over from some to others.

A collection's parts, train, validation and test, share no instance. Its instances are padded to common shapes, so that
one compiled environment draws an instance for each lane whenever an episode begins. N instances.

Importing this module imports neither JAX nor a family; a family's collections are loaded when first used.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...costmodels.errors import DsegymError, UnknownNameError
from .scenarios import make_problem

if TYPE_CHECKING:
    from .drawn import DrawnEnv
    from .functional import FunctionalEnv
    from .problem import Problem

__all__ = ["BUILT_IN", "SPLITS", "Collection", "Padded", "collection_names", "load_collection"]

SPLITS = ("train", "validation", "test")

# Name: where its `Collection` is.
BUILT_IN: Mapping[str, str] = {
    "accelerator-networks": "dsegym.envs.accelerator.collections:ACCELERATOR_NETWORKS",
    "batch-data-sets": "dsegym.envs.reasoning.collections:BATCH_DATA_SETS",
    "batch-verifiers": "dsegym.envs.reasoning.collections:BATCH_VERIFIERS",
    "cascade-budgets": "dsegym.envs.reasoning.collections:CASCADE_BUDGETS",
    "expert-caches": "dsegym.envs.offload.collections:EXPERT_CACHES",
    "memory-zoo": "dsegym.envs.memory.collections:MEMORY_ZOO",
    "memory-zoo-small": "dsegym.envs.memory.collections:MEMORY_ZOO_SMALL",
    "packing": "dsegym.envs.memory.collections:PACKING",
    "power-rows": "dsegym.envs.serving.collections:POWER_ROWS",
    "serving-stream": "dsegym.envs.serving.collections:SERVING_STREAM",
    "sleep-contexts": "dsegym.envs.reasoning.collections:SLEEP_CONTEXTS",
    "soc-static": "dsegym.envs.soc.collections:STATIC",
    "soc-static-large": "dsegym.envs.soc.collections:STATIC_LARGE",
    "soc-stream": "dsegym.envs.soc.collections:STREAM",
    "soc-stream-ds3": "dsegym.envs.soc.collections:STREAM_DS3",
    "soc-stream-rates": "dsegym.envs.soc.collections:STREAM_RATES",
    "solve-verify-budgets": "dsegym.envs.reasoning.collections:SOLVE_VERIFY_BUDGETS",
    "solve-verify-synthetic": "dsegym.envs.reasoning.collections:SOLVE_VERIFY_SYNTHETIC",
    "sub-question-plans": "dsegym.envs.reasoning.collections:SUB_QUESTION_PLANS",
    "tree-game24": "dsegym.envs.reasoning.collections:TREE_GAME24",
    "tree-steps": "dsegym.envs.reasoning.collections:TREE_STEPS",
}

Instances = Callable[[], Sequence[Mapping[str, object]]]


@dataclass(frozen=True)
class Padded:
    """Instances in one shape.

    Attributes:
        problems: the instances themselves.
        env: their common environment.
        params: what it is played with, a pytree of NumPy arrays with a leading axis N.
    """

    problems: tuple[Problem, ...]
    env: FunctionalEnv[Any, Any]
    params: Any


@dataclass(frozen=True, eq=False)
class Collection:
    """A declared distribution of instances of one scenario.

    Attributes:
        name: how commands and cards call it.
        scenario: the environment's id.
        summary: one line for the user: what varies, and what the test instances have that no training instance has.
        train, validation, test: make the options of the instances, every time the same.
        form: of the environment; the scenario's default when left out.
        sizes: what instances are padded to, as `FunctionalEnv.sizes` names it; what the largest has when left out, for
            which all instances of all parts are made.
    """

    name: str
    scenario: str
    summary: str
    train: Instances
    validation: Instances
    test: Instances
    form: str | None = None
    sizes: Mapping[str, int] | None = None

    @functools.cached_property
    def _problems(self) -> dict[str, tuple[Problem, ...]]:
        return {}

    def options(self, split: str) -> tuple[Mapping[str, object], ...]:
        """The options of a part's instances.

        Raises:
            UnknownNameError: there is no such part.
        """
        if split not in SPLITS:
            raise UnknownNameError("split", split, SPLITS)
        return tuple(getattr(self, split)())

    def problems(self, split: str) -> tuple[Problem, ...]:
        """A part's instances, made once.

        Raises:
            UnknownNameError: there is no such part.
            DsegymError: an instance cannot be made; names it, or the part is empty.
        """
        if split not in self._problems:
            options = self.options(split)
            if not options:
                raise DsegymError(f"The {split} part of the collection '{self.name}' has no instance.")
            self._problems[split] = tuple(self._made(split, number, each) for number, each in enumerate(options))
        return self._problems[split]

    def _made(self, split: str, number: int, options: Mapping[str, object]) -> Problem:
        try:
            return make_problem(self.scenario, **options)
        except DsegymError as error:
            raise DsegymError(f"Instance {number} of {split} in the collection '{self.name}': {error}") from error

    @functools.cached_property
    def common_sizes(self) -> Mapping[str, int]:
        """What instances are padded to."""
        if self.sizes is not None:
            return self.sizes
        found: dict[str, int] = {}
        for split in filter(self.options, SPLITS):
            for problem in self.problems(split):
                env = problem.functional_env(self.form)
                for name, count in env.sizes(problem.env_params(self.form)).items():
                    found[name] = max(count, found.get(name, 0))
        return found

    def padded(self, split: str, *, scored: bool = False, searched: bool = False) -> Padded:
        """A part's instances in the collection's shape.

        Args:
            split: the part.
            scored: whether with the cases that policies are scored on, `FunctionalEnv.scored_params`, in place of what
                episodes are trained on.
            searched: whether, of those, with the search's own cases in place of the held-out ones.

        Raises:
            UnknownNameError: there is no such part.
            DsegymError: an instance cannot be made, is larger than `sizes` or has others, or cannot share a program
                with the first.
        """
        problems = self.problems(split)
        made = [self._padded_one(problem.as_searched if searched else problem, scored) for problem in problems]
        env, first = made[0]
        shapes = _shapes(first)
        for problem, (other, params) in zip(problems, made, strict=True):
            if other != env or _shapes(params) != shapes:
                raise DsegymError(
                    f"The collection '{self.name}' holds instances that cannot share a program: "
                    f"{problems[0].name}; and {problem.name}."
                )
        return Padded(problems, env, _stacked([params for _, params in made]))

    def _padded_one(self, problem: Problem, scored: bool) -> tuple[FunctionalEnv[Any, Any], Any]:
        env = problem.functional_env(self.form)
        params = env.scored_params(problem) if scored else problem.env_params(self.form)
        sizes = env.sizes(params)
        if sizes.keys() != self.common_sizes.keys():
            raise DsegymError(
                f"{problem.name} has sizes of {', '.join(sizes) or 'nothing'}; the collection '{self.name}' pads "
                f"{', '.join(self.common_sizes) or 'nothing'}."
            )
        for name, count in sizes.items():
            if count > self.common_sizes[name]:
                raise DsegymError(
                    f"{problem.name} has {count} {name}; the collection '{self.name}' holds instances of at most "
                    f"{self.common_sizes[name]}."
                )
        try:
            return env.padded(params, self.common_sizes)
        except MemoryError as error:
            raise DsegymError(f"{problem.name} padded to {dict(self.common_sizes)}: {error}.") from None

    def environment(self, split: str) -> tuple[DrawnEnv, Any]:
        """An environment whose every episode is of an instance drawn from a part, and its params.

        Params that are the same in all instances have an axis of 1 in place of N: lanes share them, where a table of
        each lane's own would be gathered at every step.

        Raises: as `padded`.
        """
        from .drawn import DrawnEnv

        found = self.padded(split)
        return DrawnEnv(found.env, len(found.problems)), _shared(found.params)

    def digests(self, split: str) -> tuple[str, ...]:
        """Of each instance of a part, `Problem.digest`."""
        return tuple(problem.digest for problem in self.problems(split))

    def check(self) -> None:
        """Makes every instance; a part may have none.

        Raises:
            DsegymError: two parts share an instance, an instance stands in a part twice, or as `problems`.
        """
        seen: dict[str, tuple[str, Problem]] = {}
        for split in filter(self.options, SPLITS):
            for problem, digest in zip(self.problems(split), self.digests(split), strict=True):
                if digest in seen:
                    other, twin = seen[digest]
                    raise DsegymError(
                        f"The collection '{self.name}' holds one instance twice, in {other} ({twin.name}) and in "
                        f"{split} ({problem.name})."
                    )
                seen[digest] = split, problem


def _shapes(tree: Any) -> tuple[Any, list[tuple[tuple[int, ...], np.dtype[Any]]]]:
    """Equal for trees that can be stacked."""
    import jax

    leaves, structure = jax.tree.flatten(tree)
    return structure, [(np.shape(leaf), np.asarray(leaf).dtype) for leaf in leaves]


def _stacked(trees: Sequence[Any]) -> Any:
    import jax

    return jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *trees)


def _shared(tree: Any) -> Any:
    import jax

    return jax.tree.map(lambda leaf: leaf[:1] if (leaf == leaf[:1]).all() else leaf, tree)


def collection_names() -> tuple[str, ...]:
    """Every collection that can be named, sorted."""
    return tuple(sorted(BUILT_IN))


def load_collection(name: str) -> Collection:
    """The collection of a name.

    Raises:
        UnknownNameError: there is no such collection.
    """
    if name not in BUILT_IN:
        raise UnknownNameError("collection", name, collection_names())
    module, _, attribute = BUILT_IN[name].partition(":")
    return getattr(importlib.import_module(module), attribute)
