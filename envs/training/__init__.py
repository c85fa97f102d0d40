"""Scenarios of training transformers over many accelerators."""
