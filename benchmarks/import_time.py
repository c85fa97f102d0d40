"""Seconds that `import dsegym` takes in a fresh interpreter, and what it brings along."""

from __future__ import annotations

import subprocess
import sys

from timing import median_seconds, report


def interpreter_seconds(code: str) -> float:
    """Median wall seconds of a fresh interpreter that runs the code."""
    return median_seconds(lambda: subprocess.run([sys.executable, "-c", code], check=True), repeats=9)


def main() -> None:
    """Prints the table."""
    print("Import")
    empty = interpreter_seconds("pass")
    report("import gymnasium, over an empty interpreter", f"{interpreter_seconds('import gymnasium') - empty:.3f} s")
    report(
        "import dsegym, over an empty interpreter",
        f"{interpreter_seconds('import dsegym') - empty:.3f} s",
        "below 0.5 s",
    )
    code = "import dsegym, sys; print(*sorted({'jax', 'torch', 'polars', 'optuna', 'plotly'} & set(sys.modules)))"
    heavy = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    report("heavy libraries imported with it", heavy or "none", "none")


if __name__ == "__main__":
    main()
