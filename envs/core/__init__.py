"""The generic core: spaces, problems, functional environments, scenarios."""
