"""Gaussian processes of BoTorch over discrete designs, and the local search for a design that promises most.

B designs of n parameters, which the kernel sees as `columns` numbers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..envs.core.spaces import DesignSpace

if TYPE_CHECKING:
    from botorch.models import SingleTaskGP
    from torch import Tensor

__all__ = ["Encoding", "encoding", "lengths_of", "most_promising", "process"]

_ROUNDS = 5  # of changes of one parameter, at most
_MOST_COLUMNS = 64  # of an unordered parameter, a column a value; one of more values is a single column
_TRIES = 20  # pools drawn for a design that is not known yet


def process(
    features: Tensor, values: np.ndarray, coding: Encoding, *, lengths: Mapping[str, Any] | None, fit: bool
) -> SingleTaskGP:
    """The process of values at encoded designs.

    Args:
        features: float64[B, columns], as `coding` makes them.
        values: float64[B].
        coding: the encoding of the designs.
        lengths: `lengths_of` an earlier one, from which this one begins; None for BoTorch's own.
        fit: whether the lengths are fitted anew.
    """
    import torch
    from botorch.exceptions.errors import ModelFittingError
    from botorch.fit import fit_gpytorch_mll
    from botorch.models import SingleTaskGP
    from botorch.models.transforms import Standardize
    from gpytorch.mlls import ExactMarginalLogLikelihood

    model = SingleTaskGP(
        features,
        torch.tensor(values)[:, None],
        covar_module=_kernel(coding),
        outcome_transform=Standardize(1),
    )
    if lengths is not None:
        model.load_state_dict({**model.state_dict(), **lengths})
    if fit:
        with contextlib.suppress(ModelFittingError):  # values that no lengths explain: those before stay
            fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
    return model.eval()


def lengths_of(model: SingleTaskGP) -> Mapping[str, Any]:
    """What of a process was fitted: {name in its state: tensor}."""
    kept = ("covar_module", "likelihood", "mean_module")
    return {key: value for key, value in model.state_dict().items() if key.startswith(kept)}


@dataclass(frozen=True)
class Encoding:
    """What the kernel sees of designs, and how designs become it.

    An ordered parameter is one column, its place as a share. An unordered one of few values is a column a value, so
    that two different ones are at a distance of 1. One of more values than `_MOST_COLUMNS` is a single column, its
    place, of which the kernel asks whether it is the same: an order of six loops alone would be 720 columns.

    Attributes:
        encode: designs int[B, n] to features float64[B, columns].
        owners: int64[C], the parameter of each of the first C columns, whose distances are squares of differences.
        compared: the parameter of each column behind these, whose distance is 0 where the values are the same, else 1.
        parameters: n, how many the designs have, each with a length of its own.
    """

    encode: Callable[[np.ndarray], Tensor]
    owners: Tensor
    compared: tuple[int, ...]
    parameters: int


def encoding(space: DesignSpace) -> Encoding:
    """The encoding of a space's designs."""
    import torch

    tables, compared = {}, []  # {parameter: float64[its values, its columns]}, and those without a table
    for place, parameter in enumerate(space.parameters):
        count = len(parameter.values)
        if parameter.ordered:
            tables[place] = np.linspace(0.0, 1.0, count)[:, None]
        elif count <= _MOST_COLUMNS:
            tables[place] = np.eye(count) * np.sqrt(0.5)
        else:
            compared.append(place)

    def encode(designs: np.ndarray) -> Tensor:
        parts = [table[designs[:, place]] for place, table in tables.items()]
        columns = np.concatenate([*parts, designs[:, compared]], axis=1, dtype=np.float64)
        return torch.tensor(columns)  # a copy: NumPy aligns by chance

    owners = np.repeat(list(tables), [table.shape[1] for table in tables.values()]).astype(np.int64)
    return Encoding(encode, torch.as_tensor(owners), tuple(compared), len(space))


def _kernel(coding: Encoding) -> Any:
    """GPyTorch's: squared exponential with a length a parameter, shared by the parameter's columns."""
    from botorch.models.utils.gpytorch_modules import get_covar_module_with_dim_scaled_prior
    from gpytorch.kernels import Kernel

    count = len(coding.owners)

    class Shared(Kernel):
        """A kernel of encoded designs."""

        def __init__(self) -> None:
            super().__init__()
            self.base = get_covar_module_with_dim_scaled_prior(ard_num_dims=coding.parameters)

        def forward(
            self, x1: Tensor, x2: Tensor, diag: bool = False, last_dim_is_batch: bool = False, **params: Any
        ) -> Tensor:
            lengths = self.base.lengthscale[..., coding.owners]
            one, other = (x[..., :count] / lengths for x in (x1, x2))
            squares = self.covar_dist(
                one, other, square_dist=True, diag=diag, last_dim_is_batch=last_dim_is_batch, **params
            )
            weights = self.base.lengthscale.ravel().square().reciprocal()
            # A matrix at a time: all together would not fit the memory.
            for column, parameter in enumerate(coding.compared, count):
                left, right = x1[..., column], x2[..., column]
                differ = left != right if diag else left[..., :, None] != right[..., None, :]
                squares = squares + differ * weights[parameter]
            return squares.div(-2).exp()

    return Shared()


def most_promising(
    space: DesignSpace,
    centre: np.ndarray,
    length: float,
    promise: Callable[[np.ndarray], np.ndarray],
    seen: set[bytes],
    generator: np.random.Generator,
    *,
    pool_size: int = 1000,
    beginnings: int = 8,
    neighbours: int = 100,
) -> np.ndarray | None:
    """The design of a region, not yet seen, of the highest acquisition that local search finds, int32[n].

    Args:
        space: of the designs.
        centre: int32[n].
        length: share of the parameters that may differ from the centre, and of an ordered one's range how far.
        promise: acquisition float64[B] of designs int32[B, n].
        seen: bytes of the designs that are known.
        generator: of the search.
        pool_size: designs of the region among which the search begins.
        beginnings: of them that are improved.
        neighbours: changes of one parameter that are tried at once for each.

    Returns:
        None where no pool held a design that is not known.
    """
    most = max(1, round(length * len(space)))
    reach = np.maximum(1, np.ceil(length * (space.cardinalities - 1))).astype(int)
    ordered = np.array([p.ordered for p in space.parameters])
    low = np.where(ordered, np.maximum(0, centre - reach), 0)
    high = np.where(ordered, np.minimum(space.cardinalities - 1, centre + reach), space.cardinalities - 1)

    def fresh(designs: np.ndarray) -> np.ndarray:
        inside = (designs != centre).sum(axis=1) <= most
        new = np.fromiter((design.tobytes() not in seen for design in designs), bool, len(designs))
        return designs[inside & new]

    for _ in range(_TRIES):
        changed = generator.integers(1, most + 1, (pool_size, 1))
        rank = generator.random((pool_size, len(space))).argsort(axis=1).argsort(axis=1)
        drawn = generator.integers(low, high + 1, (pool_size, len(space)))
        pool = fresh(np.where(rank < changed, drawn, centre).astype(np.int32))
        if len(pool):
            break
    else:
        return None
    values = promise(pool)
    order = np.argsort(-values, kind="stable")[:beginnings]
    here, heights = pool[order], values[order]
    for _ in range(_ROUNDS):
        tried = np.repeat(here, neighbours, axis=0)
        rows, owner = np.arange(len(tried)), np.repeat(np.arange(len(here)), neighbours)
        places = generator.integers(0, len(space), len(tried))
        tried[rows, places] = generator.integers(low[places], high[places] + 1)
        allowed = (tried != centre).sum(axis=1) <= most
        allowed &= np.fromiter((design.tobytes() not in seen for design in tried), bool, len(tried))
        tried, owner = tried[allowed], owner[allowed]
        if not len(tried):
            break
        found = promise(tried)
        improved = False
        for each in range(len(here)):
            mine = np.flatnonzero(owner == each)
            if not len(mine):
                continue
            top = mine[np.argmax(found[mine])]
            if found[top] > heights[each]:
                here[each], heights[each], improved = tried[top], found[top], True
        if not improved:
            break
    return here[np.argmax(heights)]
