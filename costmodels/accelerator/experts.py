"""Machines that people built or ship, as sizes that the accelerator tiers cost; see `experts.csv`."""

from __future__ import annotations

from collections.abc import Mapping

from ..tables import package_rows
from .breakdown import break_down
from .model import DATAFLOWS
from .platforms import Platform
from .sizing import VALUES
from .workloads import Workload

__all__ = ["FRONT", "costs_of", "expert_rows", "sizes_of", "told_of"]

FRONT = ("latency_s", "energy_j", "area_mm2")  # metrics of both tiers that are costs


def expert_rows() -> tuple[Mapping[str, str], ...]:
    """The rows of `experts.csv`."""
    return package_rows("accelerator/experts.csv")


def sizes_of(row: Mapping[str, str], workload: Workload, platform: Platform) -> dict[str, object]:
    """{dimension: value}; a machine whose dataflow the model lacks has the one of least energy times latency."""
    sizes: dict[str, object] = {name: int(row[name]) for name in VALUES if name != "dataflow"}
    if row["dataflow"]:
        return {**sizes, "dataflow": row["dataflow"]}

    def energy_delay(dataflow: str) -> float:
        costs = costs_of({**sizes, "dataflow": dataflow}, workload, platform)
        return costs["latency_s"] * costs["energy_j"]

    return {**sizes, "dataflow": min(DATAFLOWS, key=energy_delay)}


def costs_of(sizes: Mapping[str, object], workload: Workload, platform: Platform) -> dict[str, float]:
    """{metric of FRONT: value} of sizes, whether the design space has them or not."""
    totals = break_down(workload, platform, sizes).totals
    return {name: float(totals[name] or 0) for name in FRONT}


def told_of(row: Mapping[str, str], costs: Mapping[str, float], area_budget_mm2: float) -> str:
    """Where a machine's sizes are from, and whether its area is over the budget, a colon, and its source."""
    over = ", over the area budget" if costs["area_mm2"] > area_budget_mm2 else ""
    return f"{row['status']}{over}: {row['source']}"
