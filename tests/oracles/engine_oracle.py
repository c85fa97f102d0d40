"""An engine of continuous batching in plain Python: lists of requests, a scheduler that goes through them one by one.

Written from the rules (docs/serving_stream.md), not from the JAX engine, with which it shares the tables of step times
only. Whole microseconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

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
    number: int = 0
    rank: tuple = ()  # by which requests are taken, where it is told
    brought: int = 0  # tokens that come with it from another engine, once

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

    def __init__(self, law, *, sequences, blocks, tokens=2048, depth=2, swap_us=0, chunk=NEVER, whole=0, every=0):
        self.swap_us, self.moved = swap_us, 0  # blocks to the host's memory and back, of this step
        self.law, self.sequences, self.tokens, self.depth = law, sequences, tokens, depth
        self.chunk, self.whole = chunk, whole
        self.free, self.running, self.waiting, self.coming = blocks, [], [], []
        self.now, self.flying, self.steps, self.preempted, self.log = None, [], 0, 0, []
        self.ends, self.every, self.chosen = 0, every, None

    def send(self, request):
        if self.every:
            request.rank = (0, request.number)
        self.coming.append(request)
        self.coming.sort(key=lambda each: each.arrival)
        if self.now is None or self.now > self.ends:  # nothing is to do
            self.now = self.coming[0].arrival

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
        self._in_order()
        self.chosen = None
        if self.every and self.steps % self.every == 0:
            self._update()
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

    def _in_order(self):
        self.waiting.sort(key=lambda each: each.rank)
        self.running.sort(key=lambda each: each.rank)

    def _update(self):
        """Priorities anew: the fewest tokens first, as far as there is room; who runs beside is pushed out."""
        stay = [each for each in self.running if each.last is None]
        for request in [*stay, *self.waiting]:
            request.rank = (request.generated, request.number)
        self._in_order()
        room = self.free + sum(each.held for each in stay)
        seats = self.sequences - (len(self.running) - len(stay))
        self.chosen = []
        for request in sorted([*stay, *self.waiting], key=lambda each: each.rank):
            room, seats = room - blocks(request.target), seats - 1
            if room < 0 or seats < 0:
                break
            self.chosen.append(request)
        for victim in reversed(list(self.running)):
            if victim.last is None and victim not in self.chosen:
                self._preempt(victim)
        self._in_order()

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
            if self.chosen is not None and request not in self.chosen:
                break
            whole = blocks(request.target)
            if whole > before - ahead:
                break
            hit = max(0, min(before - ahead - request.behind, request.cached, (request.target - 1) // BLOCK))
            request.computed = max(hit * BLOCK, request.reused, request.swapped, request.brought)
            request.brought = 0
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


def route_pools(laws, limits, requests, choose, *, prefills, move_us, block_us):
    """Prompts to engines of one pool, tokens to those of the other.

    `choose(number, fleet)` gives who moves, or None, and who gets the prompt, or len(engines) to turn away. The fleet
    is a dict: engines, prefills (who computes prompts), ready (from when each takes requests), load (requests that each
    has, or was promised). Requests get `first` and `last`; whom each was promised to comes back.
    """
    engines = [Engine(law, **limit) for law, limit in zip(laws, limits, strict=True)]
    prefills, ready, promised, owed = list(prefills), [0] * len(engines), [None] * len(requests), []
    for number, request in enumerate(requests):
        request.number, request.rank = number, (number,)  # first come to the fleet, first served

    def run_until(until):
        while True:
            busy = [engine for engine in engines if engine.now is not None and engine.now < until]
            if not busy:
                return
            min(busy, key=lambda engine: engine.now).look()
            for job in [each for each in owed if each[1].last is not None]:
                owed.remove(job)
                request, prompt, target = job
                request.first = prompt.last
                if request.output == 1:
                    request.last = prompt.last
                    continue
                over = prompt.last + blocks(request.prompt) * block_us
                tokens = replace(request, arrival=over, generated=1, brought=request.prompt)
                shares.append((request, tokens, target))
                engines[target].send(tokens)

    shares = []

    def load(place):
        prompts = sum(prompt.last is None for _, prompt, _, where in sent if where == place)
        tokens = {id(request): tokens for request, tokens, _ in shares}
        for request, prompt, target, _ in sent:
            if target == place:
                over = prompt.last is not None and (request.output == 1 or tokens[id(request)].last is not None)
                prompts += not over
        return prompts

    sent = []
    for number, request in enumerate(requests):
        run_until(request.arrival)
        fleet = {"engines": engines, "prefills": list(prefills), "ready": list(ready),
                 "load": [load(place) for place in range(len(engines))]}  # fmt: skip
        mover, chosen = choose(number, fleet)
        if mover is not None:
            prefills[mover], ready[mover] = not prefills[mover], request.arrival + move_us
        if chosen == len(engines):
            continue
        makers = [place for place in range(len(engines)) if not prefills[place] and ready[place] <= request.arrival]
        target = min(makers, key=load)
        promised[number] = target
        prompt = replace(request, output=1)
        owed.append((request, prompt, target))
        sent.append((request, prompt, target, chosen))
        engines[chosen].send(prompt)
    run_until(NEVER)
    for request, tokens, _ in shares:
        request.last = tokens.last
    return engines, promised
