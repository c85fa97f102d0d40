"""Problems of Timeloop and workloads of ZigZag as layers: sizes by hand, and what is refused."""

import csv
import itertools
import math
import re

import pytest

from dsegym.costmodels.accelerator.workloads import from_yaml, load_workload
from dsegym.costmodels.errors import DsegymError, InvalidWorkloadError

pytest.importorskip("yaml", reason="PyYAML is not installed")


@pytest.fixture
def read(tmp_path):
    def call(text, name="layer.yaml"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return from_yaml(tmp_path / name)

    return call


def sizes(network):
    return [(each.kind, each.m, each.n, each.k, each.products) for each in network.layers]


# --- Timeloop ---------------------------------------------------------------------------------------------------------

FLAT = """
problem:
  C: 3
  Hdilation: 1
  Hstride: 2
  K: 64
  N: 2
  P: 112
  Q: 56
  R: 7
  S: 5
  Wdilation: 3
  Wstride: 2
  shape: cnn-layer
"""


@pytest.mark.parametrize("shape", ["  shape: cnn-layer\n", ""])
def test_a_problem_of_the_shape_that_timeloop_knows_is_a_convolution(read, shape):
    (layer,) = read(FLAT.replace("  shape: cnn-layer\n", shape)).layers
    assert (layer.name, layer.kind) == ("layer", "conv")
    assert (layer.m, layer.n, layer.k) == (2 * 112 * 56, 64, 3 * 7 * 5)
    # R and P run along the width, which Wstride and Wdilation space.
    assert layer.window.bounds == (7, 5, 112, 56, 3, 64, 2)
    assert (layer.window.strides, layer.window.dilations) == ((2, 2), (3, 1))
    width = {2 * p + 3 * r for p in range(112) for r in range(7)}
    height = {2 * q + s for q in range(56) for s in range(5)}
    assert layer.ifmap_words == 2 * 3 * len(width) * len(height)


WRITTEN_OUT = """
problem:
  version: 0.4
  shape:
    name: CNN_Layer
    dimensions: [C, M, R, S, N, P, Q]
    coefficients:
    - {name: Wstride, default: 1}
    - {name: Hstride, default: 1}
    data_spaces:
    - name: Weights
      projection: [[[C]], [[M]], [[R]], [[S]]]
    - name: Inputs
      projection:
      - [[N]]
      - [[C]]
      - [[R], [P, Wstride]]
      - [[S], [Q, Hstride]]
    - name: Outputs
      projection: [[[N]], [[M]], [[Q]], [[P]]]
      read_write: True
  instance: {C: 3, M: 96, R: 11, S: 11, N: 1, P: 55, Q: 55, Wstride: 4, Hstride: 4}
"""


@pytest.mark.parametrize("old", [False, True])
def test_a_shape_that_is_written_out_may_have_other_letters_and_older_names(read, old):
    text = WRITTEN_OUT.replace("data_spaces", "data-spaces").replace("read_write", "read-write") if old else WRITTEN_OUT
    (layer,) = read(text).layers  # AlexNet's first layer
    assert (layer.macs, layer.ifmap_words) == (55 * 55 * 96 * 3 * 11 * 11, 3 * 227 * 227)


def nest(dimensions, spaces, instance):
    lines = ["problem:", "  shape:", f"    dimensions: [{', '.join(dimensions)}]", "    data_spaces:"]
    for name, projection in spaces.items():
        lines += [f"    - name: {name}", f"      projection: {projection}"]
    lines += ["      read_write: true", "  instance:", *(f"    {name}: {bound}" for name, bound in instance.items())]
    return "\n".join(lines)


NESTS = {
    "depthwise": (
        nest("CRSPQ", {"Weights": "[[[C]], [[R]], [[S]]]", "Inputs": "[[[C]], [[R], [P]], [[S], [Q]]]",
                       "Outputs": "[[[C]], [[P]], [[Q]]]"}, {"C": 8, "R": 3, "S": 3, "P": 5, "Q": 6}),
        ("conv", 30, 1, 9, 8), 72,
    ),
    "grouped": (
        nest("GCKRP", {"Weights": "[[[G]], [[K]], [[C]], [[R]]]", "Inputs": "[[[G]], [[C]], [[R], [P]]]",
                       "Outputs": "[[[G]], [[K]], [[P]]]"}, {"G": 4, "C": 2, "K": 3, "R": 3, "P": 5}),
        ("conv", 5, 3, 6, 4), 4 * 3 * 6,
    ),
    "matrix product": (
        nest("MNK", {"A": "[[[M]], [[K]]]", "B": "[[[K]], [[N]]]", "Z": "[[[M]], [[N]]]"}, {"M": 4, "N": 5, "K": 6}),
        ("attention", 4, 5, 6, 1), 0,
    ),
    "linear, weights first": (
        nest("BIO", {"Weights": "[[[I]], [[O]]]", "Inputs": "[[[B]], [[I]]]", "Outputs": "[[[B]], [[O]]]"},
             {"B": 4, "I": 6, "O": 5}),
        ("gemm", 4, 5, 6, 1), 30,
    ),
    "flat terms": (
        nest("BIO", {"Inputs": "[[B], [I]]", "Weights": "[[I], [O]]", "Outputs": "[[B], [O]]"},
             {"B": 4, "I": 6, "O": 5}),
        ("gemm", 4, 5, 6, 1), 30,
    ),
    "batched product": (
        nest("BHMNK", {"Q": "[[[B]], [[H]], [[M]], [[K]]]", "V": "[[[B]], [[H]], [[K]], [[N]]]",
                       "Z": "[[[B]], [[H]], [[M]], [[N]]]"}, {"B": 2, "H": 3, "M": 4, "N": 5, "K": 6}),
        ("attention", 4, 5, 6, 6), 0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NESTS)
def test_loops_are_told_apart_by_what_they_index(read, name):
    text, expected, weights = NESTS[name]
    network = read(text)
    assert sizes(network) == [expected]
    assert network.workload().weights == weights


def test_a_problem_may_take_its_shape_from_a_file_beside_it(read, tmp_path):
    """As the layer shapes that come with Timeloop do; members of the instance go before those of the base."""
    base = WRITTEN_OUT.replace("problem:\n", "base: &base\n")
    (tmp_path / "base.yaml").write_text(base, encoding="utf-8")
    problem = "{{include_text('base.yaml')}}\nproblem:\n  <<<: *base\n  instance: {M: 64, P: 56, H: 1, Hpad: 2}\n"
    (layer,) = read(problem).layers
    assert (layer.m, layer.n, layer.k) == (56 * 55, 64, 3 * 11 * 11)
    for line, why in (
        ("{{include_text('/etc/hostname')}}", "is not the relative path of a YAML file"),
        ("{{include_text('none.yaml')}}", "none.yaml: there is no such file"),
        ("{{add_to_path('x')}}", "the template '{{add_to_path('x')}}' is not run"),
        ("{% for i in x %}", "is not run"),
    ):
        with pytest.raises(InvalidWorkloadError, match=re.escape(why)):
            read(f"{line}\n{FLAT}")


def test_sparse_tensors_are_refused_and_dense_ones_are_read(read):
    dense = "Wstride: 4, Hstride: 4, densities: {Weights: {distribution: fixed_structured, density: 1.0}}}"
    text = WRITTEN_OUT.replace("Wstride: 4, Hstride: 4}", dense)
    assert read(text).workload().macs == 55 * 55 * 96 * 3 * 11 * 11
    with pytest.raises(InvalidWorkloadError, match="Weights is sparse"):
        read(text.replace("1.0", "0.5"))


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("  K: 64\n", "", "the instance gives no K"),
        ("  K: 64\n", "  K: 0\n", "K = 0 is no whole number from 1"),
        ("  K: 64\n", "  K: 6.5\n", "K = 6.5 is no whole number"),
        ("  K: 64\n", "  K: true\n", "K = True is no whole number"),
        ("  K: 64\n", "  K: 1:04\n", "line 6: '1:04' is no number of plain decimal digits"),
        ("  K: 64\n", "  K: 0100\n", "'0100' is no number of plain decimal digits"),
        ("  K: 64\n", "  K: !!bool x\n", "it is no YAML that can be read"),
        ("  K: 64\n", "  K: !!timestamp x\n", "it is no YAML that can be read"),
        ("  K: 64\n", "  K: !!int ''\n", "it is no YAML that can be read"),
        ("  K: 64\n", "  K: &k [*k]\n", "line 6: an anchor holds an alias of itself"),
        ("  K: 64\n", "  K: 64\n  densities: [1]\n", "'densities' holds no members"),
        ("  K: 64\n", "  K: 64\n  K: 32\n", "the member 'K' is given twice"),
        ("  K: 64\n", "  K: 64\n  Padding: 1\n", "'Padding' is neither a dimension"),
        ("Hstride", "HStride", "is Hstride meant?"),
        ("cnn-layer", "my-layer", "the shape 'my-layer' is a file of Timeloop's"),
        ("  K: 64\n", "  K: 99999999999\n", "no whole number from 1 to 2147483647"),
        ("  K: 64\n", "  K: 64000000\n", "n = 64000000 is above 8388608"),
        ("problem:", "problem: [", "it is no YAML that can be read"),
        ("  K: 64\n", "  K: !!python/object/apply:os.system [ls]\n", "could not determine a constructor"),
    ],
)
def test_a_problem_that_is_wrong_is_refused_in_one_sentence(read, old, new, why):
    with pytest.raises(InvalidWorkloadError, match=re.escape(why)) as caught:
        read(FLAT.replace(old, new))
    assert str(caught.value).count("\n") == 0
    assert "layer.yaml" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("[[N]]\n", "[[X]]\n", "'X' in a projection is no dimension"),
        ("[P, Wstride]", "[P, Wide]", "'Wide' in a projection is no coefficient"),
        ("[[R], [P, Wstride]]", "[[R], [P, Wstride], [S]]", "is no window of a convolution"),
        ("      read_write: True\n", "", "3 operands and 0 results"),
        ("dimensions: [C", "dimensions: [B, C", "the instance gives no B"),
        ("dimensions: [C", "dimensions: [C, C", "'C' of dimensions is given twice"),
        ("dimensions: [C", "dimensions: [[C]", "'['C']' of dimensions is no name"),
        ("[[N]]\n", "[[]]\n", "'[]' in a projection is no dimension"),
        ("[[N]]\n", "[[[N]]]\n", "'['N']' in a projection is no dimension"),
        ("[[N]]\n", "[[{N: 1}]]\n", "in a projection is no dimension"),
    ],
)
def test_a_shape_that_is_wrong_is_refused_in_one_sentence(read, old, new, why):
    assert old in WRITTEN_OUT
    with pytest.raises(InvalidWorkloadError, match=re.escape(why)):
        read(WRITTEN_OUT.replace(old, new))


def test_a_loop_that_indexes_nothing_is_refused(read):
    text = WRITTEN_OUT.replace("dimensions: [C", "dimensions: [B, C").replace("{C: 3", "{B: 2, C: 3")
    with pytest.raises(InvalidWorkloadError, match="the loop B indexes no operand"):
        read(text)


@pytest.mark.slow
def test_anchors_that_multiply_are_not_unfolded(read):
    letters = "abcdefghijklmnopqrstuv"
    pairs = itertools.pairwise(letters)
    text = "a: &a [x]\n" + "".join(f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in pairs)
    with pytest.raises(InvalidWorkloadError, match="neither a Timeloop problem"):
        read(text)
    with pytest.raises(InvalidWorkloadError, match="with its aliases written out it has more than 1,048,576 values"):
        read(text + "problem: {instance: {K: *v}, shape: cnn-layer}\n")  # shown in an error, it would fill the memory
    with pytest.raises(InvalidWorkloadError, match=r"nested too deeply|no YAML"):
        read("[" * 5000)


# --- ZigZag and Stream ------------------------------------------------------------------------------------------------

CONV = """
- id: {id}
  operator_type: Conv
  equation: O[b][k][oy][ox]+=W[k][c][fy][fx]*I[b][c][iy][ix]
  dimension_relations: [ix={stride}*ox+1*fx, iy={stride}*oy+1*fy]
  loop_dims: [B, K, C, OY, OX, FY, FX]
  loop_sizes: [1, {K}, {C}, {OY}, {OX}, {FY}, {FX}]
  operand_precision: {{W: 8, I: 8, O: 16, O_final: 8}}
  operand_source: {{I: 0, W: {id}}}
"""


def test_layers_have_the_multiply_accumulates_that_zigzag_counts(read, shared_data):
    with open(shared_data / "zigzag" / "zigzag_3.9.1_resnet50_layers.csv", encoding="utf-8") as file:
        rows = {row["layer"]: row for row in csv.DictReader(file)}
    network = read("".join(CONV.format(id=index, **row) for index, row in enumerate(rows.values())))
    assert [each.macs for each in network.layers] == [int(row["macs"]) for row in rows.values()]
    assert [each.weights for each in network.layers] == [
        math.prod(int(row[name]) for name in ("K", "C", "FY", "FX")) for row in rows.values()
    ]


OTHERS = """
- id: 0
  operator_type: Pooling
  equation: O[b][g][oy][ox]+=W[fx][fy]*I[b][g][iy][ix]
  dimension_relations: [ix=2*ox+1*fx, iy=2*oy+1*fy]
  loop_dims: [B, G, OY, OX, FX, FY]
  loop_sizes: [1, 64, 56, 56, 3, 3]
- id: 1
  operator_type: Add
  equation: O[b][g][oy][ox]=W[b][g][oy][ox]+I[b][g][oy][ox]
  loop_dims: [B, G, OY, OX]
  loop_sizes: [1, 64, 56, 56]
- id: 2
  name: depthwise
  operator_type: Conv
  equation: O[b][g][oy][ox]+=W[g][fy][fx]*I[b][g][iy][ix]
  dimension_relations: [ix=ox+fx, iy=oy+fy]
  loop_dims: [B, G, OY, OX, FY, FX]
  loop_sizes: [1, 64, 56, 56, 3, 3]
  pr_loop_dims: [IX, IY]
  pr_loop_sizes: [56, 56]
  padding: [[1, 1], [1, 1]]
- id: 3
  name: linear
  operator_type: Gemm
  equation: O[b][k]+=W[k][c]*I[b][c]
  dimension_relations: []
  loop_dims: [B, K, C]
  loop_sizes: [4, 10, 64]
  operand_source: {I: 2, W: 3}
- id: 4
  name: scores
  operator_type: Matmul
  equation: O[h][a][b]+=I[h][a][c]*W[h][b][c]
  loop_dims: [H, A, B, C]
  loop_sizes: [3, 4, 5, 6]
  operand_source: {I: 3, W: 2}
- id: 5
  name: transposed
  operator_type: ConvTranspose
  equation: O[b][k][oy][ox]+=W[k][c][fy][fx]*I[b][c][iy][ix]
  dimension_relations: [ox=2*ix+1*fx, oy=2*iy+1*fy]
  loop_dims: [B, K, C, IY, IX, FY, FX]
  loop_sizes: [1, 6, 2, 8, 9, 3, 5]
"""


def test_other_layers_are_read_by_their_equations_and_sources(read, tmp_path):
    network = read(OTHERS)
    assert not network.unsupported
    assert network.free == (("elementwise", "Add", 1), ("pooling", "Pooling", 1))
    assert [each.name for each in network.layers] == ["depthwise", "linear", "scores", "transposed"]
    assert sizes(network) == [
        ("conv", 56 * 56, 1, 9, 64),
        ("gemm", 4, 10, 64, 1),
        ("attention", 4, 5, 6, 3),
        ("gemm", 72, 6 * 15, 2, 1),
    ]
    assert network.layers[0].ifmap_words == 56 * 56  # without the padding
    network.save(tmp_path / "mine.csv")
    assert load_workload(tmp_path / "mine.csv").layers == network.layers


@pytest.mark.parametrize(
    ("operator", "equation", "loops", "expected"),
    [  # a kind without work, or the row
        ("Pooling", "O[b][g][o]+=W[f]*I[b][g][i]", {"b": 2, "g": 8, "o": 5, "f": 3}, "pooling"),
        ("GlobalAveragePool", "O[b][g]+=W[f]*I[b][g][f]", {"b": 2, "g": 8, "f": 49}, "pooling"),
        ("Pooling", "O[b][k][o]+=W[k][c][f]*I[b][c][i]", {"b": 2, "k": 6, "c": 8, "o": 5, "f": 3},
         ("conv", 10, 6, 24, 1)),
        ("BlurPool", "O[b][g][o]+=W[f]*I[b][g][i]", {"b": 2, "g": 8, "o": 5, "f": 3}, ("conv", 80, 1, 3, 1)),
        ("Mul", "O[b][k]=W[b][k]*I[b][k]", {"b": 2, "k": 6}, "elementwise"),
        ("Gemm", "O[b][k]=W[k][c]*I[b][c]", {"b": 2, "k": 6, "c": 7}, ("gemm", 2, 6, 7, 1)),
        ("Conv", "O[b][k][o]=W[k][c][f]*I[b][c][i]", {"b": 2, "k": 6, "c": 8, "o": 5, "f": 3}, ("conv", 10, 6, 24, 1)),
        ("Odd", "O[b][k]+=W[k][c]+I[b][c]", {"b": 2, "k": 6, "c": 7}, "elementwise"),
    ],
)  # fmt: skip
def test_a_layer_is_without_work_by_its_equation_never_by_a_part_of_its_name(read, operator, equation, loops, expected):
    text = f"- {{id: 0, operator_type: {operator}, equation: '{equation}', dimension_relations: [i=o+f], "
    network = read(f"{text}loop_dims: [{', '.join(loops)}], loop_sizes: [{', '.join(map(str, loops.values()))}]}}\n")
    assert not network.unsupported
    if isinstance(expected, str):
        assert (network.free, network.layers) == (((expected, operator, 1),), ())
    else:
        assert (network.free, sizes(network)) == ((), [expected])


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("ix=ox+fx", "ix=ox-fx", "is no sum such as ix=2*ox+1*fx"),
        ("[B, G, OY, OX, FY, FX]", "[B, G, OY, OX, FY]", "5 loop_dims and 6 loop_sizes"),
        ("pr_loop_sizes: [56, 56]", "pr_loop_sizes: [56, 50]", "has no 56 outputs along oy"),
        ("I[b][g][iy][ix]\n  dimension_relations: [ix=ox+fx", "I[b][g][iy][iz]\n  dimension_relations: [ix=ox+fx",
         "the loop iz has no size"),
        ("O[h][a][b]+=I[h][a][c]*W[h][b][c]", "softmax(I)", "is no product of two tensors"),
        ("loop_sizes: [3, 4, 5, 6]", "loop_sizes: [3, 4, 5, -6]", "C = -6 is no whole number"),
        ("ix=ox+fx", "ix=0*ox+fx", "is no sum such as ix=2*ox+1*fx"),
        ("[ix=ox+fx, iy=oy+fy]", "5", "'dimension_relations' is no list"),
        ("iy=oy+fy", "iy=oy+fy, ix=2*ox+fx", "'ix' of dimension_relations is given twice"),
        ("[B, G, OY, OX, FY, FX]", "[B, G, OY, OX, FY, FY]", "'fy' of loop_dims is given twice"),
        ("pr_loop_dims: [IX, IY]", "pr_loop_dims: [IX, IZ]", "'iz' of pr_loop_dims is in no relation"),
        ("pr_loop_dims: [IX, IY]", "pr_loop_dims: 5", "'pr_loop_dims' is no list"),
        ("padding: [[1, 1], [1, 1]]", "padding: 1", "'padding' is no list"),
        ("operand_source: {I: 3, W: 2}", "operand_source: [3, 2]", "'operand_source' holds no members"),
    ],
)  # fmt: skip
def test_a_layer_that_is_wrong_is_listed_and_the_others_are_read(read, old, new, why):
    assert old in OTHERS
    network = read(OTHERS.replace(old, new))
    assert why in network.unsupported[0].reason
    assert len(network.layers) == 3
    with pytest.raises(InvalidWorkloadError, match="is not supported"):
        network.workload()


def test_without_yaml_the_sentence_names_it(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "yaml", None)
    with pytest.raises(DsegymError, match=r"^Reading YAML needs PyYAML: pip install 'dsegym\[workloads\]'\.$"):
        from_yaml(tmp_path / "layer.yaml")
