"""Budgets of sub-questions: uncertainty, plans to draw, schedulers, the game, its bound and its picture."""
