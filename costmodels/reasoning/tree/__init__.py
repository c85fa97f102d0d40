"""Searching a tree of steps: which leaves go on, and how widely, when they share a cache."""
