"""dsegym/TreeSearch-v0: which leaves of a search tree go on, and how widely, when their cache has a price.

The rules, the policy and where figures come from: docs/tree_search.md. The game: `costmodels/reasoning/tree/`. K slots
hold the leaves of a depth.

| form | action |
|---|---|
| `decisions` | a level for each slot: MultiDiscrete([8] * K); 0 drops the leaf, level l weighs it 2 ** (l - 7) |
| `parametric`, `sequential` | the parameters of a policy, as of a one-shot family: what the leaderboard ranks |

Kept leaves share `width` continuations by weight (REBASE's rule); recorded trees have the children that were recorded.
Reward: at the last depth 1 for a right answer; at each depth minus `price` times the share of the cache that the kept
leaves' paths take, of what as many separate chains would; the return is 1 - the objective. If nothing is kept, the
best-valued leaf is; recorded trees keep the first 5 slots that are wanted; `info["illegal_actions"]` counts such steps.
Observation: float32[5 K + 4], `TreeSearch.features`.
Termination: at the last depth.

    >>> import gymnasium, dsegym
    >>> env = gymnasium.make("dsegym/TreeSearch-v0", tree="steps", width=8)
    >>> observation, info = env.reset(seed=0)
    >>> env.action_space
    MultiDiscrete([8 8 8 8 8 8 8 8])
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from ...costmodels.arrays import Array
from ...costmodels.diagram import Diagram
from ...costmodels.errors import DsegymError
from ...costmodels.reasoning.tree import bounds, game, policies, trees
from ...costmodels.reasoning.tree.game import LEVELS, MOST_WIDTH, Params, Rules, State
from ...costmodels.reasoning.tree.picture import draw_search
from ..core.evaluation import Objective, Sweep
from ..core.features import Feature, MultiDiscrete
from ..core.options import Options, choice, number, whole_or_own
from ..core.policies import HELD_OUT, SEARCH, PolicyEnv, policy_problem, seeds_of
from ..core.problem import Problem, bounded
from ..core.scenarios import Scenario
from ..core.spaces import DesignSpace, Heuristics, Parameter

__all__ = ["HEURISTICS", "SCENARIO", "TreeSearch", "TreeSearchOptions"]

EPISODES = 256  # searches that a design is costed on
BATCH_SIZES = (1, 32)
WIDTHS = {"game24": (4, 8, 16, 32), "game24_log": (1, 2, 3, 4, 5), "steps": (2, 4, 8, 16)}  # that are drawn
_TYPICAL_WIDTH = 8  # is seen as 1/2
OWN_WIDTH = {tree: widths[-1] for tree, widths in WIDTHS.items()}

OBJECTIVE = Objective("failure", "fraction", "1 - success + price x share of the cache that separate chains would take")
NOTES = {
    "game24": ("Proposals are drawn evenly from all moves, GPT-4's are not; votes are drawn from the recorded ones.",),
    "game24_log": (
        "Recorded nodes of GPT-4's tree of thoughts; only the five that it kept at each depth have children: rules "
        "that rank otherwise than by value are shown too low.",
    ),
    "steps": ("Steps, clusters and rewards are synthetic.",),
}
_KEEP, _TAU = (1, 2, 3, 4, 5, 8, 16, 32), (0.05, 0.1, 0.2, 0.4, 1.0)
_SHARE, _SPREAD = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0), (0.0, 0.5, 1.0, 1.5, 3.0)
SPACE = DesignSpace(
    (
        Parameter("rule", ("uniform", "beam", "rebase", "dvts", "ets"), ordered=False, summary="which leaves are kept"),
        Parameter("keep", _KEEP, summary="leaves (beam) or subtrees (dvts) at most"),
        Parameter("tau", _TAU, summary="temperature of the weights (rebase, ets)"),
        Parameter("cache_price", _SHARE, summary="lambda_b of ets"),
        Parameter("spread", _SPREAD, summary="lambda_d of ets"),
        Parameter("narrow_after", (1, 2, 3, 4, 6), summary="from this depth on `last_keep` leaves at most are kept"),
        Parameter("last_keep", _KEEP, summary="see narrow_after"),
    )
)
HEURISTICS = Heuristics(
    SPACE,
    {"rule": "uniform", "keep": 32, "tau": 0.2, "cache_price": 0.0, "spread": 0.0, "narrow_after": 6, "last_keep": 32},
    {
        "uniform": {},
        **{f"beam_{keep}": {"rule": "beam", "keep": keep} for keep in (1, 2, 3, 4, 5)},
        "rebase": {"rule": "rebase"},
        "dvts": {"rule": "dvts", "keep": 4},
        "rebase_sharp": {"rule": "rebase", "tau": 0.1},
        "ets": {"rule": "ets", "tau": 0.1, "cache_price": 2.0, "spread": 1.0},
        "ets_released": {"rule": "ets", "cache_price": 1.0, "spread": 1.5},
        "ets_no_spread": {"rule": "ets", "cache_price": 1.0},
        "best_first": {"rule": "rebase", "tau": 0.05},
    },
)


@dataclass(frozen=True)
class TreeSearchOptions(Options):
    """What tells instances apart."""

    tree: str = choice("steps", tuple(WIDTHS), "recorded, exact with a noisy judge, or synthetic")
    width: int | None = whole_or_own(
        (1, 2, 3, 4, 5, 8, 16, 32),
        least=1,
        most=MOST_WIDTH,
        summary="continuations at each depth; own: 32 for game24, 5 for its log, 16 for steps",
    )
    price: float = number(
        0.1, (0, 0.1, 0.2, 0.5), least=0, most=1, summary="of the cache of separate chains, in success"
    )


@dataclass(frozen=True)
class TreeSearch(PolicyEnv[State, Params]):
    """Depth by depth; see the module's docstring."""

    rules: Rules
    game = game

    @property
    def game_arguments(self) -> tuple[Rules]:
        """Of every function of the game."""
        return (self.rules,)

    @property
    def horizon(self) -> int:
        """D."""
        return self.rules.depth

    @property
    def action_space(self) -> MultiDiscrete:
        """A level for each slot."""
        return MultiDiscrete(np.full(self.rules.slots, LEVELS), dtype=np.int32)  # pyright: ignore

    @property
    def features(self) -> Sequence[Feature]:
        """Of each slot, 0 where no leaf is, and of all."""
        slots = (self.rules.slots,)
        return (
            Feature("taken", slots, meaning="1 where a slot holds a leaf"),
            Feature("value", slots, meaning="the judge's, of the leaf"),
            Feature("subtree", slots, meaning="slot of the leaf's ancestor at depth 1 over K"),
            Feature("parent", slots, meaning="slot of the leaf's parent over K"),
            Feature("cluster", slots, meaning=f"siblings of one cluster mean the same; over {trees.CLUSTERS}"),
            Feature("depth", meaning="of the leaves, from 1, over D + 1"),
            Feature("cache", meaning="nodes so far, summed over depths, over those of separate chains to the end"),
            Feature("width", meaning=f"w / (w + {_TYPICAL_WIDTH}) of w continuations at each depth"),
            Feature("price", meaning="of the cache of separate chains, in success"),
        )

    def reward(self, state: State, next_state: State, params: Params) -> Array:
        """float32: success, less the cache's price."""
        price = jnp.maximum(params.price * (next_state.cache - state.cache), 0.0)  # rounded before it is divided
        paid = price / game.most_cache(self.rules, params)
        return next_state.success.astype(jnp.float32) - state.success - paid

    def observe(self, state: State, params: Params) -> Mapping[str, Array]:
        """See `features`."""
        nodes, slots = state.nodes, game.own_slots(self.rules, params)
        parent = game.slot_at(state.path, jnp.maximum(state.depth - 1, 1))
        of_leaves = {
            "taken": nodes.there,
            "value": nodes.value,
            "subtree": game.slot_at(state.path, 1) / slots,
            "parent": parent / slots,
            "cluster": nodes.cluster / trees.CLUSTERS,
        }
        return {
            **{name: jnp.where(nodes.there, values, 0.0) for name, values in of_leaves.items()},
            "depth": state.depth / (self.rules.depth + 1),
            "cache": state.cache / game.most_cache(self.rules, params),
            "width": params.width / (params.width + _TYPICAL_WIDTH),
            "price": params.price,
        }

    def decide(self, design: Array, state: State, params: Params) -> Array:
        """int32[K]: the levels that the policy of a design gives to the slots."""
        chosen, there, value = SPACE.values(design), state.nodes.there, state.nodes.value
        path = game.unpacked(self.rules, state.path)
        rebase = policies.rebase(value, there, chosen["tau"])
        parent = jnp.where(state.depth > 1, game.slot_at(state.path, jnp.maximum(state.depth - 1, 1)), 0)
        cluster = parent * trees.CLUSTERS + state.nodes.cluster
        kept = policies.ets(
            rebase, path, cluster, there, state.depth, share=chosen["cache_price"], spread=chosen["spread"]
        )
        weights = {
            "uniform": there.astype(jnp.float32),
            "beam": policies.beam(value, there, chosen["keep"]),
            "rebase": rebase,
            "dvts": policies.dvts(value, there, path[:, 0], chosen["keep"]),
            "ets": jnp.where(kept, rebase, 0.0),
        }
        by_place = [weights[str(name)] for name in SPACE["rule"].values]
        weight = jnp.select([chosen["rule"] == place for place in range(len(by_place))], by_place)
        few = policies.beam(weight + 1e-3 * value, weight > 0, chosen["last_keep"]) > 0
        weight = jnp.where((state.depth >= chosen["narrow_after"]) & ~few, 0.0, weight)
        if self.rules.tree == "game24_log":  # no more than are allowed
            weight = jnp.where(policies.beam(weight + 1e-3 * value, weight > 0, params.width) > 0, weight, 0.0)
        level = jnp.round(jnp.log2(jnp.maximum(weight, 1e-9))).astype(jnp.int32) + LEVELS - 1
        return jnp.where(weight > 0, jnp.clip(level, 0, LEVELS - 1), 0)

    def drawing(self, states: Sequence[State], actions: Sequence[Array], params: Params) -> Diagram:
        """The leaves of each depth."""
        return draw_search(self.rules, states, actions, params)

    def sizes(self, params: Params) -> Mapping[str, int]:
        """The width."""
        return {"width": int(params.width)}

    def padded(self, params: Params, sizes: Mapping[str, int]) -> tuple[TreeSearch, Params]:
        """More slots, in which no leaf ever is."""
        return TreeSearch(self.rules._replace(**sizes)), params


def build(options: TreeSearchOptions) -> Problem:
    """An instance.

    Raises:
        DsegymError: more leaves of the recorded tree are to be kept than have recorded children.
    """
    tree, width = options.tree, options.width or OWN_WIDTH[options.tree]
    if tree == "game24_log" and width > trees.LOG_BREADTH:
        raise DsegymError(
            f"width = {width} is beyond the {trees.LOG_BREADTH} nodes of each depth whose children were recorded; 1 to "
            f"{trees.LOG_BREADTH} are allowed with tree=game24_log."
        )
    rules = Rules(tree, width)
    held_out = game.params_of(rules, "test", seeds_of(HELD_OUT, EPISODES), options.price)
    return policy_problem(
        TreeSearch(rules),
        options=options,
        heuristics=HEURISTICS,
        params=game.params_of(rules, "train", seeds_of(SEARCH, EPISODES), options.price),
        held_out_params=held_out,
        reference=("uniform", "every leaf goes on, equally widely: separate chains"),
        bound=bounded(
            "oracle",
            lambda problem: bounds.oracle(rules, held_out).failure,
            "knows which leaves can still reach a right answer, keeps 1, 2, 4 or 8",
        ),
        best=lambda params: bounds.oracle(rules, params).metrics,
        objective=OBJECTIVE,
        notes=NOTES[tree],
        splits=trees.puzzle_sizes(tree),
        sweep=Sweep(
            option="width",
            values=tuple(map(str, WIDTHS[tree])),
            x_label="width (continuations at each depth)",
            y_label="success less the cache's price (fraction)",
            baselines=("beam_2", "rebase", "ets"),
            own=str(OWN_WIDTH[tree]),
        ),
        batch_sizes=BATCH_SIZES,
    )


CORE = (  # every tree, with and without a price of the cache
    {"tree": "game24"},
    {"tree": "game24", "width": 16, "price": 0},
    {"tree": "game24_log"},
    {"tree": "game24_log", "width": 3},
    {"tree": "steps", "price": 0.2},
    {"tree": "steps", "width": 8, "price": 0},
)
SCENARIO = Scenario(
    summary="Prune and widen a search tree, depth by depth, with a price on the cache that its leaves share.",
    options_type=TreeSearchOptions,
    build=build,
    core=CORE,
    facts=lambda: (("Rules (blank: neutral)", HEURISTICS.rows()),),
)
