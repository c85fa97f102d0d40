"""Proxies on disk: a directory that appears by one rename, and is read without running anybody's code.

PROXY/card.toml            what it is a proxy of, what it learned from, what it is worth, what its arrays are
PROXY/proxy.safetensors    of trees what they learned from, so that they grow again; of a network its weights
"""

from __future__ import annotations

import hashlib
import os
import tomllib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..agents.proxies.base import MODELS, Proxy, load_model
from ..costmodels.errors import CorruptResultError, DsegymError, shortened
from ..envs.core.problem import Problem
from ..envs.core.scenarios import make_problem
from .door import COUNT, DIGEST, LONGEST, NOT_NEGATIVE, Each, Shape, check_allowed, check_shape, finite, read_file
from .identities import versions_of
from .policy_store import arrays_from, bytes_of
from .proxies import Samples, Worth
from .toml_text import toml_key, toml_text
from .whole_folders import write_folder

__all__ = ["CARD", "StoredProxy", "card_of", "check_place", "load_proxy", "read_card", "save_proxy"]

FORMAT = 1
CARD = "card.toml"
ARRAYS = "proxy.safetensors"
_MOST_CARD_BYTES, _MOST_ARRAYS_BYTES = 2**22, 2**28
_INTERVAL: Shape = Each(list, finite)
_ROW: Shape = {
    "learned_from": str,
    "designs": COUNT,
    "test": str,
    "rmse_percent?": _INTERVAL,
    "spearman?": _INTERVAL,
    "right": _INTERVAL,
}
_CARD: Mapping[str, Shape] = {
    "format": int,
    "scenario": str,
    "model": str,
    "seed": COUNT,
    "splits": COUNT,
    "report": Each(list, _ROW),
    "options": Each(dict, str),
    "objective": {"name": str, "unit": str},
    "samples": {"sha256": DIGEST, "rows": COUNT, "trials": COUNT, "designs": COUNT, "feasible": NOT_NEGATIVE},
    "agents": Each(dict, COUNT),
    "versions": Each(dict, str),
    "files": {ARRAYS: DIGEST},
}


class StoredProxy(NamedTuple):
    """A proxy with what it is of."""

    proxy: Proxy
    problem: Problem  # the instance, whose cost model says what is true
    card: Mapping[str, Any]


def card_of(
    samples: Samples, model: str, designs: int, report: Sequence[Worth], *, seed: int, splits: int
) -> dict[str, Any]:
    """What a proxy's card says, but for its files.

    Args:
        samples: that it learned from.
        model: of `MODELS`.
        designs: different ones among them.
        report: of `worth`.
        seed: of the fit and of the report.
        splits: of the report.
    """
    problem, libraries = samples.problem, load_model(model).libraries
    rows = [{key: value for key, value in row._asdict().items() if value is not None} for row in report]
    return {
        "format": FORMAT,
        "scenario": problem.scenario,
        "model": model,
        "seed": seed,
        "splits": splits,
        "report": [{key: list(v) if isinstance(v, tuple) else v for key, v in row.items()} for row in rows],
        "options": {name: str(value) for name, value in problem.options.items()},
        "objective": {"name": problem.objective.name, "unit": problem.objective.unit},
        "samples": {
            "sha256": samples.digest,
            "rows": len(samples.agent),
            "trials": len(set(samples.trial)),
            "designs": designs,
            "feasible": float(samples.data.feasible.mean()),  # the share of the rows
        },
        "agents": dict(sorted(Counter(map(str, samples.agent)).items())),  # rows of each
        "versions": versions_of(("python", "machine", "dsegym", "numpy", "jax", *libraries, "dsegym_sources")),
    }


def check_place(directory: Path) -> None:
    """Refuses a place where something is already, but for an empty folder, or that could not be renamed to.

    Raises:
        DsegymError: names it.
    """
    if directory.name in ("", ".."):
        raise DsegymError(f"'{directory}' does not end in a name: give the proxy's directory one of its own.")
    if os.path.lexists(directory) and not (directory.is_dir() and not any(directory.iterdir())):
        raise DsegymError(f"'{directory}' is there already; a proxy is written where nothing is.")


def save_proxy(directory: str | Path, proxy: Proxy, card: Mapping[str, Any]) -> None:
    """Writes a proxy; the directory appears by one rename.

    Args:
        directory: where nothing is yet.
        proxy: fitted.
        card: of `card_of`.

    Raises:
        DsegymError: something is there already.
        OSError: the disk is full, say; nothing is left behind.
    """
    directory = Path(directory)
    check_place(directory)
    contents = {ARRAYS: bytes_of(proxy.arrays())}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    write_folder(directory, {**contents, CARD: _text({**card, "files": digests}).encode()})


def read_card(directory: str | Path) -> Mapping[str, Any]:
    """What a proxy's card says.

    Raises:
        CorruptResultError: there is none, or it is damaged; names the file.
    """
    directory = Path(directory)
    path = directory / CARD
    if not os.path.lexists(path):
        raise CorruptResultError(f"'{shortened(directory, LONGEST)}' is no proxy: there is no {CARD} in it.")
    try:
        content = tomllib.loads(read_file(path, directory, _MOST_CARD_BYTES).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise CorruptResultError(f"{path}: not readable as TOML ({shortened(error, LONGEST)}).") from None
    if content.get("format") != FORMAT:
        given = shortened(content.get("format"))
        raise CorruptResultError(f"{path}: format {given} where this version reads {FORMAT}.")
    check_shape(path, content, _CARD)
    for row in content["report"]:
        if any(isinstance(value, list) and len(value) != 3 for value in row.values()):
            raise CorruptResultError(f"{path}: a figure of the report is not a mean and the two ends of its interval.")
    return content


def load_proxy(directory: str | Path, *, allow: Collection[str] = ()) -> StoredProxy:
    """Reads a proxy and checks that it is whole; no code that comes with it is run.

    Args:
        directory: of the proxy.
        allow: packages beside this one that may be imported where its card names a scenario of theirs.

    Raises:
        CorruptResultError: a file is missing, altered or outside, or is no proxy of the scenario; names the file.
        DsegymError: the scenario's package is not allowed, or a library is missing.
    """
    directory = Path(directory)
    card = read_card(directory)
    if card["model"] not in MODELS:
        raise CorruptResultError(f"{directory / CARD}: there is no proxy '{shortened(card['model'])}'.")
    check_allowed(card["scenario"], allow)
    problem = make_problem(card["scenario"], **card["options"])
    path = directory / ARRAYS
    found = hashlib.sha256(read_file(path, directory, _MOST_ARRAYS_BYTES)).hexdigest()
    if found != card["files"][ARRAYS]:
        raise CorruptResultError(f"{path}: it is not the file of the card (truncated or altered).")
    try:
        proxy = load_model(card["model"]).of(problem.space, arrays_from(path, directory))
    except CorruptResultError as error:
        raise CorruptResultError(f"{directory}: {error}") from None
    return StoredProxy(proxy, problem, card)


def _text(card: Mapping[str, Any]) -> str:
    """The card as TOML: plain members first, then tables."""
    lines = [f"{key} = {toml_text(value)}" for key, value in card.items() if not isinstance(value, Mapping)]
    for title, table in card.items():
        if isinstance(table, Mapping):
            lines += ["", f"[{title}]", *(f"{toml_key(key)} = {toml_text(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"
