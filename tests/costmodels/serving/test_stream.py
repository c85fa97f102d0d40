"""Requests to several engines against the plain-Python ones; traces; bounds."""

import csv
import gzip
import json

import engine_oracle as oracle
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dsegym
from dsegym.costmodels.errors import DsegymError
from dsegym.costmodels.luck import episode_key
from dsegym.costmodels.serving.stream import bounds, game, traces
from dsegym.costmodels.serving.stream.servers import get_server, parse_servers, servers_of
from dsegym.envs.serving.stream import HEURISTICS

SMALL = {"requests": 24, "servers": "1*rtx4090+1*L4", "sequences": 6, "rate": 15}


def _played(problem, form_env, choose):
    """The last state of an episode in which `choose(number, state)` acts, and its actions."""
    params = problem.params
    state, actions = form_env.start(episode_key(3), params), []
    advance = jax.jit(form_env.advance)
    for number in range(form_env.requests):
        actions.append(int(choose(number, state)))
        state = advance(state, jnp.int32(actions[-1]), params)
    return state, actions


@pytest.fixture(scope="module")
def missed():
    problem = dsegym.make_problem("dsegym/ServingStream-v0", objective="missed", **SMALL)
    return problem, problem.forms["decisions"](problem)


@pytest.mark.slow
def test_an_episode_equals_plain_engines_to_the_microsecond(missed):
    problem, env = missed
    rng = np.random.default_rng(0)
    state, actions = _played(problem, env, lambda number, state: rng.integers(0, 3))
    window = jax.tree.map(lambda leaf: np.asarray(leaf).tolist(), state.window)
    requests = [oracle.Request(*row) for row in zip(*window, strict=True)]
    servers = servers_of(parse_servers(SMALL["servers"]), "Llama-3-8B")
    limits = [{"sequences": 6, "blocks": server.blocks} for server in servers]
    engines = oracle.route([each.law for each in servers], limits, requests, lambda number, _: actions[number])
    assert np.asarray(state.engines.steps).tolist() == [engine.steps for engine in engines]
    last = np.asarray(state.engines.last_us).min(axis=0)
    for place, request in enumerate(requests):
        if actions[place] < 2:
            assert (request.first, request.last) == (int(state.engines.first_us[:, place].min()), int(last[place]))
    metrics = env.metrics(state, problem.params)
    rates = [0.0 if each.last is None else each.output / (each.last - each.arrival) for each in requests]
    assert float(metrics.fairness) == pytest.approx(sum(rates) ** 2 / (24 * sum(rate**2 for rate in rates)), rel=1e-4)
    served = [each for each in requests if each.last is not None]
    late = [
        each.first - each.arrival > 1e6 or (each.last - each.first) / max(each.output - 1, 1) > 5e4 for each in served
    ]
    assert float(metrics.shed) == pytest.approx(actions.count(2) / 24)
    assert float(metrics.missed) == pytest.approx((sum(late) + actions.count(2)) / 24)
    assert float(metrics.latency_s) == pytest.approx(np.mean([each.last - each.arrival for each in served]) * 1e-6)


def test_forecasts_are_what_a_look_at_plain_engines_says(missed):
    problem, env = missed
    rng, seen = np.random.default_rng(1), []
    forecasts = jax.jit(game.forecasts)

    def choose(number, state):
        seen.append(jax.tree.map(np.asarray, forecasts(state, problem.params)))
        return rng.integers(0, 2)

    state, actions = _played(problem, env, choose)
    window = jax.tree.map(lambda leaf: np.asarray(leaf).tolist(), state.window)
    requests = [oracle.Request(*row) for row in zip(*window, strict=True)]
    servers = servers_of(parse_servers(SMALL["servers"]), "Llama-3-8B")
    limits = [{"sequences": 6, "blocks": server.blocks} for server in servers]
    checked = []

    def check(number, engines):
        offered, found = requests[number], seen[number]
        for place, (engine, server) in enumerate(zip(engines, servers, strict=True)):
            running = [each for each in engine.running if each.held]
            waiting = [*engine.waiting, *engine.coming]
            open_ = [each for each in [*running, *waiting] if each.last is None]
            left = sum(max(each.prompt - each.computed, 0) for each in open_) + offered.prompt
            chunk = min(left, 2048 - len(running))
            held = [each.computed for each in running]
            first_us = oracle.step_us(
                server.law, chunk + len(running), len(running) + 1, chunk, max(offered.prompt - chunk, 0) // 2,
                len(running), sum(held) // max(len(held), 1), max(held, default=0),
            )  # fmt: skip
            busy = max(engine.ends - offered.arrival, 0)
            assert found.first_us[place] == pytest.approx(busy + left / chunk * first_us, rel=1e-5)
            decoding = len(open_) + 1
            whole = sum(each.target for each in open_) + offered.prompt
            pace_us = oracle.step_us(
                server.law, decoding, decoding, 0, 0, decoding, whole // decoding, max([*held, offered.prompt])
            )
            assert found.pace_us[place] == pace_us
            waits = sum(oracle.blocks(each.target) for each in waiting)
            free = engine.free - waits - oracle.blocks(offered.prompt)
            assert found.room[place] == pytest.approx(free / server.blocks, abs=1e-6)
            assert found.slots[place] == 6 - len(open_)
            late = [min(each.first or 2**31, offered.arrival) - each.arrival > 1e6 for each in open_]
            assert found.hopeful[place] == late.count(False)
            checked.append((len(waiting), late.count(True)))
        last = [each.arrival for each in requests[max(number - 8, 0) : number + 1]]
        assert found.gap_us == pytest.approx((last[-1] - last[0]) / max(len(last) - 1, 1))
        return actions[number]

    oracle.route([each.law for each in servers], limits, requests, check)
    assert max(waits for waits, _ in checked) > 1
    assert max(late for _, late in checked) > 0


def test_requests_and_tokens_are_conserved(missed):
    problem, env = missed
    state, actions = _played(problem, env, lambda number, state: number % 2)
    engines = state.engines
    made = np.asarray(engines.generated).sum(axis=0)
    assert made.tolist() == np.asarray(state.window.output).tolist()
    assert (np.asarray(engines.last_us).min(axis=0) < 2**31 - 1).all()
    assert (np.asarray(engines.generated) > 0).sum() == len(actions)


@pytest.mark.slow
def test_rules_do_what_their_names_say(missed):
    problem, env = missed
    designs = {name: jnp.asarray(HEURISTICS.design(name), jnp.int32) for name in HEURISTICS.makers}
    decide = jax.jit(env.decide)

    def check(number, state):
        seen = game.views(state, problem.params)
        assert int(decide(designs["round_robin"], state, problem.params)) == number % 2
        shortest = int(np.argmin(seen.waiting + seen.running))
        assert int(decide(designs["join_shortest_queue"], state, problem.params)) == shortest
        assert int(decide(designs["least_loaded_kv"], state, problem.params)) == int(np.argmin(seen.used))
        soonest = int(np.argmin(seen.backlog_us + seen.own_us))
        assert int(decide(designs["earliest_first_token"], state, problem.params)) == soonest
        return soonest

    _played(problem, env, check)


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["latency", "ttft", "missed"])
def test_no_routing_is_below_the_bound(objective):
    problem = dsegym.make_problem("dsegym/ServingStream-v0", objective=objective, **SMALL)
    designs = np.array([HEURISTICS.design(name) for name in HEURISTICS.makers])
    values = np.asarray(problem.evaluate_held_out(designs).objective)
    assert problem.bound.value <= values.min()
    assert problem.bound.value < problem.reference.value


def test_a_request_alone_takes_no_less_than_the_bound_and_little_more():
    server = get_server("rtx4090", 1, "Llama-3-8B")
    for prompt, output in ((40, 1), (900, 30), (5000, 200)):
        request = oracle.Request(0, prompt, output)
        oracle.replay(server.law, [request], sequences=8, blocks=server.blocks)
        window = traces.Windows(*(np.array([value], np.int32) for value in (0, prompt, output, 0)))
        least = bounds.alone(server.law, window)
        for found, bound in ((request.first, least.ttft_s[0]), (request.last, least.latency_s[0])):
            assert bound <= found * 1e-6 <= bound * 2 + 0.03
        assert request.last * 1e-6 <= least.latency_s[0] * 1.35 + 0.03


def test_the_shortest_work_first_is_what_a_clock_says():
    arrival, work = [0, 0, 3, 4], [5, 2, 1, 9]
    left, done, now = list(work), {}, 0
    while len(done) < 4:
        ready = [i for i in range(4) if arrival[i] <= now and i not in done]
        if ready:
            best = min(ready, key=lambda i: left[i])
            left[best] -= 1
            if not left[best]:
                done[best] = now + 1
        now += 1
    expected = sum(done[i] - arrival[i] for i in range(4))
    assert bounds.shortest_first_s(np.array(arrival, float), np.array(work, float)) == expected


# Traces


@pytest.mark.parametrize(("name", "share"), [("conversation", 0.366), ("synthetic", 0.640)])
def test_mooncakes_prefix_reuse_is_the_published_share(shared_data, name, share):
    with gzip.open(shared_data / "llm_serving" / f"mooncake_{name}.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    seen, blocks = (sum(int(row[column]) for row in rows) for column in ("prefix_blocks_seen", "blocks512"))
    assert round(seen / blocks, 3) == share


def test_prefixes_that_were_seen_are_counted_as_a_set_of_beginnings_counts_them():
    rng = np.random.default_rng(0)
    prompts = [rng.integers(0, 3, rng.integers(1, 6)).tolist() for _ in range(200)]
    names: dict[tuple, int] = {}
    ids = [[names.setdefault(tuple(each[: i + 1]), len(names)) for i in range(len(each))] for each in prompts]
    beginnings, expected = set(), []
    for prompt in prompts:
        parts = [tuple(prompt[: i + 1]) for i in range(len(prompt))]
        expected.append(sum(part in beginnings for part in parts))
        beginnings.update(parts)
    assert traces.reused_blocks(ids) == expected


HEADERS = {
    "own.csv": "arrival_s,prompt_tokens,output_tokens\n0.5,100,7\n1.25,200,1\n",
    "azure.csv": "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.5,100,7\n2023-11-16 18:15:47.25,200,1\n",
    "burst.csv": "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5.5,ChatGPT,100,7,107,API log\n"
    "6.25,GPT-4,200,1,201,API log\n",
    "mooncake.jsonl": '{"timestamp": 500, "input_length": 100, "output_length": 7, "hash_ids": [0]}\n'
    '{"timestamp": 1250, "input_length": 200, "output_length": 1, "hash_ids": [0]}\n',
}


@pytest.mark.parametrize("name", HEADERS)
def test_every_header_reads_the_same_requests(tmp_path, name):
    path = tmp_path / name
    path.write_text(HEADERS[name])
    trace = traces.get_trace(str(path))
    assert trace.arrival_us.tolist() == [0, 750_000]
    assert (trace.prompt.tolist(), trace.output.tolist()) == ([100, 200], [7, 1])
    assert trace.tells_prefixes == name.endswith("jsonl")
    assert trace.reused.tolist() == ([0, 192] if trace.tells_prefixes else [0, 0])  # not all of a prompt, whole blocks


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("3,100,7\n1,100,7\n", "line 3: it arrives 2.000 s before the request above it; sort the trace by arrival."),
        ("3,100,7\n4,100,7\n4000,1,1\n", "line 4: 3,996 s pass without a request"),
        ("3,-100,7\n4,100,7\n", "line 2: prompt tokens = '-100' is not a whole number from 1 to 131072"),
        ("3,100,0\n4,100,7\n", "line 2: output tokens = '0' is not a whole number from 1"),
        ("3,100,7\n4,,7\n", "line 3: prompt tokens = '' is not a whole number"),
        ("soon,100,7\n4,1,7\n", "line 2: the arrival = 'soon' is not a number"),
        ("3,100,7\n3,100,7\n", "two requests at least, at two times"),
        ("0,100,7\n1e-9,100,7\n", "two requests at least, at two times a microsecond apart"),
        ("3,100\n", "2 cells where the header has 3"),
        ("", "needs a header line and at least one request"),
    ],
)
def test_a_trace_that_is_none_is_refused_in_a_sentence(tmp_path, rows, said):
    path = tmp_path / "trace.csv"
    path.write_text("arrival_s,prompt_tokens,output_tokens\n" + rows)
    with pytest.raises(DsegymError) as caught:
        traces.get_trace(str(path))
    assert said in str(caught.value)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize(
    ("moment", "later_s"),
    [
        ("2024-05-10 00:00:01.009930+00:00", 1.00993),
        ("2024-05-10 00:00:01+00:00", 1),
        ("2024-05-10 01:00:01.5+01:00", 1.5),
    ],
)
def test_azures_moments_may_have_a_zone(tmp_path, moment, later_s):
    path = tmp_path / "trace.csv"
    path.write_text(f"TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-10 00:00:00,1,1\n{moment},1,1\n")
    assert traces.get_trace(str(path)).arrival_us.tolist() == [0, round(later_s * 1e6)]


@pytest.mark.parametrize("end", [".123456789junk", ".1.5", ".1e5", ".-5", "+05", " UTC", "+99:99"])
def test_a_moment_is_read_whole_or_refused(tmp_path, end):
    path = tmp_path / "trace.csv"
    path.write_text(f"TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-10 00:00:00{end},1,1\n")
    with pytest.raises(DsegymError, match="line 2: TIMESTAMP is '2024-05-10 00:00:00"):
        traces.get_trace(str(path))


def test_two_columns_of_one_meaning_are_refused(tmp_path):
    path = tmp_path / "trace.csv"
    path.write_text("arrival_s,prompt_tokens,input_tokens,output_tokens\n0,1,2,3\n1,1,2,3\n")
    with pytest.raises(DsegymError, match="say the same thing; keep either"):
        traces.get_trace(str(path))


def test_mooncakes_lines_are_checked(tmp_path):
    path = tmp_path / "trace.jsonl"
    good = {"timestamp": 0, "input_length": 10, "output_length": 2, "hash_ids": [1]}
    for bad, said in (
        ({"output_length": -2}, "line 2: output_length = '-2'"),
        ({"hash_ids": "1"}, "line 2: hash_ids is no list of whole numbers"),
        ({"timestamp": "noon"}, "line 2: timestamp = 'noon'"),
        ({"input_length": "10"}, "line 2: input_length is a text; a number is needed"),
        ({"hash_ids": [True]}, "line 2: hash_ids is no list of whole numbers"),
        ({"hash_ids": [1, 2]}, "hash_ids names 2 blocks of 512 tokens, and input_length = 10 takes 1"),
    ):
        path.write_text("\n".join(json.dumps(each) for each in (good, {**good, **bad})))
        with pytest.raises(DsegymError, match=said):
            traces.get_trace(str(path))


def test_windows_come_from_their_part_at_the_wanted_rate_and_keep_bursts():
    trace = traces.get_trace("azure_code")
    drawn = {part: traces.windows("azure_code", part, count=64, requests=40, rate=5.0, seed=1, reuse=False)
             for part in ("train", "test")}  # fmt: skip
    edge = int(len(trace.prompt) * traces.TRAIN_SHARE)
    rows = np.lib.stride_tricks.sliding_window_view(trace.prompt, 40)
    for part, window in drawn.items():
        starts = [int(np.flatnonzero((rows == prompt).all(1))[0]) for prompt in window.prompt]
        assert all((start + 40 <= edge) if part == "train" else (start >= edge) for start in starts)
        gaps = np.diff(trace.arrival_us[starts[0] : starts[0] + 40]) * (trace.rate() / 5.0)
        assert np.allclose(np.diff(window.arrival_us[0]), gaps, atol=2)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"trace": "azure_cove"}, "azure_conv"),
        ({"servers": "2*rtx4091"}, "Unknown server 'rtx4091'; there are: rtx4090, .* Did you mean 'rtx4090'"),
        ({"servers": "17*rtx4090"}, "16 servers at most"),
        ({"servers": "1*rtx4090", "model": "Qwen3-32B"}, "was measured as it is, with Llama-3-8B"),
        ({"servers": "1*L4", "model": "Qwen3-32B"}, "does not fit on 1 x L4"),
        ({"trace": "mooncake_conversation", "rate": 3}, "does not fit into the cache of rtx4090"),
        ({"prefix_cache": "shared"}, "needs a trace that names its prefixes"),
        ({"rate": 0.02}, "take fewer requests or a higher rate"),
        ({"rate": -1}, "rate"),
    ],
)
def test_what_cannot_be_served_is_said_in_a_sentence(options, said):
    with pytest.raises(DsegymError, match=said) as caught:
        dsegym.make_problem("dsegym/ServingStream-v0", **options)
    assert str(caught.value).count("\n") == 0


def test_a_short_trace_of_ones_own_says_how_many_requests_are_enough(tmp_path):
    path = tmp_path / "trace.csv"
    path.write_text("arrival_s,prompt_tokens,output_tokens\n" + "".join(f"{i},100,7\n" for i in range(30)))
    with pytest.raises(DsegymError, match="240 requests in all are enough"):
        dsegym.make_problem("dsegym/ServingStream-v0", trace=str(path))
    problem = dsegym.make_problem("dsegym/ServingStream-v0", trace=str(path), requests=8)
    assert problem.params.windows.prompt.shape[1] == 8
