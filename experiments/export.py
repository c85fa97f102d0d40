"""Data sets: every sample of a results directory as one Parquet table, whatever its scenarios.

A row is a sample. Columns that differ between scenarios (options, hyperparameters, the design's values, metrics) are
JSON objects as text, so that one schema holds all scenarios and every library reads it. Metrics are not stored with
trials: designs are costed anew, and what does not come out as the trial says ends the export.
"""

from __future__ import annotations

import functools
import json
import os
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..costmodels.errors import CorruptResultError, DsegymError
from ..envs.core.scenarios import make_problem
from .batches import stored_trials
from .door import check_allowed, check_writable
from .kept_files import checked_options
from .layout import trial_directory
from .store import TrialResult
from .suite_note import read_suite
from .verify import RELATIVE_TOLERANCE

if TYPE_CHECKING:
    import polars

    from ..envs.core.problem import Problem

__all__ = ["SCHEMA", "export_samples"]

# {column: polars' dtype}; objectives in the objective's unit.
SCHEMA: Mapping[str, str] = {
    "trial_id": "String",
    "scenario": "String",
    "options": "String",  # of the instance, JSON
    "agent": "String",
    "hyperparameters": "String",  # JSON
    "draw": "Int64",  # of hyperparameters; null where they were given
    "seed": "Int64",
    "budget": "Int64",  # samples allowed
    "status": "String",  # of the trial
    "sample": "Int32",  # from 1
    "design": "List(Int32)",  # indices into the parameters' values
    "decoded": "String",  # {parameter: value}, JSON
    "metrics": "String",  # {metric, its unit in its name: number, or list of numbers; null where not finite}, JSON
    "objective_name": "String",
    "objective_unit": "String",
    "objective": "Float64",
    "feasible": "Boolean",
    "held_out": "Float64",  # of samples that were the best so far, on held-out cases; null elsewhere
    "elapsed_s": "Float64",
    "reference": "Float64",
    "bound": "Float64",
    "bound_kind": "String",
}
_PART_ROWS = 50_000  # of a table in memory, and of a row group
_BLOCK = 4096  # designs that are costed at once


def export_samples(
    results: str | Path,
    output: str | Path,
    *,
    allow: Collection[str] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Writes every sample of a directory's trials into one Parquet file, which appears whole or not at all.

    Args:
        results: the directory.
        output: the file; one that is there is replaced.
        allow: packages beside this one that may be imported, where trials name them.
        progress: called with how many trials are done, and how many there are.

    Returns:
        The number of samples.

    Raises:
        DsegymError: the name is not that of a Parquet file; there are no trials; a trial is damaged, is of a package
            that is not allowed, or says of a design what it does not cost.
        OSError: the file cannot be written; one that was there before stays.
    """
    import polars

    results, output = Path(results), Path(output)
    if output.suffix != ".parquet":
        raise DsegymError(f"'{output}' is not the name of a Parquet file; it ends in .parquet.")
    identifiers = read_suite(results)["trials"]
    check_writable(output)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}-", dir=output.absolute().parent) as folder:
        parts, waiting, rows, done = [], [], 0, 0

        def write() -> None:
            parts.append(Path(folder) / f"part-{len(parts):06d}.parquet")
            polars.concat(waiting).write_parquet(parts[-1])
            waiting.clear()

        costed = _Costs(results, allow)
        for _, found in stored_trials(results, identifiers):
            if isinstance(found, CorruptResultError):
                raise found
            for table in _tables(found, costed):
                waiting.append(table)
                rows += table.height
                if sum(each.height for each in waiting) >= _PART_ROWS:
                    write()
            done += 1
            progress(done, len(identifiers))
        if not done:
            raise DsegymError(f"'{results}' holds no finished trial yet.")
        if waiting or not parts:
            waiting = waiting or [polars.DataFrame(schema=_dtypes())]
            write()
        whole = Path(folder) / "whole.parquet"
        polars.scan_parquet(parts).sink_parquet(whole, row_group_size=_PART_ROWS)
        os.chmod(whole, 0o666 & ~_umask())
        whole.replace(output)
    return rows


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _dtypes() -> dict[str, Any]:
    """The schema as polars has it."""
    import polars

    known = {"List(Int32)": polars.List(polars.Int32)}
    return {name: known.get(kind) or getattr(polars, kind) for name, kind in SCHEMA.items()}


class _Costs:
    """The problems of a directory's trials, of which the last few are kept."""

    def __init__(self, results: Path, allow: Collection[str]):
        self.results, self.allow = results, allow
        self._made = functools.lru_cache(maxsize=8)(self._make)

    def problem(self, manifest: Mapping[str, Any]) -> Problem:
        """The instance of a trial."""
        spec = manifest["trial"]["instance"]
        check_allowed(spec["scenario"], self.allow)
        directory = trial_directory(self.results, manifest["trial_id"])
        return self._made(spec["scenario"], tuple(checked_options(directory, **spec).items()))

    def _make(self, scenario: str, options: tuple[tuple[str, str], ...]) -> Problem:
        return make_problem(scenario, **dict(options))


def _tables(trial: TrialResult, costs: _Costs) -> Iterator[polars.DataFrame]:
    """The rows of a trial, some thousands at a time."""
    import polars

    manifest, trace, dtypes = trial.manifest, trial.trace, _dtypes()
    if not trace.height:
        return
    problem, spec = costs.problem(manifest), manifest["trial"]
    same = {
        "trial_id": manifest["trial_id"],
        "scenario": spec["instance"]["scenario"],
        "options": _json(spec["instance"]["options"]),
        "agent": spec["agent"]["name"],
        "hyperparameters": _json(spec["agent"]["hyperparameters"]),
        "draw": spec["agent"]["draw"],
        "seed": spec["seed"],
        "budget": spec["samples"],
        "status": manifest["status"],
        "objective_name": manifest["objective"]["name"],
        "objective_unit": manifest["objective"]["unit"],
        "reference": manifest["reference"]["value"],
        "bound": manifest["bound"]["value"],
        "bound_kind": manifest["bound"]["kind"],
    }
    for start in range(0, trace.height, _BLOCK):
        rows = trace.slice(start, _BLOCK)
        designs = np.array(rows["design"].to_list(), np.int32)
        found = problem.evaluate(designs)
        wrong = ~np.isclose(rows["objective"].to_numpy(), found.objective, rtol=RELATIVE_TOLERANCE, atol=0.0)
        if wrong.any():
            place = int(wrong.argmax())
            claimed, costs_now = rows["objective"][place], found.objective[place]
            raise CorruptResultError(
                f"trial {manifest['trial_id']}: sample {start + place + 1} claims {claimed:.9g}, but its design costs "
                f"{costs_now:.9g}; `dsegym verify` says more."
            )
        yield rows.with_columns(
            *(polars.lit(value, dtypes[name]).alias(name) for name, value in same.items()),
            polars.Series("decoded", [_json(each) for each in problem.space.decode_batch(designs)]),
            polars.Series("metrics", _metrics(found.metrics, len(designs))),
            *([] if "held_out" in rows.columns else [polars.lit(None, polars.Float64).alias("held_out")]),
        ).select(SCHEMA.keys())


def _metrics(metrics: Any, count: int) -> list[str]:
    """The metrics of each design, JSON: of numbers that are not finite, null."""
    columns = {}
    for name in metrics._fields:
        values = np.asarray(getattr(metrics, name))
        plain = values.astype(object)
        plain[~np.isfinite(values)] = None
        columns[name] = plain.tolist()
    return [_json({name: column[row] for name, column in columns.items()}) for row in range(count)]


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
