"""Serving large language models: measured engines, rooflines, and mixes of GPUs."""
