"""The mapping-aware tier: tilings, spatial factors and loop orders of each layer on a Gemmini-like accelerator."""
