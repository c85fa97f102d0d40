"""Agents: who searches, the referee they search through, and the registry that names them."""
