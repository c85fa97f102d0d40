"""Who can play: a trained policy, a pure JAX function, or anybody's function of NumPy arrays.

A player's `acting` is a value that programs are compiled for, and its `variables` are what they are given.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...costmodels.errors import DsegymError, reason_of
from ..learners.base import Act, greedy, sampled
from .card import Card

if TYPE_CHECKING:
    from ...envs.core.functional import FunctionalEnv

__all__ = ["MODES", "Acting", "Function", "Policy", "PureFunction", "named_function"]

MODES = ("greedy", "sampled")
Acting = Callable[[Any], Act]  # variables -> act


@dataclass(frozen=True)
class _Networked:
    """Acts by a network's likeliest action, or by one drawn by its likelihood."""

    network: Any
    sampled: bool

    def __call__(self, variables: Any) -> Act:
        return (sampled if self.sampled else greedy)(self.network, variables)


@dataclass(frozen=True, eq=False)
class Policy:
    """A trained policy.

    Attributes:
        card: what it is.
        configuration: of its network, as JSON holds it.
        variables: of its network, a nested dict of NumPy arrays.
    """

    card: Card
    configuration: Mapping[str, Any]
    variables: Any

    @property
    def name(self) -> str:
        """Its learner's."""
        return self.card.learner

    def acting(self, env: FunctionalEnv[Any, Any], mode: str) -> tuple[Acting, Any]:
        """How it acts in an environment, and the variables for it.

        Raises:
            DsegymError: the network of its configuration does not fit the environment, or its variables the network.
        """
        from ..learners.networks import check_variables, configuration_of, network_of

        network = network_of(env, configuration_of(self.configuration))
        check_variables(env, network, self.variables)
        return _Networked(network, mode == "sampled"), self.variables


@dataclass(frozen=True)
class PureFunction:
    """A policy that is pure JAX: `act(observation, mask, key) -> action`, as of `Act`.

    Attributes:
        name: as tables show it.
        act: the function.
    """

    name: str
    act: Act

    def acting(self, env: FunctionalEnv[Any, Any], mode: str) -> tuple[Acting, Any]:
        """The function; it may use the key in either mode."""
        del env, mode
        return _Fixed(self.act), ()


@dataclass(frozen=True)
class _Fixed:
    """Acts by a function that needs no variables."""

    act: Act

    def __call__(self, variables: Any) -> Act:
        del variables
        return self.act


@dataclass(frozen=True)
class Function:
    """A third party's policy, in PyTorch or whatever: `act(observation, mask) -> action` of NumPy arrays.

    The observation is float32[n] (or as the observation space has it), the mask bool[A] or None, the action a whole
    number, or int[choices] where the space is MultiDiscrete. A function with a true attribute `batched` is called once
    for all episodes that go on: every array has a leading axis. It is called in order of instances and cases, and what
    it returns may depend on what it is given only.

    Attributes:
        name: as tables show it.
        act: the function.
    """

    name: str
    act: Callable[[Any, Any], Any]


def named_function(location: str) -> Function:
    """The function of `package.module:name`; importing it runs the package's code.

    Raises:
        DsegymError: it cannot be imported, or cannot be called.
    """
    module, colon, attribute = location.partition(":")
    try:
        if not colon or not module:
            raise ValueError("a function is named package.module:function")
        act = importlib.import_module(module)
        for part in attribute.split("."):
            act = getattr(act, part)
    except (Exception, SystemExit) as error:  # whatever a third party's code raises
        raise DsegymError(f"Cannot load the policy '{location}': {reason_of(error)}.") from error
    if not callable(act):
        raise DsegymError(f"'{location}' cannot be called: a policy is a function act(observation, mask) -> action.")
    return Function(location, act)
