"""The shipped programs as small JAX functions, in bfloat16.

The files in `programs/` are frozen, so that instances do not change with the version of JAX. To make them again:

    python -m dsegym.costmodels.memory.models [NAME ...]

Networks, sizes and initial weights are ours: in the manner of published models, none a published checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ...errors import UnknownNameError
from ..program import Program
from ..tracer import trace
from . import dense, sequence, vision
from .shapes import Shipped

__all__ = ["PROGRAMS", "Shipped", "trace_shipped"]

PROGRAMS: Mapping[str, Shipped] = MappingProxyType({**dense.PROGRAMS, **vision.PROGRAMS, **sequence.PROGRAMS})


def trace_shipped(name: str) -> Program:
    """A shipped program, traced anew.

    Raises:
        UnknownNameError: there is no such program.
    """
    if name not in PROGRAMS:
        raise UnknownNameError("program", name, PROGRAMS)
    shipped = PROGRAMS[name]
    return trace(shipped.function, *shipped.args, name=name, summary=shipped.summary, donate=shipped.donate)
