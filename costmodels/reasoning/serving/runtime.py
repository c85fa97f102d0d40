"""Idealised runtime: how long a model takes for a prompt and an answer on uniform hardware without contention.

Stanford CRFM, helm-efficiency (NeurIPS 2023): T(p, o) = F(p) + (o - 1) g, with F piecewise linear in the prompt's
tokens and g seconds for each further output token. Fits: A100s with Megatron; different models on different numbers of
accelerators. Seconds, float64.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ...errors import DsegymError, UnknownNameError
from ...tables import package_rows

__all__ = ["PROMPTS", "RuntimeFit", "idealised_runtime_s", "runtime_fits"]

PROMPTS = (1, 512, 1024, 1920)  # tokens at which F was measured


class RuntimeFit(NamedTuple):
    """The fit of a model."""

    prompt_s: tuple[float, ...]  # F at PROMPTS
    token_s: float  # g


@functools.cache
def runtime_fits() -> dict[str, RuntimeFit]:
    """The fits, by model."""
    return {
        row["model"]: RuntimeFit(
            tuple(float(row[f"prompt_{tokens}_s"]) for tokens in PROMPTS), float(row["seconds_per_output_token"])
        )
        for row in package_rows("reasoning/tables/runtime_fits.csv")
    }


def idealised_runtime_s(model: str, *, prompt: ArrayLike, output: ArrayLike) -> np.ndarray:
    """float64[...], s.

    Args:
        model: one of `runtime_fits`.
        prompt: tokens, 1 to 1,920: the fits are not extended beyond.
        output: tokens, 1 at least.

    Raises:
        UnknownNameError: there is no fit of the model.
        DsegymError: a number of tokens out of range.
    """
    fits = runtime_fits()
    if model not in fits:
        raise UnknownNameError("model", model, fits)
    prompt, output = np.asarray(prompt, float), np.asarray(output, float)
    if not (np.all((prompt >= PROMPTS[0]) & (prompt <= PROMPTS[-1])) and np.all(output >= 1)):  # nor if not a number
        raise DsegymError(f"A prompt has 1 to {PROMPTS[-1]} tokens here, and an output 1 at least.")
    fit = fits[model]
    return np.interp(prompt, PROMPTS, fit.prompt_s) + (output - 1) * fit.token_s
