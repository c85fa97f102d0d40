"""Environments: design problems as functional environments, and their Gymnasium and stable-baselines3 faces."""
