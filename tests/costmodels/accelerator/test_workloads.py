"""Workload tables: what a user's own file may hold, how every mistake is answered, and the lowering to products."""

import codecs

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dsegym.costmodels.accelerator.workloads import get_workload, load_workload, tables, workload_names
from dsegym.costmodels.errors import InvalidWorkloadError, UnknownNameError
from dsegym.costmodels.tables import package_path

CONV = "layer,kind,in_channels,out_channels,in_height,in_width,kernel_height,kernel_width,stride,padding,groups"
GEMM = "layer,kind,m,n,k,batch,repeat"


@pytest.fixture
def table(tmp_path):
    """Writes a file `mine.csv` of the given lines, or bytes, and returns its path."""

    def write(*lines, content=None):
        path = tmp_path / "mine.csv"
        path.write_bytes("\n".join(lines).encode() if content is None else content)
        return path

    return write


def message_of(path):
    with pytest.raises(InvalidWorkloadError) as caught:
        load_workload(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


# --- What is accepted -------------------------------------------------------------------------------------------------

MIXED = """\
# A small network.

# Made up.
layer,kind,in_channels,out_channels,in_height,in_width,kernel_height,kernel_width,stride,padding,groups,m,n,k,batch,repeat
first,conv,3,8,10,12,3,5,2,1,,,,,2,
 depthwise ,conv,8,8,5,5,3,3,,1,8,,,,,3

linear,gemm,,,,,,,,,,7,5,9,,
scores,attention,,,,,,,,,,4,6,2,12,24
"""


def test_the_output_of_a_strided_convolution_is_rounded_down(table):
    """SCALE-Sim rounds up: 10 x 10."""
    (layer,) = load_workload(table(CONV, "a,conv,1,1,30,30,4,4,3,0,1")).layers
    assert layer.m == 9 * 9


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
def test_a_table_of_convolutions_and_products_is_read_with_its_defaults(table, mark, ending):
    workload = load_workload(table(content=mark + MIXED.replace("\n", ending).encode()))
    assert (workload.name, workload.source) == ("mine", "A small network. Made up.")
    first, depthwise, linear, scores = workload.layers
    # 10 x 12 pixels padded by 1, kernel 3 x 5, stride 2: 5 x 5 outputs of each of 2 images, which read every pixel.
    assert (first.m, first.n, first.k) == (2 * 5 * 5, 8, 3 * 3 * 5)
    assert (first.products, first.repeat, first.ifmap_words) == (1, 1, 2 * 3 * 10 * 12)
    assert (depthwise.name, depthwise.m, depthwise.n, depthwise.k) == ("depthwise", 25, 1, 9)
    assert (depthwise.products, depthwise.repeat, depthwise.ifmap_words) == (8, 3, 25)
    assert depthwise.count == 24
    assert (linear.m, linear.n, linear.k, linear.products, linear.repeat, linear.ifmap_words) == (7, 5, 9, 1, 1, 63)
    assert (scores.products, scores.repeat, scores.weights) == (12, 24, 0)
    assert workload.macs == 50 * 8 * 45 + 25 * 9 * 24 + 7 * 5 * 9 + 4 * 6 * 2 * 12 * 24
    assert workload.weights == 8 * 45 + 9 * 24 + 5 * 9


def test_a_users_file_is_found_by_its_path_and_named_as_asked(table):
    path = table(GEMM, "one,gemm,4,5,6,,")
    assert get_workload(str(path)).macs == 120
    assert load_workload(path, "another").name == "another"


def test_equal_products_are_merged_and_the_table_is_filled_up(table):
    workload = load_workload(table(GEMM, "a,gemm,4,5,6,2,3", "b,attention,4,5,6,,10", "c,gemm,5,4,6,,"))
    assert np.stack(workload.distinct, axis=1)[:3].tolist() == [[4, 5, 6, 24, 16], [5, 4, 6, 30, 1], [1, 1, 1, 1, 0]]
    assert len(workload.distinct.m) == tables.VECTOR
    assert workload.distinct.occurrences.sum() == 17
    assert workload.in_order.occurrences.tolist() == [6, 10, 1]


@pytest.mark.parametrize("name", workload_names())
def test_every_shipped_table_is_the_product_list_of_the_oracle(oracle, name):
    products = oracle.read_workload(package_path(f"accelerator/workload_tables/{name}.csv"))
    arrays = get_workload(name).in_order
    expected = [(p.m, p.n, p.k, p.ifmap_words, p.count) for p in products]
    assert list(zip(*map(np.ndarray.tolist, arrays), strict=True)) == expected


# --- What is refused --------------------------------------------------------------------------------------------------

GOOD_CONV = {
    "layer": "one",
    "kind": "conv",
    "in_channels": 4,
    "out_channels": 4,
    "in_height": 8,
    "in_width": 8,
    "kernel_height": 3,
    "kernel_width": 3,
    "stride": 1,
    "padding": 0,
    "groups": 1,
}
GOOD_GEMM = {"layer": "one", "kind": "gemm", "m": 4, "n": 4, "k": 4, "batch": 1, "repeat": 1}


@pytest.mark.parametrize(
    ("good", "changes", "reason"),
    [
        (GOOD_GEMM, {"m": "four"}, "m = 'four' is not a whole number from 1"),
        (GOOD_GEMM, {"m": "3.5"}, "m = '3.5' is not a whole number"),
        (GOOD_GEMM, {"n": -4}, "n = '-4' is not a whole number from 1"),
        (GOOD_GEMM, {"k": 0}, "k = '0' is not a whole number from 1"),
        (GOOD_GEMM, {"k": ""}, "a gemm row needs 'k'"),
        (GOOD_GEMM, {"batch": 0}, "batch = '0' is not a whole number from 1"),
        (GOOD_GEMM, {"repeat": "nan"}, "repeat = 'nan' is not a whole number"),
        (GOOD_GEMM, {"repeat": 2**31}, "is not a whole number from 1 to 2147483647"),
        (GOOD_GEMM, {"kind": "pool"}, "kind = 'pool' is not one of conv, gemm, attention"),
        (GOOD_GEMM, {"kind": ""}, "kind = '' is not one of conv, gemm, attention"),
        (GOOD_GEMM, {"kind": "conv"}, "a conv row needs 'in_channels'"),
        (GOOD_GEMM, {"layer": ""}, "the row has no layer name"),
        (GOOD_GEMM, {"m": 2**23 + 1}, "the matrix product's m = 8388609 is above 8388608"),
        (GOOD_GEMM, {"m": 2**16, "k": 2**15}, "an operand (or the number of products) is 2147483648"),
        (GOOD_GEMM, {"batch": 2**16, "repeat": 2**15}, "an operand (or the number of products) is 2147483648"),
        (GOOD_CONV, {"kernel_height": 9}, "the kernel (9) is larger than the padded input (8) in height"),
        (
            GOOD_CONV,
            {"kernel_width": 11, "padding": 1},
            "the kernel (11) is larger than the padded input (10) in width",
        ),
        (GOOD_CONV, {"groups": 3}, "groups = 3 must divide in_channels and out_channels"),
        (GOOD_CONV, {"groups": 4, "out_channels": 6}, "groups = 4 must divide in_channels and out_channels"),
        (GOOD_CONV, {"padding": -1}, "padding = '-1' is not a whole number from 0"),
        (GOOD_CONV, {"stride": 0}, "stride = '0' is not a whole number from 1"),
        (GOOD_CONV, {"in_height": 2**30}, "the output's height = 1073741822 is above 8388608"),
        (GOOD_CONV, {"in_height": 2**13, "in_width": 2**13}, "the matrix product's m = 67076100 is above 8388608"),
    ],
)
def test_a_wrong_row_is_named_with_its_file_its_line_and_the_reason(table, good, changes, reason):
    rows = [",".join(map(str, row.values())) for row in (good, {**good, **changes})]
    message = message_of(table("# a comment", ",".join(good), "", *rows))
    assert "line 5: " in message
    assert reason in message


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("layer,kind,m,n,k,colour", "unknown column 'colour'"),
        ("layer,kind,m,n,k,m", "column 'm' stands there twice"),
        ("layer,m,n", "the header needs layer and kind"),
        ("layer,kind,m,n", "a gemm row needs 'k'"),
    ],
)
def test_a_wrong_header_is_named_with_its_file_and_line(table, header, reason):
    row = ",".join({"layer": "one", "kind": "gemm"}.get(column, "4") for column in header.split(","))
    message = message_of(table("# a comment", header, row))
    assert "line 2: " in message or "line 3: a gemm row" in message
    assert reason in message


@pytest.mark.parametrize("row", ["one,gemm,4,4,4,1", "one,gemm,4,4,4,1,1,1"])
def test_a_row_with_too_few_or_too_many_cells_is_named(table, row):
    assert f"line 2: {row.count(',') + 1} cells where the header has 7" in message_of(table(GEMM, row))


@pytest.mark.parametrize("lines", [["# only", "# comments"], [GEMM]])
def test_a_file_without_layers_is_refused(table, lines):
    assert "needs a header line and at least one layer" in message_of(table(*lines))


@pytest.mark.parametrize("lines", [[], ["", "  "]])
def test_an_empty_file_is_said_to_be_empty(table, lines):
    assert "the file is empty" in message_of(table(*lines))


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    assert "there is no such file" in message_of(tmp_path / "missing.csv")
    assert "it is a folder, not a file" in message_of(tmp_path)


def test_a_file_that_is_not_utf8_is_refused(table):
    assert "not UTF-8" in message_of(table(content=GEMM.encode() + b"\n\xff\xfe,gemm,4,4,4,,"))


def test_a_network_with_too_much_work_is_refused(table):
    row = f"one,gemm,{2**15},{2**15},{2**14},1,"
    assert load_workload(table(GEMM, row + "1")).macs == 2**44
    message = message_of(table(GEMM, row + "2"))
    assert f"{2**45} multiply-accumulates" in message


def test_products_that_only_together_are_too_many_are_refused(table):
    row = f"gemm,1,1,1,{2**30},1"
    assert load_workload(table(GEMM, f"one,{row}")).distinct.occurrences.sum() == 2**30
    assert "products" in message_of(table(GEMM, f"one,{row}", f"two,{row}"))


def test_a_convolution_that_reads_nothing_but_padding_is_refused(table):
    # Windows of one pixel at -1 and 1 of an input whose only pixel is at 0.
    message = message_of(table(CONV, "one,conv,4,4,1,1,1,1,2,1,1"))
    assert "line 2: " in message
    assert "padding" in message


def test_an_unknown_workload_names_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'mobilenet_v2'"):
        get_workload("mobilenetv2")


# --- Lowering against brute force -------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=st.integers(1, 6),
    padding=st.integers(0, 4),
    channels=st.integers(1, 3),
    depthwise=st.booleans(),
)
def test_a_convolution_reads_exactly_the_pixels_that_its_windows_cover(
    oracle, size, kernel, stride, padding, channels, depthwise
):
    assume(all(axis + 2 * padding >= tap for axis, tap in zip(size, kernel, strict=True)))
    touched = oracle.touched_pixels(*size, *kernel, stride, padding)
    assume(touched)
    windows = [len(oracle.positions(axis, tap, stride, padding)) for axis, tap in zip(size, kernel, strict=True)]
    groups = channels if depthwise else 1
    row = dict(zip(tables._CONV, (channels, channels, *size, *kernel), strict=True))
    layer = tables.parse_layer(
        {"layer": "one", "kind": "conv"}
        | {
            name: str(value)
            for name, value in {**row, "stride": stride, "padding": f"{padding}x{padding}", "groups": groups}.items()
        }
    )
    assert layer.ifmap_words == channels // groups * len(touched)
    assert (layer.m, layer.n) == (windows[0] * windows[1], channels // groups)
    assert (layer.k, layer.products) == (channels // groups * kernel[0] * kernel[1], groups)


PAIR = st.tuples(st.integers(1, 4), st.integers(1, 4))


@settings(max_examples=300, deadline=None)
@given(
    size=st.tuples(st.integers(1, 14), st.integers(1, 14)),
    kernel=PAIR,
    stride=PAIR,
    dilation=PAIR,
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
)
def test_each_axis_has_its_own_stride_padding_and_dilation(size, kernel, stride, dilation, padding):
    windows, read = [], []
    for axis in range(2):
        reach = (kernel[axis] - 1) * dilation[axis] + 1
        starts = range(-padding[axis], size[axis] + padding[axis] - reach + 1, stride[axis])
        assume(len(starts))
        windows.append(len(starts))
        pixels = {start + tap * dilation[axis] for start in starts for tap in range(kernel[axis])}
        read.append(len(pixels & set(range(size[axis]))))
    assume(all(read))
    row = {"layer": "one", "kind": "conv"} | {
        name: str(value) for name, value in zip(tables._CONV, (2, 5, *size, *kernel), strict=True)
    }
    for name, pair in (("stride", stride), ("dilation", dilation), ("padding", padding)):
        row |= {f"{name}_height": str(pair[0]), f"{name}_width": str(pair[1])}
    layer = tables.parse_layer(row)
    assert (layer.m, layer.n, layer.k) == (windows[0] * windows[1], 5, 2 * kernel[0] * kernel[1])
    assert layer.ifmap_words == 2 * read[0] * read[1]


@pytest.mark.parametrize("one", ["1", "1.0", "+1", "01", "1e0", "10e-1"])
@pytest.mark.parametrize("axis", ["height", "width"])
def test_one_padding_for_an_axis_whose_kernel_is_one_is_refused_however_the_one_is_written(table, axis, one):
    row = {**GOOD_CONV, "padding": 1, f"kernel_{axis}": one}
    with pytest.raises(InvalidWorkloadError, match=f"padding = 1 also pads the {axis}, of which the kernel is 1"):
        load_workload(table(",".join(row), ",".join(map(str, row.values()))))


def test_a_network_of_5_000_layers_is_read_as_any_other(table):
    row = "layer{0},conv,{1},64,56,56,3,3,1,1"
    header = "layer,kind,in_channels,out_channels,in_height,in_width,kernel_height,kernel_width,stride,padding"
    workload = load_workload(table(header, *(row.format(i, i % 60 + 1) for i in range(5000))))
    assert len(workload.layers) == 5000
    assert int(workload.distinct.occurrences.sum()) == 5000
    assert int((workload.distinct.occurrences > 0).sum()) == 60


def test_a_layers_name_of_two_lines_is_one_layer(tmp_path):
    path = tmp_path / "net.csv"
    path.write_text('Layer,M,N,K\n"a\n5,6,7",1,2,3\nb,1,1,1\n', encoding="utf-8")
    assert [(layer.name, layer.macs) for layer in load_workload(path).layers] == [("a\n5,6,7", 6), ("b", 1)]
    path.write_text(",Layer,M,N,K\n3,a,1,2,3\n7,b,1,1,1\n", encoding="utf-8")
    assert load_workload(path).macs == 7
    path.write_text(",Layer,M,N,K\nx,a,1,2,3\n", encoding="utf-8")
    with pytest.raises(InvalidWorkloadError, match="the first column has no name"):
        load_workload(path)


@pytest.mark.parametrize(("padding", "outputs"), [("0+1", 4 * 4), ("0+1x2+0", 4 * 4), ("1x0+3", 4 * 5), ("0+0", 3 * 3)])
def test_a_padding_may_differ_at_the_two_ends_of_an_axis(table, padding, outputs):
    row = {**GOOD_CONV, "in_height": 8, "in_width": 8, "kernel_height": 3, "kernel_width": 3, "stride": 2}
    (layer,) = load_workload(table(",".join(row), ",".join(map(str, {**row, "padding": padding}.values())))).layers
    assert layer.m == outputs
    assert layer.ifmap_words <= layer.k // 9 * 64


@pytest.mark.parametrize("padding", ["0+", "+", "-1+1", "1+1+1", "1.5+1", "same+1"])
def test_a_padding_of_two_ends_that_is_none_is_refused(table, padding):
    row = {**GOOD_CONV, "padding": padding}
    assert "padding" in message_of(table(",".join(row), ",".join(map(str, row.values()))))


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("layer,kind,m,n,k", "fc6,gemm,4,0,4"),
        ("Layer,M,N,K,", "fc6,4,0,4,"),
        ("Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,",
         "fc6, 8, 8, 3, 3, 4, 4, -1,"),
    ],
)  # fmt: skip
def test_a_wrong_row_is_named_with_its_layer_and_line(table, header, row):
    message = message_of(table(header, row))
    assert "line 2: " in message
    assert ", in layer 'fc6'" in message
