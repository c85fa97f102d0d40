"""A third party's scenario with held-out cases, for the tests of every layer."""

import importlib
import sys
from pathlib import Path

import gymnasium
import pytest

from dsegym.envs import scenarios


@pytest.fixture(scope="session")
def shop():
    """The module of `toy/Shop-v0`, imported as another package would be; what it registers is taken back."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent / "envs")
        yield importlib.import_module("shop")
    gymnasium.registry.pop("toy/Shop-v0", None)
    scenarios._LOCATIONS.pop("toy/Shop-v0", None)
    sys.modules.pop("shop", None)
