"""For the tests of every layer: the oracles' folder, and a third party's scenario with held-out cases."""

import importlib
import os
import sys
from pathlib import Path

import gymnasium
import pytest

from dsegym.envs.core import scenarios

# Compiling is what the tests' time goes to: what a test, a worker or an earlier run compiled is not compiled again.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")

# Oracles and cases lie beside the tests of the cost models; tests import them by name, and pytest's importlib mode puts
# no folder on the path.
sys.path.insert(0, str(Path(__file__).parent / "oracles"))


@pytest.fixture(scope="session")
def shop():
    """The module of `toy/Shop-v0`, imported as another package would be; what it registers is taken back."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent / "envs")
        yield importlib.import_module("shop")
    gymnasium.registry.pop("toy/Shop-v0", None)
    scenarios._LOCATIONS.pop("toy/Shop-v0", None)
    sys.modules.pop("shop", None)
