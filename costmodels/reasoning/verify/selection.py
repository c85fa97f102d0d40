"""Choosing one answer out of S samples: by verdicts on each, by agreement, or by both. What it costs: S (1 + lambda V).

Singhi et al., "When To Solve, When To Verify" (nishadsinghi/sc-genrm-scaling): costs and estimators. On HumanEval a
verdict is whether a sample passes a test that the model itself wrote, and samples agree that pass the same tests.
Plain NumPy, float64. Q problems, N recorded samples, S drawn ones, V verdicts on each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ..outcomes import UnitTests

__all__ = [
    "SELECTORS",
    "best_of",
    "compute",
    "human_eval_accuracy",
    "self_consistency",
]


def compute(samples: float, verdicts: float, verify_cost: float) -> float:
    """C(S, V) = S (1 + lambda V), in units of one sample."""
    return samples * (1 + verify_cost * verdicts)


def best_of(scores: np.ndarray, correct: np.ndarray, samples: int) -> np.ndarray:
    """float64[Q]: the expected correctness of the best-scored of S samples drawn from N, ties at random: exact.

    Sorted by score, the i-th sample is the best of the draw with probability C(N - i, S - 1) / C(N, S).

    Args:
        scores: float64[Q, N].
        correct: bool[Q, N].
        samples: S, from 1 to N.
    """
    count = scores.shape[1]
    order = np.argsort(-scores, axis=1, kind="stable")
    ranked = np.take_along_axis(scores, order, 1)
    worth = np.take_along_axis(correct.astype(float), order, 1)
    for row, values in zip(worth, ranked, strict=True):  # tied samples share their mean
        starts = np.flatnonzero(np.concatenate([[True], np.diff(values) != 0]))
        sizes = np.diff(np.append(starts, count))
        row[:] = np.repeat(np.add.reduceat(row, starts) / sizes, sizes)
    chance = np.empty(count)
    chance[0] = samples / count
    for i in range(1, count):  # C(N - i - 1, S - 1) over C(N - i, S - 1)
        chance[i] = chance[i - 1] * max(count - samples - i + 1, 0) / (count - i)
    return worth @ chance


# Name: the score of a sample from the size of its group and the verdicts that are yes.
SELECTORS: Mapping[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "verdicts": lambda size, yes: yes,
    "agreement": lambda size, yes: size,
    "weighted": lambda size, yes: size * yes,  # the sum of a group's verdicts
    "agreement_and_verdicts": lambda size, yes: np.sqrt(size) * yes,
}


def human_eval_accuracy(
    table: UnitTests, *, samples: int, tests: int, selector: str, replications: int, seed: int
) -> np.ndarray:
    """float64[Q]: the correctness of the chosen sample: S samples and V of a problem's tests drawn, ties at random.

    A problem with fewer tests has all of them run; one without any has all its samples tied.

    Args:
        table: HumanEval.
        samples: S.
        tests: V.
        selector: one of `SELECTORS`.
        replications: draws of each problem.
        seed: of the draws.
    """
    generator, score = np.random.default_rng(seed), SELECTORS[selector]
    found = np.zeros((len(table.tests), replications))
    for problem, count in enumerate(table.tests):
        for replication in range(replications):
            chosen = generator.choice(table.correct.shape[1], samples, replace=False)
            run = generator.choice(count, min(tests, count), replace=False) if count else np.zeros(0, int)
            passed = table.passed[problem, chosen][:, run]
            signature = passed @ (1 << np.arange(len(run), dtype=np.int64))
            _, group, sizes = np.unique(signature, return_inverse=True, return_counts=True)
            scores = score(sizes[group].astype(float), passed.sum(1).astype(float))
            best = chosen[scores >= scores.max() - 1e-9]
            found[problem, replication] = table.correct[problem, best].mean()
    return found.mean(1)


def self_consistency(answers: np.ndarray, samples: int, generator: np.random.Generator) -> float:
    """The share of problems whose most frequent answer among S samples is right (answer 0), ties at random.

    Args:
        answers: int[Q, N].
        samples: S, the first S are taken.
        generator: of ties.
    """
    counts = np.stack([np.bincount(row, minlength=answers.max() + 1) for row in answers[:, :samples]])
    return float(np.mean((counts + generator.random(counts.shape)).argmax(1) == 0))
