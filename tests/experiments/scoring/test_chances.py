"""Chances against another agent, beside pairs counted one by one, and the page that is made of them."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from dsegym.costmodels.errors import DsegymError
from dsegym.experiments.report.against_random import against_random_page
from dsegym.experiments.scoring.chances import chances
from dsegym.experiments.scoring.field import GRID, Field, FieldInstance, FieldTrial
from dsegym.experiments.scoring.statistics import probability_of_improvement

ONE = FieldInstance(
    "One", "dsegym/AcceleratorSizing-v0", "accelerator", {}, 2.0, 1.0, "optimum", 4, 0, 0, 3.0, False, 1.0
)


def field(values, budget=100):
    """{agent: values at the end of its trials}, which they hold from 20 samples on."""
    trials = [
        FieldTrial(
            agent, "One", seed, budget, "finished", 1.0, tuple(None if n < 20 else end for n in GRID if n <= budget)
        )
        for agent, ends in values.items()
        for seed, end in enumerate(ends)
    ]
    return Field("some", len(trials), (ONE,), tuple(trials))


@pytest.mark.parametrize("seed", range(5))
def test_the_chance_is_the_share_of_pairs_that_the_agent_wins(seed):
    generator = np.random.default_rng(seed)
    own, other = ([None if draw < 2 else float(draw) for draw in generator.integers(0, 9, size=8)] for _ in range(2))
    pairs = [0.5 if a == b else float(b is None or (a is not None and a < b)) for a, b in itertools.product(own, other)]
    found = chances(field({"agent": own, "random_search": other}), "random_search", 100)["agent"]["One"]
    assert found.interval.value == pytest.approx(np.mean(pairs))
    assert found.interval.low <= found.interval.value <= found.interval.high
    assert found.seeds == 8


def test_who_is_better_or_worse_throughout_beats_or_loses_and_who_is_not_does_neither():
    ends = {
        "random_search": [5.0, 6.0, 7.0, 8.0, 9.0],
        "good": [1.0, 2.0, 3.0, 3.5, 4.0],
        "bad": [9.5, 9.5, None, None, 10.0],
        "same": [5.0, 6.0, 7.0, 8.0, 9.0],
        "few": [1.0, 1.0, 1.0, 1.0],
    }
    found = chances(field(ends), "random_search", 100)
    assert {agent: own["One"].verdict for agent, own in found.items()} == {
        "good": "beats",
        "bad": "loses",
        "same": "undecided",
        "few": "undecided",
    }


def test_agents_that_hold_nothing_are_even_and_those_without_so_many_samples_are_not_compared():
    ends = {"random_search": [5.0, 6.0], "good": [1.0, 2.0]}
    assert chances(field(ends), "random_search", 10)["good"]["One"].interval.value == 0.5
    assert chances(field(ends), "random_search", 1000) == {}


def test_the_page_names_who_beats_random_search_and_who_loses():
    ends = {"random_search": [5.0] * 10, "good": [1.0] * 10, "bad": [9.0] * 10, "even": [5.0] * 10}
    page = against_random_page(field(ends))
    told = " ".join(page.split())
    assert "beats random search, of the instances that it plays, on 1 of 1: `good`; on 0 of 1: `bad`, `even`." in told
    assert "After 100 samples, random search beats `bad` on One." in page
    assert "with 10 seeds each, chance does that once in 92,378 times" in " ".join(page.split())
    assert "| good | beats: 1.00 [1.00, 1.00] |" in page
    assert "## After 30 samples" in page


def test_the_page_counts_seeds_whatever_their_numbers():
    ends = {"random_search": [5.0] * 3, "good": [1.0] * 3}
    found = field(ends)
    later = tuple(replace(trial, seed=trial.seed + 1_000_000_000) for trial in found.trials)
    assert against_random_page(replace(found, trials=later)) == against_random_page(found)


def test_a_page_without_random_search_is_refused():
    with pytest.raises(DsegymError, match="no agent and random_search have trials on the same instance"):
        against_random_page(field({"good": [1.0]}))


def test_large_budgets_are_compared_where_smaller_ones_end():
    one = field({"random_search": [5.0] * 5, "good": [1.0] * 5}, budget=10_000)
    page = against_random_page(one)
    assert [line for line in page.splitlines() if line.startswith("## After")] == [
        "## After 10,000 samples",
        "## After 1,000 samples",
        "## After 100 samples",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [5, 10])
def test_agents_that_are_as_good_beat_random_search_by_chance_as_often_as_the_page_says(seeds):
    generator, drawn = np.random.default_rng(0), 2000
    intervals = []
    for _ in range(drawn):
        places = stats.rankdata(generator.random(seeds + 10))
        intervals.append(probability_of_improvement([places[:seeds]], [places[seeds:]], seed=0))
    beats = sum(each.low > 0.5 for each in intervals)
    loses = sum(each.high < 0.5 for each in intervals)
    assert all(0.025 <= each / drawn <= 0.045 for each in (beats, loses))
