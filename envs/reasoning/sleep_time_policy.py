"""The designs of dsegym/SleepTime-v0: the parameters of its policy, and the heuristics among them.

What they mean: the docstring of `sleep_time.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..core.spaces import DesignSpace, Parameter

__all__ = ["BASELINES", "NEUTRAL", "SPACE", "design_of"]

SPACE = DesignSpace(
    (
        Parameter(
            "sleep_share",
            (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
            summary="of the budget that goes into sleep where the hint is 1/2",
        ),
        Parameter(
            "sleep_slope",
            (-0.4, -0.2, 0.0, 0.1, 0.2, 0.3, 0.4, 0.6),
            summary="what that grows by from a hint of 1/2 to one of 1",
        ),
        Parameter(
            "test_share",
            (0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 2.0, 2.4, 3.0, 4.0),
            summary="tokens of a query, in even shares of what sleep leaves",
        ),
        Parameter(
            "reserve",
            (0.0, 0.25, 0.5, 0.75, 1.0),
            summary="0: every query gets the same; 1: a constant part of what is left",
        ),
        Parameter(
            "difficulty_slope",
            (-1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0),
            summary="doublings of a query's tokens for each doubling of its hinted difficulty",
        ),
    )
)
NEUTRAL = {"sleep_share": 0.0, "sleep_slope": 0.0, "test_share": 1.0, "reserve": 0.0, "difficulty_slope": 0.0}
BASELINES: Mapping[str, Mapping[str, float]] = {
    "uniform": {},
    "decay": {"test_share": 2.0, "reserve": 1.0},
    "hardest_first": {"difficulty_slope": 0.5},
    "easiest_first": {"difficulty_slope": -0.5},
    "always_sleep": {"sleep_share": 0.3},
    "half": {"sleep_share": 0.5},
    "all_sleep": {"sleep_share": 1.0},
    "predictable_only": {"sleep_slope": 0.6},
    "sleep_and_decay": {"sleep_share": 0.3, "sleep_slope": 0.2, "test_share": 2.0, "reserve": 1.0},
}


def design_of(values: Mapping[str, float]) -> tuple[int, ...]:
    """The design of {parameter: value}; what is not given is neutral: no sleep, the same tokens for every query."""
    return tuple(int(index) for index in SPACE.encode({**NEUTRAL, **values}))
