"""For the tests of every layer: third parties' scenarios, one sequential, one with held-out cases."""

import gc
import importlib
import importlib.util
import os
import re
import sys
from pathlib import Path

import hypothesis
import psutil
import pytest

import dsegym
from dsegym.costmodels.errors import DsegymError

# Compiling is what the tests' time goes to: what a test, a worker or an earlier run compiled is not compiled again.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")

# A test's seconds depend on who else is on the machine: no example fails for them.
hypothesis.settings.register_profile("dsegym", deadline=None)
hypothesis.settings.load_profile("dsegym")


class PlainTopLevel:
    """Collects the repository's folder as no package: its `__init__.py` would be imported under the folder's name."""

    @staticmethod
    def pytest_collect_directory(path, parent):
        return pytest.Dir.from_parent(parent, path=path) if path == Path(__file__).parents[1] else None


def pytest_configure(config):
    # A plugin's hook is asked about the top level; a conftest's own is asked about what lies below it only.
    config.pluginmanager.register(PlainTopLevel())


# Torch is left out where pip has no CPU build of it (see the Makefile): what needs it skips and says so.


def pytest_ignore_collect(collection_path):
    """Leave out modules that import stable-baselines3 at their top where it is not installed."""
    missing = collection_path.suffix == ".py" and not importlib.util.find_spec("stable_baselines3")
    return (missing and "\nfrom stable_baselines3" in collection_path.read_text(encoding="utf-8")) or None


def pytest_report_header():
    if not importlib.util.find_spec("stable_baselines3"):
        return "stable-baselines3 is not installed: modules that import it are left out, tests that need it skip"
    return None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    try:
        return (yield)
    except (ModuleNotFoundError, DsegymError) as error:
        if importlib.util.find_spec("stable_baselines3") or not re.search(
            "stable[-_]baselines3|torch|sb3|smac", str(error)
        ):
            raise
        pytest.skip("stable-baselines3 is not installed")


MOST_MAPS = 20_000  # of the 65,530 memory maps that Linux allows a process; XLA takes several for each program
MOST_BYTES = 3 * 2**30  # that a process of tests keeps


def _let_programs_go():
    """Drop compiled programs where there are too many: beyond the limit of maps, XLA ends the process."""
    if "jax" not in sys.modules:
        return
    maps = Path("/proc/self/maps")
    many = maps.exists() and maps.read_bytes().count(b"\n") > MOST_MAPS
    if many or psutil.Process().memory_info().rss > MOST_BYTES:
        sys.modules["jax"].clear_caches()
        gc.collect()


@pytest.fixture(autouse=True, scope="module")
def a_process_that_does_not_run_out_of_memory():
    """Compiled programs are let go after a module where there are too many."""
    yield
    _let_programs_go()


@pytest.fixture
def few_programs():
    """Compiled programs are let go after a test, in modules whose tests compile many each."""
    yield
    _let_programs_go()


@pytest.fixture(scope="session")
def shop():
    """The module of `toy/Shop-v0`, imported as another package would be; what it registers is taken back."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent / "envs")
        yield importlib.import_module("shop")
    dsegym.unregister("toy/Shop-v0")
    sys.modules.pop("shop", None)


@pytest.fixture(scope="session")
def staircase():
    """The module of `toy/Staircase-v0`, registered as another package would do it; it is taken back."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent / "envs")
        module = importlib.import_module("staircase")
        dsegym.register("toy/Staircase-v0", "staircase:SCENARIO")
        yield module
    dsegym.unregister("toy/Staircase-v0")
    sys.modules.pop("staircase", None)
