"""Gradient-boosted trees by LightGBM (Ke et al., NeurIPS 2017), kept in its own text format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import lightgbm
import numpy as np

from ...costmodels.errors import CorruptResultError
from ...envs.core.spaces import DesignSpace
from .base import Data, Prediction, check_enough, features_of

__all__ = ["Trees"]

OBJECTIVE, FEASIBLE = "objective.txt", "feasible.txt"
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


class Trees:
    """A model of squared errors for the logarithm of the objective, one of log losses for feasibility.

    Args:
        space: of the designs.
        objective: the first model.
        feasible: the second; None where all that it learned from were alike, `share` of them feasible.
        share: of the training data that was feasible.
    """

    libraries: ClassVar[tuple[str, ...]] = ("lightgbm",)

    def __init__(self, space: DesignSpace, objective: Any, feasible: Any | None, share: float):
        self.space, self.objective, self.feasible, self.share = space, objective, feasible, share

    @classmethod
    def fit(cls, space: DesignSpace, data: Data, seed: int, rounds: int = ROUNDS) -> Self:
        """Fits both models, of `rounds` trees each; arguments and errors as of `Proxy`."""
        check_enough(data)
        features = features_of(space, data.designs)
        share = float(data.feasible.mean())
        objective = _fitted(space, features, data.log_objective, "regression", seed, rounds)
        mixed = 0.0 < share < 1.0
        truth = data.feasible.astype(float)
        feasible = _fitted(space, features, truth, "binary", seed, rounds) if mixed else None
        return cls(space, objective, feasible, share)

    def predict(self, designs: np.ndarray) -> Prediction:
        """What the trees say of designs, int32[B, n]."""
        features = features_of(self.space, designs)
        if self.feasible is None:
            probability = np.full(len(features), self.share)
        else:
            probability = self.feasible.predict(features, num_threads=1)
        return Prediction(self.objective.predict(features, num_threads=1), probability)

    def files(self) -> dict[str, bytes]:
        """Each model as LightGBM writes it; where feasibility is no model, the share alone."""
        feasible = f"share={self.share!r}\n" if self.feasible is None else self.feasible.model_to_string()
        return {OBJECTIVE: self.objective.model_to_string().encode(), FEASIBLE: feasible.encode()}

    @classmethod
    def read(cls, space: DesignSpace, files: Mapping[str, bytes]) -> Self:
        """The trees of `files`; errors as of `Proxy`."""
        text = files[FEASIBLE].decode("utf-8", "replace")
        if text in ("share=0.0\n", "share=1.0\n"):
            feasible, share = None, float(text.removeprefix("share="))
        else:
            feasible, share = _read(space, FEASIBLE, text), 0.5
        return cls(space, _read(space, OBJECTIVE, files[OBJECTIVE].decode("utf-8", "replace")), feasible, share)


def _fitted(
    space: DesignSpace, features: np.ndarray, target: np.ndarray, objective: str, seed: int, rounds: int
) -> Any:
    """A booster; unordered parameters are categories to it."""
    categories = [place for place, parameter in enumerate(space.parameters) if not parameter.ordered]
    table = lightgbm.Dataset(features, target, categorical_feature=categories, params={"verbosity": -1})
    return lightgbm.train({**_SETTINGS, "objective": objective, "seed": seed}, table, num_boost_round=rounds)


def _read(space: DesignSpace, name: str, text: str) -> Any:
    """A booster of its text.

    Raises:
        CorruptResultError: it is none, or one of another number of parameters.
    """
    try:
        if not text.startswith("tree\nversion="):
            raise ValueError("no model of LightGBM")
        found = lightgbm.Booster(model_str=text)
        if found.num_feature() != len(space):
            raise ValueError(f"{found.num_feature()} parameters where the space has {len(space)}")
    except (lightgbm.basic.LightGBMError, ValueError) as error:
        raise CorruptResultError(f"{name}: not readable as trees ({error!s:.200}).") from None
    return found
