"""What proxies share: what they are fitted to, what they say, and how they see a design.

A proxy has two targets: the logarithm of the objective as it would be without constraints, and whether the design is
feasible. Conventions: `B` designs, `n` parameters, `F` features.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, Self

import numpy as np

from ...costmodels.errors import DsegymError, UnknownNameError
from ...envs.core.evaluation import LEAST_OBJECTIVE, Evaluation
from ...envs.core.spaces import DesignSpace

__all__ = [
    "LEAST_SAMPLES",
    "MODELS",
    "Data",
    "Prediction",
    "Proxy",
    "check_enough",
    "data_of",
    "features_of",
    "load_model",
]

LEAST_SAMPLES = 20  # that a proxy is fitted to: fewer tell a model of seven parameters nothing
# {name of a kind of proxy: module:Class}; heavy libraries are imported with the one that is asked for.
MODELS: Mapping[str, str] = {
    "trees": "dsegym.agents.proxies.trees:Trees",
    "network": "dsegym.agents.proxies.network:PlainNetwork",
}


class Data(NamedTuple):
    """What a proxy is fitted to."""

    designs: np.ndarray  # int32[B, n]
    log_objective: np.ndarray  # float64[B], natural logarithm of the objective as if there were no constraints
    feasible: np.ndarray  # bool[B]

    def at(self, places: np.ndarray) -> Data:
        """Those at these places, int[] or bool[B]."""
        return Data(*(column[places] for column in self))


class Prediction(NamedTuple):
    """What a proxy says."""

    log_objective: np.ndarray  # float64[B], natural logarithm of the objective as if there were no constraints
    probability: np.ndarray  # float64[B], that the design is feasible


class Proxy(Protocol):
    """A fitted proxy of one design space."""

    libraries: tuple[str, ...]  # distributions that it is fitted with

    @classmethod
    def fit(cls, space: DesignSpace, data: Data, seed: int) -> Self:
        """A proxy of the data; the same for the same data and seed on one machine.

        Raises:
            DsegymError: there are fewer than `LEAST_SAMPLES`.
        """
        ...

    def predict(self, designs: np.ndarray) -> Prediction:
        """What it says of designs, int32[B, n]."""
        ...

    def arrays(self) -> dict[str, np.ndarray]:
        """{name: array} that `of` makes the same proxy of."""
        ...

    @classmethod
    def of(cls, space: DesignSpace, arrays: Mapping[str, np.ndarray]) -> Self:
        """The proxy of what `arrays` gave.

        Raises:
            DsegymError: the arrays are no proxy of this space.
        """
        ...


def load_model(name: str) -> type[Proxy]:
    """The class of a kind of proxy.

    Raises:
        UnknownNameError: there is no such kind.
        DsegymError: its library is not installed.
    """
    if name not in MODELS:
        raise UnknownNameError("model of a proxy", name, MODELS)
    module, _, attribute = MODELS[name].partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise DsegymError(
            f"The proxy '{name}' needs the library {error.name}, which is not installed; it comes with: "
            "pip install 'dsegym[proxy]'."
        ) from None


def log_objective_of(found: Evaluation) -> np.ndarray:
    """The natural logarithm of the objective as if there were no constraints, float64[B]; NaN where it is no number."""
    value = np.asarray(found.objective if found.unpenalised is None else found.unpenalised, np.float64)
    return np.log(np.where(np.isfinite(value), np.maximum(value, LEAST_OBJECTIVE), np.nan))


def data_of(designs: np.ndarray, found: Evaluation) -> Data:
    """What samples teach: designs, int32[B, n], and their costs; designs without a number are left out."""
    data = Data(np.asarray(designs), log_objective_of(found), np.asarray(found.feasible, bool))
    return data.at(~np.isnan(data.log_objective))


def check_enough(data: Data) -> None:
    """Refuses data that teach nothing.

    Raises:
        DsegymError: there are fewer than `LEAST_SAMPLES`.
    """
    if len(data.designs) < LEAST_SAMPLES:
        raise DsegymError(
            f"A proxy is fitted to {LEAST_SAMPLES} different designs at least; given: {len(data.designs)}."
        )


def features_of(space: DesignSpace, designs: Any) -> np.ndarray:
    """How a proxy sees designs: indices, float64[B, n]; of parameters that rank, the rank among them from 0 to 1.

    Of a ranking only the order counts, so that two designs of one order look the same; equal values are put in order
    by their place.
    """
    features = np.asarray(designs, np.float64).copy()
    for places in space.rankings.values():
        columns = list(places)
        order = np.argsort(features[:, columns], axis=1, kind="stable")
        ranks = np.empty_like(order)
        np.put_along_axis(ranks, order, np.arange(len(columns))[None].repeat(len(order), axis=0), axis=1)
        features[:, columns] = ranks / max(1, len(columns) - 1)
    return features
