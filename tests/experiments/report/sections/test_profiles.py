"""The score profiles: staircases whose area is the mean score."""

import numpy as np
from leaderboard_cases import trial

from dsegym.experiments.report.sections import profiles
from dsegym.experiments.scoring.leaderboard import build_leaderboard

# Objectives by agent and workload; 10 is the reference and 2 the bound, so that a unit is an eighth of the score.
FOUND = {"owl": {"a": 2.0, "b": 6.0, "c": 10.0}, "bat": {"a": 4.0, "b": 4.0, "c": 14.0}}


def board(workloads):
    trials = [
        trial(agent, workload, seed, [found[workload]])
        for agent, found in FOUND.items()
        for workload in workloads
        for seed in (0, 1)
    ]
    return build_leaderboard(trials)


def test_a_stair_is_the_share_of_instances_above_its_thresholds():
    figure = profiles.profiles_figure(board("abc"))
    lines = {line.name: (list(line.x), list(line.y)) for line in figure.data}
    third = 1 / 3
    assert lines["owl"] == ([-1.0, 0.0, 0.5, 1.0], [1.0, 2 * third, third, 0.0])
    assert lines["bat"] == ([-1.0, -0.5, 0.75, 1.0], [1.0, 2 * third, 0.0, 0.0])
    for name, (x, y) in lines.items():
        scores = [(10 - value) / 8 for value in FOUND[name].values()]
        assert np.isclose(-1.0 + np.dot(np.diff(x), y[:-1]), np.mean(scores))


def test_few_instances_make_no_profile():
    assert profiles.section(board("ab")) is None
    found = profiles.section(board("abc"))
    assert found is not None
    assert found.title == "Score profiles"
