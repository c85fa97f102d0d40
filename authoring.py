"""What the author of a scenario imports: options, spaces, problems, environments, and the registry.

>>> from dsegym.authoring import DesignSpace, Parameter
>>> DesignSpace((Parameter("ways", (1, 2, 4)),)).size
3
"""

from .costmodels.arrays import Array
from .costmodels.breakdown import Breakdown
from .costmodels.diagram import Diagram, Rectangle
from .costmodels.errors import DsegymError, InvalidDesignError, InvalidOptionError, UnknownNameError
from .envs.core.evaluation import Evaluation, Objective, Sweep, Yardstick
from .envs.core.features import Box, Discrete, Feature, MultiDiscrete
from .envs.core.functional import FunctionalEnv, play, rollout_cost
from .envs.core.one_shot import ONE_SHOT_FORMS, one_shot_problem
from .envs.core.options import Option, Options, choice, custom, file_or_name, number, number_or_own, whole, whole_or_own
from .envs.core.policies import HELD_OUT, SEARCH, PolicyEnv, policy_cost, policy_problem, seeds_of
from .envs.core.problem import Problem, YardstickRule, bounded, costed, enumerated, given
from .envs.core.scenarios import Scenario, register, unregister
from .envs.core.spaces import DesignSpace, Heuristics, Parameter

__all__ = [
    "HELD_OUT",
    "ONE_SHOT_FORMS",
    "SEARCH",
    "Array",
    "Box",
    "Breakdown",
    "DesignSpace",
    "Diagram",
    "Discrete",
    "DsegymError",
    "Evaluation",
    "Feature",
    "FunctionalEnv",
    "Heuristics",
    "InvalidDesignError",
    "InvalidOptionError",
    "MultiDiscrete",
    "Objective",
    "Option",
    "Options",
    "Parameter",
    "PolicyEnv",
    "Problem",
    "Rectangle",
    "Scenario",
    "Sweep",
    "UnknownNameError",
    "Yardstick",
    "YardstickRule",
    "bounded",
    "choice",
    "costed",
    "custom",
    "enumerated",
    "file_or_name",
    "given",
    "number",
    "number_or_own",
    "one_shot_problem",
    "play",
    "policy_cost",
    "policy_problem",
    "register",
    "rollout_cost",
    "seeds_of",
    "unregister",
    "whole",
    "whole_or_own",
]
