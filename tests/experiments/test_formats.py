"""How figures are written."""

from dsegym.experiments.formats import format_quantity


def test_quantities_take_si_prefixes_where_their_unit_does():
    assert format_quantity(3.4e-4, "s") == "340 µs"
    assert format_quantity(1.0, "s") == "1 s"
    assert format_quantity(12345.678, "J") == "12.35 kJ"
    assert format_quantity(2.5e-6, "mm²") == "2.5e-06 mm²"
    assert format_quantity(3e-20, "s") == "3e-05 fs"
    assert format_quantity(0.0, "s") == "0 s"
    assert format_quantity(17.0, "") == "17"
    assert format_quantity(None, "s") == "-"
