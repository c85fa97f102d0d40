"""A cache of a toy mixture, solved: what the best policy that does not know the future misses.

One layer, one expert a token, equal bytes: a Markov chain of requests and a cache of some slots. Relative value
iteration over (the expert that was just used, what is in memory).
"""

from __future__ import annotations

import itertools

import numpy as np

from dsegym.costmodels.errors import DsegymError

__all__ = ["least_miss_rate"]

_MOST_STATES = 20_000


def least_miss_rate(chain: np.ndarray, slots: int, *, tolerance: float = 1e-9) -> float:
    """The lowest long-run share of requests that miss, of any policy that loads what is asked for.

    Args:
        chain: float[X, X], the chance that a row's expert is followed by a column's; all above 0.
        slots: of the cache, 1 to X.
        tolerance: of the result.

    Raises:
        DsegymError: the chain is none, there are no slots, or the toy is too large.
    """
    experts = len(chain)
    chain = np.asarray(chain, float)
    if chain.shape != (experts, experts) or (chain <= 0).any() or not np.allclose(chain.sum(1), 1):
        raise DsegymError("The chain must be a square table of chances above 0 whose rows add up to 1.")
    if not 1 <= slots <= experts:
        raise DsegymError(f"slots = {slots} is not allowed; a cache of {experts} experts has 1 to {experts}.")
    memories = [frozenset(each) for each in itertools.combinations(range(experts), slots)]
    states = [(last, memory) for memory in memories for last in memory]
    if len(states) > _MOST_STATES:
        raise DsegymError(f"The toy has {len(states):,} states; at most {_MOST_STATES:,} are solved.")
    place = {state: number for number, state in enumerate(states)}
    # Where each request leads: [states, X, slots] successors, one a victim; a hit leads to the same one for each.
    after = np.array(
        [
            [
                [place[asked, memory if asked in memory else memory - {victim} | {asked}] for victim in sorted(memory)]
                for asked in range(experts)
            ]
            for _, memory in states
        ]
    )
    missed = np.array([[asked not in memory for asked in range(experts)] for _, memory in states], float)
    chance = chain[[last for last, _ in states]]
    value = np.zeros(len(states))
    while True:
        found = (chance * (missed + value[after].min(2))).sum(1)
        growth = found - value
        value = found - found[0]
        if growth.max() - growth.min() < tolerance:
            return float((growth.max() + growth.min()) / 2)
