"""Arithmetic of transformers on accelerators, which serving and training share."""
