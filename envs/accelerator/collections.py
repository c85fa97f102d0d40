"""Collections of accelerator sizing: networks to train on, and others to be tested on."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from ..core.collections import Collection

__all__ = ["ACCELERATOR_NETWORKS"]

_OBJECTIVES = ("latency", "energy", "edp", "target")


def _instances(networks: Sequence[str], budgets_mm2: Sequence[float | str]) -> Sequence[Mapping[str, object]]:
    """Networks under every objective and area budget."""
    return [
        {"workload": network, "objective": objective, "area_budget": budget}
        for network, objective, budget in itertools.product(networks, _OBJECTIVES, budgets_mm2)
    ]


ACCELERATOR_NETWORKS = Collection(
    name="accelerator-networks",
    scenario="dsegym/AcceleratorSizing-v0",
    summary="image and language networks at every objective; test: others, a hundred times larger, at other budgets",
    train=lambda: _instances(
        (
            *("alexnet", "vgg16", "resnet18", "mobilenet_v1", "bert_base_s128", "bert_base_s512"),
            *("gpt2_small_prefill1024", "gpt2_small_decode_kv1024"),
        ),
        (1.5, 3, 6, 12, 30),
    ),
    validation=lambda: _instances(("bert_base_s384",), (4, 10)),
    test=lambda: _instances(  # at the budgets whose optima are stored
        (
            *("resnet50", "mobilenet_v2", "bert_large_s384"),
            *("llama2_7b_prefill2048", "llama2_7b_decode_kv2048", "llama3_8b_decode_kv2048"),
        ),
        ("small", "medium", "large"),
    ),
    form="contextual",
    sizes={"layers": 32},
)
