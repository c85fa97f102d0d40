"""Fixtures of the experiments' tests: a tiny suite, its results, and the command line called in this process."""

import dataclasses
import shutil
import sys
from typing import NamedTuple

import jax
import numpy as np
import pytest

from dsegym.agents.learners.registry import make_learner
from dsegym.agents.policies.card import Card, features_of
from dsegym.agents.policies.players import Policy
from dsegym.experiments import cli
from dsegym.experiments.suite import load_suite
from dsegym.experiments.suite_note import write_suite
from dsegym.experiments.trial import run_trial

TINY = """
name = "tiny"
description = "two agents, one instance"
samples = 60
seeds = 2

[[instances]]
scenario = "dsegym/AcceleratorSizing-v0"
workload = "alexnet"
objective = "edp"
area_budget = "small"

[[agents]]
name = "random_search"

[[agents]]
name = "genetic_algorithm"
hyperparameters = { population_size = 20 }
"""


class Outcome(NamedTuple):
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def untrained():
    """Makes policies that were not trained."""

    def make(collection, **card):
        """A policy for a collection, that was not trained, with these fields of its card."""
        env, _ = collection.environment("train")
        network = make_learner("ppo", {"units": 8}).network(env)
        variables = network.init(jax.random.key(0), np.zeros(env.observation_space.shape, np.float32))
        known = {
            "scenario": collection.scenario,
            "form": "decisions",
            "collection": collection.name,
            "sizes": {},
            "trained_on": collection.digests("train"),
            "learner": "ppo",
            "hyperparameters": {"units": 8},
            "seed": 3,
            "steps": 1000,
            "training_s": 1.5,
            "features": features_of(env),
            "action_space": str(env.action_space),
        }
        configuration = dataclasses.asdict(network.configuration)
        return Policy(Card(**{**known, **card}), configuration, jax.tree.map(np.asarray, variables))

    return make


@pytest.fixture(scope="session")
def tiny_file(tmp_path_factory):
    """The tiny suite's file."""
    path = tmp_path_factory.mktemp("suite") / "tiny.toml"
    path.write_text(TINY, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tiny_suite(tiny_file):
    return load_suite(tiny_file)


@pytest.fixture(scope="session")
def finished(tmp_path_factory, tiny_suite):
    """The tiny suite's results, from this process; not to be changed."""
    results = tmp_path_factory.mktemp("finished")
    for trial, identifier in zip(tiny_suite.trials, write_suite(results, tiny_suite), strict=True):
        run_trial(trial, identifier, results)
    return results


@pytest.fixture
def results(finished, tmp_path):
    """A copy of the tiny suite's results, to be changed at will."""
    return shutil.copytree(finished, tmp_path / "results")


@pytest.fixture
def first_trial(results):
    """The directory of one of its trials."""
    return min((results / "trials").iterdir())


@pytest.fixture
def dsegym_command(monkeypatch, capsys):
    """Runs `dsegym ARGUMENTS` as the console script does, but in this process."""

    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["dsegym", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = end.code or 0
        return Outcome(code, *capsys.readouterr())

    return command


@pytest.fixture(autouse=True)
def wide_lines(monkeypatch):
    """Lines are as long as in a pipe: pytest-xdist tells its workers a terminal's width."""
    monkeypatch.delenv("COLUMNS", raising=False)
