"""What a leaderboard says, as records; every field is a plain value, so that JSON holds it as it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "BestDesign",
    "BestOfAll",
    "Curve",
    "Draw",
    "Failure",
    "FrontScore",
    "FrontTable",
    "Improvement",
    "Instance",
    "InstanceScore",
    "Leaderboard",
    "LeftOut",
    "Lottery",
    "PolicyRow",
    "PolicyTable",
    "Row",
    "TimingRow",
    "Timings",
    "Yardstick",
]


@dataclass(frozen=True)
class Yardstick:
    """The reference or the bound of an instance."""

    name: str  # the baseline's name, or the kind of bound: "optimum", "bound", "best known"
    value: float  # in the objective's unit
    source: str


@dataclass(frozen=True)
class InstanceScore:
    """How one entrant did on one instance."""

    agent: str
    trials: int
    mean_score: float
    best_value: float | None  # of the best design, objective's unit; None where no trial found a feasible design
    gap_percent: float | None  # of this value to the bound


@dataclass(frozen=True)
class BestDesign:
    """The best design that any trial found for an instance, by the objective that the searches saw."""

    agent: str
    draw: int | None
    seed: int
    trial_id: str
    sample: int  # the sample that found it, from 1
    value: float  # objective's unit; on the held-out cases where there are any
    score: float
    gap_percent: float | None  # None: the bound is 0
    design: tuple[int, ...]  # indices into the parameters' value lists
    decoded: dict[str, Any]  # parameter to value, in words with its unit


@dataclass(frozen=True)
class Instance:
    """One instance: what it is, its yardsticks, and what everyone achieved."""

    name: str  # short, unique within this leaderboard
    scenario: str
    options: dict[str, Any]  # a user's file by its name
    objective: str
    unit: str
    reference: Yardstick
    bound: Yardstick
    scores: tuple[InstanceScore, ...]  # in the ranking's order
    best: BestDesign | None  # of all agents; None where nobody found a feasible design
    loose: str = ""  # why a gap to the bound is no gap to the optimum, in words; empty where it is one
    files: dict[str, str] = field(default_factory=dict)  # option to the place where the results keep the user's file


@dataclass(frozen=True)
class Row:
    """One line of the ranking."""

    rank: int  # from 1; equal scores share a rank
    agent: str
    drawn: bool  # ranked on drawn hyperparameters, for want of fixed ones
    trials: int
    score: float  # interquartile mean over instances and seeds
    low: float | None  # ends of its 95 % stratified bootstrap interval; None where each instance has one seed
    high: float | None
    with_reference: float  # the same mean with the better of the reference and the agent in every trial
    # Of trials on instances whose optimum is known, and of those whose bound is loose. None: there are none, or half of
    # them or more found nothing feasible.
    median_gap_percent: float | None
    median_loose_gap_percent: float | None
    reached: int  # trials whose best value is the bound
    samples_to_near: int | None  # median samples to within 1 % of the bound; None: fewer than half got there
    finished: int
    failed: int
    timed_out: int


@dataclass(frozen=True)
class BestOfAll:
    """The best of all agents on each instance, scored as if one agent had found it all."""

    score: float  # interquartile mean over instances
    with_reference: float  # the same with the reference where that is better
    median_gap_percent: float | None  # these two as of a `Row`
    median_loose_gap_percent: float | None
    reached: int
    instances: int


@dataclass(frozen=True)
class Improvement:
    """The probability that agent `x` scores higher than agent `y`."""

    x: str
    y: str
    probability: float
    low: float | None  # None where one of the two has one seed on each instance
    high: float | None
    instances: int  # how many both ran on


@dataclass(frozen=True)
class Draw:
    """One ticket of the hyperparameter lottery."""

    draw: int
    hyperparameters: dict[str, Any]
    trials: int
    score: float  # interquartile mean over instances and seeds


@dataclass(frozen=True)
class Lottery:
    """How much an agent's score depends on its hyperparameters."""

    agent: str
    low: float  # the lowest, median and highest of the draws' scores
    median: float
    high: float
    draws: tuple[Draw, ...]


@dataclass(frozen=True)
class Curve:
    """Interquartile mean score of the best design so far, at each point of a grid kept beside the curves.

    It may fall again where scores are taken on held-out cases: what looked best there was not.
    """

    agent: str
    instance: str | None  # None: over all instances
    score: tuple[float, ...]  # [G]
    low: tuple[float, ...] | None  # [G], ends of the 95 % bootstrap interval; None of one seed each, or of many curves
    high: tuple[float, ...] | None  # [G]


@dataclass(frozen=True)
class Failure:
    """A trial that did not finish."""

    agent: str
    draw: int | None
    instance: str
    seed: int
    status: str  # "failed" or "timed_out"
    trial_id: str


@dataclass(frozen=True)
class LeftOut:
    """An instance that is in no ranking, as no result on it can be scored."""

    instance: str
    reason: str
    trials: int  # that were run on it all the same


@dataclass(frozen=True)
class PolicyRow:
    """One line of a table of policies and rules."""

    entrant: str
    role: str  # "policy", "rule", "rules" (the best of all), "reference" or "bound"
    kind: str  # of a policy: how it was used, in words
    policies: int  # of one training, that differ in their seed
    score: float  # interquartile mean over instances and seeds
    low: float | None  # ends of its 95 % bootstrap interval over instances; None where there is one
    high: float | None
    gain_percent: float  # mean over instances: how far below the reference's value
    gain_low_percent: float | None
    gain_high_percent: float | None
    median_gap_percent: float | None  # above the bound; None: the bound is 0, or half of the designs are not feasible
    infeasible: int  # designs that are not feasible, which score 0
    scores: tuple[float, ...]  # of each instance, the mean over seeds
    steps: int | None  # of the environment in training; None where nothing is known of it
    training_s: float | None
    energy_j: float | None  # of training, where it was measured


@dataclass(frozen=True)
class LearningCurve:
    """The reward of a step in training, the mean over so many updates, of policies that differ in their seed."""

    entrant: str
    seeds: int
    steps: tuple[int, ...]  # [G], of the environment
    reward: tuple[float, ...]  # [G], the mean over seeds
    low: tuple[float, ...]  # [G], of the seeds the lowest; and the highest
    high: tuple[float, ...]


@dataclass(frozen=True)
class PolicyTable:
    """Policies and rules side by side on the instances of a part of a collection."""

    scenario: str
    form: str
    collection: str
    changed: dict[str, str]  # options that are changed in every instance of the part
    split: str
    adapted: bool  # policies had several samples on each instance, of which the best counts
    instances: tuple[str, ...]  # that are scored
    left_out: tuple[tuple[str, str], ...]  # instances on which nothing can be scored, and why
    trained_on: int  # instances that a policy was trained on: its values there are no zero-shot ones
    bounds: tuple[str, ...]  # the kinds of bounds that occur
    rows: tuple[PolicyRow, ...]  # by score; the best of all rules, the reference and the bound last
    curves: tuple[LearningCurve, ...] = ()  # by entrant, of those whose training is known


@dataclass(frozen=True)
class Sensitivity:
    """What entrants are worth as one option of all instances changes."""

    scenario: str
    collection: str
    split: str
    option: str
    values: tuple[str, ...]  # [V], as the option has them, in order
    trained: tuple[str, ...]  # the values of the collection's training part; () where it is not known
    rows: tuple[SensitivityRow, ...]  # policies, the best rules, the best of all rules, the bound


@dataclass(frozen=True)
class SensitivityRow:
    """One entrant's line: the mean share by which values lie below the reference's, in percent."""

    entrant: str
    role: str  # as of `PolicyRow`
    kind: str
    gain_percent: tuple[float | None, ...]  # [V], None where it was not evaluated
    low_percent: tuple[float | None, ...]
    high_percent: tuple[float | None, ...]


@dataclass(frozen=True)
class FrontScore:
    """What one entrant's trials attain of a front."""

    agent: str
    trials: int  # with every objective
    seeds: tuple[int, ...]  # of the trials, ascending
    relative_hypervolume: float | None  # mean over the trials, relative to the front's; None where that has none
    relative_hypervolume_low: float | None  # ends of its 95 % bootstrap interval over the trials; None of one trial
    relative_hypervolume_high: float | None
    # Of the front's points the share that so many of the trials attain, with a design at least as good in every cost;
    # the last, to which half come near. None where the front is empty.
    attained_by_some: float | None
    attained_by_half: float | None
    attained_by_all: float | None
    near_by_half: float | None


@dataclass(frozen=True)
class FrontTable:
    """Hypervolume and attainment on an instance of several costs, or on several that differ in their objective only."""

    name: str  # the scenario, and its options that are not defaults, but the objective
    scenario: str
    options: dict[str, Any]  # without the objective; a user's file by its name
    kind: str  # of the front: "proven" (every design of the space was costed) or "best known" (of all trials)
    designs: int  # on the front
    hypervolume: float  # the share of the box between zero and the reference point that the front dominates
    reference_point: dict[str, float]  # cost to the point's value, unit in the name
    reference: str  # the baseline whose costs, times the next field, are the reference point
    reference_point_per_reference: float
    near_relative: float  # how much every cost may be above a point's that is near
    scores: tuple[FrontScore, ...]  # the largest hypervolume first


@dataclass(frozen=True)
class Leaderboard:
    """All that the seeds determine."""

    rows: tuple[Row, ...]  # by score, then by name
    best_of_all: BestOfAll
    instances: tuple[Instance, ...]  # by name
    improvement: tuple[Improvement, ...]  # all ordered pairs that share an instance
    lottery: tuple[Lottery, ...]  # by agent
    sample_grid: tuple[int, ...]  # [G]
    curves: tuple[Curve, ...]
    failures: tuple[Failure, ...]
    left_out: tuple[LeftOut, ...]  # by name
    trials: int  # that are ranked
    budgets: tuple[int, ...]  # the sample budgets that occur
    versions: dict[str, tuple[str, ...]]  # package to the versions that occur
    notes: tuple[str, ...]  # how to read the numbers, and what to beware of
    policies: tuple[PolicyTable, ...] = ()  # zero-shot ones first
    sensitivity: tuple[Sensitivity, ...] = ()
    fronts: tuple[FrontTable, ...] = ()  # by instance; of those that could be costed anew

    @property
    def gap_columns(self) -> dict[str, str]:
        """{field of rows and of the best of all: heading}: gaps to optima and to loose bounds share no column."""
        loose = [bool(instance.loose) for instance in self.instances]
        exact = {} if loose and all(loose) else {"median_gap_percent": "Median gap"}
        return {**exact, **({"median_loose_gap_percent": "Gap to loose bounds"} if any(loose) else {})}


@dataclass(frozen=True)
class TimingRow:
    """Median seconds of one entrant's trials, by who spent them, and joules."""

    agent: str
    trials: int
    agent_s: float
    cost_model_s: float
    overhead_s: float
    total_s: float
    machine_j: float | None  # J of the whole machine while a trial ran, of trials that know it; None: none does


@dataclass(frozen=True)
class Timings:
    """All that the clock determines: different on every run and machine."""

    rows: tuple[TimingRow, ...]  # by agent
    seconds_grid: tuple[float, ...]  # [G]
    curves: tuple[Curve, ...]  # over all instances
