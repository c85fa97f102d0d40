"""The designs of dsegym/SubQuestionBudget-v0: the parameters of its policy, and the heuristics among them.

What they mean: the docstring of `sub_question_budget.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

from ...costmodels.reasoning.schedulers import SCHEDULES
from ..core.spaces import DesignSpace, Parameter

__all__ = ["BASELINES", "NEUTRAL", "SPACE", "design_of"]

SPACE = DesignSpace(
    (
        Parameter(
            "credit_exponent",
            (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0),
            summary="of a sub-question's difficulty credit in its weight",
        ),
        Parameter("schedule", tuple(SCHEDULES), ordered=False, summary="how the weight changes along the plan"),
        Parameter(
            "sharpness",
            (-2.0, -1.0, -0.5, -0.25, 0.25, 0.5, 1.0, 1.5, 2.0),
            summary="exponent of the schedule; below 0, later sub-questions weigh more",
        ),
        Parameter(
            "plan",
            ("fixed", "rounded_down", "adaptive"),
            ordered=False,
            summary="shares of the budget, the remainder to the largest or unspent; or of what is left, anew each time",
        ),
        Parameter(
            "surprise",
            (-0.5, 0.0, 0.1, 0.25, 0.5, 1.0),
            summary="adaptive: exponent of the last residual over its estimate in the next weight",
        ),
        Parameter(
            "reserve",
            (0.0, 0.1, 0.2, 0.3, 0.4),
            summary="adaptive: part of what is left that is kept for later sub-questions",
        ),
        Parameter(
            "drop_above",
            (1.25, 1.5, 1.75, 2.0, 2.5, 100.0),
            summary="sub-questions with more credit than this, in mean credits, get nothing; 100: none is dropped",
        ),
    )
)
NEUTRAL: Mapping[str, float | str] = {
    "credit_exponent": 0.0,
    "schedule": "constant",
    "sharpness": 1.0,
    "plan": "fixed",
    "surprise": 0.0,
    "reserve": 0.0,
    "drop_above": 100.0,
}
# The released schedulers go by their own names, `constant` being the credits alone.
BASELINES: Mapping[str, Mapping[str, float | str]] = {
    "uniform": {"plan": "rounded_down"},
    "remaining": {"plan": "adaptive"},
    **{name: {"credit_exponent": 1.0, "schedule": name} for name in SCHEDULES},
    "linear_alone": {"schedule": "linear"},
    "cosine_alone": {"schedule": "cosine"},
    "growth_alone": {"schedule": "linear", "sharpness": -1.0},
    "half_credits": {"credit_exponent": 0.5},
    "surprised": {"credit_exponent": 1.0, "plan": "adaptive", "surprise": 0.25},
    "drop_hardest": {"credit_exponent": 1.0, "drop_above": 1.5},
}


def design_of(values: Mapping[str, float | str]) -> tuple[int, ...]:
    """The design of {parameter: value}; what is not given is neutral: the same tokens for every sub-question."""
    return tuple(int(index) for index in SPACE.encode({**NEUTRAL, **values}))
