"""Collections of the memory families: programs of the zoo and packings to train on, others to be tested on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ..core.collections import Collection

__all__ = ["MEMORY_ZOO", "MEMORY_ZOO_SMALL", "PACKING"]

_SCENARIO = "dsegym/MemoryMapping-v0"
_SUMMARY = (
    "programs by architecture, size, platform and capacity; those of the test part have architectures that no program "
    "of the other parts has"
)
_PLATFORMS = (
    "tpu_v4i",
    "tpu_v4",
    "tpu_v5e",
    "a100_l2",
    "ethos_u65_512",
    "ethos_u65_client",
    "ethos_u85_high",
)
_LEAST_SHARE, _MOST_SHARE = 0.1, 0.7  # capacity over the activation peak
_TRAINED = ("perceptron", "transformer", "residual", "inverted", "mixer", "u_shaped", "recurrent", "mixture")
_TESTED = ("decoder", "decoding", "state_space", "graph", "recommender", "dense_net", "blocked_attention")
_SHIPPED = {
    "bert_layer": 0.25,
    "blocked_attention": 0.1,
    "diffusion_step": 0.5,
    "gqa_decode": 0.1,
    "graph_convolution": 0.25,
    "llama_block": 0.5,
    "mlp_train": 0.1,
    "state_space": 0.25,
    "vision_transformer": 0.5,
}  # with the tier of capacity

Instance = dict[str, object]


def _instance(architecture: str, seed: int) -> Instance:
    """A program of the zoo on a platform with a capacity, both drawn from its seed; logarithms of capacities alike."""
    generator = np.random.default_rng([*architecture.encode(), seed, 1])
    platform = _PLATFORMS[generator.integers(len(_PLATFORMS))]
    share = float(np.exp(generator.uniform(np.log(_LEAST_SHARE), np.log(_MOST_SHARE))))
    return {"program": f"zoo/{architecture}/{seed}", "platform": platform, "capacity": round(share, 3)}


def _each(architectures: Sequence[str], seeds: Iterable[int]) -> list[Instance]:
    return [_instance(architecture, seed) for seed in seeds for architecture in architectures]


def _listed(seeds: dict[str, tuple[int, ...]]) -> list[Instance]:
    return [_instance(architecture, seed) for architecture, listed in seeds.items() for seed in listed]


def _shipped() -> list[Instance]:
    """Frozen programs of the package on the default platform."""
    return [{"program": name, "capacity": tier} for name, tier in _SHIPPED.items()]


MEMORY_ZOO = Collection(
    name="memory-zoo",
    scenario=_SCENARIO,
    summary=_SUMMARY,
    train=lambda: _each(_TRAINED, range(25)),
    validation=lambda: _each(_TRAINED, range(25, 28))[:20],
    test=lambda: _each(_TESTED, range(3)) + _shipped(),
    sizes={"instructions": 96, "buffers": 128, "accesses": 256},
)
MEMORY_ZOO_SMALL = Collection(
    name="memory-zoo-small",
    scenario=_SCENARIO,
    summary=_SUMMARY + "; at most 64 accesses, for short trainings",
    train=lambda: _listed(
        {
            "perceptron": (2, 3, 4, 6, 8, 13),
            "inverted": (2, 5, 6, 9, 10),
            "mixer": (4, 12),
            "recurrent": (6, 7, 18, 21),
            "mixture": (2, 4, 7, 9, 13, 14, 16),
        }
    ),
    validation=lambda: _listed(
        {"perceptron": (14, 18), "inverted": (15,), "mixer": (17,), "recurrent": (22,), "mixture": (20,)}
    ),
    test=lambda: _listed(
        {
            "decoder": (0,),
            "decoding": (0, 4),
            "graph": (5,),
            "recommender": (0,),
            "dense_net": (1, 8),
            "blocked_attention": (1,),
        }
    ),
    sizes={"instructions": 32, "buffers": 48, "accesses": 64},
)


def _named(kinds: Sequence[str], counts: Sequence[int], seeds: range) -> list[Instance]:
    """Generated instances by their names."""
    return [{"instance": f"{kind}_{count}_s{seed}"} for kind in kinds for count in counts for seed in seeds]


PACKING = Collection(
    name="packing",
    scenario="dsegym/MemoryAllocation-v0",
    summary="cut rectangles and training steps of 20 to 60 buffers; test: larger ones, and caches of requests",
    train=lambda: _named(("perfect", "layered"), (20, 30, 40, 50, 60), range(1000, 1020)),
    validation=lambda: _named(("perfect", "layered"), (25, 45), range(2000, 2004)),
    test=lambda: [
        *_named(("perfect", "layered"), (40, 100), range(3000, 3008)),
        *_named(("requests",), (40, 100), range(3000, 3008)),
    ],
    sizes={"buffers": 100},
)
