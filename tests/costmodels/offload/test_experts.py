"""Caches of experts: recorded hit rates to the decimal, plain Python, Belady's bounds, logs, the toy, MoE-Lens' law."""

import functools
import gzip
import itertools

import expert_oracle as oracle
import numpy as np
import pytest
from expert_toy import least_miss_rate
from hypothesis import given, settings
from hypothesis import strategies as st

from dsegym.costmodels.errors import DsegymError, InvalidWorkloadError
from dsegym.costmodels.offload.experts import lens
from dsegym.costmodels.offload.experts.bounds import least_read_units
from dsegym.costmodels.offload.experts.replay import RULES, batches, replay, token_cycle_bytes
from dsegym.costmodels.offload.experts.routes import (
    DECODE,
    MODELS,
    RECORDED_LAYERS,
    Routes,
    generate,
    load_routes,
    recorded,
    routes_of,
    statistics,
)

MIB = 2**20


# --- Recorded hit rates -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def path_of(shared_data):
    folder = shared_data / "moe_edge"
    if not folder.is_dir():
        pytest.skip(f"the recorded routes are not there: {folder}")
    return lambda name: str(folder / f"{name}.route.csv.gz")


@pytest.fixture(scope="module")
def log(path_of):
    return functools.cache(lambda name: load_routes(path_of(name)))


PUBLISHED = {  # of decoded tokens, in the order of RULES; the source's replay
    ("gptoss", 3000): (67.8, 44.8, 43.6, 45.9, 44.5),
    ("qwen", 3000): (87.8, 70.6, 71.3, 71.1, 74.2),
    ("qwen", 4000): (92.7, 80.3, 80.8, 79.7, 81.7),
    ("gemma", 3000): (88.6, 73.1, 75.5, 74.8, 78.1),
    ("gemma", 4000): (92.9, 81.9, 83.4, 82.2, 84.3),
    ("gptoss", 750): (37.2, 0.0),
    ("qwen", 500): (45.3, 0.0),
    ("gemma", 500): (48.2, 0.0),
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "mib"), PUBLISHED)
def test_replays_hit_as_often_as_published_to_the_decimal(log, name, mib):
    for rule, published in zip(RULES, PUBLISHED[name, mib], strict=False):
        found = replay(log(name), rule, mib * MIB).decode_hit_percent
        assert round(found, 1) == published, rule
        assert published > 0 or found == 0.0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "mib", "percent"), [("gptoss", 3000, 32.4), ("qwen", 4000, 74.9), ("gemma", 4000, 76.8)]
)
def test_the_replay_of_lru_is_the_engines_own_count_prompt_included(log, name, mib, percent):
    assert round(replay(log(name), "lru", mib * MIB).hit_percent, 1) == percent


@pytest.mark.parametrize(("name", "cycle_mib"), [("gptoss", 908), ("qwen", 785), ("gemma", 676)])
def test_below_a_tokens_cycle_lru_never_hits_and_above_it_does(log, name, cycle_mib):
    cycle = token_cycle_bytes(log(name))
    assert round(cycle / MIB) == cycle_mib
    assert replay(log(name), "lru", int(0.95 * cycle)).decode_hits == 0
    assert replay(log(name), "lru", int(1.3 * cycle)).decode_hits > 0


@pytest.mark.slow
def test_the_packages_tables_are_the_records_first_layers(path_of, log):
    for name, model in MODELS.items():
        of_log = routes_of(path_of(name), tokens=1, layers=RECORDED_LAYERS, seed=1)
        np.testing.assert_array_equal(recorded(name).chosen, of_log.chosen)
        np.testing.assert_allclose(model.weights, log(name).weights, atol=1e-4)
        assert model.expert_bytes == pytest.approx(log(name).expert_bytes.mean(), abs=1)
        assert (model.layers, model.experts) == (len(log(name).expert_bytes), log(name).experts)


@pytest.mark.parametrize("name", MODELS)
def test_generated_routes_repeat_and_are_as_popular_as_the_record(name):
    model, record = MODELS[name], recorded(name)
    tokens = len(record.chosen)
    drawn = [statistics(generate(model, tokens=tokens, layers=8, seed=seed), 128) for seed in range(8)]
    mean, found = np.mean(drawn, axis=0), statistics(record.chosen, 128)
    assert np.abs(mean - found).max() < 0.12, (mean, found)


# --- Plain Python -----------------------------------------------------------------------------------------------------


def routes_from(chosen, experts, sizes):
    chosen = np.array(chosen, np.int16)
    tokens, _, top_k = chosen.shape
    return Routes(
        experts, chosen, np.full(tokens, DECODE, np.int8), np.zeros(tokens, np.int32), np.array(sizes, np.int64),
        np.full(top_k, 1 / top_k),
    )  # fmt: skip


@st.composite
def small_logs(draw, same_size=False):
    layers, experts, tokens = draw(st.integers(1, 3)), draw(st.integers(2, 5)), draw(st.integers(1, 10))
    top_k = draw(st.integers(1, min(2, experts)))
    seed = draw(st.integers(0, 10**6))
    generator = np.random.default_rng(seed)
    chosen = np.argsort(generator.random((tokens, layers, experts)), axis=2)[:, :, :top_k]
    sizes = [3] * layers if same_size else generator.integers(1, 5, layers)
    return routes_from(chosen, experts, sizes)


@settings(max_examples=60)
@given(small_logs(), st.integers(1, 40), st.sampled_from(RULES[1:]))
def test_replays_are_the_plain_dictionaries(log, capacity, rule):
    plain = [(batch.layer, batch.experts.tolist(), batch.decoded) for batch in batches(log)]
    found = replay(log, rule, capacity)
    assert (found.decode_look_ups, found.decode_hits) == oracle.hit_counts(
        plain, log.expert_bytes.tolist(), capacity, rule
    )


@settings(max_examples=60)
@given(small_logs(same_size=True), st.integers(1, 12))
def test_no_rule_hits_more_often_than_belady_and_more_memory_never_hurts_it(log, slots):
    hits = replay(log, "belady", 3 * slots).hits
    layers, top_k = log.chosen.shape[1:]
    # A layer's share that is less than its batch still keeps the batch: all layers together then hold too much.
    rules = RULES if slots // layers >= top_k else ("lru", "lfu")
    assert all(replay(log, rule, 3 * slots).hits <= hits for rule in rules)
    assert hits <= replay(log, "belady", 3 * slots + 3).hits
    found = replay(log, "lru", 3 * slots)
    assert found.read_bytes == 3 * (found.look_ups - found.hits)


def least_by_trying(steps, sizes, capacity):
    """What the best whole-expert policy reads, every choice of what stays tried."""
    best = {frozenset(): 0}
    for entries in steps:
        found = {}
        for memory, read in best.items():
            after = memory | set(entries)
            more = read + sum(sizes[entry] for entry in set(entries) - memory)
            for count in range(len(after) + 1):
                for kept in itertools.combinations(sorted(after), count):
                    if sum(sizes[entry] for entry in kept) <= capacity:
                        found[frozenset(kept)] = min(found.get(frozenset(kept), 10**9), more)
        best = found
    return min(best.values())


@settings(max_examples=60)
@given(st.data())
def test_fractional_belady_is_a_bound_and_exact_for_equal_sizes(data):
    entries = data.draw(st.integers(2, 4))
    equal = data.draw(st.booleans())
    sizes = np.array([2] * entries if equal else [data.draw(st.integers(1, 4)) for _ in range(entries)])
    count = data.draw(st.integers(1, 2))
    steps = [data.draw(st.permutations(range(entries)))[:count] for _ in range(data.draw(st.integers(1, 7)))]
    capacity = data.draw(st.integers(0, 3)) * 2
    bound = least_read_units(np.array(steps), np.zeros(entries, bool), sizes, capacity)
    best = least_by_trying(steps, sizes.tolist(), capacity)
    assert bound == best if equal else bound <= best


# --- The toy ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slots", [1, 2, 3, 4, 5])
def test_for_independent_requests_value_iteration_finds_the_closed_form(slots):
    """The most popular ones stay, the last slot holds whatever else came last (Aho, Denning, Ullman 1971)."""
    chance = np.array([0.35, 0.25, 0.2, 0.12, 0.08])
    rest = chance[slots - 1 :]
    expected = rest.sum() - (rest**2).sum() / rest.sum()
    assert least_miss_rate(np.tile(chance, (5, 1)), slots) == pytest.approx(expected, abs=1e-7)


def test_the_toys_best_policy_lies_between_belady_and_lru():
    generator = np.random.default_rng(0)
    chain = generator.dirichlet(np.full(5, 0.4), 5) * 0.95 + 0.01
    best = least_miss_rate(chain, 2)
    requests = [0]
    for _ in range(6000):
        requests.append(int(generator.choice(5, p=chain[requests[-1]])))
    log = routes_from(np.array(requests)[:, None, None], 5, [1])
    missed = {rule: 1 - replay(log, rule, 2).hit_percent / 100 for rule in ("belady", "lru", "lfu")}
    assert missed["belady"] < best - 0.01
    assert best < min(missed["lru"], missed["lfu"]) + 0.01


@pytest.mark.parametrize(
    ("chain", "slots", "said"),
    [([[0.5, 0.5]], 1, "square"), ([[0.9, 0.2], [0.5, 0.5]], 1, "add up"), ([[0.5, 0.5]] * 2, 0, "1 to 2")],
)
def test_toys_that_are_none_are_refused(chain, slots, said):
    with pytest.raises(DsegymError, match=said):
        least_miss_rate(np.array(chain), slots)


# --- MoE-Lens ---------------------------------------------------------------------------------------------------------

MIXTRAL = lens.Mixture(weight_bytes=2 * 46.7e9, active_parameters=12.9e9, kv_bytes_per_token=2 * 32 * 8 * 128 * 2)


def host(kv_gb):
    return lens.Host(25e9, 200e9, 150e12, 0.8, kv_gb * 1e9)


def test_overlapped_prompts_fit_as_many_more_sequences_as_published():
    assert lens.overlap_factor(98, 256) == pytest.approx(1.57, abs=0.005)


def test_more_memory_for_keys_and_values_goes_from_weights_to_the_gpus_limit():
    """Below, throughput grows with memory: the host's memory limits; above, the GPU's speed, whatever the memory."""
    passes = [lens.pass_of(host(kv_gb), MIXTRAL, 98, 256) for kv_gb in (10, 20, 800, 1600)]
    assert [each.limit for each in passes] == ["weights", "weights", "compute", "compute"]
    assert passes[1].tokens_s == pytest.approx(2 * passes[0].tokens_s)
    assert passes[3].tokens_s == pytest.approx(passes[2].tokens_s)
    apart = lens.pass_of(host(10), MIXTRAL, 98, 256, overlapped=False)
    assert passes[0].tokens_s / apart.tokens_s == pytest.approx(1.57, abs=0.005)


@pytest.mark.parametrize(("prompt", "generated"), [(0, 0), (-1, 5), (98, 0)])
def test_passes_that_generate_nothing_are_refused(prompt, generated):
    with pytest.raises(DsegymError, match="tokens"):
        lens.pass_of(host(10), MIXTRAL, prompt, generated)


# --- Logs -------------------------------------------------------------------------------------------------------------

HEAD = "# n_layer=2 n_expert=4 n_expert_used=2\n# expert_bytes=4096\n"


def written(tmp_path, text, name="log.csv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def test_a_log_of_three_columns_is_read(tmp_path):
    path = written(tmp_path, HEAD + "step,layer,expert\n0,0,3\n0,0,1\n0,1,0\n0,1,2\n")
    found = load_routes(path)
    np.testing.assert_array_equal(found.chosen, [[[3, 1], [0, 2]]])
    assert found.expert_bytes.tolist() == [4096, 4096]
    assert found.weights.tolist() == [0.5, 0.5]


def test_slots_and_weights_may_stand_in_any_order_and_packed(tmp_path):
    rows = "slot,expert,layer,step,weight,more\n1,1,0,0,0.25,x\n0,3,0,0,0.75,x\n0,0,1,0,0.75,x\n1,2,1,0,0.25,x\n"
    found = load_routes(written(tmp_path, gzip.compress((HEAD + rows).encode()), "log.csv.gz"))
    np.testing.assert_array_equal(found.chosen, [[[3, 1], [0, 2]]])
    assert found.weights.tolist() == [0.75, 0.25]


FULL = "step,layer,expert\n0,0,3\n0,0,1\n0,1,0\n0,1,2\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        (HEAD + "step,layer,expert\n", "at least one look-up"),
        (HEAD + FULL.replace("0,0,3", "0,0,4"), r"line 4: expert 4 is unknown: the model has experts 0 to 3"),
        (HEAD + FULL.replace("0,0,3", "0,2,3"), r"layer 2 is unknown: the model has layers 0 to 1"),
        (HEAD + FULL.replace("0,0,3", "0,0,-1"), "expert = '-1' is not a whole number"),
        (HEAD + FULL.replace("0,0,3", "0,0,1.5"), "expert = '1.5' is not a whole number"),
        (HEAD + FULL.replace("0,0,1", "0,0,3"), "has expert 3 twice"),
        (HEAD + FULL.replace("0,0,1\n", ""), "layer 0 has 1 experts; the model uses 2"),
        (HEAD + FULL + "0,1,1\n", "more than one expert in slot 2"),
        (FULL, "a comment must say n_layer"),
        ("# n_layer=2 n_expert=4 n_expert_used=2\n" + FULL, "no comment says the bytes of layer 0"),
        (HEAD.replace("4096", "0") + FULL, "expert_bytes = '0' is not a whole number"),
        (HEAD.replace("n_expert=4", "n_expert=1") + FULL, "n_expert_used = 2 is more than n_expert = 1"),
        (HEAD + "# n_expert=8\n" + FULL, "n_expert = 8, and a comment above says 4"),
        ("# n_layer=2 n_expert=4 n_expert=8 n_expert_used=2\n" + FULL, "line 1: a comment says the same thing twice"),
        (HEAD + "# layer=0 expert_bytes=5\n# layer=0 expert_bytes=6\n" + FULL, "expert_bytes of layer 0 = 6, and"),
        (HEAD + "# layer=2 expert_bytes=5\n" + FULL, "says the bytes of layer 2; the model has layers 0 to 1"),
        (HEAD + "token,place\n0,1\n", "log of routes"),
        (gzip.compress(b"x" * 100, mtime=0)[:20], "broken"),
    ],
)
def test_logs_that_do_not_fit_their_model_are_refused_by_line(tmp_path, text, said):
    with pytest.raises(InvalidWorkloadError, match=said):
        load_routes(written(tmp_path, text))


@pytest.mark.parametrize(("rule", "capacity", "said"), [("lru", 0, "more than 0"), ("fifo", 1, "belady, lru")])
def test_replays_without_a_cache_or_a_rule_are_refused(rule, capacity, said):
    with pytest.raises(DsegymError, match=said):
        replay(recorded("qwen"), rule, capacity)
