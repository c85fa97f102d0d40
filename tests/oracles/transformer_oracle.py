"""Transformers matrix by matrix and token by token, in plain Python: what `transformers/` and `serving/` agree with.

Written from the papers' descriptions and the reference's formulas; imports nothing of the package.
"""

from __future__ import annotations


def matrices(row):
    """{name: (times, rows, columns)} of every matrix that multiplies a token, all experts listed."""
    s = {name: int(value or 0) for name, value in row.items() if name not in ("model", *STATED)}
    h, d, layers = s["hidden"], s["head_dimension"], s["layers"]
    found = {}
    if s["kv_rank"]:
        found["query down"] = layers, h, s["q_rank"]
        found["query up"] = layers, s["q_rank"], s["heads"] * (d + s["rope_dimension"])
        found["key-value down"] = layers, h, s["kv_rank"] + s["rope_dimension"]
        found["key up"] = layers, s["kv_rank"], s["heads"] * d
        found["value up"] = layers, s["kv_rank"], s["heads"] * d
    else:
        found["query"] = layers, h, s["heads"] * d
        found["key"] = layers, h, s["kv_heads"] * d
        found["value"] = layers, h, s["kv_heads"] * d
    found["output"] = layers, s["heads"] * d, h
    with_experts = layers - s["dense_layers"] if s["experts"] else 0
    found["feed-forward"] = (layers - with_experts) * s["ffn_matrices"], h, s["ffn"]
    found["router"] = with_experts, h, s["experts"]
    found["shared experts"] = with_experts * s["shared_experts"] * s["ffn_matrices"], h, s["expert_ffn"]
    found["experts"] = with_experts * s["experts"] * s["ffn_matrices"], h, s["expert_ffn"]
    found["logits"] = 1, h, s["vocabulary"]
    return found


STATED = ("stated_billion", "active_billion", "checked")


def parameters(row):
    """All that is stored: a tied logits' matrix once."""
    h = int(row["hidden"])
    total = sum(times * rows * columns for times, rows, columns in matrices(row).values())
    total += int(row["vectors"]) * h * int(row["layers"]) + int(row["positions"]) * h
    return total + (0 if int(row["tied"]) else int(row["vocabulary"]) * h)


def active_parameters(row):
    """What multiplies one token, and the norms and biases on its way."""
    total = int(row["vectors"]) * int(row["hidden"]) * int(row["layers"])
    for name, (times, rows, columns) in matrices(row).items():
        share = int(row["active_experts"] or 0) / int(row["experts"] or 1) if name == "experts" else 1
        total += times * rows * columns * share
    return total


def causal_attention_flop(layers, heads, head_dimension, prompt):
    """Query by query: a token attends to itself and all before it; a multiply and an add for score and for value."""
    return sum(layers * heads * head_dimension * 2 * 2 * position for position in range(1, prompt + 1))


def experts_met(experts, taken, tokens, generator, trials=2000):
    """Mean number of distinct experts that tokens meet, each drawing `taken` of them evenly."""
    total = 0
    for _ in range(trials):
        met = set()
        for _ in range(tokens):
            met.update(generator.choice(experts, taken, replace=False).tolist())
        total += len(met)
    return total / trials


def ring_all_reduce_s(ranks, size_bytes, latency_s, bus_bytes_s):
    """n - 1 steps that scatter sums and n - 1 that gather them, each of a rank's share of the message."""
    return latency_s + sum(size_bytes / ranks / bus_bytes_s for _ in range(2 * (ranks - 1)))


def distserve_prefill_ms(coefficients, lengths, stages=1):
    """A batch of prompts, one by one."""
    a, b, c = coefficients
    total = a
    for length in lengths:
        total += b * length + c * length * length
    return total / stages


def distserve_decode_ms(profile, contexts, stages=1):
    """A step of a batch; `profile` as DistServe's JSON has it."""
    large = len(contexts) >= profile["decoding_large_small_bs_threshold"]
    a, b, c = profile["decoding_largebs" if large else "decoding_smallbs"]
    return (a + b * sum(contexts) + c * len(contexts)) / stages


def distserve_blocks(layers, hidden, words, positions, tp, pp, usable_bytes):
    """Blocks of 16 tokens on each GPU, as DistServe's worker counts them: whole bytes, no fractions of a block."""
    own_layers = layers // pp
    weights = words * hidden + positions * hidden + 5 * own_layers * hidden
    weights = weights + (4 + 8) * own_layers * hidden * hidden / tp
    block = own_layers * (hidden / tp) * 16 * 2 * 2
    return int((usable_bytes - 2 * weights) // block)


def dense_tpot_s(*, n, layers, hidden, width, kv_width, t, b, isl, osl, peak, bandwidth, link, wb, kvb, fit, vllm, fp4):
    """The step of the steady state, part by part; `width` heads times head dimension, `n` what multiplies a token."""
    beta, eta, eta4, u, launch, slower, each = fit
    seconds = n * wb / (t * bandwidth * beta)
    seconds += b * 2 * layers * kv_width * kvb * (isl + osl / 2) / (t * bandwidth * beta)
    tokens = b + b * isl / osl
    flop = 2 * n * tokens + (b / osl) * layers * 4 * width * isl * isl / 2 + b * layers * 4 * width * (isl + osl / 2)
    seconds += flop / (t * peak * eta * (eta4 if fp4 else 1))
    for _ in range(2 * layers):
        seconds += 2 * (t - 1) / t * tokens * hidden * 2 / (link * u)
        seconds += launch * (slower if vllm else 1) / 2
    return seconds + b * each
