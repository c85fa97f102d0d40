"""An engine of continuous batching in plain Python: lists of requests, a scheduler that goes through them one by one.

Written from the rules (docs/serving_stream.md), not from the JAX engine, with which it shares the tables of step times
only. Whole microseconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

BLOCK, NEVER = 16, 2**31 - 1


@dataclass
class Request:
    arrival: int
    prompt: int
    output: int
    reused: int = 0
    computed: int = 0
    generated: int = 0
    held: int = 0
    cached: int = 0  # blocks of it that are free and not taken yet, at most
    behind: int = 0  # free blocks that are taken after these
    swapped: int = 0  # tokens of it in the host's memory
    queued: int | None = None
    first: int | None = None
    last: int | None = None

    @property
    def target(self):
        return self.prompt + self.generated


def blocks(tokens):
    return math.ceil(tokens / BLOCK)


def _between(points, value):
    """The place of a value among points, and the part of 128 to the next."""
    place = max(place for place, point in enumerate(points[:-1]) if point <= value)
    low, high = points[place], points[place + 1]
    return place, (value - low) * 128 // (high - low)


def step_us(law, tokens, sequences, chunk, before, decoding, context, longest):
    contexts = [0] + [16 * 2**i for i in range(14)]
    chunks = [0] + [16 * 2**i for i in range(len(law.attention) - 1)]
    axes = (chunks, contexts, [0] + [2**i for i in range(9)], contexts)
    context += (longest - context) * int(law.skew) // 1024
    places = [_between(axis, value) for axis, value in zip(axes, (chunk, before, decoding, context), strict=True)]

    def value(fixed):
        if len(fixed) == 4:
            return int(law.attention[tuple(fixed)])
        place, part = places[len(fixed)]
        low, high = value([*fixed, place]), value([*fixed, place + 1])
        return low + (high - low) * part // 128

    total = int(law.token[tokens]) + int(law.sequence[sequences]) + int(law.layers) * value([])
    return (total + 500) // 1000


class Engine:
    """One engine; `requests` are sent to it in the order of arrival."""

    def __init__(self, law, *, sequences, blocks, tokens=2048, depth=2, swap_us=0, chunk=NEVER, whole=0):
        self.swap_us, self.moved = swap_us, 0  # blocks to the host's memory and back, of this step
        self.law, self.sequences, self.tokens, self.depth = law, sequences, tokens, depth
        self.chunk, self.whole = chunk, whole
        self.free, self.running, self.waiting, self.coming = blocks, [], [], []
        self.now, self.flying, self.steps, self.preempted, self.log = None, [], 0, 0, []
        self.ends = 0

    def send(self, request):
        self.coming.append(request)
        if self.now is None:
            self.now = request.arrival

    def run_until(self, until):
        """Lets the scheduler look as often as it would before `until`."""
        while self.now is not None and self.now < until:
            self.look()

    def look(self):
        self.moved = 0
        for request in [each for each in self.running if each.last is not None and each.last <= self.now]:
            self.running.remove(request)
            self._give_back(request.held)
            request.held = 0
        while self.coming and self.coming[0].arrival <= self.now:
            request = self.coming.pop(0)
            request.queued = self.now
            self.waiting.append(request)
        step = self._running_step()
        if step is None:
            step = self._lost_step
        else:
            step += self._admitted(self.tokens - sum(tokens for _, tokens in step))
        if step:
            self._carry(step)
        elif self.ends > self.now:
            self.now = self.ends
        elif self.coming:
            self.now = self.coming[0].arrival
        else:
            self.now = None

    def _give_back(self, count):
        self.free += count
        for request in self.waiting:
            request.behind += count

    def _running_step(self):
        """What the running requests do; None if one was preempted, the step then is `_lost_step`."""
        step, budget, lost = [], self.tokens, False
        for request in list(self.running):
            if request not in self.running:
                continue
            if request.last is not None or budget == 0:
                continue
            tokens = min(request.target - request.computed, self.chunk, budget)
            more = blocks(request.computed + tokens) - request.held
            while more > self.free and request in self.running:
                victim = [each for each in self.running if each.last is None][-1]
                self._preempt(victim)
                lost = True
            if request not in self.running:
                break
            self.free -= more
            request.held += more
            budget -= tokens
            step.append((request, tokens))
        if lost:
            self._lost_step = step
            return None
        return step

    def _preempt(self, victim):
        self.running.remove(victim)
        self._give_back(victim.held)
        if self.swap_us:
            victim.swapped, self.moved = victim.computed, self.moved + victim.held
        else:
            victim.cached, victim.behind = victim.computed // BLOCK, 0
        victim.held = victim.computed = 0
        self.waiting.insert(0, victim)
        self.preempted += 1

    def _admitted(self, budget):
        step, before, ahead, hits = [], self.free, 0, 0
        while self.waiting and budget > 0 and len(self.running) < self.sequences:
            request = self.waiting[0]
            whole = blocks(request.target)
            if whole > before - ahead:
                break
            hit = max(0, min(before - ahead - request.behind, request.cached, (request.target - 1) // BLOCK))
            request.computed = max(hit * BLOCK, request.reused, request.swapped)
            wanted = min(request.target - request.computed, self.chunk)
            if self.whole and wanted > budget:
                break
            self.moved += blocks(request.swapped)
            request.swapped = 0
            tokens = min(wanted, budget)
            request.held, request.cached = blocks(request.computed + tokens), 0
            self.free -= request.held
            ahead, hits, budget = ahead + whole, hits + hit, budget - tokens
            self.running.append(self.waiting.pop(0))
            step.append((request, tokens))
        for request in self.waiting:
            request.behind -= hits
        return step

    def _carry(self, step):
        prompts = [(each, tokens) for each, tokens in step if not (tokens == 1 and each.computed >= each.prompt)]
        decoding = [each for each, tokens in step if tokens == 1 and each.computed >= each.prompt]
        chunk = sum(tokens for _, tokens in prompts)
        pairs = sum(tokens * (2 * each.computed + tokens) for each, tokens in prompts)
        contexts = [each.computed + 1 for each in decoding]
        duration = step_us(
            self.law,
            sum(tokens for _, tokens in step),
            len(step),
            chunk,
            max(pairs - chunk * chunk, 0) // (2 * max(chunk, 1)),
            len(decoding),
            sum(contexts) // max(len(contexts), 1),
            max(contexts, default=0),
        )
        duration += self.moved * self.swap_us
        start = max(self.now, self.ends)
        self.ends = start + duration
        for request, tokens in step:
            request.computed += tokens
            if request.computed == request.target:
                request.generated += 1
                if request.generated == 1:
                    request.first = self.ends
                if request.generated == request.output:
                    request.last = self.ends
        self.steps += 1
        self.log.append((start, duration, len(step)))
        self.now = start if self.depth > 1 else self.ends


def replay(law, requests, **limits):
    """Every request through one engine that knows all arrivals: [Request], and the engine."""
    engine = Engine(law, **limits)
    for request in requests:
        engine.send(request)
    engine.now = 0
    engine.run_until(NEVER)
    return requests, engine


def route(laws, limits, requests, choose):
    """Requests to several engines: `choose(number, engines)` names one, or len(engines) to turn away."""
    engines = [Engine(law, **limit) for law, limit in zip(laws, limits, strict=True)]
    for number, request in enumerate(requests):
        for engine in engines:
            engine.run_until(request.arrival)
        chosen = choose(number, engines)
        if chosen < len(engines):
            engines[chosen].send(request)
    for engine in engines:
        engine.run_until(NEVER)
    return engines
