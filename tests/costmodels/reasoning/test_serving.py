"""The outcome model of served configurations against plain Python and published pass rates, and the law's claims.

Exact optima of several classes; and what recorded answers of models of several sizes say on GSM8K.
"""

import itertools
import math
import statistics

import jax
import kinetics_oracle as oracle
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsegym.costmodels.errors import UnknownNameError
from dsegym.costmodels.reasoning.outcomes import gsm8k_models, gsm8k_verifier
from dsegym.costmodels.reasoning.serving import bounds
from dsegym.costmodels.reasoning.serving import model as serving
from dsegym.costmodels.transformers.kinetics import ATTENTIONS, Attention, hardware

PUBLISHED = {  # pass@1, percent; None: not measured
    "aime24": (11.5, 45.9, 71.7, 75.2, 79.6, 82.1),
    "aime25": (16.5, 38.6, 65.5, 68.8, 73.6, 72.9),
    "livecodebench": (None, 32.0, 52.7, 56.6, 61.7, 63.8),
}
B200 = hardware()["b200"]
NORMAL = statistics.NormalDist()


def served(name, model, tokens, trials, attention="dense", theta=None):
    _, task = serving.load_task(name)
    found = _serve(
        task,
        task.theta if theta is None else theta,
        np.int32(model),
        np.float32(tokens),
        np.float32(trials),
        Attention(*map(np.float32, ATTENTIONS[attention])),
    )
    return serving.Served(*map(float, found))


@jax.jit
def _serve(task, theta, model, tokens, trials, attention):
    return serving.serve(
        task, theta, model=model, tokens=tokens, trials=trials, attention=attention, intensity=B200.intensity
    )


@pytest.fixture(scope="module", params=serving.TASKS)
def grid(request):
    """(task, configurations as (model, tokens, trials, attention), their `Served`, float64[C] a leaf)."""
    names, task = serving.load_task(request.param)
    configurations = list(itertools.product(range(len(names)), serving.TOKENS, serving.TRIALS, ATTENTIONS))
    model, tokens, trials, attention = zip(*configurations, strict=True)
    read = Attention(*np.array([ATTENTIONS[name] for name in attention], np.float32).T)
    of_all = jax.jit(jax.vmap(_serve, in_axes=(None, None, 0, 0, 0, 0)))
    found = of_all(task, task.theta, np.array(model), np.array(tokens, np.float32), np.array(trials, np.float32), read)
    return request.param, np.array(configurations, object), serving.Served(*(np.asarray(x, float) for x in found))


# --- The outcome model ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", serving.TASKS)
def test_one_long_dense_trial_of_each_model_reaches_its_published_pass_rate(name):
    names, _ = serving.load_task(name)
    published = [rate for rate in PUBLISHED[name] if rate is not None]
    found = [served(name, model, serving.TOKENS[-1], 1).coverage for model in range(len(names))]
    np.testing.assert_allclose(found, np.array(published) / 100, atol=1e-4)


def test_an_unknown_task_names_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'livecodebench'"):
        serving.load_task("livecode")


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(serving.TASKS),
    st.integers(0, 4),
    st.sampled_from(serving.TOKENS),
    st.sampled_from(serving.TRIALS),
    st.sampled_from(sorted(ATTENTIONS)),
    st.lists(st.floats(-6, 6, width=32), min_size=3, max_size=3),
)
def test_configurations_are_worth_and_cost_what_plain_python_says(name, model, tokens, trials, attention, theta):
    found = served(name, model, tokens, trials, attention, np.array(theta, np.float32))
    _, task = serving.load_task(name)
    size = tuple(float(leaf[model]) for leaf in task.sizes)
    budget, block = ATTENTIONS[attention]
    coverage, eflop, spent_tokens = [], [], []
    for difficulty in theta:
        median = float(task.median_tokens) * math.exp(difficulty / 2)
        finishes = NORMAL.cdf(math.log(tokens / median) / serving.LENGTH_DEVIATION)
        loss = serving.SPARSITY_LOSS * math.sqrt(1024 / budget) if budget else 0.0
        p = finishes * (1 - loss) / (1 + math.exp(difficulty - float(task.ability[model])))
        coverage.append(1 - (1 - p) ** trials)
        for place in range(serving.LENGTHS):
            quantile = NORMAL.inv_cdf((place + 0.5) / serving.LENGTHS)
            length = min(median * math.exp(serving.LENGTH_DEVIATION * quantile), tokens)
            eflop.append(closed_form(size, length, trials, budget, block))
            spent_tokens.append(length * trials)
    assert found.coverage == pytest.approx(np.mean(coverage), rel=1e-3, abs=1e-5)
    # Blocks are counted in whole numbers: float32 may round a length across one.
    assert found.eflop == pytest.approx(np.mean(eflop), rel=1e-3 if block else 1e-4)
    assert found.tokens == pytest.approx(np.mean(spent_tokens), rel=1e-4)


def closed_form(size, length, trials, budget, block):
    """eFLOPs of an answer whose length is no whole number: between those of the oracle's sums."""
    parameters, query_heads, kv_heads, depth = size
    prompt = serving.PROMPT_TOKENS
    own = length**2 / 2
    if budget:
        full = max(budget - prompt, 0)
        first = min(length, full)
        reads = shared = (prompt * first + first**2 / 2 + budget * (length - first)) * trials
    else:
        reads, shared = (prompt * length + own) * trials, prompt * length + own * trials
    flop = 2 * parameters * length * trials + 4 * reads * query_heads * depth
    moved = 4 * shared * kv_heads * depth
    if block:
        flop += ((2 * prompt + length) // block) * length * query_heads * depth * trials
        moved += ((2 * prompt + length * trials) // block) * length * kv_heads * depth
    return flop + B200.intensity * moved


@pytest.mark.parametrize(("length", "budget", "block"), [(300, 0, 0), (300, 1024, 16), (900, 512, 32), (900, 128, 0)])
def test_the_closed_form_of_these_tests_is_the_token_by_token_sum(length, budget, block):
    size = (1e9, 16.0, 8.0, 3584.0)
    summed = oracle.token_by_token(
        size, prompt=serving.PROMPT_TOKENS, length=length, trials=3, budget=budget, block=block
    )
    assert closed_form(size, length, 3, budget, block) == pytest.approx(summed.eflop(B200.intensity))


def test_more_tokens_more_trials_and_denser_attention_never_solve_less(grid):
    _, configurations, found = grid
    models = configurations[:, 0].max() + 1
    sparse = [len(serving.TOKENS), len(serving.TRIALS), len(ATTENTIONS)]
    coverage = found.coverage.reshape(models, *sparse)
    assert (np.diff(coverage, axis=1) >= -1e-6).all()
    assert (np.diff(coverage, axis=2) > 0).all()
    by_budget = [list(ATTENTIONS).index(name) for name in (*(f"top_{2**k}" for k in range(7, 12)), "dense")]
    assert (np.diff(coverage[..., by_budget], axis=-1) >= -1e-6).all()
    assert ((found.coverage > 0) & (found.coverage < 1)).all()
    assert (found.eflop > found.flop).all()
    assert (found.flop > 0).all()


def test_top_k_of_a_single_trial_costs_at_most_what_dense_attention_does(grid):
    _, configurations, found = grid
    names, single = list(ATTENTIONS), configurations[:: len(ATTENTIONS), 2] == 1
    eflop = found.eflop.reshape(-1, len(names))
    dense = eflop[:, names.index("dense")]
    tops = eflop[:, [place for place, name in enumerate(names) if name.startswith("top_")]]
    assert (np.diff(tops, axis=1) > 0).all()
    assert (tops[single] <= dense[single, None] * (1 + 1e-5)).all()
    # Several trials of dense attention share the prompt, which those of top-k read each for itself.
    assert (tops[~single, -1] > dense[~single]).any()


# --- The law's claims, in this outcome model --------------------------------------------------------------------------


def cheapest(allowed, costs):
    return int(np.argmin(np.where(allowed, costs, np.inf)))


@pytest.mark.parametrize("attention", ["dense", "any"])
def test_with_memory_counted_the_cheapest_way_to_a_coverage_never_takes_a_smaller_model(grid, attention):
    _, configurations, found = grid
    usable = np.array([attention == "any" or name == "dense" for name in configurations[:, 3]])
    larger, ratios = 0, []
    for coverage in np.arange(0.1, 0.95, 0.05):
        allowed = usable & (found.coverage >= coverage)
        by_eflop, by_flop = cheapest(allowed, found.eflop), cheapest(allowed, found.flop)
        assert configurations[by_eflop, 0] >= configurations[by_flop, 0], coverage
        larger += configurations[by_eflop, 0] > configurations[by_flop, 0]
        ratios.append(found.eflop[by_flop] / found.eflop[by_eflop])
    assert larger > 0
    assert min(ratios) >= 1
    if attention == "dense":  # the paper: up to three times dearer
        assert 2 < max(ratios) < 5


# --- Optima of several classes ----------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 12), st.integers(0, 9)), min_size=1, max_size=6), min_size=1, max_size=4
    ),
    st.integers(0, 40),
)
def test_merged_fronts_give_the_optimum_of_trying_every_combination(groups, budget):
    costs = [np.array([cost for cost, _ in group], float) for group in groups]
    values = [np.array([value for _, value in group], float) for group in groups]
    every = [
        sum(group[place][1] for group, place in zip(groups, places, strict=True))
        for places in itertools.product(*(range(len(group)) for group in groups))
        if sum(group[place][0] for group, place in zip(groups, places, strict=True)) <= budget
    ]
    best, picks = bounds.pareto(costs, values, budget)
    if not every:
        assert best == -math.inf
        assert picks == ()
        return
    assert best == max(every)
    assert sum(group[place] for group, place in zip(values, picks, strict=True)) == best
    assert sum(group[place] for group, place in zip(costs, picks, strict=True)) <= budget


# --- Recorded answers -------------------------------------------------------------------------------------------------


def test_a_small_model_with_a_verifier_beats_a_fine_tuned_one_of_29_times_its_size():
    found = gsm8k_verifier()
    share = dict(zip(found.names, found.correct.mean(1), strict=True))
    expected = {"6b": 0.217, "6b_verifier": 0.390, "175b": 0.347, "175b_verifier": 0.563}
    assert share == pytest.approx(expected, abs=6e-4)
    assert share["6b_verifier"] > share["175b"]


@pytest.mark.parametrize(
    ("names", "shares", "union", "small_alone"),
    [
        (("gemma-2-2b-it", "gemma-2-9b-it", "gemma-2-27b-it@together"), (0.528, 0.875, 0.901), 0.937, 0.011),
        (
            ("Meta-Llama-3.1-8B-Instruct", "Meta-Llama-3.1-70B-Instruct", "Llama-3.1-405B-Inst@sambanova"),
            (0.839, 0.942, 0.961),
            0.980,
            0.015,
        ),
    ],
    ids=["gemma", "llama"],
)
def test_families_of_models_solve_more_together_than_the_largest_alone(names, shares, union, small_alone):
    table = gsm8k_models()
    correct = table.correct[[table.names.index(name) for name in names]]
    np.testing.assert_allclose(correct.mean(1), shares, atol=6e-4)
    assert correct.any(0).mean() == pytest.approx(union, abs=6e-4)
    assert (correct[0] & ~correct[-1]).mean() == pytest.approx(small_alone, abs=6e-4)
