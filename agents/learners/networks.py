"""Networks that fit an observation, named by a configuration that a policy's card can hold.

How a network reads an observation is derived from the environment's features (`layout_of`): rows, each of which has the
same features, and the rest. Rows stand for actions where the observation begins with features of a value, or of a row
of values, for each of the A actions, or for each choice of a MultiDiscrete space; or where a feature of two axes has A
values, and then features along one of the axes hold for every row of it (`Feature.along` says which, where the axes may
be of one length). Otherwise they are the entries along the first axis of the features with which the observation
begins, a window of accesses say. A row that is 0 in all its features stands for what an instance lacks
(`FunctionalEnv.padded`), and is not looked at.

A actions of a choice, N rows, F features of a row, R numbers beside the rows; leading axes are free.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import flax.linen as nn
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from ...costmodels.arrays import Array
from ...costmodels.errors import DsegymError, InvalidOptionError, UnknownNameError
from ...envs.core.drawn import DrawnEnv
from ...envs.core.features import Feature
from ...envs.core.functional import FunctionalEnv
from ...envs.core.one_shot import ParametricEnv, SequentialEnv

__all__ = [
    "AUTO",
    "KINDS",
    "RANGES",
    "Configuration",
    "Layout",
    "Network",
    "check_variables",
    "configuration_of",
    "default_kind",
    "layout_of",
    "network_of",
    "plain_network",
]

AUTO = "auto"
RANGES: Mapping[str, tuple[float, float]] = {"units": (1, 4096), "layers": (1, 32), "heads": (1, 64)}


@dataclass(frozen=True)
class Configuration:
    """What a network is: JSON by `dataclasses.asdict`, and back by `configuration_of`.

    Attributes:
        kind: of `KINDS`; or `auto`, which `network_of` replaces by what fits.
        units: of a layer.
        layers: hidden ones.
        heads: of attention; units are a multiple of them.
    """

    kind: str = AUTO
    units: int = 64
    layers: int = 2
    heads: int = 4


class _Part(NamedTuple):
    """Where a feature stands in an observation, and what it is of."""

    start: int
    shape: tuple[int, ...]
    of: str  # row, first (axis of the rows), last, or rest


class Layout(NamedTuple):
    """How a network reads an observation."""

    counts: tuple[int, ...]  # of actions, for each choice
    several: bool  # whether an action is several choices
    rows: tuple[int, ...]  # axes of the rows; () where there are none
    scored: bool  # whether a row is an action, or a choice
    parts: tuple[_Part, ...]

    def split(self, observation: Array) -> tuple[Array, Array]:
        """The rows, float32[..., N, F], and the rest, float32[..., R], of an observation, float32[..., n]."""
        leading, count = observation.shape[:-1], math.prod(self.rows)
        rows, rest = [], []
        for start, shape, of in self.parts:
            values = observation[..., start : start + math.prod(shape)]
            if of == "rest":
                rest.append(values)
            elif of == "row":
                rows.append(values.reshape(*leading, count, -1))
            else:
                axes = (self.rows[0], 1) if of == "first" else (1, self.rows[1])
                each = values.reshape(*leading, *axes, -1)
                rows.append(jnp.broadcast_to(each, (*leading, *self.rows, each.shape[-1])).reshape(*leading, count, -1))
        nothing = observation[..., :0]
        return jnp.concatenate(rows, axis=-1), jnp.concatenate([*rest, nothing], axis=-1)


def layout_of(env: FunctionalEnv[Any, Any]) -> Layout:
    """How networks read an environment's observations.

    Raises:
        DsegymError: it has images, or actions that are neither one choice nor several.
    """
    space, features = env.action_space, list(env.features)
    if any(feature.channel for feature in features):
        raise DsegymError("Learners' networks take observations that are vectors; those of this form have an image.")
    counts, several = _choices_of(space)
    actions = len(counts) if several else counts[0]
    tables = [f.shape for f in features if len(f.shape) == 2 and f.size == actions and f.along is None and not several]
    leads = bool(features) and features[0].shape[:1] == (actions,)
    if tables and not leads:
        rows, scored = tables[0], True
        roles = [_role(feature, rows) for feature in features]
    else:
        rows, scored = (features[0].shape[:1] if features else ()), leads
        run = sum(1 for _ in itertools.takewhile(lambda f: rows and f.shape[:1] == rows and f.along != 1, features))
        roles = ["row"] * run + ["rest"] * (len(features) - run)
    starts = np.cumsum([0, *(feature.size for feature in features)]).tolist()
    parts = tuple(_Part(start, f.shape, role) for start, f, role in zip(starts, features, roles, strict=False))
    return Layout(counts, several, rows, scored, parts)


def _choices_of(space: gymnasium.Space) -> tuple[tuple[int, ...], bool]:
    """`Layout`'s counts and several of an action space.

    Raises:
        DsegymError: its actions are neither one choice nor several.
    """
    if isinstance(space, gymnasium.spaces.Discrete):
        return (int(space.n),), False
    if isinstance(space, gymnasium.spaces.MultiDiscrete) and space.nvec.ndim == 1:
        return tuple(int(count) for count in space.nvec), True
    raise DsegymError(f"Learners take Discrete and MultiDiscrete actions; given: {space}.")


def plain_network(observations: gymnasium.Space, actions: gymnasium.Space, units: int) -> Network:
    """An `mlp` of two layers for a form of which nothing but its spaces is known.

    Raises:
        DsegymError: observations are no vectors, or actions are neither one choice nor several.
    """
    if not (isinstance(observations, gymnasium.spaces.Box) and len(observations.shape) == 1):
        raise DsegymError(f"Learners' networks take observations that are vectors; those of this form: {observations}.")
    return Network(Configuration("mlp", units), Layout(*_choices_of(actions), (), False, ()))


def _role(feature: Feature, table: tuple[int, ...]) -> str:
    """Of a feature beside rows along two axes."""
    shape = feature.shape
    if feature.along is not None:
        return ("first", "last")[feature.along]
    if shape[:2] == table:
        return "row"
    if shape[:1] == table[:1]:
        return "first"
    return "last" if shape == table[1:] else "rest"


def default_kind(env: FunctionalEnv[Any, Any]) -> str:
    """`scorer` where rows stand for actions, else `mlp`: attention has to be asked for, as it takes much longer.

    In the one-shot forms a row is a parameter and not an action, though their counts may agree: `mlp`.
    """
    own = env.inner if isinstance(env, DrawnEnv) else env
    one_shot = isinstance(own, ParametricEnv | SequentialEnv)
    return "scorer" if layout_of(env).scored and not one_shot else "mlp"


class Network(nn.Module):
    """A policy and its value: `apply(variables, observation float32[..., n], mask) -> (logits, value float32[...])`.

    Logits are float32[..., A], or float32[..., choices, A] for an action of several choices, those that a choice has
    not at -1e9. The mask is not looked at: what of it matters is in the observation, and `masked` applies it.
    """

    configuration: Configuration
    layout: Layout

    @nn.compact
    def __call__(self, observation: Array, mask: Array | None = None) -> tuple[Array, Array]:
        """See the class."""
        del mask
        layout = self.layout
        most, choices = max(layout.counts), len(layout.counts)
        logits, value = KINDS[self.configuration.kind](self.configuration, layout, jnp.asarray(observation))
        logits = logits.reshape(*value.shape, choices, most)
        if not layout.several:
            return logits[..., 0, :], value
        return jnp.where(np.arange(most) < np.array(layout.counts)[:, None], logits, -1e9), value


def _orthogonal(scale: float) -> Callable[..., Any]:
    """The weights of `flax.linen.initializers.orthogonal`, but for rounding, without LAPACK.

    LAPACK's QR blocks the CPU's thread pool for ever now and then (jaxlib 0.10.2): calls side by side hold all threads
    and wait for work that waits for a thread.
    """

    def init(key: Any, shape: tuple[int, int], dtype: Any = jnp.float32) -> Any:
        drawn = jax.random.normal(key, (max(shape), min(shape)), dtype)

        def column(number: Any, found: Any) -> Any:
            """Gram and Schmidt's, twice, which is as orthogonal as QR."""
            rest = drawn[:, number]
            for _ in range(2):
                rest = rest - found @ (found.T @ rest)
            return found.at[:, number].set(rest / jnp.linalg.norm(rest))

        found = jax.lax.fori_loop(0, min(shape), column, jnp.zeros_like(drawn))
        return scale * (found.T if shape[0] < shape[1] else found)

    return init


def _dense(outputs: int, name: str, scale: float = math.sqrt(2), *, bias: bool = True) -> nn.Dense:
    return nn.Dense(outputs, kernel_init=_orthogonal(scale), name=name, use_bias=bias)


def _tower(configuration: Configuration, x: Any, outputs: int, scale: float, name: str, activation: Any) -> Any:
    for layer in range(configuration.layers):
        x = activation(_dense(configuration.units, f"{name}{layer}")(x))
    return _dense(outputs, f"{name}_out", scale)(x)


def _context(rows: Any, present: Any, rest: Any) -> Any:
    """float32[..., 2 * F + R]: means and maxima over the rows that are there, and the rest."""
    shown = present[..., None]
    mean = rows.sum(-2) / jnp.maximum(shown.sum(-2), 1)
    most = jnp.where(shown.any(-2), jnp.where(shown, rows, -jnp.inf).max(-2), 0.0)
    return jnp.concatenate([mean, most, rest], axis=-1)


def _split(layout: Layout, observation: Any) -> tuple[Any, Any, Any]:
    """The rows, bool[..., N] which of them are there, and the context."""
    rows, rest = layout.split(observation)
    present = jnp.any(rows != 0, axis=-1)
    return rows, present, _context(rows, present, rest)


def _mlp(configuration: Configuration, layout: Layout, observation: Any) -> tuple[Any, Any]:
    """One tower for the policy and one for the value, tanh, over the whole observation."""
    outputs = len(layout.counts) * max(layout.counts)
    logits = _tower(configuration, observation, outputs, 0.01, "policy", nn.tanh)
    return logits, _tower(configuration, observation, 1, 1.0, "value", nn.tanh)[..., 0]


def _scorer(configuration: Configuration, layout: Layout, observation: Any) -> tuple[Any, Any]:
    """One tower scores every row, which sees the context; one for the value sees the context."""
    rows, _, context = _split(layout, observation)
    units = configuration.units
    # The context's share of the first layer is the same for every row: computed once, not N times.
    shared = _dense(units, "policy_context", bias=False)(context)[..., None, :]
    x = nn.relu(_dense(units, "policy0")(rows) + shared)  # tanh would be half of the time
    for layer in range(1, configuration.layers):
        x = nn.relu(_dense(units, f"policy{layer}")(x))
    logits = _dense(max(layout.counts) if layout.several else 1, "policy_out", 0.01)(x)
    return logits, _tower(configuration, context, 1, 1.0, "value", nn.relu)[..., 0]


def _attention(configuration: Configuration, layout: Layout, observation: Any) -> tuple[Any, Any]:
    """Rows and a token of the context attend to one another (Vaswani et al., 2017, layer norms first); a row's token
    scores it where it stands for an action, else the context's does. Rows that are no actions know their place.
    """
    rows, present, context = _split(layout, observation)
    units = configuration.units
    x = _dense(units, "rows")(rows)
    if not layout.scored:
        x = x + _positions(x.shape[-2], units)
    x = jnp.concatenate([_dense(units, "context")(context)[..., None, :], x], axis=-2)
    seen = jnp.concatenate([jnp.ones_like(present[..., :1]), present], axis=-1)[..., None, None, :]
    for layer in range(configuration.layers):
        normed = nn.LayerNorm(name=f"norm{layer}")(x)
        x = x + nn.MultiHeadDotProductAttention(configuration.heads, name=f"attention{layer}")(normed, mask=seen)
        normed = nn.LayerNorm(name=f"norm_after{layer}")(x)
        x = x + _dense(units, f"out{layer}")(nn.relu(_dense(2 * units, f"in{layer}")(normed)))
    x = nn.LayerNorm(name="norm")(x)
    value = _dense(1, "value_out", 1.0)(x[..., 0, :])[..., 0]
    if not layout.scored:
        return _dense(len(layout.counts) * max(layout.counts), "policy_out", 0.01)(x[..., 0, :]), value
    return _dense(max(layout.counts) if layout.several else 1, "policy_out", 0.01)(x[..., 1:, :]), value


def _positions(count: int, units: int) -> Any:
    """float32[count, units], learned."""
    return nn.Embed(count, units, name="places")(jnp.arange(count))


# Name: (configuration, layout, observation) -> (logits of all choices, value), within a flax module.
KINDS: Mapping[str, Callable[[Configuration, Layout, Any], tuple[Any, Any]]] = {
    "mlp": _mlp,
    "scorer": _scorer,
    "attention": _attention,
}


def network_of(env: FunctionalEnv[Any, Any], configuration: Configuration) -> Network:
    """The network of a configuration for an environment; its own names the kind that it is.

    Raises:
        UnknownNameError: there is no such kind.
        DsegymError: it does not fit the environment, or a number is out of its range; says what is allowed.
    """
    kind, layout = configuration.kind, layout_of(env)
    if kind == AUTO:
        kind = default_kind(env)
    if kind not in KINDS:
        raise UnknownNameError("network", kind, (AUTO, *KINDS))
    for name, (least, most) in RANGES.items():
        value = getattr(configuration, name)
        if not least <= value <= most:
            raise InvalidOptionError(f"the network's {name}", value, [f"whole numbers from {least} to {most}"])
    if kind == "scorer" and not layout.scored:
        raise DsegymError("A scorer needs features of every action, with which observations of this form do not begin.")
    if kind == "attention" and not layout.rows:
        raise DsegymError(
            "Attention needs features of several rows, with which observations of this form do not begin."
        )
    if kind == "attention" and configuration.units % configuration.heads:
        raise DsegymError(
            f"An attention network's units are a multiple of its heads; given: {configuration.units} units, "
            f"{configuration.heads} heads."
        )
    return Network(dataclasses.replace(configuration, kind=kind), layout)


def configuration_of(values: object) -> Configuration:
    """The configuration that JSON holds.

    Raises:
        UnknownNameError: a name that it does not have.
        DsegymError: it is no mapping, or a value is of another type.
    """
    if not isinstance(values, Mapping):
        raise DsegymError(f"A network's configuration is an object of names and values; given: {values!r:.200}.")
    fields = {field.name: type(field.default) for field in dataclasses.fields(Configuration)}
    for name, value in values.items():
        if name not in fields:
            raise UnknownNameError("field of a network's configuration", name, fields)
        if type(value) is not fields[name]:
            raise DsegymError(f"The network's {name} = {value!r:.200} is no {fields[name].__name__}.")
    return Configuration(**values)


def check_variables(env: FunctionalEnv[Any, Any], network: Network, variables: Any) -> None:
    """Refuses variables that are not the network's, or with which nothing can be computed.

    Raises:
        DsegymError: one is missing, is of another shape, or holds NaN or infinity; names it.
    """
    expected = _named(jax.eval_shape(network.init, jax.random.key(0), jnp.zeros(env.observation_space.shape)))
    given = _named(variables)
    if set(expected) != set(given):
        name = sorted(set(expected) ^ set(given))[0]
        what = "lack" if name in expected else "have"
        raise DsegymError(f"The weights do not fit the network: they {what} {name}.")
    for name, leaf in expected.items():
        array = np.asarray(given[name])
        if array.shape != leaf.shape or array.dtype != leaf.dtype:
            raise DsegymError(
                f"The weights do not fit the network: {name} is {leaf.dtype}{list(leaf.shape)}; given: "
                f"{array.dtype}{list(array.shape)}."
            )
        if not np.isfinite(array).all():
            raise DsegymError(f"The weights cannot be used: {name} holds NaN or infinity.")


def _named(tree: Any) -> dict[str, Any]:
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}
