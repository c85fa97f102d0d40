"""Trees and the rules that prune them: exact solvability, recorded beams, shared caches, ETS against enumeration."""

import jax
import numpy as np
import pytest
import tree_search_oracle as oracle
from hypothesis import given, settings
from hypothesis import strategies as st

import dsegym
from dsegym.costmodels.reasoning.outcomes import game24_nodes, load_outcomes
from dsegym.costmodels.reasoning.splits import split_of
from dsegym.costmodels.reasoning.tree import game24, policies, trees

# Beam over the recorded nodes: share of puzzles with a 24 kept that legal moves lead to. The first as an independent
# examination of the log found it, the second by the oracle.
BEAMS = {1: 0.53, 2: 0.59, 3: 0.63, 4: 0.70, 5: 0.74}
KNOWING = {1: 0.67, 2: 0.73, 3: 0.74, 4: 0.74, 5: 0.74}
# (depth, solvable): shares of the sum of three votes: at most 0.003, exactly 3, at least 20, exactly 60.
VOTES = {
    (1, 0): (0.13, 0.79, 0.005, 0.0),
    (1, 1): (0.06, 0.40, 0.52, 0.29),
    (2, 0): (0.56, 0.09, 0.001, 0.0),
    (2, 1): (0.005, 0.01, 0.98, 0.95),
    (3, 0): (0.87, 0.02, 0.0, 0.0),
    (3, 1): (0.0, 0.0, 1.0, 1.0),
}


# --- Game of 24 -------------------------------------------------------------------------------------------------------


def test_all_but_458_hands_of_cards_1_to_13_can_make_24():
    hands = game24.all_hands()
    assert len(hands.cards) == 1362
    assert hands.first.any(1).all()
    np.testing.assert_array_equal(hands.second.any(2), hands.first)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 13), min_size=4, max_size=4))
def test_solvability_of_hands_equals_exact_fractions(cards):
    assert bool(game24.is_solvable(np.array(cards, float))) == oracle.makes_24(cards)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.fractions(-30, 60, max_denominator=12), min_size=1, max_size=3))
def test_solvability_of_what_is_left_equals_exact_fractions(numbers):
    assert bool(game24.is_solvable(np.array([float(n) for n in numbers]))) == oracle.makes_24(numbers)


def test_solvability_equals_the_recorded_labels():
    table = game24_nodes()
    for depth, count in ((1, 3), (2, 2), (3, 1)):
        rows = np.flatnonzero((table.depth == depth) & (table.solvable >= 0))
        numbers = [[float(word) for word in table.left[row].split()] for row in rows]
        fits = np.array([len(each) == count for each in numbers])
        assert fits.mean() > 0.75, "the rest repeat numbers that are used up, or leave some out"
        found = game24.is_solvable(np.array([each for each, fit in zip(numbers, fits, strict=True) if fit]))
        agree = found == (table.solvable[rows][fits] == 1)
        assert agree.mean() > 0.995, depth  # the log rounds fractions


# --- The recorded log -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("breadth", BEAMS)
def test_recorded_beams_solve_the_measured_shares(breadth):
    table = game24_nodes()
    for knows, expected in ((False, BEAMS[breadth]), (True, KNOWING[breadth])):
        found = np.mean([oracle.replay_beam(table, puzzle, breadth, knows=knows) for puzzle in range(900, 1000)])
        assert found == pytest.approx(expected, abs=0.001)


def of_log(puzzle):
    """there, parent, good, each [3, N], of a puzzle of the log, and the rows of the recorded nodes, by depth."""
    split, table = split_of("game24_log", puzzle), game24_nodes()
    row = [other for other in range(900, 1000) if split_of("game24_log", other) == split].index(puzzle)
    found = trees.log(split)
    nodes = [np.flatnonzero((table.puzzle == puzzle) & (table.depth == depth)) for depth in (1, 2, 3)]
    return found.there[row], found.parent[row], found.good[row], nodes


def test_no_node_below_an_illegal_move_is_good():
    table, leaves = game24_nodes(), 0
    for puzzle in range(900, 1000):
        there, parent, good, nodes = of_log(puzzle)
        assert [len(rows) for rows in nodes] == there.sum(1).tolist()
        for depth, rows in enumerate(nodes):
            for place, row in enumerate(rows):
                way = [row]  # from the node up to the first move
                above = place
                for higher in range(depth, 0, -1):
                    above = parent[higher, above]
                    assert above >= 0
                    way.append(nodes[higher - 1][above])
                assert good[depth, place] == all(table.legal[i] and table.solvable[i] == 1 for i in way)
        leaves += good[2].sum()
    assert leaves == 158, "12 of 170 legal last moves to 24 come after an illegal one"


def test_nothing_below_a_division_by_a_number_that_is_not_there_is_good():
    """Puzzle 954, 6 7 10 12: `10 / 2 = 5 (left: 5 7 12)`, from which 24 could be made."""
    table = game24_nodes()
    there, parent, good, (first, *_) = of_log(954)
    (place,) = (i for i, row in enumerate(first) if table.left[row] == "5 7 12")
    assert table.solvable[first[place]] == 1
    assert not table.legal[first[place]]
    assert not good[0, place]
    below = there[1] & (parent[1] == place)
    assert below.any()
    assert not good[1, below].any()


@pytest.mark.parametrize("puzzle", [951, 961, 986])
def test_puzzles_that_only_illegal_moves_solve_are_not_solved(puzzle):
    _, _, good, (*_, last) = of_log(puzzle)
    table = game24_nodes()
    assert (table.legal[last] & (table.solvable[last] == 1)).any(), "last moves to 24, legal by themselves"
    assert not good[2].any()


def test_the_log_has_the_measured_size_votes_and_illegal_moves():
    table = game24_nodes()
    assert len(table.puzzle) / 100 == pytest.approx(61.7, abs=0.05)
    parsed = table.solvable >= 0
    assert (~table.legal[parsed]).mean() == pytest.approx(trees.ILLEGAL, abs=0.002)
    for (depth, solvable), expected in VOTES.items():
        value = table.value[(table.depth == depth) & (table.solvable == solvable)]
        found = ((value <= 0.0031).mean(), (value == 3).mean(), (value >= 20).mean(), (value == 60).mean())
        assert found == pytest.approx(expected, abs=0.011), (depth, solvable)


def test_a_hundred_chains_of_thought_cover_half_of_the_puzzles():
    data = load_outcomes("game24_chain_of_thought")
    assert (data.successes > 0).mean() == pytest.approx(0.49)


def test_the_judge_draws_votes_like_the_recorded_ones():
    table, values = game24_nodes(), trees.hands("train").values * trees.HIGHEST_VALUE
    train = [p for p in range(900, 1000) if split_of("game24_log", p) == "train"]
    for depth in range(3):
        for solvable in (0, 1):
            mine = (table.depth == depth + 1) & (table.solvable == solvable) & np.isin(table.puzzle, train)
            assert values[depth, solvable].mean() == pytest.approx(table.value[mine].mean(), abs=0.6)
            assert set(np.round(values[depth, solvable], 2)) <= set(np.round(table.value[mine], 2))


def test_puzzles_of_the_splits_are_apart_and_complete():
    counts = {
        split: (int(trees.log(split).count), int(trees.hands(split).count)) for split in ("train", "validation", "test")
    }
    assert sum(log for log, _ in counts.values()) == 100
    assert sum(hands for _, hands in counts.values()) == 1362


# --- Rules ------------------------------------------------------------------------------------------------------------


@st.composite
def leaves(draw, most=8):
    """(weights, paths, clusters, there, depth) of the leaves of a small tree."""
    depth = draw(st.integers(1, 4))
    paths = [[0] * 5 for _ in range(most)]
    for d in range(depth):
        for i in range(most):
            # Leaves share a node only if they share its parent.
            same = [j for j in range(i) if paths[j][:d] == paths[i][:d]]
            paths[i][d] = paths[draw(st.sampled_from(same))][d] if same and d < depth - 1 and draw(st.booleans()) else i
    there = draw(st.lists(st.booleans(), min_size=most, max_size=most).filter(any))
    weights = draw(st.lists(st.floats(0.015625, 1), min_size=most, max_size=most))
    clusters = draw(st.lists(st.integers(0, 2), min_size=most, max_size=most))
    return weights, paths, clusters, there, depth


def arrays(tree):
    weights, paths, clusters, there, depth = tree
    return np.float32(weights), np.int32(paths), np.int32(clusters), np.array(there), np.int32(depth)


jitted_ets = jax.jit(policies.ets)
jitted_cache = jax.jit(policies.cache_nodes)


@settings(max_examples=60, deadline=None)
@given(leaves())
def test_a_cache_holds_shared_nodes_once(tree):
    _, paths, _, there, depth = tree
    found = int(jitted_cache(np.int32(paths), np.array(there), np.int32(depth)))
    assert found == oracle.cache_nodes(paths, there, depth) <= oracle.separate_nodes(there, depth)


@settings(max_examples=40, deadline=None)
@given(leaves(), st.sampled_from([0.5, 1.0, 2.0]), st.sampled_from([0.0, 1.0]))
def test_greedy_ets_stays_near_the_best_set_of_leaves_and_never_above_it(tree, share, spread):
    weights, paths, clusters, there, depth = arrays(tree)
    chosen = np.asarray(jitted_ets(weights, paths, clusters, there, depth, share=share, spread=spread))
    assert chosen.any()
    assert not (chosen & ~there).any()
    found = oracle.ets_value(tree[0], tree[1], tree[2], tree[3], chosen.tolist(), tree[4], share, spread)
    ours = float(policies.ets_objective(weights, paths, clusters, there, chosen, depth, share=share, spread=spread))
    assert ours == pytest.approx(found, abs=1e-5)
    best = oracle.best_ets(*tree, share, spread)
    assert found <= best + 1e-6
    assert best - found < 0.5 * (1 + share), "shared prefixes make greedy addition stop early"


@settings(max_examples=40, deadline=None)
@given(leaves())
def test_without_a_price_ets_keeps_every_leaf(tree):
    weights, paths, clusters, there, depth = arrays(tree)
    chosen = np.asarray(jitted_ets(weights, paths, clusters, there, depth, share=0.0, spread=0.0))
    np.testing.assert_array_equal(chosen, there)


def test_without_spread_ets_keeps_what_is_worth_more_than_it_adds_to_the_cache():
    # Three leaves of one parent, and one of its own: sharing makes the siblings cheap.
    paths = np.int32([[0, 0], [0, 1], [0, 2], [3, 3]])
    weights, there = np.float32([0.4, 0.3, 0.2, 0.1]), np.ones(4, bool)
    none = np.zeros(4, np.int32)
    # Six nodes: a sibling adds one (price 1/6), the last leaf two (2/6).
    for share, expected in ((1.0, [1, 1, 1, 0]), (1.5, [1, 1, 0, 0]), (4.0, [1, 0, 0, 0])):
        chosen = jitted_ets(weights, paths, none, there, np.int32(2), share=share, spread=0.0)
        np.testing.assert_array_equal(np.asarray(chosen), np.array(expected, bool))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([0, 1, 2, 4, 8, 64]), min_size=8, max_size=8), st.integers(1, 32))
def test_continuations_follow_rebases_rule_and_add_up(levels, width):
    levels = levels + [0] * 24  # as many leaves as there may be continuations
    parents, numbers = (each[:width] for each in jax.jit(policies.continuations)(np.float32(levels), width))
    if any(levels):
        shares = oracle.shares([float(level) for level in levels], width)
        assert sum(shares) == width
        assert all(mine == 0 for mine, level in zip(shares, levels, strict=True) if not level)
    else:
        shares = [0] * 31 + [width]
    np.testing.assert_array_equal(np.asarray(parents), np.repeat(np.arange(32), shares))
    np.testing.assert_array_equal(np.asarray(numbers), np.concatenate([np.arange(share) for share in shares]))


def test_beam_keeps_the_best_dvts_the_best_of_each_subtree_and_rebase_weighs_by_value():
    value, there = np.float32([0.9, 0.8, 0.7, 0.9, 0.1]), np.array([1, 1, 1, 1, 0], bool)
    subtree = np.int32([0, 0, 1, 1, 2])
    np.testing.assert_array_equal(np.asarray(policies.beam(value, there, 2)) > 0, [1, 0, 0, 1, 0])
    np.testing.assert_array_equal(np.asarray(policies.dvts(value, there, subtree, 4)) > 0, [1, 0, 0, 1, 0])
    np.testing.assert_array_equal(np.asarray(policies.dvts(value, there, subtree, 1)) > 0, [1, 0, 0, 0, 0])
    expected = np.where(there, np.exp((value - 0.9) / 0.2), 0)
    np.testing.assert_allclose(np.asarray(policies.rebase(value, there, 0.2)), expected, rtol=1e-5)


# --- What rules reach -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def steps():
    """{rule: metrics on the held-out problems} on the synthetic tree, width 16."""
    problem = dsegym.make_problem("dsegym/TreeSearch-v0", tree="steps", width="16", price="0")
    names = list(problem.baselines)
    found = problem.evaluate_held_out(np.array([problem.baselines[name]() for name in names])).metrics
    return {name: (float(found.success[row]), float(found.cache_share[row])) for row, name in enumerate(names)}


def test_ets_needs_far_less_cache_than_rebase_for_about_the_same_success(steps):
    (success, cache), (rebase_success, rebase_cache) = steps["ets"], steps["rebase_sharp"]
    assert cache <= rebase_cache / 1.5
    assert success >= rebase_success - 0.02


def test_on_the_synthetic_tree_a_wider_beam_is_better_on_average(steps):
    beams = [steps[f"beam_{keep}"][0] for keep in (1, 2, 4)]
    assert beams[0] < beams[1]
    assert beams[2] > beams[0]


def test_separate_chains_fill_the_cache_and_a_beam_of_one_a_sixteenth(steps):
    assert steps["uniform"][1] == pytest.approx(1.0)
    assert steps["beam_1"][1] == pytest.approx(1 / 16)
