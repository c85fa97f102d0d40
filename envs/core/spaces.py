"""Design spaces: a parameter is a named finite list of values with a unit; a design is an int32 vector of indices."""

from __future__ import annotations

import contextlib
import functools
import math
import numbers
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...costmodels.errors import InvalidDesignError, UnknownNameError, shortened
from ...costmodels.files import plain_number

if TYPE_CHECKING:
    import jax
    from ax.api.configs import ChoiceParameterConfig
    from ConfigSpace import ConfigurationSpace
    from gymnasium.spaces import MultiDiscrete
    from optuna.distributions import BaseDistribution

    from ...costmodels.arrays import Array

__all__ = ["DesignSpace", "Heuristics", "Parameter"]

_MOST_SHOWN = 30  # values or names that an error lists


@dataclass(frozen=True)
class Parameter:
    """One named choice.

    Attributes:
        name: an identifier.
        values: the values to choose from, in ascending order when `ordered`.
        unit: of the values; empty for a pure number or a name.
        ordered: whether neighbours in `values` are alike (agents may interpolate).
        summary: one line for the user.
        ranking: what it puts in order together with the other parameters of this ranking: of their values counts only
            how they compare, equal ones being put in order by the family's own rule, so that permutations are designs
            without ties. Empty where a value counts by itself.
    """

    name: str
    values: tuple[int | float | str, ...]
    unit: str = ""
    ordered: bool = True
    summary: str = ""
    ranking: str = ""

    def index(self, value: object) -> int:
        """The index of a value, given as itself, as an equal number (128 as 128.0) or as its text.

        Raises:
            InvalidDesignError: the value is not in the list.
        """
        for position, candidate in enumerate(self.values):
            if str(candidate) == _text(value) or _equal_numbers(candidate, value):
                return position
        allowed = self.text(_listed(self.values))
        given = shortened(_text(value))
        raise InvalidDesignError(f"{self.name} = '{given}' is not in the design space; allowed: {allowed}.")

    def text(self, value: object) -> str:
        """A value with its unit."""
        return f"{value} {self.unit}".rstrip()


def _equal_numbers(one: object, other: object) -> bool:
    """Whether both are numbers, truths left out, and equal; texts are read as plain decimal numbers."""
    if isinstance(other, str):
        try:
            other = plain_number(other)
        except ValueError:
            return False
    if any(isinstance(each, bool | np.bool_) or not isinstance(each, numbers.Real) for each in (one, other)):
        return False
    return one == other


def _text(value: object) -> str:
    """As a user would write it."""
    try:
        return str(value)
    except ValueError:  # Python writes no integer of more than some thousand digits
        return "a number of thousands of digits"


def _listed(values: Sequence[object]) -> str:
    """All of a few values, the first and the last of many."""
    shown = [str(value) for value in values]
    return ", ".join(shown if len(shown) <= _MOST_SHOWN else [*shown[: _MOST_SHOWN - 2], "...", shown[-1]])


@dataclass(frozen=True)
class DesignSpace:
    """A tuple of parameters. Designs are int32[n] vectors of indices into their value lists."""

    parameters: tuple[Parameter, ...]

    @functools.cached_property
    def cardinalities(self) -> np.ndarray:
        """int32[n], the number of values of each parameter."""
        return np.array([len(parameter.values) for parameter in self.parameters], dtype=np.int32)

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters' names, in design order."""
        return tuple(parameter.name for parameter in self.parameters)

    @property
    def rankings(self) -> dict[str, tuple[int, ...]]:
        """{ranking: the places of its parameters}, for searches over permutations."""
        names = dict.fromkeys(parameter.ranking for parameter in self.parameters if parameter.ranking)
        return {name: tuple(i for i, p in enumerate(self.parameters) if p.ranking == name) for name in names}

    @property
    def size(self) -> int:
        """The number of designs."""
        return math.prod(len(parameter.values) for parameter in self.parameters)

    def __len__(self) -> int:
        return len(self.parameters)

    def __getitem__(self, name: str) -> Parameter:
        """The parameter of a name.

        Raises:
            UnknownNameError: there is none.
        """
        if name not in self.names:
            raise UnknownNameError("parameter", name, self.names)
        return self.parameters[self.names.index(name)]

    def values(self, design: Array, dtype: type | None = None) -> dict[str, jax.Array]:
        """{name: value} of a design inside `jit`: the one place where a cost function or a policy reads a design.

        Args:
            design: int32[..., n].
            dtype: of the numbers; int32 when left out, or float32 where a parameter has a value that is not whole.

        Returns:
            Arrays [...] of the numbers chosen; where the values are names, of their indices, int32.
        """
        import jax.numpy as jnp

        indices = jnp.asarray(design)
        found = {}
        for place, parameter in enumerate(self.parameters):
            index = indices[..., place]
            if any(isinstance(value, str) for value in parameter.values):
                found[parameter.name] = index
            else:
                table = np.asarray(parameter.values)
                found[parameter.name] = jnp.asarray(table, dtype or ("i4" if table.dtype.kind in "iu" else "f4"))[index]
        return found

    def check(self, designs: object) -> np.ndarray:
        """The designs as int32[B, n].

        Args:
            designs: whole numbers, [B, n] or one design [n]; they may come as floats or as objects, as optimisers and
                data frames have them.

        Raises:
            InvalidDesignError: wrong dtype or no whole number, wrong shape, or an index out of range.
        """
        try:
            array = np.asarray(designs)
        except ValueError:
            raise InvalidDesignError("Designs have one shape; those given are of different lengths.") from None
        if array.size and array.dtype.kind not in "iu":
            array = _whole_numbers(array)
        given = list(array.shape)
        if array.ndim == 1:
            array = array[None]
        if array.ndim != 2 or array.shape[1] != len(self):
            raise InvalidDesignError(
                f"Designs have shape [batch, {len(self)}] ({_listed(self.names)}); given: {given}."
            )
        wrong = np.argwhere((array < 0) | (array >= self.cardinalities))
        if wrong.size:
            row, column = wrong[0]
            raise InvalidDesignError(
                f"Design {row}: index {array[row, column]} of {self.names[column]} is out of range; "
                f"allowed: 0 to {self.cardinalities[column] - 1}."
            )
        return array.astype(np.int32)

    def decode_batch(self, designs: object) -> list[dict[str, int | float | str]]:
        """{name: value} of each design, int[B, n]."""
        return [
            {p.name: p.values[i] for p, i in zip(self.parameters, design, strict=True)}
            for design in self.check(designs)
        ]

    def encode_batch(self, rows: Iterable[Mapping[str, object]]) -> np.ndarray:
        """The designs, int32[B, n], of rows {name: value}; raises as `encode`."""
        return np.array([self.encode(row) for row in rows], np.int32).reshape(-1, len(self))

    def decode(self, design: object) -> dict[str, int | float | str]:
        """{name: value} of one design, int[n]."""
        checked = self.check(design)
        if len(checked) != 1:
            raise InvalidDesignError(f"One design is asked for; {len(checked)} are given.")
        indices = checked[0]
        return {p.name: p.values[i] for p, i in zip(self.parameters, indices, strict=True)}

    def describe(self, design: object) -> dict[str, str]:
        """{name: value with unit} of one design, int[n]."""
        values = self.decode(design)
        return {parameter.name: parameter.text(values[parameter.name]) for parameter in self.parameters}

    def encode(self, values: Mapping[str, object]) -> np.ndarray:
        """The design, int32[n], of {name: value}.

        Raises:
            UnknownNameError: a name that is no parameter.
            InvalidDesignError: a parameter is missing or a value is not in its list.
        """
        self._check_names(values)
        return np.array([p.index(values[p.name]) for p in self.parameters], dtype=np.int32)

    def _check_names(self, given: Iterable[str]) -> None:
        """Refuses names that are not those of all parameters.

        Raises:
            UnknownNameError: a name that is no parameter.
            InvalidDesignError: a parameter is missing.
        """
        given = dict.fromkeys(given)
        for name in given:
            if name not in self.names:
                raise UnknownNameError("parameter", name, self.names)
        missing = [name for name in self.names if name not in given]
        if missing:
            raise InvalidDesignError(f"The design leaves out {', '.join(missing)}.")

    def sample(self, generator: np.random.Generator, count: int) -> np.ndarray:
        """Uniform random designs, int32[count, n]."""
        return generator.integers(0, self.cardinalities, size=(count, len(self)), dtype=np.int32)

    def enumerate(self, start: int, stop: int) -> np.ndarray:
        """The designs number `start` to `stop - 1` in lexicographic order, int32[stop - start, n]."""
        return self.numbered(np.arange(start, min(stop, self.size)))

    def numbered(self, numbers: np.ndarray) -> np.ndarray:
        """The designs of these numbers, int[B], in lexicographic order, int32[B, n]."""
        designs = np.zeros((len(numbers), len(self)), np.int32)
        chosen = np.flatnonzero(self.cardinalities > 1)  # NumPy counts in 64 places at most
        if chosen.size:
            designs[:, chosen] = np.stack(np.unravel_index(numbers, self.cardinalities[chosen]), axis=1)
        return designs

    # Other libraries' spaces: a parameter is its place among its values, a whole number where these are in order, else
    # a category; `of_places` reads their answers. Each raises ModuleNotFoundError where its library is not installed.

    def of_places(self, places: Mapping[str, object]) -> np.ndarray:
        """The design, int32[n], of {name: place among the values}, as the spaces below have them.

        Raises:
            UnknownNameError: a name that is no parameter.
            InvalidDesignError: a parameter is missing, or a place is no whole number or out of range.
        """
        self._check_names(places)
        return self.check([places[name] for name in self.names])[0]

    def to_gymnasium(self) -> MultiDiscrete[Any]:
        """Gymnasium's space of designs, int32[n]."""
        from gymnasium.spaces import MultiDiscrete

        return MultiDiscrete(self.cardinalities, dtype=np.int32)

    def to_optuna(self) -> dict[str, BaseDistribution]:
        """Optuna's distributions by name, for `study.ask` and for its samplers."""
        from optuna.distributions import CategoricalDistribution, IntDistribution

        return {
            p.name: IntDistribution(0, len(p.values) - 1)
            if p.ordered
            else CategoricalDistribution(tuple(range(len(p.values))))
            for p in self.parameters
        }

    def to_configspace(self, seed: int | None = None) -> ConfigurationSpace:
        """ConfigSpace's space, as SMAC takes it.

        Args:
            seed: of the configurations that it draws itself.
        """
        from ConfigSpace import CategoricalHyperparameter, ConfigurationSpace, Constant, UniformIntegerHyperparameter

        space = ConfigurationSpace(seed=seed)
        for p in self.parameters:
            last = len(p.values) - 1
            if last == 0:
                space.add(Constant(p.name, 0))
            elif p.ordered:
                space.add(UniformIntegerHyperparameter(p.name, 0, last, default_value=last // 2))
            else:
                space.add(CategoricalHyperparameter(p.name, tuple(range(last + 1)), default_value=0))
        return space

    def to_ax(self) -> list[ChoiceParameterConfig]:
        """Ax's parameters, for `Client.configure_experiment`."""
        from ax.api.configs import ChoiceParameterConfig

        return [
            ChoiceParameterConfig(
                name=p.name, parameter_type="int", values=list(range(len(p.values))), is_ordered=p.ordered
            )
            for p in self.parameters
        ]

    def to_botorch(self) -> tuple[np.ndarray, dict[int, list[float]], dict[int, list[float]]]:
        """BoTorch's bounds, float64[2, n], and its `discrete_dims` and `cat_dims`, {place in the design: values}, of
        `optimize_acqf_mixed_alternating`.
        """
        bounds = np.stack([np.zeros(len(self)), self.cardinalities - 1.0])
        ordered = {i: [float(v) for v in range(len(p.values))] for i, p in enumerate(self.parameters) if p.ordered}
        others = {i: [float(v) for v in range(len(p.values))] for i, p in enumerate(self.parameters) if not p.ordered}
        return bounds, ordered, others


def _whole_numbers(array: np.ndarray) -> np.ndarray:
    """int64, of floats or objects that are whole numbers.

    Raises:
        InvalidDesignError: one is none.
    """
    if array.dtype.kind == "O" and not any(isinstance(each, bool | np.bool_ | str) for each in array.flat):
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            array = array.astype(np.float64)
    if array.dtype.kind != "f":
        raise InvalidDesignError(f"Designs are integer index vectors; the dtype given is {array.dtype}.")
    wrong = array[~(np.isfinite(array) & (array == np.floor(array)) & (abs(array) < 2**53))]
    if wrong.size:
        raise InvalidDesignError(f"Designs are vectors of whole numbers, places among the values; {wrong[0]} is none.")
    return array.astype(np.int64)


@dataclass(frozen=True)
class Heuristics:
    """Named designs of a space as a table: each is the neutral design but for a few values.

    Attributes:
        space: of the designs.
        neutral: {parameter: value} of the design that changes nothing.
        changes: {heuristic: {parameter: value} in which it differs from the neutral one}.
    """

    space: DesignSpace
    neutral: Mapping[str, object]
    changes: Mapping[str, Mapping[str, object]]

    def encode(self, values: Mapping[str, object]) -> tuple[int, ...]:
        """The design of {parameter: value}; what is not given is neutral.

        Raises:
            UnknownNameError, InvalidDesignError: as `DesignSpace.encode`.
        """
        return tuple(self.space.encode({**self.neutral, **values}).tolist())

    def design(self, name: str) -> tuple[int, ...]:
        """The design of a heuristic.

        Raises:
            UnknownNameError: there is no such heuristic.
        """
        if name not in self.changes:
            raise UnknownNameError("heuristic", name, self.changes)
        return self.encode(self.changes[name])

    @property
    def makers(self) -> dict[str, Callable[[], Sequence[int]]]:
        """{heuristic: makes its design}, as `Problem.baselines` has them."""
        return {name: functools.partial(self.design, name) for name in self.changes}

    def rows(self) -> list[dict[str, object]]:
        """A row a heuristic for `dsegym info`; a blank stands for the neutral value."""
        return [
            {"heuristic": name, **{key: str(values.get(key, "")) for key in self.neutral}}
            for name, values in self.changes.items()
        ]
