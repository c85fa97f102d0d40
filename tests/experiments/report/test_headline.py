"""The page's first lines: who wins, by how much, and how surely."""

from leaderboard_cases import trial

from dsegym.experiments.report.headline import by_scenario, headline
from dsegym.experiments.scoring.leaderboard import build_leaderboard, no_leaderboard


def cards(results, seeds=3):
    return {card.question: card for card in headline(build_leaderboard(results), seeds)}


def runs(agent, values):
    return [trial(agent, "a", seed, [value]) for seed, value in enumerate(values)]


def test_a_clear_winner_is_told_apart():
    found = cards([*runs("ant", [2.1, 2.2, 2.3]), *runs("bee", [8.0, 8.5, 9.0]), *runs("cat", [7.0, 7.5, 7.8])])
    assert found["Who wins"].answer == "ant"
    assert found["By how much"].detail.startswith("Above cat")
    assert found["How surely"].answer == "told apart from every other"
    assert found["What ran"].answer == "3 agents, 1 instance"
    assert "3 seeds" in found["What ran"].detail


def test_agents_that_overlap_are_named():
    found = cards([*runs("ant", [2.0, 5.0, 6.0]), *runs("bee", [3.0, 4.0, 7.0])])
    assert found["How surely"].answer == "not told apart from 1 agent"
    assert "Not told apart: " in found["How surely"].detail


def test_one_seed_tells_nothing():
    found = cards([*runs("ant", [2.0]), *runs("bee", [3.0])], seeds=1)
    assert found["How surely"].answer == "not known"
    assert "1 seed," in found["What ran"].detail


def test_equal_scores_win_together_and_a_single_agent_wins_over_nobody():
    found = cards([*runs("ant", [2.0, 3.0]), *runs("bee", [2.0, 3.0])])
    assert found["Who wins"].answer == "ant and bee"
    assert "By how much" not in found
    assert set(cards(runs("ant", [2.0, 3.0]))) == {"What ran", "Who wins", "Best found"}
    assert headline(no_leaderboard(), 0) == []


def test_one_scenario_needs_no_table_of_scenarios():
    assert by_scenario(build_leaderboard(runs("ant", [2.0, 3.0]))) == []
