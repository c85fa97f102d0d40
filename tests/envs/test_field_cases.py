"""Files of the field as users brought them, each with the value that is right for it."""

import json

import gymnasium
import numpy as np
import pytest

import dsegym
from dsegym.costmodels.accelerator.workloads import load_workload
from dsegym.costmodels.errors import DsegymError

SOC, SIZING = "dsegym/SocSchedulingStatic-v0", "dsegym/AcceleratorSizing-v0"
MAPPING, ALLOCATION, BATCH = "dsegym/MemoryMapping-v0", "dsegym/MemoryAllocation-v0", "dsegym/BatchBestOfN-v0"


@pytest.fixture
def written(tmp_path):
    def write(name, content):
        (tmp_path / name).write_text(content, encoding="utf-8")
        return str(tmp_path / name)

    return write


def makespan_us(graph, heuristic="heft", **options):
    problem = dsegym.make_problem(SOC, graph=graph, **options)
    result = problem.evaluate(np.array([problem.baselines[heuristic]()], np.int32))
    assert result.objective[0] == result.metrics.makespan_us[0]
    return float(result.objective[0])


ONE_BASED = "2 2 1\n2 1 1 5 2 1 4 2 6\n1 1 2 7\n"
ZERO_BASED = "2 2 1\n2 1 0 5 2 0 4 1 6\n1 1 1 7\n"


def test_01_machines_of_a_flexible_job_shop_are_counted_from_1_or_0_as_the_file_shows(written):
    assert makespan_us(written("one.fjs", ONE_BASED)) == makespan_us(written("zero.fjs", ZERO_BASED)) == 9


def test_02_a_classic_job_shop_is_no_flexible_one_of_one_operation_a_job(written):
    classic = "2 2\n1 1 0 5\n1 1 0 7\n"
    problem = dsegym.make_problem(SOC, graph=written("classic.jsp", classic))
    assert len(problem.space) == 2 * 4
    assert problem.reference.value == 13
    with pytest.raises(DsegymError, match=r"as a classic and as a flexible job shop; end its name in .jsp"):
        dsegym.make_problem(SOC, graph=written("either.txt", classic))
    with pytest.raises(DsegymError, match="line 3 has 3 numbers; a pair for each of 2 machines is 4"):
        dsegym.make_problem(SOC, graph=written("short.jsp", "2 2\n1 1 0 5\n1 1 0\n"))


def test_08_a_capacity_in_bytes_has_its_unit_and_a_share_has_a_limit():
    def latency(capacity):
        problem = dsegym.make_problem(MAPPING, program="mlp_tiny", capacity=capacity)
        return problem.evaluate(np.array([problem.baselines["frugal"]()], np.int32)).objective[0]

    assert latency("8KiB") == latency("8192B") == pytest.approx(1.50473e-07, rel=1e-5)
    for capacity in ("8192", "16384", "1e9", "17"):
        with pytest.raises(DsegymError, match=r"to 16, or a size with its unit: 8192B, 64KiB, 16MiB, 1GiB"):
            dsegym.make_problem(MAPPING, program="mlp_tiny", capacity=capacity)


def test_08_the_sister_scenario_takes_sizes_with_a_unit_as_well(written):
    path = written("some.csv", "id,lower,upper,size\na,0,4,8\nb,2,6,12\n")
    assert dsegym.make_problem(ALLOCATION, instance=path, capacity="20").options["capacity"] == "20"
    for text, size in (("1KiB", "1024"), ("0.5KiB", "512"), ("1024.0", "1024")):
        assert dsegym.make_problem(ALLOCATION, instance=path, capacity=text).options["capacity"] == size
    with pytest.raises(DsegymError, match=r"a whole number of bytes from 1 to .*, or a size with its unit: 8192B"):
        dsegym.make_problem(ALLOCATION, instance=path, capacity="20.5")


SATURATED = "problem,attempts,successes\n" + "".join(f"q{i},16,15\n" for i in range(60))


def test_09_a_log_in_which_no_question_can_fail_has_nothing_to_search(written):
    with pytest.raises(DsegymError, match=r"can fail, so that the reference is perfect.*; samples = 1 to 1 leave some"):
        dsegym.make_problem(BATCH, data=written("saturated.csv", SATURATED), samples=2, questions=5)
    env = gymnasium.make(BATCH, data=written("ones.csv", SATURATED), samples=1, questions=5, form="parametric")
    env.action_space.seed(0)
    for seed in range(3):
        env.reset(seed=seed)
        assert np.isfinite(env.step(env.action_space.sample())[1])
    unsolved = SATURATED.replace(",15\n", ",0\n")
    with pytest.raises(DsegymError, match=r"No train problem of never was ever solved; there is nothing to search"):
        dsegym.make_problem(BATCH, data=written("never.csv", unsolved), samples=2, questions=5)


CONV = """\
Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,
Inc5b_3x3, 7, 7, 3, 3, 192, 384, 1,

Conv52, 56, 56, 1, 1, 64, 256, 1,
"""
GEMM = "Layer Name, M, N, K,\nTest 1, 256, 128, 256,\nTest 2, 10, 1000, 512,\n"


def test_10_topologies_of_scale_sim_are_read_and_take_the_cycles_of_its_formula(written):
    design = {"rows": 32, "columns": 32, "dataflow": "ws", "dram_width": 16}
    design |= dict.fromkeys(("ifmap_buffer", "filter_buffer", "ofmap_buffer"), 64)
    cycles = []
    for name, text in (("gemm.csv", GEMM), ("conv.csv", CONV)):
        parts = dsegym.make_problem(SIZING, workload=written(name, text)).breakdown(design)
        cycles += [row["compute_cycles"] for row in parts.rows]
    assert cycles == [11_200, 53_248, 77_112, 51_680]


def test_10_a_comma_at_the_end_of_each_line_of_our_own_table_is_nothing(written):
    path = written("own.csv", "layer,kind,m,n,k,\nfc,gemm,1,1000,512,\n")
    assert load_workload(path).macs == 512_000


ONE_D = """\
layer,kind,in_channels,out_channels,in_height,in_width,kernel_height,kernel_width,stride,padding
conv1,conv,80,512,1,3000,1,3,1,{}
inception_1x7,conv,128,128,17,17,1,7,1,{}
"""


def test_11_a_padding_of_the_axis_whose_kernel_is_1_is_doubted_and_each_axis_has_its_own(written):
    with pytest.raises(DsegymError, match="line 2: padding = 1 also pads the height, of which the kernel is 1"):
        load_workload(written("both.csv", ONE_D.format("1", "3")))
    for first, second in (("0x1", "0x3"), ("same", "same")):
        workload = load_workload(written("each.csv", ONE_D.format(first, second)))
        assert [layer.macs for layer in workload.layers] == [368_640_000, 33_144_832]
    columns = ONE_D.replace("padding", "padding_height,padding_width")
    workload = load_workload(written("columns.csv", columns.format("0,1", "0,3")))
    assert workload.macs == 368_640_000 + 33_144_832


def test_12_whole_numbers_that_pandas_wrote_as_floats_are_whole(written):
    header = "layer,kind,in_channels,out_channels,in_height,in_width,kernel_height,kernel_width,stride,padding,m,n,k\n"
    rows = "stem,conv,3.0,64.0,224.0,224.0,7.0,7.0,2.0,3.0,,,\nclassifier,gemm,,,,,,,,,1.0,1000.0,512.0\n"
    assert [layer.macs for layer in load_workload(written("net.csv", header + rows)).layers] == [118_013_952, 512_000]
    indexed = "," + header + "".join(f"{i},{row}\n" for i, row in enumerate(rows.splitlines()))
    assert load_workload(written("indexed.csv", indexed)).macs == 118_013_952 + 512_000
    with pytest.raises(DsegymError, match=r"line 2: in_channels = '3.5' is not a whole number"):
        load_workload(written("half.csv", header + rows.replace("conv,3.0", "conv,3.5")))


def test_15_a_long_recording_is_told_in_true_us(written):
    recording = {
        "schemaVersion": "1.5",
        "workflow": {
            "specification": {"files": [], "tasks": [{"id": "a", "parents": [], "children": []}]},
            "execution": {"tasks": [{"id": "a", "runtimeInSeconds": 2000}]},
        },
    }
    path = written("long.json", json.dumps(recording))
    problem = dsegym.make_problem(SOC, graph=path)
    assert problem.reference.value == problem.bound.value == makespan_us(path) == 500_000_000
    parts = problem.breakdown(problem.decode(problem.baselines["heft"]()))
    assert parts.totals["makespan_us"] == parts.rows[0]["finish_us"] == 500_000_000
    assert "500,000,000 us" in problem.diagram(np.array(problem.baselines["heft"](), np.int32)).title


def test_16_each_axis_has_a_stride(written):
    header = "layer,kind,in_channels,out_channels,in_height,in_width,kernel_height,kernel_width,"
    for columns, values in (("stride_height,stride_width", "2,1"), ("stride", "2x1")):
        path = written("net.csv", f"{header}{columns}\nconv2,conv,32,32,81,340,21,11,{values}\n")
        assert load_workload(path).macs == 2_419_845_120


STG = "3\n0 0 0\n1 5 1 0\n2 7 1 0\n3 4 2 1 2\n4 0 1 3\n# a comment\n"


def test_17_a_standard_task_graph_is_scheduled_on_equal_elements(written):
    path = written("rand.stg", STG)
    assert [makespan_us(path, platform=f"equal_{count}") for count in (1, 2, 3)] == [16, 11, 11]
    assert makespan_us(path) == 11
    with pytest.raises(DsegymError, match="brings its own elements"):
        dsegym.make_problem(SOC, graph=written("shop.fjs", ONE_BASED), platform="equal_2")
