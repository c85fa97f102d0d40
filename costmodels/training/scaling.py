"""Tokens that a loss takes: Hoffmann's law in parameters and tokens, and the price of a large batch.

    loss = E + A / N^alpha + B / D^beta          (Hoffmann et al. 2022: 1.69, 406.4, 410.7, 0.34, 0.28)
    D(batch) = D x (1 + batch / critical),  critical = 2.1e8 tokens / loss^(1 / 0.21)   (Kaplan et al. 2020)

All seven constants are recalled, not read again: what is compared at one loss is as good as they are.
"""

from __future__ import annotations

__all__ = ["critical_batch_tokens", "lowest_loss", "tokens_to"]

IRREDUCIBLE, SIZE, DATA, SIZE_POWER, DATA_POWER = 1.69, 406.4, 410.7, 0.34, 0.28
CRITICAL_TOKENS, CRITICAL_POWER = 2.1e8, 0.21


def lowest_loss(parameters: float) -> float:
    """Nats a token that no number of tokens goes below."""
    return IRREDUCIBLE + SIZE / parameters**SIZE_POWER


def tokens_to(target: float, parameters: float) -> float:
    """Tokens to a loss above the lowest, at a batch far below the critical one."""
    return (DATA / (target - lowest_loss(parameters))) ** (1 / DATA_POWER)


def critical_batch_tokens(target: float) -> float:
    """At which a step saves half of what it could, and costs twice the tokens."""
    return CRITICAL_TOKENS / target ** (1 / CRITICAL_POWER)
