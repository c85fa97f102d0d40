"""Gradient-boosted trees by LightGBM (Ke et al., NeurIPS 2017), kept as what they learned from.

LightGBM's own text of a model is read by code that a truncated file ends the process with. So a file holds the data and
the seed, from which the same trees grow again, and what they said, which shows that they did.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, ClassVar, Self

import lightgbm
import numpy as np

from ...costmodels.errors import CorruptResultError, DsegymError
from ...envs.core.spaces import DesignSpace
from .base import Data, Prediction, check_enough, features_of

__all__ = ["Trees"]

# One thread and rows first: the same trees whatever the machine has to do. What is not named is LightGBM's default.
_SETTINGS: Mapping[str, Any] = {
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
    "learning_rate": 0.1,
    "num_leaves": 31,
    "min_data_in_leaf": 5,  # 20 of LightGBM's are many for a few hundred samples
    "min_data_per_group": 5,
    "cat_smooth": 1.0,
}
ROUNDS = 300  # trees of each model


_SAID = 64  # designs of the training data for which a file holds what the trees said
_ALIKE = 1e-6  # by which that may differ where they grow again


class Trees:
    """A model of squared errors for the logarithm of the objective, one of log losses for feasibility.

    Args:
        space: of the designs.
        data: that they learned from.
        seed: of the fit.
        objective: the first model.
        feasible: the second; None where all that it learned from were alike.
    """

    libraries: ClassVar[tuple[str, ...]] = ("lightgbm",)

    def __init__(self, space: DesignSpace, data: Data, seed: int, objective: Any, feasible: Any | None):
        self.space, self.data, self.seed, self.objective, self.feasible = space, data, seed, objective, feasible

    @classmethod
    def fit(cls, space: DesignSpace, data: Data, seed: int, rounds: int = ROUNDS) -> Self:
        """Fits both models, of `rounds` trees each; arguments and errors as of `Proxy`."""
        check_enough(data)
        features, truth = features_of(space, data.designs), data.feasible.astype(float)
        objective = _fitted(space, features, data.log_objective, "regression", seed, rounds)
        mixed = 0.0 < truth.mean() < 1.0
        feasible = _fitted(space, features, truth, "binary", seed, rounds) if mixed else None
        return cls(space, data, seed, objective, feasible)

    def predict(self, designs: np.ndarray) -> Prediction:
        """What the trees say of designs, int32[B, n]."""
        features = features_of(self.space, designs)
        if self.feasible is None:
            probability = np.full(len(features), float(self.data.feasible.mean()))
        else:
            probability = self.feasible.predict(features, num_threads=1)
        return Prediction(self.objective.predict(features, num_threads=1), probability)

    def arrays(self) -> dict[str, np.ndarray]:
        """The data, the seed, and what the trees say of the first designs."""
        said = self.predict(self.data.designs[:_SAID])
        return {
            "designs": self.data.designs.astype(np.int32),
            "log_objective": self.data.log_objective,
            "feasible": self.data.feasible.astype(np.uint8),
            "seed": np.array([self.seed], np.int64),
            "said": np.stack(said),
        }

    @classmethod
    def of(cls, space: DesignSpace, arrays: Mapping[str, np.ndarray]) -> Self:
        """The trees of `arrays`, which grow again; errors as of `Proxy`, or this LightGBM grows other ones."""
        data, seed, said = _samples(space, arrays)
        found = cls.fit(space, data, seed)
        if not np.allclose(np.stack(found.predict(data.designs[:_SAID])), said, rtol=_ALIKE, atol=_ALIKE):
            raise DsegymError(
                f"LightGBM {version('lightgbm')} grows other trees of these samples than stood here; the "
                "proxy's card names the version that grew them, or fit it anew."
            )
        return found


def _samples(space: DesignSpace, found: Mapping[str, np.ndarray]) -> tuple[Data, int, np.ndarray]:
    """What arrays hold: data, seed, and what was said, float64[2, up to 64].

    Raises:
        CorruptResultError: they are not such arrays, or the designs are none of this space.
    """
    rows = found["log_objective"].size if "log_objective" in found else 0
    wanted = {
        "designs": ("int32", (rows, len(space))),
        "log_objective": ("float64", (rows,)),
        "feasible": ("uint8", (rows,)),
        "seed": ("int64", (1,)),
        "said": ("float64", (2, min(rows, _SAID))),
    }
    given = {name: (str(array.dtype), array.shape) for name, array in found.items()}
    if given != wanted or not np.isfinite(found["log_objective"]).all() or not 0 <= found["seed"][0] < 2**31:
        raise CorruptResultError("The arrays are not samples of this space.")
    try:
        designs = space.check(found["designs"])
    except DsegymError as error:
        raise CorruptResultError(str(error)) from None
    return Data(designs, found["log_objective"], found["feasible"] != 0), int(found["seed"][0]), found["said"]


def _fitted(
    space: DesignSpace, features: np.ndarray, target: np.ndarray, objective: str, seed: int, rounds: int
) -> Any:
    """A booster; unordered parameters are categories to it."""
    categories = [place for place, parameter in enumerate(space.parameters) if not parameter.ordered]
    table = lightgbm.Dataset(features, target, categorical_feature=categories, params={"verbosity": -1})
    return lightgbm.train({**_SETTINGS, "objective": objective, "seed": seed}, table, num_boost_round=rounds)
