"""SCALE-Sim 3.0.0 as a public peer: cycles and seconds per layer of a cycle-level systolic-array simulator.

The peer is SCALE-Sim, https://github.com/scalesim-project/SCALE-Sim, package ``scalesim`` version 3.0.0 on PyPI, under
the MIT licence. No file of it is copied here: it is installed from PyPI into a virtual environment of its own and run
by subprocess, so dsegym never depends on it. Its wheel carries no configurations and no topologies, so this module
writes both.

Why numpy is pinned below 2.4: SCALE-Sim 3.0.0 asks for any numpy, but converts one-element arrays to Python scalars,
which numpy 2.4 refuses, so that every layer fails there. dsegym itself may run on a newer numpy, which is the second
reason for the separate environment.

What is measured. The bandwidth mode is ``CALC``: SCALE-Sim reports the bandwidth that the layer needs and never stalls
the array, so its cycles are compute cycles. Traces are not saved and printing is off, both of which make the peer
faster. The seconds are wall seconds measured inside the subprocess, for each layer by itself, around SCALE-Sim's
``single_layer_sim.run`` and the report of that layer; the start of the interpreter, imports and file reading are not in
them.

Run ``python benchmarks/scalesim_peer.py`` for two small ResNet-50 layers next to the closed form.
"""

from __future__ import annotations

import argparse
import csv
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PEER_NAME = "SCALE-Sim"
PEER_VERSION = "3.0.0"
PEER_LICENCE = "MIT"
REQUIREMENTS = (f"scalesim=={PEER_VERSION}", "numpy<2.4")
DATAFLOWS = ("ws", "os", "is")
DEFAULT_DIRECTORY = Path(__file__).resolve().parent.parent / ".venv-scalesim"

_RUN_NAME = "peer"
_PROMPT = "dsegym-scalesim-peer"
_SIMULATE_FLAG = "--simulate"
_STDERR_LINES = 8
_PROBE = (
    "from importlib.metadata import version; "
    f"assert version('scalesim') == '{PEER_VERSION}'; "
    "assert tuple(int(part) for part in version('numpy').split('.')[:2]) < (2, 4)"
)

_CONFIG = """\
[general]
run_name = {run_name}

[architecture_presets]
ArrayHeight = {rows}
ArrayWidth = {columns}
IfmapSramSzkB = {sram_kib}
FilterSramSzkB = {sram_kib}
OfmapSramSzkB = {sram_kib}
IfmapOffset = 0
FilterOffset = 10000000
OfmapOffset = 20000000
Dataflow = {dataflow}
ReadRequestBuffer = 64
WriteRequestBuffer = 64

[layout]
IfmapCustomLayout = False
FilterCustomLayout = False
IfmapSRAMBankBandwidth = 10
IfmapSRAMBankNum = 10
IfmapSRAMBankPort = 2
FilterSRAMBankBandwidth = 10
FilterSRAMBankNum = 10
FilterSRAMBankPort = 2

[sparsity]
SparsitySupport = false

[run_presets]
InterfaceBandwidth = CALC
UseRamulatorTrace = False
"""


class PeerError(RuntimeError):
    """The peer could not be installed, or its simulation failed; the message says which and why."""


@dataclass(frozen=True)
class Layer:
    """One convolution in SCALE-Sim's convention: no padding is added, so give the ifmap with its padding included.

    Heights and widths are in pixels, ``channels`` and ``filters`` are counts, ``stride`` (pixels) holds in both
    directions. The output has ``ceil((ifmap - filter + stride) / stride)`` pixels a side. A fully connected layer is
    1x1 pixels with a 1x1 filter.
    """

    name: str
    ifmap_height: int
    ifmap_width: int
    filter_height: int
    filter_width: int
    channels: int
    filters: int
    stride: int

    def __post_init__(self) -> None:
        """Reject what SCALE-Sim would only fail on later, or silently misread."""
        if min(self.dimensions) < 1:
            raise ValueError(f"Layer {self.name!r}: every dimension must be at least 1, not {self.dimensions}.")
        if self.filter_height > self.ifmap_height or self.filter_width > self.ifmap_width:
            raise ValueError(f"Layer {self.name!r}: the filter is larger than the ifmap.")

    @property
    def dimensions(self) -> tuple[int, ...]:
        """The seven numbers of a topology row, in SCALE-Sim's order (pixels and counts)."""
        return (
            self.ifmap_height,
            self.ifmap_width,
            self.filter_height,
            self.filter_width,
            self.channels,
            self.filters,
            self.stride,
        )

    @property
    def output_pixels(self) -> int:
        """Output pixels of one filter (M of the im2col view)."""
        height = _ceil_div(self.ifmap_height - self.filter_height + self.stride, self.stride)
        width = _ceil_div(self.ifmap_width - self.filter_width + self.stride, self.stride)
        return height * width

    @property
    def window(self) -> int:
        """Input words under one filter (K of the im2col view)."""
        return self.filter_height * self.filter_width * self.channels

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the layer."""
        return self.output_pixels * self.window * self.filters


@dataclass(frozen=True)
class PeerResult:
    """What SCALE-Sim says of one layer: its unstalled ``cycles``, and the wall ``seconds`` that it took to say so."""

    name: str
    cycles: int
    seconds: float


RESNET50_LAYERS = (
    Layer("layer1.0.conv1", 56, 56, 1, 1, 64, 64, 1),
    Layer("layer1.0.conv3", 56, 56, 1, 1, 64, 256, 1),
    Layer("layer3.1.conv3", 14, 14, 1, 1, 256, 1024, 1),
)
"""Three ResNet-50 layers (batch 1) of two stages, cheap to simulate: about 40 s in all on a 32x32 ws array."""


def ensure_environment(directory: Path | None = None) -> Path:
    """Return the Python of a virtual environment that holds the pinned peer, making it on the first call.

    ``directory`` is the environment's folder, by default ``.venv-scalesim`` beside the repository's pyproject. A
    folder that holds the peer already is used as it is; one that holds anything else is refused, never cleared, unless
    this module made it (an installation that was cut off is made again).
    """
    directory = (DEFAULT_DIRECTORY if directory is None else Path(directory)).absolute()
    python = directory / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if python.exists() and _succeeds([python, "-I", "-c", _PROBE]):
        return python
    if not _may_fill(directory):
        raise PeerError(f"{directory} exists and was not made by this module; name another folder for {PEER_NAME}.")
    make = [sys.executable, "-m", "venv", "--clear", "--prompt", _PROMPT, directory]
    _checked(make, f"Making the virtual environment {directory} failed")
    pip = [
        python,
        "-I",
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--quiet",
    ]
    _checked(
        [*pip, *REQUIREMENTS],
        f"Installing {' and '.join(REQUIREMENTS)} with pip failed",
    )
    _checked(
        [python, "-I", "-c", _PROBE],
        f"pip reported success, but {PEER_NAME} {PEER_VERSION} is not usable",
    )
    return python


def run(
    layers: Sequence[Layer],
    *,
    rows: int,
    columns: int,
    dataflow: str,
    sram_kib: int = 64,
    directory: Path | None = None,
) -> list[PeerResult]:
    """Simulate ``layers`` on a ``rows`` x ``columns`` array with SCALE-Sim, unstalled, and return one result for each.

    ``dataflow`` is ``ws``, ``os`` or ``is``; ``sram_kib`` (KiB) is the size of each of the ifmap, filter and ofmap
    buffers, which does not move unstalled cycles; ``directory`` is as in `ensure_environment`. All layers run one
    after another in one subprocess; ``seconds`` are measured inside it for each layer by itself (see the module's
    docstring).
    """
    if dataflow not in DATAFLOWS:
        raise ValueError(f"The dataflow must be one of {', '.join(DATAFLOWS)}, not {dataflow!r}.")
    if min(rows, columns, sram_kib) < 1:
        raise ValueError(f"rows, columns and sram_kib must be at least 1, not {rows}, {columns} and {sram_kib}.")
    if not layers:
        return []
    python = ensure_environment(directory)
    with tempfile.TemporaryDirectory(prefix="scalesim-") as temporary:
        folder = Path(temporary)
        _write_inputs(
            folder,
            layers,
            rows=rows,
            columns=columns,
            dataflow=dataflow,
            sram_kib=sram_kib,
        )
        what = f"{PEER_NAME} failed on {len(layers)} layer(s), {rows}x{columns} {dataflow}"
        done = _checked(
            [python, "-I", Path(__file__).resolve(), _SIMULATE_FLAG, folder],
            what,
            cwd=folder,
        )
        report, timings = (
            folder / _RUN_NAME / "COMPUTE_REPORT.csv",
            folder / "seconds.json",
        )
        if not (report.is_file() and timings.is_file()):
            raise PeerError(f"{what}: it wrote no report. Last output:\n{_last_lines(done.stdout + done.stderr)}")
        cycles, seconds = (
            _read_cycles(report),
            json.loads(timings.read_text(encoding="utf-8")),
        )
    if not len(cycles) == len(seconds) == len(layers):
        raise PeerError(f"{what}: {len(cycles)} rows of cycles and {len(seconds)} timings came back.")
    return [
        PeerResult(name=layer.name, cycles=count, seconds=spent)
        for layer, count, spent in zip(layers, cycles, seconds, strict=True)
    ]


def closed_form_cycles(layer: Layer, *, rows: int, columns: int, dataflow: str) -> int:
    """Unstalled cycles of ``layer`` by SCALE-Sim's fold formula, ``folds * cycles_per_fold - 1``."""
    pixels, window, filters = layer.output_pixels, layer.window, layer.filters
    if dataflow == "os":
        on_rows, on_columns, cycles_per_fold = (
            pixels,
            filters,
            rows + columns + window - 2,
        )
    elif dataflow == "ws":
        on_rows, on_columns, cycles_per_fold = (
            window,
            filters,
            2 * rows + columns + pixels - 2,
        )
    elif dataflow == "is":
        on_rows, on_columns, cycles_per_fold = (
            window,
            pixels,
            2 * rows + columns + filters - 2,
        )
    else:
        raise ValueError(f"The dataflow must be one of {', '.join(DATAFLOWS)}, not {dataflow!r}.")
    return _ceil_div(on_rows, rows) * _ceil_div(on_columns, columns) * cycles_per_fold - 1


def _may_fill(directory: Path) -> bool:
    """Say whether ``directory`` is absent, empty, or an environment that this module made (known by its prompt)."""
    if not directory.exists():
        return True
    if not directory.is_dir():
        return False
    settings = directory / "pyvenv.cfg"
    made_here = settings.is_file() and _PROMPT in settings.read_text(encoding="utf-8")
    return made_here or not any(directory.iterdir())


def _ceil_div(numerator: int, denominator: int) -> int:
    """Integer division, rounded up."""
    return -(-numerator // denominator)


def _write_inputs(
    folder: Path,
    layers: Sequence[Layer],
    *,
    rows: int,
    columns: int,
    dataflow: str,
    sram_kib: int,
) -> None:
    """Write the configuration, the topology and a layout file (read by SCALE-Sim, not used in this mode)."""
    config = _CONFIG.format(
        run_name=_RUN_NAME,
        rows=rows,
        columns=columns,
        dataflow=dataflow,
        sram_kib=sram_kib,
    )
    (folder / "peer.cfg").write_text(config, encoding="utf-8")
    # SCALE-Sim splits a layer whose name holds "DP" into channels and reads commas as columns: number the layers.
    header = "Layer name,IFMAP Height,IFMAP Width,Filter Height,Filter Width,Channels,Num Filter,Strides,\n"
    lines = [f"layer{i},{','.join(map(str, layer.dimensions))},\n" for i, layer in enumerate(layers)]
    (folder / "peer.csv").write_text(header + "".join(lines), encoding="utf-8")
    (folder / "layout.csv").write_text("Layer name,\n", encoding="utf-8")


def _read_cycles(report: Path) -> list[int]:
    """Read the ``Total Cycles`` column (cycles, without the first prefetch) of a COMPUTE_REPORT, in layer order."""
    with report.open(newline="", encoding="utf-8") as file:
        return [int(float(row["Total Cycles"])) for row in csv.DictReader(file, skipinitialspace=True)]


def _succeeds(command: Sequence[str | Path]) -> bool:
    """Say whether a command can be started and exits with 0."""
    try:
        return subprocess.run([str(part) for part in command], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _checked(command: Sequence[str | Path], failure: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command; where it fails, raise a `PeerError` with ``failure`` and the last lines of its stderr."""
    try:
        done = subprocess.run(
            [str(part) for part in command],
            capture_output=True,
            text=True,
            check=False,
            cwd=cwd,
        )
    except OSError as error:
        raise PeerError(f"{failure}: {error}.") from error
    if done.returncode != 0:
        lines = _last_lines(done.stderr or done.stdout)
        raise PeerError(f"{failure} (exit status {done.returncode}). Last lines of stderr:\n{lines}")
    return done


def _last_lines(text: str) -> str:
    """Return the last few lines of a command's output, each cut to 300 characters, or a word that there were none."""
    return "\n".join(line[:300] for line in text.strip().splitlines()[-_STDERR_LINES:]) or "(none)"


def _simulate(folder: Path) -> None:
    """Run SCALE-Sim on the inputs in ``folder`` and write each layer's wall seconds; runs in the peer's environment."""
    layer_class = importlib.import_module("scalesim.single_layer_sim").single_layer_sim
    run_layer, seconds = layer_class.run, []

    def timed_run(layer: Any) -> None:
        start = time.perf_counter()
        run_layer(layer)
        layer.calc_report_data()
        seconds.append(time.perf_counter() - start)

    layer_class.run = timed_run
    simulation = importlib.import_module("scalesim.scale_sim").scalesim(
        save_disk_space=True,
        verbose=False,
        config=str(folder / "peer.cfg"),
        topology=str(folder / "peer.csv"),
        layout=str(folder / "layout.csv"),
        input_type_gemm=False,
    )
    simulation.run_scale(top_path=str(folder))
    (folder / "seconds.json").write_text(json.dumps(seconds), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the first two of `RESNET50_LAYERS` on a 32x32 weight-stationary array and print them next to the closed form.

    Returns 0 when all cycles agree, 1 when some do not or the peer failed.
    """
    parser = argparse.ArgumentParser(description=f"{PEER_NAME} {PEER_VERSION} on two small ResNet-50 layers.")
    parser.add_argument("--directory", type=Path, default=None, help="the peer's virtual environment")
    options = parser.parse_args(arguments)
    layers, rows, columns, dataflow = RESNET50_LAYERS[:2], 32, 32, "ws"
    try:
        results = run(layers, rows=rows, columns=columns, dataflow=dataflow, directory=options.directory)
    except PeerError as error:
        print(error, file=sys.stderr)
        return 1
    expected = [closed_form_cycles(layer, rows=rows, columns=columns, dataflow=dataflow) for layer in layers]
    print(f"{'layer':<18} {'cycles':>9} {'seconds':>8} {'closed form':>11}")
    for result, cycles in zip(results, expected, strict=True):
        print(f"{result.name:<18} {result.cycles:>9} {result.seconds:>8.2f} {cycles:>11}")
    return 0 if [result.cycles for result in results] == expected else 1


if __name__ == "__main__":
    if sys.argv[1:2] == [_SIMULATE_FLAG]:
        _simulate(Path(sys.argv[2]))
    else:
        sys.exit(main())
