"""Every benchmark, one after another: `make bench`. Name some to run only these: `python benchmarks/run.py runner`."""

from __future__ import annotations

import importlib
import os
import platform
import sys

BENCHMARKS = (
    "import_time",
    "environments",
    "runner",
    "lottery",
    "store",
    "rollouts",
    "cost_model",
    "mapping_tier",
    "attention_tier",
    "memory",
    "allocation",
    "serving_stream",
    "serving_cluster",
    "power_cap",
    "expert_cache",
    "memory_tiers",
    "soc",
    "reasoning",
    "training",
)
# They take many minutes.
ONLY_BY_NAME = (
    "agent_memory",
    "agents",
    "aiconfigurator_peer",
    "clients",
    "dosa_protocol",
    "learners",
    "load",
    "muzero",
    "policies",
    "proxy",
    "soc_learning",
    "reasoning_learning",
    "workers",
)


def main() -> None:
    """Runs what the command line names, or all."""
    chosen = sys.argv[1:] or BENCHMARKS
    known = (*BENCHMARKS, *ONLY_BY_NAME)
    unknown = [name for name in chosen if name not in known]
    if unknown:
        raise SystemExit(f"Unknown benchmark '{unknown[0]}'; there are: {', '.join(known)}.")
    print(f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}")
    for name in chosen:
        importlib.import_module(name).main()


if __name__ == "__main__":
    main()
