"""ONNX models as layers: every kind of product, what is listed and what is refused."""

import itertools
import math
import re

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dsegym.costmodels.accelerator.workloads import from_onnx, get_workload, load_workload
from dsegym.costmodels.errors import DsegymError, InvalidWorkloadError

onnx = pytest.importorskip("onnx", reason="ONNX is not installed")
helper, FLOAT, INT64 = onnx.helper, onnx.TensorProto.FLOAT, onnx.TensorProto.INT64


def model_of(nodes, inputs, weights=(), **more):
    """A model: inputs are {name: shape}, weights {name: shape or array}."""
    held = []
    for name, given_ in dict(weights).items():
        value = given_ if isinstance(given_, np.ndarray) else np.zeros(given_, np.float32)
        held.append(onnx.numpy_helper.from_array(value, name))
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(nodes[-1].output[0], FLOAT, None)],
        held,
    )
    opset = [helper.make_opsetid("", more.pop("opset", 21)), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opset, producer_name="test", **more)


@pytest.fixture
def read(tmp_path):
    """What is read of a model, which is written first."""

    def call(model, **options):
        onnx.save(model, tmp_path / "net.onnx")
        return from_onnx(tmp_path / "net.onnx", **options)

    return call


def sizes(network):
    return [(each.kind, each.m, each.n, each.k, each.products) for each in network.layers]


# --- Products ---------------------------------------------------------------------------------------------------------


def bottleneck_nodes():
    """ResNet-50, written node by node from the paper's table."""
    weights, counter = {}, itertools.count()

    def conv(name, value, channels, filters, size, stride=1, padding=0):
        weights[f"{name}.weight"] = (filters, channels, size, size)
        out = f"v{next(counter)}"
        pads = [padding] * 4
        yield (
            out,
            helper.make_node(
                "Conv", [value, f"{name}.weight"], [out], name=f"node_{name}", strides=[stride] * 2, pads=pads
            ),
        )

    def relu(value):
        out = f"v{next(counter)}"
        return out, helper.make_node("Relu", [value], [out])

    nodes = []

    def chain(steps):
        for out, node in steps:
            nodes.append(node)
            last = out
        return last

    value = chain(conv("conv1", "x", 3, 64, 7, 2, 3))
    nodes.append(helper.make_node("MaxPool", [value], ["p"], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4))
    value, channels = "p", 64
    for stage, (depth, width) in enumerate([(3, 64), (4, 128), (6, 256), (3, 512)], start=1):
        for index in range(depth):
            name, before = f"layer{stage}.{index}", value
            stride = 2 if stage > 1 and index == 0 else 1
            value = chain([relu(chain(conv(f"{name}.conv1", value, channels, width, 1)))])
            value = chain([relu(chain(conv(f"{name}.conv2", value, width, width, 3, stride, 1)))])
            value = chain(conv(f"{name}.conv3", value, width, 4 * width, 1))
            if index == 0:
                before = chain(conv(f"{name}.down", before, channels, 4 * width, 1, stride))
            nodes.append(helper.make_node("Add", [value, before], [f"s{stage}{index}"]))
            value, channels = f"s{stage}{index}", 4 * width
    nodes += [helper.make_node("GlobalAveragePool", [value], ["g"]), helper.make_node("Flatten", ["g"], ["f"])]
    nodes.append(helper.make_node("Gemm", ["f", "fc.weight"], ["y"], transB=1))
    return nodes, weights | {"fc.weight": (1000, 2048)}


def test_an_onnx_resnet_50_has_the_layers_of_the_shipped_table_and_so_has_its_saved_table(read, tmp_path):
    nodes, weights = bottleneck_nodes()
    network = read(model_of(nodes, {"x": (1, 3, 224, 224)}, weights))
    shipped = get_workload("resnet50").layers
    assert network.workload().layers == shipped
    network.save(tmp_path / "mine.csv")
    assert load_workload(tmp_path / "mine.csv").layers == shipped
    assert {each.operator: (each.kind, each.times) for each in network.free} == {
        "Add": ("elementwise", 16),
        "Flatten": ("reshape", 1),
        "GlobalAveragePool": ("pooling", 1),
        "MaxPool": ("pooling", 1),
        "Relu": ("activation", 32),
    }


PAIR = st.tuples(st.integers(1, 3), st.integers(1, 3))


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(3, 12), st.integers(3, 12)),
    kernel=PAIR,
    stride=PAIR,
    dilation=PAIR,
    pads=st.tuples(*[st.integers(0, 2)] * 4),
    groups=st.integers(1, 3),
)
def test_a_convolution_has_the_output_that_onnx_infers_and_the_pixels_that_its_windows_touch(
    tmp_path_factory, size, kernel, stride, dilation, pads, groups
):
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    assume(all(s + a + b >= r for s, a, b, r in zip(size, pads[:2], pads[2:], reach, strict=True)))
    node = helper.make_node(
        "Conv", ["x", "w"], ["y"], strides=stride, dilations=dilation, pads=pads, group=groups, name="c"
    )
    model = model_of([node], {"x": (2, 2 * groups, *size)}, {"w": (3 * groups, 2, *kernel)})
    *_, height, width = (
        each.dim_value for each in onnx.shape_inference.infer_shapes(model).graph.output[0].type.tensor_type.shape.dim
    )
    path = tmp_path_factory.mktemp("net") / "net.onnx"
    onnx.save(model, path)
    touched = []
    for axis, outputs in enumerate((height, width)):
        pixels = {
            window * stride[axis] + tap * dilation[axis] - pads[axis]
            for window in range(outputs)
            for tap in range(kernel[axis])
        }
        touched.append(len(pixels & set(range(size[axis]))))
    assume(all(touched))
    (layer,) = from_onnx(path).layers
    assert (layer.m, layer.n, layer.k) == (2 * height * width, 3, 2 * math.prod(kernel))
    assert (layer.products, layer.ifmap_words) == (groups, 2 * 2 * math.prod(touched))


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("kernel", [(2, 5), (1, 3)])
def test_padding_by_name_gives_the_outputs_that_onnx_infers(read, auto_pad, kernel):
    node = helper.make_node("Conv", ["x", "w"], ["y"], strides=[2, 1], auto_pad=auto_pad)
    model = model_of([node], {"x": (1, 4, 9, 10)}, {"w": (6, 4, *kernel)})
    height, width = (5, 10) if auto_pad != "VALID" else ((9 - kernel[0]) // 2 + 1, 10 - kernel[1] + 1)
    assert read(model).layers[0].m == height * width


PRODUCTS = {  # node, {input: shape}, {weights: shape}: (kind, m, n, k, products) of each row
    "MatMul by weights": (
        helper.make_node("MatMul", ["x", "w"], ["y"]), {"x": (2, 5, 7)}, {"w": (7, 3)}, [("gemm", 10, 3, 7, 1)],
    ),
    "MatMul of activations, a head each": (
        helper.make_node("MatMul", ["x", "z"], ["y"]), {"x": (2, 4, 5, 7), "z": (2, 4, 7, 6)}, {},
        [("attention", 5, 6, 7, 8)],
    ),
    "MatMul with experts' weights": (
        helper.make_node("MatMul", ["x", "w"], ["y"]), {"x": (2, 4, 5, 7)}, {"w": (4, 7, 6)},
        [("gemm", 10, 6, 7, 4)],
    ),
    "MatMul with the weights on the left": (
        helper.make_node("MatMul", ["w", "x"], ["y"]), {"x": (2, 7, 5)}, {"w": (3, 7)}, [("gemm", 10, 3, 7, 1)],
    ),
    "MatMul of vectors": (
        helper.make_node("MatMul", ["x", "w"], ["y"]), {"x": (7,)}, {"w": (7,)}, [("gemm", 1, 1, 7, 1)],
    ),
    "Gemm, both transposed": (
        helper.make_node("Gemm", ["x", "w"], ["y"], transA=1, transB=1), {"x": (7, 5)}, {"w": (3, 7)},
        [("gemm", 5, 3, 7, 1)],
    ),
    "Einsum": (
        helper.make_node("Einsum", ["x", "z"], ["y"], equation="bqhd,bkhd->bhqk"),
        {"x": (2, 5, 3, 4), "z": (2, 6, 3, 4)}, {}, [("attention", 5, 6, 4, 6)],
    ),
    "ConvTranspose": (
        helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2], group=2), {"x": (1, 4, 5, 6)},
        {"w": (4, 3, 2, 3)}, [("gemm", 30, 18, 2, 2)],
    ),
    "ConvInteger": (
        helper.make_node("ConvInteger", ["x", "w"], ["y"], pads=[1] * 4), {"x": (1, 4, 5, 6)}, {"w": (8, 4, 3, 3)},
        [("conv", 30, 8, 36, 1)],
    ),
    "QLinearConv": (
        helper.make_node("QLinearConv", ["x", "s", "o", "w", "s", "o", "s", "o"], ["y"]), {"x": (1, 4, 5, 6)},
        {"w": (8, 4, 1, 1), "s": (), "o": ()}, [("conv", 30, 8, 4, 1)],
    ),
    "QLinearMatMul": (
        helper.make_node("QLinearMatMul", ["x", "s", "o", "w", "s", "o", "s", "o"], ["y"]), {"x": (5, 4)},
        {"w": (4, 8), "s": (), "o": ()}, [("gemm", 5, 8, 4, 1)],
    ),
    "FusedMatMul of ONNX Runtime": (
        helper.make_node("FusedMatMul", ["x", "w"], ["y"], transB=1, domain="com.microsoft"), {"x": (5, 7)},
        {"w": (3, 7)}, [("gemm", 5, 3, 7, 1)],
    ),
    "Attention with grouped queries": (
        helper.make_node("Attention", ["x", "z", "z"], ["y"]), {"x": (2, 8, 5, 16), "z": (2, 2, 7, 16)}, {},
        [("attention", 5, 7, 16, 16), ("attention", 5, 16, 7, 16)],
    ),
    "Attention of three axes": (
        helper.make_node("Attention", ["x", "z", "z"], ["y"], q_num_heads=8, kv_num_heads=2),
        {"x": (2, 5, 128), "z": (2, 7, 32)}, {}, [("attention", 5, 7, 16, 16), ("attention", 5, 16, 7, 16)],
    ),
    "Attention after what is cached": (
        helper.make_node("Attention", ["x", "z", "z", "", "c", "c"], ["y", "", "", ""]),
        {"x": (1, 2, 1, 16), "z": (1, 2, 1, 16), "c": (1, 2, 9, 16)}, {},
        [("attention", 1, 10, 16, 2), ("attention", 1, 16, 10, 2)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PRODUCTS)
def test_every_kind_of_product_becomes_rows(read, name):
    node, inputs, weights, rows = PRODUCTS[name]
    network = read(model_of([node], inputs, weights, opset=23))
    assert not network.unsupported
    assert sizes(network) == rows


def test_weights_are_weights_behind_a_transpose_and_a_dequantisation(read):
    nodes = [
        helper.make_node("Transpose", ["w"], ["t"], perm=[1, 0]),
        helper.make_node("DequantizeLinear", ["t", "s"], ["d"]),
        helper.make_node("MatMul", ["x", "d"], ["y"]),
    ]
    weights = {"w": np.zeros((3, 7), np.int8), "s": np.ones((), np.float32)}
    assert sizes(read(model_of(nodes, {"x": (5, 7)}, weights))) == [("gemm", 5, 3, 7, 1)]


def test_shapes_that_are_computed_from_shapes_are_known(read):
    nodes = [
        helper.make_node("Shape", ["x"], ["s"], end=1),
        helper.make_node("Concat", ["s", "rest"], ["shape"], axis=0),
        helper.make_node("Reshape", ["x", "shape"], ["r"]),
        helper.make_node("MatMul", ["r", "w"], ["y"]),
    ]
    weights = {"rest": np.array([-1], np.int64), "w": (12, 3)}
    assert sizes(read(model_of(nodes, {"x": (2, 3, 4)}, weights))) == [("gemm", 2, 3, 12, 1)]


def test_shapes_that_arithmetic_on_shapes_decides_are_known(read):
    """Heads: the width over 4, by operators that ONNX's own inference does not follow."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "last"], ["width"]),
        helper.make_node("Div", ["width", "heads"], ["each"]),
        helper.make_node("Cast", ["each"], ["real"], to=FLOAT),
        helper.make_node("Floor", ["real"], ["floor"]),
        helper.make_node("Cast", ["floor"], ["whole"], to=INT64),
        helper.make_node("Concat", ["rest", "heads", "whole"], ["shape"], axis=0),
        helper.make_node("Reshape", ["x", "shape"], ["split"]),
        helper.make_node("Transpose", ["split"], ["q"], perm=[1, 0, 2]),
        helper.make_node("Transpose", ["split"], ["k"], perm=[1, 2, 0]),
        helper.make_node("MatMul", ["q", "k"], ["y"]),
    ]
    weights = {name: np.array([value], np.int64) for name, value in {"last": 1, "heads": 4, "rest": -1}.items()}
    model = model_of(nodes, {"x": ("tokens", 24)}, weights)
    assert sizes(read(model, dimensions={"tokens": 9})) == [("attention", 9, 9, 6, 4)]


@pytest.mark.parametrize(
    "value", [{"value_int": 2}, {"value_ints": [2]}, {"value_float": 2.0}, {"value_floats": [2.0]}]
)
def test_constants_that_are_attributes_decide_shapes_as_tensors_do(read, value):
    nodes = [
        helper.make_node("Constant", [], ["given"], **value),
        helper.make_node("Cast", ["given"], ["whole"], to=INT64),
        helper.make_node("Pow", ["whole", "whole"], ["four"]),
        helper.make_node("Reshape", ["four", "one"], ["rows"]),
        helper.make_node("Concat", ["rows", "rest"], ["shape"], axis=0),
        helper.make_node("Reshape", ["x", "shape"], ["r"]),
        helper.make_node("MatMul", ["r", "w"], ["y"]),
    ]
    weights = {"one": np.array([1], np.int64), "rest": np.array([-1], np.int64), "w": (6, 3)}
    assert sizes(read(model_of(nodes, {"x": (24,)}, weights))) == [("gemm", 4, 3, 6, 1)]


def test_a_model_whose_exporter_froze_a_dimension_is_refused(read):
    nodes = [helper.make_node("Reshape", ["x", "s"], ["r"], name="view"), helper.make_node("MatMul", ["r", "w"], ["y"])]
    model = model_of(nodes, {"x": ("batch", 7)}, {"s": np.array([5, 7], np.int64), "w": (7, 3)})
    assert sizes(read(model, dimensions={"batch": 5})) == [("gemm", 5, 3, 7, 1)]
    with pytest.raises(InvalidWorkloadError, match=r"contradict each other: 'view' reshapes \[6, 7\] to \[5, 7\]"):
        read(model, dimensions={"batch": 6})


def test_a_shape_that_would_be_huge_is_not_computed(read):
    nodes = [
        helper.make_node("ConstantOfShape", ["s"], ["c"]),
        helper.make_node("Range", ["a", "b", "a1"], ["e"]),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    weights = {"s": np.array([2**40, 2**20], np.int64), "w": (7, 3)}
    weights |= {"a": np.array(0, np.int64), "b": np.array(2**60, np.int64), "a1": np.array(1, np.int64)}
    assert sizes(read(model_of(nodes, {"x": (5, 7)}, weights))) == [("gemm", 5, 3, 7, 1)]


def test_functions_of_the_model_are_read_as_their_bodies(read):
    body = helper.make_function(
        "mine", "Twice", ["a", "b"], ["c"], [helper.make_node("MatMul", ["a", "b"], ["c"])],
        [helper.make_opsetid("", 21)],
    )  # fmt: skip
    model = model_of([helper.make_node("Twice", ["x", "w"], ["y"], domain="mine")], {"x": (5, 7)}, {"w": (7, 3)})
    model.functions.append(body)
    model.opset_import.append(helper.make_opsetid("mine", 1))
    assert sizes(read(model)) == [("gemm", 5, 3, 7, 1)]


def test_external_data_are_not_opened_and_not_needed_where_only_weights_lie_there(tmp_path):
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    model = model_of([node], {"x": (5, 7)}, {"w": (7, 3)})
    onnx.external_data_helper.convert_model_to_external_data(model, location="weights.bin", size_threshold=0)
    onnx.save(model, tmp_path / "net.onnx")
    (tmp_path / "weights.bin").unlink()
    assert sizes(from_onnx(tmp_path / "net.onnx")) == [("gemm", 5, 3, 7, 1)]


def test_external_data_that_decide_a_shape_are_refused_with_the_layer(tmp_path):
    nodes = [helper.make_node("Reshape", ["x", "s"], ["r"]), helper.make_node("MatMul", ["r", "w"], ["y"], name="fc")]
    model = model_of(nodes, {"x": (5, 7)}, {"s": np.array([35, 1], np.int64), "w": (1, 3)})
    onnx.external_data_helper.convert_model_to_external_data(model, location="weights.bin", size_threshold=0)
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(InvalidWorkloadError, match=r"input 'r' is not known; data in external files are not opened"):
        from_onnx(tmp_path / "net.onnx")


# --- What is listed ---------------------------------------------------------------------------------------------------


def test_operators_without_a_rule_are_listed_with_their_layers(read):
    nodes = [
        helper.make_node("LSTM", ["x", "w", "r"], ["", "h"], hidden_size=8, name="encoder"),
        helper.make_node("Mystery", ["h"], ["m"], domain="acme", name="magic"),
        helper.make_node("MatMul", ["m", "v"], ["z"], name="after"),
        helper.make_node("MatMul", ["x", "v"], ["y"], name="beside"),
    ]
    weights = {"w": (1, 32, 4), "r": (1, 32, 8), "v": (4, 3)}
    network = read(model_of(nodes, {"x": (6, 2, 4)}, weights))
    assert [each[:2] for each in network.unsupported] == [
        ("encoder", "LSTM"), ("magic", "acme.Mystery"), ("after", "MatMul"),
    ]  # fmt: skip
    assert "the shape of its input 'm' is not known" in network.unsupported[2].reason
    assert [each.name for each in network.layers] == ["beside"]
    with pytest.raises(InvalidWorkloadError, match=r"LSTM of layer 'encoder' is not supported .* 2 operators more"):
        network.workload()


@pytest.mark.parametrize(("inside", "listed"), [("MatMul", True), ("Mul", False)])
def test_a_branch_is_listed_where_it_holds_products(read, inside, listed):
    def branch(name):
        output = helper.make_tensor_value_info(f"{name}_out", FLOAT, (4, 4))
        return helper.make_graph([helper.make_node(inside, ["x", "x"], [f"{name}_out"])], name, [], [output])

    nodes = [
        helper.make_node("If", ["flag"], ["y"], then_branch=branch("a"), else_branch=branch("b"), name="choice"),
    ]
    model = model_of(nodes, {"x": (4, 4)})
    model.graph.input.append(helper.make_tensor_value_info("flag", onnx.TensorProto.BOOL, ()))
    network = read(model)
    assert bool(network.unsupported) == listed
    if listed:
        assert network.unsupported[0].layer == "choice"
        assert "MatMul" in network.unsupported[0].reason


@pytest.mark.parametrize(
    ("inside", "listed"),
    [(("MatMul", ""), "MatMul"), (("Mul", ""), ""), (("Mul", "acme"), "acme.Mul"), (("If", "acme"), "acme.If")],
)
def test_a_branch_in_a_branch_is_listed_by_what_it_holds(read, inside, listed):
    def branch(node):
        output = helper.make_tensor_value_info(node.output[0], FLOAT, (4, 4))
        return helper.make_graph([node], node.output[0], [], [output])

    def choice(name, node):
        return helper.make_node("If", ["flag"], [name], then_branch=branch(node), else_branch=branch(node))

    operator, domain = inside
    node = choice("y", choice("inner", helper.make_node(operator, ["x", "x"], ["innermost"], domain=domain)))
    model = model_of([node], {"x": (4, 4)})
    model.graph.input.append(helper.make_tensor_value_info("flag", onnx.TensorProto.BOOL, ()))
    reasons = [each.reason for each in read(model).unsupported]
    assert reasons == ([f"how often it runs {listed} is decided by data"] if listed else [])


@pytest.mark.parametrize(
    ("equation", "shapes", "why"),
    [
        ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 5)], "a sum over 3 operands"),
        ("ii,ij->ij", [(2, 2), (2, 3)], "does not name each axis"),
        ("ij,k->k", [(2, 3), (4,)], "the axis i is summed over in one operand alone"),
        ("ij,jk->ik", [(2, 3), (4, 5)], "the axis j is 3 and 4"),
    ],
)
def test_sums_that_are_no_matrix_product_are_listed(read, equation, shapes, why):
    names = "abc"[: len(shapes)]
    node = helper.make_node("Einsum", list(names), ["y"], equation=equation, name="sum")
    network = read(model_of([node], dict(zip(names, shapes, strict=True))))
    assert why in network.unsupported[0].reason


def test_a_layer_beyond_the_models_limits_is_listed_with_the_limit(read):
    network = read(model_of([helper.make_node("MatMul", ["x", "z"], ["y"])], {"x": (2**24, 2), "z": (2, 1)}))
    assert "m = 16777216 is above 8388608" in network.unsupported[0].reason


@pytest.mark.parametrize(
    ("operator", "attribute", "why"),
    [
        ("Conv", {"strides": [0, 1]}, "a size, stride, dilation or number of groups is below 1"),
        ("Conv", {"group": 0}, "6 channels where 0 groups"),
        ("Conv", {"pads": [-1, 0, 0, 0]}, "a negative padding cuts the input"),
        ("Conv", {"pads": [1, 0, 0]}, "pads are not 4 whole numbers"),
        ("Conv", {"strides": 1.5}, "strides are not 2 whole numbers"),
        ("Conv", {"auto_pad": "MAYBE"}, "auto_pad = 'MAYBE' is not known"),
        ("ConvTranspose", {"group": 0}, "groups = 0 must divide"),
    ],
)
def test_attributes_that_are_wrong_are_listed_with_the_layer(read, operator, attribute, why):
    node = helper.make_node(operator, ["x", "w"], ["y"], name="c", **attribute)
    ((layer, _, reason),) = read(model_of([node], {"x": (5, 6, 4, 4)}, {"w": (6, 6, 3, 3)})).unsupported
    assert layer == "c"
    assert why in reason


def test_a_layers_name_may_hold_anything(read, tmp_path):
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name='#a,"b"\nc')
    network = read(model_of([node], {"x": (5, 7)}, {"w": (7, 3)}))
    network.save(tmp_path / "mine.csv")
    assert load_workload(tmp_path / "mine.csv").layers == network.layers
    assert network.layers[0].name == '#a,"b" c'


def test_every_operator_of_onnx_has_a_rule_a_kind_or_is_named_here():
    from dsegym.costmodels.accelerator.workloads import onnx_models

    names = {each.name for each in onnx.defs.get_all_schemas_with_history() if each.domain == ""}
    known = {*onnx_models._FREE, *onnx_models._PRODUCTS, *onnx_models._CONTROL, *onnx_models._REASONS}
    unknown = {
        *("AffineGrid", "CausalConvWithState", "DFT", "DeformConv", "Det", "LinearAttention", "STFT"),
        *("TfIdfVectorizer",),
    }
    assert names - known <= unknown
    assert not set(onnx_models._FREE) & set(onnx_models._PRODUCTS)


# --- What is refused --------------------------------------------------------------------------------------------------


def test_a_dynamic_dimension_is_refused_with_its_name_and_read_with_its_size(read):
    model = model_of([helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": ("batch", 7)}, {"w": (7, 3)})
    message = r"dimension 0 of the input 'x' is dynamic \('batch'\); give its size, as in --dimension batch=1"
    with pytest.raises(InvalidWorkloadError, match=message):
        read(model)
    assert sizes(read(model, dimensions={"batch": 6})) == [("gemm", 6, 3, 7, 1)]
    with pytest.raises(InvalidWorkloadError, match="no input has a dynamic dimension 'size'"):
        read(model, dimensions={"batch": 6, "size": 2})
    model = model_of([helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": (None, 7)}, {"w": (7, 3)})
    assert sizes(read(model, dimensions={"x.0": 6})) == [("gemm", 6, 3, 7, 1)]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\x08\x07\x12\x07pytorch", "no ONNX model, or its graph is empty"),
        (b"\x08\x07\xff\xff\xff\xff", "no ONNX model, or it is damaged"),
        (b"", "no ONNX model"),
        (b"layer,kind\n", "no ONNX model"),
    ],
)
def test_what_is_no_model_is_refused(tmp_path, content, why):
    (tmp_path / "net.onnx").write_bytes(content)
    with pytest.raises(InvalidWorkloadError, match=why):
        from_onnx(tmp_path / "net.onnx")


def test_a_model_that_breaks_off_is_refused(tmp_path):
    model = model_of([helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": (5, 7)}, {"w": (7, 3)})
    content = model.SerializeToString()
    for length in range(1, len(content), 7):
        (tmp_path / "net.onnx").write_bytes(content[:length])
        with pytest.raises(InvalidWorkloadError) as caught:
            from_onnx(tmp_path / "net.onnx").workload()
        assert "\n" not in str(caught.value)


def test_a_file_that_is_too_large_a_folder_or_absent_is_refused(tmp_path, monkeypatch):
    with pytest.raises(InvalidWorkloadError, match="there is no such file"):
        from_onnx(tmp_path / "none.onnx")
    with pytest.raises(InvalidWorkloadError, match="a folder"):
        from_onnx(tmp_path)
    with open(tmp_path / "large.onnx", "wb") as file:
        file.truncate(2**30 + 1)
    with pytest.raises(InvalidWorkloadError, match="at most 1,073,741,824 are read"):
        from_onnx(tmp_path / "large.onnx")


def test_shapes_that_contradict_each_other_are_refused_or_listed(read):
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], name="fc")]
    with pytest.raises(InvalidWorkloadError):
        read(model_of(nodes, {"x": (5, 6)}, {"w": (7, 3)})).workload()


def test_an_attribute_of_another_kind_that_shapes_follow_from_is_said(read):
    model = model_of([helper.make_node("Shape", ["x"], ["y"], start=1.5)], {"x": (5, 6)})
    with pytest.raises(InvalidWorkloadError, match=r"its shapes cannot be followed \(TypeError"):
        read(model)


def test_without_onnx_the_sentence_names_it(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(DsegymError, match=r"^Reading ONNX models needs onnx: pip install 'dsegym\[workloads\]'\.$"):
        from_onnx(tmp_path / "net.onnx")


@pytest.mark.parametrize(
    ("attributes", "x", "w", "why"),
    [
        (
            {"strides": [0, 0], "auto_pad": "SAME_UPPER"},
            (1, 3, 8, 8),
            (4, 3, 3, 3),
            "number of groups is below 1: strides = ",
        ),
        ({"dilations": [0, 0]}, (1, 3, 8, 8), (4, 3, 3, 3), "number of groups is below 1: strides = "),
        ({"kernel_shape": [5, 5]}, (1, 3, 8, 8), (4, 3, 3, 3), "kernel_shape is [5, 5], and the kernel is [3, 3]"),
        ({}, (1, 3), (4, 3, 3, 3), "its input 'x' has 2 axes; at least 3 are needed"),
        ({}, (1, 3, 8, 8), (4,), "its input 'w' has 1 axes"),
        ({}, (1, 3, 2, 8, 8), (4, 3, 3, 3, 3), "the kernel's depth (3) is larger than the padded input's (2)"),
    ],
)
def test_a_convolution_that_is_wrong_is_listed_with_its_layer(read, attributes, x, w, why):
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="conv", **attributes)
    (found,) = read(model_of([node], {"x": x}, {"w": w})).unsupported
    assert found.layer == "conv"
    assert why in found.reason


@pytest.mark.parametrize(
    ("attributes", "shapes", "why"),
    [
        ({}, [(1, 2, 4, 8), (1, 2, 4, 9), (1, 2, 4, 8)], "do not fit each other"),
        ({}, [(1, 2, 4, 8), (1, 2, 4, 8), (1, 2, 5, 8)], "do not fit each other"),
        ({}, [(1, 4, 4, 8), (1, 3, 4, 8), (1, 3, 4, 8)], "do not fit each other"),
        ({}, [(1, 2, 4, 8), (1, 2, 4, 8), (1, 2, 4, 8), (3, 4)], "its input 'p' has 2 axes"),
        ({"q_num_heads": 3, "kv_num_heads": 3}, [(1, 4, 8)] * 3, "3 and 3 heads do not divide the widths 8, 8, 8"),
        ({"q_num_heads": -2, "kv_num_heads": -2}, [(1, 4, 8)] * 3, "how many heads"),
    ],
)
def test_attention_whose_operands_do_not_fit_is_listed(read, attributes, shapes, why):
    names = ["q", "k", "v", "p"][: len(shapes)]
    given_ = [*names[:3], "", "p", "p"] if "p" in names else names
    node = helper.make_node("Attention", given_, ["y"], name="attend", **attributes)
    (found,) = read(model_of([node], dict(zip(names, shapes, strict=True)), opset=23)).unsupported
    assert found.layer == "attend"
    assert why in found.reason


@pytest.mark.parametrize(
    ("nodes", "why"),
    [
        ([("Conv", ["z", "w"], "y"), ("Relu", ["y"], "z")], "node 'y' reads 'z' before node 'z' writes it"),
        ([("Add", ["y", "x"], "y")], "node 'y' reads 'y' before"),
        ([("Conv", ["x", "w"], "y"), ("Relu", ["x"], "y")], "'y' is written twice, the second time by node 'y'"),
    ],
)
def test_a_graph_that_cannot_run_in_its_order_is_refused_with_the_node(read, nodes, why):
    made = [helper.make_node(operator, inputs, [output]) for operator, inputs, output in nodes]
    with pytest.raises(InvalidWorkloadError, match=re.escape(why)):
        read(model_of(made, {"x": (1, 3, 8, 8)}, {"w": (4, 3, 3, 3)}))


def test_functions_that_multiply_are_not_unfolded(read):
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("f", 1)]

    def function(index):
        names = ["a", *(f"t{place}" for place in range(9)), "b"]
        steps = [
            helper.make_node(f"F{index + 1}" if index < 11 else "Relu", [old], [new], domain="f" if index < 11 else "")
            for old, new in itertools.pairwise(names)
        ]
        return helper.make_function("f", f"F{index}", ["a"], ["b"], steps, opsets)

    model = model_of([helper.make_node("F0", ["x"], ["y"], domain="f")], {"x": (1, 3)})
    model.functions.extend(function(index) for index in range(12))
    model.opset_import.append(opsets[1])
    with pytest.raises(InvalidWorkloadError, match="with its functions inlined it has more than 1,048,576 nodes"):
        read(model)


def test_a_constant_that_is_damaged_is_named(read):
    model = model_of([helper.make_node("Reshape", ["x", "s"], ["y"])], {"x": (4,)})
    model.graph.initializer.append(onnx.TensorProto(name="s", data_type=INT64, dims=[4], raw_data=b"12"))
    with pytest.raises(InvalidWorkloadError, match="the constant 's' is damaged"):
        read(model)
