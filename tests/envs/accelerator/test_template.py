"""AcceleratorTemplate-v0: against an oracle, its bound, its targets, and what is refused."""

import importlib

import numpy as np
import pytest

import dsegym
from dsegym.costmodels.accelerator import template
from dsegym.costmodels.accelerator.workloads import get_workload
from dsegym.costmodels.errors import DsegymError
from dsegym.testing import check_scenario

TEMPLATE = "dsegym/AcceleratorTemplate-v0"
SMALL = """layer,kind,in_channels,out_channels,in_height,in_width,kernel_height,kernel_width,stride,padding,m,n,k
one,conv,16,32,9,9,3,3,1,1,,,
two,conv,8,24,15,15,5,5,2,2,,,
head,gemm,,,,,,,,,1,64,512
"""


@pytest.fixture(scope="module")
def template_oracle():
    return importlib.import_module("template_oracle")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = tmp_path_factory.mktemp("workload") / "small.csv"
    path.write_text(SMALL)
    return str(path)


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["target", "energy"])
def test_a_network_of_the_user_keeps_the_contract_of_scenarios(small, objective):
    check_scenario(TEMPLATE, [{"workload": small, "objective": objective}])


@pytest.mark.parametrize("workload", ["small", "alexnet"])
def test_costs_are_those_of_mappings_tried_one_after_another(request, template_oracle, workload):
    name = request.getfixturevalue("small") if workload == "small" else workload
    problem = dsegym.make_problem(TEMPLATE, workload=name)
    layers = problem.params.layers
    nests = {layer.loops: None for layer in get_workload(name).layers if layer.kind == "conv"}
    count = 40 if workload == "small" else 6
    designs = problem.space.sample(np.random.default_rng(0), count)
    metrics = problem.evaluate(designs).metrics
    for at, values in enumerate(problem.space.decode_batch(designs)):
        tried = np.asarray(layers.candidates).tolist()
        cycles, energy, area, unmapped = template_oracle.costs(values, nests, layers.occurrences, tried)
        assert metrics.unmapped[at] == pytest.approx(unmapped / len(nests))
        assert metrics.area_mm2[at] == pytest.approx(area, rel=1e-5)
        if not unmapped:
            assert metrics.cycles[at] == pytest.approx(cycles, rel=1e-6)
            assert metrics.energy_j[at] == pytest.approx(energy, rel=1e-5)


def test_the_space_is_archgyms():
    counts = [len(values) for values in template.VALUES.values()]
    assert len(counts) == 26
    assert np.prod(counts, dtype=object) == 24 * 3 * (4 * 16 * 3 * 16) ** 3 * (4 * 16 * 3) * (4 * 7 * 4 * 3 * 16)


def test_the_targets_are_shares_of_the_unmodified_designs_costs():
    problem = dsegym.make_problem(TEMPLATE)
    metrics = template.evaluate(template.indexed(template.BASELINE), problem.params.layers)
    wanted = 0.7 * metrics.energy_j, 0.85 * metrics.area_mm2, 0.8 * metrics.latency_s
    np.testing.assert_allclose(problem.params.targets, wanted, rtol=1e-6)


@pytest.mark.parametrize("objective", ["target", "latency", "energy", "edp"])
def test_no_design_is_below_the_bound_and_none_that_is_infeasible_below_one_that_is_not(objective):
    problem = dsegym.make_problem(TEMPLATE, objective=objective)
    assert problem.obstacle == ""
    result = problem.evaluate(problem.space.sample(np.random.default_rng(1), 2000))
    assert 0.2 < result.feasible.mean() < 0.9
    assert result.objective[result.feasible].min() >= problem.bound.value
    assert result.objective[~result.feasible].min() > result.objective[result.feasible].max()
    assert np.isfinite(result.objective).all()


def test_better_than_the_targets_is_better_still():
    """No pole and no floor: a design that meets every target with room to spare is better than one that just does."""
    from dsegym.costmodels.accelerator.sizing import OBJECTIVES

    targets = np.array([1.0, 1.0, 1.0], np.float32)
    values = [
        float(OBJECTIVES["target"].value(template.Metrics(share, share, share, 0, 0, 0), targets))
        for share in (1.5, 1.0, 0.999, 0.5, 0.01)
    ]
    assert values == sorted(values, reverse=True)
    assert values[-1] > 0


def test_more_room_never_makes_a_layer_slower():
    problem = dsegym.make_problem(TEMPLATE, objective="latency")
    values = problem.space.decode(problem.reference.design)
    for knob in ("ifmap_depth", "weights_depth", "psum_depth", "buffer_depth", "buffer_read", "buffer_write"):
        ladder = [problem.space.encode({**values, knob: value}) for value in template.VALUES[knob]]
        result = problem.evaluate(np.array(ladder))
        cycles = result.metrics.cycles[result.feasible]
        assert (np.diff(cycles) <= 0).all(), knob


def test_a_breakdown_adds_up_and_names_the_mappings(small):
    problem = dsegym.make_problem(TEMPLATE, workload=small)
    found = problem.breakdown(problem.decode(problem.reference.design))
    assert sum(row["cycles"] for row in found.rows) == found.totals["cycles"]
    assert all(row["mapping"].startswith("rows ") for row in found.rows)


@pytest.mark.parametrize(
    ("text", "words"),
    [("layer,kind,m,n,k\nx,gemm,64,32,16\n", "no convolution"), (SMALL.replace("3,3,1,1", "3,3,0,1"), "stride")],
)
def test_a_network_that_the_template_cannot_run_is_one_sentence(tmp_path, text, words):
    path = tmp_path / "network.csv"
    path.write_text(text)
    with pytest.raises(DsegymError, match=words):
        dsegym.make_problem(TEMPLATE, workload=str(path))
