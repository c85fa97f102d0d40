"""Designs costed a second, and the ratio to SCALE-Sim on the same layers in the same run."""

from __future__ import annotations

import functools

import jax
import numpy as np
import scalesim_peer
from timing import median_seconds, report

import dsegym
from dsegym.costmodels import wide
from dsegym.costmodels.accelerator import model
from dsegym.costmodels.accelerator.platforms import get_platform
from dsegym.costmodels.accelerator.workloads import LayerArrays, get_workload

BATCHES = (1, 256, 4096)


def random_hardware(batch: int) -> model.Hardware:
    """Random designs of the AcceleratorSizing space in physical terms, int32[batch] each."""
    space = dsegym.make_problem("dsegym/AcceleratorSizing-v0").space
    designs = space.sample(np.random.default_rng(0), batch)
    columns = [
        np.arange(len(p.values), dtype=np.int32) if p.name == "dataflow" else np.array(p.values, np.int32)
        for p in space.parameters
    ]
    return model.Hardware(*(values[designs[:, i]] for i, values in enumerate(columns)))


def designs_per_second(layers: LayerArrays, batch: int) -> float:
    """Designs a second through the jitted, vectorised model on layers int32[L]."""
    evaluate = jax.jit(jax.vmap(functools.partial(model.evaluate, platform=get_platform("gemmini")), in_axes=(0, None)))
    hardware, layers = jax.device_put((random_hardware(batch), layers))
    return batch / median_seconds(lambda: jax.block_until_ready(evaluate(hardware, layers)), repeats=100)


def peer_layers() -> LayerArrays:
    """The layers that SCALE-Sim simulates, as matrix products."""
    rows = [
        (layer.output_pixels, layer.filters, layer.window, layer.channels * layer.ifmap_height * layer.ifmap_width, 1)
        for layer in scalesim_peer.RESNET50_LAYERS
    ]
    return LayerArrays(*np.array(rows, np.int32).T)


def against_scalesim() -> None:
    """Simulates three ResNet-50 layers with SCALE-Sim, and costs them with our model."""
    layers, rows, columns = scalesim_peer.RESNET50_LAYERS, 32, 32
    peer = scalesim_peer.run(layers, rows=rows, columns=columns, dataflow="ws")
    hardware = model.Hardware(*(np.int32(value) for value in (rows, columns, 64, 64, 64, 8, 0)))
    ours = model.evaluate_layers(hardware, peer_layers(), get_platform("gemmini"))
    equal = [result.cycles + 1 for result in peer] == wide.to_int64(ours.compute_cycles).tolist()
    report("SCALE-Sim 3.0.0: compute cycles + 1 equal ours on every layer", str(equal), "True")
    peer_seconds = sum(result.seconds for result in peer)
    rate = designs_per_second(peer_layers(), 4096)
    report(f"SCALE-Sim 3.0.0: {len(layers)} ResNet-50 layers, 1 design", f"{peer_seconds:.1f} s")
    report("dsegym: the same layers, 4096 designs at once", f"{1e6 / rate:.3f} us/design")
    report("ratio (a simulation against a closed form)", f"{peer_seconds * rate:.2e}", "above 1e6")


def main() -> None:
    """Prints the table."""
    print("Cost model: ResNet-50, all 54 layers, cycles, traffic, energy, area")
    for batch in BATCHES:
        rate = designs_per_second(get_workload("resnet50").distinct, batch)
        report(f"designs a second at batch {batch}", f"{rate:,.0f}", "1,000,000" if batch == 4096 else "")
    against_scalesim()


if __name__ == "__main__":
    main()
