"""Designs a second of the attention tier: the closed form alone, exact and with gradients, and as a problem."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from timing import load_oracle, median_seconds, report

import dsegym
from dsegym.costmodels.accelerator.attention import model, sizing

BATCHES = (1, 256, 4096)
GOAL = 1_000_000  # designs a second
BERT = model.Attention(64, 12, 16384, 64, 64)


def log_latency(logs: jax.Array, cascade: jax.Array) -> jax.Array:
    """Of the logarithms of edge, buffer, bandwidth and block, float32[4], for gradients."""
    edge, buffer, bandwidth, block = jnp.exp(logs)
    costs = model.evaluate_cascades(model.Hardware(edge, buffer, bandwidth), block, BERT, round_up=lambda q: q)
    return jnp.log(costs.at(cascade).latency_s)


def main() -> None:
    """Prints the table."""
    print("Attention tier: BERT's attention at 16K on random machines")
    generator = np.random.default_rng(0)
    columns = [*sizing.MACHINE.values(), sizing.BLOCKS]
    evaluate = jax.jit(jax.vmap(model.evaluate, in_axes=(0, 0, None)))
    slopes = jax.jit(jax.vmap(jax.value_and_grad(log_latency)))
    for batch in BATCHES:
        *machine, block = (generator.choice(values, batch).astype(np.float32) for values in columns)
        cascade = generator.integers(0, len(model.CASCADES), batch).astype(np.int32)
        arguments = jax.device_put((model.Hardware(*machine), model.Mapping(cascade, block)))
        seconds = median_seconds(lambda given=arguments: jax.block_until_ready(evaluate(*given, BERT)))
        report(
            f"designs a second at batch {batch}, exact", f"{batch / seconds:,.0f}", f"{GOAL:,}" if batch == 4096 else ""
        )
        logs = jax.device_put((np.log(np.stack([*machine, block], axis=1)), cascade))
        seconds = median_seconds(lambda given=logs: jax.block_until_ready(slopes(*given)))
        report(f"designs a second at batch {batch}, value and gradient", f"{batch / seconds:,.0f}")
    problem = dsegym.make_problem("dsegym/AttentionAccelerator-v0", model="BERT", length="16K")
    designs = problem.space.sample(generator, 4096)
    seconds = median_seconds(lambda: problem.evaluate(designs))
    report("designs a second at batch 4096, as a problem", f"{4096 / seconds:,.0f}")
    walk = load_oracle("attention_oracle").attention
    plain = median_seconds(lambda: walk("fusemax", 256, 16384, 400, 4, *BERT), repeats=5)
    report("a walk over the tiles in plain Python over a design of the batch", f"{plain / (seconds / 4096):,.0f}")


if __name__ == "__main__":
    main()
