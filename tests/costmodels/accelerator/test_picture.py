"""Floor plans: their areas are the model's, their words those of the breakdown."""

import numpy as np
import pytest

import dsegym
from dsegym.costmodels.accelerator.breakdown import break_down
from dsegym.costmodels.accelerator.picture import draw
from dsegym.costmodels.accelerator.platforms import get_platform
from dsegym.costmodels.accelerator.workloads import get_workload

VALUES = {
    "rows": 16,
    "columns": 64,
    "ifmap_buffer": 128,
    "filter_buffer": 256,
    "ofmap_buffer": 32,
    "dram_width": 16,
    "dataflow": "os",
}


@pytest.mark.parametrize("changed", [{}, {"rows": 128, "dataflow": "ws"}, {"ofmap_buffer": 512, "dataflow": "is"}])
def test_the_areas_of_the_parts_are_the_area_of_the_design(changed):
    values, workload, platform = {**VALUES, **changed}, get_workload("resnet18"), get_platform("gemmini")
    plan = draw(workload, platform, values)
    costs = break_down(workload, platform, values)
    assert sum(r.width * r.height for r in plan.rectangles) == pytest.approx(costs.totals["area_mm2"], rel=1e-5)
    array = next(r for r in plan.rectangles if r.kind == "processing elements")
    assert array.width / array.height == pytest.approx(values["columns"] / values["rows"])
    inputs = next(r for r in plan.rectangles if r.kind == "input buffer")
    read = sum(row["ifmap_sram_reads_words"] for row in costs.rows)
    assert inputs.label == f"{values['ifmap_buffer']} KiB: {read * 1e-6:.3g} M words read"


def test_parts_do_not_overlap_and_lie_within_the_axes():
    plan = draw(get_workload("resnet18"), get_platform("gemmini"), VALUES)
    for one in plan.rectangles:
        assert plan.x_range[0] <= one.x + 1e-9
        assert one.x + one.width <= plan.x_range[1] + 1e-9
        assert plan.y_range[0] <= one.y + 1e-9
        assert one.y + one.height <= plan.y_range[1] + 1e-9
        for other in plan.rectangles:
            wide = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
            high = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
            assert one is other or min(wide, high) <= 1e-9


def test_layers_are_as_wide_as_their_time_and_as_large_as_their_work():
    problem = dsegym.make_problem("dsegym/AcceleratorMapping-v0")
    design = np.array(problem.reference.design)
    drawn, costs = problem.picture(design), problem.breakdown(problem.decode(design))
    assert len(drawn.rectangles) == len(costs.rows)
    assert sum(r.width for r in drawn.rectangles) * 1e-3 == pytest.approx(costs.totals["latency_s"], rel=1e-5)
    work = sum(r.width * r.height for r in drawn.rectangles) / drawn.x_range[1]
    assert work == pytest.approx(costs.totals["utilisation"], rel=1e-5)
    for row, rectangle in zip(costs.rows, drawn.rectangles, strict=True):
        assert (row["cycles"] > row["compute_cycles"]) == (rectangle.kind == "waits for memory")
