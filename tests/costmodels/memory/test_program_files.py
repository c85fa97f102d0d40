"""Programs from files: scales that lie far apart, and what a wrong line is told."""

import json

import numpy as np
import pytest

import dsegym
from dsegym.costmodels.errors import DsegymError, InvalidWorkloadError
from dsegym.costmodels.memory.program import load_program

MAPPING = "dsegym/MemoryMapping-v0"


def program(table_bytes, *, read=4096, flops=0):
    """A table of which a little is read, and an output."""
    return [
        {"program": "embedding"},
        {"buffer": "table", "bytes": table_bytes, "kind": "parameter"},
        {"buffer": "x", "bytes": 4096, "kind": "temporary"},
        {"buffer": "y", "bytes": 4096, "kind": "temporary", "live_out": True},
        {"instruction": "look up", "flops": flops, "reads": [["table", read]], "writes": [["x", 4096]]},
        {"instruction": "add", "flops": flops, "reads": [["x", 4096]], "writes": [["y", 4096]]},
    ]


@pytest.fixture
def written(tmp_path):
    def write(lines, name="mine.jsonl"):
        text = lines if isinstance(lines, str) else "".join(json.dumps(line) + "\n" for line in lines)
        (tmp_path / name).write_text(text, encoding="utf-8")
        return str(tmp_path / name)

    return write


@pytest.mark.parametrize("exponent", [20, 31, 40, 45, 50])
def test_a_table_that_fits_into_no_fast_memory_costs_what_is_read_of_it_however_large_it_is(written, exponent):
    problem = dsegym.make_problem(MAPPING, program=written(program(2**exponent)), capacity="64KiB")
    small = dsegym.make_problem(MAPPING, program=written(program(2**18), "small.jsonl"), capacity="64KiB")
    assert problem.reference.value == pytest.approx(small.reference.value, rel=1e-4)
    assert 0 < problem.bound.value <= problem.reference.value


def test_a_copy_that_takes_a_hundred_thousand_runs_is_refused_where_it_fits(written):
    with pytest.raises(DsegymError, match=r"a copy of 'table' .* s, too far apart to be counted in the same ticks"):
        dsegym.make_problem(MAPPING, program=written(program(2**45)), capacity="65536GiB")


def test_a_program_that_takes_no_time_is_refused(written):
    nothing = [
        {"program": "none"},
        {"buffer": "x", "bytes": 0, "kind": "parameter"},
        {"instruction": "i", "flops": 0, "reads": [["x", 0]], "writes": []},
    ]
    with pytest.raises(DsegymError, match="takes no time"):
        dsegym.make_problem(MAPPING, program=written(nothing))


@pytest.mark.parametrize("flops", [1e25, 1e300, 10**400, -1])
def test_operations_beyond_all_computers_are_refused(written, flops):
    with pytest.raises(
        InvalidWorkloadError, match=r"line 5: instruction 'look up' has .* flops; allowed: a number from"
    ):
        load_program(written(program(64, read=64, flops=flops)))


def test_the_most_operations_have_a_finite_latency(written):
    problem = dsegym.make_problem(MAPPING, program=written(program(64, read=64, flops=1e24)), capacity="64KiB")
    assert np.isfinite(problem.reference.value)
    assert problem.reference.value > 1e9


def test_whole_numbers_may_be_written_as_floats_and_fractions_are_refused(written):
    lines = json.loads(json.dumps(program(4096)).replace("4096", "4096.0"))
    assert load_program(written(lines)) == load_program(written(program(4096), "int.jsonl"))
    lines[1]["bytes"] = 4096.5
    with pytest.raises(InvalidWorkloadError, match=r"line 2: 'bytes' is 4096.5"):
        load_program(written(lines))
    for wrong in (2**51, -1, 10**400):
        lines[1]["bytes"] = wrong
        with pytest.raises(InvalidWorkloadError, match=r"line 2: buffer 'table' has .* a whole number from 0 to"):
            load_program(written(lines))


def test_errors_are_short_whatever_the_file_holds(written):
    lines = program(4096)
    lines[1]["buffer"] = lines[4]["reads"][0][0] = "t" * 100_000
    lines[4]["reads"][0][1] = 10**9
    with pytest.raises(InvalidWorkloadError) as caught:
        load_program(written(lines))
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_name_may_hold_what_python_takes_for_an_end_of_a_line(written, end):
    entries = program(4096)
    entries[4]["instruction"] = "look\u2028up\x85"
    text = "".join(json.dumps(entry, ensure_ascii=False) + end for entry in entries)
    assert [step.name for step in load_program(written(text)).instructions] == ["look\u2028up\x85", "add"]
