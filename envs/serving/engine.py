"""dsegym/ServingEngine-v0: the knobs of a vLLM-like engine, for a model, its GPUs and the requests that arrive.

The rules and where figures come from: docs/serving_engine.md. The model: `costmodels/serving/engine/`. A design sets
tensor parallelism (the rest of the GPUs are replicas), tokens and sequences of a step, how prompts are chunked, and the
share of memory that the engine takes. Forms: `parametric` and `sequential`.

Objective: by the option `objective`, what 9 of 10 requests stay within of their targets, mean latency, or ms a token.

    >>> import dsegym
    >>> problem = dsegym.make_problem("dsegym/ServingEngine-v0", server="rtx4090", model="Llama-3-8B", gpus=1)
    >>> problem.space.names
    ('tensor', 'batched_tokens', 'sequences', 'prompt_chunk', 'memory_share')
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np

from ...costmodels.arrays import Array
from ...costmodels.breakdown import Breakdown
from ...costmodels.errors import DsegymError
from ...costmodels.files import is_path
from ...costmodels.serving.engine.engine import BLOCK, NEVER
from ...costmodels.serving.engine.knobs import GOALS, GRAPH_BYTES, PENALTY, Deployment, Knobs, Memory, evaluate
from ...costmodels.serving.engine.law import MOST_STEP_S, MOST_TOKENS, PROFILES, profile_law, roofline_law
from ...costmodels.serving.roofline import prefill_s, replica_of
from ...costmodels.serving.stream.servers import MEASURED, MODELS
from ...costmodels.serving.stream.traces import SYNTHETIC, get_trace, trace_names, windows
from ...costmodels.transformers.architectures import Architecture, cache_copies, get_architecture, kv_bytes_per_token
from ...costmodels.transformers.devices import MEMORY_SHARE, PRECISIONS, devices, get_device, get_precision
from ...costmodels.transformers.memory import require_fit, weight_bytes
from ..core.evaluation import Evaluation, Objective
from ..core.one_shot import one_shot_problem
from ..core.options import Options, choice, file_or_name, number, whole
from ..core.policies import SEARCH
from ..core.problem import Problem
from ..core.scenarios import Scenario
from ..core.spaces import DesignSpace, Parameter

__all__ = ["SCENARIO", "ServingEngineOptions"]

OBJECTIVES = {
    "slo": Objective("tail", "x", "what 9 of 10 requests stay within, over their targets; above 1e6: does not start"),
    "latency": Objective("latency", "s", "mean of a request; above 1e6: does not start"),
    "throughput": Objective("token_time", "ms", "a window's time over its tokens; above 1e6: does not start"),
}
NOTES = {
    "engine": "Times are of an engine model that replays measured runs of vLLM to 2 % where operators are measured; "
    "other knobs than those of these runs were not replayed.",
    "modelled": "{name} is modelled by the calibrated roofline: nothing there was measured.",
    "memory": "What activations, logits and CUDA graphs take of memory is arithmetic, not measured.",
    "tuned": "Settings are judged on the requests that they are tuned to.",
}
TOKENS = (256, 512, 1024, 2048, 4096, 8192)
SEQUENCES = (8, 16, 32, 64, 128, 192, 256)
CHUNKS = ("whole", 256, 1024, "budget")
_CHUNK = (NEVER, 256, 1024, NEVER)
SHARES = (0.8, 0.9, 0.95)
DEGREES = (1, 2, 4, 8)
WINDOWS = 2
MOST_BLOCKS = 2**20  # 16 million tokens, beyond what windows need
BATCH_SIZES = (1, 32)
_MEMORY = {"rtx4090": 24e9, "rtxpro6000": 96e9, "rtxpro6000_tp2": 96e9}  # of a GPU


@dataclass(frozen=True)
class ServingEngineOptions(Options):
    """What tells instances apart."""

    server: str = choice("H100-SXM-80GB", (*MEASURED, *devices()), "GPU of the table, or a measured deployment")
    model: str = choice("Qwen3-32B", MODELS, "what is served")
    gpus: int = whole(4, (1, 2, 4, 8), least=1, most=8, unit="GPUs", summary="that there are")
    precision: str = choice("bf16", tuple(PRECISIONS), "of weights and cache; bf16 where it is measured")
    trace: str = file_or_name(
        "azure_conv", trace_names, is_path, "the path of a trace (docs/files.md)", "what arrives", reads="trace"
    )
    rate: float = number(
        8, (2, 8, 16, 32), least=0.01, most=10_000, unit="requests/s", summary="of the whole trace, stretched"
    )
    objective: str = choice("slo", GOALS, "what is minimised")
    ttft: float = number(1000, (500, 1000, 4000), least=1, most=1e6, unit="ms", summary="target for the first token")
    tpot: float = number(50, (25, 50, 100), least=1, most=1e5, unit="ms", summary="target for each further token")
    prefix_cache: str = choice("none", ("none", "shared"), "a store of all prefixes so far, for traces that name them")
    requests: int = whole(48, (24, 48, 96), least=2, most=512, summary="of each of two windows of the trace")


def _space(degrees: Sequence[int], tokens: Sequence[int]) -> DesignSpace:
    return DesignSpace(
        (
            Parameter("tensor", tuple(degrees), "GPUs", summary="tensor parallelism; the other GPUs are replicas"),
            Parameter("batched_tokens", tuple(tokens), "tokens", summary="of a step (max_num_batched_tokens)"),
            Parameter("sequences", SEQUENCES, summary="that run at once on a replica (max_num_seqs)"),
            Parameter(
                "prompt_chunk",
                CHUNKS,
                "tokens",
                ordered=False,
                summary="of one prompt a step: whole (no chunked prefill), a threshold, or what the step has left",
            ),
            Parameter("memory_share", SHARES, summary="of the GPU's (gpu_memory_utilization)"),
        )
    )


def _knobs(design: Array, params: Deployment) -> Knobs:
    tensor, tokens, sequences, chunk, share = (design[..., place] for place in range(5))
    return Knobs(
        degree=tensor,
        tokens=jnp.asarray(TOKENS, jnp.int32)[tokens],
        sequences=jnp.asarray(SEQUENCES, jnp.int32)[sequences],
        chunk=jnp.asarray(_CHUNK, jnp.int32)[chunk],
        whole=(chunk == 0).astype(jnp.int32),
        blocks=jnp.asarray(params.blocks)[tensor, tokens, sequences, share],
        missed=jnp.asarray(params.missed)[tensor, tokens, sequences, chunk, share],
    )


def cost(design: Array, params: Deployment) -> Evaluation:
    """The objective of one design, int32[5]."""
    knobs = _knobs(design, params)
    metrics, value = evaluate(knobs, params)
    feasible, missed = knobs.missed <= 0.0, knobs.missed
    return Evaluation(metrics, jnp.where(feasible, value, PENALTY * (1 + missed)), feasible, missed, value)


def _token_bytes(model: Architecture) -> float:
    """Of a token of a step, on all accelerators of a replica: two buffers of the feed-forward network and of hidden."""
    inner = float(model.ffn_parameters) / (3 * float(model.hidden))
    return 2 * (2 * inner + 4 * float(model.hidden))


def _deployment(options: ServingEngineOptions) -> tuple[Deployment, tuple[int, ...], tuple[int, ...]]:
    """The arrays, the degrees of tensor parallelism, and the tokens of a step that are modelled."""
    model, precision = get_architecture(options.model), get_precision(options.precision)
    logits = 4 * float(model.output_parameters) / float(model.hidden)
    block = BLOCK * float(kv_bytes_per_token(model, precision.kv_bytes))
    if options.server in MEASURED:
        profile, served, blocks = MEASURED[options.server]
        degrees = (PROFILES[profile].tensor_parallelism,)
        if served != options.model or options.precision != "bf16" or options.gpus % degrees[0]:
            raise DsegymError(
                f"{options.server} was measured with {served} in bf16 on {degrees[0]} GPUs; model, precision and gpus "
                "(or more of them) must be these."
            )
        laws, memory = [profile_law(profile)], _MEMORY[options.server]
        # What its measured cache leaves of the measured setting, 0.9, 2,048 tokens, the sequences of its runs.
        step = MOST_TOKENS * _token_bytes(model) + PROFILES[profile].sequences * logits
        fixed = [MEMORY_SHARE * memory * degrees[0] - blocks * block - step]
        copies, tokens = [1.0], tuple(most for most in TOKENS if most <= MOST_TOKENS)
    else:
        device = get_device(options.server)
        memory, weights = device.memory_bytes, float(weight_bytes(model, precision))
        splits = tuple(each for each in DEGREES if each <= options.gpus and float(model.kv_heads) % each == 0)
        require_fit(options.model, model, device, precision, splits[-1], BLOCK)
        degrees = tuple(each for each in splits if weights < MEMORY_SHARE * memory * each)
        replicas = [replica_of(model, device, precision, each) for each in degrees]
        tokens = tuple(most for most in TOKENS if prefill_s(replicas[0], most) < MOST_STEP_S)
        laws = [roofline_law(each, max(tokens[-1], MOST_TOKENS)) for each in replicas]
        fixed, copies = [weights] * len(degrees), [float(cache_copies(model, each)) for each in degrees]
    drawn = windows(
        options.trace,
        "train",
        count=WINDOWS,
        requests=options.requests,
        rate=options.rate,
        seed=SEARCH,
        reuse=options.prefix_cache == "shared",
    )

    def along(axis: int, values: object) -> np.ndarray:
        return np.asarray(values, np.float64).reshape([-1 if place == axis else 1 for place in range(5)])

    split = np.array(degrees)
    held = Memory(
        memory_bytes=along(0, memory * split),
        fixed_bytes=along(0, fixed),
        token_bytes=_token_bytes(model),
        sequence_bytes=logits,
        block_bytes=along(0, block * np.array(copies)),
        spare_bytes=along(0, GRAPH_BYTES * split),
    )
    knobs = along(1, tokens), along(2, SEQUENCES), along(4, SHARES)
    whole = along(3, [chunk == "whole" for chunk in CHUNKS]) > 0
    longest = int((drawn.prompt + drawn.output).max())
    deployment = Deployment(
        laws=jax.tree.map(lambda *leaves: np.stack(leaves), *laws),
        replicas=(options.gpus // split).astype(np.int32),
        lanes=np.ones(options.gpus // min(degrees), bool),
        blocks=np.clip(held.blocks(*knobs), 1, MOST_BLOCKS).astype(np.int32)[..., 0, :],
        missed=held.missing(*knobs, whole, longest).astype(np.float32),
        windows=drawn,
        ttft_us=np.asarray(options.ttft * 1e3, np.float32),
        tpot_us=np.asarray(options.tpot * 1e3, np.float32),
        goal=np.asarray(GOALS.index(options.objective), np.int32),
    )
    return deployment, degrees, tokens


# Presets: places of tokens, sequences, chunk and share, and whether degrees are tried from the least or from the most.
PRESETS: Mapping[str, tuple[tuple[int, int, int, int], int]] = {
    "vllm_defaults": ((3, 6, 3, 1), 1),  # 2,048 tokens, 256 sequences, chunked, 0.9, no parallelism that is not needed
    "latency": ((1, 3, 3, 1), -1),  # 512 tokens, 64 sequences, all GPUs for one request
    "throughput": ((5, 6, 3, 2), 1),  # 8,192 tokens, 256 sequences, 0.95
    "whole_prompts": ((5, 6, 0, 1), 1),  # as before chunked prefill
}


def _presets(params: Deployment, degrees: Sequence[int], tokens: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """{name: design} of those that start, at the first degree where they do; where none does, any that starts."""
    found = {}
    for name, ((most, *others), order) in PRESETS.items():
        for degree in range(len(degrees))[::order]:
            design = (degree, min(most, len(tokens) - 1), *others)
            if params.missed[design] <= 0:
                found[name] = design
                break
    starting = np.argwhere(params.missed <= 0)
    if not found and len(starting):
        found["any"] = tuple(starting[0].tolist())
    return found


def build(options: ServingEngineOptions) -> Problem:
    """An instance.

    Raises:
        DsegymError: the model fits nowhere, the server was measured otherwise, or no setting starts.
    """
    if options.prefix_cache == "shared" and (options.trace == SYNTHETIC or not get_trace(options.trace).tells_prefixes):
        raise DsegymError(
            f"prefix_cache = shared needs a trace that names its prefixes, as mooncake_conversation; {options.trace} "
            "does not."
        )
    params, degrees, tokens = _deployment(options)
    measured = options.server in MEASURED
    space, designs = _space(degrees, tokens), _presets(params, degrees, tokens)
    if not designs:
        longest = int((params.windows.prompt + params.windows.output).max())
        raise DsegymError(
            f"No setting starts: the longest request has {longest:,} tokens, for whose cache {options.gpus} x "
            f"{options.server} have no room beside {options.model}; take more GPUs or another trace."
        )
    name = next(iter(designs))
    source = f"the preset {{}}, the first of {', '.join(PRESETS)} to start"
    if name not in PRESETS:
        source = f"the first setting that starts: none of the presets {', '.join(PRESETS)} does"
    notes = (
        NOTES["engine"],
        *([] if measured else [NOTES["modelled"].format(name=options.server)]),
        NOTES["memory"],
        NOTES["tuned"],
    )
    problem = one_shot_problem(
        options=options,
        space=space,
        objective=OBJECTIVES[options.objective],
        cost=cost,
        params=params,
        reference=(name, space.decode(designs[name]), source.format(name)),
        breakdown=functools.partial(_break_down, space, params, notes),
        baselines={each: functools.partial(designs.__getitem__, each) for each in designs},
        notes=notes,
        batch_sizes=BATCH_SIZES,
    )
    return replace(problem, ranked=functools.partial(_ranked, problem))


def _ranked(problem: Problem, count: int) -> np.ndarray:
    """The best designs, best first; of those that cost the same, as knobs that nothing binds do, the first alone."""
    everything = problem.space.enumerate(0, problem.space.size)
    found = problem.evaluate(everything)
    _, first = np.unique(np.where(found.feasible, found.objective, np.inf), return_index=True)
    return everything[[place for place in first if found.feasible[place]][:count]]


@jax.jit
def _costed(design: Array, params: Deployment) -> Evaluation:
    return cost(design, params)


def _break_down(
    space: DesignSpace, params: Deployment, notes: tuple[str, ...], values: Mapping[str, object]
) -> Breakdown:
    design = jnp.asarray(space.encode(values))
    found = _costed(design, params)
    totals = {name: float(value) for name, value in found.metrics._asdict().items()} if bool(found.feasible) else {}
    return Breakdown(totals | {"missed": float(found.violation)}, [], notes)


CORE: Sequence[Mapping[str, object]] = (  # roofline and measured; each trace and objective; memory scarce and ample
    {},
    {"trace": "azure_code", "ttft": 500},
    {"model": "Llama-3-70B", "gpus": 8, "precision": "fp8", "tpot": 25, "rate": 16},
    {"server": "rtx4090", "model": "Llama-3-8B", "gpus": 2, "trace": "poisson", "rate": 8},
    {"server": "rtxpro6000", "model": "Llama-3-8B", "gpus": 1, "objective": "latency"},
    {"server": "rtxpro6000_tp2", "gpus": 4, "trace": "poisson", "rate": 3, "ttft": 500},
    {"model": "Llama-3-8B", "objective": "throughput", "rate": 64, "trace": "azure_code"},
    {"trace": "mooncake_conversation", "prefix_cache": "shared", "rate": 2, "ttft": 4000},
)
SCENARIO = Scenario(
    summary="Set the knobs of a vLLM-like engine: parallelism, tokens and sequences of a step, chunks, memory.",
    options_type=ServingEngineOptions,
    build=build,
    core=CORE,
)
