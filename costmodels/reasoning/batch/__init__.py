"""A batch of questions that share a budget of samples: the game, its oracle and its picture."""
