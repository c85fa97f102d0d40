"""Scenarios of memories."""
