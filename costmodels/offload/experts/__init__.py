"""Experts of a mixture on a small device: which stay in memory, at which bit-width, and what is prefetched."""
