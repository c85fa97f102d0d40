"""The card of a policy: what it is for, how it came to be, and what it may not be tested on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...costmodels.errors import DsegymError, shortened

if TYPE_CHECKING:
    from ...envs.core.functional import FunctionalEnv

__all__ = ["Card", "features_of"]


@dataclass(frozen=True)
class Card:
    """What a policy's directory says of it.

    Attributes:
        scenario, form: what it plays.
        collection: what it was trained on, by name.
        sizes: what its instances are padded to, as `FunctionalEnv.sizes` names it.
        trained_on: the `Problem.digest` of each training instance.
        learner, hyperparameters, seed: who trained it.
        steps: of the environment, in training; where it started from another policy, that one's too.
        training_s: seconds of training, compilation among them; of what it started from too.
        features: {feature of an observation: its shape}, in order.
        action_space: as Gymnasium writes it.
        versions: {library: its version} of what trained it.
        energy_j: joules of training, where somebody has measured them.
        starts_from: the digest of the policy whose weights it started from; None where it began anew.
    """

    scenario: str
    form: str
    collection: str
    sizes: Mapping[str, int]
    trained_on: tuple[str, ...]
    learner: str
    hyperparameters: Mapping[str, Any]
    seed: int
    steps: int
    training_s: float
    features: Mapping[str, tuple[int, ...]]
    action_space: str
    versions: Mapping[str, str] = field(default_factory=dict)
    energy_j: float | None = None
    starts_from: str | None = None

    def check_form(self, scenario: str, form: str) -> None:
        """Refuses a scenario or a form that the policy does not play.

        Raises:
            DsegymError: says what the policy plays, and what was given.
        """
        if (scenario, form) != (self.scenario, self.form):
            raise DsegymError(
                f"The policy plays {shortened(self.scenario)} in the form {shortened(self.form)}; given: {scenario} in "
                f"the form {form}."
            )

    def check_shape(self, env: FunctionalEnv[Any, Any]) -> None:
        """Refuses an environment whose observations or actions are not those of the policy.

        Raises:
            DsegymError: says what the policy sees and does, and what was given.
        """
        given = features_of(env)
        if list(given.items()) != list(self.features.items()):
            raise DsegymError(f"The policy observes {_words(self.features)}; instances here show {_words(given)}.")
        if str(env.action_space) != self.action_space:
            raise DsegymError(
                f"The policy acts in {shortened(self.action_space)}; instances here take {env.action_space}."
            )


def features_of(env: FunctionalEnv[Any, Any]) -> dict[str, tuple[int, ...]]:
    """{feature: shape} of an environment's observations, in order."""
    return {feature.name: tuple(int(size) for size in feature.shape) for feature in env.features}


def _words(features: Mapping[str, tuple[int, ...]]) -> str:
    total = sum(math.prod(shape) for shape in features.values())
    listed = ", ".join(f"{name}{list(shape)}" for name, shape in features.items())
    return f"{shortened(listed, 300)} ({total} numbers)"
