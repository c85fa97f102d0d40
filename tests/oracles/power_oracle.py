"""A row of servers step by step in plain Python: what the game of power caps is held against.

Imports nothing of the package; the constants are typed again. Luck comes from outside: a dict a step with `shared`,
`own` (2), `burst`, `height` and `length`. Classes: low priority, high priority.
"""

from __future__ import annotations

import math

LEVELS = (1410.0, 1305.0, 1275.0, 1110.0)
BRAKE = 288.0


def relative_time(frequency):
    slower = 1410.0 / frequency
    return 0.1 * slower + 0.9 * max(1 + 0.09 * (slower - 1), 0.5 * slower)


def power_of(busy, frequency):
    gpu = 0.2 + busy * (0.9 * 0.6 + 0.1 * 1.05 - 0.2) * (frequency / 1410.0) ** 2.4
    return 0.34 + 0.14 * busy + 8 * 0.4 / 6.5 * gpu


class Row:
    """An episode."""

    def __init__(self, *, day, steps, delay_steps, shares, servers, first_hour):
        self.day, self.steps, self.delay, self.shares, self.servers = day, steps, delay_steps, shares, servers
        self.first_hour, self.step = first_hour, 0
        self.shared, self.own, self.burst, self.burst_left = 0.0, [0.0, 0.0], 0.0, 0
        self.waiting, self.given, self.applied = [0.0, 0.0], [], [0, 0]
        self.brake_left, self.called, self.brakes = 0, False, 0
        self.lost, self.turned, self.capped, self.served = [0.0, 0.0], 0.0, [0, 0], 0.0
        self.load = self.loads({"shared": 0.0, "own": (0.0, 0.0), "burst": 1.0, "height": 0.0, "length": 0.0})
        self.power = self.row([(load, LEVELS[0]) for load in self.load])
        self.peak = self.power

    def loads(self, luck):
        keep = math.exp(-5.0 / 120.0)
        new = math.sqrt(1 - keep**2)
        self.shared = keep * self.shared + new * 0.035 * luck["shared"]
        self.own = [keep * own + new * 0.025 * each for own, each in zip(self.own, luck["own"], strict=True)]
        if self.burst_left == 0 and luck["burst"] < 5.0 / 3600.0:
            self.burst_left, self.burst = 6 + math.floor(luck["length"] * 54), 0.1 + 0.145 * luck["height"]
        else:
            self.burst_left = max(self.burst_left - 1, 0)
        if self.burst_left == 0:
            self.burst = 0.0
        hour = self.first_hour + self.step * 5.0 / 3600.0
        curve = (0.365 + 0.235 * math.cos(2 * math.pi / 24 * (hour - 14))) * self.day
        return [min(max(curve + self.shared + own + self.burst, 0.0), 1.0) for own in self.own]

    def row(self, classes):
        return self.servers * sum(share * power_of(*each) for share, each in zip(self.shares, classes, strict=True))

    def advance(self, levels, luck):
        self.given.append(list(levels))
        if len(self.given) > self.delay:
            self.applied = self.given[len(self.given) - 1 - self.delay]
        if self.called:
            self.brake_left = 8
        elif not (self.brake_left == 1 and self.power > 0.95):
            self.brake_left = max(self.brake_left - 1, 0)
        self.step += 1
        self.load = self.loads(luck)
        classes = []
        for place in range(2):
            frequency = BRAKE if self.brake_left else LEVELS[self.applied[place]]
            time = relative_time(frequency)
            want = self.load[place] + self.waiting[place]
            served = min(want, 1 / time)
            waits = want - served
            self.waiting[place] = min(waits, 6.0)
            turned = waits - self.waiting[place]
            self.lost[place] += self.load[place] * (time + self.waiting[place] * 0.5 - 1) + 10 * turned
            self.turned += self.shares[place] * turned
            self.served += self.shares[place] * served
            self.capped[place] += self.applied[place] > 0
            classes.append((min(served * time, 1.0), frequency))
        self.power = self.row(classes)
        self.peak = max(self.peak, self.power)
        self.called = self.power > 1 and not self.brake_left
        self.brakes += self.called

    def impact(self):
        hours = self.steps * 5.0 / 3600.0
        points = 20_000  # the mean load of the day's curve, by the midpoint rule
        curve = [
            math.cos(2 * math.pi / 24 * (self.first_hour + hours * (n + 0.5) / points - 14)) for n in range(points)
        ]
        expected = 0.365 + 0.235 * sum(curve) / points
        low, high = (100 * lost / (self.steps * expected) for lost in self.lost)
        return 0.1 + (low + 10 * high) / 11 + 10 * self.brakes
