"""Recorded outcomes: how often each problem was solved when it was tried, and at which price.

`load_outcomes` reads the package's data sets and files of the user's in one form, `Outcomes`: counts of attempts and
successes for each problem. Replaying them draws without replacement: of n recorded attempts with s successes left, the
next one succeeds with probability s / n, so that an episode never meets a recorded attempt twice.

What a user's file may be: `logs.py`.

What else was recorded (which tests a sample passes, nodes of a tree, 41 models): `human_eval`, `game24_nodes`,
`gsm8k_models`, `gsm8k_verifier`, `alfworld`, `tau_airline`. Sources and licences: SOURCES.md.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..errors import UnknownNameError
from ..files import is_path
from ..tables import package_rows
from .logs import read_log
from .splits import split_indices, split_sizes

__all__ = [
    "DATASETS",
    "Outcomes",
    "Retries",
    "Systems",
    "TreeNodes",
    "UnitTests",
    "alfworld",
    "bits",
    "dataset_names",
    "dataset_rows",
    "game24_nodes",
    "gsm8k_models",
    "gsm8k_verifier",
    "human_eval",
    "is_outcome_file",
    "load_outcomes",
    "tau_airline",
]


@dataclass(frozen=True)
class Outcomes:
    """Counts of a data set. Q problems.

    Attributes:
        name: of the data set.
        problems: their names.
        attempts: int32[Q], recorded attempts.
        successes: int32[Q], of those.
        tokens_right, tokens_wrong: float32[Q], mean tokens of a successful and of a failed attempt; the mean of all of
            a problem's attempts where there was none of a kind; all 1 where tokens are unknown.
        source: where it comes from, one line.
        split_by: problems are split by the hash of this and their own name: the data set's name, or nothing for a
            user's file, so that a renamed file, or another model's log of the same problems, has the same split.
    """

    name: str
    problems: tuple[str, ...]
    attempts: np.ndarray
    successes: np.ndarray
    tokens_right: np.ndarray
    tokens_wrong: np.ndarray
    source: str
    split_by: str | None = None

    def __len__(self) -> int:
        return len(self.problems)

    @property
    def split_sizes(self) -> dict[str, int]:
        """{split: problems}."""
        return split_sizes(self.name if self.split_by is None else self.split_by, self.problems)

    @property
    def tells_tokens(self) -> bool:
        """Whether the tokens of attempts are known."""
        return bool(((self.tokens_right != 1) | (self.tokens_wrong != 1)).any())

    def split(self, split: str) -> Outcomes:
        """The problems of a split: `train`, `validation` or `test`."""
        chosen = split_indices(self.name if self.split_by is None else self.split_by, self.problems, split)
        return replace(
            self,
            problems=tuple(self.problems[place] for place in chosen),
            attempts=self.attempts[chosen],
            successes=self.successes[chosen],
            tokens_right=self.tokens_right[chosen],
            tokens_wrong=self.tokens_wrong[chosen],
        )


@dataclass(frozen=True)
class UnitTests:
    """HumanEval: 164 problems, 100 samples each, up to 32 tests that the model wrote.

    Attributes:
        tests: int32[164], generated tests.
        valid: bool[164, 32], whether the reference solution passes a test.
        correct: bool[164, 100], by the official tests.
        passed: bool[164, 100, 32], whether a sample passes a generated test; False beyond `tests`.
        group: int32[164, 100], samples of a problem with equal `passed` share a number, from 0 by first appearance;
            programs that do not load are with those that pass no test.
        tokens: int32[164, 100], words and punctuation marks of a sample.
    """

    tests: np.ndarray
    valid: np.ndarray
    correct: np.ndarray
    passed: np.ndarray
    group: np.ndarray
    tokens: np.ndarray


@dataclass(frozen=True)
class TreeNodes:
    """Game of 24: the nodes that a tree search by GPT-4 proposed. N nodes, 100 puzzles.

    Attributes:
        puzzle: int32[N], 900 to 999.
        depth: int32[N], 1 to 3.
        node, parent: int32[N], numbers within puzzle and depth; the parent is at depth - 1, -1 for the root.
        kept: bool[N], by the beam of 5.
        value: float64[N], the sum of three votes: sure 20, likely 1, impossible 0.001.
        left: tuple of N texts, the numbers that are left.
        solvable: int32[N], 1 if 24 can still be reached, 0 if not, -1 if the text is no list of numbers.
        legal: bool[N], whether the move is right arithmetic; False where it cannot be read.
    """

    puzzle: np.ndarray
    depth: np.ndarray
    node: np.ndarray
    parent: np.ndarray
    kept: np.ndarray
    value: np.ndarray
    left: tuple[str, ...]
    solvable: np.ndarray
    legal: np.ndarray


@dataclass(frozen=True)
class Systems:
    """Models on one set of questions. M models, 1,319 questions of GSM8K.

    Attributes:
        names: of the models.
        parameters_billion: float64[M], not a number where a name does not tell.
        samples: int32[M], drawn for each answer.
        correct: bool[M, 1319].
        characters: int32[M, 1319], of the output; None where unknown.
    """

    names: tuple[str, ...]
    parameters_billion: np.ndarray
    samples: np.ndarray
    correct: np.ndarray
    characters: np.ndarray | None


@dataclass(frozen=True)
class Retries:
    """ALFWorld: 134 tasks. The trial, from 0, in which each was solved; -1 for never.

    Attributes:
        retry: int32[134], plain retries, `retry_trials` of them.
        reflection: int32[134], retries after reflection, `reflection_trials` of them.
    """

    retry: np.ndarray
    reflection: np.ndarray
    retry_trials: int = 7
    reflection_trials: int = 15


def bits(text: str, count: int) -> np.ndarray:
    """bool[count]: a row of bits from hexadecimal digits, the first bit first, padded at its end."""
    packed = np.frombuffer(bytes.fromhex(text + "0" * (len(text) % 2)), np.uint8)
    return np.unpackbits(packed)[:count].astype(bool)


def _integers(text: str) -> list[int]:
    return [int(word) for word in text.split()]


@functools.cache
def human_eval() -> UnitTests:
    """CodeGen-16B on HumanEval (CodeT's completions), run once."""
    table = package_rows("reasoning/tables/humaneval.csv")
    passed, group = [], []
    for row in table:
        distinct = np.stack([bits(word, 32) for word in row["verdicts"].split()])
        group.append(_integers(row["verdicts_of_sample"]))
        passed.append(distinct[group[-1]])
    return UnitTests(
        tests=np.array([int(row["tests"]) for row in table], np.int32),
        valid=np.stack([bits(row["valid_tests"], 32) for row in table]),
        correct=np.stack([bits(row["correct"], 100) for row in table]),
        passed=np.stack(passed),
        group=np.array(group, np.int32),
        tokens=np.array([_integers(row["tokens"]) for row in table], np.int32),
    )


@functools.cache
def game24_nodes() -> TreeNodes:
    """GPT-4's tree of thoughts on Game of 24, breadth 5."""
    table = package_rows("reasoning/tables/game24_nodes.csv")

    def column(name: str) -> np.ndarray:
        return np.array([int(row[name]) for row in table], np.int32)

    return TreeNodes(
        puzzle=column("puzzle"),
        depth=column("depth"),
        node=column("node"),
        parent=column("parent"),
        kept=column("kept") == 1,
        value=column("value_thousandths") / 1000,
        left=tuple(row["left"] for row in table),
        solvable=column("solvable"),
        legal=column("legal") == 1,
    )


@functools.cache
def gsm8k_models() -> Systems:
    """41 models on GSM8K, one greedy answer each (ZeroEval)."""
    table = package_rows("reasoning/tables/gsm8k_models.csv")
    return Systems(
        names=tuple(row["model"] for row in table),
        parameters_billion=np.array([float(row["parameters_billion"] or math.nan) for row in table]),
        samples=np.ones(len(table), np.int32),
        correct=np.stack([bits(row["correct"], 1319) for row in table]),
        characters=np.array([_integers(row["characters"]) for row in table], np.int32),
    )


@functools.cache
def gsm8k_verifier() -> Systems:
    """GPT-3 6B and 175B on GSM8K, fine-tuned, and with a verifier that picks the best of 100."""
    table = package_rows("reasoning/tables/gsm8k_verifier.csv")
    return Systems(
        names=tuple(row["system"] for row in table),
        parameters_billion=np.array([float(row["parameters_billion"]) for row in table]),
        samples=np.array([int(row["samples"]) for row in table], np.int32),
        correct=np.stack([bits(row["correct"], 1319) for row in table]),
        characters=None,
    )


@functools.cache
def alfworld() -> Retries:
    """Reflexion's agents on ALFWorld."""
    table = package_rows("reasoning/tables/alfworld.csv")
    return Retries(
        retry=np.array([int(row["retry_solved_at"]) for row in table], np.int32),
        reflection=np.array([int(row["reflection_solved_at"]) for row in table], np.int32),
    )


@functools.cache
def tau_airline() -> np.ndarray:
    """bool[50, 4]: whether GPT-4o solved a task of tau-bench's airline in each of four trials."""
    return np.array(
        [[digit == "1" for digit in row["successes"]] for row in package_rows("reasoning/tables/tau_airline.csv")]
    )


def _human_eval_counts() -> Outcomes:
    table = human_eval()
    return _from_samples(
        "humaneval",
        [str(i) for i in range(164)],
        table.correct,
        table.tokens.astype(float),
        "CodeT: CodeGen-16B on HumanEval",
    )


def _game24_counts(column: str) -> Outcomes:
    table = package_rows("reasoning/tables/game24_samples.csv")
    correct = np.stack([bits(row[column], 100) for row in table])
    spent = np.array([float(row[f"{column}_tokens"]) / 100 for row in table])
    spent = np.where(spent > 0, spent, spent[spent > 0].mean())  # puzzle 932's chain of thought is logged below zero
    return _from_samples(
        f"game24_{column}",
        [row["puzzle"] for row in table],
        correct,
        np.repeat(spent[:, None], 100, axis=1),
        "Tree of Thoughts: GPT-4 on Game of 24",
    )


def _tau_counts() -> Outcomes:
    table = package_rows("reasoning/tables/tau_airline.csv")
    characters = np.array([_integers(row["characters"]) for row in table], float)
    return _from_samples(
        "tau_airline", [row["task"] for row in table], tau_airline(), characters / 4, "tau-bench: GPT-4o, airline"
    )


def _from_samples(name: str, problems: list[str], correct: np.ndarray, tokens: np.ndarray, source: str) -> Outcomes:
    """Counts and mean tokens of single attempts, [Q, attempts]."""
    return Outcomes(
        name,
        tuple(problems),
        np.full(len(problems), correct.shape[1], np.int32),
        correct.sum(1).astype(np.int32),
        _means(tokens, correct),
        _means(tokens, ~correct),
        source,
    )


def _means(tokens: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """float32[Q]: means over the chosen attempts; a problem's mean over all of them where it has none; 1 at least."""
    count = chosen.sum(1)
    mean = np.where(count, (tokens * chosen).sum(1) / np.maximum(count, 1), tokens.mean(1))
    return np.maximum(mean, 1.0).astype(np.float32)


# Name: makes it. Tokens are words and marks (humaneval), model tokens (game24), a quarter of characters (tau_airline).
DATASETS: Mapping[str, Callable[[], Outcomes]] = {
    "humaneval": _human_eval_counts,
    "game24_chain_of_thought": lambda: _game24_counts("chain_of_thought"),
    "game24_direct": lambda: _game24_counts("direct"),
    "tau_airline": _tau_counts,
}


def dataset_names() -> tuple[str, ...]:
    """The package's data sets of attempts."""
    return tuple(DATASETS)


def is_outcome_file(name: str) -> bool:
    """Whether a name is that of a file of the user's."""
    return name not in DATASETS and is_path(name)


def load_outcomes(name: str) -> Outcomes:
    """Outcomes by name, or from a user's file (`logs.py`).

    Raises:
        UnknownNameError: neither a data set nor a path.
        InvalidWorkloadError: the file cannot be read; the message names the line.
    """
    if name in DATASETS:
        return DATASETS[name]()
    if not is_outcome_file(name):
        raise UnknownNameError("data set", name, [*DATASETS, "the path of a file"])
    log = read_log(Path(name))
    known = np.where(log.tokens > 0, log.tokens, 1.0)
    return Outcomes(
        log.name,
        log.problems,
        log.attempts.astype(np.int32),
        log.successes.astype(np.int32),
        known[0].astype(np.float32),
        known[1].astype(np.float32),
        log.source,
        split_by="",
    )


def dataset_rows() -> list[dict[str, object]]:
    """The shipped data sets, a row each, for people."""
    return [
        {
            "data": name,
            "problems": len(found),
            "train": len(found.split("train")),
            "test": len(found.split("test")),
            "attempts": int(found.attempts.min()),
            "solved at once": round(float((found.successes / found.attempts).mean()), 3),
            "source": found.source,
        }
        for name in dataset_names()
        for found in [load_outcomes(name)]
    ]
