"""Training and serving of models larger than a GPU's memory: what lives in which tier, and what moves when."""
