"""Layer-mappings a second of the mapping-aware model: alone, exact and with gradients, and as whole designs."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from timing import median_seconds, report

import dsegym
from dsegym.costmodels.accelerator.mapping import encoding, heuristics, model, network
from dsegym.costmodels.accelerator.workloads import get_workload

BATCHES = (1, 256, 4096)
GOAL = 1_000_000  # layer-mappings a second
Case = tuple[model.Mapping, model.LayerShape, model.Hardware]


def cases(batch: int) -> Case:
    """ResNet-50's distinct layers, over and over, under random mappings on Gemmini's default machine."""
    nests = network.Network.of(get_workload("resnet50"))
    tables = encoding.tables(nests)
    sizes = [len(values) for values in encoding.choices(nests).values()]
    designs = np.random.default_rng(0).integers(0, sizes, (-(-batch // len(nests.loops)), len(sizes)))
    _, hardware = heuristics.reference_hardware(1, 8)
    decode = jax.jit(jax.vmap(lambda design: encoding.decode(design, tables, nests.arrays, np.int32(8))[1]))
    mappings = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:batch], decode(designs))
    shapes = jax.tree.map(lambda leaf: np.resize(leaf, (batch, *leaf.shape[1:])), nests.arrays.shapes)
    machines = jax.tree.map(lambda size: np.full(batch, size, np.int32), hardware)
    return jax.device_put((mappings, shapes, machines))


def exact(mapping: model.Mapping, shape: model.LayerShape, hardware: model.Hardware) -> tuple[object, object]:
    """Counts as exact integers, and energies."""
    costs = model.evaluate(mapping, shape, hardware)
    return costs, model.energies(costs, hardware)


def log_edp(logs: jax.Array, mapping: model.Mapping, shape: model.LayerShape, hardware: model.Hardware) -> jax.Array:
    """Of the logarithms of temporal factors [4, 7], for gradients."""
    costs = model.evaluate_relaxed(mapping._replace(temporal=jnp.exp(logs)), shape, hardware)
    return jnp.log(costs.cycles) + jnp.log(sum(model.energies(costs, hardware)))


def rate(batch: int, function: Callable[..., object], *arguments: object) -> str:
    """Results a second of a compiled function of batches."""
    return f"{batch / median_seconds(lambda: jax.block_until_ready(function(*arguments)), repeats=30):,.0f}"


def main() -> None:
    """Prints the table."""
    print("Mapping-aware model: layers of ResNet-50 under random mappings (Timeloop: about 47 a CPU-second)")
    evaluate, slopes = jax.jit(jax.vmap(exact)), jax.jit(jax.vmap(jax.value_and_grad(log_edp)))
    for batch in BATCHES:
        mappings, shapes, machines = cases(batch)
        found = rate(batch, evaluate, mappings, shapes, machines)
        report(f"layer-mappings a second at batch {batch}, exact", found, f"{GOAL:,}" if batch == max(BATCHES) else "")
        logs = jnp.log(mappings.temporal.astype(jnp.float32))
        real = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), machines)
        found = rate(batch, slopes, logs, mappings, shapes, real)
        report(f"layer-mappings a second at batch {batch}, value and gradient", found)
    problem = dsegym.make_problem("dsegym/AcceleratorMapping-v0", workload="resnet50")
    for batch in (1, 128):
        designs = problem.space.sample(np.random.default_rng(0), batch)
        report(
            f"designs of ResNet-50, {len(problem.space)} choices each, a second at batch {batch}",
            rate(batch, problem.evaluate, designs),
        )


if __name__ == "__main__":
    main()
