"""dsegym: Gymnasium environments for design-space exploration of computer systems, and a fair competition over them.

    >>> import dsegym
    >>> problem = dsegym.make_problem("dsegym/AcceleratorSizing-v0", workload="resnet18", objective="edp")
    >>> problem.space.size
    2519424

Importing the package registers the environments with Gymnasium and imports neither JAX nor torch: names load
when used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from .envs.scenarios import register_built_in as _register_built_in

if TYPE_CHECKING:
    from .agents.base import Agent
    from .agents.referee import Referee
    from .costmodels.errors import DsegymError
    from .envs.problem import Evaluation, Objective, Problem, Yardstick, one_shot_problem
    from .envs.scenarios import Option, Scenario, load_scenario, make_problem, register, scenario_ids
    from .envs.spaces import DesignSpace, Parameter

_FACE = {
    "Agent": ".agents.base",
    "DesignSpace": ".envs.spaces",
    "DsegymError": ".costmodels.errors",
    "Evaluation": ".envs.problem",
    "Objective": ".envs.problem",
    "Option": ".envs.scenarios",
    "Parameter": ".envs.spaces",
    "Problem": ".envs.problem",
    "Referee": ".agents.referee",
    "Scenario": ".envs.scenarios",
    "Yardstick": ".envs.problem",
    "load_scenario": ".envs.scenarios",
    "make_problem": ".envs.scenarios",
    "one_shot_problem": ".envs.problem",
    "register": ".envs.scenarios",
    "scenario_ids": ".envs.scenarios",
}

__version__ = "0.1.0"
__all__ = [
    "Agent",
    "DesignSpace",
    "DsegymError",
    "Evaluation",
    "Objective",
    "Option",
    "Parameter",
    "Problem",
    "Referee",
    "Scenario",
    "Yardstick",
    "load_scenario",
    "make_problem",
    "one_shot_problem",
    "register",
    "scenario_ids",
]


def __getattr__(name: str) -> object:
    if name not in _FACE:
        raise AttributeError(f"module 'dsegym' has no attribute '{name}'")
    return getattr(importlib.import_module(_FACE[name], __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


_register_built_in()
