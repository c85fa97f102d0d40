"""The Kinetics cost law token by token, in plain Python: what `transformers/kinetics.py` must agree with.

Written from the description of the law: a step reads the keys and values of what is cached, halfway through the token
that it makes; two numbers of two bytes for each key-value head and depth; two multiply-adds for each query head.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Spent:
    linear_flop: float
    attention_flop: float
    kv_bytes: float

    def eflop(self, intensity):
        return self.linear_flop + self.attention_flop + intensity * self.kv_bytes


def token_by_token(model, *, prompt, length, trials, budget=0, block=0):
    """`Spent` by all trials. `model`: (parameters, query heads, key-value heads, depth); `budget` 0: dense."""
    parameters, query_heads, kv_heads, depth = model
    linear = arithmetic = moved = 0.0
    for step in range(length):
        generated = step + 0.5
        linear += 2.0 * parameters * trials
        if budget:
            read = min(float(budget), prompt + generated)
            arithmetic += 4.0 * read * query_heads * depth * trials
            moved += 4.0 * read * kv_heads * depth * trials  # each trial picks its own tokens: nothing is shared
        else:
            arithmetic += 4.0 * (prompt + generated) * query_heads * depth * trials
            moved += 4.0 * (prompt + generated * trials) * kv_heads * depth  # the prompt is read once for all trials
    if block:  # one summary, of a key alone, for each block
        arithmetic += ((2 * prompt + length) // block) * length * query_heads * depth * trials
        moved += ((2 * prompt + length * trials) // block) * length * kv_heads * depth
    return Spent(linear, arithmetic, moved)


def same_in_the_papers_symbols(model, *, prompt, length, trials, intensity):
    """eFLOPs of dense attention as the paper writes them, with r = H / K and D = 2 K depth.

    2NPL + 2rNcDL + rNDL^2 + 2IcDL + INDL^2.
    """
    width = 2 * model.kv_heads * model.depth
    r = model.query_heads / model.kv_heads
    return (
        2 * trials * model.parameters * length
        + 2 * r * trials * prompt * width * length
        + r * trials * width * length**2
        + 2 * intensity * prompt * width * length
        + intensity * trials * width * length**2
    )
