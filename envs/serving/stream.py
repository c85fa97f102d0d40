"""dsegym/ServingStream-v0: send each request that arrives to one of several engines of continuous batching.

The rules and where figures come from: docs/serving_stream.md. The game: `costmodels/serving/stream/`. M servers of one
model, N requests of an episode: a window of a trace.

| form | action |
|---|---|
| `decisions` | the server for the request that has arrived: Discrete(M + 1); M turns it away, where objective=missed |
| `parametric`, `sequential` | the weights of a routing rule, as of a one-shot family: what the leaderboard ranks |

Where the first servers compute prompts only (`prefill`), an action is Discrete((M + 1)^2): 1 + the server that changes
pools, or 0, times M + 1, and what is sent where.

An action that is not legal counts as the server with the fewest requests; `info["illegal_actions"]` counts those.
Reward: minus the growth of the objective, a request, over the reference's; for objective=missed over 1, as soon as a
target is missed. Time is `info["elapsed_us"]`. How many tokens a request will make is not observed.
Observation: float32[14 (M + 1) + 5], 3 (M + 1) more with pools, `ServingStream.features`; a column of 0 stands for
turning away.
Termination: when all requests were sent; they are then served.

    >>> import gymnasium, dsegym
    >>> env = gymnasium.make("dsegym/ServingStream-v0", requests=8)
    >>> observation, info = env.reset(seed=0)
    >>> info["action_mask"].tolist()
    [1, 1, 1, 0]
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np

from ...costmodels.arrays import Array
from ...costmodels.diagram import Diagram
from ...costmodels.errors import DsegymError
from ...costmodels.files import is_path
from ...costmodels.luck import episode_key
from ...costmodels.serving.engine.engine import BLOCK, blocks_of
from ...costmodels.serving.stream import game
from ...costmodels.serving.stream.bounds import stream_bound
from ...costmodels.serving.stream.fleet import Pools
from ...costmodels.serving.stream.game import Params, State
from ...costmodels.serving.stream.picture import draw_stream
from ...costmodels.serving.stream.servers import (
    MODELS,
    PREEMPTIONS,
    Server,
    block_us,
    parse_servers,
    server_rows,
    servers_of,
    stacked,
)
from ...costmodels.serving.stream.traces import SYNTHETIC, Windows, get_trace, trace_names, windows
from ..core.evaluation import Objective, Sweep, Yardstick
from ..core.features import Discrete, Feature
from ..core.options import Options, choice, custom, file_or_name, number, whole
from ..core.policies import HELD_OUT, SEARCH, PolicyEnv, policy_problem, seeds_of
from ..core.problem import Problem
from ..core.scenarios import Scenario
from ..core.spaces import DesignSpace, Heuristics, Parameter

__all__ = ["HEURISTICS", "SCENARIO", "SPACE", "ServingStream", "ServingStreamOptions"]

EPISODES = 16  # that a rule is costed on
WINDOWS = 128  # of a part of a trace
BATCH_SIZES = (1, 16)
_HIGHEST = 10.0  # observations are clipped here
_NEVER = 99

OBJECTIVES = {
    "latency": Objective("latency", "s", "mean time from a request's arrival to its last token"),
    "ttft": Objective("ttft", "s", "mean time from a request's arrival to its first token"),
    "missed": Objective("missed", "fraction", "1 - goodput: requests that miss a target, or are turned away"),
}
NOTES: Mapping[str, str] = {
    "engine": "Engines follow vLLM's scheduling; two measured runs are met within 2.1 % in mean TTFT, 1 % in TPOT and "
    "1.6 % in latency. Requests make as many tokens as the trace says.",
    "skew": "What uneven contexts add on the RTX PRO 6000 was chosen within its measured range with one of those "
    "runs in sight.",
    "swap": "What swapping takes is modelled: PCIe at 20 GB/s, or 6 us a copy. No run that swaps is compared with.",
    "pools": "Prompts' caches move when the prompt is done, over a link of their own; links are never busy otherwise.",
    "no_pools": "Every server does both phases: move and link say nothing; give prefill.",
    "priorities": "Priorities change every {steps} steps: the fewest tokens first. No measured run is compared with.",
    "modelled": "The steps of {names} are a roofline's, calibrated on other GPUs' steady states: not measured.",
    "scaled": "A trace's time is stretched to the wanted rate; its bursts are its own.",
    "poisson": "Arrivals are synthetic: exponential gaps; sizes are those of Azure's conversations.",
}
_WEIGHTS = (0, 0.25, 0.5, 1, 2, 4, 8)
_TERMS = {
    "waiting": "requests that wait there",
    "running": "requests that run there",
    "used": "its cache that is used, in tenths",
    "backlog": "time of the prompts that wait there, over the target of TTFT, in tenths",
    "own": "time of this prompt there, likewise",
    "step": "time of its last step, over the target of TPOT",
    "slowness": "time of a step of one sequence, over the fastest server's",
    "turn": "how far it is from being next in turn",
    "random": "a draw",
}
SPACE = DesignSpace(
    (
        *(Parameter(name, _WEIGHTS, summary=f"a server is avoided for: {text}") for name, text in _TERMS.items()),
        Parameter("scaled", ("no", "yes"), ordered=False, summary="requests weigh by the server's slowness"),
        Parameter(
            "shed",
            (0.25, 0.5, 1, 2, 4, _NEVER),
            summary="turn away what would wait longer, over the target of TTFT; 99: never",
        ),
    )
)
# The rules of the field: what a router of replicas is set to.
HEURISTICS = Heuristics(
    SPACE,
    {**dict.fromkeys(_TERMS, 0), "scaled": "no", "shed": _NEVER},
    {
        "round_robin": {"turn": 1},
        "random": {"random": 1},
        "join_shortest_queue": {"waiting": 1, "running": 1},
        "vllm_data_parallel": {"waiting": 4, "running": 1},
        "least_loaded_kv": {"used": 1},
        "least_backlog": {"backlog": 1},
        "earliest_first_token": {"backlog": 1, "own": 1},
        "weighted_shortest_queue": {"waiting": 4, "running": 1, "scaled": "yes"},
        "shortest_queue_sheds": {"waiting": 4, "running": 1, "scaled": "yes", "shed": 1},
    },
)
REFERENCE = "round_robin"
# Of fleets with pools: the same, and when a server changes pools.
POOLED_SPACE = DesignSpace(
    (
        *SPACE.parameters,
        Parameter(
            "to_prefill",
            (0.125, 0.25, 0.5, 1, 2, _NEVER),
            summary="a server is moved to prompts where they wait longer, over the target of TTFT; 99: never",
        ),
        Parameter(
            "to_decode",
            (0.25, 0.5, 0.75, 0.9, 1.25, _NEVER),
            summary="a server is moved to tokens where requests or cache, over the most, are more; 99: never",
        ),
    )
)
_NO_MOVES = {"to_prefill": _NEVER, "to_decode": _NEVER}
POOLED_HEURISTICS = Heuristics(
    POOLED_SPACE,
    {**HEURISTICS.neutral, **_NO_MOVES},
    {
        **HEURISTICS.changes,
        "load_following": {"backlog": 1, "own": 1, "to_prefill": 0.5, "to_decode": 0.9},
        "follows_prompts": {"backlog": 1, "own": 1, "to_prefill": 0.25},
    },
)


def _servers(given: object) -> str:
    parts = parse_servers(str(given))
    return "+".join(f"{count}*{name}" + (f"/{gpus}" if gpus > 1 else "") for count, name, gpus in parts)


@dataclass(frozen=True)
class ServingStreamOptions(Options):
    """What tells instances apart."""

    servers: str = custom(
        "2*rtx4090+1*rtxpro6000",
        ("2*rtx4090+1*rtxpro6000", "4*rtx4090", "1*rtxpro6000+2*L4", "1*H100-SXM-80GB+2*A10G"),
        parse=_servers,
        also="COUNT*NAME or COUNT*NAME/GPUS, joined by +, 16 servers at most; NAME measured or of the table of devices",
        summary="engines that serve the model",
    )
    model: str = choice("Llama-3-8B", MODELS, "what is served, in bf16")
    trace: str = file_or_name(
        "azure_conv", trace_names, is_path, "the path of a trace (docs/files.md)", "what arrives", reads="trace"
    )
    rate: float = number(
        20, (3, 8, 20, 40), least=0.01, most=10_000, unit="requests/s", summary="of the whole trace, stretched"
    )
    objective: str = choice("latency", tuple(OBJECTIVES), "what is minimised")
    ttft: float = number(1000, (500, 1000, 4000), least=1, most=1e6, unit="ms", summary="target of missed")
    tpot: float = number(50, (30, 50, 100), least=1, most=1e5, unit="ms", summary="target of missed")
    prefix_cache: str = choice("none", ("none", "shared"), "a store of all prefixes so far, for traces that name them")
    preemption: str = choice("recompute", PREEMPTIONS, "what is preempted is computed again, or its cache is swapped")
    requests: int = whole(96, (32, 96), least=2, most=512, summary="of an episode")
    sequences: int = whole(32, (32, 128, 256), least=1, most=256, summary="at once on a server, at most")
    update: int = whole(
        0, (0, 10, 50), least=0, most=10_000, summary="steps between priorities, the fewest tokens first; 0: none"
    )
    prefill: int = whole(
        0, (0, 1, 2), least=0, most=15, summary="servers, the first ones, for prompts only, others for tokens; 0: both"
    )
    move: float = number(1, (1, 10), least=0, most=600, unit="s", summary="for which a server changes pools")
    link: float = number(25, (12.5, 25, 50), least=1, most=10_000, unit="GB/s", summary="between servers of two pools")


@dataclass(frozen=True)
class ServingStream(PolicyEnv[State, Params]):
    """Request by request; see the module's docstring.

    Attributes:
        servers, requests: M and N.
        target: the objective.
        names: of the servers.
        pooled: whether there are pools for prompts and tokens.
    """

    servers: int
    requests: int
    target: str
    names: tuple[str, ...]
    pooled: bool = False
    game = game

    @property
    def horizon(self) -> int:
        """A decision a request."""
        return self.requests

    @property
    def action_space(self) -> Discrete:
        """The server, or turning away; with pools, for each of those who may move."""
        return Discrete((self.servers + 1) ** 2 if self.pooled else self.servers + 1)

    @property
    def features(self) -> Sequence[Feature]:
        """Of each server and, the last, of turning away; and of the offered request."""
        each = ((self.servers + 1,), 0.0, _HIGHEST)
        return (
            Feature("waiting", *each, "requests that wait there, over 8"),
            Feature("running", *each, "requests that run there, over the most"),
            Feature("used", *each, "share of the cache that is used"),
            Feature("backlog", *each, "time of the prompts that wait there, over the target of TTFT"),
            Feature("own", *each, "time of the offered prompt there, over the target of TTFT"),
            Feature("step", *each, "time of the last step, over the target of TPOT"),
            Feature("slowness", *each, "time of a step of one sequence over the fastest server's, over 4"),
            Feature("first", *each, "time to the request's first token there, as forecast, over the target of TTFT"),
            Feature("pace", *each, "time of a step there with the request, as forecast, over the target of TPOT"),
            Feature("room", *each, "share of the cache that is free beyond what waits and the request's prompt"),
            Feature("slots", *each, "sequences that could run there besides, over the most"),
            Feature("context", *each, "mean tokens in the cache of those that run there, over 2048"),
            Feature("hopeful", *each, "requests there whose first token is not late yet, over the most that run"),
            *(self._of_pools() if self.pooled else ()),
            Feature("away", (self.servers + 1,), 0.0, 1.0, "1 of turning away, where that is allowed", keeps_last=True),
            Feature("prompt", (), 0.0, _HIGHEST, "tokens of the offered prompt, over 2048"),
            Feature("gap", (), 0.0, _HIGHEST, "time since the request before, s"),
            Feature("gaps", (), 0.0, _HIGHEST, "mean time between the last requests, eight at most, s"),
            Feature("left", (), 0.0, 1.0, "share of the requests that are left"),
            Feature("sheds", (), 0.0, 1.0, "1 if requests may be turned away"),
        )

    def _of_pools(self) -> Sequence[Feature]:
        each = ((self.servers + 1,), 0.0)
        return (
            Feature("prefills", *each, 1.0, "1 of a server for prompts, or on its way to be one"),
            Feature("takes", *each, 1.0, "1 of a server that takes requests in its pool, and does not move"),
            Feature("load", *each, _HIGHEST, "requests there and on their way there, over the most that run"),
        )

    def params_of(self, problem: Problem) -> Params:
        """The problem's, with the reference's value."""
        return problem.params._replace(reference=np.asarray(problem.reference.value, np.float32))

    def sizes(self, params: Params) -> Mapping[str, int]:
        """Servers."""
        return {"servers": game.servers(params)}

    def padded(self, params: Params, sizes: Mapping[str, int]) -> tuple[ServingStream, Params]:
        """Servers that are not there, and never taken; the action that turns away stays the last."""
        more = sizes["servers"] - game.servers(params)

        def wider(leaf: np.ndarray) -> np.ndarray:
            return np.concatenate([leaf, np.repeat(np.asarray(leaf)[:1], more, axis=0)])

        laws, limits, facts = (jax.tree.map(wider, each) for each in (params.laws, params.limits, params.facts))
        facts = facts._replace(there=np.concatenate([params.facts.there, np.zeros(more, bool)]))
        pools = params.pools
        if pools is not None:
            pools = pools._replace(prefills=np.concatenate([pools.prefills, np.zeros(more, bool)]))
        env = replace(self, servers=sizes["servers"], names=())
        return env, params._replace(laws=laws, limits=limits, facts=facts, pools=pools)

    def objective(self, metrics: game.Metrics) -> Array:
        """Of an episode, or of means."""
        return {"latency": metrics.latency_s, "ttft": metrics.ttft_s, "missed": metrics.missed}[self.target]

    def reward(self, state: State, next_state: State, params: Params) -> Array:
        """float32: minus the growth of the objective, over the reference."""
        over = 1.0 if self.target == "missed" else params.reference
        return -game.progress(self.target, state, next_state, params) / (self.requests * over)

    def observe(self, state: State, params: Params) -> Mapping[str, Array]:
        """See `features`."""
        seen, there = game.views(state, params), jnp.asarray(params.facts.there)
        ahead, most = game.forecasts(state, params), jnp.asarray(params.limits.sequences)
        sheds = jnp.asarray(params.sheds).astype(jnp.float32)
        of_servers = {
            "waiting": seen.waiting / 8,
            "running": seen.running / most,
            "used": seen.used,
            "backlog": seen.backlog_us / params.ttft_us,
            "own": seen.own_us / params.ttft_us,
            "step": seen.step_us / params.tpot_us,
            "slowness": jnp.asarray(params.facts.slowness) / 4,
            "first": ahead.first_us / params.ttft_us,
            "pace": ahead.pace_us / params.tpot_us,
            "room": ahead.room,
            "slots": ahead.slots / most,
            "context": ahead.context / 2048,
            "hopeful": ahead.hopeful / most,
        }
        if self.pooled:
            pools = game.pool_views(state, params)
            of_servers |= {"prefills": pools.prefills, "takes": pools.takes, "load": pools.load / most}
        values = {
            **{name: jnp.append(jnp.where(there, value, 0.0), 0.0) for name, value in of_servers.items()},
            "away": jnp.append(jnp.zeros(self.servers), sheds),
            "prompt": seen.prompt / 2048,
            "gap": seen.gap_us * 1e-6,
            "gaps": ahead.gap_us * 1e-6,
            "left": 1.0 - state.next / jnp.asarray(params.requests),
            "sheds": sheds,
        }
        return {name: jnp.clip(value, 0.0, _HIGHEST).astype(jnp.float32) for name, value in values.items()}

    def step_info(self, state: State, action: Array, next_state: State, params: Params) -> dict[str, Array]:
        """`elapsed_us`, int32: until the next request arrives; 0 after the last."""
        passed = game.clock_us(next_state, params) - game.clock_us(state, params)
        return {"elapsed_us": jnp.where(game.over(next_state, params), 0, passed)}

    def decide(self, design: Array, state: State, params: Params) -> Array:
        """The server with the lowest weighted sum; away, where the rule sheds and it may; with pools, who moves."""
        values = (POOLED_SPACE if self.pooled else SPACE).values(design, jnp.float32)
        seen, there = game.views(state, params), jnp.asarray(params.facts.there)
        slowness = jnp.asarray(params.facts.slowness)
        places, mover = jnp.arange(self.servers), jnp.int32(-1)
        turns = places
        if self.pooled:
            mover, there = self._moved(values, seen, state, params)
            turns = jnp.cumsum(there) - 1
        count = jnp.sum(there)
        weigh = jnp.where(values["scaled"] > 0, slowness, 1.0)
        terms = {
            "waiting": seen.waiting * weigh,
            "running": (seen.running + values["scaled"]) * weigh,
            "used": seen.used * 10,
            "backlog": seen.backlog_us / params.ttft_us * 10,
            "own": seen.own_us / params.ttft_us * 10,
            "step": seen.step_us / params.tpot_us,
            "slowness": slowness,
            "turn": ((turns - state.next) % count).astype(jnp.float32),
            "random": game.luck_of(state, self.servers),
        }
        score = sum(values[name] * term for name, term in terms.items())
        best = jnp.argmin(jnp.where(there, score, jnp.inf)).astype(jnp.int32)
        wait = jnp.sum(jnp.where(places == best, seen.backlog_us + seen.own_us, 0.0)) / params.ttft_us
        away = jnp.asarray(params.sheds) & (values["shed"] < _NEVER) & (wait > values["shed"])
        return ((mover + 1) * (self.servers + 1) + jnp.where(away, self.servers, best)).astype(jnp.int32)

    def _moved(
        self, values: Mapping[str, Array], seen: game.Views, state: State, params: Params
    ) -> tuple[Array, Array]:
        """int32: the server that changes pools, the one with the fewest requests, or -1; bool[M]: who gets prompts."""
        pools, most = game.pool_views(state, params), jnp.asarray(params.limits.sequences)
        sends, makes = pools.takes & pools.prefills, pools.takes & ~pools.prefills
        waits = (seen.backlog_us + seen.own_us) / params.ttft_us
        wait = jnp.sum(jnp.where(sends, waits, 0.0)) / jnp.sum(sends)
        full = jnp.sum(jnp.where(makes, jnp.maximum(seen.used, pools.load / most), 0.0)) / jnp.sum(makes)
        late = (values["to_prefill"] < _NEVER) & (wait > values["to_prefill"])
        tight = (values["to_decode"] < _NEVER) & (full > values["to_decode"])
        source = jnp.where(late, makes, sends)
        mover = jnp.argmin(jnp.where(source, pools.load, jnp.inf)).astype(jnp.int32)
        mover = jnp.where((late != tight) & (jnp.sum(source) > 1), mover, -1)
        return mover, sends & (jnp.arange(self.servers) != mover)

    def drawing(self, states: Sequence[State], actions: Sequence[object], params: Params) -> Diagram:
        """Waits and tokens of the requests."""
        return draw_stream(states[-1], self.names)


@functools.partial(jax.jit, static_argnums=0)
def _windows_of(env: ServingStream, params: Params) -> Windows:
    """The windows of the episodes of the cost, leaves int32[E, N]."""
    return jax.vmap(lambda seed: env.start(episode_key(seed), params).window)(jnp.asarray(params.seeds))


def _require_room(servers: Sequence[Server], *drawn: Windows) -> None:
    """Refuses requests that a server's cache never holds."""
    most = max(int((each.prompt + each.output).max()) for each in drawn)
    smallest = min(servers, key=lambda server: server.blocks)
    if blocks_of(most) > smallest.blocks:
        raise DsegymError(
            f"A request of {most:,} tokens does not fit into the cache of {smallest.name}, which holds "
            f"{smallest.blocks * BLOCK:,}; take servers with more memory, or another trace."
        )


def _between_pools(options: ServingStreamOptions) -> tuple[float, float]:
    return options.move, options.link


def build(options: ServingStreamOptions) -> Problem:
    """An instance.

    Raises:
        DsegymError: the model or a request does not fit, or the trace is too short or names no prefixes.
    """
    servers = servers_of(parse_servers(options.servers), options.model)
    if options.prefix_cache == "shared" and (options.trace == SYNTHETIC or not get_trace(options.trace).tells_prefixes):
        raise DsegymError(
            f"prefix_cache = shared needs a trace that names its prefixes, as mooncake_conversation; {options.trace} "
            "does not."
        )
    if options.prefill >= len(servers):
        raise DsegymError(
            f"prefill = {options.prefill} of {len(servers)} servers leaves none that makes tokens; at most "
            f"{len(servers) - 1} of these can compute prompts only, and 0 has each do both."
        )
    laws, limits = stacked(servers, options.sequences, options.preemption)
    pools = None
    if options.prefill:
        pools = Pools(
            prefills=np.arange(len(servers)) < options.prefill,
            move_us=np.asarray(round(options.move * 1e6), np.int32),
            block_us=np.asarray(block_us(options.model, options.link), np.int32),
        )

    def drawn(part: str, seed: int) -> Windows:
        return windows(
            options.trace,
            part,
            count=WINDOWS,
            requests=options.requests,
            rate=options.rate,
            seed=seed,
            reuse=options.prefix_cache == "shared",
        )

    params = Params(
        seeds=seeds_of(SEARCH, EPISODES),
        windows=drawn("train", SEARCH),
        requests=np.asarray(options.requests, np.int32),
        laws=laws,
        limits=limits,
        facts=game.facts_of(laws),
        ttft_us=np.asarray(options.ttft * 1e3, np.float32),
        tpot_us=np.asarray(options.tpot * 1e3, np.float32),
        sheds=np.asarray(options.objective == "missed"),
        reference=np.asarray(np.nan, np.float32),
        every=np.asarray(options.update, np.int32) if options.update else None,
        pools=pools,
    )
    held_out = params._replace(seeds=seeds_of(HELD_OUT, EPISODES), windows=drawn("test", HELD_OUT))
    _require_room(servers, params.windows, held_out.windows)
    names = tuple(each.name for each in servers)
    env = ServingStream(len(servers), options.requests, options.objective, names, pooled=pools is not None)
    modelled = sorted({server.name for server in servers if not server.measured})
    notes = (
        NOTES["engine"],
        *([NOTES["skew"]] if laws.skew.any() else []),
        *([NOTES["swap"]] if options.preemption != "recompute" else []),
        *([NOTES["pools"]] if pools else []),
        *(
            [NOTES["no_pools"]]
            if not pools and _between_pools(options) != _between_pools(ServingStreamOptions())
            else []
        ),
        *([NOTES["priorities"].format(steps=options.update)] if options.update else []),
        *([NOTES["modelled"].format(names=", ".join(modelled))] if modelled else []),
        NOTES["poisson" if options.trace == SYNTHETIC else "scaled"],
    )

    def bound(problem: Problem) -> Yardstick:
        episodes = Windows(*(np.asarray(leaf) for leaf in _windows_of(env, held_out)))
        return Yardstick("bound", *stream_bound(held_out, episodes, options.objective))

    return policy_problem(
        env,
        options=options,
        heuristics=POOLED_HEURISTICS if pools else HEURISTICS,
        params=params,
        held_out_params=held_out,
        reference=(REFERENCE, "servers in turn, the default of routers of replicas"),
        bound=bound,
        objective=OBJECTIVES[options.objective],
        notes=notes,
        sweep=Sweep(
            option="rate",
            values=("3", "8", "20", "40"),
            x_label="rate (requests/s)",
            y_label=f"{options.objective} ({OBJECTIVES[options.objective].unit})",
            baselines=("join_shortest_queue", "earliest_first_token", *(("load_following",) if pools else ())),
        ),
        batch_sizes=BATCH_SIZES,
    )


CORE = (  # measured servers, unequal ones; bursts; long prompts with prefixes; every objective; swaps
    {},
    {"objective": "missed"},
    {"servers": "1*rtxpro6000+2*L4", "rate": 8},
    {"servers": "1*H100-SXM-80GB+2*A10G", "rate": 12, "objective": "ttft"},
    {"servers": "4*rtx4090", "trace": "azure_code", "objective": "ttft"},
    {"servers": "3*rtxpro6000", "trace": "mooncake_conversation", "rate": 3, "prefix_cache": "shared"},
    {"servers": "2*rtx4090+1*L4", "trace": "poisson", "rate": 12, "objective": "missed"},
    {"servers": "2*rtx4090", "sequences": 128, "preemption": "grouped_swap"},
    {"servers": "4*rtx4090", "prefill": 2, "objective": "missed"},
    {"servers": "2*rtx4090", "preemption": "grouped_swap", "update": 20, "objective": "ttft", "rate": 12},
)
SCENARIO = Scenario(
    summary="Send each request that arrives to one of several engines that serve a language model.",
    options_type=ServingStreamOptions,
    build=build,
    core=CORE,
    facts=lambda: (("Measured servers", server_rows()),),
)
