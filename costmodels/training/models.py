"""Which transformers can be trained: those of `transformers/`, and those of published training runs."""

from __future__ import annotations

import functools
from collections.abc import Mapping

from ..errors import UnknownNameError
from ..tables import package_rows
from ..transformers.architectures import Architecture, architecture_of, architectures
from .step import Number, layer_weights

__all__ = ["model_flop", "sizes_checked", "trained_model", "trained_models"]


@functools.cache
def trained_models() -> Mapping[str, Architecture]:
    """{name: architecture}."""
    own = {row["model"]: architecture_of(row) for row in package_rows("training/tables/models.csv")}
    return {**own, **architectures()}


def trained_model(name: str) -> Architecture:
    """An architecture by its name.

    Raises:
        UnknownNameError: there is none.
    """
    if name not in trained_models():
        raise UnknownNameError("model", name, trained_models())
    return trained_models()[name]


def sizes_checked(name: str) -> str | None:
    """The publication whose parameters a model's sizes give, or `recalled`; None for a model of `transformers/`."""
    rows = package_rows("training/tables/models.csv")
    return next((row["checked"] for row in rows if row["model"] == name), None)


def model_flop(model: Architecture, batch: Number, sequence_tokens: Number, trainable: Number = 1.0) -> Number:
    """Of a step without anything computed anew, scores of all pairs counted: what MFU divides by.

    Of a GPT 72 B s L h^2 (1 + s / (6 h) + V / (12 L h)), as Korthikanti et al. count; what does not learn has no
    gradient of its own.
    """
    token = 2 * (model.layers * sum(layer_weights(model)) + model.output_parameters) * (2 + trainable)
    token = token + 3 * model.layers * model.prefill_pair_flop * sequence_tokens
    return batch * sequence_tokens * token
