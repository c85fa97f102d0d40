"""Spending an inference budget: outcome and cost models of test-time compute; overview in docs/reasoning.md."""
