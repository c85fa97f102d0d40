"""dsegym/TreeSearch-v0: which leaves of a search tree go on, and how widely, when their cache has a price.

The rules, the policy and where figures come from: docs/tree_search.md. K slots hold the leaves of a depth.

| form | action |
|---|---|
| `decisions` | a level for each slot: MultiDiscrete([8] * K); 0 drops the leaf, level l weighs it 2 ** (l - 7) |
| `parametric`, `sequential` | the parameters of a policy, as of a one-shot family: what the leaderboard ranks |

Kept leaves share `width` continuations by weight (REBASE's rule); recorded trees have the children that were recorded.
Reward: at the last depth 1 for a right answer; at each depth minus `price` times the share of the cache that the kept
leaves' paths take, of what as many separate chains would; the return is 1 - the objective. If nothing is kept, the
best-valued leaf is; recorded trees keep the first 5 slots that are wanted; `info["illegal_actions"]` counts such steps.
Observation: float32 in [0, 1]; of each slot [taken, value, slot of its ancestor at depth 1 over K, of its parent over
K, cluster over 3]; of all [depth over D, cache so far over its most].
Termination: at the last depth.

    >>> import gymnasium, dsegym
    >>> env = gymnasium.make("dsegym/TreeSearch-v0", tree="steps", width="8")
    >>> observation, info = env.reset(seed=0)
    >>> env.action_space
    MultiDiscrete([8 8 8 8 8 8 8 8])
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from ...costmodels.breakdown import Breakdown
from ...costmodels.diagram import Diagram
from ...costmodels.errors import DsegymError
from ...costmodels.reasoning.luck import normal, uniform
from ...costmodels.reasoning.tree import policies as tree_policies
from ...costmodels.reasoning.tree import trees
from ..core.functional import ONE_SHOT_FORMS
from ..core.policies import HELD_OUT, SEARCH, PolicyEnv, play, policy_cost, policy_diagram, seeds_of
from ..core.problem import Objective, Problem, Sweep, Yardstick, one_shot_problem
from ..core.scenarios import Option, Scenario, number_between, whole_between
from ..core.spaces import DesignSpace, Parameter
from .policy_diagrams import draw_tree

__all__ = ["SCENARIO", "Metrics", "Params", "Rules", "TreeSearch"]

EPISODES = 256
LOG_SLOTS = 16
WIDTHS = {"game24": ("4", "8", "16", "32"), "game24_log": ("1", "2", "3", "4", "5"), "steps": ("2", "4", "8", "16")}
OWN = "own"
OWN_WIDTH = {"game24": "32", "game24_log": "5", "steps": "16"}
_SLOT_BITS = 5
MOST_WIDTH = 1 << _SLOT_BITS  # slots of the leaf and its ancestors fit one word
LEVELS = 8  # of an action, for each slot
# Of the derived decoding time, assumed: 8 billion parameters in bf16 on one H100, 100 tokens a step.
WEIGHT_BYTES, KV_BYTES_PER_TOKEN, BANDWIDTH_BYTES_S, TOKENS_PER_STEP = 16e9, 131_072, 3.35e12, 100
_PROBLEM, _DIFFICULTY = 8, 9  # what luck decides, beside what trees.py does

_RULES_OF = ("uniform", "beam", "rebase", "dvts", "ets")
_KEEP, _TAU = (1, 2, 3, 4, 5, 8, 16, 32), (0.05, 0.1, 0.2, 0.4, 1.0)
_SHARE, _SPREAD = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0), (0.0, 0.5, 1.0, 1.5, 3.0)
SPACE = DesignSpace(
    (
        Parameter("rule", _RULES_OF, ordered=False, summary="which leaves are kept"),
        Parameter("keep", _KEEP, summary="leaves (beam) or subtrees (dvts) at most"),
        Parameter("tau", _TAU, summary="temperature of the weights (rebase, ets)"),
        Parameter("cache_price", _SHARE, summary="lambda_b of ets"),
        Parameter("spread", _SPREAD, summary="lambda_d of ets"),
        Parameter("narrow_after", (1, 2, 3, 4, 6), summary="from this depth on `last_keep` leaves at most are kept"),
        Parameter("last_keep", _KEEP, summary="see narrow_after"),
    )
)
_NEUTRAL: Mapping[str, object] = {
    "rule": "uniform",
    "keep": 32,
    "tau": 0.2,
    "cache_price": 0.0,
    "spread": 0.0,
    "narrow_after": 6,
    "last_keep": 32,
}
_RULES: Mapping[str, Mapping[str, object]] = {
    "uniform": {},
    **{f"beam_{keep}": {"rule": "beam", "keep": keep} for keep in (1, 2, 3, 4, 5)},
    "rebase": {"rule": "rebase"},
    "dvts": {"rule": "dvts", "keep": 4},
    "rebase_sharp": {"rule": "rebase", "tau": 0.1},
    "ets": {"rule": "ets", "tau": 0.1, "cache_price": 2.0, "spread": 1.0},
    "ets_released": {"rule": "ets", "cache_price": 1.0, "spread": 1.5},
    "ets_no_spread": {"rule": "ets", "cache_price": 1.0},
    "best_first": {"rule": "rebase", "tau": 0.05},
}
REFERENCE = "uniform"
OBJECTIVE = Objective("failure", "fraction", "1 - success + price x share of the cache that separate chains would take")
NOTES = {
    "game24": ("Proposals are drawn evenly from all moves, GPT-4's are not; votes are drawn from the recorded ones.",),
    "game24_log": (
        "Recorded nodes of GPT-4's tree of thoughts; only the five that it kept at each depth have children: rules "
        "that rank otherwise than by value are shown too low.",
    ),
    "steps": ("Steps, clusters and rewards are synthetic.",),
}


class Metrics(NamedTuple):
    """Of a search; float32 scalars."""

    success: Any
    cache_share: Any  # of what as many separate chains would take
    cache_nodes: Any  # summed over depths
    decode_s: Any  # to generate all steps: weights and cache read once a token
    price_paid: Any


class Rules(NamedTuple):
    """What shapes the program of an instance; the rest is in `Params`."""

    tree: str
    width: int

    @property
    def slots(self) -> int:
        """K."""
        return LOG_SLOTS if self.tree == "game24_log" else self.width

    @property
    def depth(self) -> int:
        """D."""
        return trees.DEPTHS[self.tree]


class Params(NamedTuple):
    """An instance."""

    seeds: Any  # uint32[E]
    table: Any  # trees.Hands24, trees.Log, or an empty tuple
    price: Any  # float32


class State(NamedTuple):
    """Where a search stands."""

    seed: Any  # uint32
    puzzle: Any  # int32, of the split
    difficulty: Any  # float32, of `steps`
    depth: Any  # int32, of the leaves, from 1; D + 1 at the end
    nodes: Any  # trees.Nodes, leaves [K]
    path: Any  # uint32[K], slots of a leaf's ancestors and of itself, five bits each: `unpacked`
    cache: Any  # float32, nodes summed over depths
    success: Any  # bool
    illegal: Any  # int32


class TreeSearch(PolicyEnv):
    """Depth by depth; see the module's docstring."""

    def __init__(self, rules: Rules, reference: float = float("nan")):
        super().__init__()
        self._tree, self._width, self._slots, self._depth = rules.tree, rules.width, rules.slots, rules.depth
        self.horizon, self.reference = rules.depth, reference
        self.action_space = gymnasium.spaces.MultiDiscrete([LEVELS] * rules.slots, dtype=np.int32)
        self.observation_space = gymnasium.spaces.Box(0.0, 1.0, (5 * rules.slots + 2,), np.float32)
        self.most_cache = float(sum(self._most(depth) for depth in range(1, rules.depth + 1)))

    def _most(self, depth: Any) -> Any:
        """Nodes of as many separate chains as the width allows."""
        return self._width * depth

    # An episode ------------------------------------------------------------------------------------------------------

    def initial(self, rng: Any, params: Any = None) -> State:
        """The root's children."""
        seed = jax.random.bits(rng)
        slots = jnp.arange(self._slots)
        puzzle = jnp.int32(0)
        if self._tree != "steps":
            puzzle = (uniform(seed, 0, _PROBLEM) * params.table.count).astype(jnp.int32)
        difficulty = trees.PROBLEM_DEVIATION * normal(seed, 0, _DIFFICULTY)
        zero = jnp.zeros(self._slots, jnp.uint32 if self._tree == "steps" else jnp.int32)
        root = trees.Nodes(
            jnp.ones(self._slots, bool), zero, jnp.ones(self._slots, bool), jnp.zeros(self._slots), slots
        )
        path = jnp.zeros(self._slots, jnp.uint32)
        state = State(
            seed=seed,
            puzzle=puzzle,
            difficulty=difficulty,
            depth=jnp.int32(1),
            nodes=root,
            path=path,
            cache=jnp.float32(0),
            success=jnp.bool_(False),
            illegal=jnp.int32(0),
        )
        if self._tree == "game24_log":
            return self._recorded(state, jnp.ones(self._slots, bool), jnp.int32(1), params)
        return self._generated(state, jnp.zeros(self._slots, jnp.int32), slots, jnp.int32(1), params)

    def _generated(self, state: State, parents: Any, number: Any, depth: Any, params: Params) -> State:
        """The leaves of a depth, given each slot's parent and which child of it the slot is."""
        # What a child inherits, in one word: gathers are what a step's time goes to.
        packed = (state.path << 2) | (state.nodes.good.astype(jnp.uint32) << 1) | state.nodes.there
        taken = packed[parents]
        before = state.nodes._replace(
            there=(taken & 1) > 0, good=(taken & 2) > 0, name=state.nodes.name[parents], value=None, cluster=None
        )
        if self._tree == "steps":
            nodes = trees.steps_children(state.difficulty, before, number, state.seed)
        else:
            nodes = trees.game24_children(state.puzzle, depth, before, number, params.table, state.seed)
        return self._placed(state, nodes, taken >> 2, depth)

    def _recorded(self, state: State, kept: Any, depth: Any, params: Params) -> State:
        """The best-valued recorded children of the kept nodes."""
        table: trees.Log = params.table
        at = jnp.minimum(depth, self._depth) - 1
        there, parent, good, value = (
            jnp.asarray(leaf)[state.puzzle, at] for leaf in (table.there, table.parent, table.good, table.value)
        )
        mine = parent[:, None] == jnp.where(kept, state.nodes.name, -2)[None]  # [N, K]
        there = there & (jnp.any(mine, axis=1) | (depth == 1))
        score, rows = jax.lax.top_k(jnp.where(there, value, -1.0), self._slots)
        parents = jnp.argmax(mine[rows], axis=1)
        nodes = trees.Nodes(
            score >= 0, rows.astype(jnp.int32), good[rows], jnp.maximum(score, 0.0), jnp.zeros_like(rows)
        )
        return self._placed(state, nodes, state.path[parents], depth)

    def _placed(self, state: State, nodes: trees.Nodes, path: Any, depth: Any) -> State:
        own = jnp.arange(self._slots, dtype=jnp.uint32) << (_SLOT_BITS * (depth - 1)).astype(jnp.uint32)
        return state._replace(nodes=nodes, path=jnp.where(depth <= self._depth, path | own, path), depth=depth)

    def _kept(self, state: State, action: Any) -> tuple[jax.Array, jax.Array]:
        """Weights of the slots, float32[K], and whether the action was legal."""
        level = jnp.clip(jnp.asarray(action, jnp.int32), 0, LEVELS - 1)
        wanted = (level > 0) & state.nodes.there
        legal = jnp.any(wanted)
        kept = wanted
        if self._tree == "game24_log":
            kept = wanted & (jnp.cumsum(wanted) <= self._width)
            legal = legal & jnp.all(kept == wanted)
        slots, value = jnp.arange(self._slots), jnp.where(state.nodes.there, state.nodes.value, -1.0)
        best = slots == jnp.min(jnp.where(value == jnp.max(value), slots, self._slots))  # the first of the best
        kept = jnp.where(jnp.any(kept), kept, best & state.nodes.there)
        legal = legal | ~jnp.any(state.nodes.there)  # a dead end leaves no choice
        weight = jnp.where(wanted, (1 << level) * 0.5 ** (LEVELS - 1), 1.0)
        return jnp.where(kept, weight, 0.0), legal

    def transition(self, state: State, action: Any, rng: Any, params: Any = None) -> State:
        """Keeps leaves, pays for their cache, and goes one depth down; at the last depth it answers."""
        del rng
        weight, legal = self._kept(state, action)
        kept, live = weight > 0, state.depth <= self._depth
        cache = tree_policies.cache_nodes(unpacked(state.path, self._depth), kept, state.depth)
        last = state.depth == self._depth
        moved = state._replace(
            cache=state.cache + jnp.where(live, cache, 0),
            success=state.success | (last & self._answer(state, kept)),
            illegal=state.illegal + (live & ~legal),
        )
        depth = state.depth + live
        if self._tree == "game24_log":
            return self._recorded(moved, kept, depth, params)
        parents, number = tree_policies.continuations(weight, self._width)
        return self._generated(moved, parents, number, depth, params)

    def _answer(self, state: State, kept: Any) -> jax.Array:
        """bool: whether the answer is right: any kept leaf that makes 24; or the kept step of the largest value."""
        good = kept & state.nodes.there & state.nodes.good
        if self._tree != "steps":
            return jnp.any(good)
        return good[jnp.argmax(jnp.where(kept & state.nodes.there, state.nodes.value, -1.0))]

    def terminal(self, state: State, rng: Any, params: Any = None) -> jax.Array:
        """Whether it has answered."""
        del rng, params
        return state.depth > self._depth

    def reward(self, state: State, action: Any, next_state: State, rng: Any, params: Any = None) -> Any:
        """float32: success, less the cache's price."""
        del action, rng
        paid = params.price * (next_state.cache - state.cache) / self.most_cache
        return next_state.success.astype(jnp.float32) - state.success - paid

    def observation(self, state: State, rng: Any, params: Any = None) -> jax.Array:
        """float32[5 K + 2]; see the module's docstring."""
        del rng, params
        nodes, slots = state.nodes, self._slots
        first, parent = _slot_at(state.path, 1), _slot_at(state.path, jnp.maximum(state.depth - 1, 1))
        rows = [nodes.there, nodes.value, first / slots, parent / slots, nodes.cluster / trees.CLUSTERS]
        parts = [jnp.where(nodes.there, jnp.asarray(row, jnp.float32), 0.0) for row in rows]
        of_all = jnp.stack([state.depth / (self._depth + 1), state.cache / self.most_cache])
        return jnp.clip(jnp.concatenate([*parts, of_all]), 0.0, 1.0).astype(jnp.float32)

    # What policies do ------------------------------------------------------------------------------------------------

    def decide(self, design: Any, state: State, params: Any = None) -> jax.Array:
        """The policy of a design, int32[7]: levels of the slots."""
        del params
        there, value, path = state.nodes.there, state.nodes.value, unpacked(state.path, self._depth)
        keep, tau = jnp.array(_KEEP)[design[1]], jnp.asarray(_TAU)[design[2]]
        share, spread = jnp.asarray(_SHARE)[design[3]], jnp.asarray(_SPREAD)[design[4]]
        rebase = tree_policies.rebase(value, there, tau)
        parent = jnp.where(state.depth > 1, _slot_at(state.path, jnp.maximum(state.depth - 1, 1)), 0)
        cluster = parent * trees.CLUSTERS + state.nodes.cluster
        chosen = tree_policies.ets(rebase, path, cluster, there, state.depth, share=share, spread=spread)
        weight = jnp.select(
            [design[0] == place for place in range(len(_RULES_OF))],
            [
                there.astype(jnp.float32),
                tree_policies.beam(value, there, keep),
                rebase,
                tree_policies.dvts(value, there, path[:, 0], keep),
                jnp.where(chosen, rebase, 0.0),
            ],
        )
        late = state.depth >= jnp.array((1, 2, 3, 4, 6))[design[5]]
        few = tree_policies.beam(weight + 1e-3 * value, weight > 0, jnp.array(_KEEP)[design[6]]) > 0
        weight = jnp.where(late & ~few, 0.0, weight)
        if self._tree == "game24_log":  # no more than are allowed
            weight = jnp.where(tree_policies.beam(weight + 1e-3 * value, weight > 0, self._width) > 0, weight, 0.0)
        level = jnp.round(jnp.log2(jnp.maximum(weight, 1e-9))).astype(jnp.int32) + LEVELS - 1
        return jnp.where(weight > 0, jnp.clip(level, 0, LEVELS - 1), 0)

    def metrics(self, state: State, params: Any = None) -> Metrics:
        """Of a finished search."""
        share = state.cache / self.most_cache
        read = WEIGHT_BYTES * self._depth + KV_BYTES_PER_TOKEN * TOKENS_PER_STEP * state.cache
        return Metrics(
            state.success.astype(jnp.float32),
            share,
            state.cache,
            TOKENS_PER_STEP * read / BANDWIDTH_BYTES_S,
            params.price * share,
        )

    def drawing(self, states: Sequence[Any], actions: Sequence[Any], params: Any) -> Diagram:
        """Where the budget went; see `policy_diagrams.py`."""
        del params
        kept = [np.asarray(self._kept(state, action)[0]) > 0 for state, action in zip(states, actions, strict=False)]
        return draw_tree(states, kept, depth=self._depth)

    def objective(self, metrics: Metrics) -> jax.Array:
        """float32: 1 - success, plus the cache's price."""
        return 1.0 - metrics.success + metrics.price_paid

    def transition_info(self, state: Any, action: Any, next_state: Any, params: Any = None) -> dict:
        """As of every policy family, and `illegal_actions`."""
        info = super().transition_info(state, action, next_state, params)
        return {**info, "illegal_actions": next_state.illegal}


def _slot_at(path: Any, depth: Any) -> jax.Array:
    """int32[K]: the slot of each leaf's ancestor of a depth, or of itself."""
    shift = jnp.asarray(_SLOT_BITS * (depth - 1)).astype(jnp.uint32)
    return ((path >> shift) & jnp.uint32(MOST_WIDTH - 1)).astype(jnp.int32)


def unpacked(path: Any, depth: int) -> jax.Array:
    """int32[K, D]: slots of the leaves' ancestors and of themselves, of `State.path`."""
    return jnp.stack([_slot_at(path, at) for at in range(1, depth + 1)], axis=1)


def oracle_decide(state: State, keep: int) -> jax.Array:
    """Levels of who knows which leaves can still reach a right answer: the `keep` best-valued of them, or the best."""
    wanted = tree_policies.beam(state.nodes.value, state.nodes.there & state.nodes.good, keep) > 0
    return jnp.where(wanted, LEVELS - 1, 0)


# Instances -----------------------------------------------------------------------------------------------------------


@functools.cache
def _cost_function(rules: Rules) -> Callable[[Any, Any], Any]:
    return policy_cost(TreeSearch(rules))


@functools.cache
def _oracle_function(rules: Rules) -> Callable[[Params], jax.Array]:
    """float32[4, E]: objectives of the oracle that keeps 1, 2, 4 or 8 leaves, jitted."""
    env = TreeSearch(rules)

    def objectives(params: Params) -> jax.Array:
        def episode(keep, seed):
            last = play(env, lambda state: oracle_decide(state, keep), jax.random.key(seed), params)
            return env.evaluation(last, params).objective

        return jax.vmap(lambda keep: jax.vmap(lambda seed: episode(keep, seed))(params.seeds))(jnp.array([1, 2, 4, 8]))

    return jax.jit(objectives)


def _design(values: Mapping[str, object]) -> tuple[int, ...]:
    return tuple(int(index) for index in SPACE.encode({**_NEUTRAL, **values}))


def _table(tree: str, split: str) -> Any:
    makers: dict[str, Callable[[str], Any]] = {
        "game24": trees.hands,
        "game24_log": trees.log,
        "steps": lambda split: (),
    }
    return makers[tree](split)


def _build(scenario_id: str, tree: str, width: str, price: str) -> Problem:
    count = int(OWN_WIDTH[tree] if width == OWN else width)
    if tree == "game24_log" and count > trees.LOG_BREADTH:
        raise DsegymError(
            f"width = {count} is beyond the {trees.LOG_BREADTH} nodes of each depth whose children were recorded; 1 to "
            f"{trees.LOG_BREADTH} are allowed with tree=game24_log."
        )
    rules = Rules(tree, count)
    params = Params(seeds_of(SEARCH, EPISODES), _table(tree, "train"), np.float32(price))
    held_out = params._replace(seeds=seeds_of(HELD_OUT, EPISODES), table=_table(tree, "test"))
    oracle = float(np.asarray(_oracle_function(rules)(held_out), np.float64).mean(1).min())
    return one_shot_problem(
        scenario=scenario_id,
        options={"tree": tree, "width": width, "price": price},
        space=SPACE,
        objective=OBJECTIVE,
        cost=_cost_function(rules),
        params=params,
        held_out_params=held_out,
        reference=(REFERENCE, {**_NEUTRAL, **_RULES[REFERENCE]}, "every leaf goes on, equally widely: separate chains"),
        bound=Yardstick("oracle", oracle, "knows which leaves can still reach a right answer, keeps 1, 2, 4 or 8"),
        forms={"decisions": lambda problem: TreeSearch(rules, problem.reference.value), **ONE_SHOT_FORMS},
        breakdown=functools.partial(_break_down, rules, params, held_out, NOTES[tree]),
        baselines={name: functools.partial(_design, values) for name, values in _RULES.items()},
        diagram=policy_diagram(TreeSearch(rules), params),
        batch_sizes=(1, 32),
        notes=NOTES[tree],
        sweep=Sweep(
            "width",
            WIDTHS[tree],
            "width (continuations at each depth)",
            "success less the cache's price (fraction)",
            lambda failure: 1 - failure,
            ("beam_2", "rebase", "ets"),
            OWN_WIDTH[tree],
        ),
    )


def _break_down(
    rules: Rules, params: Params, held_out: Params, notes: Sequence[str], values: Mapping[str, Any]
) -> Breakdown:
    """A design's costs on both sets of problems."""
    design = SPACE.encode(values)
    rows, totals = [], {}
    for name, where in (("search", params), ("held-out", held_out)):
        metrics = jax.tree.map(float, _jitted_cost(rules)(design, where).metrics)
        oracle = float(np.asarray(_oracle_function(rules)(where)).mean(1).min())
        row = {**metrics._asdict(), "oracle_failure": oracle}
        rows.append({"problems": name, **row})
        totals |= {f"{name}_{key}": value for key, value in row.items()}
    return Breakdown(totals, rows, notes)


@functools.cache
def _jitted_cost(rules: Rules) -> Callable[..., Any]:
    return jax.jit(_cost_function(rules))


def _facts() -> Sequence[tuple[str, Sequence[Mapping[str, object]]]]:
    rules = [{"rule": name} | {key: str(values.get(key, "")) for key in _NEUTRAL} for name, values in _RULES.items()]
    return (("Rules (blank: neutral)", rules),)


def core_instances() -> Sequence[Mapping[str, str]]:
    """Every tree, with and without a price of the cache."""
    return [
        {"tree": tree, "width": width, "price": price}
        for tree, width, price in (
            ("game24", OWN, "0.1"),
            ("game24", "16", "0"),
            ("game24_log", OWN, "0.1"),
            ("game24_log", "3", "0.1"),
            ("steps", OWN, "0.2"),
            ("steps", "8", "0"),
        )
    ]


SCENARIO = Scenario(
    summary="Prune and widen a search tree, depth by depth, with a price on the cache that its leaves share.",
    options={
        "tree": Option("steps", tuple(WIDTHS), "recorded, exact with a noisy judge, or synthetic"),
        "width": Option(
            OWN,
            (OWN, "1", "2", "3", "4", "5", "8", "16", "32"),
            "continuations at each depth; own: 32 for game24, 5 for its log, 16 for steps",
            whole_between(1, MOST_WIDTH),
            f"any from 1 to {MOST_WIDTH}",
        ),
        "price": Option(
            "0.1",
            ("0", "0.1", "0.2", "0.5"),
            "of the cache of separate chains, in success",
            number_between(0, 1),
            "0 to 1",
        ),
    },
    build=_build,
    core=core_instances,
    facts=_facts,
)
