"""Learners: agents that train a policy on the training part of a collection, and leave it for other instances."""
