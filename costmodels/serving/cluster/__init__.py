"""Pools of machines that serve prompts and tokens apart or together, within a budget, after Splitwise."""
