"""Budgets of sub-questions: the model of uncertainty, plans to draw, schedulers, the game, its bound and its picture."""
