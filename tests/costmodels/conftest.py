"""Fixtures of the cost model tests: the oracle beside them, and the folder of outside data."""

import importlib
import os
from pathlib import Path

import jax
import numpy as np
import pytest

from dsegym.costmodels import wide
from dsegym.costmodels.accelerator import model
from dsegym.costmodels.accelerator.platforms import get_platform
from dsegym.costmodels.accelerator.workloads import LayerArrays

REPOSITORY = Path(__file__).resolve().parents[2]
# Sizes that every call is filled up to, so that one compiled program serves all tests.
PAIRS, NETWORK_DESIGNS, NETWORK_ROWS = 64, 16, 56


@pytest.fixture(scope="session")
def oracle():
    """The plain Python model of `accelerator_oracle.py`."""
    return importlib.import_module("accelerator_oracle")


@pytest.fixture(scope="session")
def shared_data():
    """The folder of outside measurements; DSEGYM_SHARED_DATA names another one than `../shared/data`."""
    folder = Path(os.environ.get("DSEGYM_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the outside data is not there: {folder} (set DSEGYM_SHARED_DATA)")
    return folder


@pytest.fixture(scope="session")
def run_pairs():
    """Costs of pairs of a design and a product: (designs, products, platform name) -> {count: int64[B]}, efficiency."""
    evaluate = jax.jit(jax.vmap(model.evaluate_layers, in_axes=(0, 0, None)), static_argnums=2)

    def run(designs, products, platform):
        assert len(designs) == len(products)
        parts = []
        for start in range(0, len(designs), PAIRS):  # blocks of one size, so that it compiles once
            block, rows = designs[start : start + PAIRS], products[start : start + PAIRS]
            missing = PAIRS - len(block)
            rows = [(p.m, p.n, p.k, p.ifmap_words, p.count) for p in [*rows, *rows[:1] * missing]]
            layers = LayerArrays(*np.array(rows, np.int32).T[:, :, None])
            parts.append(
                jax.device_get(evaluate(hardware([*block, *block[:1] * missing]), layers, get_platform(platform)))
            )
        exact = {
            name: np.concatenate([wide.to_int64(getattr(part, name))[:, 0] for part in parts])[: len(designs)]
            for name in model.LayerCosts._fields[:-1]
        }
        return exact, np.concatenate([part.mapping_efficiency[:, 0] for part in parts])[: len(designs)]

    return run


@pytest.fixture(scope="session")
def run_network():
    """Costs of designs on a network: (designs, layers, platform name) -> `Metrics` [B], exact counts as int64."""
    evaluate = jax.jit(jax.vmap(model.evaluate, in_axes=(0, None, None)), static_argnums=2)

    def run(designs, layers, platform):
        filler = np.array([[1], [1], [1], [1], [0]], np.int32).repeat(NETWORK_ROWS - len(layers.m), axis=1)
        layers = LayerArrays(*np.concatenate([np.array(layers), filler], axis=1))
        padded = [*designs, *designs[:1] * (NETWORK_DESIGNS - len(designs))]
        metrics = jax.device_get(evaluate(hardware(padded), layers, get_platform(platform)))
        exact = {
            name: wide.to_int64(value) for name, value in metrics._asdict().items() if isinstance(value, wide.Wide)
        }
        return jax.tree.map(lambda values: values[: len(designs)], metrics._replace(**exact))

    return run


@pytest.fixture(scope="session")
def hardware_of():
    """The library's `Hardware`, int32[B] a field, of a list of the oracle's designs."""
    return hardware


def hardware(designs):
    columns = {name: [getattr(design, name) for design in designs] for name in model.Hardware._fields[:-1]}
    columns["dataflow"] = [model.DATAFLOWS.index(design.dataflow) for design in designs]
    return model.Hardware(**{name: np.array(values, np.int32) for name, values in columns.items()})
