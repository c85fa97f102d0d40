"""Fixtures of the environment tests: a small instance of each kind."""

import pytest

import dsegym

SIZING = "dsegym/AcceleratorSizing-v0"
TOY = "toy/Staircase-v0"


@pytest.fixture(scope="session")
def problem():
    """An accelerator instance that is quick to cost."""
    return dsegym.make_problem(SIZING, workload="alexnet", objective="edp", area_budget="small")


@pytest.fixture(scope="session")
def toy(staircase):
    """The toy's deterministic instance."""
    return dsegym.make_problem(TOY, start="fixed")


@pytest.fixture(scope="session")
def noisy_toy(staircase):
    """The toy whose episodes start at random."""
    return dsegym.make_problem(TOY, start="random")
