"""The attention tier: cascades of attention on a FuseMax-like accelerator, I/O complexity, and a recurrent network."""
