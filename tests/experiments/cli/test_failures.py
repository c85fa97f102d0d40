"""How a command ends that cannot do what it was asked."""

import jax
import pytest

from dsegym.experiments.cli.failures import failure_of


@pytest.mark.parametrize(
    "error", [MemoryError(), jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.")]
)
def test_memory_that_does_not_suffice_is_one_sentence(error):
    stop = failure_of(error)
    assert stop.code == 1
    assert str(stop).startswith("The memory does not suffice for what was asked.")


def test_what_is_a_bug_is_raised():
    with pytest.raises(RuntimeError, match="a bug"):
        failure_of(RuntimeError("a bug"))
