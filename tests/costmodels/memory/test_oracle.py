"""The plain Python simulator of the memory-mapping game: cases worked by hand, and what must hold of every plan.

The platform is that of XLA's unit tests: 1000 operations/s, 100 B/s from and to slow memory and in copies, 1000 B/s
from and to fast memory, which has 16 granules of 8 B.
"""

import functools

import memory_cases as cases
import memory_oracle as oracle
import numpy as np
import pytest

from dsegym.costmodels.memory.discrete import discretise

DROP, NO_COPY, COPY = oracle.DROP, oracle.NO_COPY, oracle.COPY


class Hand:
    """A program by hand, buffers by name, times in s."""

    def __init__(self, buffers, instructions, *, residents=(), **options):
        self.names = list(buffers)
        self.discrete = discretise(cases.small_program(buffers, instructions), cases.PLATFORM, **options)
        for name, offset in dict(residents).items():
            self.discrete.arrays.resident_offset[self.names.index(name)] = offset

    def play(self, *plan):
        return oracle.simulate(self.discrete, plan)

    def ticks(self, *seconds):
        """The sum of some times, each rounded to ticks as the instance rounds its own."""
        return sum(round(value / self.discrete.tick_s) for value in seconds)

    def stays(self, outcome):
        return [(self.names[b], *rest) for b, *rest in outcome.residences]

    def copies(self, outcome):
        return [(self.names[b], *rest) for b, *rest in outcome.copies]


def test_nothing_in_fast_memory_costs_what_slow_memory_takes():
    # i0: max(1 s, 0.64 s + 0.32 s); i1: max(0.1 s, 0.32 s + 0.16 s)
    hand = Hand({"x": 64, "y": 32, "z": (16, "live_out")}, [(1000, ["x"], ["y"]), (100, ["y"], ["z"])])
    outcome = hand.play(DROP, DROP, DROP, DROP)
    assert outcome.latency_ticks == hand.discrete.all_slow_ticks == hand.ticks(1, 0.32, 0.16)
    assert outcome.rewards_ticks == [0, 0, 0, 0]
    assert (outcome.stall_ticks, outcome.residences, outcome.copies) == (0, [], [])
    assert outcome.masks == [(True, False, True), (True, True, True), (True, False, True), (True, True, True)]


def test_an_output_is_written_to_fast_memory_once_and_read_there_twice():
    hand = Hand({"x": 64, "y": 64}, [(0, ["x"], ["y"]), (0, ["y"], []), (0, ["y"], [])])
    outcome = hand.play(DROP, NO_COPY, NO_COPY, NO_COPY)
    # x from slow memory 0.64 s; y to and twice from fast memory 0.064 s each, in place of 0.64 s
    assert outcome.latency_ticks == hand.ticks(0.64, 0.064, 0.064, 0.064)
    assert outcome.rewards_ticks == [0] + [hand.ticks(0.64) - hand.ticks(0.064)] * 3
    assert hand.stays(outcome) == [("y", 0, 8, 0, 2)]
    assert outcome.masks == [(True, False, True), (True, True, True), (True, True, False), (True, True, False)]


def test_an_output_that_is_dropped_later_was_taken_until_its_write_and_is_copied_back_after_it():
    # i1 has 1 s - 0.08 s idle, of which the copy takes 0.64 s.
    hand = Hand({"x": 64, "s": 8, "y": 64}, [(0, ["x"], ["y"]), (1000, ["s"], []), (0, ["y"], [])])
    outcome = hand.play(DROP, NO_COPY, DROP, DROP)
    assert outcome.latency_ticks == hand.ticks(0.64, 0.064, 1, 0.64)
    assert hand.copies(outcome) == [("y", "out", {1: hand.ticks(0.64)}, 0)]
    assert hand.stays(outcome) == [("y", 0, 8, 0, 1)]


def test_a_copy_hides_in_idle_time():
    hand = Hand({"s": 8, "w": 64}, [(1000, ["s"], []), (0, ["w"], [])])
    outcome = hand.play(DROP, COPY)
    # i0 computes for 1 s and reads for 0.08 s: 0.92 s are idle, the copy of w takes 0.64 s of them
    assert outcome.latency_ticks == hand.ticks(1, 0.064)
    assert hand.copies(outcome) == [("w", "in", {0: hand.ticks(0.64)}, 0)]
    assert hand.stays(outcome) == [("w", 0, 8, 0, 1)]
    assert outcome.stall_ticks == 0


def test_a_copy_begins_as_late_as_idle_time_allows():
    # 0.92 s idle in i0 and 0.42 s in i1, none in i2: the last 0.64 s before i3 are 0.22 s of i0 and 0.42 s of i1.
    hand = Hand({"s": 8, "w": 64}, [(1000, ["s"], []), (500, ["s"], []), (0, ["s"], []), (0, ["w"], [])])
    outcome = hand.play(DROP, DROP, DROP, COPY)
    idle = hand.ticks(0.5) - hand.ticks(0.08)
    assert hand.copies(outcome) == [("w", "in", {1: idle, 0: hand.ticks(0.64) - idle}, 0)]
    hand = Hand({"s": 8, "w": 32}, [(1000, ["s"], []), (500, ["s"], []), (0, ["s"], []), (0, ["w"], [])])
    outcome = hand.play(DROP, DROP, DROP, COPY)
    assert hand.copies(outcome) == [("w", "in", {1: hand.ticks(0.32)}, 0)]
    assert hand.stays(outcome) == [("w", 0, 4, 1, 3)]


def test_a_copy_stalls_for_what_it_lacks():
    instructions = [(500, ["s"], []), (0, ["w"], [])]
    hand = Hand({"s": 8, "w": 64}, instructions)
    outcome = hand.play(DROP, COPY)
    # 0.5 s - 0.08 s idle, 0.64 s wanted: 0.22 s of stall; worse than the 0.64 s of slow memory by nothing but 0.284 s
    idle = hand.ticks(0.5) - hand.ticks(0.08)
    stall = hand.ticks(0.64) - idle
    assert hand.copies(outcome) == [("w", "in", {0: idle}, stall)]
    assert outcome.stall_ticks == stall
    assert outcome.latency_ticks == hand.ticks(0.5, 0.064) + stall
    # Where only idle bandwidth may be used, the same copy is not legal and w is read from slow memory.
    idle_only = Hand({"s": 8, "w": 64}, instructions, bandwidth="idle")
    outcome = idle_only.play(DROP, COPY)
    assert outcome.masks[1] == (True, False, False)
    assert (outcome.executed, outcome.illegal_actions) == ([DROP, DROP], 1)
    assert outcome.latency_ticks == idle_only.discrete.all_slow_ticks == hand.ticks(0.5, 0.64)


def test_a_copy_in_the_first_instruction_is_all_stall():
    hand = Hand({"w": 64}, [(0, ["w"], []), (0, ["w"], [])])
    outcome = hand.play(COPY, NO_COPY)
    assert outcome.latency_ticks == hand.ticks(0.64, 0.064, 0.064)
    assert hand.copies(outcome) == [("w", "in", {}, hand.ticks(0.64))]
    assert hand.stays(outcome) == [("w", 0, 8, 0, 1)]


def test_a_copy_waits_for_the_granules():
    # v fills fast memory until i1, so that w's copy cannot use i0's 0.92 s, only i2's 0.42 s.
    hand = Hand({"s": 8, "v": 128, "w": 64}, [(1000, ["s"], ["v"]), (0, ["v"], []), (500, ["s"], []), (0, ["w"], [])])
    outcome = hand.play(DROP, NO_COPY, NO_COPY, DROP, COPY)
    idle = hand.ticks(0.5) - hand.ticks(0.08)
    assert hand.copies(outcome) == [("w", "in", {2: idle}, hand.ticks(0.64) - idle)]
    assert hand.stays(outcome) == [("v", 0, 16, 0, 1), ("w", 0, 8, 2, 3)]


def test_granules_that_are_free_for_the_whole_copy_are_preferred_and_then_unreserved_ones():
    # At i3, u (0 ... 3) is resident, 4 ... 11 were v's until i1, 12 ... 15 have always been free. Idle: most of i0 and
    # the 0.064 s in which i1 reads v from fast memory: copies would begin in i0.
    instructions = [(2000, ["s"], ["u", "v"]), (0, ["v"], []), (0, ["s"], []), (0, ["w"], []), (0, ["u"], [])]
    for size, place in ((32, ("w", 12, 4, 0, 3)), (40, ("w", 4, 5, 2, 3)), (104, ("w", 0, 13, 2, 3))):
        hand = Hand({"s": 8, "u": 32, "v": 64, "w": size}, instructions)
        outcome = hand.play(DROP, NO_COPY, NO_COPY, NO_COPY, DROP, COPY, NO_COPY)
        assert hand.stays(outcome)[2] == place
        assert outcome.executed[-1] == (DROP if size == 104 else NO_COPY)  # the third attempt evicts u
        used, stall = outcome.copies[-1][2:]
        hidden = {1: hand.ticks(0.064), 0: hand.ticks(0.32) - hand.ticks(0.064)}
        assert (used, stall) == ((hidden, 0) if size == 32 else ({}, hand.ticks(size / 100)))


def test_the_shortest_gap_is_taken_and_of_equals_the_lowest():
    # a, b, c, d lie at 0, 6, 8, 12; b and d have gone at i1: gaps of 2 at 6 and of 4 at 12, then of 4 at 12 only.
    sizes = {"a": 48, "b": 16, "c": 32, "d": 32, "e": 16, "f": 8}
    hand = Hand(sizes, [(0, [], ["a", "b", "c", "d"]), (0, [], ["e", "f"]), (0, ["a", "c", "e", "f"], [])])
    outcome = hand.play(*[NO_COPY] * 10)
    assert [stay[:3] for stay in hand.stays(outcome)] == [
        ("a", 0, 6),
        ("b", 6, 2),
        ("c", 8, 4),
        ("d", 12, 4),
        ("e", 6, 2),
        ("f", 12, 1),
    ]
    hand = Hand(sizes | {"d": 16}, [(0, [], ["a", "b", "c", "d"]), (0, [], ["e"]), (0, ["a", "c", "e"], [])])
    assert hand.stays(hand.play(*[NO_COPY] * 8))[4][:3] == ("e", 6, 2)  # 14 and 15 were d's, but 2 more are free there
    hand = Hand(sizes | {"d": 32, "c": 48}, [(0, [], ["a", "b", "c", "d"]), (0, [], ["e"]), (0, ["a", "c", "e"], [])])
    outcome = hand.play(*[NO_COPY] * 8)
    assert outcome.executed[3] == DROP  # d: 2 granules are left; equal gaps of 2 at 6 and at 14
    assert hand.stays(outcome)[3][:3] == ("e", 6, 2)


def test_an_eviction_copies_the_only_copy_back():
    # y (12 granules) is resident from i0 on; z (8) fits only where y is. Between y's write and z's, i1 has 0.42 s idle.
    hand = Hand(
        {"s": 8, "y": 96, "z": 64},
        [(0, ["s"], ["y"]), (500, ["s"], []), (0, [], ["z"]), (0, ["y", "z"], [])],
    )
    outcome = hand.play(DROP, NO_COPY, DROP, NO_COPY, NO_COPY, NO_COPY)
    idle = hand.ticks(0.5) - hand.ticks(0.08)
    stall = hand.ticks(0.96) - idle
    assert hand.copies(outcome) == [("y", "out", {1: idle}, stall)]
    assert hand.stays(outcome) == [("y", 0, 12, 0, 1), ("z", 0, 8, 2, 3)]
    assert outcome.executed == [DROP, NO_COPY, DROP, NO_COPY, DROP, NO_COPY]  # y has gone: its NoCopy is a Drop
    assert outcome.illegal_actions == 1
    assert outcome.masks[4] == (True, False, True)
    assert outcome.latency_ticks == hand.ticks(0.08, 0.096, 0.5, 0.064, 0.96, 0.064) + stall


def test_an_eviction_of_what_slow_memory_holds_copies_nothing():
    hand = Hand({"s": 8, "w": 96, "z": 64}, [(0, ["w"], []), (500, ["s"], []), (0, [], ["z"]), (0, ["w", "z"], [])])
    outcome = hand.play(COPY, DROP, NO_COPY, DROP, NO_COPY)
    assert hand.copies(outcome) == [("w", "in", {}, hand.ticks(0.96))]
    assert hand.stays(outcome) == [("w", 0, 12, 0, 1), ("z", 0, 8, 2, 3)]
    assert outcome.latency_ticks == hand.ticks(0.96, 0.096, 0.5, 0.064, 0.96, 0.064)


def test_a_copy_of_an_output_writes_it_back_in_the_next_idle_time():
    # 0.92 s idle in i1: y is in slow memory from i2 on, and may be dropped at i2 at no cost but the slow read.
    hand = Hand({"x": 64, "s": 8, "y": 64}, [(0, ["x"], ["y"]), (1000, ["s"], []), (0, ["y"], []), (0, ["y"], [])])
    outcome = hand.play(DROP, COPY, DROP, NO_COPY, DROP)
    assert hand.copies(outcome) == [("y", "out", {1: hand.ticks(0.64)}, 0)]
    assert hand.stays(outcome) == [("y", 0, 8, 0, 2)]
    assert outcome.latency_ticks == hand.ticks(0.64, 0.064, 1, 0.064, 0.64)


def test_an_output_of_the_program_is_written_back_at_its_last_access():
    # o is left in fast memory at i0: 0.42 s of i1 and 0.22 s of i2 take it to slow memory.
    hand = Hand({"s": 8, "o": (64, "live_out")}, [(0, ["s"], ["o"]), (500, ["s"], []), (1000, ["s"], [])])
    idle = hand.ticks(0.5) - hand.ticks(0.08)
    for action in (NO_COPY, COPY):
        outcome = hand.play(DROP, action, DROP, DROP)
        assert hand.copies(outcome) == [("o", "out", {1: idle, 2: hand.ticks(0.64) - idle}, 0)]
        assert hand.stays(outcome) == [("o", 0, 8, 0, 2)]
        assert outcome.latency_ticks == hand.ticks(0.08, 0.064, 0.5, 1)
    # Read once more at i1, it has i2's 0.92 s.
    hand = Hand({"s": 8, "o": (64, "live_out")}, [(0, ["s"], ["o"]), (500, ["o"], []), (1000, ["s"], [])])
    outcome = hand.play(DROP, NO_COPY, NO_COPY, DROP)
    assert hand.copies(outcome) == [("o", "out", {2: hand.ticks(0.64)}, 0)]
    # Written last, it stalls: even where only idle bandwidth may be asked for.
    for bandwidth in ("charged", "idle"):
        hand = Hand({"s": 8, "o": (64, "live_out")}, [(1000, ["s"], []), (0, [], ["o"])], bandwidth=bandwidth)
        outcome = hand.play(DROP, NO_COPY)
        assert hand.copies(outcome) == [("o", "out", {}, hand.ticks(0.64))]
        assert outcome.latency_ticks == hand.ticks(1, 0.064, 0.64)
        assert outcome.masks[1] == (True, True, bandwidth == "charged")


CHAIN = [(0, ["s"], ["p"]), (0, ["p"], ["q"]), (0, ["q"], [])]


def test_storage_in_place_is_taken_over():
    hand = Hand({"s": 8, "p": (96, 0), "q": (96, 0)}, CHAIN)
    outcome = hand.play(DROP, NO_COPY, NO_COPY, NO_COPY, NO_COPY)  # twice 96 B would not fit
    assert outcome.latency_ticks == hand.ticks(0.08, *[0.096] * 4)
    assert hand.stays(outcome) == [("p", 0, 12, 0, 1), ("q", 0, 12, 1, 2)]
    assert outcome.copies == []
    assert outcome.masks[3] == (True, True, False)


def test_storage_in_place_is_dropped_with_its_predecessor():
    hand = Hand({"s": 8, "p": (96, 0), "q": (96, 0)}, CHAIN)
    outcome = hand.play(DROP, NO_COPY, NO_COPY, DROP, COPY)
    # p was read in fast memory at i1, where q takes its place in slow memory: no instruction lies between, so that the
    # copy back is all stall. q's Copy is not legal: only the first access of a group may copy.
    assert hand.copies(outcome) == [("p", "out", {}, hand.ticks(0.96))]
    assert outcome.latency_ticks == hand.ticks(0.08, 0.096, 0.096, 0.96, 0.96, 0.96)
    assert outcome.masks[4] == (True, False, False)
    outcome = hand.play(DROP, DROP, COPY, NO_COPY, NO_COPY)
    assert outcome.executed == [DROP] * 5  # not the first access; nothing to take over; nothing resident
    assert outcome.illegal_actions == 3


def test_a_predecessor_is_held_until_it_is_overwritten():
    # p is not read again before q overwrites it at i2; z (8 granules) finds only 4 unreserved ones at i1 and evicts it.
    buffers = {"p": (96, 0), "z": 64, "q": (96, 0)}
    hand = Hand(buffers, [(0, ["p"], []), (0, [], ["z"]), (0, ["z"], ["q"])])
    outcome = hand.play(COPY, NO_COPY, NO_COPY, NO_COPY)
    assert outcome.executed == [COPY, NO_COPY, NO_COPY, DROP]
    assert hand.stays(outcome) == [("p", 0, 12, 0, 0), ("z", 0, 8, 1, 2)]
    outcome = hand.play(COPY, DROP, DROP, NO_COPY)
    assert hand.stays(outcome) == [("p", 0, 12, 0, 1), ("q", 0, 12, 2, 2)]


def test_what_lies_in_fast_memory_at_the_start_needs_no_copy():
    hand = Hand({"s": 8, "w": 64}, [(0, ["s"], []), (0, ["w"], [])], residents={"w": 4})
    outcome = hand.play(DROP, NO_COPY)
    assert outcome.latency_ticks == hand.ticks(0.08, 0.064)
    assert hand.stays(outcome) == [("w", 4, 8, 0, 1)]
    assert outcome.masks[1] == (True, True, False)
    # Dropped, it has never been there; slow memory holds it.
    outcome = hand.play(DROP, DROP)
    assert (outcome.latency_ticks, outcome.residences, outcome.copies) == (hand.discrete.all_slow_ticks, [], [])


def test_buffers_of_no_bytes_or_too_many_can_only_be_dropped():
    hand = Hand({"none": 0, "large": 136, "fits": 128}, [(0, ["none", "large", "fits"], [])])
    outcome = hand.play(COPY, COPY, COPY)
    assert outcome.masks == [(True, False, False), (True, False, False), (True, False, True)]
    assert outcome.executed == [DROP, DROP, COPY]


# What must hold of every plan.


@functools.cache
def outcomes(seed):
    """A random instance with its outcome for three random plans and a legal one."""
    rng = np.random.default_rng(seed)
    discrete = cases.random_case(rng)
    results = [(discrete, oracle.simulate(discrete, cases.random_plan(rng, discrete))) for _ in range(3)]
    legal, game = [], oracle.Game(discrete)
    while not game.over:
        legal.append(int(rng.choice(np.flatnonzero(game.legal()))))
        assert game.step(legal[-1])[0] == legal[-1]
    outcome = oracle.simulate(discrete, legal)
    assert outcome.illegal_actions == 0
    return [*results, (discrete, outcome)]


SEEDS = pytest.mark.parametrize("seeds", [range(start, start + 25) for start in range(0, 200, 25)], ids=str)


@SEEDS
def test_time_adds_up(seeds):
    for seed in seeds:
        for discrete, outcome in outcomes(seed):
            a = discrete.arrays
            assert sum(outcome.rewards_ticks) == discrete.all_slow_ticks - outcome.latency_ticks
            assert outcome.latency_ticks >= discrete.all_fast_ticks
            assert outcome.stall_ticks == sum(stall for *_, stall in outcome.copies)
            fast = np.array(outcome.executed) > 0
            slow_ticks = np.bincount(a.instruction, np.where(fast, 0, a.slow), len(a.compute)).astype(int)
            memory_ticks = np.bincount(a.instruction, np.where(fast, a.fast, a.slow), len(a.compute)).astype(int)
            times = np.maximum(a.compute, memory_ticks)
            assert outcome.latency_ticks == times.sum() + outcome.stall_ticks
            sold = np.zeros(len(a.compute), int)
            for buffer, _, used, stall in outcome.copies:
                assert sum(used.values()) + stall == a.copy[buffer]
                assert min([stall, *used.values()]) >= 0
                for instruction, ticks in used.items():
                    sold[instruction] += ticks
            assert (times >= slow_ticks + sold).all()  # slow memory moves no more than it can
            assert outcome.times_ticks == times.tolist()
            assert (outcome.slow_ticks, outcome.sold_ticks) == (slow_ticks.tolist(), sold.tolist())
            if not discrete.arrays.stalls_allowed:
                assert not any(direction == "in" and stall for _, direction, _, stall in outcome.copies)


@SEEDS
def test_no_granule_is_taken_twice(seeds):
    for seed in seeds:
        for discrete, outcome in outcomes(seed):
            a = discrete.arrays
            taken = np.full((len(a.compute), int(a.capacity)), -1)
            for buffer, offset, size, first, last in outcome.residences:
                assert size == a.granules[buffer]
                assert 0 <= first <= last < len(a.compute)
                assert offset + size <= a.capacity
                there = taken[first : last + 1, offset : offset + size]
                if a.predecessor[buffer] >= 0 and (there[0] == a.predecessor[buffer]).all():
                    there[0] = -1  # taken over in place, within an instruction that reads the predecessor
                assert (there == -1).all()
                there[:] = buffer


@SEEDS
def test_every_access_finds_its_data(seeds):
    """Replays the moves without the rules of the game: each read finds its buffer where it reads, and what leaves the
    program is in slow memory at the end."""
    for seed in seeds:
        for discrete, outcome in outcomes(seed):
            a = discrete.arrays
            in_slow_from = dict.fromkeys(np.flatnonzero(a.in_slow), 0)
            moves = {"in": {}, "out": {}}
            for buffer, direction, used, _ in outcome.copies:
                moves[direction].setdefault(buffer, []).append(used)
            for r, action in enumerate(outcome.executed):
                if a.is_output[r] and action == DROP:
                    in_slow_from[a.buffer[r]] = a.instruction[r] + 1
            for buffer, copies in moves["out"].items():
                assert len(copies) == 1  # nothing is written twice, and slow memory never forgets
                assert buffer not in in_slow_from
                in_slow_from[buffer] = 1 + max(copies[0], default=-1)
            for r, action in enumerate(outcome.executed):
                buffer, t = a.buffer[r], a.instruction[r]
                if action != DROP:
                    assert any(
                        stay[0] == buffer and stay[3] <= t <= stay[4] and (not a.is_output[r] or stay[3] == t)
                        for stay in outcome.residences
                    )
                elif not a.is_output[r]:
                    assert in_slow_from[buffer] <= t
            for buffer, copies in moves["in"].items():
                for used in copies:
                    assert min(used, default=len(a.compute)) >= in_slow_from[buffer]
            stays = {(stay[0], i) for stay in outcome.residences for i in range(stay[3], stay[4] + 1)}
            for copies in moves.values():
                for buffer, parts in copies.items():
                    assert all((buffer, i) in stays for used in parts for i in used)  # both ends are there meanwhile
            used = {int(b) for b in a.buffer}
            assert all(b in in_slow_from for b in map(int, np.flatnonzero(a.live_out)) if b in used)


def test_random_cases_exercise_every_rule():
    seen = dict.fromkeys(("in", "out", "stall", "hidden", "in place", "illegal", "live out", "resident"), 0)
    for seed in range(60):
        for discrete, outcome in outcomes(seed):
            a = discrete.arrays
            for _, direction, used, stall in outcome.copies:
                seen[direction] += 1
                seen["stall"] += stall > 0
                seen["hidden"] += bool(used)
            moved = [(a.predecessor[a.buffer[r]] >= 0) & a.is_output[r] for r, x in enumerate(outcome.executed) if x]
            seen["in place"] += sum(moved)
            seen["illegal"] += outcome.illegal_actions
            seen["live out"] += sum(bool(a.live_out[b]) and way == "out" for b, way, _, _ in outcome.copies)
            seen["resident"] += bool((a.resident_offset >= 0).any())
    assert min(seen.values()) > 20, seen
