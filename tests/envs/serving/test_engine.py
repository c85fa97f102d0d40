"""dsegym/ServingEngine-v0 as users meet it: knobs, memory, presets, yardsticks, what is refused."""

import jax
import numpy as np
import pytest
from engine_oracle import NEVER, Request, replay

import dsegym
from dsegym.costmodels.errors import DsegymError, InvalidOptionError

ID = "dsegym/ServingEngine-v0"
SMALL = {"server": "rtx4090", "model": "Llama-3-8B", "gpus": 2, "requests": 12, "rate": 12}


def make(**options):
    return dsegym.make_problem(ID, **{**SMALL, **options})


@pytest.fixture(scope="module")
def problem():
    return make()


@pytest.mark.slow
def test_any_setting_is_what_plain_engines_make_of_its_requests(problem):
    designs = problem.space.sample(np.random.default_rng(3), 12)
    result, params = problem.evaluate(designs), problem.params
    law = jax.tree.map(lambda leaf: leaf[0], params.laws)
    assert 0 < result.feasible.mean() < 1
    for place in np.flatnonzero(result.feasible):
        knobs = problem.decode(designs[place])
        chunk = knobs["prompt_chunk"]
        limits = {
            "sequences": knobs["sequences"],
            "tokens": knobs["batched_tokens"],
            "blocks": int(result.metrics.cache_tokens[place]) // 16,
            "chunk": chunk if isinstance(chunk, int) else NEVER,
            "whole": int(chunk == "whole"),
        }
        strain, latency = [], []
        for window in zip(*params.windows, strict=True):
            asked = [Request(*map(int, row)) for row in zip(*window, strict=True)]
            for replica in range(2):
                mine, _ = replay(law, asked[replica::2], **limits)
                for each in mine:
                    pace = (each.last - each.first) / max(each.output - 1, 1)
                    strain.append(max((each.first - each.arrival) / 1e6, pace / 5e4))
                    latency.append((each.last - each.arrival) * 1e-6)
        assert result.metrics.latency_s[place] == pytest.approx(np.mean(latency), rel=1e-5)
        assert result.objective[place] == pytest.approx(np.quantile(strain, 0.9), rel=1e-5)


def test_an_engine_that_does_not_start_costs_more_than_any_that_does(problem):
    everything = problem.space.enumerate(0, problem.space.size)
    result = problem.evaluate(everything)
    assert result.objective[~result.feasible].min() > result.objective[result.feasible].max()
    assert result.objective[result.feasible].min() == pytest.approx(problem.bound.value)
    assert problem.bound.name == "optimum"
    share = np.array([problem.decode(each)["memory_share"] for each in everything])
    assert not result.feasible[share == 0.95].any()  # 1.2 GB of 24 are left, graphs take 1.5


@pytest.mark.slow
def test_steps_of_more_tokens_and_more_sequences_leave_less_cache_and_a_larger_share_more(problem):
    base = {"tensor": 1, "batched_tokens": 512, "sequences": 32, "prompt_chunk": "budget", "memory_share": 0.8}

    def cache(**knobs):
        return float(problem.evaluate(problem.space.encode(base | knobs)).metrics.cache_tokens[0])

    assert cache(batched_tokens=2048) < cache()
    assert cache(sequences=256) < cache()
    assert cache(memory_share=0.9) > cache() * 1.3
    measured = cache(batched_tokens=2048, sequences=256, memory_share=0.9)
    assert measured == pytest.approx(2587 * 16, rel=1e-3)  # what vLLM stated of the measured run


@pytest.mark.slow
def test_replicas_that_are_split_hold_the_same_weights_once():
    problem = dsegym.make_problem(ID, requests=6)
    base = {"batched_tokens": 2048, "sequences": 64, "prompt_chunk": "budget", "memory_share": 0.9}
    caches = [
        float(problem.evaluate(problem.space.encode(base | {"tensor": tensor})).metrics.cache_tokens[0])
        for tensor in (1, 2, 4)
    ]
    assert caches[1] > 2 * caches[0]
    assert caches[2] > 2 * caches[1]


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"model": "Qwen3-32B"}, DsegymError, "rtx4090 was measured with Llama-3-8B in bf16 on 1 GPU"),
        ({"precision": "fp8"}, DsegymError, "rtx4090 was measured with Llama-3-8B in bf16"),
        ({"server": "rtxpro6000_tp2", "model": "Qwen3-32B", "gpus": 3}, DsegymError, "on 2 GPUs"),
        ({"server": "A10G", "model": "Llama-3-70B", "gpus": 1}, DsegymError, "does not fit on 1 x A10G: .* missing"),
        ({"prefix_cache": "shared"}, DsegymError, "needs a trace that names its prefixes"),
        ({"gpus": 9}, InvalidOptionError, "gpus = 9 is not allowed"),
        ({"rate": -1}, InvalidOptionError, "rate = -1 is not allowed"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(options, error, said):
    with pytest.raises(error, match=said):
        make(**options)


@pytest.mark.slow
def test_core_instances_have_room_between_reference_and_optimum():
    for options in dsegym.load_scenario(ID).core_instances():
        problem = dsegym.make_problem(ID, **options)
        assert not problem.obstacle
        assert problem.bound.value < problem.reference.value * 0.98
