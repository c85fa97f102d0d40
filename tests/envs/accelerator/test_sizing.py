"""The accelerator family's yardsticks: stored optima, lower bounds, and area budgets that no rounding can cross."""

import csv
from pathlib import Path

import numpy as np
import pytest

import dsegym
from dsegym.costmodels.accelerator import bounds, platforms
from dsegym.costmodels.accelerator.platforms import get_platform, get_technology
from dsegym.costmodels.accelerator.sizing import AREA_BUDGETS_MM2, INFEASIBLE_FACTOR, OBJECTIVES, reference_values
from dsegym.costmodels.accelerator.workloads import get_workload, workload_names
from dsegym.costmodels.errors import DsegymError
from dsegym.envs.accelerator.sizing import SCENARIO, SPACE

SIZING = "dsegym/AcceleratorSizing-v0"
KEYS = ("workload", "objective", "area_budget", "platform")
OPTIMA = Path(platforms.__file__).with_name("optima.csv")


@pytest.fixture(scope="module")
def optima():
    """{instance: row} of the stored table."""
    lines = [line for line in OPTIMA.read_text().splitlines() if not line.startswith("#")]
    rows = list(csv.DictReader(lines))
    table = {tuple(row[key] for key in KEYS): row for row in rows}
    assert len(table) == len(rows) > 0
    return table


@pytest.fixture(scope="module")
def random_designs():
    return SPACE.sample(np.random.default_rng(0), 20_000)


def instances(workload):
    """Every core instance of a workload."""
    for objective in OBJECTIVES:
        for budget in AREA_BUDGETS_MM2:
            yield dsegym.make_problem(SIZING, workload=workload, objective=objective, area_budget=budget)


def row_of(optima, problem):
    return optima[tuple(problem.options[key] for key in KEYS)]


def design_of(row):
    return SPACE.encode({name: row[name] for name in SPACE.names})


def areas_mm2(designs):
    """Areas in float64."""
    technology = get_technology("gemmini")
    values = [np.array(p.values, np.float64)[designs[:, i]] for i, p in enumerate(SPACE.parameters[:-1])]
    rows, columns, ifmap, filters, ofmap, dram = values
    return (
        technology.base_mm2
        + technology.pe_mm2 * rows * columns
        + technology.edge_mm2 * (rows + columns) / 2
        + technology.sram_mm2_per_kib * (ifmap + filters)
        + technology.accumulator_mm2_per_kib * ofmap
        + technology.dram_interface_mm2_per_word * dram
    )


def every_area_mm2():
    """The float64 areas of the whole space, one dataflow only (the dataflow has no area)."""
    return areas_mm2(SPACE.enumerate(0, SPACE.size)[:: len(SPACE.parameters[-1].values)])


# --- Stored optima ----------------------------------------------------------------------------------------------------


def test_every_core_instance_has_a_stored_optimum(optima):
    core = {tuple(instance[key] for key in KEYS) for instance in SCENARIO.core_instances()}
    assert len(core) == len(workload_names()) * len(OBJECTIVES) * len(AREA_BUDGETS_MM2)
    assert set(optima) == core


@pytest.mark.slow
@pytest.mark.parametrize("workload", workload_names())
def test_a_stored_optimum_is_feasible_has_its_value_and_no_random_design_beats_it(optima, random_designs, workload):
    for problem in instances(workload):
        row = row_of(optima, problem)
        value = float(row["value"])
        assert (problem.bound.name, problem.bound.value) == ("optimum", value)
        np.testing.assert_array_equal(problem.bound.design, design_of(row))
        optimum = problem.evaluate(design_of(row))
        assert optimum.feasible[0], problem.name
        assert optimum.objective[0] == pytest.approx(value, rel=1e-6), problem.name
        assert value <= problem.reference.value

        result = problem.evaluate(random_designs)
        assert result.objective.min() >= value * (1 - 1e-6), problem.name
        # The worst feasible design stays far below the penalty of those that are not.
        worst = float(row["worst_over_reference"])
        assert result.objective[result.feasible].max() <= worst * problem.reference.value * 1.001
        assert worst < INFEASIBLE_FACTOR


def test_stored_units_are_those_of_the_objectives(optima):
    units = {
        name: next(p for p in instances("alexnet") if p.objective.name == name).objective.unit for name in OBJECTIVES
    }
    assert {(objective, row["unit"]) for (_, objective, *_), row in optima.items()} == set(units.items())


def test_a_larger_budget_never_has_a_worse_optimum(optima):
    # The targets follow each budget's own reference, so that objective has no common scale.
    for workload in workload_names():
        for objective in ("latency", "energy", "edp"):
            values = [float(optima[workload, objective, budget, "gemmini"]["value"]) for budget in AREA_BUDGETS_MM2]
            assert values == sorted(values, reverse=True), (workload, objective)


def test_the_energy_delay_product_is_never_below_the_product_of_both_optima(optima):
    for workload in workload_names():
        for budget in AREA_BUDGETS_MM2:
            latency, energy, product = (
                float(optima[workload, objective, budget, "gemmini"]["value"])
                for objective in ("latency", "energy", "edp")
            )
            assert product >= latency * energy * (1 - 1e-6)


def test_no_optimum_is_below_the_quick_lower_bound(optima):
    for (workload, objective, budget, platform), row in optima.items():
        if objective == "target":
            continue
        limits = bounds.lower_bounds(
            get_workload(workload),
            get_platform(platform),
            area_budget_mm2=AREA_BUDGETS_MM2[budget],
            words_per_cycle=max(SPACE.parameters[5].values),
            smallest={"ifmap_kib": 8, "filter_kib": 8, "ofmap_kib": 8},
        )
        values = {"latency": limits.latency_s, "energy": limits.energy_j, "edp": limits.latency_s * limits.energy_j}
        limit = values[objective]
        assert 0 < limit <= float(row["value"]), (workload, objective, budget)


@pytest.mark.slow
@pytest.mark.parametrize("platform", ["eyeriss", "scalesim"])
def test_an_instance_without_a_stored_optimum_has_a_lower_bound_instead(random_designs, platform):
    for objective in OBJECTIVES:
        problem = dsegym.make_problem(
            SIZING, workload="mobilenet_v2", objective=objective, area_budget="small", platform=platform
        )
        assert problem.bound.name == "bound"
        assert 0 < problem.bound.value <= problem.evaluate(random_designs[:5000]).objective.min()


def test_stored_designs_count_the_feasible_ones_of_their_budget(optima):
    areas = every_area_mm2()
    for (_, _, budget, _), row in optima.items():
        assert int(row["feasible_designs"]) == 3 * int((areas <= AREA_BUDGETS_MM2[budget]).sum())
        assert 1 <= int(row["optimal_designs"]) < int(row["feasible_designs"])


@pytest.mark.slow
@pytest.mark.parametrize("workload", ["alexnet", "bert_base_s128"])
def test_enumerating_the_space_again_reproduces_the_stored_rows(optima, workload):
    for row in SCENARIO.recompute_bounds({"workload": workload}):
        stored = optima[tuple(row[key] for key in KEYS)]
        assert row["value"] == pytest.approx(float(stored["value"]), rel=1e-6)
        assert str(row["feasible_designs"]) == stored["feasible_designs"]
        problem = dsegym.make_problem(SIZING, **{key: stored[key] for key in KEYS})
        both = problem.evaluate(np.stack([design_of(stored), design_of({k: str(v) for k, v in row.items()})]))
        assert both.objective[0] == pytest.approx(both.objective[1], rel=1e-6)


# --- Area and references ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", AREA_BUDGETS_MM2)
def test_no_design_is_so_near_an_area_budget_that_rounding_decides(budget):
    assert (np.abs(every_area_mm2() / AREA_BUDGETS_MM2[budget] - 1) > 1e-6).all()


def test_areas_are_those_of_the_technology_table(random_designs):
    problem = dsegym.make_problem(SIZING, workload="alexnet", area_budget="medium")
    result = problem.evaluate(random_designs[:4096])
    np.testing.assert_allclose(result.metrics.area_mm2, areas_mm2(random_designs[:4096]), rtol=1e-6)


@pytest.mark.parametrize("budget", AREA_BUDGETS_MM2)
def test_the_reference_of_a_budget_fits_into_it(budget):
    design = SPACE.encode(reference_values(AREA_BUDGETS_MM2[budget], platforms.get_platform("gemmini")))
    assert areas_mm2(design[None])[0] < AREA_BUDGETS_MM2[budget]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        *((each, "small") for each in ("small", "2", "2.0", 2, 2.0, "2e0", "2mm2", "2.0 mm2", np.float64(2))),
        *((each, "medium") for each in ("medium", 8, "8 mm2")),
        *((each, "3") for each in (3, "3.0", "3mm2")),
        ("12.5", "12.5"),
    ],
)
def test_equal_area_budgets_are_one_instance_however_they_are_written(given, text):
    assert SCENARIO.resolve({"area_budget": given})["area_budget"] == text


@pytest.mark.parametrize("given", ["tiny", "3 cm2", "", "nan", "inf", 0, -2, 101, "mm2", True, None, "1_0", "2mm2mm2"])
def test_a_budget_that_is_none_is_refused_with_the_sizes_of_the_named_ones(given):
    with pytest.raises(DsegymError, match="small = 2 mm2, medium = 8 mm2, large = 20 mm2"):
        dsegym.make_problem(SIZING, workload="alexnet", area_budget=given)


def test_a_budget_below_every_reference_is_refused_with_the_least_that_is_allowed():
    with pytest.raises(DsegymError, match=r"^area_budget = 0\.1723 is not allowed; allowed: 0\.1724 to 100 mm2"):
        dsegym.make_problem(SIZING, workload="alexnet", area_budget="0.1723")
    with pytest.raises(DsegymError, match=r"0\.1724 to 100 mm2"):
        SCENARIO.recompute_bounds({"workload": "alexnet", "area_budget": "0.1723"})
    assert dsegym.make_problem(SIZING, workload="alexnet", area_budget="0.1724").reference.name == "gemmini-x0.25"


@pytest.mark.parametrize(
    ("budget", "name"), [(0.34, "x0.25"), (0.35, "x0.5"), (1, "x1"), (3, "x2"), (6, "x4"), (36, "x8"), (37, "x16")]
)
def test_the_reference_of_any_budget_is_the_largest_scaled_gemmini_that_it_holds(budget, name):
    problem = dsegym.make_problem(SIZING, workload="alexnet", objective="edp", area_budget=budget)
    assert problem.reference.name == f"gemmini-{name}"
    assert problem.evaluate(problem.reference.design).feasible[0]
    doubled = {n: v if n == "dataflow" else 2 * v for n, v in problem.decode(problem.reference.design).items()}
    if budget < 37:  # beyond, the next one is not in the space
        assert areas_mm2(problem.space.encode(doubled)[None])[0] > budget
    assert problem.bound.value < problem.reference.value
    result = problem.evaluate(problem.space.sample(np.random.default_rng(5), 2000))
    over = result.metrics.area_mm2 > budget
    np.testing.assert_array_equal(result.feasible, ~over)
    if over.any() and not over.all():
        assert result.objective[over].min() > result.objective[~over].max()


def test_a_budget_that_is_the_area_of_a_reference_to_the_last_bit_has_a_feasible_reference():
    area = dsegym.make_problem(SIZING, workload="alexnet", area_budget="medium")
    area = area.evaluate(area.reference.design).metrics.area_mm2[0]
    for budget in (np.nextafter(area, np.float32(0)), area, np.nextafter(area, np.float32(9)), area * 1.00001):
        problem = dsegym.make_problem(SIZING, workload="alexnet", area_budget=float(budget))
        assert problem.evaluate(problem.reference.design).feasible[0]


def test_the_space_has_the_published_size():
    assert SPACE.size == 12**2 * 9**3 * 8 * 3 == 2_519_424


def test_the_facts_for_users_cover_workloads_budgets_platforms_and_constants():
    facts = dict(SCENARIO.facts())
    assert {row["workload"] for row in facts["Workloads"]} == set(workload_names())
    assert len(facts["Area budgets and references"]) == len(AREA_BUDGETS_MM2)
    assert {row["platform"] for row in facts["Platforms"]} == set(platforms.PLATFORMS)
    assert {row["status"] for row in facts["Technology constants"]} == {"source", "derived", "synthetic"}
