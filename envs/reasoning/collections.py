"""Collections of the reasoning families: budgets and worlds to train on, others to be tested on.

Test parts have values between those of training and values beyond them; recorded problems are split as everywhere,
so that scores are taken on problems that no training has seen. `dsegym/ReasoningServe-v0` has no decisions to learn.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from ..core.collections import Collection

__all__ = [
    "BATCH_DATA_SETS",
    "BATCH_VERIFIERS",
    "CASCADE_BUDGETS",
    "SLEEP_CONTEXTS",
    "SOLVE_VERIFY_BUDGETS",
    "SOLVE_VERIFY_SYNTHETIC",
    "SUB_QUESTION_PLANS",
    "TREE_GAME24",
    "TREE_STEPS",
]

Rows = Sequence[Mapping[str, object]]


def _grid(**values: Sequence[object]) -> Rows:
    """Every combination of options."""
    return [dict(zip(values, each, strict=True)) for each in itertools.product(*values.values())]


CASCADE_BUDGETS = Collection(
    name="cascade-budgets",
    scenario="dsegym/ReasoningCascade-v0",
    summary="cascades of models at budgets between and beyond those trained on; questions of the test part are others",
    train=lambda: _grid(budget=(2, 4, 8, 16, 32, 64)),
    validation=lambda: _grid(budget=(3, 24)),
    test=lambda: _grid(budget=(5, 10, 20, 50, 100)),
)
BATCH_VERIFIERS = Collection(
    name="batch-verifiers",
    scenario="dsegym/BatchBestOfN-v0",
    summary="batches of synthetic questions under verifiers that err; test: the measured verifier, twice the budget",
    train=lambda: _grid(verifier=("0.9/0.05", "0.8/0.2", "0.6/0.1", "0.5/0.2"), samples=(1, 2, 4, 8), hint=(0.5, 1, 2)),
    validation=lambda: _grid(verifier=("0.7/0.15",), samples=(3, 6), hint=(0.7,)),
    test=lambda: [
        *_grid(verifier=("noisy", "0.7/0.1"), samples=(3, 6, 16), hint=(1.5,)),
        *_grid(verifier=("noisy", "0.95/0.4"), samples=(4,), hint=(0.2, 5)),
    ],
)
BATCH_DATA_SETS = Collection(
    name="batch-data-sets",
    scenario="dsegym/BatchBestOfN-v0",
    summary="batches of recorded questions that a perfect verifier checks; test: other questions, other data sets",
    train=lambda: _grid(data=("humaneval",), samples=(1, 2, 4, 8), hint=(0.5, 1, 2)),
    validation=lambda: _grid(data=("humaneval",), samples=(3,), hint=(0.7, 1.5)),
    test=lambda: [
        *_grid(data=("humaneval",), samples=(6, 16), hint=(0.7, 5)),
        *_grid(data=("game24_chain_of_thought", "game24_direct"), samples=(4, 16), hint=(1,)),
    ],
)


def _solve_verify(name: str, summary: str, fixed: Mapping[str, Sequence[object]]) -> Collection:
    """Budgets, costs of a verdict and prices, with fixed options beside them."""
    return Collection(
        name=name,
        scenario="dsegym/SolveVerify-v0",
        summary=summary,
        train=lambda: _grid(**fixed, budget=(4, 8, 16, 32), verify_cost=(0.25, 0.5, 1, 2), price=(0, 0.1)),
        validation=lambda: _grid(**fixed, budget=(6, 24), verify_cost=(0.7,), price=(0.05,)),
        test=lambda: [
            *_grid(**fixed, budget=(12, 24, 48), verify_cost=(0.35, 1.5), price=(0, 0.05)),
            *_grid(**fixed, budget=(16,), verify_cost=(0.15, 4), price=(0, 0.2)),
        ],
    )


SOLVE_VERIFY_BUDGETS = _solve_verify(
    "solve-verify-budgets",
    "programs with recorded tests at several budgets and prices; test: other problems, budgets, prices",
    {},
)
SOLVE_VERIFY_SYNTHETIC = _solve_verify(
    "solve-verify-synthetic",
    "a synthetic solver and verifier at several budgets and prices; test: between and beyond them",
    {"data": ("genrm",)},
)


def _tree_search(name: str, summary: str, tree: str) -> Collection:
    """Widths and prices of the cache, of one kind of trees."""
    return Collection(
        name=name,
        scenario="dsegym/TreeSearch-v0",
        summary=summary,
        train=lambda: _grid(tree=(tree,), width=(4, 8, 16), price=(0, 0.05, 0.1, 0.2)),
        validation=lambda: _grid(tree=(tree,), width=(6, 12), price=(0.15,)),
        test=lambda: [
            *_grid(tree=(tree,), width=(5, 10, 14), price=(0.02, 0.15)),
            *_grid(tree=(tree,), width=(2, 32), price=(0.1,)),
            *_grid(tree=(tree,), width=(10,), price=(0.5,)),
        ],
    )


TREE_STEPS = _tree_search(
    "tree-steps",
    "synthetic reasoning steps at several widths and prices of the cache; test: between and beyond them",
    "steps",
)
TREE_GAME24 = _tree_search(
    "tree-game24",
    "the Game of 24 at several widths and prices of the cache; test: other hands, between and beyond them",
    "game24",
)
SLEEP_CONTEXTS = Collection(
    name="sleep-contexts",
    scenario="dsegym/SleepTime-v0",
    summary="contexts that differ in budget, predictability, noise of hints and price; test: between and beyond them",
    train=lambda: _grid(
        budget=(2000, 4000, 8000, 16000),
        predictability=("mixed", "low", "high"),
        hint_noise=(0, 0.1, 0.3),
        price=(3, 10),
    ),
    validation=lambda: _grid(budget=(3000, 12000), predictability=(0.5,), hint_noise=(0.2,), price=(5,)),
    test=lambda: [
        *_grid(budget=(3000, 6000, 12000), predictability=("mixed", 0.3, 0.7), hint_noise=(0.2,), price=(6,)),
        *_grid(budget=(1000, 32000), predictability=("mixed",), hint_noise=(0.1,), price=(10,)),
        *_grid(budget=(8000,), predictability=("mixed",), hint_noise=(0.1, 1), price=(1, 30)),
    ],
)
SUB_QUESTION_PLANS = Collection(
    name="sub-question-plans",
    scenario="dsegym/SubQuestionBudget-v0",
    summary="plans that differ in budget, world and the errors of credits; test: between, beyond, another world",
    train=lambda: _grid(
        world=("measured", "decreasing", "equal"), budget=(0.5, 1, 2), credit_noise=(0, 0.15, 0.3), spread_beta=(0, 0.5)
    ),
    validation=lambda: _grid(world=("measured",), budget=(0.7, 1.5), credit_noise=(0.2,), spread_beta=(0.3,)),
    test=lambda: [
        *_grid(world=("measured", "decreasing"), budget=(0.7, 1.5), credit_noise=(0.1,), spread_beta=(0.3,)),
        *_grid(world=("measured",), budget=(0.25, 4), credit_noise=(0.3,), spread_beta=(0.5,)),
        *_grid(world=("measured", "increasing"), budget=(1,), credit_noise=(0.3, 0.6), spread_beta=(1,)),
    ],
)
