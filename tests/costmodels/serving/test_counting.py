"""Traces that are counted into histograms: against Azure's counts and plain Python, each format, what is refused."""

import csv
import re

import numpy as np
import pytest

from dsegym.costmodels.errors import InvalidWorkloadError
from dsegym.costmodels.formats import MOST_CLASSES
from dsegym.costmodels.serving.mix.counting import OUTPUT_EDGES, PROMPT_EDGES, counted
from dsegym.costmodels.serving.mix.requests import histogram, read_histogram
from dsegym.costmodels.serving.stream.traces import MOST_TOKENS, Trace
from dsegym.costmodels.tables import package_rows


def trace_of(prompt, output):
    prompt, output = np.array(prompt), np.array(output)
    return Trace(np.arange(len(prompt)), prompt, output, np.zeros_like(prompt), tells_prefixes=False)


@pytest.mark.parametrize("name", ["code", "conv"])
def test_azures_traces_are_counted_as_the_histograms_of_the_package_are(shared_data, name):
    with (shared_data / "llm" / "azure_llm_2023.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["trace"] == name]
    found = counted(trace_of(*([int(row[f"{of}_tokens"]) for row in rows] for of in ("context", "generated"))))
    rows = [row for row in package_rows("serving/tables/azure_requests.csv") if row["trace"] == f"azure_{name}"]
    assert [requests for _, _, requests in found] == [int(row["requests"]) for row in rows]
    for place, column in enumerate(("prompt_tokens", "output_tokens")):
        assert [each[place] for each in found] == pytest.approx([int(row[column]) for row in rows], abs=0.551)


def test_buckets_are_those_that_plain_python_finds():
    rng = np.random.default_rng(0)
    tokens = np.exp(rng.uniform(0, np.log(MOST_TOKENS), (500, 2))).astype(int)
    tokens[:24] = np.array([(edge, min(edge + 1, MOST_TOKENS)) for edge in (*PROMPT_EDGES, *OUTPUT_EDGES)])
    expected: dict[tuple, list] = {}
    for prompt, output in tokens.tolist():
        bucket = (
            next(edge for edge in PROMPT_EDGES if prompt <= edge),
            next(edge for edge in OUTPUT_EDGES if output <= edge),
        )
        expected.setdefault(bucket, []).append((prompt, output))
    found = counted(trace_of(*tokens.T))
    assert len(found) == len(expected) <= MOST_CLASSES
    for (prompt, output, requests), (_, members) in zip(found, sorted(expected.items()), strict=True):
        assert requests == len(members)
        assert prompt == pytest.approx(sum(each[0] for each in members) / len(members), abs=0.0501)
        assert output == pytest.approx(sum(each[1] for each in members) / len(members), abs=0.0501)


def test_no_trace_has_more_buckets_than_a_histogram_may_have_classes():
    assert len(PROMPT_EDGES) * len(OUTPUT_EDGES) <= MOST_CLASSES
    assert PROMPT_EDGES[-1] == OUTPUT_EDGES[-1] == MOST_TOKENS


TRACES = {
    "own.csv": "arrival_s,prompt_tokens,output_tokens\n0,100,7\n1,60,9\n2,200,300\n",
    "input.csv": "arrival_s,input_tokens,output_tokens\n0,100,7\n1,60,9\n2,200,300\n",
    "seconds.csv": "t_s,context_tokens,generated_tokens\n0,100,7\n1,60,9\n2,200,300\n",
    "azure.csv": "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.5,100,7\n2023-11-16 18:15:47.5,60,9\n"
    "2023-11-16 18:15:48.5,200,300\n",
    "burst.csv": "Timestamp,Model,Request tokens,Response tokens\n5,GPT-4,100,7\n6,GPT-4,60,9\n7,GPT-4,200,300\n",
    "mooncake.jsonl": '{"timestamp": 0, "input_length": 100, "output_length": 7, "hash_ids": [0]}\n'
    '{"timestamp": 1000, "input_length": 60, "output_length": 9, "hash_ids": [0]}\n'
    '{"timestamp": 2000, "input_length": 200, "output_length": 300, "hash_ids": [0]}\n',
}


@pytest.mark.parametrize("name", TRACES)
def test_a_trace_of_any_format_is_the_histogram_that_one_would_write(tmp_path, name):
    (tmp_path / name).write_text(TRACES[name])
    (tmp_path / "counted.csv").write_text("prompt_tokens,output_tokens,requests\n80,8,2\n200,300,1\n")
    found = read_histogram(str(tmp_path / name))
    assert found.classes == histogram(str(tmp_path / "counted.csv"))
    assert re.match(r"3 requests of a trace are counted into 2 classes by size; .* 1 requests/s", found.notes[0])
    assert not read_histogram(str(tmp_path / "counted.csv")).notes


def test_a_trace_that_was_edited_is_read_again(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text(TRACES["own.csv"])
    assert len(histogram(str(path))) == 2
    path.write_text(TRACES["own.csv"] + "3,9000,7\n")
    assert len(histogram(str(path))) == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("arrival_s,prompt_tokens,output_tokens,requests\n0,1,1,2\n1,1,1,2\n", "keep either"),
        (
            TRACES["mooncake.jsonl"].replace('"hash_ids": [0]}', '"hash_ids": [0], "requests": 5}'),
            "line 1 has the member requests, and a line of a trace is one request; leave it out",
        ),
        (
            TRACES["mooncake.jsonl"] + '{"requests": 1, "timestamp": 3000, "input_length": 9, "output_length": 7, '
            '"hash_ids": [0]}\n',
            "line 4 has the member requests",
        ),
        (
            "arrival,prompt_tokens,output_tokens\n0,1,1\n",
            "unknown column 'arrival'; a request histogram has .* a trace",
        ),
        (
            "arrival_s,prompt_tokens\n0,1\n",
            "unknown column 'arrival_s'; a request histogram has .*, a trace has arrival_s",
        ),
        (
            "prompt_tokens,output_tokens,\n1,1\n",
            "no column requests; a request histogram has .*, a trace has arrival_s",
        ),
        (
            '{"timestamp": 0, "tokens": 3}\n',
            "dsegym reads a request histogram, a table of requests by arrival, Azure's",
        ),
        ("arrival_s,prompt_tokens,output_tokens\n", "needs a header line and at least one request"),
        ("arrival_s,prompt_tokens,output_tokens\n0,1,1\n", "two requests at least"),
        ("arrival_s,prompt_tokens,output_tokens\n0,nan,1\n1,1,1\n", "line 2: prompt tokens = 'nan'"),
        ("arrival_s,prompt_tokens,output_tokens\nnan,1,1\n1,1,1\n", "line 2: the arrival = 'nan'"),
        ("arrival_s,prompt_tokens,output_tokens\n0,1,-1\n1,1,1\n", "line 2: output tokens = '-1'"),
        ("arrival_s,prompt_tokens,output_tokens\n0,1,1\n2,131073,1\n", "line 3: prompt tokens = '131073'"),
        (
            "arrival_s,prompt_tokens,output_tokens\n5,1,1\n4,1,1\n",
            "line 3: it arrives 1.000 s before the request above",
        ),
        ("", "the file is empty"),
    ],
)
def test_what_is_no_trace_and_no_histogram_is_refused_in_a_sentence(tmp_path, text, said):
    (tmp_path / "requests.csv").write_text(text)
    with pytest.raises(InvalidWorkloadError, match=said) as caught:
        histogram(str(tmp_path / "requests.csv"))
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")
