"""Suites of policies: declared trainings and evaluations, as a TOML file that is validated before anything runs.

name = "policies"
description = "what the suite is for"
seeds = 3                 # of every training: 0 to 2; or a list of seeds

[[trainings]]             # one or more
collection = "cascade-budgets"                # a shipped one, or the path of a .toml file
learner = "ppo"
steps = 300_000
name = "ppo"              # optional, the learner's when left out; with the collection it names the training
hyperparameters = { units = 32 }              # optional; the rest at their defaults
starts_from = "imitation" # optional: a training above, on the same collection, whose weights each seed goes on from
seeds = [0]               # optional, in place of the suite's

[[evaluations]]           # one or more: every policy that plays the collection's scenario plays its instances
collection = "cascade-budgets"
split = "test"            # optional
mode = "sampled"          # optional, greedy when left out
samples = 8               # optional, 1 when left out; of several, the best counts
trained_on = ["cascade-budgets"]              # optional: policies trained on these only; on this collection, left out
sweep = { budget = [5, 500] }                 # optional: options of all instances that are changed, one at a time
only = ["ppo"]            # optional: policies of these names only

A relative path is taken from the folder of the suite's file.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..agents.policies.evaluation import MOST_SAMPLES
from ..agents.policies.players import MODES
from ..costmodels.errors import DsegymError, InvalidSuiteError, UnknownNameError
from ..envs.core.collections import SPLITS, Collection, collection_names
from ..envs.core.scenarios import load_scenario, make_problem
from .collection_files import find_collection
from .evaluations import changed
from .suite import beside, option_beside, seeds_of
from .toml_tables import check_keys, check_once, name_of, read_toml_file, tables_of, text_of, whole_number
from .training import MOST_STEPS, Training, kinds_of, training_of

__all__ = [
    "DeclaredEvaluation",
    "DeclaredTraining",
    "PolicySuite",
    "load_policy_suite",
]

_MOST = 10_000  # trainings, and evaluations
_NAME = "[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"


@dataclass(frozen=True, eq=False)
class DeclaredTraining:
    """A training of one seed.

    Attributes:
        name: what it is called in the suite, together with the collection.
        training: what is done; its `starts_from` is not yet known.
        starts_from: the training of the same seed that it goes on from, or None.
    """

    name: str
    training: Training
    starts_from: DeclaredTraining | None


@dataclass(frozen=True, eq=False)
class DeclaredEvaluation:
    """A part of a collection, as it is or with options changed, and how it is played.

    Attributes:
        collection: the instances, changed already.
        changed: the options that were, by name.
        split, mode, samples: as of `evaluate`.
        trainings: whose policies play.
    """

    collection: Collection
    changed: Mapping[str, str]
    split: str
    mode: str
    samples: int
    trainings: tuple[DeclaredTraining, ...]


@dataclass(frozen=True, eq=False)
class PolicySuite:
    """A validated suite of policies, in the order in which it runs."""

    name: str
    description: str
    trainings: tuple[DeclaredTraining, ...]
    evaluations: tuple[DeclaredEvaluation, ...]


def load_policy_suite(path: Path) -> PolicySuite:
    """Reads and checks a suite of policies; of each collection one instance is made for it.

    Raises:
        InvalidSuiteError: the file cannot be read, or says something wrong, or wants a learner whose libraries are not
            installed; names the file and the key.
    """
    content = read_toml_file(path)
    try:
        return _parse(content, Path(os.path.abspath(path)).parent)
    except (DsegymError, ValueError, OverflowError) as error:
        raise InvalidSuiteError(f"The suite '{path}' cannot run: {error}") from None


def _parse(content: Mapping[str, Any], folder: Path) -> PolicySuite:
    check_keys("suite", content, ("name", "seeds", "trainings", "evaluations"), ("description",))
    name, description = name_of("name", content["name"]), text_of("description", content.get("description", ""))
    seeds, collections = seeds_of(content["seeds"]), dict[str, Collection]()

    def collection_of(value: object) -> Collection:
        """One object per collection, so that its instances are made once."""
        text = name_of("collection", value)
        text = text if text in collection_names() else str(beside(text, folder))
        return collections.setdefault(text, find_collection(text))

    trainings: dict[tuple[str, str], list[DeclaredTraining]] = {}
    for table in tables_of("trainings", content["trainings"]):
        declared = _trainings(table, seeds, collection_of, trainings)
        key = declared[0].name, declared[0].training.collection.name
        if key in trainings:
            raise ValueError(f"the training {key[0]} on {key[1]} stands there twice; give one of them another name.")
        trainings[key] = declared
    every = tuple(each for group in trainings.values() for each in group)
    evaluations = tuple(
        each
        for table in tables_of("evaluations", content["evaluations"])
        for each in _evaluations(table, collection_of, every, folder)
    )
    check_once("evaluation", map(_words, evaluations))
    if max(len(every), len(evaluations)) > _MOST:
        raise ValueError(
            f"it declares {len(every)} trainings and {len(evaluations)} evaluations, {_MOST} of each at most."
        )
    return PolicySuite(name, description, every, evaluations)


def _trainings(
    table: Mapping[str, Any],
    seeds: Sequence[int],
    collection_of: Any,
    before: Mapping[tuple[str, str], Sequence[DeclaredTraining]],
) -> list[DeclaredTraining]:
    """Of every seed of a [[trainings]] table."""
    optional = ("name", "hyperparameters", "starts_from", "seeds")
    check_keys("training", table, ("collection", "learner", "steps"), optional)
    learner = name_of("learner", table["learner"])
    name = name_of("a training's name", table.get("name", learner.rpartition(":")[2]))
    if not re.fullmatch(_NAME, name):
        raise ValueError(f"a training's name = {name!r} is not of letters, digits, '_', '-' and '.', 64 at most.")
    collection, hyperparameters = collection_of(table["collection"]), table.get("hyperparameters", {})
    if not isinstance(hyperparameters, dict):
        raise ValueError(f"hyperparameters of {name} must be a table.")
    kinds = kinds_of(learner)
    for key, value in hyperparameters.items():
        if isinstance(value, str) and kinds.get(key, str) is not str:
            raise ValueError(f"{learner}'s {key} = {value!r} is a text.")
    steps = whole_number(f"steps of {name}", table["steps"], 1, MOST_STEPS)
    if not collection.options("train"):
        raise ValueError(f"the collection '{collection.name}' has no train part.")
    own = seeds_of(table["seeds"]) if "seeds" in table else seeds
    check_once(f"seed of {name}", map(str, own))
    earlier: Mapping[int, DeclaredTraining] = {}
    if "starts_from" in table:
        other = name_of(f"starts_from of {name}", table["starts_from"])
        known = [each for each, place in before if place == collection.name]
        if other not in known:
            raise UnknownNameError(f"training above {name}, on the same collection", other, known)
        earlier = {each.training.seed: each for each in before[other, collection.name]}
        if missing := [seed for seed in own if seed not in earlier]:
            raise ValueError(f"{name} starts from {other}, which has no seed {missing[0]}.")
    scenario = collection.scenario
    made = [training_of(scenario, learner, collection, steps, seed, hyperparameters) for seed in own]
    _check_network(name, made[0])
    return [DeclaredTraining(name, each, earlier.get(each.seed)) for each in made]


def _check_network(name: str, training: Training) -> None:
    """Refuses a learner that has no network for a collection. Its first instance speaks for it: all take too long."""
    collection = training.collection
    problem = make_problem(collection.scenario, **collection.options("train")[0])
    try:
        training.learner.network(problem.functional_env(collection.form))
    except DsegymError as error:
        raise ValueError(f"{name} on {collection.name}: {error}") from None


def _evaluations(
    table: Mapping[str, Any], collection_of: Any, trainings: Sequence[DeclaredTraining], folder: Path
) -> list[DeclaredEvaluation]:
    """The one of an [[evaluations]] table, or one for each value of its sweep."""
    check_keys("evaluation", table, ("collection",), ("split", "mode", "samples", "trained_on", "sweep", "only"))
    collection = collection_of(table["collection"])
    split, mode = table.get("split", "test"), table.get("mode", "greedy")
    for what, value, known in (("split", split, SPLITS), ("mode", mode, MODES)):
        if value not in known:
            raise UnknownNameError(what, str(value), known)
    samples = whole_number("samples", table.get("samples", 1), 1, MOST_SAMPLES)
    if samples > 1 and mode == "greedy":
        raise ValueError(f'{samples} samples of a greedy policy are one; give mode = "sampled".')
    if not collection.options(split):
        raise ValueError(f"the collection '{collection.name}' has no {split} part.")
    players = [each for each in trainings if each.training.collection.scenario == collection.scenario]
    for key, default, trait in (
        ("trained_on", [collection.name], lambda each: each.training.collection.name),
        ("only", None, lambda each: each.name),
    ):
        chosen, known = table.get(key, default), sorted(set(map(trait, players)))
        if chosen is None:
            continue
        if not isinstance(chosen, list) or not chosen:
            raise ValueError(f"{key} = {chosen!r} is not a list of names.")
        for each in chosen:
            if each not in known:
                raise UnknownNameError(f"{key} of the evaluations on '{collection.name}'", str(each), known)
        players = [each for each in players if trait(each) in chosen]
    if not players:
        raise ValueError(f"no training is left that the evaluation on '{collection.name}' could be of.")
    how = {"split": split, "mode": mode, "samples": samples, "trainings": tuple(players)}
    if "sweep" not in table:
        return [DeclaredEvaluation(collection, {}, **how)]
    return [
        DeclaredEvaluation(changed(collection, options), options, **how)
        for options in _sweep(table["sweep"], collection, split, folder)
    ]


def _sweep(sweep: object, collection: Collection, split: str, folder: Path) -> list[dict[str, str]]:
    """The options of each point, one option at a time, as canonical texts."""
    if not isinstance(sweep, dict) or not sweep or not all(isinstance(each, list) and each for each in sweep.values()):
        raise ValueError("sweep must be a table of options, each with a list of values.")
    scenario, first = load_scenario(collection.scenario), collection.options(split)[0]
    found = []
    for option, values in sweep.items():
        given = [option_beside(scenario, option, value, folder) for value in values]
        texts = [scenario.resolve({**first, option: value})[option] for value in given]
        check_once(f"value of {option}", texts)
        found += [{option: text} for text in texts]
    return found


def _words(evaluation: DeclaredEvaluation) -> str:
    """What tells an evaluation from others."""
    options = "".join(f", {key} = {value}" for key, value in evaluation.changed.items())
    who = json.dumps(sorted({each.name for each in evaluation.trainings}))
    how = f"{evaluation.mode}, {evaluation.samples} samples, of {who}"
    return f"on {evaluation.split} of {evaluation.collection.name}{options}, {how}"
