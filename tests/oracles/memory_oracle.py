"""The memory-mapping game in plain Python: exact integers, one access at a time.

Written from the rules of `docs/memory_mapping.md` alone, as an independent check of the library's simulator. What lies
in fast memory is a list of explicit rectangles, instructions x granules; free runs are the gaps between them.
"""

import bisect
import itertools
from dataclasses import dataclass

DROP, NO_COPY, COPY = range(3)
NONE = -1


@dataclass(eq=False)
class Stay:
    """A buffer's stay in fast memory: granules offset ... offset + size - 1, taken in instructions start ... end.

    Its granules are reserved while `resident`, and taken until `end` whether it still is or not.
    """

    buffer: int
    offset: int
    size: int
    start: int
    end: int
    resident: bool = True

    def touches(self, offset, size):
        return self.offset < offset + size and offset < self.offset + self.size


@dataclass(frozen=True)
class Place:
    """Where a buffer would go, from when on, and whom it would push out."""

    offset: int
    begin: int
    victims: tuple[Stay, ...]


@dataclass(frozen=True)
class Outcome:
    """What a plan does. Times in ticks."""

    latency_ticks: int
    stall_ticks: int
    executed: list  # per access: the action taken, an illegal one as 0
    masks: list  # per access: whether Drop, NoCopy and Copy were legal before it
    rewards_ticks: list  # per access: latency before it less latency after it
    illegal_actions: int
    residences: list  # (buffer, first granule, granules, first instruction, last instruction), in the order they began
    copies: list  # (buffer, "in" or "out", {instruction: ticks of idle time}, stall ticks), in the order of decision
    times_ticks: list  # per instruction: time(t) at the end
    slow_ticks: list  # per instruction: ticks of the accesses that slow memory serves
    sold_ticks: list  # per instruction: idle ticks that copies have used


class Game:
    """The state between two accesses. `legal` says what is allowed, `step` does it."""

    def __init__(self, discrete):
        arrays = discrete.arrays
        for name in arrays._fields:
            value = getattr(arrays, name)
            setattr(self, name, value.tolist() if hasattr(value, "tolist") else value)
        self.length = len(self.compute)
        self.accesses = len(self.instruction)

        self.access = 0  # the next one to decide
        self.slow_ticks, self.fast_ticks = [0] * self.length, [0] * self.length
        for r, t in enumerate(self.instruction):
            self.slow_ticks[t] += self.slow[r]
        self.sold = [0] * self.length
        self.stall = 0
        self.slow_from = {b: 0 for b, held in enumerate(self.in_slow) if held}  # absent: not in slow memory
        self.stays = []  # all there ever were
        self.resident = {}  # buffer -> its stay, of those in fast memory now
        for b, offset in enumerate(self.resident_offset):
            if offset != NONE:
                self._settle(Stay(b, offset, self.granules[b], 0, -1))
                self.slow_from[b] = 0
        self.copies = []
        self.illegal_actions = 0
        self._known = None  # the mask and the place of the next access, once worked out

    # Time.

    def time(self, t):
        return max(self.compute[t], self.slow_ticks[t] + self.fast_ticks[t])

    def idle(self, t):
        return self.time(t) - self.slow_ticks[t] - self.sold[t]

    def idle_before(self):
        """P: idle time of all instructions before each, of T + 1."""
        return list(itertools.accumulate(map(self.idle, range(self.length)), initial=0))

    @property
    def latency(self):
        return sum(map(self.time, range(self.length))) + self.stall

    # Legality.

    @property
    def over(self):
        return self.access == self.accesses

    def legal(self):
        """Whether Drop, NoCopy and Copy of the next access are legal."""
        return self._options()[0]

    def _options(self):
        if self._known is None:
            self._known = self._work_out_options(self.access)
        return self._known

    def _work_out_options(self, r):
        """What is legal, and where the buffer would go (None: nowhere, or it needs no place)."""
        t, b = self.instruction[r], self.buffer[r]
        if not 1 <= self.granules[b] <= self.capacity:
            return (True, False, False), None
        if self.is_output[r] and self.predecessor[b] != NONE:
            return (True, self.predecessor[b] in self.resident, False), None
        if b in self.resident:
            return (True, True, False), None
        idle_before = self.idle_before()
        place = self._find_place(r, idle_before)
        if self.is_output[r]:
            until = self._write_back_window(r).stop
            found = idle_before[max(until, t + 1)] - idle_before[t + 1]
        else:
            found = idle_before[t] - idle_before[place.begin] if place else 0
        copy = place is not None and self.copy_allowed[r] and (self.stalls_allowed or found >= self.copy[b])
        return (True, self.is_output[r] and place is not None, copy), place

    def _find_place(self, r, idle_before):
        t, b = self.instruction[r], self.buffer[r]
        begin = t
        if not self.is_output[r]:
            ticks = min(self.copy[b], idle_before[t] - idle_before[self.slow_from[b]])
            begin = min(t, bisect.bisect_right(idle_before, idle_before[t] - ticks) - 1)
        attempts = (
            lambda stay: stay.resident or stay.end >= begin,
            lambda stay: stay.resident or stay.end >= t,
            lambda stay: stay.end >= t,
        )
        for in_the_way in attempts:
            offset = self._best_fit(self.granules[b], filter(in_the_way, self.stays))
            if offset is not None:
                there = [stay for stay in self.stays if stay.touches(offset, self.granules[b])]
                begin = max([begin, *(stay.end + 1 for stay in there)])
                return Place(offset, begin, tuple(stay for stay in there if stay.resident))
        return None

    def _best_fit(self, need, obstacles):
        """Start of the shortest gap between the obstacles that is long enough, the lowest of equals; or None."""
        gaps, free_from = [], 0
        for start, stop in sorted((stay.offset, stay.offset + stay.size) for stay in obstacles):
            gaps.append((start - free_from, free_from))
            free_from = max(free_from, stop)
        gaps.append((self.capacity - free_from, free_from))
        fitting = [gap for gap in gaps if gap[0] >= need]
        return min(fitting)[1] if fitting else None

    # Actions.

    def step(self, action):
        """Decides the next access. The action really taken, and the reward in ticks."""
        if action not in (DROP, NO_COPY, COPY):
            raise ValueError(f"no such action: {action}")
        if not self.legal()[action]:
            action = DROP
            self.illegal_actions += 1
        r, place = self.access, self._options()[1]
        t = self.instruction[r]
        before = self.time(t) + self.stall  # no other instruction's time changes
        if action == DROP:
            self._drop(r)
        else:
            self._serve_fast(r, action, place)
        self.access += 1
        self._known = None
        return action, before - self.time(t) - self.stall

    def _drop(self, r):
        t, b = self.instruction[r], self.buffer[r]
        replaced = self.is_output[r] and self.predecessor[b] != NONE
        leaving = self.resident.get(self.predecessor[b] if replaced else b)
        if leaving is not None:
            if leaving.buffer not in self.slow_from:
                self._move(leaving.buffer, "out", range(leaving.end + 1, t))
                self.slow_from[leaving.buffer] = t
                leaving.end = max(leaving.end, t - 1)
            self._leave(leaving)
        self.slow_from[b] = max(self.slow_from.get(b, 0), t + 1)

    def _serve_fast(self, r, action, place):
        t, b = self.instruction[r], self.buffer[r]
        if self.is_output[r] and self.predecessor[b] != NONE:
            former = self.resident[self.predecessor[b]]
            former.end = max(former.end, t - 1)
            self._leave(former)
            stay = self._settle(Stay(b, former.offset, former.size, t, t))
        elif b in self.resident:
            stay = self.resident[b]
        else:
            self._evict(place.victims, place.begin)
            if not self.is_output[r]:
                self._move(b, "in", range(t - 1, place.begin - 1, -1))
            stay = self._settle(Stay(b, place.offset, self.granules[b], place.begin, t))
        stay.end = t
        self.slow_ticks[t] -= self.slow[r]
        self.fast_ticks[t] += self.fast[r]

        owed = self.live_out[b] and self.last_access[r] and b not in self.slow_from
        if owed or (self.is_output[r] and action == COPY):
            used = self._move(b, "out", self._write_back_window(r))
            stay.end = max(used, default=t)
            self.slow_from[b] = stay.end + 1
        if b in self.slow_from:
            self.slow_from[b] = max(self.slow_from[b], t + 1)
        if self.last_access[r]:
            self._leave(stay)

    def _write_back_window(self, r):
        """The instructions after r's, before the buffer's next use."""
        return range(self.instruction[r] + 1, self.length if self.next_use[r] == NONE else self.next_use[r])

    def _evict(self, victims, begin):
        unsaved = [stay for stay in victims if stay.buffer not in self.slow_from]
        first = 1 + max((stay.end for stay in unsaved), default=NONE)
        for stay in sorted(unsaved, key=lambda stay: stay.offset):
            self._move(stay.buffer, "out", range(first, begin))
            self.slow_from[stay.buffer] = begin
        for stay in victims:
            stay.end = max(stay.end, begin - 1)
            self._leave(stay)

    def _move(self, b, direction, window):
        """Copies a buffer in idle time of the instructions of the window, in its order; what is missing is a stall."""
        used, missing = {}, self.copy[b]
        for i in window:
            ticks = min(missing, self.idle(i))
            if ticks:
                used[i] = ticks
                self.sold[i] += ticks
                missing -= ticks
        self.stall += missing
        self.copies.append((b, direction, used, missing))
        return used

    def _settle(self, stay):
        self.stays.append(stay)
        self.resident[stay.buffer] = stay
        return stay

    def _leave(self, stay):
        stay.resident = False
        del self.resident[stay.buffer]


def simulate(discrete, plan):
    """The outcome of a plan, one action for each access.

    A buffer that takes over its predecessor's granules is a stay of its own. The two share the granules in the
    instruction of the take-over if the predecessor is read there; no other stays overlap.
    """
    game = Game(discrete)
    if len(plan) != game.accesses:
        raise ValueError(f"{len(plan)} actions for {game.accesses} accesses")
    masks, executed, rewards = [], [], []
    for action in plan:
        masks.append(game.legal())
        action, reward = game.step(int(action))
        executed.append(action)
        rewards.append(reward)
    return Outcome(
        latency_ticks=game.latency,
        stall_ticks=game.stall,
        executed=executed,
        masks=masks,
        rewards_ticks=rewards,
        illegal_actions=game.illegal_actions,
        residences=[(s.buffer, s.offset, s.size, s.start, s.end) for s in game.stays if s.start <= s.end],
        copies=game.copies,
        times_ticks=[game.time(t) for t in range(game.length)],
        slow_ticks=game.slow_ticks,
        sold_ticks=game.sold,
    )
