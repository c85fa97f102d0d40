"""dsegym/ExpertCache-v0: a mixture of experts that does not fit: which experts stay, at which bits, what is read ahead.

After EdgeMoE and D2MoE. The rules and where figures come from: docs/expert_cache.md. The game:
`costmodels/offload/experts/`. A slice of L layers of a model on a device whose memory holds a part of its experts; the
others are read from flash when the router asks for them. Routes are recorded, generated, or a user's log.

| form | action, for each layer of each token, once the router's choice is known |
|---|---|
| `decisions` | Discrete(112): (4 x keep + ahead) x 4 + hot: which entry goes first (recency, frequency, cycle, layer, expected, popularity, none), how many of the next layer's experts are read ahead (0, 1, 2, 4), how many of the layer's slots get high bits (none, one, half, all) |
| `decisions` with `eviction=expert` | Discrete(16 + layers x experts): 4 x ahead + hot for a layer, then 16 + layer x experts + expert for each entry that goes while memory is over its capacity; `info["action_mask"]` says which |
| `parametric`, `sequential` | the parameters of a policy, as of a one-shot family: what is ranked |

An action against the mask counts as the least recent entry, or as high bits and nothing ahead; `info` counts them.
Objective: cost, the time of a token and a penalty for its proxy of lost quality, ms.
Reward: minus the growth of the cost; the return is minus the objective.
Observation: float32[19], `ExpertCache.features`; of evictions with 11 numbers an action before, `ExpertEvictions`.
Termination: when the window's last token is done.

    >>> import gymnasium, dsegym
    >>> env = gymnasium.make("dsegym/ExpertCache-v0")
    >>> observation, info = env.reset(seed=0)
    >>> observation, reward, terminated, truncated, info = env.step(4 * (4 * 0 + 0) + 3)  # least recent, high bits
    >>> terminated
    False
"""  # noqa: E501

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np

from ...costmodels.arrays import Array
from ...costmodels.diagram import Diagram
from ...costmodels.errors import DsegymError
from ...costmodels.files import is_path
from ...costmodels.offload.experts import bounds, evictions, game
from ...costmodels.offload.experts.game import AHEAD, HIGH, HOT, KEEP, LOW, WARM_TOKENS, Metrics, Params, State
from ...costmodels.offload.experts.picture import draw_steps
from ...costmodels.offload.experts.routes import MODELS, Routes, model_of, route_names, routes_of
from ..core.evaluation import Objective, Sweep
from ..core.features import Discrete, Feature
from ..core.options import Options, choice, file_or_name, number, number_or_own, whole
from ..core.policies import HELD_OUT, SEARCH, PolicyEnv, policy_problem, seeds_of
from ..core.problem import Problem, bounded
from ..core.scenarios import Scenario
from ..core.spaces import DesignSpace, Heuristics, Parameter

__all__ = ["EVICTIONS", "HEURISTICS", "SCENARIO", "ExpertCache", "ExpertCacheOptions", "ExpertEvictions"]

EPISODES = 32  # that a design is costed on
BATCH_SIZES = (1, 16)
POOL_TOKENS = 512  # that the generator draws for each set of episodes; shorter records are padded to these
SLOTS = 8  # K, at least
_SEED = 1  # of the generator
_NATIVE_BITS = 4  # of the recorded bytes of an expert
BITS: Mapping[str, tuple[int, int]] = {
    "4": (4, 4), "2+4": (2, 4), "3+4": (3, 4), "2+8": (2, 8), "4+8": (4, 8), "8": (8, 8), "2": (2, 2), "3": (3, 3),
}  # fmt: skip
_NEVER = 1e9
EVICTIONS = ("rule", "expert")

OBJECTIVE = Objective("cost", "ms", "time of a token, and a penalty for the proxy of quality that low bits lose")
NOTES = (
    "Quality is a proxy, not measured: an expert at b bits loses 16 x 4^-b, the law of uniform quantisation's error, "
    "by router weight; what a token that loses 1 is worth is an option.",
    "Flash and compute are constants measured on one phone; a hit-rate is not a throughput: on that phone a rule with "
    "more hits was slower, because the system took its pages.",
)
_GENERATED = "Routes are generated: fitted to a record in repeats and popularity, without topics or layers' dependence."
_LIMITS = (0.25, 0.5, 1.0, 2.0, 4.0, _NEVER)
SPACE = DesignSpace(
    (
        Parameter("keep", KEEP, ordered=False, summary="by which order entries are kept"),
        Parameter("ahead", AHEAD, "experts", summary="of the next layer that are read ahead"),
        Parameter("ahead_limit", _LIMITS, summary="reads of the step over its compute above which none is read ahead"),
        Parameter("hot", HOT, summary="slots with high bits, by falling router weight"),
        Parameter("busy_hot", HOT, summary="the same in a step whose reads are long"),
        Parameter(
            "busy", _LIMITS, summary="reads of the step, all with high bits, over its compute: above, it is long"
        ),
    )
)
HEURISTICS = Heuristics(
    SPACE,
    {"keep": "recency", "ahead": 0, "ahead_limit": _NEVER, "hot": "all", "busy_hot": "all", "busy": _NEVER},
    {
        "lru": {},
        "lfu": {"keep": "frequency"},
        "static": {"keep": "popularity"},
        "none": {"keep": "none"},
        "layer_lru": {"keep": "layer"},
        "cycle": {"keep": "cycle"},
        "expected": {"keep": "expected"},
        "low_bits": {"hot": "none", "busy_hot": "none"},
        "edgemoe": {"keep": "frequency", "ahead": 2, "ahead_limit": 0.5},
        "hottest_bits_first": {"keep": "frequency", "hot": "half", "busy_hot": "one", "busy": 1.0},
    },
)


@dataclass(frozen=True)
class ExpertCacheOptions(Options):
    """What tells instances apart."""

    routes: str = file_or_name(
        "qwen",
        route_names,
        is_path,
        "the path of a log of routes (docs/files.md)",
        "what the router chooses",
        reads="routes",
    )
    memory: float = number(
        15, (3, 8, 15, 30), least=0, most=100, above=True, unit="%", summary="of all experts' bytes at 4 bits"
    )
    bits: str = choice("2+4", tuple(BITS), "bit-widths that experts are stored in, nested: low and high")
    penalty: float = number(
        20, (5, 20, 80), least=0, most=1e6, unit="ms", summary="worth of a token whose proxy of lost quality is 1"
    )
    flash: float = number(2460, (954, 1810, 2460), least=1, most=1e6, unit="MiB/s", summary="that experts are read at")
    compute: float | None = number_or_own(
        (1, 4), least=1e-3, most=1e6, unit="ms", summary="of a layer; a log's own is 2 ms, assumed"
    )
    layers: int = whole(8, (4, 8), least=2, most=512, unit="layers", summary="of the model, the first ones")
    tokens: int = whole(16, (16, 32), least=1, most=4096, unit="tokens", summary="of an episode")
    eviction: str = choice("rule", EVICTIONS, "decisions choose the order by which entries go, or each that goes")


@dataclass(frozen=True)
class ExpertCache(PolicyEnv[State, Params]):
    """Layer by layer; see the module's docstring.

    Attributes:
        horizon: steps of an episode.
    """

    horizon: int
    game = game
    action_space = Discrete(game.ACTIONS)
    features = (
        Feature("resident", meaning="share of the layer's experts that are in memory"),
        Feature("resident_high", meaning="share of them that are there with high bits"),
        Feature("reads", (2,), meaning="r / (r + compute) of reading what is missing with low, with high bits, r ms"),
        Feature("backlog", meaning="b / (b + compute) of reads ahead that have not arrived, b ms"),
        Feature("next_resident", meaning="share of the next layer's K hottest experts that are in memory"),
        Feature("full", meaning="share of the capacity that is used"),
        Feature("capacity", meaning="c / (c + cycle) of the capacity over a token's experts in all layers, high bits"),
        Feature("penalty", meaning="p / (p + compute) of the penalty of a layer that loses 1"),
        Feature("loss", (2,), meaning="l / (l + 1) of what low and high bits lose"),
        Feature("expert", meaning="r / (r + compute) of reading one expert with high bits"),
        Feature("repeated", meaning="share of the layer's experts that are among its K hottest"),
        Feature("hit_rate", meaning="so far"),
        Feature("last_hits", meaning="share of the last step's look-ups"),
        Feature(
            "spread", (2,), meaning="share of memory's experts of this and of the next layer, over the mean, halved"
        ),
        Feature("layer", meaning="number of the layer over all"),
        Feature("left", meaning="of the episode"),
    )

    def objective(self, metrics: Metrics) -> Array:
        """See the module's docstring."""
        return metrics.cost_ms

    def observe(self, state: State, params: Params) -> Mapping[str, Array]:
        """See `features`."""
        layers = state.level.shape[0]
        layer, batch = state.step % layers, game.batch_of(state, params)
        after = (layer + 1) % layers
        there = batch >= 0
        slots = jnp.maximum(jnp.sum(there), 1)
        level = jnp.where(there, state.level[layer, jnp.maximum(batch, 0)], 0)
        reads = jnp.stack([_missing_ms(state, hot, params) for hot in (HOT.index("none"), HOT.index("all"))])
        units = jnp.asarray(params.units)
        cycle = jnp.sum(units[HIGH]).astype(jnp.float32) * slots.astype(jnp.float32)
        capacity = params.capacity.astype(jnp.float32)
        expert = units[HIGH, layer].astype(jnp.float32) / params.units_per_ms
        losses, penalty = jnp.asarray(params.losses)[LOW : HIGH + 1], params.penalty_ms / layers
        place = jnp.sum(state.heat[layer][None] > state.heat[layer, jnp.maximum(batch, 0)][:, None], axis=1)
        hottest = jnp.argsort(-state.heat[after], stable=True)[: batch.shape[0]]
        expected = (state.heat[after, hottest] > 0) & (np.arange(batch.shape[0]) < slots)
        mean = jnp.maximum(jnp.sum(state.level > 0), 1) / layers
        own, following = jnp.sum(state.level[layer] > 0), jnp.sum(state.level[after] > 0)
        played = state.step - WARM_TOKENS * layers
        steps = params.tokens * layers
        return {
            "resident": jnp.sum(level > 0) / slots,
            "resident_high": jnp.sum(level == HIGH) / slots,
            "reads": reads / (reads + params.compute_ms),
            "backlog": state.backlog_ms / (state.backlog_ms + params.compute_ms),
            "next_resident": jnp.sum(expected & (state.level[after, hottest] > 0)) / slots,
            "full": jnp.clip(state.used.astype(jnp.float32) / capacity, 0.0, 1.0),
            "capacity": capacity / (capacity + cycle),
            "penalty": penalty / (penalty + params.compute_ms),
            "loss": losses / (losses + 1.0),
            "expert": expert / (expert + params.compute_ms),
            "repeated": jnp.sum(there & (place < slots)) / slots,
            "hit_rate": state.hits / jnp.maximum(state.looked_up, 1.0),
            "last_hits": state.last_hits,
            "spread": jnp.clip(jnp.stack([own, following]) / mean / 2.0, 0.0, 1.0),
            "layer": layer / layers,
            "left": jnp.clip((steps - played) / steps, 0.0, 1.0),
        }

    def decide(self, design: Array, state: State, params: Params) -> Array:
        """The action of a design: fewer slots with high bits, and none ahead, where the step's reads are long."""
        design, chosen = jnp.asarray(design), SPACE.values(design)
        places = {name: design[SPACE.names.index(name)] for name in ("keep", "ahead", "hot", "busy_hot")}
        long_ms = _missing_ms(state, HOT.index("all"), params)
        hot = jnp.where(long_ms > chosen["busy"] * params.compute_ms, places["busy_hot"], places["hot"])
        reads_ms = _missing_ms(state, hot, params)
        ahead = jnp.where(reads_ms > chosen["ahead_limit"] * params.compute_ms, 0, places["ahead"])
        return game.action_of(places["keep"], ahead, hot)

    def drawing(self, states: Sequence[State], actions: Sequence[object], params: Params) -> Diagram:
        """Layers over time."""
        return draw_steps(states, params)


_OF_ROUTER = ("resident", "resident_high", "reads", "repeated")  # features that tell what the router chose


@dataclass(frozen=True)
class ExpertEvictions(PolicyEnv[evictions.State, Params]):
    """Layer by layer, and entry by entry that goes; see the module's docstring.

    Attributes:
        layers, experts: L and X.
        top_k: experts of a layer that a token takes.
        tokens: of an episode.
    """

    layers: int
    experts: int
    top_k: int
    tokens: int
    game = evictions

    @property
    def horizon(self) -> int:
        """Actions of an episode, at most."""
        return evictions.most_steps(layers=self.layers, experts=self.experts, top_k=self.top_k, tokens=self.tokens)

    @property
    def action_space(self) -> Discrete:
        """A layer's reads ahead and bits, or an entry that goes."""
        return Discrete(evictions.LAYER_ACTIONS + self.layers * self.experts)

    @property
    def features(self) -> Sequence[Feature]:
        """Of each action, 0 where the mask forbids it; and those of `ExpertCache`, 0 of what is not known yet."""
        each = ((evictions.LAYER_ACTIONS + self.layers * self.experts,), 0.0, 1.0)
        return (
            Feature("asks", *each, "1 of a layer's choices"),
            Feature("high", *each, "place of a layer's choice among the numbers of slots with high bits, over 3"),
            Feature("ahead", *each, "experts that a layer's choice reads ahead, over 4"),
            Feature("goes", *each, "1 of an entry that may go"),
            Feature("bits", *each, "1 of an entry with high bits, 0.5 with low"),
            Feature("age", *each, "a / (a + 1) of the tokens since its last use"),
            Feature("uses", *each, "share of the tokens so far that used it"),
            Feature("heat", *each, "look-ups that fade by an eighth a token, over those of one that each token uses"),
            Feature("popularity", *each, "look-ups beforehand, over those of its layer's most popular"),
            Feature("distance", *each, "layers until its own comes, over all"),
            Feature("expected", *each, "its heat over these layers"),
            *ExpertCache.features,
            Feature("evicting", meaning="1 if an entry has to go"),
        )

    def objective(self, metrics: Metrics) -> Array:
        """As of `ExpertCache`."""
        return metrics.cost_ms

    def observe(self, state: evictions.State, params: Params) -> Mapping[str, Array]:
        """See `features`."""
        cache, goes = state.cache, evictions.evicting(state, params)
        legal = evictions.action_mask(state, params).astype(jnp.float32)
        layers, experts = cache.level.shape
        own = np.arange(layers)[:, None]
        distance = ((own - cache.step) % layers + 1).astype(jnp.float32)
        slots = game.stride(params.routes.shape[2])
        age = (cache.step - cache.stamp // slots).astype(jnp.float32) / layers
        seen = cache.step.astype(jnp.float32) / layers
        heat = jnp.clip(cache.heat / game.MOST_HEAT, 0.0, 1.0)
        popular = jnp.asarray(params.popularity)
        nothing, zeros = jnp.zeros(evictions.LAYER_ACTIONS), jnp.zeros(layers * experts)
        places = np.arange(evictions.LAYER_ACTIONS)
        of_layers = {
            "asks": np.ones(evictions.LAYER_ACTIONS, np.float32),
            "high": (places % len(HOT) / (len(HOT) - 1)).astype(np.float32),
            "ahead": (np.array(AHEAD)[places // len(HOT)] / AHEAD[-1]).astype(np.float32),
        }
        of_entries = {
            "goes": jnp.ones(cache.level.shape),
            "bits": cache.level / HIGH,
            "age": age / (age + 1.0),
            "uses": jnp.clip(cache.uses / seen, 0.0, 1.0),
            "heat": heat,
            "popularity": popular / jnp.maximum(jnp.max(popular, axis=1, keepdims=True), 1),
            "distance": jnp.broadcast_to(distance / layers, cache.level.shape),
            "expected": heat / distance,
        }
        known = ExpertCache(0).observe(cache, params)
        return {
            **{name: jnp.concatenate([each, zeros]) * legal for name, each in of_layers.items()},
            **{name: jnp.concatenate([nothing, each.ravel()]) * legal for name, each in of_entries.items()},
            **{name: jnp.where(goes, 0.0, each) if name in _OF_ROUTER else each for name, each in known.items()},
            "evicting": goes.astype(jnp.float32),
        }

    def decide(self, design: Array, state: evictions.State, params: Params) -> Array:
        """What a design does: its choices for a layer, then the entries that go first by its order."""
        keep, ahead, hot = game.parts(ExpertCache(0).decide(design, state.cache, params))
        layer = ahead * len(HOT) + hot
        return jnp.where(evictions.evicting(state, params), evictions.victim(state, keep, params), layer)

    def drawing(self, states: Sequence[evictions.State], actions: Sequence[object], params: Params) -> Diagram:
        """Layers over time."""
        return draw_steps([state.cache for state in states], params)


def _missing_ms(state: State, hot: Array | int, params: Params) -> Array:
    units = jnp.sum(game.missing(state, jnp.asarray(hot), params))
    return units.astype(jnp.float32) / params.units_per_ms


def loss_of(bits: int) -> float:
    """The proxy of quality that an expert at `bits` loses: 16 x 4^-bits, 1 at 2 bits."""
    return 16.0 * 4.0**-bits


def _units_of(expert_bytes: np.ndarray, bits: tuple[int, int]) -> np.ndarray:
    """int64[3, L]: units of an expert at each level, rounded up."""
    sizes = [-(-expert_bytes * each // (_NATIVE_BITS * game.UNIT_BYTES)) for each in bits]
    return np.stack([np.zeros_like(expert_bytes), *sizes])


def _pools(options: ExpertCacheOptions) -> tuple[Routes, Routes]:
    """Tokens of the search's episodes and of those that scores are taken on: of a record, its halves."""
    drawn = routes_of(options.routes, tokens=POOL_TOKENS, layers=options.layers, seed=_SEED)
    tokens = len(drawn.chosen)
    half = tokens // 2
    least = WARM_TOKENS + options.tokens
    if half < least:
        raise DsegymError(
            f"routes = {options.routes} has {tokens} decoded tokens: each half of them must have the {WARM_TOKENS} "
            f"that warm the cache and the {options.tokens} of an episode; {2 * least} are needed, or fewer tokens."
        )
    first, second = (
        replace(drawn, chosen=drawn.chosen[part], phase=drawn.phase[part], turn=drawn.turn[part])
        for part in (slice(0, half), slice(half, 2 * half))
    )
    return first, second


def _params(options: ExpertCacheOptions, seen: Routes, played: Routes, seeds: np.ndarray) -> Params:
    """An instance of played tokens; popularity is counted in the tokens that were seen beforehand."""
    tokens, layers, top_k = played.chosen.shape
    slots = max(SLOTS, top_k)
    routes = np.full((max(tokens, POOL_TOKENS // 2), layers, slots), -1, np.int16)
    routes[:tokens, :, :top_k] = played.chosen
    popularity = np.zeros((layers, played.experts), np.int32)
    for layer in range(layers):
        popularity[layer] = np.bincount(seen.chosen[:, layer].ravel(), minlength=played.experts)
    low, high = BITS[options.bits]
    units = _units_of(played.expert_bytes, (low, high))
    at_native = -(-played.expert_bytes // game.UNIT_BYTES)
    total = int(at_native.sum()) * played.experts
    largest = int(units[HIGH].sum()) * played.experts
    if max(total, largest) >= 2**31:
        raise DsegymError(
            f"The experts of {options.layers} layers take {max(total, largest) * game.UNIT_BYTES / 2**30:,.0f} GiB; "
            "at most 128 GiB are counted; take fewer layers or fewer bits."
        )
    if (WARM_TOKENS + options.tokens) * layers > game.most_steps(slots):
        raise DsegymError(
            f"tokens = {options.tokens} of {layers} layers are too many steps; at most "
            f"{game.most_steps(slots) // layers - WARM_TOKENS} tokens."
        )
    model = model_of(options.routes)
    own = model.compute_ms / model.layers if model is not None else 2.0
    return Params(
        seeds=seeds,
        routes=routes,
        there=np.asarray(tokens, np.int32),
        tokens=np.asarray(options.tokens, np.int32),
        popularity=popularity,
        weights=np.pad(played.weights, (0, slots - top_k)).astype(np.float32),
        units=units.astype(np.int32),
        capacity=np.asarray(max(int(total * options.memory / 100), 1), np.int32),
        compute_ms=np.asarray(own if options.compute is None else options.compute, np.float32),
        units_per_ms=np.asarray(options.flash * game.UNITS_PER_MIB / 1e3, np.float32),
        losses=np.array([0.0, loss_of(low), loss_of(high)], np.float32),
        penalty_ms=np.asarray(options.penalty, np.float32),
    )


def build(options: ExpertCacheOptions) -> Problem:
    """An instance.

    Raises:
        DsegymError: the log is none, has too few tokens or layers, or experts that are too large to count.
    """
    searched, scored = _pools(options)
    params = _params(options, searched, searched, seeds_of(SEARCH, EPISODES))
    held_out = _params(options, searched, scored, seeds_of(HELD_OUT, EPISODES))
    by_rule = ExpertCache(options.layers * options.tokens)
    by_expert = ExpertEvictions(options.layers, searched.experts, searched.chosen.shape[2], options.tokens)
    return policy_problem(
        by_rule,
        options=options,
        heuristics=HEURISTICS,
        params=params,
        held_out_params=held_out,
        reference=("lru", "least recently used goes first, nothing is read ahead, high bits: what the engine does"),
        bound=bounded(
            "bound",
            lambda problem: bounds.least_cost_ms(held_out),
            "Belady's rule on fractions of experts, each plane of bits with the whole memory, all reads overlapped",
        ),
        objective=OBJECTIVE,
        notes=(*NOTES, *([_GENERATED] if options.routes in MODELS else [])),
        sweep=Sweep(
            option="memory",
            values=("3", "8", "15", "30"),
            x_label="memory (% of all experts at 4 bits)",
            y_label="cost (ms a token)",
            baselines=("lfu", "none"),
        ),
        batch_sizes=BATCH_SIZES,
        forms={"decisions": {"rule": by_rule, "expert": by_expert}[options.eviction]},
    )


CORE: Sequence[Mapping[str, object]] = (  # three models, one bit-width, below a token's cycle, a record
    {},
    {"routes": "gemma", "memory": 8},
    {"routes": "gptoss", "penalty": 80},
    {"bits": "4"},
    {"memory": 3, "flash": 1810},
    {"routes": "qwen_recorded", "bits": "2+8"},
    {"routes": "gptoss", "layers": 4, "tokens": 8, "eviction": "expert"},
)
SCENARIO = Scenario(
    summary="Experts of a mixture that exceeds memory: which stay, at which bits, and what is read ahead.",
    options_type=ExpertCacheOptions,
    build=build,
    core=CORE,
    facts=lambda: (
        (
            "Models",
            [
                {
                    "routes": name,
                    "model": model.name,
                    "layers": model.layers,
                    "experts": model.experts,
                    "top k": model.top_k,
                    "MiB an expert at 4 bits": round(model.expert_bytes / 2**20, 2),
                    "compute of a layer (ms)": round(model.compute_ms / model.layers, 2),
                }
                for name, model in MODELS.items()
            ],
        ),
        ("Heuristics (blank: neutral)", HEURISTICS.rows()),
    ),
)
