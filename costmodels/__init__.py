"""Cost models: what a design costs. Pure JAX functions, workloads, platforms; nothing here knows a layer above."""
