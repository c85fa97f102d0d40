"""dsegym/AcceleratorTemplate-v0: the knobs of ArchGym's TimeloopGym on an Eyeriss-like template, for convolutions.

| parameter | values |
|---|---|
| elements, mesh_x | 14 to 336 processing elements; 2, 7 or 14 of them side by side |
| ifmap, weights, psum: _class, _depth, _block, _read, _write | the three memories of an element |
| dummy: _class, _depth, _block | a memory that ArchGym's template has for each column, of no use |
| buffer: _class, _depth, _banks, _block, _read, _write | the shared one |

2.1e18 designs. Cost model: `costmodels/accelerator/template.py`. Objectives, all minimised: `target`, the mean excess
over ArchGym's targets (energy -30 %, area -15 %, latency -20 % of the unmodified design's, as this model costs it) plus
a slope that goes on rewarding beyond them, so that it has no pole and no floor; `latency`, `energy`, `edp`. A design
with no room for a mapping of some layer is not feasible.

Observation, action and reward of both forms: `core/one_shot.py`.

    >>> import gymnasium, dsegym
    >>> env = gymnasium.make("dsegym/AcceleratorTemplate-v0", workload="alexnet")
    >>> observation, info = env.reset(seed=0)
    >>> observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
    >>> terminated, sorted(info)
    (True, ['design', 'feasible', 'objective'])
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ...costmodels.accelerator import template
from ...costmodels.accelerator.sizing import OBJECTIVES, TARGET_SHARES, objective_values
from ...costmodels.accelerator.workloads import get_workload, workload_names
from ...costmodels.arrays import Array
from ...costmodels.breakdown import Breakdown
from ...costmodels.errors import InvalidWorkloadError
from ...costmodels.files import is_path
from ...costmodels.tables import package_rows
from ..core.evaluation import Evaluation, Objective, Yardstick
from ..core.one_shot import one_shot_problem
from ..core.options import Options, choice, file_or_name
from ..core.problem import Problem
from ..core.scenarios import Scenario
from ..core.spaces import DesignSpace, Parameter

__all__ = ["SCENARIO", "SPACE", "TemplateOptions"]

INFEASIBLE_FACTOR = 1e6  # above the largest feasible objective over the reference's
_FRONT = ("latency_s", "energy_j", "area_mm2")
_UNITS = {"elements": "processing elements", "mesh_x": "processing elements"}
_ENDS = {"_depth": "words", "_read": "words/cycle", "_write": "words/cycle", "_block": "words"}
NOTES = (
    "Every cost is modelled: Eyeriss's relative energies, Aladdin's registers and counters; what ports, blocks and "
    "banks cost is synthetic. Nothing is compared with Timeloop, whose mapper ArchGym runs.",
    "Each layer has the best of a fixed list of row-stationary mappings, one image at once.",
    "The clock (1 GHz) is an assumption.",
)


def _unit(name: str) -> str:
    if name == "buffer_depth":
        return "rows of 4 words"
    return _UNITS.get(name) or next((unit for end, unit in _ENDS.items() if name.endswith(end)), "")


SPACE = DesignSpace(
    tuple(Parameter(name, values, _unit(name), not name.endswith("_class")) for name, values in template.VALUES.items())
)
# ArchGym's design with spads of the next powers of two.
REFERENCE = {**template.BASELINE, "ifmap_depth": 16, "weights_depth": 256}


@dataclass(frozen=True)
class TemplateOptions(Options):
    """What tells instances apart."""

    workload: str = file_or_name(
        "alexnet",
        lambda: tuple(name for name in workload_names() if _has_convolutions(name)),
        is_path,
        "the path of a table of layers or a SCALE-Sim topology (docs/files.md)",
        "a shipped network, or the path of a table of layers; its convolutions count",
        reads="workload",
    )
    objective: str = choice("target", ("target", "latency", "energy", "edp"), "what to minimise")


def _has_convolutions(name: str) -> bool:
    return any(layer.kind == "conv" for layer in get_workload(name).layers)


class Params(NamedTuple):
    """What tells instances apart, all traced."""

    layers: template.Layers
    objective: Array  # int32, index into OBJECTIVES
    targets: Array  # float32[3]: J, mm2, s
    reference_value: Array  # float32, in the objective's unit


def cost(design: Array, params: Params) -> Evaluation:
    """Costs of one design, int32[26]. A module-level function: the same object for every instance."""
    metrics = template.evaluate(SPACE.values(design), params.layers)
    feasible = metrics.unmapped <= 0.0
    value = objective_values(metrics, params.targets)[params.objective]
    penalty = params.reference_value * INFEASIBLE_FACTOR * (1.0 + metrics.unmapped)
    return Evaluation(metrics, jnp.where(feasible, value, penalty), feasible, metrics.unmapped, value)


_evaluate = jax.jit(template.evaluate)
_choose = jax.jit(template.choose)


def _break_down(layers: template.Layers, values: Mapping[str, object]) -> Breakdown:
    knobs = template.indexed(SPACE.decode(SPACE.encode(values)))
    metrics, chosen = jax.device_get((_evaluate(knobs, layers), _choose(knobs, layers)))
    rows = []
    for at, shape in enumerate(np.asarray(layers.shapes).tolist()):
        h, e, p, q, _ = np.asarray(layers.candidates)[at, chosen.place[at]].tolist()
        rows.append(
            {
                "layer": "{}x{} {}->{} {}x{}".format(*shape[:2], *shape[4:6], *shape[2:4]),
                "occurrences": int(layers.occurrences[at]),
                "cycles": float(chosen.cycles[at]),
                "energy_j": float(chosen.energy_pj[at]) * 1e-12,
                "dram_words": float(chosen.dram_words[at]),
                "mapping": f"rows {h}, strip {e}, filters {p}, channels {q}" if chosen.fits[at] else "none fits",
            }
        )
    return Breakdown({name: float(value) for name, value in metrics._asdict().items()}, rows, NOTES)


def _bound(params: Params, objective: str) -> Yardstick:
    value = OBJECTIVES[objective].value(template.floor(params.layers), np.asarray(params.targets))
    return Yardstick("bound", float(value) * (1 - 1e-5), "compulsory work and traffic, the least of every memory")


def build(options: TemplateOptions) -> Problem:
    """An instance.

    Raises:
        InvalidWorkloadError: the network has no convolution, or one with dilation.
    """
    layers = template.layers_of(get_workload(options.workload))
    baseline = jax.device_get(_evaluate(template.indexed(template.BASELINE), layers))
    reference = jax.device_get(_evaluate(template.indexed(REFERENCE), layers))
    if baseline.unmapped or reference.unmapped:
        raise InvalidWorkloadError(f"'{options.workload}': the unmodified template has no room for some layer.")
    targets = np.array([share * getattr(baseline, name) for name, share in TARGET_SHARES.items()], np.float32)
    params = Params(
        layers=layers,
        objective=np.asarray(tuple(OBJECTIVES).index(options.objective), np.int32),
        targets=targets,
        reference_value=np.asarray(OBJECTIVES[options.objective].value(reference, targets), np.float32),
    )
    goal = OBJECTIVES[options.objective]
    return one_shot_problem(
        options=options,
        space=SPACE,
        objective=Objective(options.objective, goal.unit, goal.summary),
        cost=cost,
        params=params,
        reference=(
            "archgym-baseline",
            REFERENCE,
            "ArchGym's unmodified design, spads of 16 and 256 words for 12 and 192",
        ),
        bound=lambda problem: _bound(params, options.objective),
        breakdown=functools.partial(_break_down, layers),
        batch_sizes=(1, 128, 1024),
        notes=NOTES,
        front=_FRONT,
    )


def _core() -> Sequence[Mapping[str, object]]:
    return [
        {"workload": workload, "objective": objective}
        for workload in ("alexnet", "resnet18", "resnet50", "vgg16", "mobilenet_v2")
        for objective in ("target", "latency", "energy", "edp")
    ]


def _facts() -> Sequence[tuple[str, Sequence[Mapping[str, object]]]]:
    baseline: Sequence[Mapping[str, object]] = [{"knob": k, "value": v} for k, v in template.BASELINE.items()]
    return (("ArchGym's unmodified design", baseline), ("Constants", package_rows("accelerator/template.csv")))


SCENARIO = Scenario(
    summary="Size an Eyeriss-like template by ArchGym's 26 knobs (elements, their memories, the shared buffer).",
    options_type=TemplateOptions,
    build=build,
    core=_core,
    facts=_facts,
)
