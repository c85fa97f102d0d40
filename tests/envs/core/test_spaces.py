"""Design spaces: checking, encoding, decoding, enumerating, and what each mistake is answered with."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dsegym
from dsegym.costmodels.errors import InvalidDesignError, UnknownNameError
from dsegym.envs.core.spaces import DesignSpace, Parameter

SPACE = DesignSpace(
    (
        Parameter("rows", (4, 8, 12), "processing elements"),
        Parameter("scale", (0.5, 1.0)),
        Parameter("dataflow", ("ws", "os", "is", "rs"), ordered=False),
    )
)
designs = st.tuples(st.integers(0, 2), st.integers(0, 1), st.integers(0, 3))


def test_a_space_knows_its_shape():
    assert (len(SPACE), SPACE.size, SPACE.names) == (3, 24, ("rows", "scale", "dataflow"))
    assert SPACE.cardinalities.tolist() == [3, 2, 4]


@given(design=designs)
def test_encoding_a_decoded_design_gives_it_back(design):
    values = SPACE.decode(list(design))
    assert values == {"rows": (4, 8, 12)[design[0]], "scale": (0.5, 1.0)[design[1]], "dataflow": values["dataflow"]}
    assert SPACE.encode(values).tolist() == list(design)
    assert SPACE.encode(dict(reversed(values.items()))).tolist() == list(design)
    assert SPACE.encode({name: str(value) for name, value in values.items()}).tolist() == list(design)


def test_a_described_design_carries_units():
    assert SPACE.describe([1, 0, 3]) == {"rows": "8 processing elements", "scale": "0.5", "dataflow": "rs"}


def test_enumeration_is_lexicographic_and_complete():
    everything = SPACE.enumerate(0, SPACE.size)
    assert everything.dtype == np.int32
    assert everything[:5].tolist() == [[0, 0, 0], [0, 0, 1], [0, 0, 2], [0, 0, 3], [0, 1, 0]]
    assert len(np.unique(everything, axis=0)) == SPACE.size
    np.testing.assert_array_equal(SPACE.enumerate(5, 9), everything[5:9])
    np.testing.assert_array_equal(SPACE.enumerate(20, 99), everything[20:])
    np.testing.assert_array_equal(SPACE.check(everything), everything)


def test_samples_are_uniform_valid_and_follow_the_generator():
    samples = SPACE.sample(np.random.default_rng(0), 24_000)
    np.testing.assert_array_equal(SPACE.check(samples), samples)
    np.testing.assert_array_equal(samples, SPACE.sample(np.random.default_rng(0), 24_000))
    _, counts = np.unique(samples, axis=0, return_counts=True)
    assert len(counts) == SPACE.size
    assert abs(counts - 1000).max() < 200  # more than six standard deviations


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64, np.uint64])
def test_any_integer_type_is_taken(dtype):
    checked = SPACE.check(np.array([[2, 1, 3]], dtype))
    assert checked.dtype == np.int32
    assert checked.tolist() == [[2, 1, 3]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, object])
def test_whole_numbers_may_come_as_optimisers_and_data_frames_have_them(dtype):
    checked = SPACE.check(np.array([[2.0, 1.0, 3.0]], dtype))
    assert checked.dtype == np.int32
    assert checked.tolist() == [[2, 1, 3]]


def test_equal_numbers_are_equal_values():
    written = [
        {"rows": 8, "scale": 0.5, "dataflow": "os"},
        {"rows": 8.0, "scale": np.float32(0.5), "dataflow": "os"},
        {"rows": "8.0", "scale": "5e-1", "dataflow": "os"},
        {"rows": np.int64(8), "scale": "0.50", "dataflow": "os"},
    ]
    designs = SPACE.encode_batch(written)
    assert designs.tolist() == [designs[0].tolist()] * 4
    assert SPACE.decode_batch(designs) == [written[0]] * 4
    assert SPACE.encode_batch([]).shape == (0, 3)
    for rows in (True, 8.5, "８", "8_0", None, [8]):
        with pytest.raises(InvalidDesignError, match="is not in the design space"):
            SPACE.encode({**written[0], "rows": rows})


def test_one_design_counts_as_a_batch_of_one_and_none_as_an_empty_batch():
    assert SPACE.check([2, 1, 3]).tolist() == [[2, 1, 3]]
    assert SPACE.check(np.zeros((0, 3), np.int32)).shape == (0, 3)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ([[0.0, 0.5, 0.0]], r"vectors of whole numbers, places among the values; 0\.5 is none"),
        ([[0.0, np.nan, 0.0]], "nan is none"),
        ([[0.0, np.inf, 0.0]], "inf is none"),
        (np.array([[0, None, 0]], object), "nan is none|the dtype given is object"),
        (np.array([[0, True, 0]], object), "the dtype given is object"),
        (np.array([[0, "1", 0]], object), "the dtype given is object"),
        ([[0, 1j, 0]], "the dtype given is complex128"),
        ([[True, False, True]], "the dtype given is bool"),
        ([["0", "0", "0"]], "the dtype given is <U1"),
        ([0, 0], r"shape \[batch, 3\] \(rows, scale, dataflow\); given: \[2\]"),
        ([[0, 0, 0, 0]], r"given: \[1, 4\]"),
        (np.zeros((1, 1, 3), int), r"given: \[1, 1, 3\]"),
        (0, r"given: \[\]"),
        ([[0, 0, 0], [0, 0]], "shape"),
        ([[0, 0, 0], [0, 2, 0]], "Design 1: index 2 of scale is out of range; allowed: 0 to 1"),
        ([[0, 0, -1]], "Design 0: index -1 of dataflow is out of range; allowed: 0 to 3"),
        ([[2**40, 0, 0]], f"index {2**40} of rows is out of range"),
    ],
)
def test_a_wrong_design_is_refused_with_the_reason(given, reason):
    with pytest.raises(InvalidDesignError, match=reason):
        SPACE.check(given)


@pytest.mark.parametrize(
    ("changes", "error", "reason"),
    [
        (
            {"rows": 5},
            InvalidDesignError,
            "rows = '5' is not in the design space; allowed: 4, 8, 12 processing elements",
        ),
        ({"dataflow": "xs"}, InvalidDesignError, "allowed: ws, os, is, rs"),
        ({"row": 4}, UnknownNameError, "Did you mean 'rows'"),
    ],
)
def test_a_wrong_value_or_name_is_refused_with_what_is_allowed(changes, error, reason):
    with pytest.raises(error, match=reason):
        SPACE.encode({"rows": 4, "scale": 0.5, "dataflow": "ws", **changes})


def test_a_design_that_leaves_parameters_out_is_refused():
    with pytest.raises(InvalidDesignError, match="leaves out scale, dataflow"):
        SPACE.encode({"rows": 4})


@pytest.mark.parametrize(
    ("scenario", "options", "ranking"),
    [
        ("dsegym/MemoryAllocation-v0", {}, "buffers"),
        ("dsegym/SocSchedulingStatic-v0", {"graph": "random_10_3_ccr1_s1", "space": "order"}, "tasks"),
    ],
)
def test_of_a_ranking_only_the_order_counts(scenario, options, ranking):
    problem = dsegym.make_problem(scenario, **options)
    places = list(problem.space.rankings[ranking])
    designs = problem.space.sample(np.random.default_rng(0), 8)
    dense = designs.copy()
    dense[:, places] = [np.unique(ranks, return_inverse=True)[1] for ranks in designs[:, places]]
    assert (dense != designs).any()
    np.testing.assert_array_equal(problem.evaluate(designs).objective, problem.evaluate(dense).objective)
    permutation = designs[:1].copy()
    permutation[:, places] = np.random.default_rng(1).permutation(len(places))
    assert problem.evaluate(permutation).objective.shape == (1,)
    assert not SPACE.rankings
