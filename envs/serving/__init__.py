"""Scenarios of serving large language models."""
