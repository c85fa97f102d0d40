"""Fits the law of a training step to published runs, and says how far off it is, there and where it was not fitted.

    python benchmarks/training_plans.py FOLDER

FOLDER holds `llm/` (Megatron-LM's and Korthikanti's tables) and `llm_training/` (llm-foundry's and Megatron-Bridge's
measured plans). The constants of `costmodels/training/clusters.py` are the fit to all of Megatron's, Korthikanti's and
llm-foundry's bf16 rows. Megatron-Bridge's rows are never fitted.
"""

from __future__ import annotations

import csv
import dataclasses
import functools
import hashlib
import itertools
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from scipy.optimize import least_squares

from dsegym.costmodels.training.clusters import (
    CARDS,
    HALF_SIZE,
    TRAFFIC,
    Cluster,
    get_cluster,
    machine_of,
    usable_bytes,
)
from dsegym.costmodels.training.memory import memory_bytes
from dsegym.costmodels.training.models import trained_model
from dsegym.costmodels.training.optimum import Search, costed
from dsegym.costmodels.training.plan import Instance, table_of
from dsegym.costmodels.training.search import Limits, values_of
from dsegym.costmodels.training.step import FULL, NONE, SELECTIVE, Machine, Plan, Task, step_times
from dsegym.costmodels.transformers.architectures import Architecture

WEIGHTS = {"table1": 2.0, "table2": 1.0, "korthikanti": 1.0, "llm-foundry": 0.35, "zero3": 0.2}
SEQUENCE = 2048


@dataclass(frozen=True)
class Run:
    """A published plan, and the seconds of a step that its publication states."""

    source: str
    label: str
    cluster: Cluster
    precision: str
    attention: str
    overlap: str
    task: Task
    plan: Plan
    seconds: float
    model_name: str = ""

    @property
    def machine(self) -> Machine:
        """What it ran on."""
        return machine_of(self.cluster, precision=self.precision, attention=self.attention, overlap=self.overlap)


def rows_of(path: Path) -> list[dict[str, str]]:
    """Of a table."""
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def gpt(layers: int, hidden: int, heads: int, vocabulary: int = 51200, positions: int = SEQUENCE) -> Architecture:
    """A GPT by its sizes, embeddings tied."""
    h = hidden
    return Architecture(
        layers=layers, hidden=h, heads=heads, kv_heads=heads, attention_parameters=4 * h * h, dense_layers=layers,
        ffn_parameters=8 * h * h, expert_parameters=0, experts=0, active_experts=0, shared_experts=0,
        vector_parameters=13 * h, lookup_parameters=(vocabulary + positions) * h, output_parameters=vocabulary * h,
        stored_output_parameters=0, kv_numbers=2 * h, kv_shards=heads, prefill_pair_flop=4 * h, decode_pair_flop=4 * h,
    )  # fmt: skip


def megatron_flop(layers: int, hidden: int, batch: int) -> float:
    """Of a step with full recomputation, as Narayanan et al. count: what their TFLOP/s are shares of."""
    s, h = SEQUENCE, hidden
    return 96.0 * batch * s * layers * h * h * (1 + s / (6 * h) + 51200 / (16 * layers * h))


def plan_of(t: int, p: int, d: int, **other: float) -> Plan:
    """A plan; what is not given is plain."""
    plain = {"context": 1, "expert": 1, "micro_batch": 1, "interleave": 1, "zero": 0, "recompute": NONE, "sequence": 0}
    return Plan(tensor=t, pipeline=p, data=d, **{**plain, "offload": 0, **other})


def _megatron(source: str, label: str, task: Task, plan: Plan, seconds: float) -> Run:
    return Run(source, label, get_cluster("A100"), "bf16", "written", "none", task, plan, seconds)


def table1(folder: Path) -> list[list[Run]]:
    """Ten models of Narayanan et al., table 1: of each the plans that it may have run, whose micro-batch and
    interleaving are not told: those that fit.
    """
    found = []
    for row in rows_of(folder / "llm" / "megatron_table1.csv"):
        layers, hidden, heads, t, p, d, gpus, batch = (
            int(row[name]) for name in ("layers", "hidden", "heads", "t", "p", "d", "gpus", "batch")
        )
        task = Task(gpt(layers, hidden, heads), SEQUENCE, batch, 1.0, 4, 12)
        seconds = megatron_flop(layers, hidden, batch) / gpus / float(row["tflops_per_gpu"]) / 1e12
        runs = []
        for b, v in itertools.product((1, 2, 4, 8, 16), (1, 2, 3, 4)):
            rounds = batch // (d * b) % p == 0 and p > 1
            if batch // d % b or (v > 1 and (layers // p % v or not rounds)):
                continue
            plan = plan_of(t, p, d, micro_batch=b, interleave=v, recompute=FULL)
            if float(memory_bytes(task, plan, 1.0).total()) <= usable_bytes(get_cluster("A100")):
                runs.append(_megatron("table1", row["params_b"], task, plan, seconds))
        found.append(runs)
    return found


def table2(folder: Path, scheme: str) -> list[Run]:
    """Narayanan et al., table 2: `PTD-P`, their own, or `ZeRO-3`."""
    found = []
    for row in rows_of(folder / "llm" / "megatron_table2.csv"):
        if row["scheme"] != scheme:
            continue
        layers, hidden, heads = (96, 12288, 96) if float(row["params_b"]) < 300 else (105, 20480, 128)
        gpus, batch, b = int(row["gpus"]), int(row["batch"]), int(row["microbatch"])
        split = int(row["model_parallel_size"])
        seconds = megatron_flop(layers, hidden, batch) / gpus / float(row["tflops_per_gpu"]) / 1e12
        whole = scheme == "ZeRO-3"
        task = Task(gpt(layers, hidden, heads), SEQUENCE, batch, 1.0, 2 if whole else 4, 12)
        plan = plan_of(1 if whole else 8, 1 if whole else split // 8, gpus // split)
        plan = plan._replace(micro_batch=b, recompute=FULL, zero=3 if whole else 0)
        label = f"{row['params_b']}B on {gpus}"
        found.append(_megatron("zero3" if whole else "table2", label, task, plan, seconds))
    return found


def korthikanti(folder: Path) -> list[Run]:
    """Korthikanti et al.: four models, everything computed anew, and sequence parallel with selective recomputation."""
    found = []
    for row in rows_of(folder / "llm" / "korthikanti_recompute.csv"):
        layers, hidden, heads, t, p, v, batch, b = (
            int(row[name]) for name in ("layers", "hidden", "heads", "t", "p", "v", "batch", "microbatch")
        )
        task = Task(gpt(layers, hidden, heads), SEQUENCE, batch, 1.0, 4, 12)
        for recompute, sequence, column in (
            (FULL, 0, "iter_s_full_recompute"),
            (SELECTIVE, 1, "iter_s_seqpar_selective"),
        ):
            plan = plan_of(t, p, 1, micro_batch=b, interleave=v, recompute=recompute, sequence=sequence)
            found.append(_megatron("korthikanti", f"{row['model']} {column}", task, plan, float(row[column])))
    return found


FOUNDRY = {"a100_80gb": "A100", "a100_40gb": "A100-40GB", "h100_80gb": "H100"}


def llm_foundry(folder: Path, precision: str = "bf16") -> list[Run]:
    """MPT with FSDP. SHARD_GRAD_OP is stage 2; PURE keeps gradients in two bytes."""
    found = []
    for row in rows_of(folder / "llm_training" / "llm_foundry_mpt.csv"):
        if ("fp8" in row["Precision"]) != (precision == "fp8"):
            continue
        model, s, gpus = trained_model(f"MPT-{row['Model'].upper()}"), int(row["SeqLen (T)"]), int(row["# GPUs"])
        batch = int(row["GlobalBatchSize"])
        task = Task(model, s, batch, 1.0, 2 if row["MP Mode"] == "PURE" else 4, 12)
        plan = plan_of(1, 1, gpus, micro_batch=int(row["MicroBatchSize"]))
        plan = plan._replace(
            zero=3 if row["Sharding Strategy"] == "FULL_SHARD" else 2,
            recompute=FULL if row["Activation Checkpointing"] == "True" else NONE,
        )
        label = f"{row['Model']} of {s} on {gpus} {row['GPU']}"
        seconds = batch * s / gpus / float(row["Throughput (T/s/GPU)"])
        cluster = get_cluster(FOUNDRY[row["GPU"]])
        found.append(Run("llm-foundry", label, cluster, precision, "triton", "data", task, plan, seconds))
    return found


BRIDGE_MODELS = {
    "LLAMA3_8B": "Llama-3-8B",
    "LLAMA3_70B": "Llama-3-70B",
    "LLAMA3.1_405B": "Llama-3.1-405B",
    "DeepSeekV3": "DeepSeek-V3",
    "Qwen3_30B_a3B": "Qwen3-30B-A3B",
    "Qwen3_235B_a22B": "Qwen3-235B-A22B",
    "GPT OSS 120B": "GPT-OSS-120B",
    "Kimi_K2": "Kimi-K2",
}
# What B300 and GB300 have beside B200 and GB200: 10^12 operations a second, 10^9 bytes, 10^9 bytes/s; from memory.
NEWER = {"B300": ("B200", 13500, 288, 8000, 90), "GB300": ("GB200", 15000, 288, 8000, 90)}


def bridge_cluster(name: str) -> Cluster:
    """A system of Megatron-Bridge's tables."""
    if name not in NEWER:
        return get_cluster(name)
    base, fp4, memory, bandwidth, out = NEWER[name]
    older = get_cluster(base)
    peaks = {**older.device.peak_flops, "fp4": fp4 * 1e12}
    device = dataclasses.replace(
        older.device, name=name, peak_flops=peaks, memory_bytes=memory * 1e9, bandwidth_bytes_s=bandwidth * 1e9
    )
    return dataclasses.replace(older, name=name, device=device, scale_out_bytes_s=out * 1e9)


def _first_number(text: str | None) -> float:
    found = re.match(r"[\d.]+", (text or "").strip())
    return float(found.group()) if found else 0.0


def megatron_bridge(folder: Path) -> list[Run]:
    """Rows of models that are known here, without those that state two plans at once. The optimizer is split among
    replicas; LoRA trains half a percent.
    """
    found = []
    for row in rows_of(folder / "llm_training" / "megatron_bridge.csv"):
        name, system = (row["Model"], row["model"]) if row["Model"] else (row["model"], row["System"])
        name, system = name.split(" (")[0].strip(), system.replace("System:", "").replace("DGX-", "").strip()
        if name not in BRIDGE_MODELS or any("(" in row[degree] for degree in ("TP", "PP", "VP", "EP")):
            continue
        t, p, c, v, e = (int(_first_number(row[degree]) or 1) for degree in ("TP", "PP", "CP", "VP", "EP"))
        gpus, batch, s = int(row["#-GPUs"]), int(row["GBS"]), int(row["Sequence Length"])
        stated = row["Precision"]
        precision = "fp4" if "FP4" in stated else "bf16" if stated.startswith("BF16") else "fp8"
        task = Task(trained_model(BRIDGE_MODELS[name]), s, batch, 0.005 if "LoRA" in row["section"] else 1.0, 4, 12)
        plan = plan_of(t, p, gpus // (t * p * c), context=c, expert=e, micro_batch=_first_number(row["MBS"]))
        plan = plan._replace(interleave=v, zero=3 if _first_number(row["FSDP"]) else 1, sequence=float(t > 1))
        seconds = batch * s / gpus / _first_number(row["Tokens / sec / GPU"])
        kind = row["section"].split()[0]
        label = f"{BRIDGE_MODELS[name]} {kind} on {gpus} {system}, {stated}"
        cluster = bridge_cluster(system)
        found.append(
            Run(
                "megatron-bridge", label, cluster, precision, "flash2", "data", task, plan, seconds, BRIDGE_MODELS[name]
            )
        )
    return found


def stacked(records: Sequence[Any]) -> Any:
    """One record of arrays, records within it alike."""
    columns = zip(*records, strict=True)
    return type(records[0])(*(stacked(c) if isinstance(c[0], tuple) else np.array(c, float) for c in columns))


Change = Callable[[Machine, Run], Machine]


def predicted_s(runs: Sequence[Run], change: Change = lambda machine, run: machine) -> np.ndarray:
    """float64[runs], on machines that `change` may alter."""
    machines = stacked([change(run.machine, run) for run in runs])
    return np.asarray(step_times(stacked([r.task for r in runs]), stacked([r.plan for r in runs]), machines).total_s())


def errors(runs: Sequence[Run], change: Change = lambda machine, run: machine) -> np.ndarray:
    """float64[runs], of predicted over published seconds, less 1."""
    return predicted_s(runs, change) / np.array([run.seconds for run in runs]) - 1


def best_errors(models: Sequence[Sequence[Run]], change: Change = lambda machine, run: machine) -> np.ndarray:
    """float64[models], of the fastest plan of each: table 1."""
    every = errors(list(itertools.chain(*models)), change)
    ends = np.cumsum([len(runs) for runs in models])
    return np.array([part.min() for part in np.split(every, ends[:-1])])


# What is fitted: name, start, bounds.
CONSTANTS = {
    "eta of A100": (0.819, 0.3, 1),
    "eta of H100": (0.634, 0.3, 1),
    "half_size": (HALF_SIZE, 1, 5000),
    "traffic": (TRAFFIC, 0.3, 6),
    "triton of A100": (0.305, 0.05, 1),
    "triton of H100": (0.18, 0.05, 1),
    "cards": (CARDS, 0.01, 1),
}


def changed(constants: Mapping[str, float]) -> Change:
    """Machines with these constants."""

    def change(machine: Machine, run: Run) -> Machine:
        kind = "H100" if run.cluster.name == "H100" else "A100"
        return machine._replace(
            eta=constants[f"eta of {kind}"],
            half_size=constants["half_size"],
            traffic=constants["traffic"],
            flash=constants[f"triton of {kind}"] if run.attention == "triton" else 0.0,
            cards=constants["cards"],
        )

    return change


@dataclass(frozen=True)
class Published:
    """What is fitted to."""

    models: list[list[Run]]
    runs: list[Run]

    def without(self, model: int) -> Published:
        """Without one model of table 1."""
        return Published([runs for i, runs in enumerate(self.models) if i != model], self.runs)


def published(folder: Path) -> Published:
    """All of it."""
    others = (*table2(folder, "PTD-P"), *table2(folder, "ZeRO-3"), *korthikanti(folder), *llm_foundry(folder))
    return Published(table1(folder), list(others))


def fit(data: Published, names: Sequence[str] = tuple(CONSTANTS)) -> dict[str, float]:
    """Weighted least squares of logarithms with a soft loss; constants that are not named stay."""
    plain = {name: value for name, (value, _, _) in CONSTANTS.items()}
    weights = np.array([WEIGHTS[run.source] for run in data.runs])

    def residuals(x: np.ndarray) -> np.ndarray:
        change = changed({**plain, **dict(zip(names, np.exp(x), strict=True))})
        first = WEIGHTS["table1"] * np.log1p(best_errors(data.models, change))
        return np.concatenate([first, weights * np.log1p(errors(data.runs, change))]) if data.runs else first

    start, low, high = np.log([CONSTANTS[name] for name in names]).T
    loose = np.minimum(np.maximum(start, low + 1e-3), high - 1e-3)
    found = least_squares(residuals, loose, bounds=(low, high), loss="soft_l1", f_scale=0.1, diff_step=1e-3)
    return {**plain, **dict(zip(names, np.exp(found.x).tolist(), strict=True))}


def left_out(data: Published, names: Sequence[str] = tuple(CONSTANTS)) -> np.ndarray:
    """float64[models], of each model of table 1 when the fit has not seen it."""
    found = []
    for i, runs in enumerate(data.models):
        constants = fit(data.without(i), names)
        found.append(best_errors([runs], changed(constants))[0])
    return np.array(found)


def in_first_half(run: Run) -> bool:
    """Halves, told apart by a hash."""
    return hashlib.sha256(repr((run.label, run.plan)).encode()).digest()[0] % 2 == 0


def optimum_s(run: Run) -> float:
    """The shortest step of any plan of the design space for what a run trained, on what it ran."""
    model = run.task.model
    gpus = int(run.plan.tensor * run.plan.pipeline * run.plan.data * run.plan.context)
    s = int(run.task.sequence_tokens)
    limits = Limits(int(model.layers), int(model.heads), int(model.experts), run.cluster.node, gpus, s)
    values = values_of(limits, [int(run.task.batch)], fails=False)
    made = Instance(
        model=model, sequence_tokens=run.task.sequence_tokens, trainable=run.task.trainable,
        gradient_bytes=run.task.gradient_bytes, optimizer_bytes=run.task.optimizer_bytes, machine=run.machine,
        usable_bytes=usable_bytes(run.cluster), written=float(run.attention == "written"), gpus=gpus,
        tokens_billion=1.0, critical_batch=np.inf, failures_gpu_s=0.0, recover_s=0.0, usd_gpu_h=0.0,
        watts_gpu=0.0, deadline_days=np.inf, weights=np.array([1, 0, 0]), values=table_of(values),
    )  # fmt: skip
    search = Search(jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), made), values, limits)
    if not len(search.best):
        return np.inf
    return float(costed(search.best[:1], search.instance)[0].step_s[0])


def fits(run: Run) -> bool:
    """Whether a published plan fits by the law of memory: some ran with what their rows do not tell."""
    kept = memory_bytes(run.task, run.plan, float(run.attention == "written"))
    return float(kept.total()) <= usable_bytes(run.cluster)


def over_optimum(runs: Sequence[Run]) -> np.ndarray:
    """float64[runs that fit], of their step over the optimum's; plans that are alike count once."""
    unlike = list({(run.label, run.plan): run for run in runs if fits(run)}.values())
    return predicted_s(unlike) / np.array([optimum_s(run) for run in unlike])


def pairs_in_order(runs: Sequence[Run]) -> tuple[int, int]:
    """How many pairs of runs of one model, system, precision and task are ordered as measured, and how many there are;
    equal plans, and seconds within 2 %, are no pair.
    """
    right = every = 0
    groups: dict[tuple[Any, ...], list[tuple[Run, float]]] = defaultdict(list)
    for run, seconds in zip(runs, predicted_s(runs), strict=True):
        key = run.model_name, run.cluster.name, run.task.sequence_tokens, run.task.trainable
        tokens = run.task.batch * run.task.sequence_tokens
        groups[key].append((dataclasses.replace(run, seconds=run.seconds / tokens), seconds / tokens))
    for members in groups.values():
        for (one, ours), (other, theirs) in itertools.combinations(members, 2):
            if (one.plan, one.precision) != (other.plan, other.precision) and abs(
                one.seconds / other.seconds - 1
            ) > 0.02:
                every += 1
                right += (one.seconds < other.seconds) == (ours < theirs)
    return right, every


def _summary(runs: Sequence[Run]) -> Iterator[str]:
    groups: dict[str, list[float]] = defaultdict(list)
    for run, error in zip(runs, errors(runs), strict=True):
        groups[f"{run.model_name} on {run.cluster.name} in {run.precision}"].append(float(error))
    for name, found in sorted(groups.items()):
        yield f"  {name:44} n {len(found):3}  mean {np.mean(found):+.3f}  mean of sizes {np.mean(np.abs(found)):.3f}"


def main(folder: Path) -> None:
    """Prints fits and errors."""
    data = published(folder)
    show = functools.partial(print, flush=True)
    constants = fit(data)
    show("fit to all:", " ".join(f"{name} {value:.4g}" for name, value in constants.items()))
    for said, change in (("this fit", changed(constants)), ("shipped", lambda machine, run: machine)):
        show(f"{said:9} table 1: {np.abs(best_errors(data.models, change)).mean():.4f}", end=" ")
        for source in ("table2", "korthikanti", "llm-foundry", "zero3"):
            part = [run for run in data.runs if run.source == source]
            show(f" {source}: {np.abs(errors(part, change)).mean():.4f}", end=" ")
        show()
    show(f"table 1, each model left out of the whole fit: {np.abs(left_out(data)).mean():.4f}")
    alone = left_out(Published(data.models, []), ("eta of A100", "half_size", "traffic"))
    show(f"table 1, each model left out of a fit to the other nine: {np.abs(alone).mean():.4f}")
    seen = [run for run in data.runs if run.source != "llm-foundry" or in_first_half(run)]
    half = changed(fit(Published(data.models, seen)))
    rest = [run for run in data.runs if run not in seen]
    show(f"llm-foundry, half of it fitted, the other {len(rest)}: {np.abs(errors(rest, half)).mean():.4f}")
    fp8 = llm_foundry(folder, "fp8")
    show(f"llm-foundry in fp8, not fitted, {len(fp8)}: {np.abs(errors(fp8)).mean():.4f}")
    runs = megatron_bridge(folder)
    dense = [run for run in runs if not run.task.model.experts]
    for name, part in (("dense", dense), ("experts", [run for run in runs if run.task.model.experts])):
        right, every = pairs_in_order(part)
        show(
            f"Megatron-Bridge, {name}, not fitted, {len(part)}: {np.abs(errors(part)).mean():.4f}; pairs in order",
            end=" ",
        )
        show(f"{right} of {every}")
        show("\n".join(_summary(part)))
    over = over_optimum(dense)
    show(
        f"dense published plans that fit, {len(over)} unlike: within 10 % of our optimum {np.mean(over < 1.1):.2f}",
        end="; ",
    )
    show(f"least {over.min():.3f}, median {np.median(over):.3f}, most {over.max():.3f} times its step")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
