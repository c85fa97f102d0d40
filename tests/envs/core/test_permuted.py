"""Permuted values: the same problem under another order of each parameter's values."""

import pickle

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dsegym
from dsegym.costmodels.errors import DsegymError, InvalidOptionError, UnknownNameError
from dsegym.costmodels.solver import Limits, is_available
from dsegym.envs.core.options import parse, texts
from dsegym.envs.core.scenarios import load_scenario, make_problem, scenario_ids

SIZING, SLEEP = "dsegym/AcceleratorSizing-v0", "dsegym/SleepTime-v0"
# {scenario: what in its options keeps an instance small or gives it one-shot forms}.
SMALL = {
    "dsegym/ServingStream-v0": {"requests": 8},
    "dsegym/ServingEngine-v0": {"requests": 8},
    "dsegym/SocSchedulingStream-v0": {"count": 4},
    "dsegym/MemoryMapping-v0": {"space": "msa"},
}
QUICK = (
    SIZING,
    SLEEP,
    "dsegym/MemoryAllocation-v0",
    "dsegym/SocSchedulingStatic-v0",
    "dsegym/ServingMix-v0",
)


def pair(scenario, seed=3, **options):
    """An instance, and the same one permuted."""
    return make_problem(scenario, **options), make_problem(scenario, permutation=seed, **options)


def assert_same_problem(plain, permuted, count=3):
    """The values of designs cost the same through both, and yardsticks and baselines are one."""
    designs = permuted.space.sample(np.random.default_rng(0), count)
    values = permuted.space.decode_batch(designs)
    own = plain.space.encode_batch(values)
    assert permuted.space.encode_batch(values).tolist() == designs.tolist()
    assert any(design.tolist() != there.tolist() for design, there in zip(designs, own, strict=True))
    costed = [(plain.evaluate(own), permuted.evaluate(designs))]
    if plain.held_out_params is not None:
        costed.append((plain.evaluate_held_out(own), permuted.evaluate_held_out(designs)))
    for one, other in costed:
        jax.tree.map(np.testing.assert_array_equal, one, other)
    assert not any(parameter.ordered or parameter.ranking for parameter in permuted.space.parameters)
    for mine, its in (
        (plain.reference, permuted.reference),
        (plain.as_searched.reference, permuted.as_searched.reference),
    ):
        assert (mine.name, mine.value) == (its.name, its.value)
        assert mine.design is None or plain.decode(mine.design) == permuted.decode(its.design)
    assert plain.baselines.keys() == permuted.baselines.keys()


def test_every_scenario_is_tried_here():
    assert set(scenario_ids()) >= {*SMALL, *QUICK}


@pytest.mark.slow
@pytest.mark.parametrize(
    "scenario",
    [
        name if name in QUICK else pytest.param(name, marks=pytest.mark.minutes)
        for name in scenario_ids()
        if name.startswith("dsegym/")
    ],
)
def test_values_cost_the_same_in_every_scenario_however_they_are_ordered(scenario):
    plain, permuted = pair(scenario, **SMALL.get(scenario, {}))
    assert_same_problem(plain, permuted)
    assert set(permuted.forms) <= {"parametric", "sequential"}


@pytest.mark.parametrize("scenario", [SIZING, SLEEP])
def test_bounds_baselines_and_ranked_designs_are_mapped(scenario):
    plain, permuted = pair(scenario)
    assert plain.bound.value == permuted.bound.value
    if plain.bound.design is not None:
        assert plain.decode(plain.bound.design) == permuted.decode(permuted.bound.design)
    for name, make in plain.baselines.items():
        assert plain.decode(make()) == permuted.decode(permuted.baselines[name]())
    if plain.ranked is not None:
        assert plain.space.decode_batch(plain.ranked(5)) == permuted.space.decode_batch(permuted.ranked(5))


@pytest.mark.parametrize(
    ("scenario", "options"),
    [
        ("dsegym/MemoryAllocation-v0", {"instance": "perfect_30_s1"}),
        ("dsegym/ServingMix-v0", {}),
        ("dsegym/ReasoningServe-v0", {}),
        pytest.param("dsegym/MemoryTiers-v0", {}, marks=pytest.mark.slow),
        pytest.param("dsegym/TrainingPlan-v0", {}, marks=pytest.mark.slow),
    ],
)
def test_solvers_give_the_same_designs_in_the_order_of_the_values(scenario, options):
    plain, permuted = pair(scenario, **options)
    assert plain.solvers.keys() == permuted.solvers.keys()
    for name in plain.solvers if is_available() else ():
        own, its = (list(problem.solvers[name](Limits(1.0, np.inf))) for problem in (plain, permuted))
        assert own
        assert list(map(plain.decode, own)) == list(map(permuted.decode, its))


def test_the_relaxation_takes_permuted_weights():
    plain, permuted = pair(SIZING)
    generator = np.random.default_rng(1)
    weights = [generator.dirichlet(np.ones(len(p.values))).astype(np.float32) for p in plain.space.parameters]
    moved = tuple(
        jnp.asarray([own[p.index(value)] for value in q.values])
        for own, p, q in zip(weights, plain.space.parameters, permuted.space.parameters, strict=True)
    )
    expected = plain.relaxation(tuple(map(jnp.asarray, weights)), plain.params)
    assert float(permuted.relaxation(moved, permuted.params)) == float(expected)


def test_a_design_is_drawn_as_what_it_is():
    plain, permuted = pair("dsegym/MemoryAllocation-v0")
    design = permuted.space.sample(np.random.default_rng(0), 1)[0]
    own = plain.space.encode(permuted.decode(design))
    assert permuted.picture(design).rectangles == plain.picture(own).rectangles


def test_seeds_give_orders_that_differ_and_repeat_and_share_compiled_code():
    one, other, again = (make_problem(SIZING, permutation=seed) for seed in (1, 2, "1"))
    assert one is again
    assert [p.values for p in one.space.parameters] != [p.values for p in other.space.parameters]
    assert one.cost == other.cost
    assert hash(one.cost) == hash(other.cost)
    assert one.content != other.content


def test_the_option_is_in_names_and_manifests_where_it_is_set_only():
    kind = load_scenario(SIZING).options_type
    assert "permutation" not in texts(parse(kind, {}))
    assert texts(parse(kind, {"permutation": "7.0"}))["permutation"] == "7"
    assert parse(kind, {"permutation": "none"}) == parse(kind, {})
    assert make_problem(SIZING, permutation=7).options["permutation"] == "7"


@pytest.mark.parametrize("value", ["-1", "1.5", "many", "nan", True, 2**31])
def test_another_permutation_is_refused(value):
    with pytest.raises((InvalidOptionError, UnknownNameError), match="permutation"):
        make_problem(SIZING, permutation=value)


@pytest.mark.parametrize(
    ("scenario", "forms"), [("dsegym/MemoryMapping-v0", "sequential, image"), ("dsegym/SocSchedulingStatic-v0", "")]
)
def test_scenarios_without_one_shot_forms_say_so(scenario, forms):
    if forms:
        with pytest.raises(DsegymError, match=rf"made step by step only \({forms}\): leave permutation out"):
            make_problem(scenario, permutation=1)
    else:
        with pytest.raises(UnknownNameError, match=r"form 'sequential'.*parametric"):
            make_problem(scenario, permutation=1).functional_env("sequential")


def test_a_permuted_instance_is_pickled_and_played():
    problem = make_problem(SLEEP, permutation=5)
    loaded, fresh = pickle.loads(pickle.dumps(problem)), make_problem(SLEEP, permutation=5)
    assert (loaded.options, loaded.digest, loaded.space) == (fresh.options, fresh.digest, fresh.space)
    env = gymnasium.make(SLEEP, form="parametric", permutation=5)
    env.reset(seed=0)
    design = np.asarray(problem.reference.design, np.int32)
    *_, info = env.step(design)
    assert info["objective"] == pytest.approx(float(problem.evaluate(design).objective[0]))
    assert dsegym.make_problem(SLEEP, permutation=5).as_searched.held_out_params is None
