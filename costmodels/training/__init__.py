"""Training of transformers over many accelerators: memory, seconds of a step, failures, and the loss that follows."""
