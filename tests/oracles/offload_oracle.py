"""A step of offloaded training in plain Python: bytes and seconds as written down, and tasks played event by event."""

import heapq
from collections import defaultdict, deque

GB = 1e9


def plain(work, server, parameters):
    """An instance's work, of a GPT with so many parameters, and its server as the functions here take them."""
    h = float(work.model.hidden)
    w = {
        "layers": int(work.model.layers),
        "hidden": h,
        "tokens": float(work.sequence_tokens),
        "parameters": float(parameters),
        "multiplied": 12 * h * h,
        "logits": float(work.model.output_parameters),
        "kept": 34 * h,
        "trainable": float(work.trainable),
        "optimizer": float(work.optimizer_bytes),
    }
    names = ("gpus", "peak", "hbm", "eta", "half", "flash", "link", "fabric", "cxl", "read", "write", "updates")
    return w, dict(zip(names, map(float, server), strict=False))


def split(gpu, host, cxl):
    """Shares of the four tiers."""
    rest = 1 - gpu
    beyond = rest - rest * host
    return {"gpu": gpu, "host": rest * host, "cxl": beyond * cxl, "ssd": beyond - beyond * cxl}


class Play:
    """Tasks in queues: each resource serves its own in the order of issue, each task when all that it needs is done."""

    def __init__(self):
        self.tasks, self.queues = [], defaultdict(deque)

    def task(self, resource, seconds, *needs):
        """Issues a task; returns its number. One of no length stands in no queue."""
        number = len(self.tasks)
        self.tasks.append((resource if seconds > 0 else None, seconds, tuple(n for n in needs if n is not None)))
        if seconds > 0:
            self.queues[resource].append(number)
        return number

    def run(self):
        """[seconds at which each task ends]."""
        ends, waits, followers = [None] * len(self.tasks), [], defaultdict(list)
        for number, (_, _, needs) in enumerate(self.tasks):
            waits.append(len(needs))
            for need in needs:
                followers[need].append(number)
        busy, events, now = set(), [], 0.0
        ready = {number for number, count in enumerate(waits) if not count}

        def start():
            for number in [n for n in ready if self.tasks[n][0] is None]:
                ready.discard(number)
                heapq.heappush(events, (now, number))
            for resource, queue in self.queues.items():
                if resource not in busy and queue and queue[0] in ready:
                    number = queue.popleft()
                    ready.discard(number)
                    busy.add(resource)
                    heapq.heappush(events, (now + self.tasks[number][1], number))

        start()
        while events:
            now, number = heapq.heappop(events)
            ends[number] = now
            busy.discard(self.tasks[number][0])
            for follower in followers[number]:
                waits[follower] -= 1
                if not waits[follower]:
                    ready.add(follower)
            start()
        assert None not in ends, "a task waits for itself"
        return ends


def layer_seconds(p, w, s):
    """{task: seconds} of a layer; p: placement, w: work (of a GPT), s: server, mappings of plain numbers."""
    t = p["batch"] * w["tokens"]
    parameters = w["parameters"] / w["layers"]
    learns = parameters * w["trainable"]
    weights, states, acts = (split(*(p[f"{k}_{x}"] for x in ("gpu", "host", "cxl"))) for k in KINDS)
    x = w["hidden"] * (t / 2048) ** 0.5
    gemm = 2 * t * (w["multiplied"] + w["logits"] / w["layers"]) / (s["peak"] * s["eta"] * x / (x + s["half"]))
    attention = 2 * w["hidden"] * t * w["tokens"] / (s["peak"] * s["flash"])  # half of all pairs
    memory = 2.31 * t * w["kept"] / s["hbm"]
    forward = gemm + attention + memory
    stored = s["gpus"] * t * (w["kept"] * (1 - p["recompute"]) + 2 * w["hidden"] * p["recompute"])
    outside = 1 - weights["gpu"]
    off = 1 - states["gpu"]
    link = s["gpus"] * s["link"]
    state = w["optimizer"] * learns
    share = (s["gpus"] - 1) / s["gpus"]
    return {
        "fetch read": 2 * parameters * weights["ssd"] / s["read"],
        "fetch cxl": 2 * parameters * weights["cxl"] / s["cxl"],
        "fetch up": 2 * parameters * outside / link,
        "gather": 2 * parameters * share / s["fabric"],
        "forward": forward,
        "out down": stored * (1 - acts["gpu"]) / link,
        "out write": stored * acts["ssd"] / s["write"],
        "out cxl": stored * acts["cxl"] / s["cxl"],
        "in read": stored * acts["ssd"] / s["read"],
        "in cxl": stored * acts["cxl"] / s["cxl"],
        "in up": stored * (1 - acts["gpu"]) / link,
        "backward": gemm * (1 + w["trainable"]) + 2.5 * attention + 2 * memory + p["recompute"] * forward,
        "scatter": 2 * learns * share / s["fabric"],
        "gradient": 2 * learns * off / link,
        "state read": state * states["ssd"] / s["read"],
        "state write": state * states["ssd"] / s["write"],
        "state cxl": state * states["cxl"] / s["cxl"],
        "state link": state * off / link,
        "gpu update": (2 * w["optimizer"] + 4) * learns / s["gpus"] / s["hbm"],
        "cpu update": learns * off / s["updates"] + state * states["cxl"] / s["cxl"],
        "new down": 2 * learns * outside / link,
        "new up": 2 * learns * weights["gpu"] * off / link,
        "new write": 2 * learns * weights["ssd"] / s["write"],
        "new cxl": 2 * learns * weights["cxl"] / s["cxl"],
        "resident": states["gpu"],
    }


KINDS = ("weights", "optimizer", "activations")


def step_seconds(p, w, s):
    """Ends of the forward pass, the backward pass and the step."""
    d, layers, depth, stride = layer_seconds(p, w, s), w["layers"], int(p["depth"]), int(p["stride"])
    play = Play()
    computed, left, updated = [], [], []  # tasks, in order

    def behind(tasks):
        return tasks[-depth] if len(tasks) >= depth else None

    def fetch(read, cxl, up, *needs):
        one = play.task("read", read, *needs)
        other = play.task("cxl read", cxl, *needs)
        there = play.task("up", up, one, other)
        return play.task("fabric", d["gather"], there)

    def store(write, cxl, *needs):
        return play.task(None, 0, play.task("write", write, *needs), play.task("cxl write", cxl, *needs))

    def update(place, ready, barrier):
        turn = stride > 0 and (place + 1) % stride == 0
        begin = [behind(updated), barrier]
        read = play.task("read", d["state read"], *begin)
        resident = d["resident"]
        if turn:
            cxl = play.task("cxl read", d["state cxl"], *begin)
            up = play.task("up", d["state link"], read, cxl)
            gpu = play.task("gpu", d["gpu update"], up, ready)
            done = play.task("down", d["state link"] + d["new down"], gpu)
            returns = None
            more = d["state cxl"]
        else:
            gpu = play.task("gpu", d["gpu update"] * resident, ready)
            down = play.task("down", d["new down"] * resident, gpu)
            cpu = play.task("processors", d["cpu update"], ready, read)
            done, returns, more = play.task(None, 0, down, cpu), cpu, 0
        updated.append(store(d["state write"] + d["new write"], more + d["new cxl"], done))
        return returns

    stored = []
    for _ in range(layers):
        there = fetch(d["fetch read"], d["fetch cxl"], d["fetch up"], behind(computed))
        computed.append(play.task("gpu", d["forward"], there, behind(left)))
        down = play.task("down", d["out down"], computed[-1])
        left.append(store(d["out write"], d["out cxl"], down))
        stored.append(left[-1])
    forward_end = computed[-1]
    gradients, returns = [], []
    for place in range(layers):
        needs = [behind(computed)] + ([stored[layers - 1 - place]] if d["out down"] > 0 else [])
        there = fetch(d["fetch read"] + d["in read"], d["fetch cxl"] + d["in cxl"], d["fetch up"] + d["in up"], *needs)
        computed.append(play.task("gpu", d["backward"], there, behind(left)))
        scattered = play.task("fabric", d["scatter"], computed[-1])
        turn = stride > 0 and (place + 1) % stride == 0
        gradients.append(play.task("down", 0 if turn else d["gradient"], scattered))
        left.append(gradients[-1])
        if p["during"]:
            returns.append(update(place, gradients[-1], None))
    backward_end = play.task(None, 0, *gradients)
    for place in range(layers + depth):  # new weights go back to the GPU `depth` layers behind
        if place < layers and not p["during"]:
            returns.append(update(place, backward_end, backward_end))
        back = place - depth
        if back >= 0 and returns[back] is not None:
            play.task("up", d["new up"], returns[back])
    ends = play.run()
    return ends[forward_end], ends[backward_end], max(ends)


def kept_gb(p, w, s):
    """{tier: GB} at their fullest, part after part."""
    n, layers, gpus, depth = w["parameters"], w["layers"], s["gpus"], p["depth"]
    learns = n * w["trainable"]
    weights, states, acts = (split(*(p[f"{k}_{x}"] for x in ("gpu", "host", "cxl"))) for k in KINDS)
    t = p["batch"] * w["tokens"]
    stored = t * (w["kept"] * (1 - p["recompute"]) + 2 * w["hidden"] * p["recompute"])
    turns = sum(1 for place in range(layers) if p["stride"] and (place + 1) % p["stride"] == 0)
    travels = turns / layers * (1 - states["gpu"])
    found = {
        tier: 2 * n * weights[tier] + w["optimizer"] * learns * states[tier] + gpus * layers * stored * acts[tier]
        for tier in ("gpu", "host", "cxl", "ssd")
    }
    found["gpu"] /= gpus
    found["gpu"] += depth * 2 * n / layers * (1 - weights["gpu"] / gpus)  # weights that are fetched
    found["gpu"] += depth * 2 * learns / layers + depth * stored * (1 - acts["gpu"])  # what leaves
    found["gpu"] += t * w["kept"] + 6 * w["tokens"] * w["logits"] / w["hidden"]  # the layer at work, logits
    if p["during"]:
        if turns:
            found["gpu"] += depth * (w["optimizer"] + 4) * learns / layers * (1 - states["gpu"]) / gpus
        found["host"] += depth * 2 * learns / layers * (1 - states["gpu"] - travels)
    else:
        found["gpu"] += 2 * learns * (states["gpu"] + travels) / gpus
        found["host"] += 2 * learns * (1 - states["gpu"] - travels)
    staged = 2 * n * weights["ssd"] + w["optimizer"] * learns * states["ssd"] + gpus * layers * stored * acts["ssd"]
    found["host"] += depth * staged / layers
    return {tier: value / GB for tier, value in found.items()}
