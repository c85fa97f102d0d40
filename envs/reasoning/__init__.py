"""Scenarios of reasoning systems and their inference budgets."""
