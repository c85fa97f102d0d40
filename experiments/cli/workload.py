"""`dsegym workload`: a network of the user's as a table of layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...costmodels.errors import DsegymError, shortened
from ..door import check_writable
from ..formats import format_exact
from .arguments import JsonOption, pairs_of
from .documents import print_json
from .tables import say, table, terminal

if TYPE_CHECKING:
    from ...costmodels.accelerator.workloads import ImportedNetwork, Layer, Row, Workload

__all__ = ["workload"]

_MOST_EXTENT = 2**31 - 1


def workload(
    source: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="An ONNX model, Timeloop's or ZigZag's YAML, torchvision:NAME, transformers:CLASS, or a table that "
            "dsegym reads as it is. Several become one network.",
        ),
    ],
    output: Annotated[Path | None, typer.Option("--output", help="The table's file, NAME.csv.")] = None,
    dimension: Annotated[
        list[str] | None,
        typer.Option("--dimension", metavar="NAME=SIZE", help="The size of a dynamic dimension of an ONNX model."),
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", metavar="SHAPE", help="Shape of an input of a constructed model: 1x3x224x224, 1x128."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="A config.json, for transformers:CLASS.", show_default=False)
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A value of the configuration of transformers:CLASS."),
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Write the table although operators are not supported.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show a network as layers, with the operators that are none; write them as a table for `--workload`.

    Example: `dsegym workload model.onnx --output layers.csv`
    """
    if output is not None and output.suffix.lower() != ".csv":
        raise DsegymError(f"'{output}' is not the name of a table; it ends in .csv.")
    if output is not None:
        check_writable(output)
    options = {
        "dimensions": {
            name: _size(text, f"--dimension {name}") for name, text in pairs_of(dimension or (), "a dimension").items()
        },
        "inputs": [[_size(extent, "--input") for extent in text.lower().split("x")] for text in inputs or ()],
        "settings": pairs_of(setting or (), "a setting"),
        "config": config,
    }
    networks = [_network(each, options) for each in source]
    console = terminal()
    if as_json:
        print_json([_members(each) for each in networks])
    else:
        for each in networks:
            _show(console, each)
    if output is None:
        return
    _write(networks, output, partial)
    if not as_json:
        say(console, f"Written to {output}. Use it: dsegym cost dsegym/AcceleratorSizing-v0 --workload {output}")


def _size(text: str, what: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:12]) <= _MOST_EXTENT):
        raise DsegymError(f"'{shortened(text)}' of {what} is not a whole number from 1 to {_MOST_EXTENT}.")
    return int(text[:12])


def _network(source: str, options: Mapping[str, Any]) -> ImportedNetwork | Workload:
    """A `Workload` of what is a table already."""
    from ...costmodels.accelerator import workloads
    from ...costmodels.files import is_onnx_file

    if source.partition(":")[0] in workloads.LIBRARIES and not Path(source).exists():
        _without(options, "dimensions", source)
        named = {name: options[name] for name in ("inputs", "settings", "config")}
        return workloads.from_named_model(source, **named)
    for name in ("inputs", "settings", "config"):
        _without(options, name, source)
    if Path(source).suffix.lower() == ".onnx" or is_onnx_file(source):
        return workloads.from_onnx(source, options["dimensions"])
    _without(options, "dimensions", source)
    if Path(source).suffix.lower() in (".yaml", ".yml"):
        return workloads.from_yaml(source)
    return workloads.get_workload(source)


def _without(options: Mapping[str, Any], name: str, source: str) -> None:
    flag = {"dimensions": "--dimension", "inputs": "--input", "settings": "--set", "config": "--config"}[name]
    if options[name]:
        raise DsegymError(f"{flag} says nothing of '{shortened(source)}'; leave it out.")


def _write(networks: Sequence[ImportedNetwork | Workload], output: Path, partial: bool) -> None:
    from ...costmodels.accelerator.workloads import Workload, joined

    imported = []
    for each in networks:
        if isinstance(each, Workload):
            raise DsegymError(f"'{each.name}' is a table already, which --workload takes as it is.")
        imported.append(each)
    joined(imported, output.stem).save(output, partial=partial)


def _layer_rows(network: ImportedNetwork | Workload) -> list[dict[str, Any]]:
    """What is said of each layer."""
    from ...costmodels.accelerator.workloads import Workload

    if isinstance(network, Workload):
        return [_sizes(each, "-", _product_text(each)) for each in network.layers]
    return [
        _sizes(layer, operator, _row_text(row) if row["kind"] == "conv" else _product_text(layer))
        for layer, operator, row in zip(network.layers, network.operators, network.rows, strict=True)
    ]


def _sizes(layer: Layer, operator: str, dimensions: str) -> dict[str, Any]:
    return {
        "layer": layer.name,
        "kind": layer.kind,
        "operator": operator,
        "dimensions": dimensions,
        "repeat": layer.repeat,
        "MACs": layer.macs,
        "weights": layer.weights,
    }


def _product_text(layer: Layer) -> str:
    text = f"{layer.m} x {layer.n} x {layer.k}"
    return f"{layer.products} of {text}" if layer.products > 1 else text


def _row_text(row: Row) -> str:
    text = f"{row['in_channels']}x{row['in_height']}x{row['in_width']} to {row['out_channels']}, "
    text += f"{row['kernel_height']}x{row['kernel_width']}"
    usual = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "batch": 1}
    return text + "".join(f", {name} {row[name]}" for name, value in usual.items() if row[name] != value)


def _members(network: ImportedNetwork | Workload) -> dict[str, Any]:
    """A network as JSON."""
    from ...costmodels.accelerator.workloads import Workload

    free, unsupported = ((), ()) if isinstance(network, Workload) else (network.free, network.unsupported)
    return {
        "name": network.name,
        "source": network.source,
        "layers": [{key.lower(): value for key, value in row.items()} for row in _layer_rows(network)],
        "without_macs": [each._asdict() for each in free],
        "unsupported": [each._asdict() for each in unsupported],
    }


def _show(console: Any, network: ImportedNetwork | Workload) -> None:
    from ...costmodels.accelerator.workloads import Workload

    rows = [
        {**row, "MACs": format_exact(row["MACs"]), "weights": format_exact(row["weights"])}
        for row in _layer_rows(network)
    ]
    console.print(table(": ".join(filter(None, (network.name, network.source))), rows))
    layers = sum(each.repeat for each in network.layers)
    macs, weights = (sum(getattr(each, name) * each.repeat for each in network.layers) for name in ("macs", "weights"))
    total = f"{format_exact(macs)} multiply-accumulates, {format_exact(weights)} weights"
    say(console, f"{format_exact(layers)} layer{'s' * (layers != 1)}: {total}.")
    if isinstance(network, Workload):
        return
    kinds: dict[str, list[str]] = {}
    for kind, operator, count in network.free:
        kinds.setdefault(kind, []).append(f"{count} {operator}")
    if kinds:
        text = "; ".join(f"{kind}: {', '.join(each)}" for kind, each in kinds.items())
        say(console, f"Without multiply-accumulates: {text}.")
    if network.unsupported:
        console.print(
            table("Not supported, and not among the layers", [each._asdict() for each in network.unsupported])
        )
    else:
        say(console, "Every operator is supported.")
