"""Replicas by the roofline against NVIDIA's aiconfigurator: rank, error and plans a second, in one run.

`python benchmarks/run.py aiconfigurator_peer`; it is found in this interpreter, or in the one that the environment
variable DSEGYM_AICONFIGURATOR names (its 0.9 GB need not stand beside ours: `python -m venv V; V/bin/pip install
aiconfigurator`, then DSEGYM_AICONFIGURATOR=V/bin/python). Offline, CPU alone. Its tables are measured operators of
vLLM, which it composes: a peer whose parts are measured, not a measurement of plans. What both say fits is compared.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import spearmanr
from timing import median_seconds, report

from dsegym.costmodels.serving import roofline
from dsegym.costmodels.transformers import architectures, devices

PLANS = 80
MODELS = {"Llama-3-8B": "meta-llama/Meta-Llama-3.1-8B", "Qwen3-32B": "Qwen/Qwen3-32B"}
SYSTEMS = {"A100-SXM-80GB": "a100_sxm", "H100-SXM-80GB": "h100_sxm", "H200-SXM-141GB": "h200_sxm"}
CHOICES = {
    "model": tuple(MODELS),
    "gpu": tuple(SYSTEMS),
    "tensor": (1, 2, 4, 8),
    "batch": (1, 2, 4, 8, 16, 32, 64, 128, 256),
    "prompt": (256, 1024, 4096),
    "output": (128, 512, 1024),
}
ENOUGH = 4096  # plans of a batch of ours
GOAL = "rank 0.95 at least"
# Runs in aiconfigurator's interpreter: plans on stdin, a line of JSON each on stdout, null where it says no.
WORKER = """
import json, logging, sys, time
logging.disable(logging.CRITICAL)
try:
    from aiconfigurator.cli.api import cli_estimate
except ImportError as error:
    sys.exit(f"aiconfigurator is missing: {error}")
bf16 = dict.fromkeys(("gemm_quant_mode", "kvcache_quant_mode", "fmha_quant_mode"), "bfloat16")
for plan in json.load(sys.stdin):
    start = time.perf_counter()
    try:
        found = cli_estimate(plan["path"], plan["system"], mode="agg", backend_name="vllm", isl=plan["prompt"],
                             osl=plan["output"], batch_size=plan["batch"], tp_size=plan["tensor"], **bf16).raw
        row = [float(found[name]) for name in ("ttft", "tpot", "tokens/s/gpu", "memory")] + [str(found["version"])]
    except Exception as error:
        row = [f"{type(error).__name__}: {error}"[:200]]
    print("PLAN" + json.dumps([time.perf_counter() - start, *row]), flush=True)
"""


def _plans() -> Sequence[Mapping[str, object]]:
    rng = np.random.default_rng(0)
    picked = {name: [values[at] for at in rng.integers(0, len(values), PLANS)] for name, values in CHOICES.items()}
    return [dict(zip(picked, values, strict=True)) for values in zip(*picked.values(), strict=True)]


def _peer(plans: Sequence[Mapping[str, object]]) -> Sequence[Sequence[object]]:
    """[[seconds, TTFT ms, TPOT ms, tokens/s a GPU, GiB, version] or [seconds, why not]] of each plan."""
    interpreter = os.environ.get("DSEGYM_AICONFIGURATOR", sys.executable)
    asked = [{**plan, "path": MODELS[str(plan["model"])], "system": SYSTEMS[str(plan["gpu"])]} for plan in plans]
    done = subprocess.run([interpreter, "-c", WORKER], input=json.dumps(asked), capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it failed"])[-1]
        raise SystemExit(f"{interpreter}: {last}; DSEGYM_AICONFIGURATOR names the interpreter that has it.")
    return [json.loads(line[4:]) for line in done.stdout.splitlines() if line.startswith("PLAN")]


def _ours(plans: Sequence[Mapping[str, object]]) -> tuple[np.ndarray, float]:
    """float64[3, B]: TTFT and TPOT in ms, tokens/s a GPU, NaN where the batch does not fit; and plans a second."""
    bf16 = devices.get_precision("bf16")
    replicas = [
        roofline.replica_of(
            architectures.get_architecture(str(plan["model"])), devices.get_device(str(plan["gpu"])), bf16,
            int(str(plan["tensor"])),
        )
        for plan in plans
    ]  # fmt: skip
    stacked = jax.tree.map(lambda *leaves: np.array(leaves, np.float32), *replicas)
    sizes = [np.array([float(str(plan[name])) for plan in plans], np.float32) for name in ("batch", "prompt", "output")]

    @jax.jit
    def costs(replica: roofline.Replica, batch: jax.Array, prompt: jax.Array, output: jax.Array) -> jax.Array:
        tpot = roofline.tpot_parts(replica, batch, prompt, output).total_s()
        rate = roofline.requests_per_s(replica, batch, prompt, output)
        fits = replica.free_bytes >= batch * replica.kv_bytes_per_token * (prompt + output)
        both = jnp.stack([roofline.prefill_s(replica, prompt) * 1e3, tpot * 1e3, rate * output / replica.gpus])
        return jnp.where(fits, both, jnp.nan)

    values = np.asarray(costs(stacked, *sizes), np.float64)
    many = jax.tree.map(lambda leaf: np.resize(leaf, ENOUGH), (stacked, *sizes))
    seconds = median_seconds(lambda: jax.block_until_ready(costs(*many)), repeats=20, warm_up=2)
    return values, ENOUGH / seconds


def main() -> None:
    """Random replicas, by both."""
    plans = _plans()
    start = time.perf_counter()
    rows = _peer(plans)
    wall = time.perf_counter() - start
    ours, per_second = _ours(plans)
    theirs = np.array([row[1:4] if len(row) > 3 else [np.nan] * 3 for row in rows], np.float64).T
    memory = np.array([row[4] if len(row) > 3 else np.inf for row in rows], np.float64) * 2**30
    room = np.array([devices.get_device(str(plan["gpu"])).memory_bytes for plan in plans])
    fits, fits_there = np.isfinite(ours[0]), memory <= room
    versions = {str(row[5]) for row in rows if len(row) > 5}
    report("plans, of which aiconfigurator answers", f"{len(plans)}, {np.isfinite(theirs[0]).sum()}")
    report("its tables of vLLM", ", ".join(sorted(versions)) or "none")
    report("both agree whether it fits", f"{np.mean(fits == fits_there):.1%}")
    both = fits & fits_there & np.isfinite(theirs[0])
    for name, mine, others in zip(("TTFT, a prompt alone here", "TPOT", "tokens/s a GPU"), ours, theirs, strict=True):
        parts = {"all": both} | {gpu: both & np.array([plan["gpu"] == gpu for plan in plans]) for gpu in SYSTEMS}
        for where, chosen in parts.items():
            rank = float(spearmanr(mine[chosen], others[chosen])[0])  # pyright: ignore[reportArgumentType]
            errors = mine[chosen] / others[chosen] - 1
            said = f"{rank:.3f}, {np.mean(np.abs(errors)):.1%}, {np.median(errors):+.1%} ({chosen.sum()} plans)"
            report(f"{name}, {where}: rank, mean error, median of signed", said, GOAL if where == "all" else "")
    report("aiconfigurator: plans, its start left out", f"{len(rows) / sum(float(str(row[0])) for row in rows):.2f}/s")
    report("aiconfigurator: seconds in all", f"{wall:.0f}")
    report("ours: plans, batches of 4,096", f"{per_second:,.0f}/s")


if __name__ == "__main__":
    main()
