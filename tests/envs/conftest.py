"""Fixtures of the environment tests: a small instance of each kind, and a third party's sequential scenario."""

import importlib.util
import sys
from pathlib import Path

import pytest

import dsegym

SIZING = "dsegym/AcceleratorSizing-v0"
TOY = "toy/Staircase-v0"


@pytest.fixture(scope="session")
def problem():
    """An accelerator instance that is quick to cost."""
    return dsegym.make_problem(SIZING, workload="alexnet", objective="edp", area_budget="small")


@pytest.fixture(scope="session")
def staircase():
    """The toy scenario's module, registered as another package would do it."""
    specification = importlib.util.spec_from_file_location("staircase", Path(__file__).with_name("staircase.py"))
    module = importlib.util.module_from_spec(specification)
    sys.modules["staircase"] = module
    specification.loader.exec_module(module)
    dsegym.register(TOY, "staircase:SCENARIO")
    return module


@pytest.fixture(scope="session")
def toy(staircase):
    """The toy's deterministic instance."""
    return dsegym.make_problem(TOY, start="fixed")


@pytest.fixture(scope="session")
def noisy_toy(staircase):
    """The toy whose episodes start at random."""
    return dsegym.make_problem(TOY, start="random")
