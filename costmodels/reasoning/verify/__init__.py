"""Solving and verifying: samples, verdicts on them, and the answer that is chosen."""
