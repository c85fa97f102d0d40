"""dsegym/MemoryMapping-v0: serve every access of a program from fast or slow memory, so that the program runs fastest.

The rules: docs/memory_mapping.md. The game: `costmodels/memory/game.py`. Objective: the latency in s. R accesses.

| space | design |
|---|---|
| `plan` | one of drop, no_copy, copy for each of the R accesses; what is not legal counts as drop |
| `msa` | the six knobs of the heuristic like XLA's (`costmodels/memory/msa.py`), whose plan is then played |

Action of the sequential forms: Discrete(3), the next access's. `info["action_mask"]` says what is legal.
Reward: the latency saved by the decision over the latency with everything slow, stalls included. It telescopes: the
return is 1 - latency / all-slow latency.
Observation: float32 in [-1, 10], `MemoryMapping.features`: of the accesses from 4 before to 16 after the next one, 11
fixed features and 2 of the state each; 12 of the next decision; 4 of the game. The form `image` adds fast memory around
the present: 3 channels (taken, reserved, idle bandwidth) of 64 instructions x 64 stretches of addresses.
Termination: after the last access.

    >>> import gymnasium, dsegym
    >>> env = gymnasium.make("dsegym/MemoryMapping-v0", program="mlp_tiny", capacity="0.5")
    >>> observation, info = env.reset(seed=0)
    >>> info["action_mask"].tolist()
    [1, 0, 1]
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np

from ...costmodels.arrays import Array
from ...costmodels.memory import game, msa, simulator, views
from ...costmodels.memory.bounds import lower_bound, stored
from ...costmodels.memory.breakdown import NOTES, break_down
from ...costmodels.memory.discrete import DiscreteProgram
from ...costmodels.memory.game import Metrics, Params, State
from ...costmodels.memory.heuristics import HEURISTICS, heuristic_plan, msa_like
from ...costmodels.memory.instance import Capacity, discrete_program, parse_capacity
from ...costmodels.memory.models.zoo import is_zoo_name, zoo_rows
from ...costmodels.memory.picture import draw
from ...costmodels.memory.platforms import platform_names, platform_rows
from ...costmodels.memory.program import is_program_file, program_names, program_rows
from ...costmodels.memory.views import AHEAD, BEHIND, COLUMNS, HIGHEST, IMAGE
from ..core import own_bounds
from ..core.evaluation import Evaluation, Objective, Yardstick
from ..core.features import Discrete, Feature
from ..core.functional import FunctionalEnv
from ..core.one_shot import ONE_SHOT_FORMS
from ..core.options import Options, choice, custom, file_or_name, texts
from ..core.problem import Problem, costed
from ..core.scenarios import Scenario
from ..core.spaces import DesignSpace, Heuristics, Parameter

__all__ = ["SCENARIO", "TIERS", "MappingOptions", "MemoryMapping", "discrete_of"]

TIERS = (0.1, 0.25, 0.5)  # capacity over the program's activation peak: hard, medium, easy
_EDGE_PROGRAMS = ("mobilenet_block", "mlp_mixer", "resnet_forward", "unet_block")
BATCH_SIZES = (1, 64, 512)
SIZES = ("instructions", "buffers", "accesses")  # what a larger program has more of
OBJECTIVE = Objective("latency", "s", "time of one run of the program")
_REFERENCE = "msa_like"
_SOURCE = "the heuristic like XLA's memory space assignment, default knobs (costmodels/memory/msa.py)"

KNOB_SPACE = DesignSpace(
    tuple(Parameter(name, values) for name, values in zip(msa.KNOBS._fields, msa.KNOBS, strict=True))
)
KNOB_SETTINGS = Heuristics(KNOB_SPACE, msa.DEFAULTS._asdict(), {_REFERENCE: {}})


@dataclass(frozen=True)
class MappingOptions(Options):
    """What tells instances apart."""

    program: str = file_or_name(
        "mlp_train",
        program_names,
        is_program_file,
        "zoo/ARCHITECTURE/SEED, or the path of a file",
        "what runs; or one of the zoo, as zoo/transformer/17; or a file of `dsegym trace`",
        generated=is_zoo_name,
        reads="program",
    )
    platform: str = choice("tpu_v4i", platform_names, "the memories")
    capacity: Capacity = custom(  # noqa: RUF009 - a field
        Capacity(peak_share=0.25),
        (*(Capacity(peak_share=tier) for tier in TIERS), Capacity()),
        parse=parse_capacity,
        also="any share of the activation peak above 0, to 16, or a size with its unit: 8192B, 64KiB, 16MiB, 1GiB",
        summary="of fast memory, over the activation peak; or a size: 16MiB",
    )
    bandwidth: str = choice("charged", ("charged", "idle"), "copies beyond idle bandwidth stall, or are illegal")
    space: str = choice("plan", ("plan", "msa"), "what a design is: an action an access, or the heuristic's knobs")


def discrete_of(options: MappingOptions) -> DiscreteProgram:
    """The instance in whole numbers."""
    return discrete_program(options.program, options.platform, options.capacity, options.bandwidth)


def _evaluation(state: simulator.State, params: Params) -> Evaluation:
    metrics: Metrics = game.metrics(state, params)
    return Evaluation(metrics, metrics.latency_s, jnp.bool_(True))


def cost_of_plan(design: Array, params: Params) -> Evaluation:
    """Costs of a plan, int32[R]."""
    return _evaluation(simulator.play(params.arrays, design), params)


def cost_of_knobs(design: jax.Array, params: Params) -> Evaluation:
    """Costs of the plan that the heuristic like XLA's makes with these knobs, int32[6]."""
    knobs = msa.Knobs(**KNOB_SPACE.values(design, jnp.float32))
    return cost_of_plan(msa.plan(params.arrays, params.profile, knobs), params)


_WINDOW = (BEHIND + 1 + AHEAD,)


def _scaled(name: str, meaning: str) -> Feature:
    """A feature that is clipped."""
    return Feature(name, (), -1.0, HIGHEST, meaning)


_FEATURES = (
    Feature(
        "accesses", (*_WINDOW, len(COLUMNS)), -1.0, HIGHEST, "of each access around the next: " + ", ".join(COLUMNS)
    ),
    Feature("in_fast", _WINDOW, meaning="1 where fast memory holds the access's buffer"),
    Feature("in_slow", _WINDOW, meaning="1 where slow memory holds it"),
    _scaled("gain", "time saved now by fast memory, over the mean time of an instruction"),
    _scaled("missing", "copy time beyond the idle time in its window, so scaled"),
    _scaled("copy", "time of a copy, so scaled"),
    _scaled("window", "instructions for which the granules are taken beforehand, over all"),
    Feature("found", meaning="1 where there is a place"),
    Feature("evicts", meaning="1 where the place is others'"),
    _scaled("victims_next_use", "instructions until the others' next use, over all"),
    _scaled("memory", "memory time of the instruction so far, over all slow"),
    Feature("legal", (len(simulator.ACTIONS),), meaning="the action mask"),
    Feature("decided", meaning="accesses decided over all"),
    _scaled("latency", "so far, over all slow"),
    _scaled("stall", "so far, over the latency with everything slow"),
    _scaled("taken", "share of fast memory that is taken now"),
    _scaled("reserved", "share of fast memory that is reserved"),
)
_IMAGE_FEATURES = (
    Feature("image_taken", (IMAGE, IMAGE), 0.0, 1.0, "share taken, by instruction and stretch of addresses", True),
    Feature("image_reserved", (IMAGE, IMAGE), 0.0, 1.0, "share that is reserved and not taken", True),
    Feature("image_idle", (IMAGE, IMAGE), 0.0, HIGHEST, "idle time over the mean time of an instruction", True),
)


@dataclass(frozen=True)
class MemoryMapping(FunctionalEnv[State, Params]):
    """Access by access; see the module's docstring.

    Attributes:
        horizon: R, of the arrays; an instance in larger arrays than its own ends before.
        with_image: whether fast memory is seen.
    """

    horizon: int
    with_image: bool = False
    game = game

    @property
    def features(self) -> Sequence[Feature]:
        """The accesses, the next decision, the game; and the image."""
        return _FEATURES + _IMAGE_FEATURES if self.with_image else _FEATURES

    @property
    def action_space(self) -> Discrete:
        """drop, no_copy, copy."""
        return Discrete(len(simulator.ACTIONS))

    def reward(self, state: State, next_state: State, params: Params) -> Array:
        """float32: latency saved over the all-slow latency."""
        return (state.game.latency - next_state.game.latency).astype(jnp.float32) / params.all_slow

    def observe(self, state: State, params: Params) -> Mapping[str, Array]:
        """See `features`."""
        number = jnp.minimum(state.number, params.decisions - 1)
        access, memory = simulator.access_at(params.accesses, number), state.game
        buffers = jax.lax.dynamic_slice_in_dim(params.buffers, number, _WINDOW[0])
        seen = views.decision(
            params.arrays,
            access,
            memory,
            state.place,
            state.number,
            params.all_slow,
            params.instructions,
            params.decisions,
        )
        values = {
            "accesses": jax.lax.dynamic_slice_in_dim(params.features, number, _WINDOW[0]),
            "in_fast": memory.offset[buffers] >= 0,
            "in_slow": memory.slow_from[buffers] >= 0,
            **seen._asdict(),
        }
        if self.with_image:
            channels = views.image(access.instruction, memory, params.all_slow, params.instructions)
            values |= {feature.name: channel for feature, channel in zip(_IMAGE_FEATURES, channels, strict=True)}
        return {name: jnp.clip(jnp.asarray(value, jnp.float32), -1.0, HIGHEST) for name, value in values.items()}

    def illegal(self, state: State) -> Array:
        """Actions that counted as drop."""
        return state.game.illegal

    def design(self, state: State, params: Params) -> Array:
        """int32[R], the actions carried out; drop where undecided."""
        return state.design

    def sizes(self, params: Params) -> Mapping[str, int]:
        """T, B and R."""
        arrays = params.arrays
        lengths = len(arrays.compute), len(arrays.granules), len(arrays.buffer)
        return dict(zip(SIZES, lengths, strict=True))

    def padded(self, params: Params, sizes: Mapping[str, int]) -> tuple[MemoryMapping, Params]:
        """See `game.padded`."""
        return replace(self, horizon=sizes["accesses"]), game.padded(params, **sizes)

    def decide(self, design: Array, state: State, params: Params) -> Array:
        """The next access's action of a plan; drop where it is not legal."""
        action = jnp.asarray(design)[jnp.minimum(state.number, self.horizon - 1)]
        return jnp.where(game.action_mask(state, params)[action], action, simulator.DROP).astype(jnp.int32)

    def evaluation(self, state: State, params: Params) -> Evaluation:
        """Costs of the mapping."""
        return _evaluation(state.game, params)


def _plan_space(discrete: DiscreteProgram) -> DesignSpace:
    program = discrete.program
    return DesignSpace(
        tuple(
            Parameter(
                f"{number}:{'write' if access.is_output else 'read'}:{program.buffers[access.buffer].name}",
                simulator.ACTIONS,
                ordered=False,
                summary=f"in instruction {access.instruction}, {program.instructions[access.instruction].name}",
            )
            for number, access in enumerate(program.accesses)
        )
    )


def _stored(problem: Problem) -> Mapping[str, str] | None:
    return stored.stored_rows().get(tuple(problem.options[name] for name in stored.INSTANCE))


def _reference(problem: Problem) -> Yardstick:
    """The stored plan's latency where there is one."""
    row = _stored(problem)
    if row is None:
        return costed(_REFERENCE, lambda problem: problem.baselines[_REFERENCE](), _SOURCE)(problem)
    value = float(np.float32(int(row["reference_ticks"])) * problem.params.tick_s)
    plan = tuple(int(action) for action in row["reference_plan"])
    return Yardstick(
        _REFERENCE, value, _SOURCE, plan if problem.space is not KNOB_SPACE else KNOB_SETTINGS.design(_REFERENCE)
    )


def _bound(discrete: DiscreteProgram, problem: Problem) -> Yardstick:
    """The stored one where there is one, or the one kept beside the user's program; else the linear relaxation's."""
    row = _stored(problem)
    if row is not None:
        name = "optimum" if row["proven"] == "yes" else "bound"
        return Yardstick(name, float(row["bound_ticks"]) * discrete.tick_s, f"{row['method']}: dsegym bound --store")
    kept = own_bounds.kept_row(problem, stored.INSTANCE)
    if kept is not None:
        return _kept_bound(discrete, problem, kept)
    try:
        value, how = lower_bound(discrete, method="linear").value_ticks, "linear relaxation"
    except ImportError:
        value, how = discrete.all_fast_ticks, "every access fast, no copies (OR-Tools would give a better one)"
    remedy = "computes a higher one, and the optimum of small programs"
    return Yardstick("bound", float(value) * discrete.tick_s, how, remedy=remedy)


def _kept_bound(discrete: DiscreteProgram, problem: Problem, row: Mapping[str, str]) -> Yardstick:
    """A bound that was kept beside the user's program; the plan that it names is played."""

    def numbers() -> tuple[int, int, np.ndarray]:
        return int(row["bound_ticks"]), int(row["best_ticks"]), np.array([int(digit) for digit in row["best_plan"]])

    limit, best, plan = own_bounds.parsed(problem, numbers)
    whole = len(plan) == len(discrete.program.accesses) and set(plan.tolist()) <= set(range(len(simulator.ACTIONS)))
    played = game.latency_ticks(discrete, plan.astype(np.int32)) if whole else None
    proven = row.get("proven") == "yes"
    holds = played == best >= limit > 0 and (limit == best or not proven)
    own_bounds.require(problem, holds, f"the kept plan takes {played} ticks, not {best} with a bound of {limit}")
    name = "optimum" if proven else "bound"
    return Yardstick(name, float(limit) * discrete.tick_s, f"{row.get('method', '')}: {own_bounds.KEPT}")


def _plan_maker(name: str, discrete: DiscreteProgram) -> Callable[[], Sequence[int]]:
    return functools.cache(lambda: tuple(heuristic_plan(name, discrete).tolist()))


def build(options: MappingOptions) -> Problem:
    """An instance."""
    discrete = discrete_of(options)
    common = functools.partial(
        Problem,
        instance=options,
        objective=OBJECTIVE,
        params=game.params_of(discrete),
        reference_rule=_reference,
        bound_rule=functools.partial(_bound, discrete),
        batch_sizes=BATCH_SIZES,
        notes=NOTES,
    )
    if options.space == "plan":
        space = _plan_space(discrete)
        return common(
            space=space,
            cost=cost_of_plan,
            forms={
                "sequential": lambda problem: MemoryMapping(len(space)),
                "image": lambda problem: MemoryMapping(len(space), with_image=True),
            },
            breakdown=lambda values: break_down(discrete, space.encode(values)),
            baselines={name: _plan_maker(name, discrete) for name in HEURISTICS},
            diagram=functools.partial(draw, discrete),
        )
    return common(
        space=KNOB_SPACE,
        cost=cost_of_knobs,
        forms=ONE_SHOT_FORMS,
        baselines=KNOB_SETTINGS.makers,
        diagram=lambda design: draw(discrete, _plan_of_knobs(discrete, design)),
    )


def _plan_of_knobs(discrete: DiscreteProgram, design: np.ndarray) -> np.ndarray:
    return msa_like(discrete, msa.Knobs(*(float(value) for value in KNOB_SPACE.decode(design).values())))


def _core() -> Sequence[Mapping[str, object]]:
    return [  # every program at every tier on the TPU v4i; and on an int8 accelerator, the networks made for such
        {"program": program, "platform": platform, "capacity": tier}
        for platform, programs in (("tpu_v4i", program_names()), ("ethos_u85_high", _EDGE_PROGRAMS))
        for program in programs
        for tier in TIERS
    ]


def _bounds(options: MappingOptions, progress: Callable[[int, int], None]) -> Sequence[Mapping[str, object]]:
    """One row: the instance, its bound, then `bounds/stored.py:bound_row`."""
    discrete = discrete_of(options)
    row = stored.bound_row(discrete, progress)
    kind = "optimum" if row["proven"] == "yes" else "bound"
    known = {"value": float(row["bound_ticks"]) * discrete.tick_s, "unit": OBJECTIVE.unit, "kind": kind}
    return [texts(options) | known | row]


SCENARIO = Scenario(
    summary="Serve each access of a machine-learning program from fast or slow memory, for the least latency.",
    options_type=MappingOptions,
    build=build,
    core=_core,
    facts=lambda: (("Programs", program_rows()), ("The zoo", zoo_rows()), ("Platforms", platform_rows())),
    bounds=_bounds,
    stored_bounds=f"costmodels/{stored.TABLE}",
)
