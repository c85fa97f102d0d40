"""An engine of continuous batching, step by step: what a step takes, who is in it, and the replay of measured runs."""
