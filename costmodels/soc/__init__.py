"""Scheduling task graphs on heterogeneous systems on chip; the rules are in docs/soc_scheduling.md."""
