"""Values as TOML writes them, read again by the standard library."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsegym.costmodels.errors import DsegymError
from dsegym.experiments.toml_text import toml_key, toml_text

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
PLAIN = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
VALUES = st.recursive(PLAIN, lambda each: st.lists(each) | st.dictionaries(TEXTS, each), max_leaves=20)


@given(TEXTS, VALUES)
def test_what_is_written_is_what_is_read(key, value):
    assert tomllib.loads(f"{toml_key(key)} = {toml_text(value)}") == {key: value}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_refused(value):
    with pytest.raises(DsegymError, match="finite numbers"):
        toml_text({"a": [value]})


def test_other_things_are_refused():
    with pytest.raises(TypeError, match="NoneType"):
        toml_text(None)
