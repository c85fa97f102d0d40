"""`dsegym workload`: networks as people have them, shown and written as tables that both scenarios take."""

import json
import sys

import pytest

from dsegym.costmodels.accelerator.workloads import load_workload

TIMELOOP = "problem: {C: 3, K: 64, N: 1, P: 112, Q: 112, R: 7, S: 7, Wstride: 2, Hstride: 2, shape: cnn-layer}\n"
ZIGZAG = """
- {id: 0, operator_type: Gemm, equation: 'O[b][k]+=W[k][c]*I[b][c]', loop_dims: [B, K, C], loop_sizes: [4, 10, 64]}
- {id: 1, operator_type: Add, equation: 'O[b]=W[b]+I[b]', loop_dims: [B], loop_sizes: [4]}
"""
ODD = "- {id: 0, operator_type: Odd, equation: 'softmax(I)', loop_dims: [B], loop_sizes: [4]}\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in {"conv.yaml": TIMELOOP, "gemm.yml": ZIGZAG, "odd.yaml": ZIGZAG + ODD}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


@pytest.fixture
def onnx_model(folder):
    onnx = pytest.importorskip("onnx", reason="ONNX is not installed")
    helper = onnx.helper
    value = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ("batch", 7))
    out = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    weights = helper.make_tensor("w", onnx.TensorProto.FLOAT, (7, 3), [0.0] * 21)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"], name="fc"), helper.make_node("Relu", ["h"], ["y"])]
    onnx.save(helper.make_model(helper.make_graph(nodes, "net", [value], [out], [weights])), folder / "net.onnx")
    return "net.onnx"


def fails(dsegym_command, *arguments):
    code, _, err = dsegym_command("workload", *arguments)
    assert code == 2
    assert err.count("\n") == 1
    return err


@pytest.mark.slow
def test_several_files_become_one_table_that_both_scenarios_take(folder, dsegym_command):
    pytest.importorskip("yaml", reason="PyYAML is not installed")
    code, out, err = dsegym_command("workload", "conv.yaml", "gemm.yml", "--output", "net.csv")
    assert (code, err) == (0, "")
    assert "118,013,952" in out
    assert "Without multiply-accumulates: elementwise: 1 Add." in out
    assert "Every operator is supported." in out
    workload = load_workload("net.csv")
    assert workload.macs == 118_013_952 + 4 * 10 * 64
    assert "Without multiply-accumulates: 1 Add." in workload.source
    for scenario in ("AcceleratorSizing", "AcceleratorMapping"):
        code, out, err = dsegym_command("cost", f"dsegym/{scenario}-v0", "--workload", "net.csv", "--json")
        assert (code, err) == (0, "")
        assert sum(part["macs"] * part.get("repeat", 1) for part in json.loads(out)["parts"]) > 0


def test_what_is_not_supported_is_shown_and_no_table_is_written_without_it_unless_asked(folder, dsegym_command):
    pytest.importorskip("yaml", reason="PyYAML is not installed")
    code, out, err = dsegym_command("workload", "odd.yaml")
    assert (code, err) == (0, "")
    assert "Not supported, and not among the layers" in out
    assert "Odd_0" in out
    code, out, err = dsegym_command("workload", "odd.yaml", "--output", "net.csv")
    assert code == 2
    assert "Odd_0" in out  # the table is shown all the same
    assert "Odd of layer 'Odd_0' is not supported, so nothing is written" in err
    assert not (folder / "net.csv").exists()
    code, _, err = dsegym_command("workload", "odd.yaml", "--output", "net.csv", "--partial")
    assert (code, err) == (0, "")
    assert "# NOT SUPPORTED, LEFT OUT: Odd of layer 'Odd_0'" in (folder / "net.csv").read_text(encoding="utf-8")
    assert len(load_workload("net.csv").layers) == 1


def test_json_has_layers_operators_without_work_and_unsupported_ones(folder, dsegym_command):
    pytest.importorskip("yaml", reason="PyYAML is not installed")
    code, out, err = dsegym_command("workload", "odd.yaml", "--json")
    assert (code, err) == (0, "")
    ((network),) = json.loads(out)
    assert network["layers"] == [
        {"layer": "Gemm_0", "kind": "gemm", "operator": "Gemm", "dimensions": "4 x 10 x 64", "repeat": 1}
        | {"macs": 2560, "weights": 640}
    ]
    assert network["without_macs"] == [{"kind": "elementwise", "operator": "Add", "times": 1}]
    assert [each["layer"] for each in network["unsupported"]] == ["Odd_0"]


def test_a_dynamic_dimension_of_an_onnx_model_is_asked_for_and_taken(onnx_model, dsegym_command):
    assert "give its size, as in --dimension batch=1" in fails(dsegym_command, onnx_model)
    code, out, err = dsegym_command("workload", onnx_model, "--dimension", "batch=5", "--output", "net.csv")
    assert (code, err) == (0, "")
    assert "5 x 3 x 7" in out
    assert "activation: 1 Relu" in out


def test_a_table_is_shown_and_needs_no_writing(folder, dsegym_command):
    code, out, err = dsegym_command("workload", "resnet50")
    assert (code, err) == (0, "")
    assert "54 layers: 4,089,184,256 multiply-accumulates, 25,502,912 weights." in out
    assert "is a table already" in fails(dsegym_command, "resnet50", "--output", "net.csv")


def test_a_workload_option_that_is_a_model_says_which_command_reads_it(onnx_model, dsegym_command):
    for name in (onnx_model, "conv.yaml", "gemm.yml"):
        code, _, err = dsegym_command("cost", "dsegym/AcceleratorSizing-v0", "--workload", name)
        assert code == 2
        assert "`dsegym workload`" in err


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("none.onnx",), "there is no such file"),
        (("none.yaml",), "there is no such file"),
        (("nothing",), "Unknown workload 'nothing'"),
        (("conv.yaml", "--output", "net.txt"), "it ends in .csv"),
        (("conv.yaml", "--dimension", "batch=1"), "--dimension says nothing of 'conv.yaml'"),
        (("conv.yaml", "--input", "1x3"), "--input says nothing of 'conv.yaml'"),
        (("torchvision:resnet50", "--dimension", "batch=1"), "--dimension says nothing of"),
        (("transformers:BertModel", "--input", "1x-3"), "'-3' of --input is not a whole number"),
        (("conv.yaml", "--dimension", "batch"), "is not a dimension of the form name=value"),
        (("torchvision:", "--input", "1x3"), "Unknown model 'torchvision:'"),
    ],
)
def test_a_request_that_is_wrong_is_one_sentence(folder, dsegym_command, arguments, why):
    assert why in fails(dsegym_command, *arguments)


def test_a_library_that_is_missing_is_named(folder, dsegym_command, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    pytest.importorskip("torch", reason="torch is not installed")
    assert "This needs torchvision: pip install 'torchvision'." in fails(dsegym_command, "torchvision:resnet50")


def test_a_file_that_cannot_be_written_is_one_sentence(folder, dsegym_command):
    pytest.importorskip("yaml", reason="PyYAML is not installed")
    code, _, err = dsegym_command("workload", "conv.yaml", "--output", "nowhere/net.csv")
    assert code == 2
    assert "'nowhere/net.csv' cannot be written: there is no folder 'nowhere'." in err
