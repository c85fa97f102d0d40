"""The door for users' files: what is opened, which numbers are numbers, what content tells, and how long errors are."""

import json
import os
import pickle
import re

import pytest

from dsegym.costmodels import files
from dsegym.costmodels.accelerator.workloads import get_workload
from dsegym.costmodels.allocation.instance import load_instance
from dsegym.costmodels.errors import DsegymError, InvalidOptionError, UnknownNameError
from dsegym.costmodels.formats import FORMATS, READERS, format_of, format_rows
from dsegym.costmodels.memory.program import get_program
from dsegym.costmodels.offload.experts.routes import load_routes
from dsegym.costmodels.reasoning.outcomes import load_outcomes
from dsegym.costmodels.serving.mix.requests import histogram
from dsegym.costmodels.serving.stream.traces import get_trace
from dsegym.costmodels.soc.library import get_instance
from dsegym.costmodels.transformers.configurations import get_model
from dsegym.costmodels.transformers.devices import get_device

LOADERS = {
    "workload": get_workload,
    "instance": load_instance,
    "program": get_program,
    "graph": get_instance,
    "data": load_outcomes,
    "requests": histogram,
    "trace": get_trace,
    "model": get_model,
    "devices": get_device,
    "routes": load_routes,
}
SAMPLES = {  # one of each format
    "a table of requests by arrival": "arrival_s,prompt_tokens,output_tokens\n0,200,3\n0.5,100,2\n",
    "Azure's trace of a language model's requests": (
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.5,4,1\n2023-11-16 18:15:47,4,1\n"
    ),
    "BurstGPT's trace": "Timestamp,Model,Request tokens,Response tokens\n0,GPT-4,20,3\n9,GPT-4,1,1\n",
    "Mooncake's trace (JSON lines)": (
        '{"timestamp": 0, "input_length": 9, "output_length": 1, "hash_ids": [1]}\n'
        '{"timestamp": 9, "input_length": 9, "output_length": 1, "hash_ids": [1]}\n'
    ),
    "a request histogram": "prompt_tokens,output_tokens,requests\n200,100,3\n",
    "a Hugging Face configuration": json.dumps(
        {
            "model_type": "llama",
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "vocab_size": 100,
        }
    ),
    "a log of routes to experts (BigMoeOnEdge's route_trace v1)": (
        "# n_layer=1 n_expert=4 n_expert_used=2\n# expert_bytes=4096\nstep,layer,expert\n0,0,3\n0,0,1\n"
    ),
    "a table of devices": "device,bf16_tflops,memory_gb,bandwidth_gb_s,scale_up_gb_s\nX1,400,96,4000,300\n",
    "a table of layers": "layer,kind,m,n,k\nfc,gemm,1,2,3\n",
    "a SCALE-Sim topology of convolutions": (
        "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,\n"
        "c,7,7,3,3,2,4,1,\n"
    ),
    "a SCALE-Sim topology of matrix products": "Layer, M, N, K,\nfc, 2, 3, 4,\n",
    "a table of buffers (MiniMalloc's)": "id,lower,upper,size\na,0,2,4\n",
    "a traced program": (
        '{"program": "p"}\n{"buffer": "x", "bytes": 64, "kind": "parameter"}\n'
        '{"instruction": "i", "flops": 10, "reads": [["x", 64]], "writes": []}\n'
    ),
    "dsegym's task graph": json.dumps(
        {
            "format": "dsegym task graph 1",
            "name": "g",
            "platform": {"clusters": [{"name": "cpu", "elements": 1}]},
            "tasks": [{"name": "a", "run_times_us": {"cpu": 3.0}}],
            "edges": [],
        }
    ),
    "a recorded workflow (WfFormat)": json.dumps(
        {"schemaVersion": "1.4", "workflow": {"tasks": [{"name": "a", "runtimeInSeconds": 1}]}}
    ),
    "a graph of the Standard Task Graph Set": "1\n0 0 0\n1 5 1 0\n2 0 1 1\n",
    "a job shop": "1 2\n0 5 1 6\n",
    "a DOT graph": "digraph { a [weight=5]; }",
    "a TGFF file": "@TASK_GRAPH 0 {\nTASK t0 TYPE 1\n}\n@PE 0 {\n# type exec_time\n1 5\n}\n",
    "a table of outcomes": "problem,attempts,successes\na,4,2\n",
    "a table of attempts": "task_id,passed\na,True\n",
    "JSON lines of attempts": '{"task_id": "a", "passed": true}\n{"task_id": "a", "passed": false}\n',
    "an EvalPlus result": json.dumps({"eval": {"a": [{"base_status": "pass", "plus_status": "fail"}]}}),
    "an Inspect log": json.dumps({"samples": [{"id": 1, "epoch": 1, "scores": {"match": {"value": "C"}}}]}),
}


@pytest.fixture
def written(tmp_path):
    def write(content, name="mine.64.dat"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


def refusal(call, *arguments):
    with pytest.raises(DsegymError) as caught:
        call(*arguments)
    return str(caught.value)


# Content.


def test_there_is_a_sample_of_every_format():
    assert set(SAMPLES) == {each.name for each in FORMATS}
    assert set(LOADERS) == set(READERS)


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_every_format_is_read_by_its_content_whatever_the_file_is_called(written, name, ending, mark):
    reader = next(each.reader for each in FORMATS if each.name == name)
    path = written(mark + SAMPLES[name].replace("\n", ending))
    assert format_of(path, files.read_text(path), reader).name == name
    assert LOADERS[reader](path)


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("reader", READERS)
def test_a_file_of_another_option_is_named_together_with_what_this_one_reads(written, name, reader):
    own = next(each.reader for each in FORMATS if each.name == name)
    if own in (reader, *READERS[reader].also):
        pytest.skip("its own")
    message = refusal(LOADERS[reader], written(SAMPLES[name]))
    scenario, option = READERS[own].places[0]
    assert f"this looks like {name}, which is for the option {option} of {scenario}" in message
    scenario, option = READERS[reader].places[0]
    assert f"; as {option} of {scenario}" in message
    assert all(each.name in message for each in FORMATS if each.reader in (reader, *READERS[reader].also))


def test_a_refusal_names_every_option_that_would_take_the_file_and_every_one_that_it_was_given_to(written):
    message = refusal(LOADERS["devices"], written(SAMPLES["a table of layers"]))
    takers = "AcceleratorSizing, AcceleratorMapping, AcceleratorDataflow and AcceleratorTemplate"
    assert f"which is for the option workload of {takers}; " in message
    assert "; as gpus of ServingMix, and gpu of ServingPlan and MemoryTiers, dsegym reads a table" in message


def test_only_the_top_members_of_json_tell_its_format(written):
    graph = json.loads(SAMPLES["dsegym's task graph"])
    graph["platform"]["clusters"][0]["name"] = "workflow"
    graph["tasks"][0]["run_times_us"] = {"workflow": 3}
    assert get_instance(written(json.dumps(graph))).graph.tasks[0].name == "a"
    inspect = {"version": 2, "eval": {"model": "m", "base": "x"}, **json.loads(SAMPLES["an Inspect log"])}
    log = written(json.dumps({**inspect, "workflow": 1, "metadata": {"base": ["pass"]}}, indent=1))
    assert format_of(log, files.read_text(log), "data").name == "an Inspect log"
    assert "this looks like JSON;" in refusal(get_instance, written('{"about": {"workflow": {}}}'))


@pytest.mark.parametrize("name", ["dsegym's task graph", "a recorded workflow (WfFormat)", "an EvalPlus result"])
def test_json_that_breaks_off_is_told_by_the_members_before_the_break(written, name):
    reader = next(each.reader for each in FORMATS if each.name == name)
    assert "is not JSON" in refusal(LOADERS[reader], written(SAMPLES[name][:-1]))


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"PK\x03\x04rest", "a ZIP archive"),
        (b"\x08\x07\x12\x07pytorch", "an ONNX model"),
        (b"PAR1....", "a Parquet file"),
        (b"\x80\x04\x95", "a Python pickle"),
        ("layer".encode("utf-16"), "UTF-16 text"),
        (b"<?xml version='1.0'?><graphml></graphml>", "GraphML"),
        (b"problem:\n  shape: {}\n", "a Timeloop problem"),
        (b"- id: 0\n  equation: O[b]+=W[b]*I[b]\n  loop_dims: [B]\n", "a workload of ZigZag"),
        (b"Network alexnet {\n Layer CONV1 {}\n}\n", "a MAESTRO network"),
    ],
)
def test_a_format_of_the_field_that_is_not_read_is_named(written, reader, content, what):
    assert f"this looks like {what}" in refusal(LOADERS[reader], written(content))


# Hostile files.


@pytest.mark.parametrize("reader", READERS)
def test_only_regular_files_of_a_sensible_size_are_opened(tmp_path, reader):
    load = LOADERS[reader]
    os.mkfifo(tmp_path / "pipe.64.csv")
    (tmp_path / "zero.64.csv").symlink_to("/dev/zero")
    with (tmp_path / "large.64.csv").open("wb") as file:
        file.truncate(2**33)
    assert "it is a pipe or a device, not a file" in refusal(load, str(tmp_path / "pipe.64.csv"))
    assert "it is a pipe or a device, not a file" in refusal(load, str(tmp_path / "zero.64.csv"))
    assert "8,589,934,592 bytes; at most" in refusal(load, str(tmp_path / "large.64.csv"))
    assert "it is a folder, not a file" in refusal(load, f"{tmp_path}/")
    assert "there is no such file" in refusal(load, str(tmp_path / "none.64.csv"))


HOSTILE = {
    "deep JSON": "[" * 100_000,
    "deep object": '{"a":' * 100_000,
    "deep line": '{"program": ' + "[" * 100_000 + "\n",
    "a long line": "a," * 5_000_000 + "\n1\n",
    "a long cell": "layer,kind,m,n,k\n" + "x" * 200_000 + ",gemm,1,1,1\n",
    "a number of 400 digits": '{"program": "p"}\n{"instruction": "i", "flops": ' + "9" * 400 + ', "reads": []}\n',
    "a number of 5,000 digits": '{"program": "p"}\n{"instruction": "i", "flops": ' + "9" * 5000 + ', "reads": []}\n',
    "an infinite number": '{"program": "p"}\n{"instruction": "i", "flops": 1e999, "reads": [], "writes": []}\n',
    "a member twice": '{"program": "p", "program": "q"}\n',
    "NUL": "layer,kind,m,n,k\nf\0c,gemm,1,\0,3\n",
    "nothing": "",
    "blanks": " \n\n",
    "many names": "1\n" * 50_000,
}


@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.parametrize("reader", READERS)
def test_hostile_content_gets_one_short_sentence(written, reader, what):
    message = refusal(LOADERS[reader], written(HOSTILE[what], "x.64.json"))
    assert len(message) < 1000
    assert "\n" not in message


@pytest.mark.parametrize("reader", READERS)
def test_a_path_with_nul_or_of_5_000_letters_gets_one_short_sentence(reader):
    for path in ("a\0b.csv", "x/" + "a" * 5000 + ".csv", "a" * 5000, "/".join("a" * 2500)):
        assert len(refusal(LOADERS[reader], path)) < 2500


def test_errors_of_options_echo_the_beginning_of_a_long_input_alone():
    assert len(str(UnknownNameError("workload", "a" * 100_000, ["b"]))) < 200
    assert len(str(UnknownNameError("task", "a", [str(i) for i in range(2000)]))) < 1000
    assert len(str(InvalidOptionError("samples", "9" * 5000, ["1 to 3"]))) < 200


@pytest.mark.parametrize("given", [10**5000, -(10**5000), [10**5000]], ids=["huge", "low", "list"])
def test_errors_have_words_for_what_has_no_text(given):
    for error in (UnknownNameError("task", given, ["a"]), InvalidOptionError("samples", given, ["1 to 3"])):
        assert len(str(error)) < 120
        assert str(pickle.loads(pickle.dumps(error))) == str(error)


# Numbers.


@pytest.mark.parametrize(
    ("text", "value"), [("3", 3), ("3.0", 3), ("3.", 3), ("+3", 3), ("3e0", 3), ("0.3e1", 3), (" 3 ", 3), ("007", 7)]
)
def test_a_whole_number_may_be_written_as_programs_write_it(text, value):
    assert files.whole_number(text, "x", 0, 10) == value


@pytest.mark.parametrize(
    "text",
    ["", "3.5", "1_000", "nan", "inf", "-inf", "Infinity", "٣", "３", "0x3", "3,0", "1e999999", "1e9999999", "9" * 400,
     "three", "3 4", "--3", "1e", "e3", ".", "-1", "11"],
)  # fmt: skip
def test_what_python_alone_takes_for_a_number_is_none(text):
    with pytest.raises(ValueError, match=r"x = '.*' is not a whole number from 0 to 10") as caught:
        files.whole_number(text, "x", 0, 10)
    assert len(str(caught.value)) < 150


def test_numbers_have_ranges_and_exact_ends():
    assert files.number("0.1", "x", 0, 1) == 0.1
    assert files.number("1e0", "x", 0, 1) == 1.0
    for text in ("0", "1.0000001", "nan", "1_0"):
        with pytest.raises(ValueError, match="is not a number above 0, at most 1"):
            files.number(text, "x", 0, 1, above=True)


def test_a_number_that_is_too_small_for_a_float_is_not_taken_for_0():
    with pytest.raises(ValueError, match="is not a number from 0 to 1"):
        files.number("1e-400", "x", 0, 1)
    with pytest.raises(ValueError, match="too small"):
        files.plain_number("1e-400")
    assert files.plain_number("0e-400") == files.number("0e-400", "x", 0, 1) == 0


def test_sizes_have_units_and_are_whole_bytes():
    sizes = {"8192B": 8192, "8KiB": 8192, "8 KiB": 8192, "0.5KiB": 512, "1MiB": 2**20, "2GiB": 2**31}
    assert {text: files.size_in_bytes(text) for text in sizes} == sizes
    assert all(files.size_in_bytes(text) is None for text in ("8192", "0.3KiB", "8kb", "8KB", "-1B", "1_0B", "٣B"))
    assert [files.size_text(size) for size in (8192, 512, 1, 2**30)] == ["8KiB", "512B", "1B", "1GiB"]


def test_a_text_is_a_path_if_it_exists_or_has_a_folder_or_a_suffix(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert not files.is_path("ft06")
    (tmp_path / "ft06").write_text("1 1\n0 5\n")
    assert files.is_path("ft06")
    assert len(get_instance("ft06")) == 1
    assert files.is_path("no/such")
    assert files.is_path("no.csv")
    assert not files.is_path("random_20_3_ccr0.1_s1")
    assert not files.is_path("a\0b.csv")


# The table of the docs.


def test_the_docs_table_of_readers_is_that_of_the_code(docs):
    text = (docs / "files.md").read_text(encoding="utf-8")
    lines = [f"| {' | '.join(row.values())} |" for row in format_rows()]
    shown = [line for line in text.splitlines() if line.startswith("| `")]
    assert shown == lines


def test_every_reader_has_a_page_that_links_to_the_table(docs):
    for reader in READERS.values():
        assert re.search(r"\(files\.md", (docs / reader.page).read_text(encoding="utf-8")), reader.page


@pytest.fixture
def docs():
    import dsegym

    return __import__("pathlib").Path(dsegym.__file__).parent / "docs"
