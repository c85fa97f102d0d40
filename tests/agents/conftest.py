"""The instance that the referee and agent tests share, so that it compiles once."""

import pytest

import dsegym


@pytest.fixture(scope="session")
def problem():
    return dsegym.make_problem(
        "dsegym/AcceleratorSizing-v0", workload="alexnet", objective="latency", area_budget="small"
    )
