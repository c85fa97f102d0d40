"""How an environment is seen by other libraries: Gymnasium, stable-baselines3, pictures."""
