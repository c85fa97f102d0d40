"""Agents of another package that misbehave, one way each; each spends ten samples first."""

import os
import signal
import time
from pathlib import Path

import numpy as np

from dsegym import Agent
from dsegym.agents.random_search import RandomSearch
from dsegym.costmodels.errors import BudgetExhausted

SPENT = 10


class _Awkward(Agent):
    summary = "misbehaves"

    def search(self, referee, seed):
        designs = referee.space.sample(np.random.default_rng(seed), SPENT)
        referee.evaluate(designs)
        self.misbehave(referee, designs)

    def misbehave(self, referee, designs):
        """What it does with the rest of its budget."""


class Raises(_Awkward):
    name = "raises"

    def misbehave(self, referee, designs):
        raise ValueError("no\nsuch thing")


class Exits(_Awkward):
    name = "exits"

    def misbehave(self, referee, designs):
        raise SystemExit(3)


class Hangs(_Awkward):
    name = "hangs"

    def misbehave(self, referee, designs):
        while True:
            pass


class Stubborn(_Awkward):
    name = "stubborn"

    def misbehave(self, referee, designs):
        while True:
            try:
                time.sleep(1.0)
            except BaseException:
                continue


class Dies(_Awkward):
    name = "dies"

    def misbehave(self, referee, designs):
        os._exit(7)


class Killed(_Awkward):
    name = "killed"

    def misbehave(self, referee, designs):
        os.kill(os.getpid(), signal.SIGKILL)


class Greedy(_Awkward):
    name = "greedy"

    def misbehave(self, referee, designs):
        for _ in range(5):
            try:
                referee.evaluate(np.repeat(designs, 100, axis=0))
            except BudgetExhausted:
                continue


class Modest(_Awkward):
    name = "modest"


class Vanishes(_Awkward):
    name = "vanishes"

    def misbehave(self, referee, designs):
        os._exit(0)


class Leaves(_Awkward):
    """A fork of it holds all that it had open, the pipe to the referee too."""

    name = "leaves"

    def misbehave(self, referee, designs):
        if os.fork() == 0:
            time.sleep(300)
        os._exit(0)


class Interrupts(_Awkward):
    name = "interrupts"

    def misbehave(self, referee, designs):
        raise KeyboardInterrupt


class Speechless(_Awkward, Exception):
    name = "speechless"

    def misbehave(self, referee, designs):
        raise Speechless

    def __str__(self):
        raise SystemExit(3)


class Endless(_Awkward):
    name = "endless"

    def misbehave(self, referee, designs):
        raise ValueError("x" * 100_000)


class Hungry(_Awkward):
    name = "hungry"

    def misbehave(self, referee, designs):
        kept = []
        while True:
            kept.append(np.ones(2**22))


class Gated(Agent):
    """Random search that waits until a file named `open` lies in the folder that the environment names."""

    name = "gated"
    summary = "waits"

    def search(self, referee, seed):
        folder = Path(os.environ["DSEGYM_TEST_GATE"])
        (folder / f"waiting-{seed}").touch()
        while not (folder / "open").exists():
            time.sleep(0.02)
        RandomSearch().search(referee, seed)


class GoesThroughASet(Agent):
    """Draws from texts in a set's order, which is that of Python's hash seed."""

    name = "goes_through_a_set"
    summary = "the order of a set"

    def search(self, referee, seed):
        designs = referee.space.sample(np.random.default_rng(seed), SPENT)
        order = sorted(range(SPENT), key=lambda place: hash(f"{place}"))
        referee.evaluate(designs[order])
