"""Scoring: from stored trials to the leaderboard's numbers."""
