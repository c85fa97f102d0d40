"""Laws of repeated sampling: how often at least one of k attempts succeeds, over problems of unequal difficulty.

| law | formula | source |
|---|---|---|
| unbiased pass@k | 1 - C(n - c, k) / C(n, k) of n attempts with c successes | Chen et al., 2021 |
| unbiased pass^k | C(c, k) / C(n, k): all of k attempts succeed | tau-bench (Yao et al., 2024) |
| beta-binomial coverage | 1 - B(a, b + k) / B(a, b) where p ~ Beta(a, b) | Schaeffer et al., arXiv 2502.17578 |
| power law | c(k) = exp(-A k^-B) | Brown et al., arXiv 2407.21787 |
| TTSPM | F(k) = F_max (1 - (1 - p)^k) | arXiv 2505.20522 |
| ParScale | loss(N, P) = E + (A / (N (k ln P + 1)))^alpha | QwenLM/ParScale |
| matched compute | k = M + 3 (M - 1) / R | Snell et al., arXiv 2408.03314 |

Plain NumPy, float64. Q problems.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..errors import DsegymError

__all__ = [
    "PARSCALE",
    "BetaFit",
    "ParScale",
    "PowerFit",
    "all_of",
    "beta_coverage",
    "fit_beta",
    "fit_power_law",
    "matched_compute",
    "parameter_equivalent",
    "parscale_loss",
    "pass_at",
    "power_law",
    "saturated_coverage",
    "saturation",
]


def pass_at(k: int, *, attempts: ArrayLike, successes: ArrayLike) -> np.ndarray:
    """float64[Q]: the unbiased estimate of the probability that one of k attempts succeeds.

    Args:
        k: attempts that are made.
        attempts, successes: int[Q], recorded ones.

    Raises:
        DsegymError: k is not a whole number from 1 to the fewest recorded attempts.
    """
    n, c = _counts(k, attempts, successes)
    return 1.0 - _ratio_of_choices(n - c, n, k)


def all_of(k: int, *, attempts: ArrayLike, successes: ArrayLike) -> np.ndarray:
    """float64[Q]: pass^k, the unbiased estimate that all of k attempts succeed; else as `pass_at`."""
    n, c = _counts(k, attempts, successes)
    return _ratio_of_choices(c, n, k)


def _counts(k: int, attempts: ArrayLike, successes: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    n, c = np.broadcast_arrays(np.asarray(attempts, np.int64), np.asarray(successes, np.int64))
    if n.size and (np.any(c < 0) or np.any(c > n)):
        raise DsegymError("Successes are from 0 to the number of attempts.")
    most = int(n.min()) if n.size else k
    if int(k) != k or not 1 <= k <= most:
        raise DsegymError(f"k = {k} attempts cannot be estimated; a whole number from 1 to {most} is allowed.")
    return n, c


def _ratio_of_choices(part: np.ndarray, whole: np.ndarray, k: int) -> np.ndarray:
    """C(part, k) / C(whole, k), 0 where part < k."""
    steps = np.arange(k)
    factors = (part[..., None] - steps) / (whole[..., None] - steps)
    return np.where(part >= k, np.prod(np.maximum(factors, 0.0), axis=-1), 0.0)


class BetaFit(NamedTuple):
    """p ~ Beta(alpha, beta) over problems; `alpha` is the exponent of the failure's power law in k."""

    alpha: float
    beta: float


class PowerFit(NamedTuple):
    """-ln c(k) = scale * k ** -exponent."""

    scale: float
    exponent: float
    largest_error: float  # absolute, of c, over the k that were fitted


def beta_coverage(fit: BetaFit, k: ArrayLike) -> np.ndarray:
    """float64[...]: the expected share of problems that one of k attempts solves, k >= 0."""
    from scipy.special import betaln

    k = np.asarray(k, float)
    return -np.expm1(betaln(fit.alpha, fit.beta + k) - betaln(fit.alpha, fit.beta))


def fit_beta(*, attempts: ArrayLike, successes: ArrayLike) -> BetaFit:
    """The maximum-likelihood beta-binomial.

    Args:
        attempts, successes: int[Q].

    Raises:
        DsegymError: no problem, or all attempts of all problems came out alike, where no maximum exists.
    """
    from scipy.optimize import minimize
    from scipy.special import betaln

    n, c = np.broadcast_arrays(np.asarray(attempts, float), np.asarray(successes, float))
    if not c.sum() or c.sum() == n.sum():
        raise DsegymError("A beta distribution cannot be fitted: successes and failures are both needed.")

    def loss(logs: np.ndarray) -> float:
        alpha, beta = np.exp(logs)
        return -float(np.sum(betaln(alpha + c, beta + n - c) - betaln(alpha, beta)))

    found = minimize(loss, np.zeros(2), method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-10, "maxiter": 4000})
    return BetaFit(*(float(value) for value in np.exp(found.x)))


def power_law(fit: PowerFit, k: ArrayLike) -> np.ndarray:
    """float64[...]: coverage at k attempts."""
    return np.exp(-fit.scale * np.asarray(k, float) ** -fit.exponent)


def fit_power_law(k: ArrayLike, coverage: ArrayLike) -> PowerFit:
    """The power law with the least squared error of ln c, the quantity that it is a law of.

    Args:
        k: float[K], at least two different values; each counts alike, so space them as ln k is to be weighed.
        coverage: float[K], inside (0, 1).

    Raises:
        DsegymError: too few values, or a coverage of 0 or 1.
    """
    from scipy.optimize import least_squares

    k, coverage = np.asarray(k, float), np.asarray(coverage, float)
    if len(set(k.tolist())) < 2 or not np.all((coverage > 0) & (coverage < 1)):
        raise DsegymError("A power law needs the coverage, above 0 and below 1, at two numbers of attempts at least.")
    slope, offset = np.polyfit(np.log(k), np.log(-np.log(coverage)), 1)  # a straight line, to start from
    found = least_squares(
        lambda x: np.exp(x[0]) * k ** -x[1] + np.log(coverage), (offset, -slope), xtol=1e-14, ftol=1e-14, gtol=1e-14
    )
    fit = PowerFit(float(np.exp(found.x[0])), float(found.x[1]), 0.0)
    return fit._replace(largest_error=float(np.abs(power_law(fit, k) - coverage).max()))


def saturated_coverage(k: ArrayLike, *, success: ArrayLike, ceiling: ArrayLike = 1.0) -> np.ndarray:
    """float64[...]: TTSPM, F(k) = ceiling (1 - (1 - p)^k).

    Parallel: k independent samples, each right with probability `success`. Sequential: k rounds of an absorbing chain
    with that probability of a turn for the better in each: the same form.
    """
    return np.asarray(ceiling) * -np.expm1(np.asarray(k) * np.log1p(-np.asarray(success, float)))


def saturation(*, success: float, ceiling: float = 1.0, tolerance: float) -> int:
    """The first k whose marginal gain is `tolerance` at most: ceil(ln(tolerance / (ceiling p)) / ln(1 - p)), or 0.

    Raises:
        DsegymError: success or ceiling is not in (0, 1], or tolerance is not above 0.
    """
    if not (0 < success <= 1 and 0 < ceiling <= 1 and tolerance > 0):
        raise DsegymError(
            f"success = {success}, ceiling = {ceiling}, tolerance = {tolerance}: the first two are above 0 and at most "
            "1, the third is above 0."
        )
    if ceiling * success <= tolerance:
        return 0
    if success == 1:
        return 1
    return math.ceil(math.log(tolerance / (ceiling * success)) / math.log1p(-success))


class ParScale(NamedTuple):
    """loss(N, P) = E + (A / (N (k ln P + 1)))^alpha."""

    irreducible: float  # E
    scale: float  # A, parameters
    exponent: float  # alpha
    gain: float  # k


# Refitted to the loss table that QwenLM/ParScale publishes, R2 0.9978 and 0.9987.
PARSCALE = {
    "stack_v2": ParScale(0.6912, 1.1307e7, 0.18936, 0.3935),
    "pile": ParScale(1.2886, 1.9752e8, 0.19628, 0.3344),
}


def parameter_equivalent(fit: ParScale, streams: ArrayLike) -> np.ndarray:
    """float64[...]: by what P parallel streams multiply the parameters: 1 + k ln P."""
    return 1.0 + fit.gain * np.log(np.asarray(streams, float))


def parscale_loss(fit: ParScale, *, parameters: ArrayLike, streams: ArrayLike) -> np.ndarray:
    """float64[...]: the loss of `parameters` weights run in `streams` parallel streams."""
    effective = np.asarray(parameters, float) * parameter_equivalent(fit, streams)
    return fit.irreducible + (fit.scale / effective) ** fit.exponent


def matched_compute(*, size_ratio: float, inference_ratio: float) -> float:
    """By what a small model may multiply its inference to cost what a model `size_ratio` times as large does.

    Pre-training costs 6 N D_pre and inference 2 N D_inf; `inference_ratio` is D_inf / D_pre.

    Raises:
        DsegymError: a ratio that is not above 0.
    """
    if not (size_ratio > 0 and inference_ratio > 0):
        raise DsegymError(f"size_ratio = {size_ratio} and inference_ratio = {inference_ratio}; both are above 0.")
    return size_ratio + 3 * (size_ratio - 1) / inference_ratio
