"""What a search may start from: the best designs of stored results, and those of a trained policy.

Both give the hyperparameters of the agent `warm_start` in which the designs stand, so that a suite or a trial declares
them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..agents.warm_start import designs_text
from ..costmodels.errors import DsegymError
from ..envs.core.scenarios import make_problem
from .batches import sound_trials
from .kept_files import checked_options
from .layout import trial_directory
from .suite_note import read_suite

if TYPE_CHECKING:
    from ..agents.policies.players import Policy
    from ..envs.core.problem import Problem

__all__ = ["from_policy", "from_results"]

MOST = 8  # designs, where nothing else is said


def from_results(results: str | Path, problem: Problem, most: int = MOST) -> Mapping[str, str]:
    """Hyperparameters with the best designs of a directory of results, of instances whose space is the problem's.

    Args:
        results: the directory.
        problem: that is to be searched.
        most: designs; those that cost least of their own instance's reference come first.

    Raises:
        CorruptResultError: the directory holds no results, or they are damaged.
        DsegymError: none of its instances has the problem's parameters and values, or no trial found a design.
    """
    results = Path(results)
    ranked: list[tuple[float, tuple[int, ...], str]] = []
    spaces: dict[str, bool] = {}
    for found in sound_trials(results, read_suite(results)):
        manifest = found.manifest
        trial, best = manifest["trial"], manifest["best"]
        instance = trial["instance"]
        options, name = instance["options"], str(instance["options"])
        if instance["scenario"] != problem.scenario or best is None:
            continue
        if name not in spaces:
            directory = trial_directory(results, manifest["trial_id"])
            source = make_problem(problem.scenario, **checked_options(directory, problem.scenario, options))
            spaces[name] = _choices(source) == _choices(problem)
        if spaces[name]:
            ranked.append(
                (best["objective"] / manifest["reference"]["value"], tuple(best["design"]), manifest["trial_id"])
            )
    if not ranked:
        why = (
            "of none of its instances is the space this one's, parameter by parameter"
            if spaces
            else ("no trial of this scenario found a feasible design")
        )
        raise DsegymError(f"'{results}' has no design for {problem.scenario}, {problem.name}: {why}.")
    best_of: dict[tuple[int, ...], str] = {}
    for _, design, identifier in sorted(ranked):
        best_of.setdefault(design, identifier)
    chosen = list(best_of.items())[:most]
    source = f"the best designs of trials {', '.join(identifier for _, identifier in chosen)}"
    return {"designs": designs_text(design for design, _ in chosen), "source": source[:1000]}


def from_policy(policy: Policy, problem: Problem, samples: int = MOST, seed: int = 0) -> Mapping[str, str]:
    """Hyperparameters with the designs that a trained policy gives for the problem, drawn from its probabilities.

    Args:
        policy: of the problem's scenario.
        problem: that is to be searched; what fits the shape that the policy was trained with.
        samples: episodes that are played; equal designs are kept once.
        seed: of what is drawn.

    Raises:
        DsegymError: the policy is of another scenario, form or shape, no design replays its episodes, or the problem's
            scores are taken on held-out cases, which no search may see.
    """
    from ..agents.policies.evaluation import evaluate
    from ..envs.core.collections import Collection

    if problem.held_out_params is not None:
        raise DsegymError(f"{problem.scenario} is scored on held-out cases: a policy's episodes there start no search.")

    def instances() -> Any:
        return (dict(problem.options),)

    def nothing() -> Any:
        return ()

    card = policy.card
    alone = Collection(
        "warm start", problem.scenario, "one instance", nothing, nothing, instances, card.form, card.sizes
    )
    mode = "greedy" if samples == 1 else "sampled"
    found = evaluate(policy, alone, "test", mode=mode, samples=samples, seed=seed, trained_on=True)
    if found.designs is None:
        raise DsegymError(f"No design replays the episodes of {problem.scenario}, so that a policy starts no search.")
    designs = list({tuple(design): None for design in found.designs[0].tolist()})
    return {"designs": designs_text(designs), "source": f"the policy {policy.name}, {samples} episodes, seed {seed}"}


def _choices(problem: Problem) -> list[tuple[str, tuple[Any, ...]]]:
    return [(parameter.name, tuple(parameter.values)) for parameter in problem.space.parameters]
