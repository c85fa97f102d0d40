"""Collections of the reasoning families: budgets and worlds to train on, others to be tested on."""

from __future__ import annotations

from ..core.collections import Collection

__all__ = ["CASCADE_BUDGETS"]

CASCADE_BUDGETS = Collection(
    name="cascade-budgets",
    scenario="dsegym/ReasoningCascade-v0",
    summary="cascades of models at budgets between and beyond those trained on; questions of the test part are others",
    train=lambda: [{"budget": budget} for budget in (2, 4, 8, 16, 32, 64)],
    validation=lambda: [{"budget": budget} for budget in (3, 24)],
    test=lambda: [{"budget": budget} for budget in (5, 10, 20, 50, 100)],
)
