"""Writes the files of the shipped programs, of all or of those that are named."""

import sys
from pathlib import Path

from ..program import save_program
from . import PROGRAMS, trace_shipped

if __name__ == "__main__":
    folder = Path(__file__).resolve().parents[1] / "programs"
    for name in sys.argv[1:] or PROGRAMS:
        save_program(trace_shipped(name), folder / f"{name}.jsonl")
        print(folder / f"{name}.jsonl")
