"""Training of a GPT in plain Python: formulas as the papers print them, and pipelines and failures event by event."""

import random

GIB = 2**30


def zero_bytes(parameters, ranks, stage, gradient=2, optimizer=12):
    """Rajbhandari et al. (2020), figure 1: bytes of states on one of so many ranks."""
    weights, gradients, states = 2 * parameters, gradient * parameters, optimizer * parameters
    if stage >= 1:
        states /= ranks
    if stage >= 2:
        gradients /= ranks
    if stage >= 3:
        weights /= ranks
    return weights + gradients + states


def activation_bytes(s, b, h, a, t, sequence, recompute):
    """Korthikanti et al. (2022), table 2: of a layer."""
    if recompute == "full":
        return 2 * s * b * h
    attention = 0 if recompute == "selective" else 5 * a * s / h
    if sequence:
        return s * b * h / t * (34 + attention)
    return s * b * h * (10 + 24 / t + attention / t)


def loss(parameters, tokens):
    """Hoffmann et al. (2022), the law with the constants of the library: nats a token."""
    return 1.69 + 406.4 / parameters**0.34 + 410.7 / tokens**0.28


def pipelined(stages, micro_batches, forward, backward):
    """Seconds of 1F1B: each stage runs its passes in order, each as soon as what it needs is there."""
    orders = []
    for stage in range(stages):
        warm = min(stages - stage - 1, micro_batches)
        order = [("F", i) for i in range(warm)]
        for i in range(micro_batches - warm):
            order += [("F", warm + i), ("B", i)]
        order += [("B", i) for i in range(micro_batches - warm, micro_batches)]
        orders.append([(kind, i, 0) for kind, i in order])
    return _played(orders, 1, forward, backward)


def interleaved(stages, micro_batches, chunks, forward, backward):
    """Seconds of Megatron-LM's interleaved schedule: a stage holds chunks of layers, each a `chunks`-th of its time."""
    total = micro_batches * chunks

    def place(k, back):
        group, inside = divmod(k, stages * chunks)
        chunk = inside // stages
        return group * stages + inside % stages, chunks - 1 - chunk if back else chunk

    orders = []
    for stage in range(stages):
        warm = min((stages - stage - 1) * 2 + (chunks - 1) * stages, total)
        order = [("F", *place(k, False)) for k in range(warm)]
        for k in range(total - warm):
            order += [("F", *place(warm + k, False)), ("B", *place(k, True))]
        order += [("B", *place(k, True)) for k in range(total - warm, total)]
        orders.append(order)
    return _played(orders, chunks, forward / chunks, backward / chunks)


def _played(orders, chunks, forward, backward):
    stages, done, clock, nexts = len(orders), {}, [0.0] * len(orders), [0] * len(orders)
    while any(nexts[s] < len(orders[s]) for s in range(stages)):
        moved = False
        for s in range(stages):
            while nexts[s] < len(orders[s]):
                kind, i, chunk = orders[s][nexts[s]]
                needed = _needed(kind, i, chunk, s, stages, chunks)
                if any(each not in done for each in needed):
                    break
                start = max([clock[s], *(done[each] for each in needed)])
                clock[s] = done[kind, i, chunk, s] = start + (forward if kind == "F" else backward)
                nexts[s] += 1
                moved = True
        assert moved, "the schedule waits for itself"
    return max(clock)


def _needed(kind, i, chunk, stage, stages, chunks):
    if kind == "F":
        if stage:
            return [("F", i, chunk, stage - 1)]
        return [("F", i, chunk - 1, stages - 1)] if chunk else []
    own = [("F", i, chunk, stage)]
    if stage < stages - 1:
        return [*own, ("B", i, chunk, stage + 1)]
    return [*own, ("B", i, chunk + 1, 0)] if chunk < chunks - 1 else own


def gpt_step_s(*, layers, h, a, vocabulary, s, batch, t, p, d, b, v, zero, full, selective, sequence, fused, machine):
    """Seconds of a step of a GPT, part after part, in scalars: the law of `step.py` for dense models."""
    m = batch / (d * b)
    peak, hbm = machine.peak_flops, machine.bandwidth_bytes_s
    x = h * (b * s / (2048 * t)) ** 0.5
    e = machine.eta * x / (x + machine.half_size)

    def link(stride, members):
        if stride * members <= 2:
            return machine.pair_bytes_s
        if stride * members <= machine.node:
            return machine.scale_up_bytes_s
        local = max(min(members, machine.node / stride), 1)
        return min(machine.scale_up_bytes_s, machine.scale_out_bytes_s * local**machine.cards)

    gemm = 24 * b * s * h * h / (t * peak * e)
    kept = b * s * h * ((10 / t if sequence else 10) + 24 / t)
    memory = machine.traffic * kept / hbm
    if fused:
        attend, scores, grows = 2 * b * s * s * h / (t * peak * machine.flash), 0, 2.5
    else:
        attend, scores, grows = 4 * b * s * s * h / (t * peak * e), machine.traffic * 5 * a * s * s * b / t / hbm, 2
    comm = (
        2
        * 2
        * (t - 1)
        / t
        * 2
        * b
        * s
        * h
        / (link(1, t) if t <= machine.node else machine.scale_out_bytes_s)
        * (1 - machine.tensor_hidden)
    )
    forward = gemm + attend + memory + scores + comm
    backward = 2 * gemm + grows * attend + 2 * (memory + scores) + comm
    again = forward if full else (0 if fused else attend + scores) if selective else 0
    sends = 2 * v * 2 * b * s * h / t / link(t * d, p) if p > 1 else 0
    stage = layers / p * (forward + backward + again) + sends
    logits = 6 * b * s * h * vocabulary / (t * peak * e)
    weights = 12 * layers * h * h / (t * p)
    ring = (d - 1) / d / link(t, d)
    reduced, gathered = 4 * weights * ring, 2 * weights * ring
    traffic = {
        0: 2 * reduced,
        1: reduced + gathered,
        2: m * reduced + gathered,
        3: m * reduced + 2 * m * gathered,
    }[zero]
    hidden = machine.data_hidden * m * layers / p * (forward + backward + again)
    update = (2 * 12 + 4 + 2 * 2) * weights / (d if zero else 1) / hbm
    return (m + (p - 1) / v) * stage + m * logits + max(traffic - hidden, 0) + update


def goodput(*, rate, spares, interval, write, recovery, repair, hours, seed):
    """Share of so many hours that is useful: failures, checkpoints and repairs one after another."""
    luck = random.Random(seed)
    clock = useful = saved = since = 0.0
    failure, away = luck.expovariate(rate), []
    while clock < hours * 3600:
        ends = clock + interval - since
        if failure >= ends + write:
            clock, useful, since = ends + write, useful + interval - since, 0.0
            saved = useful
            continue
        clock, useful, since = failure, saved, 0.0
        away = [back for back in away if back > clock]
        wait = 0.0 if len(away) < spares else (min([*away, clock + repair]) - clock)
        away.append(clock + repair)
        clock += sum(recovery) + wait
        failure = clock + luck.expovariate(rate)
    return useful / clock
