"""A solver and a verifier that make errors: the synthetic generator of solve-or-verify problems.

A problem has a chance p ~ Beta(0.6, 0.7) that a sample is right (answer 0); wrong samples spread over 20 answers with
Zipf(1) weights. A verdict on a sample is yes with probability sigmoid(x):

    right:  x = logit(tc) + sp e(problem) + ss e(solution)
    wrong:  x = logit(tw) + sa e(problem, answer) + ss e(solution),  e standard normal

With tc = 0.8, tw = 0.4, sp = 0.6, sa = 1, ss = 0.6, verification needs several times the compute of self-consistency to
match it, which is what Singhi et al. report ("up to 8 times"). All of it is synthetic. NumPy.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .selection import best_of, compute, self_consistency

__all__ = [
    "ANSWERS",
    "PRESET",
    "Verifier",
    "draw_problems",
    "logit",
    "match_ratio",
    "preset_rows",
    "wrong_answer_weights",
]

ANSWERS = 21  # the right one, and 20 wrong ones
PRIOR = (0.6, 0.7)  # Beta distribution of p


class Verifier(NamedTuple):
    """Rates of yes at the mean of all noise, and deviations of the noise, in logits."""

    yes_if_right: float = 0.80  # tc
    yes_if_wrong: float = 0.40  # tw
    problem: float = 0.6  # sp
    answer: float = 1.0  # sa
    solution: float = 0.6  # ss


PRESET = Verifier()


class Problems(NamedTuple):
    """Q problems, N samples of each."""

    p: np.ndarray  # float64[Q]
    answers: np.ndarray  # int64[Q, N], 0 is right
    yes: np.ndarray  # float64[Q, N], the probability of yes for each sample


def wrong_answer_weights() -> np.ndarray:
    """float64[20]: shares of the wrong answers among wrong samples."""
    weights = 1 / np.arange(1.0, ANSWERS)
    return weights / weights.sum()


def draw_problems(verifier: Verifier, *, problems: int, samples: int, seed: int) -> Problems:
    """Problems with their samples and the verifier's inclinations."""
    generator = np.random.default_rng(seed)
    p = generator.beta(*PRIOR, problems)
    wrong = 1 + generator.choice(ANSWERS - 1, (problems, samples), p=wrong_answer_weights())
    answers = np.where(generator.random((problems, samples)) < p[:, None], 0, wrong)
    of_answer = verifier.answer * generator.standard_normal((problems, ANSWERS))
    of_answer[:, 0] = verifier.problem * generator.standard_normal(problems)
    base = np.where(answers == 0, logit(verifier.yes_if_right), logit(verifier.yes_if_wrong))
    logits = base + np.take_along_axis(of_answer, answers, 1)
    logits = logits + verifier.solution * generator.standard_normal(answers.shape)
    return Problems(p, answers, 1 / (1 + np.exp(-logits)))


def logit(rate: float) -> float:
    """ln(rate / (1 - rate)), the rate kept a millionth away from 0 and 1."""
    rate = min(max(rate, 1e-6), 1 - 1e-6)
    return float(np.log(rate / (1 - rate)))


class Match(NamedTuple):
    """How verification compares with self-consistency."""

    self_consistency: float  # plateau, accuracy
    self_consistency_compute: float  # where it is reached, samples
    best_verified: float  # the best accuracy of best-of-S
    ratio: float  # compute at which best-of-S first matches the plateau, over the above; infinite if it never does


def match_ratio(
    verifier: Verifier, *, verify_cost: float, problems: int, seed: int, samples: int = 256, most_verdicts: int = 32
) -> Match:
    """How much more compute best-of-S by mean verdict needs to reach self-consistency's plateau."""
    drawn = draw_problems(verifier, problems=problems, samples=samples, seed=seed)
    generator = np.random.default_rng([seed, 1])
    sizes = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256]
    sizes = [size for size in sizes if size <= samples]
    curve = np.array([np.mean([self_consistency(drawn.answers, s, generator) for _ in range(4)]) for s in sizes])
    plateau = float(curve[-4:].mean())
    reached = sizes[int(np.argmax(curve >= plateau - 0.01))]
    right, verified = drawn.answers == 0, []
    verdicts = 1
    while verdicts <= most_verdicts:
        scores = generator.binomial(verdicts, drawn.yes) / verdicts
        verified += [
            (compute(size, verdicts, verify_cost), float(best_of(scores, right, size).mean())) for size in sizes
        ]
        verdicts *= 2
    matching = [spent for spent, accuracy in verified if accuracy >= plateau - 0.01]
    best = max(accuracy for _, accuracy in verified)
    return Match(plateau, reached, best, min(matching, default=np.inf) / reached)


def preset_rows() -> list[dict[str, object]]:
    """The synthetic verifier's constants, a row each, for people."""
    return [{"constant": name, "value": value} for name, value in PRESET._asdict().items()]
