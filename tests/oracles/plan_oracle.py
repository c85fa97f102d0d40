"""Serving request by request, in plain Python: event simulations that the steady states of `serving/` are held against.

Imports nothing of the package. Times in seconds.
"""

from __future__ import annotations

import random


def responses_of_a_queue(rate, services, shares, stages, count, seed):
    """[(class, response)] of Poisson arrivals at `stages` servers in a row, each taking services[k] / stages."""
    luck, clock, free, found = random.Random(seed), 0.0, [0.0] * stages, []
    for _ in range(count):
        clock += luck.expovariate(rate)
        (kind,) = luck.choices(range(len(services)), shares)
        at = clock
        for stage in range(stages):
            at = max(at, free[stage]) + services[kind] / stages
            free[stage] = at
        found.append((kind, at - clock))
    return found


def decode(rate, outputs, shares, step, most, count, seed):
    """[time for each token] of requests that join a batch of at most `most` at its next step; step(batch) -> s."""
    luck, clock, arrival, waiting, running, found = random.Random(seed), 0.0, 0.0, [], [], []
    while len(found) < count:
        while arrival <= clock:
            (kind,) = luck.choices(range(len(outputs)), shares)
            waiting.append((arrival, outputs[kind]))
            arrival += luck.expovariate(rate)
        while waiting and len(running) < most:
            _, tokens = waiting.pop(0)
            running.append([clock, tokens, tokens])
        if not running:
            clock = arrival
            continue
        clock += step(len(running))
        for each in running:
            each[1] -= 1
        found += [(clock - start) / tokens for start, left, tokens in running if left <= 0]
        running = [each for each in running if each[1] > 0]
    return found[:count]


def together(rate, prompts_s, outputs, shares, step, most, count, seed):
    """[(class, time to the first token, time for each further one)]: a prompt that waits goes before the next step."""
    luck, clock, arrival, waiting, running, found = random.Random(seed), 0.0, 0.0, [], [], []
    while len(found) < count:
        while arrival <= clock:
            (kind,) = luck.choices(range(len(outputs)), shares)
            waiting.append((arrival, kind))
            arrival += luck.expovariate(rate)
        if waiting and len(running) < most:
            came, kind = waiting.pop(0)
            clock += prompts_s[kind]
            running.append([kind, clock - came, clock, outputs[kind]])
        elif running:
            clock += step(len(running))
            for each in running:
                each[3] -= 1
            done = [each for each in running if each[3] <= 0]
            running = [each for each in running if each[3] > 0]
            found += [(kind, first, (clock - since) / outputs[kind]) for kind, first, since, _ in done]
        else:
            clock = arrival
    return found[:count]


def plan_rate(tables, plan):
    """Requests/s and GPUs of ((t, p, n) of prefill, (t, p, n) of decode, batch), places but for the numbers n."""
    (pt, pp, n_p), (dt, dp, n_d), batch = plan
    gpus = n_p * tables["degrees"][pt] * tables["stages"][pp] + n_d * tables["degrees"][dt] * tables["stages"][dp]
    if n_p == 0:
        return n_d * tables["together"][dt][dp][batch], gpus
    prefill, decode = n_p * tables["prefill"][pt][pp], n_d * tables["decode"][dt][dp][batch]
    return min(prefill, decode, min(n_p, n_d) * tables["transfer"]), gpus


def responses_of_batches(rate, works, tokens, shares, fixed, most, count, seed):
    """[response] of Poisson arrivals at one server that takes all that wait, up to `most` tokens, as one batch."""
    luck, clock, arrival, waiting, found = random.Random(seed), 0.0, 0.0, [], []
    while len(found) < count:
        if not waiting:
            clock = max(clock, arrival)
        while arrival <= clock:
            (kind,) = luck.choices(range(len(works)), shares)
            waiting.append((arrival, kind))
            arrival += luck.expovariate(rate)
        batch = [waiting.pop(0)]
        while waiting and sum(tokens[kind] for _, kind in batch) + tokens[waiting[0][1]] <= most:
            batch.append(waiting.pop(0))
        clock += fixed + sum(works[kind] for _, kind in batch)
        found += [clock - came for came, _ in batch]
    return found[:count]
