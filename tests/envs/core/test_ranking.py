"""The best designs of a problem, of some or of all, against a sort in plain Python."""

import numpy as np

import dsegym
from dsegym.envs.core import ranking


def test_the_best_of_all_designs_are_those_of_a_sort_however_the_space_is_cut(monkeypatch):
    problem = dsegym.make_problem("dsegym/ReasoningServe-v0")
    everything = problem.space.enumerate(0, problem.space.size)
    found = problem.evaluate(everything)
    metrics = np.stack(found.metrics, axis=1)
    order = sorted((float(value), place) for place, value in enumerate(found.objective) if found.feasible[place])
    expected, seen = [], set()
    for value, place in order:
        costs = (value, *metrics[place].tolist())
        if costs not in seen:
            seen.add(costs)
            expected.append(everything[place].tolist())
    assert ranking.best_of(problem, everything, 7).tolist() == expected[:7]
    assert ranking.best_of_all(problem, 7).tolist() == expected[:7]
    monkeypatch.setattr(ranking, "_CHUNK", 100)
    assert ranking.best_of_all(problem, 7).tolist() == expected[:7]
