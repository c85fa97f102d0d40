"""An accelerator as a floor plan: its array and its buffers, each as large as its area, and what moves through them."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ..diagram import Diagram, Rectangle
from .breakdown import break_down
from .platforms import Platform, Technology
from .workloads import Workload

__all__ = ["draw"]

_DATAFLOWS = {"ws": "weight stationary", "os": "output stationary", "is": "input stationary"}


def draw(workload: Workload, platform: Platform, values: Mapping[str, object]) -> Diagram:
    """The floor plan of one design, with a network's traffic through each part.

    The array lies in the middle, as wide and high as its columns and rows ask for; inputs come from the left, filters
    from above, outputs go below, and DRAM lies to the right. Areas are true to each other, whatever the picture's
    proportions: the places of the parts are a convention, not a layout.

    Args:
        workload: the network.
        platform: of a technology whose parts have an area.
        values: {parameter: value}, as `break_down` takes them.

    Raises:
        InvalidDesignError, UnknownNameError: as `break_down`.
    """
    costs = break_down(workload, platform, values)
    rows, columns = int(str(values["rows"])), int(str(values["columns"]))
    areas = _areas_mm2(platform.technology, values, rows, columns)
    width = math.sqrt(areas["array"] * columns / rows)
    height = areas["array"] / width
    left, right = areas["inputs"] / height, areas["interface"] / height
    above, below = areas["filters"] / width, areas["outputs"] / width

    def words(key: str) -> str:
        return _millions(sum(float(row[key] or 0) for row in costs.rows))  # each row counts all its occurrences

    dataflow = _DATAFLOWS[str(values["dataflow"])]
    totals = costs.totals
    moved = _millions(float(totals["dram_traffic_words"] or 0))
    rectangles = [
        Rectangle(0.0, 0.0, width, height, "processing elements", f"{rows} x {columns}: {dataflow}"),
        Rectangle(
            -left,
            0.0,
            left,
            height,
            "input buffer",
            f"{values['ifmap_buffer']} KiB: {words('ifmap_sram_reads_words')} read",
        ),
        Rectangle(
            0.0,
            height,
            width,
            above,
            "filter buffer",
            f"{values['filter_buffer']} KiB: {words('filter_sram_reads_words')} read",
        ),
        Rectangle(
            0.0,
            -below,
            width,
            below,
            "output buffer",
            f"{values['ofmap_buffer']} KiB: {words('ofmap_sram_writes_words')} written",
        ),
        Rectangle(width, 0.0, right, height, "DRAM interface", f"{values['dram_width']} words/cycle: {moved}"),
    ]
    cost = f"{1e3 * float(totals['latency_s'] or 0):.3g} ms, {1e3 * float(totals['energy_j'] or 0):.3g} mJ"
    return Diagram(
        title=f"{float(totals['area_mm2'] or 0):.3g} mm2, {dataflow}: {cost}; {moved} to and from DRAM",
        x_label="mm (areas to scale, places by convention)",
        y_label="mm",
        x_range=(-left, width + right),
        y_range=(-below, height + above),
        rectangles=rectangles,
    )


def _millions(words: float) -> str:
    return f"{words * 1e-6:.3g} M words"


def _areas_mm2(technology: Technology, values: Mapping[str, object], rows: int, columns: int) -> dict[str, float]:
    """The terms of `model.area_mm2`, what belongs to no buffer counted with the array."""
    kib = {name: int(str(values[f"{name}_buffer"])) for name in ("ifmap", "filter", "ofmap")}
    array = technology.base_mm2 + technology.pe_mm2 * rows * columns + technology.edge_mm2 * 0.5 * (rows + columns)
    return {
        "array": array,
        "inputs": technology.sram_mm2_per_kib * kib["ifmap"],
        "filters": technology.sram_mm2_per_kib * kib["filter"],
        "outputs": technology.accumulator_mm2_per_kib * kib["ofmap"],
        "interface": technology.dram_interface_mm2_per_word * int(str(values["dram_width"])),
    }
