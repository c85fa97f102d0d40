"""For the tests of every layer: the oracles' folder, and a third party's scenario with held-out cases."""

import importlib
import sys
from pathlib import Path

import gymnasium
import pytest

from dsegym.envs import scenarios

# Oracles and cases lie beside the tests of the cost models; tests import them by name, and pytest's importlib mode puts
# no folder on the path.
sys.path.insert(0, str(Path(__file__).parent / "costmodels"))


@pytest.fixture(scope="session")
def shop():
    """The module of `toy/Shop-v0`, imported as another package would be; what it registers is taken back."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent / "envs")
        yield importlib.import_module("shop")
    gymnasium.registry.pop("toy/Shop-v0", None)
    scenarios._LOCATIONS.pop("toy/Shop-v0", None)
    sys.modules.pop("shop", None)
