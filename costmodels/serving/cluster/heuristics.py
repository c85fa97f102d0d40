"""Clusters by rule: Splitwise's designs, split in proportion to what a machine of each phase serves, and baselines.

A rule is a pair of machine types, and how a number of machines is split between them; the number is the one of
`SIZES` that serves the goal best within the limits. Designs are (prompt type, prompt machines, token type, token
machines), types as places.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .model import Cluster, Limits, Plan, evaluate

__all__ = ["MOST_MACHINES", "RULES", "Design", "Rule", "design_of"]

MOST_MACHINES = 100  # of a pool
SIZES = np.arange(1, 2 * MOST_MACHINES + 1)
Design = tuple[int, int, int, int]
A100, H100, CAPPED = range(3)  # places in `performance.MACHINES`


@dataclass(frozen=True)
class Rule:
    """Types of machines and a way to split a number of them."""

    prompt_type: int
    token_type: int
    split: Literal["together", "in proportion", "even"]
    summary: str


RULES: Mapping[str, Rule] = {
    "baseline_h100": Rule(H100, H100, "together", "DGX-H100s that each serve both phases"),
    "baseline_a100": Rule(A100, A100, "together", "DGX-A100s that each serve both phases"),
    "one_to_one": Rule(H100, H100, "even", "as many DGX-H100s for prompts as for tokens"),
    "splitwise_aa": Rule(A100, A100, "in proportion", "DGX-A100s for either phase"),
    "splitwise_hh": Rule(H100, H100, "in proportion", "DGX-H100s for either phase"),
    "splitwise_ha": Rule(H100, A100, "in proportion", "DGX-H100s for prompts, DGX-A100s for tokens"),
    "splitwise_hhcap": Rule(H100, CAPPED, "in proportion", "DGX-H100s, those for tokens capped to 0.7 of their power"),
}


def design_of(rule: Rule, cluster: Cluster, limits: Limits) -> Design:
    """The rule's best number of machines; feasible or not."""
    last = MOST_MACHINES
    prompt, token = float(cluster.prompt_rate[rule.prompt_type, last]), float(cluster.token_rate[rule.token_type, last])
    shares = {"together": 0.0, "even": 0.5, "in proportion": token / max(prompt + token, 1e-9)}
    prompts = np.round(shares[rule.split] * SIZES).astype(np.int32)
    if rule.split != "together":
        prompts = np.clip(prompts, 1, SIZES - 1)
    tokens = (SIZES - prompts).astype(np.int32)
    allowed = (prompts <= last) & (tokens >= 1) & (tokens <= last)
    prompts, tokens = prompts[allowed], tokens[allowed]
    types = (np.full(len(tokens), each, np.int32) for each in (rule.prompt_type, rule.token_type))
    first, second = types
    _, value, missed = evaluate(Plan(first, prompts, second, tokens), cluster, limits)
    missed = np.asarray(missed)
    best = int(np.lexsort((np.asarray(value), missed))[0])
    return rule.prompt_type, int(prompts[best]), rule.token_type, int(tokens[best])
