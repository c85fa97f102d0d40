"""Agents of another package that cheat, or leave their process other than they found it, one way each.

Those that look for something that they must not find raise `Found` where they find it.
"""

import gc
import inspect
import os
import pickle
import random
import signal
import stat
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

from dsegym import Agent

SPENT = 10
UNCOUNTED = 2000


class Found(Exception):
    pass


class _Rogue(Agent):
    """Spends ten samples, then does what it does, then costs what it takes for the best."""

    summary = "cheats"

    def search(self, referee, seed):
        designs = referee.space.sample(np.random.default_rng(seed), SPENT)
        referee.evaluate(designs)
        self.cheat(referee, referee.space.sample(np.random.default_rng(seed + 1), UNCOUNTED))

    def cheat(self, referee, designs):
        raise NotImplementedError


def reachable(*roots, depth=6):
    """All objects that attributes, members, closures and cells lead to, underscores or not."""
    seen, level = {}, list(roots)
    for _ in range(depth):
        following = []
        for thing in level:
            if id(thing) in seen or isinstance(thing, (str, bytes, int, float, type, type(sys))):
                continue
            seen[id(thing)] = thing
            following += list(getattr(thing, "__dict__", {}).values())
            following += list(thing.values()) if isinstance(thing, dict) else []
            following += list(thing) if isinstance(thing, (list, tuple, set)) else []
            following += [cell.cell_contents for cell in getattr(thing, "__closure__", None) or ()]
            following += [thing.__self__] if inspect.ismethod(thing) else []
        level = following
    return list(seen.values())


def can_cost(thing):
    return type(thing).__name__ in ("Problem", "Scorekeeper", "FunctionalVectorEnv", "CountedEnv", "Yardstick")


class AsksTheEnvironment(_Rogue):
    name = "asks_the_environment"

    def cheat(self, referee, designs):
        referee.vector_env(1).problem.evaluate(designs)


class AsksTheAdaptor(_Rogue):
    name = "asks_the_adaptor"

    def cheat(self, referee, designs):
        referee.stable_baselines3_env(1).get_attr("problem")[0].evaluate(designs)


class LooksAround(_Rogue):
    """Every object of the process, every frame above it, and whatever the referee and its environment lead to."""

    name = "looks_around"

    def cheat(self, referee, designs):
        frames, frame = [], sys._getframe()
        while frame:
            frames += list(frame.f_locals.values()) + list(frame.f_globals.values())
            frame = frame.f_back
        everything = [*reachable(referee, referee.vector_env(1), *frames), *gc.get_objects()]
        found = [thing for thing in everything if not isinstance(thing, type) and can_cost(thing)]
        if found:
            raise Found(f"{type(found[0])}")


class MakesAProblem(_Rogue):
    name = "makes_a_problem"

    def cheat(self, referee, designs):
        import dsegym

        dsegym.make_problem("dsegym/AcceleratorSizing-v0", workload="alexnet").evaluate(designs)


class MakesAnEnvironment(_Rogue):
    name = "makes_an_environment"

    def cheat(self, referee, designs):
        import gymnasium

        import dsegym  # noqa: F401

        gymnasium.make("dsegym/AcceleratorSizing-v0", workload="alexnet").reset()


class BuildsAProblem(_Rogue):
    name = "builds_a_problem"

    def cheat(self, referee, designs):
        from dsegym.envs.accelerator.sizing import SizingOptions, build
        from dsegym.envs.core.options import parse

        build(parse(SizingOptions, {"workload": "alexnet"}))


class ResetsEarly(_Rogue):
    """Takes all rewards of an episode but the last, many times."""

    name = "resets_early"

    def cheat(self, referee, designs):
        env = referee.vector_env(4, "sequential")
        for _ in range(100):
            env.reset()
            for _ in range(3):
                env.step(env.action_space.sample())
        raise Found("a hundred episodes of four lanes")


class LeavesLanesOpen(_Rogue):
    """More lanes than the budget has samples, and none of them to its end."""

    name = "leaves_lanes_open"

    def cheat(self, referee, designs):
        env = referee.vector_env(500, "sequential")
        env.reset()
        for _ in range(3):
            _, reward, *_ = env.step(env.action_space.sample())
        shown = np.flatnonzero(reward)
        if shown.size and shown.max() >= referee.budget - SPENT:
            raise Found(f"{shown.size} lanes")


class LooksForResults(_Rogue):
    """Where a run was started, or its arguments, or environment variables, would tell where rivals' results are."""

    name = "looks_for_results"

    def cheat(self, referee, designs):
        places = [os.getcwd(), *sys.argv, *os.environ.values()]
        frame = sys._getframe()
        while frame:
            places += [value for value in frame.f_locals.values() if isinstance(value, (str, Path))]
            frame = frame.f_back
        for place in map(Path, filter(None, places)):
            try:
                found = [*place.glob("**/suite.json")] if len(place.parts) > 1 and place.is_dir() else []
            except OSError:
                continue
            if found:
                raise Found(str(found[0]))


class RewritesRecords(_Rogue):
    """Public and private names of the referee; none of them is what counts."""

    name = "rewrites_records"

    def cheat(self, referee, designs):
        for name in ("_parts", "_used", "_start", "_budget", "_recorded", "_time_limit_s", "samples_left", "samples"):
            try:
                setattr(referee, name, 10**6)
            except AttributeError:
                continue
        referee.samples.objective[:] = 0.0
        time.perf_counter = time.monotonic = lambda: 1e9
        referee.evaluate(designs)


class AsksForMore(_Rogue):
    """Names that the scorekeeper has, but does not offer."""

    name = "asks_for_more"

    def cheat(self, referee, designs):
        for name in ("_problem", "_record", "settle", "start", "close", "__class__"):
            try:
                referee._ask(name)
            except Exception:
                continue
            raise Found(name)


class Bomb:
    def __reduce__(self):
        return os.system, ("touch " + os.environ["DSEGYM_TEST_BOMB"],)


class SendsCode(_Rogue):
    """A pickle that runs a command where it is read."""

    name = "sends_code"

    def cheat(self, referee, designs):
        pickle.dumps(Bomb())
        referee._ask("baseline", Bomb())


class SendsNoise(_Rogue):
    name = "sends_noise"

    def cheat(self, referee, designs):
        for descriptor in range(3, 64):
            try:
                os.write(descriptor, b"\0\0\0\x08notpickl")
            except OSError:
                continue
        time.sleep(60)


def pipe():
    """The descriptor of the agent's end of its pipe."""
    for descriptor in range(3, 64):
        try:
            if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                return descriptor
        except OSError:
            continue
    raise Found("no pipe")


class LeavesAMessageUnfinished(_Rogue):
    name = "leaves_a_message_unfinished"

    def cheat(self, referee, designs):
        os.write(pipe(), struct.pack("!i", 1000) + b"abc")
        time.sleep(300)


class LeavesALengthUnfinished(_Rogue):
    name = "leaves_a_length_unfinished"

    def cheat(self, referee, designs):
        os.write(pipe(), b"\0")
        time.sleep(300)


class DripsAMessage(_Rogue):
    name = "drips_a_message"

    def cheat(self, referee, designs):
        os.write(pipe(), struct.pack("!i", 10**6))
        while True:
            os.write(pipe(), b"a")
            time.sleep(0.01)


class ReadsNoAnswer(_Rogue):
    name = "reads_no_answer"

    def cheat(self, referee, designs):
        question = pickle.dumps(("samples",), 5)
        while True:
            os.write(pipe(), struct.pack("!i", len(question)) + question)


class AnnouncesAHugeMessage(_Rogue):
    name = "announces_a_huge_message"

    def cheat(self, referee, designs):
        os.write(pipe(), struct.pack("!i", 2**31 - 1))
        while True:
            os.write(pipe(), bytes(2**20))


class AnnouncesAMessageOfFourGibibytes(_Rogue):
    name = "announces_a_message_of_four_gibibytes"

    def cheat(self, referee, designs):
        os.write(pipe(), struct.pack("!iQ", -1, 2**32))
        while True:
            os.write(pipe(), bytes(2**20))


class GrowsWhileItDrips(_Rogue):
    name = "grows_while_it_drips"

    def cheat(self, referee, designs):
        grown = []
        os.write(pipe(), struct.pack("!i", 10**6))
        while True:
            os.write(pipe(), b"a")
            grown.append(b"a" * 2**24)
            time.sleep(0.01)


class PatchesDsegym(_Rogue):
    name = "patches_dsegym"

    def cheat(self, referee, designs):
        from dsegym.agents.random_search import RandomSearch
        from dsegym.agents.referee import Referee
        from dsegym.envs.core.spaces import DesignSpace

        RandomSearch.search = lambda self, referee, seed: None
        Referee.evaluate = lambda self, designs: None
        DesignSpace.sample = lambda self, generator, count: np.zeros((count, len(self)), np.int32)


class ChangesSettings(_Rogue):
    """What libraries change when they are imported, or a careless agent; its next trial must not see it."""

    name = "changes_settings"

    def cheat(self, referee, designs):
        import jax

        if jax.config.jax_enable_x64 or os.environ.get("JAX_PLATFORMS") == "nowhere" or Path("left").exists():
            raise Found("the last trial's settings")
        jax.config.update("jax_enable_x64", True)
        jax.config.update("jax_disable_jit", True)
        os.environ["JAX_PLATFORMS"] = "nowhere"
        Path("left").touch()
        np.random.default_rng = lambda seed=None: np.random.Generator(np.random.PCG64(0))
        np.random.seed(0)  # noqa: NPY002
        random.seed(0)
        os.chdir("/")
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


class DrawsGlobally(Agent):
    """Draws from the global streams of random numbers, which no seed of its own sets."""

    name = "draws_globally"
    summary = "careless"

    def search(self, referee, seed):
        for _ in range(SPENT):
            drawn = np.random.random(len(referee.space)) * random.random()  # noqa: NPY002
            referee.evaluate((drawn * referee.space.cardinalities).astype(np.int32))


class LeavesProcesses(_Rogue):
    """A command, a fork of itself, a daemon with another parent and session, and a thread."""

    name = "leaves_processes"
    marker = "31.4159"  # of its commands

    def cheat(self, referee, designs):
        subprocess.Popen(["sleep", self.marker])
        subprocess.Popen(["setsid", "sh", "-c", f"sleep {self.marker} & sleep {self.marker}"])
        subprocess.run(["sh", "-c", f"setsid sleep {self.marker} &"], check=True)
        threading.Thread(target=time.sleep, args=(float(self.marker),), daemon=True).start()


class ForksAndReturns(_Rogue):
    """Both of it return from the search."""

    name = "forks_and_returns"

    def cheat(self, referee, designs):
        os.fork()


class KillsItsParent(_Rogue):
    name = "kills_its_parent"

    def cheat(self, referee, designs):
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)


class KilledOnce(_Rogue):
    """The system ends it, as one that is out of memory does; the next time it does not."""

    name = "killed_once"

    def cheat(self, referee, designs):
        mark = Path(os.environ["DSEGYM_TEST_MARK"])
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)


class StopsItsParent(_Rogue):
    """The worker goes on no more, and does not end."""

    name = "stops_its_parent"

    def cheat(self, referee, designs):
        os.kill(os.getppid(), signal.SIGSTOP)
        time.sleep(300)
