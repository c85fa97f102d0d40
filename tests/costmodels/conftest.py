"""Fixtures of the cost model tests: the oracle beside them, and the folder of outside data."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def _load(name):
    """A module that lies beside the tests (pytest's importlib mode puts no test folder on the path)."""
    specification = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def oracle():
    """The plain Python model of `accelerator_oracle.py`."""
    return _load("accelerator_oracle")


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
    import jax
    import numpy as np
    from dsegym.costmodels import wide
    from dsegym.costmodels.accelerator import model
    from dsegym.costmodels.accelerator.platforms import get_platform
    from dsegym.costmodels.accelerator.workloads import LayerArrays

    evaluate = jax.jit(jax.vmap(model.evaluate_layers, in_axes=(0, 0, None)), static_argnums=2)

    def run(designs, products, platform, block=64):
        assert len(designs) == len(products)
        padding = -len(designs) % block  # so that one compiled size serves every test
        designs, products = [*designs, *designs[:1] * padding], [*products, *products[:1] * padding]
        parts = []
        for start in range(0, len(designs), block):
            hardware = hardware_arrays(designs[start : start + block])
            rows = [(p.m, p.n, p.k, p.ifmap_words, p.count) for p in products[start : start + block]]
            layers = LayerArrays(*np.array(rows, np.int32).T[:, :, None])
            parts.append(jax.device_get(evaluate(hardware, layers, get_platform(platform))))
        exact = {
            name: np.concatenate([wide.to_int64(getattr(part, name))[:, 0] for part in parts])
            for name in model.LayerCosts._fields[:-1]
        }
        count = len(designs) - padding
        efficiency = np.concatenate([part.mapping_efficiency[:, 0] for part in parts])
        return {name: values[:count] for name, values in exact.items()}, efficiency[:count]

    return run


@pytest.fixture(scope="session")
def hardware_of_designs():
    """The library's `Hardware`, int32[B] a field, of a list of the oracle's designs."""
    return hardware_arrays


def hardware_arrays(designs):
    import numpy as np
    from dsegym.costmodels.accelerator import model

    columns = {name: [getattr(design, name) for design in designs] for name in model.Hardware._fields[:-1]}
    dataflow = [("ws", "os", "is").index(design.dataflow) for design in designs]
    return model.Hardware(**{name: np.array(v, np.int32) for name, v in columns.items()}, dataflow=np.int32(dataflow))
