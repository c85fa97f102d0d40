"""Exact wide integers against Python's own, under jit and vmap."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsegym.costmodels import wide
from dsegym.costmodels.wide import LIMIT, MAX_DIVISOR, Wide

LANES = 16  # every array has as many elements, so that each operation compiles once
LARGEST_INT32 = 2**31 - 1
quick = settings(max_examples=100, deadline=None)


def near(*centres):
    """Integers close to the given ones."""
    return st.builds(lambda centre, offset: max(centre + offset, 0), st.sampled_from(centres), st.integers(-3, 3))


def integers(largest):
    """From 0 to `largest`, with care for both ends, powers of two and multiples of 2**32."""
    edges = [2**power for power in range(largest.bit_length())] + [largest, largest * 5 // 7 & -(2**32)]
    return st.one_of(st.integers(0, largest), near(*edges).map(lambda value: min(value, largest)))


def arrays_of(strategy):
    return st.lists(strategy, min_size=LANES, max_size=LANES)


values = arrays_of(integers(LIMIT - 1))


def wide_of(numbers, error=0):
    """The `Wide` of Python integers, its estimate off by `error` and then rounded to float32."""
    low = np.array([number % 2**32 for number in numbers], np.uint32)
    return Wide(np.array([number + error for number in numbers], np.float32), low)


def int32(numbers):
    return np.array(numbers, np.int32)


def exactly(result):
    return wide.to_int64(result).tolist()


OPERATIONS = ("multiply", "scale", "add", "less_equal", "maximum", "select", "ceil_div", "sum_last", "to_float32")
JITTED = {name: jax.jit(getattr(wide, name)) for name in OPERATIONS}
MAPPED = {name: jax.jit(jax.vmap(getattr(wide, name))) for name in OPERATIONS}


def call(name, *arguments):
    """An operation on whole arrays, checked to be the same element by element under vmap."""
    result = JITTED[name](*arguments)
    jax.tree.map(np.testing.assert_array_equal, result, MAPPED[name](*arguments))
    return result


@quick
@given(pairs=arrays_of(st.tuples(integers(LARGEST_INT32), integers(LARGEST_INT32))))
def test_products_are_exact(pairs):
    pairs = [(a, min(b, (LIMIT - 1) // max(a, 1))) for a, b in pairs]
    a, b = zip(*pairs, strict=True)
    assert exactly(call("multiply", int32(a), int32(b))) == [x * y for x, y in pairs]


@quick
@given(pairs=arrays_of(st.tuples(integers(LIMIT - 1), integers(LARGEST_INT32))))
def test_scaled_values_are_exact(pairs):
    pairs = [(a, min(b, (LIMIT - 1) // max(a, 1))) for a, b in pairs]
    a, b = zip(*pairs, strict=True)
    assert exactly(call("scale", wide_of(a), int32(b))) == [x * y for x, y in pairs]


@quick
@given(a=values, b=values)
def test_sums_of_two_are_exact(a, b):
    b = [min(y, LIMIT - 1 - x) for x, y in zip(a, b, strict=True)]
    assert exactly(call("add", wide_of(a), wide_of(b))) == [x + y for x, y in zip(a, b, strict=True)]


@quick
@given(
    pairs=arrays_of(
        st.tuples(
            integers(LIMIT - 1),
            st.one_of(st.integers(-3, 3), st.integers(-(2**31), 2**31), st.integers(-(2**48), 2**48)),
        )
    ),
    errors=st.tuples(st.integers(-(2**26), 2**26), st.integers(-(2**26), 2**26)),
)
def test_order_and_maximum_are_exact_however_near_the_values(pairs, errors):
    a = [value for value, _ in pairs]
    b = [min(max(value + gap, 0), LIMIT - 1) for value, gap in pairs]
    left, right = (wide_of(numbers, error) for numbers, error in zip((a, b), errors, strict=True))
    assert call("less_equal", left, right).tolist() == [x <= y for x, y in zip(a, b, strict=True)]
    assert exactly(call("maximum", left, right)) == list(map(max, a, b))


@quick
@given(a=values, b=values, conditions=arrays_of(st.booleans()))
def test_select_takes_the_first_where_the_condition_holds(a, b, conditions):
    chosen = exactly(call("select", np.array(conditions), wide_of(a), wide_of(b)))
    assert chosen == [x if condition else y for x, y, condition in zip(a, b, conditions, strict=True)]


@pytest.mark.parametrize("largest_divisor", [1, 2, 10, 2**8, 2**12, MAX_DIVISOR])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_division_rounds_up_exactly(largest_divisor, data):
    divisors = data.draw(arrays_of(integers(largest_divisor).map(lambda divisor: max(divisor, 1))))
    numbers = data.draw(values)
    # As often as not a multiple of the divisor, or one off it.
    offsets = data.draw(arrays_of(st.sampled_from([None, -1, 0, 1])))
    numbers = [
        number if offset is None else max(number // divisor * divisor + offset, 0)
        for number, divisor, offset in zip(numbers, divisors, offsets, strict=True)
    ]
    numbers = [min(number, LIMIT - divisor) for number, divisor in zip(numbers, divisors, strict=True)]
    result = call("ceil_div", wide_of(numbers), int32(divisors))
    assert exactly(result) == [-(-number // divisor) for number, divisor in zip(numbers, divisors, strict=True)]


@pytest.mark.parametrize("terms", [1, 24, 300])
@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_sums_over_an_axis_are_exact_in_any_order(terms, seed):
    generator = np.random.default_rng(seed)
    rows = generator.integers(0, (LIMIT - 1) // terms, (LANES, terms), endpoint=True)
    rows >>= generator.integers(0, 48, rows.shape)
    shuffled = generator.permuted(rows, axis=1)
    totals = [
        call("sum_last", Wide(table.astype(np.float32), (table % 2**32).astype(np.uint32)))
        for table in (rows, shuffled)
    ]
    for total in totals:
        np.testing.assert_array_equal(wide.to_int64(total), rows.sum(axis=1))
    floats = [np.asarray(call("to_float32", total)) for total in totals]
    np.testing.assert_array_equal(*floats)


@quick
@given(numbers=values, error=st.integers(-(2**26), 2**26))
def test_conversions_do_not_depend_on_a_small_error_of_the_estimate(numbers, error):
    clean, dirty = wide_of(numbers), wide_of(numbers, error)
    assert exactly(dirty) == numbers
    as_float = np.asarray(call("to_float32", dirty))
    np.testing.assert_array_equal(as_float, call("to_float32", clean))
    expected = np.array(numbers, np.float32)
    assert (np.abs(as_float.astype(np.float64) - np.array(numbers)) <= 2 * np.spacing(expected)).all()


def test_a_chain_of_operations_near_the_limit_stays_exact():
    a, b, c, d = 2**31 - 1, 2**17 - 5, 2**20 + 7, 32_767
    product = wide.multiply(int32([a]), int32([b]))
    quotient = wide.ceil_div(wide.add(product, wide.scale(wide.narrow(int32([c])), int32([d]))), int32([d]))
    assert exactly(quotient) == [-(-(a * b + c * d) // d)]


@pytest.mark.parametrize("on", [False, True])
def test_words_stay_32_bits_wide_whatever_the_global_switch(on):
    with jax.enable_x64(on):
        product = jax.jit(wide.multiply)(int32([2**31 - 1]), int32([2**17 - 1]))
        quotient = jax.jit(wide.ceil_div)(product, int32([3]))
        total = jax.jit(wide.sum_last)(Wide(*(word.reshape(1, 1) for word in quotient)))
    for result in (product, quotient, total):
        assert (result.estimate.dtype, result.low.dtype) == (np.float32, np.uint32)
    assert exactly(total) == [-(-(2**31 - 1) * (2**17 - 1) // 3)]
