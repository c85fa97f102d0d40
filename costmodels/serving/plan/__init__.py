"""How a cluster serves a model: phases together or apart, each with its own parallelism, after DistServe."""
