"""A model of your own for `dsegym trace`: a training step of a small gated network, in plain JAX."""

import jax
import jax.numpy as jnp

WIDTH, HIDDEN, BATCH = 256, 1024, 64


def predict(weights, inputs):
    """Two gated layers: bfloat16[BATCH, WIDTH] to the same."""
    for gate, up, down in weights:
        inputs = inputs + (jax.nn.silu(inputs @ gate) * (inputs @ up)) @ down
    return inputs


def step(weights, inputs, targets):
    """One step of gradient descent on the squared error."""
    gradients = jax.grad(lambda w: jnp.mean((predict(w, inputs) - targets) ** 2))(weights)
    return jax.tree.map(lambda weight, gradient: weight - 0.01 * gradient, weights, gradients)


LAYER = [f"bf16[{WIDTH},{HIDDEN}]", f"bf16[{WIDTH},{HIDDEN}]", f"bf16[{HIDDEN},{WIDTH}]"]
# What `dsegym trace toy_model:step` traces it with: one text, array or nest of them an argument.
step.example_args = ([LAYER, LAYER], f"bf16[{BATCH},{WIDTH}]", f"bf16[{BATCH},{WIDTH}]")
