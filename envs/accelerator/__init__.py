"""Scenarios of accelerators."""
