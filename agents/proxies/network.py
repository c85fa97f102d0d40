"""A small multilayer perceptron in flax, fitted by Adam; its weights are named arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from ...costmodels.errors import CorruptResultError
from ...envs.core.spaces import DesignSpace
from .base import Data, Prediction, check_enough, features_of

__all__ = ["PlainNetwork"]

_UNITS, _STEPS, _ROWS, _RATE = 64, 2000, 128, 3e-3  # of a hidden layer; of training, the rows of each, its first rate
_BLOCK = 4096  # designs that are seen at once


class _Perceptron(nn.Module):
    """Two hidden layers; float32[B, F] to the standardised logarithm of the objective and the logit of feasibility."""

    @nn.compact
    def __call__(self, x: Any) -> Any:
        for _ in range(2):
            x = nn.silu(nn.Dense(_UNITS)(x))
        return nn.Dense(2)(x)


class PlainNetwork:
    """Two hidden layers with two outputs.

    Args:
        space: of the designs.
        variables: of the network, nested dicts of float32 arrays.
        scale: float32[3], of the training data: mean and standard deviation of the logarithms, share of the feasible.
    """

    libraries: ClassVar[tuple[str, ...]] = ("flax", "optax")

    def __init__(self, space: DesignSpace, variables: Mapping[str, Any], scale: np.ndarray):
        self.space, self.variables, self.scale = space, variables, scale

    @classmethod
    def fit(cls, space: DesignSpace, data: Data, seed: int) -> Self:
        """Fits both outputs at once; arguments and errors as of `Proxy`."""
        check_enough(data)
        mean, deviation = data.log_objective.mean(), max(data.log_objective.std(), 1e-6)
        scale = np.array([mean, deviation, data.feasible.mean()], np.float32)
        target = ((data.log_objective - scale[0]) / scale[1]).astype(np.float32)
        x, truth = _inputs(space, data.designs), data.feasible.astype(np.float32)
        variables = _trained(jax.random.key(seed), x, target, truth)
        return cls(space, jax.tree.map(np.asarray, variables), scale)

    def predict(self, designs: np.ndarray) -> Prediction:
        """What the network says of designs, int32[B, n]."""
        found = np.zeros((len(designs), 2))
        for start in range(0, len(designs), _BLOCK):
            x = _inputs(self.space, designs[start : start + _BLOCK])
            rows = min(_BLOCK, 1 << (len(designs) - 1).bit_length())  # few shapes to compile
            padded = np.pad(x, ((0, rows - len(x)), (0, 0)))
            found[start : start + len(x)] = np.asarray(_outputs(self.variables, padded))[: len(x)]
        mean, deviation, share = self.scale.tolist()
        mixed = 0.0 < share < 1.0  # where all were alike, the logit has learned nothing
        probability = 1.0 / (1.0 + np.exp(-found[:, 1])) if mixed else np.full(len(found), share)
        return Prediction(found[:, 0] * deviation + mean, probability)

    def arrays(self) -> dict[str, np.ndarray]:
        """The weights by their layers, and the scale."""
        leaves = {f"{layer}/{name}": np.asarray(value) for layer, name, value in _leaves(self.variables)}
        return {**leaves, "scale": self.scale}

    @classmethod
    def of(cls, space: DesignSpace, arrays: Mapping[str, np.ndarray]) -> Self:
        """The network of `arrays`; errors as of `Proxy`."""
        leaves = dict(arrays)
        width = _inputs(space, np.zeros((1, len(space)), np.int32)).shape[1]
        shapes = jax.eval_shape(_Perceptron().init, jax.random.key(0), jnp.zeros((1, width), jnp.float32))
        wanted = {f"{layer}/{name}": value.shape for layer, name, value in _leaves(shapes)} | {"scale": (3,)}
        given = {name: leaf.shape for name, leaf in leaves.items() if leaf.dtype == np.float32}
        finite = all(np.isfinite(leaf).all() for leaf in leaves.values())
        if given != wanted or len(leaves) != len(wanted) or not finite:
            raise CorruptResultError("The arrays are not those of a network of this space.")
        params: dict[str, dict[str, np.ndarray]] = {}
        for name in wanted.keys() - {"scale"}:
            layer, _, leaf = name.partition("/")
            params.setdefault(layer, {})[leaf] = leaves[name]
        return cls(space, {"params": params}, leaves["scale"])


def _leaves(variables: Mapping[str, Any]) -> list[tuple[str, str, Any]]:
    return [(layer, name, value) for layer, each in variables["params"].items() for name, value in each.items()]


def _inputs(space: DesignSpace, designs: np.ndarray) -> np.ndarray:
    """float32[B, F]: a number from -1 to 1 for an ordered parameter, an indicator a value for another."""
    features = features_of(space, designs)
    ranks = {place for places in space.rankings.values() for place in places}
    columns = []
    for place, parameter in enumerate(space.parameters):
        column, last = features[:, place], len(parameter.values) - 1
        if parameter.ordered or place in ranks:
            columns.append(2.0 * (column if place in ranks else column / max(1, last))[:, None] - 1.0)
        else:
            columns.append(np.eye(last + 1)[column.astype(int)])
    return np.concatenate(columns, axis=1).astype(np.float32)


@jax.jit
def _outputs(variables: Any, x: Any) -> Any:
    return _Perceptron().apply(variables, x)


@jax.jit
def _trained(key: Any, x: Any, target: Any, truth: Any) -> Any:
    """The variables after `_STEPS` steps of Adam on rows drawn at random, the rate falling to 0 along a cosine."""
    network = _Perceptron()
    optimiser = optax.adam(optax.cosine_decay_schedule(_RATE, _STEPS))
    first, order = jax.random.split(key)
    variables = network.init(first, x[:1])

    def loss(variables: Any, rows: Any) -> Any:
        out: Any = network.apply(variables, x[rows])
        value = jnp.square(out[:, 0] - target[rows]).mean()
        return value + optax.sigmoid_binary_cross_entropy(out[:, 1], truth[rows]).mean()

    def step(at: Any, key: Any) -> tuple[Any, None]:
        variables, moments = at
        rows = jax.random.randint(key, (min(_ROWS, len(x)),), 0, len(x))
        change, moments = optimiser.update(jax.grad(loss)(variables, rows), moments, variables)
        return (optax.apply_updates(variables, change), moments), None

    (variables, _), _ = jax.lax.scan(step, (variables, optimiser.init(variables)), jax.random.split(order, _STEPS))
    return variables
