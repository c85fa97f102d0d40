"""A cache of experts in plain Python: dictionaries of what is in memory, and the recorded engine's accounting."""

ABSENT, LOW, HIGH = 0, 1, 2
WARM_TOKENS = 8
KEEP = ("recency", "frequency", "cycle", "layer", "expected", "popularity", "none")
AHEAD = (0, 1, 2, 4)
HOT = ("none", "one", "half", "all")


class Device:
    """One episode; tokens: [token][layer] -> experts by falling router weight."""

    def __init__(self, tokens, warm, *, experts, units, capacity, compute_ms, units_per_ms, weights, losses, penalty_ms,
                 popularity, slots):  # fmt: skip
        self.tokens, self.warm, self.experts, self.units, self.capacity = tokens, warm, experts, units, capacity
        self.compute_ms, self.units_per_ms, self.weights = compute_ms, units_per_ms, weights
        self.losses, self.penalty_ms, self.popularity, self.slots = losses, penalty_ms, popularity, slots
        self.layers = len(tokens[0])
        self.level, self.stamp, self.count, self.heat = {}, {}, {}, {}
        self.time_ms = self.backlog_ms = self.loss = 0.0
        self.hits = self.looked_up = self.high = self.ahead = self.evicted = self.loaded = 0
        for number in range(warm):
            for layer, chosen in enumerate(tokens[number]):
                self._see(layer, chosen, number * self.layers + layer)
        hottest = sorted(self.heat, key=lambda entry: (-self.heat[entry], entry))
        total = 0
        for entry in hottest:
            total += self.units[HIGH][entry[0]]
            if total > capacity:
                break
            self.level[entry] = HIGH
        self.step = warm * self.layers
        self.touched = set()

    def _see(self, layer, chosen, step):
        for entry in [each for each in self.heat if each[0] == layer]:
            self.heat[entry] -= self.heat[entry] // 8
        for slot, expert in enumerate(chosen):
            entry = (layer, expert)
            self.stamp[entry] = step * (self.slots + 2) + slot + 1
            self.count[entry] = self.count.get(entry, 0) + 1
            self.heat[entry] = self.heat.get(entry, 0) + 1024

    @property
    def used(self):
        return sum(self.units[level][entry[0]] for entry, level in self.level.items())

    @property
    def over(self):
        return self.step >= len(self.tokens) * self.layers

    def key(self, keep, entry, layer):
        distance = (entry[0] - layer - 1) % self.layers + 1
        stamp = self.stamp.get(entry, 0)
        return {
            "recency": stamp,
            "frequency": (self.count.get(entry, 0), stamp),
            "cycle": (-distance, stamp),
            "layer": (entry[0] != layer, stamp),
            "expected": self.heat.get(entry, 0) * (2**17 // distance),
            "popularity": self.popularity[entry[0]][entry[1]],
        }[keep]

    def ask(self, action):
        """A layer, before anything goes; what it touched."""
        ahead, hot = AHEAD[action // 4 % 4], HOT[action % 4]
        layer, after = self.step % self.layers, (self.step + 1) % self.layers
        chosen = self.tokens[self.step // self.layers][layer]
        most = {"none": 0, "one": 1, "half": (len(chosen) + 1) // 2, "all": len(chosen)}[hot]
        loads = 0
        for slot, expert in enumerate(chosen):
            have, want = self.level.get((layer, expert), ABSENT), HIGH if slot < most else LOW
            missing = self.units[want][layer] - self.units[have][layer] if have < want else 0
            self.hits += missing == 0
            self.looked_up += 1
            self.level[layer, expert] = max(have, want)
            self.high += self.level[layer, expert] == HIGH
            self.loss += self.weights[slot] * self.losses[self.level[layer, expert]]
            loads += missing
        self._see(layer, chosen, self.step)
        touched = {(layer, expert) for expert in chosen}
        room = self.capacity - sum(self.units[self.level[entry]][layer] for entry in touched)
        grade = HIGH if hot == "all" else LOW
        candidates = [
            (after, expert)
            for expert in range(self.experts)
            if (after, expert) not in self.level and self.heat.get((after, expert), 0) > 0
        ]
        candidates.sort(key=lambda entry: (-self.heat[entry], entry[1]))
        read_ahead = 0
        for entry in candidates[:ahead]:
            room -= self.units[grade][after]
            if room < 0:
                break
            self.level[entry] = grade
            self.stamp[entry] = self.step * (self.slots + 2) + self.slots + 1
            touched.add(entry)
            read_ahead += self.units[grade][after]
            self.ahead += 1
        self.loaded += loads + read_ahead
        ready = self.backlog_ms + loads / self.units_per_ms
        time = max(self.compute_ms, ready)
        self.backlog_ms = max(0.0, read_ahead / self.units_per_ms - (time - ready))
        self.time_ms += time
        self.step += 1
        self.touched = touched

    @property
    def free(self):
        """What may go, if anything has to."""
        return sorted(set(self.level) - self.touched) if self.used > self.capacity else []

    def evict(self, entry):
        self.evicted += self.units[self.level.pop(entry)][entry[0]]

    def act(self, action):
        keep, layer = KEEP[action // 16], self.step % self.layers
        self.ask(action)
        if keep == "none":
            for entry in sorted(set(self.level) - self.touched):
                self.evict(entry)
        while self.free:
            self.evict(min(self.free, key=lambda entry: self.key(keep, entry, layer)))

    @property
    def cost_ms(self):
        return (self.time_ms + self.penalty_ms / self.layers * self.loss) / (len(self.tokens) - self.warm)


def device_of(params, offset):
    """The episode of an instance that begins at a token."""
    tokens = params.routes[offset : offset + WARM_TOKENS + int(params.tokens)].tolist()
    return Device(
        [[[expert for expert in layer if expert >= 0] for layer in token] for token in tokens],
        WARM_TOKENS,
        experts=params.popularity.shape[1],
        units=params.units.tolist(),
        capacity=int(params.capacity),
        compute_ms=float(params.compute_ms),
        units_per_ms=float(params.units_per_ms),
        weights=params.weights.tolist(),
        losses=params.losses.tolist(),
        penalty_ms=float(params.penalty_ms),
        popularity=params.popularity.tolist(),
        slots=params.routes.shape[2],
    )


def hit_counts(batches, expert_bytes, capacity, rule):
    """(look-ups, hits) of decoded batches [(layer, experts with repeats, decoded)], one dictionary of all entries."""
    per_layer = rule.startswith("layer")
    budget = capacity // len(expert_bytes) if per_layer else capacity
    uses = {}
    for number, (layer, experts, _) in enumerate(batches):
        for expert in set(experts):
            uses.setdefault((layer, expert), []).append(number)
    stamp, count, memory, clock, found = {}, {}, {}, 0, [0, 0]
    for layer, experts, decoded in batches:
        touched = {(layer, expert) for expert in experts}
        found[0] += decoded * len(touched)
        found[1] += decoded * len(touched & memory.keys())
        for expert in experts:
            clock += 1
            stamp[layer, expert] = clock
        for entry in touched:
            count[entry] = count.get(entry, 0) + 1
            memory[entry] = expert_bytes[layer]
            uses[entry].pop(0)

        def next_use(entry):
            return uses[entry][0] if uses[entry] else 2**40

        while True:
            mine = {entry: size for entry, size in memory.items() if not per_layer or entry[0] == layer}
            free = sorted(mine.keys() - touched)
            if sum(mine.values()) <= budget or not free:
                break
            key = {"belady": lambda entry: -next_use(entry), "lru": stamp.get}.get(
                rule.removeprefix("layer_"), lambda entry: (count[entry], stamp[entry])
            )
            del memory[min(free, key=key)]
    return tuple(found)
