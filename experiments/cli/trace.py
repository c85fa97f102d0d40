"""`dsegym trace`: a JAX function of the user's as a program."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...costmodels.errors import DsegymError
from ..door import check_writable
from ..formats import format_exact
from .arguments import JsonOption
from .documents import print_json
from .tables import table, terminal

__all__ = ["trace"]


def trace(
    function: Annotated[str, typer.Argument(metavar="MODULE:FUNCTION", help="A JAX function; the module is imported.")],
    output: Annotated[Path, typer.Option("--output", help="The program's file, NAME.jsonl.")],
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            metavar="DTYPE[SHAPE]",
            help="One an argument: bf16[8,128]. Left out: the function's attribute `example_args`.",
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="The program's name; the file's when left out.")] = None,
    donate: Annotated[
        list[int] | None, typer.Option(help="Position of an argument whose storage the outputs may take over.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Trace a JAX function to a program for dsegym/MemoryMapping-v0.

    Example: `dsegym trace my_model:step --input 'bf16[8,256]' --input 'bf16[256,256]' --output step.jsonl`
    """
    from ...costmodels.memory.program import is_program_file, save_program
    from ...costmodels.memory.tracer import trace_location

    if not is_program_file(output.name):
        raise DsegymError(f"'{output}' is not the name of a program file; it ends in .jsonl.")
    check_writable(output)
    program = trace_location(function, inputs or (), name=name or output.stem, donate=donate or ())
    save_program(program, output)
    if as_json:
        print_json(
            {
                "program": program.name,
                "file": str(output),
                "instructions": len(program.instructions),
                "buffers": len(program.buffers),
                "accesses": len(program.accesses),
                "work_flop": program.flops,
                "moved_bytes": program.bytes_moved,
                "parameters_bytes": program.parameter_bytes,
                "activation_peak_bytes": program.activation_peak_bytes,
            }
        )
        return
    rows = [
        {"quantity": "instructions", "value": format_exact(len(program.instructions))},
        {"quantity": "buffers", "value": format_exact(len(program.buffers))},
        {"quantity": "accesses", "value": format_exact(len(program.accesses))},
        {"quantity": "work", "value": f"{format_exact(program.flops / 1e9)} GFLOP"},
        {"quantity": "moved", "value": f"{format_exact(program.bytes_moved / 1e6)} MB"},
        {"quantity": "parameters", "value": f"{format_exact(program.parameter_bytes / 1e6)} MB"},
        {"quantity": "activation peak", "value": f"{format_exact(program.activation_peak_bytes / 1e6)} MB"},
    ]
    console = terminal()
    console.print(table(f"{program.name}: {output}", rows))
    usage = f"dsegym info dsegym/MemoryMapping-v0 --option program={output}"
    console.print(f"Play it: {usage}")
