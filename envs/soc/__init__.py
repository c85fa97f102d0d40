"""Scenarios of systems on a chip."""
