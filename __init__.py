"""dsegym: Gymnasium environments for design-space exploration of computer systems, and a fair competition over them.

    >>> import dsegym
    >>> problem = dsegym.make_problem("dsegym/AcceleratorSizing-v0", workload="resnet18", objective="edp")
    >>> problem.space.size
    2519424

Importing the package registers the environments with Gymnasium and imports neither JAX nor torch: names load
when used.
"""

from __future__ import annotations

from ._interrupts import guard_start as _guard_start

_guard_start()  # before all that takes long to import

import importlib  # noqa: E402
from typing import TYPE_CHECKING  # noqa: E402

from .envs.core.scenarios import register_installed as _register_installed  # noqa: E402

if TYPE_CHECKING:
    from .agents.base import Agent
    from .agents.learners.base import Learner
    from .agents.referee import Referee
    from .costmodels.errors import DsegymError
    from .envs.core.evaluation import Evaluation, Objective, Yardstick
    from .envs.core.one_shot import one_shot_problem
    from .envs.core.options import Options
    from .envs.core.problem import Problem
    from .envs.core.scenarios import (
        Scenario,
        load_scenario,
        make_functional,
        make_problem,
        register,
        scenario_ids,
        unregister,
    )
    from .envs.core.spaces import DesignSpace, Heuristics, Parameter
    from .experiments.policy_store import load_policy
    from .experiments.publish import publish
    from .experiments.runner import run_suite
    from .experiments.suite import load_suite
    from .experiments.verify import verify

_FACE = {
    "Agent": ".agents.base",
    "DesignSpace": ".envs.core.spaces",
    "DsegymError": ".costmodels.errors",
    "Evaluation": ".envs.core.evaluation",
    "Heuristics": ".envs.core.spaces",
    "Learner": ".agents.learners.base",
    "Objective": ".envs.core.evaluation",
    "Options": ".envs.core.options",
    "Parameter": ".envs.core.spaces",
    "Problem": ".envs.core.problem",
    "Referee": ".agents.referee",
    "Scenario": ".envs.core.scenarios",
    "Yardstick": ".envs.core.evaluation",
    "load_policy": ".experiments.policy_store",
    "load_scenario": ".envs.core.scenarios",
    "load_suite": ".experiments.suite",
    "make_functional": ".envs.core.scenarios",
    "make_problem": ".envs.core.scenarios",
    "one_shot_problem": ".envs.core.one_shot",
    "publish": ".experiments.publish",
    "register": ".envs.core.scenarios",
    "run_suite": ".experiments.runner",
    "scenario_ids": ".envs.core.scenarios",
    "unregister": ".envs.core.scenarios",
    "verify": ".experiments.verify",
}

__version__ = "0.1.0"
__all__ = [
    "Agent",
    "DesignSpace",
    "DsegymError",
    "Evaluation",
    "Heuristics",
    "Learner",
    "Objective",
    "Options",
    "Parameter",
    "Problem",
    "Referee",
    "Scenario",
    "Yardstick",
    "load_policy",
    "load_scenario",
    "load_suite",
    "make_functional",
    "make_problem",
    "one_shot_problem",
    "publish",
    "register",
    "run_suite",
    "scenario_ids",
    "unregister",
    "verify",
]


def __getattr__(name: str) -> object:
    if name not in _FACE:
        raise AttributeError(f"module 'dsegym' has no attribute '{name}'")
    return getattr(importlib.import_module(_FACE[name], __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


_register_installed()
