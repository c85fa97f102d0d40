"""Policies: what learners leave and what others bring, and what they are worth on instances not seen before."""
