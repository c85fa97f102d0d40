"""Policies on disk: a directory that appears by one rename, and is read without running anybody's code.

POLICY/card.toml            what the policy is for, how it was trained, what its weights are
POLICY/network.json         the configuration of its network
POLICY/weights.safetensors  the network's variables
POLICY/curve.csv            what training showed, where it was trained here
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
import math
import os
import tomllib
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from ..agents.policies.card import Card
from ..agents.policies.players import Policy
from ..costmodels.errors import CorruptResultError, DsegymError, shortened
from .door import (
    COUNT,
    DIGEST,
    LONGEST,
    NOT_NEGATIVE,
    SIZE,
    Each,
    Shape,
    Word,
    check_shape,
    finite,
    read_file,
    read_json,
)
from .toml_text import toml_key, toml_text
from .whole_folders import write_folder

__all__ = [
    "CARD",
    "CURVE",
    "NETWORK",
    "WEIGHTS",
    "arrays_from",
    "bytes_of",
    "check_free",
    "check_named",
    "curve_from",
    "curve_of",
    "curve_text",
    "load_policy",
    "metadata_of",
    "named_leaves",
    "policy_digest",
    "save_policy",
]

FORMAT = 1
CARD, NETWORK, WEIGHTS, CURVE = "card.toml", "network.json", "weights.safetensors", "curve.csv"
_MOST_BYTES = {CARD: 2**24, NETWORK: 2**20, WEIGHTS: 2**31, CURVE: 2**26}
_CARD: Mapping[str, Shape] = {
    "format": int,
    "scenario": str,
    "form": str,
    "collection": str,
    "learner": str,
    "seed": COUNT,
    "steps": COUNT,
    "training_s": NOT_NEGATIVE,
    "energy_j?": NOT_NEGATIVE,
    "starts_from?": DIGEST,
    "action_space": str,
    "trained_on": Each(list, DIGEST),
    "sizes": Each(dict, SIZE),
    "hyperparameters": Each(dict, (str, bool, finite)),
    "features": Each(list, {"name": str, "shape": Each(list, COUNT)}),
    "versions": Each(dict, str),
    "files": {NETWORK: DIGEST, WEIGHTS: DIGEST},
    "weights": Each(dict, Word(r"[a-z]+[0-9]*\[[0-9, ]*\]", "a dtype and a shape")),
}


def save_policy(policy: Policy, directory: str | Path, *, curve: Mapping[str, Sequence[float]] | None = None) -> None:
    """Writes a policy; the directory appears by one rename.

    Args:
        policy: the policy.
        directory: where nothing is yet.
        curve: figures of training by name, of one length.

    Raises:
        DsegymError: something is there already, or a weight is not finite.
        OSError: the disk is full, say; nothing is left behind.
    """
    directory = Path(directory)
    check_free(directory)
    leaves = named_leaves(policy.variables)
    _check_finite("The policy", leaves)
    contents = {
        NETWORK: (json.dumps(dict(policy.configuration), indent=1, allow_nan=False) + "\n").encode(),
        WEIGHTS: bytes_of(leaves),
    }
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    card = _card_text(policy.card, digests, {name: _signature(leaf) for name, leaf in leaves.items()})
    if curve:
        contents[CURVE] = curve_text(curve).encode()
    write_folder(directory, {**contents, CARD: card.encode()})


def check_free(directory: Path) -> None:
    """Refuses a place where something is already, but for an empty folder.

    Raises:
        DsegymError: names it; or as `check_named`.
    """
    check_named(directory)
    if os.path.lexists(directory) and not (directory.is_dir() and not any(directory.iterdir())):
        raise DsegymError(f"'{directory}' is there already; a policy is written where nothing is.")


def check_named(directory: Path) -> None:
    """Refuses a path that ends in no name, like `.`: nothing could be renamed to it, or stand beside it.

    Raises:
        DsegymError: names it.
    """
    if directory.name in ("", ".."):
        raise DsegymError(f"'{directory}' does not end in a name: give the policy's directory one of its own.")


def load_policy(directory: str | Path) -> Policy:
    """Reads a policy and checks that it is whole; no code that comes with it is run.

    Raises:
        CorruptResultError: a file is missing, altered, outside or no regular file; the card lacks something; the
            weights are not those of the card, or not finite. Names the file.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise CorruptResultError(f"'{shortened(directory, LONGEST)}' is no policy: there is no such directory.")
    if not os.path.lexists(directory / CARD):
        raise CorruptResultError(f"'{shortened(directory, LONGEST)}' is no policy: there is no {CARD} in it.")
    path = directory / CARD
    try:
        content = tomllib.loads(read_file(path, directory, _MOST_BYTES[CARD]).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise CorruptResultError(f"{path}: not readable as TOML ({shortened(error, LONGEST)}).") from None
    if content.get("format") != FORMAT:
        raise CorruptResultError(
            f"{path}: format {shortened(content.get('format'))} where this version reads {FORMAT}."
        )
    check_shape(path, content, _CARD)
    for name, digest in content["files"].items():
        found = hashlib.sha256(read_file(directory / name, directory, _MOST_BYTES[name])).hexdigest()
        if found != digest:
            raise CorruptResultError(f"{directory / name}: it is not the file of the card (truncated or altered).")
    configuration = read_json(directory / NETWORK, directory, _MOST_BYTES[NETWORK])
    if not isinstance(configuration, dict):
        raise CorruptResultError(f"{directory / NETWORK}: it is no object of names and values.")
    path = directory / WEIGHTS
    leaves = arrays_from(path, directory)
    given, named = {name: _signature(leaf) for name, leaf in leaves.items()}, content["weights"]
    for name in sorted(given.keys() | named.keys()):
        if given.get(name) != named.get(name):
            has, says = given.get(name, "nothing"), named.get(name, "nothing")
            raise CorruptResultError(
                f"{path}: the weights do not fit the card: of {shortened(name)} they have {has}, and it says {says}."
            )
    _check_finite(str(path), leaves)
    return Policy(_card_of(content), configuration, _nested(leaves))


def policy_digest(policy: Policy) -> str:
    """Hexadecimal, of what a policy does: its scenario, form, network and weights."""
    digest = hashlib.sha256(
        json.dumps([policy.card.scenario, policy.card.form, dict(policy.configuration)], sort_keys=True).encode()
    )
    for name, leaf in sorted(named_leaves(policy.variables).items()):
        digest.update(f"{name} {_signature(leaf)}".encode() + np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()


# Arrays ----------------------------------------------------------------------------------------------------------


def named_leaves(tree: Any) -> dict[str, np.ndarray]:
    """{path of a leaf, its parts joined by "/": the leaf} of a pytree."""
    import jax

    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf) for path, leaf in leaves}


def _nested(leaves: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The nested dict whose `named_leaves` these are."""
    tree: dict[str, Any] = {}
    for name, leaf in leaves.items():
        *folders, last = name.split("/")
        place = tree
        for folder in folders:
            place = place.setdefault(folder, {})
            if not isinstance(place, dict):
                break
        if not isinstance(place, dict) or last in place:
            raise CorruptResultError(f"The weight {shortened(name)} lies in another weight, or another in it.")
        place[last] = leaf
    return tree


def bytes_of(leaves: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None) -> bytes:
    """A safetensors file, the same for the same arrays."""
    from safetensors.numpy import save

    return save({name: np.asarray(leaf, order="C") for name, leaf in leaves.items()}, dict(metadata or {}) or None)


def arrays_from(path: Path, root: Path) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file below `root`.

    Raises:
        CorruptResultError: as `read_file`; or it is no such file.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return load(read_file(path, root, _MOST_BYTES[WEIGHTS]))
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CorruptResultError(f"{path}: not readable as safetensors ({shortened(error, LONGEST)}).") from None


def metadata_of(path: Path, root: Path) -> dict[str, str]:
    """What a safetensors file below `root` says beside its arrays; raises as `arrays_from`."""
    content = read_file(path, root, _MOST_BYTES[WEIGHTS])
    length = int.from_bytes(content[:8], "little")
    try:
        found = json.loads(content[8 : 8 + length].decode("utf-8")).get("__metadata__", {})
    except (ValueError, AttributeError, RecursionError) as error:
        raise CorruptResultError(f"{path}: not readable as safetensors ({shortened(error, LONGEST)}).") from None
    return found if isinstance(found, dict) else {}


def _signature(leaf: np.ndarray) -> str:
    return f"{leaf.dtype}{list(leaf.shape)}"


def _check_finite(place: str, leaves: Mapping[str, np.ndarray]) -> None:
    for name, leaf in leaves.items():
        if not np.isfinite(leaf).all():
            raise CorruptResultError(f"{place}: the weight {shortened(name)} holds NaN or infinity.")


def curve_text(curve: Mapping[str, Sequence[float]]) -> str:
    """A CSV table of a column a name."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(curve)
    writer.writerows([f"{value:.9g}" for value in row] for row in zip(*curve.values(), strict=True))
    return text.getvalue()


def curve_of(directory: Path) -> dict[str, list[float]] | None:
    """What the training of the policy in a directory showed; None where it keeps no curve.

    Raises: as `read_file` and `curve_from`.
    """
    path = directory / CURVE
    return curve_from(read_file(path, directory, _MOST_BYTES[CURVE]), path) if os.path.lexists(path) else None


def curve_from(content: bytes, path: Path) -> dict[str, list[float]]:
    """The inverse of `curve_text`: figures of training by name, among them `steps` and `reward`.

    Args:
        content: the file's.
        path: names it.

    Raises:
        CorruptResultError: it is no table of finite numbers.
    """
    try:
        names, *lines = csv.reader(io.StringIO(content.decode("utf-8")))
        values = [list(map(float, line)) for line in lines]
        columns = dict(zip(names, map(list, zip(*values, strict=True)), strict=True))
    except (ValueError, csv.Error):
        columns = {}
    if not {"steps", "reward"} <= columns.keys() or not all(map(math.isfinite, chain(*columns.values()))):
        raise CorruptResultError(f"{path}: it is no curve of a training, a CSV table of numbers with steps and reward.")
    return columns


# The card --------------------------------------------------------------------------------------------------------


def _card_text(card: Card, digests: Mapping[str, str], weights: Mapping[str, str]) -> str:
    content = {key: value for key, value in dataclasses.asdict(card).items() if value is not None}
    content["features"] = [{"name": name, "shape": list(shape)} for name, shape in card.features.items()]
    plain = {"format": FORMAT, **{key: value for key, value in content.items() if not isinstance(value, Mapping)}}
    tables = {key: value for key, value in content.items() if isinstance(value, Mapping)}
    lines = [f"{key} = {toml_text(value)}" for key, value in plain.items()]
    for title, table in {**tables, "files": digests, "weights": weights}.items():
        lines += ["", f"[{title}]", *(f"{toml_key(key)} = {toml_text(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"


def _card_of(content: Mapping[str, Any]) -> Card:
    fields = {field.name: content.get(field.name) for field in dataclasses.fields(Card)}
    fields["features"] = {each["name"]: tuple(each["shape"]) for each in content["features"]}
    return Card(**{**fields, "trained_on": tuple(content["trained_on"])})
