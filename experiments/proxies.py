"""Proxies of a scenario's objective from stored samples, and what they are worth by whose samples they learned from.

ArchGym's abstract reports a proxy of a simulator with an RMSE of 0.61 %, and does not say of what that is a share. Here
the **relative RMSE** is the root of the mean square of `said / true - 1`, over feasible designs that the proxy has not
seen. What is compared is trained on equally many different designs: one agent's, or an equal share of each agent's.

Every sample is costed anew before anything learns from it.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..agents.proxies.base import LEAST_SAMPLES, Data, Prediction, Proxy, data_of, load_model, log_objective_of
from ..costmodels.errors import CorruptResultError, DsegymError, shortened
from ..envs.core.scenarios import load_scenario, make_problem
from .door import LONGEST, read_file
from .export import SCHEMA, export_samples
from .parquet_tables import read_table
from .scoring.statistics import stratified_bootstrap
from .verify import RELATIVE_TOLERANCE

if TYPE_CHECKING:
    import polars

    from ..envs.core.problem import Problem

__all__ = [
    "ALL",
    "DESIGNS",
    "MANY",
    "MEAN",
    "ONE",
    "TRIALS",
    "UNIFORM",
    "Quality",
    "Samples",
    "Worth",
    "fitted",
    "quality",
    "read_samples",
    "worth",
]

TRIALS, DESIGNS = "held-out trials", "held-out designs"  # where tests come from: all agents' in equal parts
UNIFORM = "uniform designs"  # the other test: designs drawn from the whole space
_BLOCK = 4096  # designs that are costed at once
_MOST_ROWS, _MOST_BYTES = 5_000_000, 2**31  # of a table
_UNIFORM = 2000  # designs of that test
_FEWEST = 50  # different designs that an agent's training needs, to be compared
_HELD_OUT = 0.2  # the share of an agent's designs, where whole trials cannot be held out
_COLUMNS = ("trial_id", "scenario", "options", "agent", "design", "objective", "feasible")
ONE, MANY, ALL = "one agent", "all agents", "all agents, all samples"
MEAN = "the mean of these alone"  # what no proxy must be worse than


class Samples(NamedTuple):
    """The samples of one instance, each costed anew; S samples."""

    problem: Problem
    data: Data  # of all samples, S rows
    agent: np.ndarray  # str[S]
    trial: np.ndarray  # str[S]
    digest: str  # SHA-256 of the table; of the one that would be exported, where a results directory was given


class Quality(NamedTuple):
    """How well a proxy says what designs cost; None where fewer than `LEAST_SAMPLES` of the designs are feasible."""

    rmse_percent: float | None  # relative, of the feasible designs
    spearman: float | None  # rank correlation, of the feasible designs
    right: float  # share of all designs whose feasibility it says


class Worth(NamedTuple):
    """A row of the report: means over splits, with their 95 % bootstrap intervals, (mean, low, high)."""

    learned_from: str  # an agent's name, or `ONE`, `MANY`, `ALL`, `MEAN`
    designs: int  # different ones that it learned from, the mean over splits
    test: str  # `TRIALS` or `DESIGNS`, and `UNIFORM`
    rmse_percent: tuple[float, float, float] | None
    spearman: tuple[float, float, float] | None
    right: tuple[float, float, float]


# Samples ---------------------------------------------------------------------------------------------------------


def read_samples(
    source: str | Path, scenario: str, options: Mapping[str, str] | None = None, *, allow: Collection[str] = ()
) -> Samples:
    """The samples of one instance.

    Args:
        source: a table that `dsegym export` wrote, or a results directory.
        scenario: the scenario's id.
        options: those that tell the instance from the others of the scenario in there.
        allow: packages beside this one that may be imported where trials of the directory name them.

    Raises:
        UnknownNameError: there is no such scenario or option.
        DsegymError: there are no samples of such an instance, or of several; a table is damaged, or says of a design
            what it does not cost.
    """
    declared, given = load_scenario(scenario).options, dict(options or {})
    for name in given:
        if name not in declared:
            make_problem(scenario, **given)  # says so
    table, digest = _table(Path(source), allow)
    instance = _instance(source, scenario, given, table)
    problem = make_problem(scenario, **json.loads(instance))
    table = table.filter((table["scenario"] == scenario) & (table["options"] == instance))
    try:
        designs = problem.space.check(table["design"].to_list())
    except DsegymError as error:
        raise CorruptResultError(f"{source}: {error}") from None
    data = _costed(source, problem, designs, table)
    known = ~np.isnan(data.log_objective)
    return Samples(
        problem, data.at(known), table["agent"].to_numpy()[known], table["trial_id"].to_numpy()[known], digest
    )


def _table(source: Path, allow: Collection[str]) -> tuple[polars.DataFrame, str]:
    """The table and its SHA-256."""
    if source.is_dir():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "samples.parquet"
            export_samples(source, path, allow=allow)
            return _read(path)
    if not source.exists():
        raise DsegymError(f"'{shortened(source, LONGEST)}' is neither a table of samples nor a results directory.")
    return _read(source)


def _read(path: Path) -> tuple[polars.DataFrame, str]:
    def wrong(rows: int) -> str:
        return "" if rows <= _MOST_ROWS else f"{rows:,} samples, where {_MOST_ROWS:,} are the most that a proxy takes"

    path = path.resolve()  # a link to a table is the user's own
    content = read_file(path, path.parent, _MOST_BYTES)
    table = read_table(path, content, (SCHEMA,), wrong, only=_COLUMNS)
    if any(table[name].null_count() for name in _COLUMNS):
        raise CorruptResultError(f"{path}: a sample lacks its design, its cost or where it is from.")
    return table, hashlib.sha256(content).hexdigest()


def _instance(source: Any, scenario: str, given: Mapping[str, str], table: polars.DataFrame) -> str:
    """The options, as the table has them, of the one instance that is meant."""
    every = sorted(table.filter(table["scenario"] == scenario)["options"].unique().to_list())
    if not every:
        there = ", ".join(sorted(table["scenario"].unique().to_list())) or "none"
        raise DsegymError(f"'{source}' holds no samples of {scenario}; there are: {shortened(there, LONGEST)}.")
    try:
        found = [text for text in every if _fits(json.loads(text), given)]
    except (ValueError, AttributeError):
        raise CorruptResultError(f"{source}: the options of an instance are no JSON object.") from None
    if len(found) != 1:
        words = "; ".join(", ".join(f"{k}={v}" for k, v in json.loads(text).items()) for text in found or every)
        count = f"{len(found)} instances" if found else "no instance"
        raise DsegymError(
            f"'{source}' holds {count} of {scenario} with these options, and a proxy is of one: say which by --option; "
            f"there are: {words:.500}."
        )
    return found[0]


def _fits(options: Mapping[str, object], given: Mapping[str, str]) -> bool:
    return all(str(options.get(name)) == str(value) for name, value in given.items())


def _costed(source: Any, problem: Problem, designs: np.ndarray, table: polars.DataFrame) -> Data:
    """What the samples teach, NaN where a design has no number; compared with what the table claims."""
    claims, feasible = table["objective"].to_numpy(), table["feasible"].to_numpy()
    parts = []
    for start in range(0, len(designs), _BLOCK):
        block = slice(start, start + _BLOCK)
        found = problem.evaluate(designs[block])
        same = np.isclose(claims[block], found.objective, rtol=RELATIVE_TOLERANCE, atol=0.0, equal_nan=True)
        same &= feasible[block] == np.asarray(found.feasible)
        if not same.all():
            place = int(np.argmin(same))
            raise CorruptResultError(
                f"{source}: a sample of trial {table['trial_id'][start + place]} claims "
                f"{claims[start + place]:.9g}, but its design costs {float(found.objective[place]):.9g}."
            )
        parts.append(Data(designs[block], log_objective_of(found), np.asarray(found.feasible, bool)))
    return Data(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


# What a proxy is worth ----------------------------------------------------------------------------------------------


def quality(said: Prediction, truth: Data) -> Quality:
    """How well predictions agree with what the designs cost."""
    from scipy import stats

    right = float(((said.probability >= 0.5) == truth.feasible).mean())
    at = truth.feasible
    if at.sum() < LEAST_SAMPLES:
        return Quality(None, None, right)
    said_log, true_log = said.log_objective[at], truth.log_objective[at]
    error: np.ndarray = np.expm1(np.minimum(said_log - true_log, 300.0))
    varied = np.ptp(said_log) > 0 and np.ptp(true_log) > 0
    spearman = float(stats.spearmanr(said_log, true_log).statistic) if varied else 0.0  # pyright: ignore[reportAttributeAccessIssue]
    return Quality(100.0 * float(np.sqrt(np.mean(error**2))), spearman, right)


def worth(
    samples: Samples,
    model: str,
    *,
    splits: int = 5,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Worth]:
    """What proxies are worth on designs that they have not seen, by whose samples they learned from.

    In each split a trial of each agent is held out, or a fifth of each agent's designs where an agent has but one
    trial. What is tested is not among what is learned, whoever sampled it.

    Args:
        samples: of the instance.
        model: of `agents.proxies.base.MODELS`.
        splits: each with other tests, other training designs and another seed of the fit.
        seed: of all of it.
        progress: called with how many proxies are fitted, and how many there will be.

    Returns:
        A row for each agent, for one agent (the mean over agents), for all agents with equally many designs, for all
        agents with all their samples, and for a guess of these samples' mean; twice, once a test. With one agent, what
        compares agents is left out.

    Raises:
        UnknownNameError: there is no such model.
        DsegymError: there are too few different designs, or a library is missing.
    """
    kind, space = load_model(model), samples.problem.space
    agents = _comparable(samples)
    whole_trials = all(len(_trials(samples, agent)) > 1 for agent in agents)
    found: dict[tuple[str, str], list[tuple[int, Quality]]] = {}
    total, done = splits * (len(agents) + 1 + (len(agents) > 1)), 0
    for split in range(splits):
        generator = np.random.default_rng([seed, split])
        pools, test = _split(samples, agents, whole_trials, generator)
        uniform = space.sample(generator, _UNIFORM)
        tests = {
            TRIALS if whole_trials else DESIGNS: samples.data.at(test),
            UNIFORM: data_of(uniform, samples.problem.evaluate(uniform)),
        }
        trainings = _trainings(pools, generator)
        for name, places in trainings.items():
            proxy = kind.fit(space, samples.data.at(places), int(generator.integers(2**31)))
            for title, data in tests.items():
                found.setdefault((title, name), []).append((len(places), quality(proxy.predict(data.designs), data)))
            done += 1
            progress(done, total)
        for title, data in tests.items():
            plain = _plain(samples.data.at(trainings[ALL]), len(data.designs))
            found.setdefault((title, MEAN), []).append((len(trainings[ALL]), quality(plain, data)))
    return _rows(found, agents, seed)


def _plain(data: Data, count: int) -> Prediction:
    """The mean of what is known, whatever the design."""
    known = data.log_objective[data.feasible] if data.feasible.any() else data.log_objective
    return Prediction(np.full(count, known.mean()), np.full(count, data.feasible.mean()))


def _comparable(samples: Samples) -> list[str]:
    """The agents with enough different designs.

    Raises:
        DsegymError: there is none.
    """
    agents = [
        agent
        for agent in sorted(set(samples.agent))
        if len(np.unique(samples.data.designs[samples.agent == agent], axis=0)) >= 2 * _FEWEST
    ]
    if not agents:
        raise DsegymError(
            f"A proxy needs {2 * _FEWEST} different designs of an agent at least, half to learn from and half to be "
            "tested on; no agent has so many."
        )
    return agents


def _trials(samples: Samples, agent: str) -> list[str]:
    return sorted(set(samples.trial[samples.agent == agent]))


def _first_places(designs: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Of rows, the first of each different design, in order."""
    return places[np.sort(np.unique(designs[places], axis=0, return_index=True)[1])]


def _split(
    samples: Samples, agents: Sequence[str], whole_trials: bool, generator: np.random.Generator
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """{agent: rows that may be learned from}, and the rows of the test; no design is in both."""
    designs = samples.data.designs
    held = {}
    for agent in agents:
        own = np.flatnonzero(samples.agent == agent)
        if whole_trials:
            out = own[samples.trial[own] == generator.choice(_trials(samples, agent))]
            held[agent] = _first_places(designs, out)
        else:
            own = generator.permutation(_first_places(designs, own))
            held[agent] = own[: max(1, int(_HELD_OUT * len(own)))]
    equal = min(map(len, held.values()))
    test = np.concatenate([generator.permutation(each)[:equal] for each in held.values()])
    test = _first_places(designs, test)
    tested = {designs[place].tobytes() for place in test}
    pools = {}
    for agent in agents:
        own = np.flatnonzero(samples.agent == agent)
        if whole_trials:  # what is left of a held-out trial is not learned from either
            gone = set(samples.trial[held[agent]])
            own = own[[trial not in gone for trial in samples.trial[own]]]
        own = _first_places(designs, own)
        pools[agent] = own[[designs[place].tobytes() not in tested for place in own]]
        if len(pools[agent]) < LEAST_SAMPLES:
            raise DsegymError(
                f"Of {agent} only {len(pools[agent])} different designs are left to learn from, where "
                f"{LEAST_SAMPLES} are needed: give more samples of it, or other seeds."
            )
    return pools, test


def _trainings(pools: Mapping[str, np.ndarray], generator: np.random.Generator) -> dict[str, np.ndarray]:
    """{row of the report: places of its training data}: equally many of one agent and of all, and everything."""
    count = min(map(len, pools.values()))
    found = {agent: generator.permutation(pool)[:count] for agent, pool in pools.items()}
    if len(pools) > 1:
        shares = [len(part) for part in np.array_split(np.arange(count), len(pools))]
        mixed = [generator.permutation(pool)[:share] for pool, share in zip(pools.values(), shares, strict=True)]
        found[MANY] = np.concatenate(mixed)
    found[ALL] = np.concatenate(list(pools.values()))
    return found


def _rows(
    found: Mapping[tuple[str, str], Sequence[tuple[int, Quality]]], agents: Sequence[str], seed: int
) -> list[Worth]:
    """The report, a test after the other."""
    rows = []
    for title in dict.fromkeys(title for title, _ in found):
        of = {name: runs for (test, name), runs in found.items() if test == title}
        groups = {name: [runs] for name, runs in of.items()}
        if len(agents) > 1:
            groups = {**{name: groups[name] for name in agents}, ONE: [of[name] for name in agents], **groups}
        for name, strata in groups.items():
            designs = round(float(np.mean([count for runs in strata for count, _ in runs])))
            figures: list[Any] = [
                _estimate([[getattr(q, what) for _, q in runs] for runs in strata], seed) for what in _FIGURES
            ]
            rows.append(Worth(name, designs, title, *figures))
    return rows


_FIGURES = Quality._fields


def _estimate(strata: Sequence[Sequence[float | None]], seed: int) -> tuple[float, float, float] | None:
    """The mean over splits and its interval; None where a split has no figure."""
    if any(value is None for values in strata for value in values):
        return None
    found = stratified_bootstrap([np.array(values, float) for values in strata], np.mean, seed=seed)
    return found.value.item(), found.low.item(), found.high.item()


def fitted(samples: Samples, model: str, seed: int) -> tuple[Proxy, int]:
    """A proxy of all different designs of the samples, and how many they are.

    Raises: as `Proxy.fit`.
    """
    places = _first_places(samples.data.designs, np.arange(len(samples.data.designs)))
    return load_model(model).fit(samples.problem.space, samples.data.at(places), seed), len(places)
