"""Policies that come with the package, small ones: each is a results directory with its own evaluation, which holds it.

    experiments/policies/<name>/evaluations/<id>/           what the policy is worth; `dsegym verify` plays it again
    experiments/policies/<name>/evaluations/<id>/policy/    the policy

`dsegym evaluate POLICY --collection ... --output experiments/policies/<name>` makes such a directory.
"""

from __future__ import annotations

import importlib.resources
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..costmodels.errors import CorruptResultError, UnknownNameError
from .door import read_json

__all__ = ["find_policy", "policy_names", "shipped_evaluation", "shipped_results"]

FOLDER = "policies"
_EVALUATION, _POLICY = "evaluation.json", "policy"  # in an evaluation, see `evaluations.py`, which is slow to import
_MOST_BYTES = 2**22


def policy_names() -> tuple[str, ...]:
    """The shipped policies, sorted."""
    folder = _folder()
    return tuple(sorted(each.name for each in folder.iterdir() if each.is_dir())) if folder.is_dir() else ()


def shipped_results(name: str) -> Path:
    """The results directory of a shipped policy."""
    return _folder() / name


def shipped_evaluation(name: str) -> Mapping[str, Any]:
    """What the evaluation of a shipped policy says, unchecked."""
    directory = _evaluation(name)
    return read_json(directory / _EVALUATION, shipped_results(name), _MOST_BYTES)


def find_policy(name_or_directory: str) -> Path:
    """The directory of a policy: a shipped one's, or the path given.

    Raises:
        UnknownNameError: nothing is there, and what is given is no path.
    """
    if name_or_directory in policy_names():
        return _evaluation(name_or_directory) / _POLICY
    if not os.path.lexists(name_or_directory) and os.path.basename(name_or_directory) == name_or_directory:
        raise UnknownNameError("policy", name_or_directory, (*policy_names(), "or a policy's directory"))
    return Path(name_or_directory)


def _evaluation(name: str) -> Path:
    found = sorted((shipped_results(name) / "evaluations").glob("*"))
    if not found:
        raise CorruptResultError(f"'{shipped_results(name)}' holds no evaluation: the package is not whole.")
    return found[0]


def _folder() -> Path:
    return Path(str(importlib.resources.files(__name__.rpartition(".")[0]) / FOLDER))
