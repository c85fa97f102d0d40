"""Serving reasoning models: what a configuration solves, and what it costs on given hardware."""
