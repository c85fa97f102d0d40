"""The runner of suites of policies: trainings one after the other, then evaluations; what is there already is kept.

RESULTS/policies.json                   what was run: name, description, and the trainings by their directories
RESULTS/policies/<training>/            the policy of a training, see `training.py`; beside it, until it is done,
                                        what the training goes on from
RESULTS/evaluations/                    what policies are worth, see `evaluations.py`
"""

from __future__ import annotations

import dataclasses
import gc
import hashlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..agents.policies.evaluation import RuleOutcome, evaluate_rules
from ..agents.policies.players import Policy
from ..costmodels.errors import CorruptResultError, DsegymError, shortened
from ..envs.core.collections import Collection
from .door import Each, Word, check_folder, check_shape, read_json, write_by_rename
from .evaluations import evaluate_into, read_evaluations
from .formats import canonical
from .identities import versions
from .layout import EVALUATIONS, json_text
from .policy_store import CARD, curve_of, load_policy, policy_digest
from .policy_suite import DeclaredEvaluation, DeclaredTraining, PolicySuite
from .suite import placed
from .training import train_policy

__all__ = ["NOTE", "PolicyRun", "policy_there", "read_policy_note", "run_policies", "trainings_of"]

FORMAT = 1
NOTE, POLICIES = "policies.json", "policies"
_MOST_BYTES = 2**24
_DIRECTORY = Word("[A-Za-z0-9_.-]+-seed[0-9]+-[0-9a-f]{8}", "the name of a training's directory")
_SHAPE = {"format": int, "name": str, "description": str, "trainings": Each(list, _DIRECTORY)}

Progress = Callable[[str, int, int, Mapping[str, float]], None]  # what is done, how much of it, of how much, figures


@dataclass
class PolicyRun:
    """What a run did."""

    trained: int = 0
    kept: int = 0  # policies that were already there
    evaluated: int = 0
    kept_evaluations: int = 0
    problems: list[str] = field(default_factory=list)  # a sentence for each training or evaluation that failed


def run_policies(
    suite: PolicySuite,
    results: str | Path,
    progress: Progress = lambda what, done, total, figures: None,
) -> PolicyRun:
    """Runs every training and every evaluation of a suite that has no result yet.

    A training that was killed goes on from its last checkpoint, with the same bits. One that fails is told of in the
    summary, and the others go on.

    Args:
        suite: validated.
        results: the results directory; made if needed.
        progress: is told how far each training is, and of each evaluation when it begins.

    Raises:
        DsegymError: the directory holds another suite's results.
        OSError: a result cannot be written (a full disk); what was stored before stays.
    """
    results, run = Path(results), PolicyRun()
    names = {each: _directory_name(each) for each in suite.trainings}
    _write_note(results, suite, list(names.values()))
    places = {each: results / POLICIES / name for each, name in names.items()}
    there: set[DeclaredTraining] = set()
    compiled: Collection | None = None
    for each, place in places.items():
        if each.starts_from is not None and each.starts_from not in there:
            continue  # its own failure was told of
        if policy_there(results, place.name):
            run.kept += 1
            there.add(each)
            continue
        if compiled is not each.training.collection:
            _let_programs_go()
            compiled = each.training.collection
        try:
            _train(each, place, places, progress)
        except DsegymError as error:
            run.problems.append(f"{_label(each)}: {error}")
        else:
            run.trained += 1
            there.add(each)
    known = {_key(result.manifest) for result in read_evaluations(results)}
    stage = _Stage()
    turns = [(evaluation, each) for evaluation in suite.evaluations for each in evaluation.trainings if each in there]
    for number, (evaluation, each) in enumerate(turns):
        progress("evaluations", number, len(turns), {})
        try:
            policy = load_policy(places[each])
            if _expected_key(policy, evaluation) in known:
                run.kept_evaluations += 1
                continue
            _evaluate(policy, evaluation, results, stage, curve_of(places[each]))
        except DsegymError as error:
            run.problems.append(f"{_label(each)} on {evaluation.split} of {evaluation.collection.name}: {error}")
        else:
            run.evaluated += 1
    progress("evaluations", len(turns), len(turns), {})
    return run


def _let_programs_go() -> None:
    """Those compiled for the collection before: all of a long suite's would fill the memory (300 MB a training)."""
    import jax

    jax.clear_caches()
    gc.collect()


def _label(each: DeclaredTraining) -> str:
    return f"{each.name} on {each.training.collection.name}, seed {each.training.seed}"


def _train(each: DeclaredTraining, place: Path, places: Mapping[DeclaredTraining, Path], progress: Progress) -> None:
    training = each.training
    if each.starts_from is not None:
        training = replace(training, starts_from=places[each.starts_from])
    label = _label(each)
    train_policy(training, place, progress=lambda steps, total, figures: progress(label, steps, total, figures))


def _directory_name(each: DeclaredTraining) -> str:
    """Of a training's policy: what it is called, and a hash of all that determines it, versions among them."""
    training = each.training
    content = {
        "learner": training.agent,
        "hyperparameters": dataclasses.asdict(training.learner),  # pyright: ignore[reportArgumentType]
        "collection": training.collection.name,
        "instances": [{key: str(value) for key, value in row.items()} for row in training.collection.options("train")],
        "steps": training.steps,
        "seed": training.seed,
        "starts_from": None if each.starts_from is None else _directory_name(each.starts_from),
        "versions": dict(versions()),
    }
    digest = hashlib.sha256(canonical(content).encode()).hexdigest()[:8]
    collection = re.sub("[^A-Za-z0-9_.-]", "_", training.collection.name)[:64]
    return f"{collection}-{each.name}-seed{training.seed}-{digest}"


# Evaluations -----------------------------------------------------------------------------------------------------


@dataclass
class _Stage:
    """The instances that were played last, and what the rules are worth on them."""

    key: Any = None
    collection: Collection | None = None
    rules: Mapping[str, RuleOutcome] | None = None

    def set_for(self, policy: Policy, evaluation: DeclaredEvaluation) -> tuple[Collection, Mapping[str, RuleOutcome]]:
        """A collection in a policy's shape, and its rules; made once for policies that follow one another."""
        key = evaluation.collection, evaluation.split, dict(policy.card.sizes), policy.card.form
        if self.key != key or self.collection is None or self.rules is None:
            _let_programs_go()
            self.collection = replace(evaluation.collection, sizes=policy.card.sizes, form=policy.card.form)
            self.rules = evaluate_rules(self.collection.problems(evaluation.split))
            self.key = key
        return self.collection, self.rules


def _evaluate(
    policy: Policy,
    evaluation: DeclaredEvaluation,
    results: Path,
    stage: _Stage,
    curve: Mapping[str, Sequence[float]] | None,
) -> None:
    policy.card.check_form(evaluation.collection.scenario, evaluation.collection.form or policy.card.form)
    collection, rules = stage.set_for(policy, evaluation)
    evaluate_into(
        results,
        policy,
        collection,
        evaluation.split,
        mode=evaluation.mode,
        samples=evaluation.samples,
        trained_on=bool(evaluation.changed),  # a sweep crosses the training range
        options=evaluation.changed,
        curve=curve,
        rules=rules,
    )


def _key(manifest: Mapping[str, Any]) -> tuple[Any, ...]:
    """What determines an evaluation."""
    traits = tuple(manifest[name] for name in ("collection", "split", "mode", "samples", "seed"))
    more = manifest["policy"]["digest"], manifest.get("changed", {}), manifest["versions"]
    return *traits, *map(canonical, more)


def _expected_key(policy: Policy, evaluation: DeclaredEvaluation) -> tuple[Any, ...]:
    return _key(
        {
            "collection": evaluation.collection.name,
            "split": evaluation.split,
            "mode": evaluation.mode,
            "samples": evaluation.samples,
            "seed": 0,
            "policy": {"digest": policy_digest(policy)},
            "changed": placed(evaluation.changed),
            "versions": dict(versions()),
        }
    )


# The note --------------------------------------------------------------------------------------------------------


def read_policy_note(results: Path) -> Mapping[str, Any] | None:
    """What a suite of policies has noted in a results directory; None where none was run into it.

    Raises:
        CorruptResultError: it is damaged.
    """
    path = results / NOTE
    if not os.path.lexists(path):
        return None
    content = read_json(path, results, _MOST_BYTES)
    check_shape(path, content, _SHAPE)
    if content["format"] != FORMAT:
        raise CorruptResultError(f"{path}: format {content['format']} where this version reads {FORMAT}.")
    return content


def policy_there(results: Path, training: str) -> bool:
    """Whether a training that the note names is done."""
    return (results / POLICIES / training / CARD).exists()


def trainings_of(results: Path) -> list[tuple[str, str | None]]:
    """(COLLECTION-NAME-seedSEED, the digest of its policy) of each training of the suite that was run into a results
    directory last; None in place of the digest where there is no policy.

    Raises:
        CorruptResultError: the note, or a policy, is damaged.
    """
    names = (read_policy_note(results) or {"trainings": []})["trainings"]
    places = {name: results / POLICIES / name for name in names}
    return [
        (name.rpartition("-")[0], policy_digest(load_policy(place)) if policy_there(results, name) else None)
        for name, place in places.items()
    ]


def _write_note(results: Path, suite: PolicySuite, trainings: list[str]) -> None:
    held = read_policy_note(results)
    if held is not None and held["name"] != suite.name:
        raise DsegymError(
            f"'{results}' holds the results of the suite '{shortened(held['name'])}'; choose another directory for "
            f"'{suite.name}'."
        )
    results.mkdir(parents=True, exist_ok=True)
    for folder in (POLICIES, EVALUATIONS):
        check_folder(results / folder, results)
    note = {"format": FORMAT, "name": suite.name, "description": suite.description, "trainings": trainings}
    write_by_rename(results / NOTE, json_text(note).encode())
