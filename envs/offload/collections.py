"""Collections of caches of experts: generated routes of two models; tested on recorded ones of three, a third's too."""

from __future__ import annotations

from ..core.collections import Collection

__all__ = ["EXPERT_CACHES"]

EXPERT_CACHES = Collection(
    name="expert-caches",
    scenario="dsegym/ExpertCache-v0",
    summary="generated routes of two models at several memories; tested on recorded routes of all three and between",
    train=lambda: [
        {"routes": routes, "memory": memory, "penalty": penalty}
        for routes in ("qwen", "gptoss")
        for memory in (5, 10, 20, 30)
        for penalty in (10, 40)
    ],
    validation=lambda: [{"routes": routes, "memory": 15} for routes in ("qwen", "gptoss")],
    test=lambda: [
        *({"routes": f"{name}_recorded", "memory": 15} for name in ("qwen", "gemma", "gptoss")),
        *({"routes": "gemma_recorded", "memory": memory} for memory in (8, 25)),
        {"routes": "gemma", "memory": 4, "penalty": 20},
    ],
)
