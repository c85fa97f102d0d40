"""Trainings: a learner on the training part of a collection, saved every few seconds, so that one that was killed goes
on with the same bits when it is asked for again.

    DIRECTORY                                      the policy, when it is done; see `policy_store.py`
    DIRECTORY.training/checkpoint.safetensors      until then: all that training goes on from, and the curve so far
    DIRECTORY.training/curve.csv                   the curve alone, for a person
    DIRECTORY.training/lock                        held by the process that trains
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import math
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..agents.learners.base import Learner
from ..agents.learners.registry import check_libraries, load_learner, make_learner
from ..agents.policies.card import Card, features_of
from ..agents.policies.players import Policy
from ..costmodels.errors import CorruptResultError, DsegymError, shortened
from ..costmodels.files import strict_json
from ..envs.core.collections import Collection, collection_names
from .door import write_by_rename
from .identities import versions
from .policy_store import (
    CARD,
    CURVE,
    arrays_from,
    bytes_of,
    check_free,
    check_named,
    curve_text,
    load_policy,
    metadata_of,
    policy_digest,
    save_policy,
)

if TYPE_CHECKING:
    from ..agents.learners.trainer import Carry, Chunk

__all__ = ["MOST_STEPS", "Training", "hyperparameters_of", "kinds_of", "train_policy", "training_of"]

CHECKPOINT, LOCK = "checkpoint.safetensors", "lock"
SAVE_EVERY_S = 5.0
MOST_STEPS = 2**53

Progress = Callable[[int, int, Mapping[str, float]], None]  # steps so far, of how many, the last figures by name


@dataclass(frozen=True, eq=False)
class Training:
    """What a policy is trained by.

    Attributes:
        agent: the learner's name.
        learner: it, with its hyperparameters.
        collection: whose training part it learns from.
        steps: of the environment, at least; whole updates are made.
        seed: of everything.
        starts_from: the directory of a policy with an equal network, whose weights it goes on from.
    """

    agent: str
    learner: Learner
    collection: Collection
    steps: int
    seed: int
    starts_from: Path | None = None


def training_of(
    scenario: str,
    agent: str,
    collection: Collection,
    steps: int,
    seed: int,
    hyperparameters: Mapping[str, Any],
    starts_from: Path | None = None,
) -> Training:
    """A training that can begin.

    Args:
        scenario: that is to be learnt.
        agent: a learner's name.
        collection: of the scenario.
        steps, seed, starts_from: as of `Training`.
        hyperparameters: of their types or as text; the rest at their defaults.

    Raises:
        DsegymError: something does not exist, does not fit or is not installed, in one sentence.
    """
    if collection.scenario != scenario:
        raise DsegymError(
            f"The collection '{collection.name}' is of {collection.scenario}, not of {shortened(scenario)}; `dsegym "
            "list` shows the collections of each."
        )
    if not 1 <= steps <= MOST_STEPS:
        raise DsegymError(f"steps = {steps} is not a whole number from 1 to {MOST_STEPS}.")
    if not 0 <= seed < 2**31:
        raise DsegymError(f"seed = {seed} is not a whole number from 0 to {2**31 - 1}.")
    check_libraries(agent)
    learner = make_learner(agent, hyperparameters_of(agent, hyperparameters))
    return Training(agent, learner, collection, steps, seed, starts_from)


def kinds_of(agent: str) -> dict[str, type]:
    """{hyperparameter of a learner: its type, its default's}."""
    return {field.name: type(field.default) for field in dataclasses.fields(load_learner(agent))}  # pyright: ignore[reportArgumentType]


def hyperparameters_of(agent: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """A learner's hyperparameters, of their types, from text; what is no text stays as it is.

    Raises:
        DsegymError: a text that is none of its type. What does not exist is left to `make_learner`.
    """
    kinds, found = kinds_of(agent), {}
    for name, text in given.items():
        kind = kinds.get(name, str)
        if not isinstance(text, str):
            found[name] = text
            continue
        words = {"true": True, "false": False}
        try:
            found[name] = words[text.lower()] if kind is bool else kind(text)
        except (KeyError, ValueError):
            raise DsegymError(f"{agent}'s {name} = '{shortened(text)}' is no {kind.__name__}.") from None
    return found


def train_policy(
    training: Training,
    directory: str | Path,
    *,
    progress: Progress = lambda steps, total, figures: None,
    writer: Any = None,
) -> Policy:
    """Trains a policy and saves it; one that was trained in the directory before is returned as it is.

    What was killed goes on from its last checkpoint, a few seconds back, with the same bits.

    Args:
        training: what.
        directory: where the policy goes; nothing is there, or a policy of the same training.
        progress: is told how far it is.
        writer: of TensorBoard, an object with `add_scalar(name, value, step)` and `flush()`.

    Raises:
        DsegymError: the directory holds something else, an unfinished training of other settings or versions, or one
            that another process is at; parts of the collection share an instance; the weights are no longer finite.
        OSError: the disk is full, say; the last checkpoint stays.
    """
    from ..agents.learners.trainer import carry_shapes, train, updates_of

    directory = Path(directory)
    check_named(directory)
    folder = directory.with_name(f"{directory.name}.training")
    if training.collection.name not in collection_names():  # tests have checked those of the package
        training.collection.check()
    env, params = training.learner.environment(training.collection)
    form = training.collection.form or next(iter(training.collection.problems("train")[0].forms))
    before = None if training.starts_from is None else load_policy(training.starts_from)
    digests = training.collection.digests("train")
    card = Card(
        scenario=training.collection.scenario,
        form=form,
        collection=training.collection.name,
        sizes=dict(training.collection.common_sizes),
        trained_on=digests if before is None else tuple(dict.fromkeys((*digests, *before.card.trained_on))),
        learner=training.agent,
        hyperparameters=dataclasses.asdict(training.learner),  # pyright: ignore[reportArgumentType]
        seed=training.seed,
        steps=updates_of(training.learner, env, training.steps) * training.learner.steps_per_update(env)
        + (0 if before is None else before.card.steps),
        training_s=0.0,
        features=features_of(env),
        action_space=str(env.action_space),
        versions=_versions(training.agent),
        starts_from=None if before is None else policy_digest(before),
    )
    if before is not None:
        before.card.check_form(card.scenario, card.form)
    if (done := _already_there(directory, card)) is not None:
        shutil.rmtree(folder, ignore_errors=True)
        return done
    network = training.learner.network(env)
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        if (done := _already_there(directory, card)) is not None:  # another process has just finished it
            return done
        saved = _Saved(folder, json.dumps(dataclasses.asdict(card), sort_keys=True))
        carry = saved.read(carry_shapes(training.learner, env, params, steps=training.steps))

        def on_chunk(chunk: Chunk) -> None:
            saved.add(chunk)
            figures = {name: float(values[-1]) for name, values in chunk.curve.items() if len(values)}
            if writer is not None:
                for name, value in figures.items():
                    writer.add_scalar(name, value, chunk.steps)
                writer.flush()
            progress(chunk.steps, chunk.total, figures)
            if time.perf_counter() - saved.written >= SAVE_EVERY_S:
                saved.write(chunk.carry)

        trained = train(
            training.learner,
            env,
            params,
            steps=training.steps,
            seed=training.seed,
            on_chunk=on_chunk,
            carry=carry,
            variables=None if before is None else before.variables,
        )
        import jax

        card = dataclasses.replace(
            card, training_s=saved.seconds() + (0.0 if before is None else before.card.training_s)
        )
        policy = Policy(card, dataclasses.asdict(network.configuration), jax.tree.map(np.asarray, trained.variables))
        save_policy(policy, directory, curve=saved.curve)
        shutil.rmtree(folder, ignore_errors=True)
        return policy


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keeps other trainings out of a folder; a lock goes with its process, however that ends.

    Raises:
        DsegymError: another process trains there.
    """
    with open(folder / LOCK, "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = f"Another process trains in '{folder}': wait for it, or choose another directory."
            raise DsegymError(message) from None
        yield


def _versions(agent: str) -> dict[str, str]:
    """Of this package, JAX, the learner's libraries and the sources."""
    from importlib.metadata import version

    return {**versions(), **{library: version(library) for library in load_learner(agent).libraries}}


def _already_there(directory: Path, card: Card) -> Policy | None:
    """The policy in a directory, if it is of the same training; None where nothing is."""
    if not (directory / CARD).is_file():
        check_free(directory)
        return None
    policy = load_policy(directory)
    differing = _differing(dataclasses.asdict(policy.card), dataclasses.asdict(card), ("training_s", "energy_j"))
    if differing:
        raise DsegymError(f"'{directory}' holds a policy of another training ({differing}); choose another directory.")
    return policy


def _differing(one: Mapping[str, Any], other: Mapping[str, Any], without: tuple[str, ...] = ()) -> str:
    """The first thing that differs, in words; empty where nothing does."""
    for key, value in one.items():
        if key not in without and value != other.get(key):
            if isinstance(value, Mapping) and isinstance(other.get(key), Mapping):
                return _differing(value, other[key]) or f"{key} has more"
            return f"{key} {shortened(value)}, now {shortened(other.get(key))}"
    return ""


class _Saved:
    """What a training has left in its folder, and its curve."""

    def __init__(self, folder: Path, request: str):
        self.folder, self.request = folder, request
        self.curve: dict[str, list[float]] = {}
        self.before = 0.0  # seconds, of the runs before this one
        self.begun = self.written = time.perf_counter()
        self.steps = 0

    def seconds(self) -> float:
        """Of training, compilation and all, in all runs but for what their ends lost."""
        return self.before + time.perf_counter() - self.begun

    def read(self, shapes: Carry) -> Carry | None:
        """The carry of the last checkpoint, of these shapes; None where there is none.

        Raises:
            DsegymError: it is of other settings or versions, or damaged.
        """
        import jax

        path = self.folder / CHECKPOINT
        if not path.exists():
            return None
        metadata = metadata_of(path, self.folder)
        try:
            held, now = (strict_json(text) for text in (metadata["request"], self.request))
            self.before, names = float(metadata["seconds"]), strict_json(metadata["curve"])
            if not isinstance(held, dict) or not 0 <= self.before < math.inf:
                raise ValueError("no request, or no seconds")
        except (KeyError, TypeError, ValueError):
            raise CorruptResultError(f"{path}: it is no checkpoint of a training; remove it to begin anew.") from None
        if held != now:
            raise DsegymError(
                f"'{self.folder}' holds an unfinished training of other settings ({_differing(held, now)}): choose "
                "another directory, or remove it to begin anew."
            )
        arrays = arrays_from(path, self.folder)
        leaves, structure = jax.tree.flatten(shapes)
        found = [arrays.get(f"carry/{number}") for number in range(len(leaves))]
        for leaf, array in zip(leaves, found, strict=True):
            if array is None or (array.shape, array.dtype) != (leaf.shape, leaf.dtype):
                raise CorruptResultError(f"{path}: it lacks a part of the training; remove it to begin anew.")
        try:
            self.curve = {name: arrays[f"curve/{name}"].tolist() for name in names}
            self.steps = int(self.curve["steps"][-1])
            curve_text(self.curve)
        except (IndexError, KeyError, TypeError, ValueError):
            raise CorruptResultError(f"{path}: it lacks the curve of the training; remove it to begin anew.") from None
        return jax.tree.unflatten(structure, found)

    def add(self, chunk: Chunk) -> None:
        """Notes the figures of a chunk."""
        count = max((len(values) for values in chunk.curve.values()), default=0)
        stride = chunk.steps - self.steps
        steps = [self.steps + stride * (place + 1) // count for place in range(count)] if count else []
        self.curve.setdefault("steps", []).extend(map(float, steps))
        for name, values in chunk.curve.items():
            self.curve.setdefault(name, []).extend(np.asarray(values, np.float64).tolist())
        self.steps = chunk.steps

    def write(self, carry: Carry) -> None:
        """Writes a checkpoint, by one rename, and the curve.

        Raises:
            OSError: the disk is full, say; the checkpoint before stays.
        """
        import jax

        leaves = {f"carry/{number}": np.asarray(leaf) for number, leaf in enumerate(jax.tree.leaves(carry))}
        leaves |= {f"curve/{name}": np.asarray(values) for name, values in self.curve.items()}
        metadata = {"request": self.request, "seconds": repr(self.seconds()), "curve": json.dumps(list(self.curve))}
        write_by_rename(self.folder / CHECKPOINT, bytes_of(leaves, metadata))
        write_by_rename(self.folder / CURVE, curve_text(self.curve).encode())
        self.written = time.perf_counter()
