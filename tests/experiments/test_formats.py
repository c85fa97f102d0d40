"""How figures are written."""

import math

import pytest

from dsegym.experiments.formats import format_exact, format_number, format_quantity, name_and_unit


def test_quantities_take_si_prefixes_where_their_unit_does():
    assert format_quantity(3.4e-4, "s") == "340 µs"
    assert format_quantity(1.0, "s") == "1 s"
    assert format_quantity(12345.678, "J") == "12.35 kJ"
    assert format_quantity(2.5e-6, "mm²") == "2.5e-06 mm²"
    assert format_quantity(3e-20, "s") == "3e-05 fs"
    assert format_quantity(0.0, "s") == "0 s"
    assert format_quantity(17.0, "") == "17"
    assert format_quantity(None, "s") == "-"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (12_345, "12,345"),
        (99_999, "99,999"),
        (100_000, "100 k"),
        (-1_234_567, "-1.235 M"),
        (123.4e6, "123.4 M"),
        (1e12, "1 T"),
        (5e15, "5000 T"),
        (99_999.0, "99,999"),
        (99_999.6, "100,000"),
        (12_345.6, "12,346"),
        (1038.26, "1,038"),
        (1024.0, "1,024"),
        (0, "0"),
        (1.2344e-5, "1.234e-05"),
        (math.inf, "inf"),
    ],
)
def test_a_number_to_be_compared_takes_five_digits_at_most(value, text):
    assert format_number(value) == text


def test_a_number_to_be_copied_is_whole_or_takes_six_digits():
    assert format_exact(123_456_789) == "123,456,789"
    assert format_exact(1234.5678) == "1234.57"


def test_a_quantitys_unit_is_the_last_word_of_its_name():
    assert name_and_unit("dram_traffic_words") == ("dram traffic", "words")
    assert name_and_unit("area_mm2") == ("area", "mm2")
    assert name_and_unit("edp_js") == ("edp", "J s")
    assert name_and_unit("compute_cycles") == ("compute cycles", "")
    assert name_and_unit("s") == ("s", "")
