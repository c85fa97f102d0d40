"""Co-design of a network with the array: depthwise convolutions with more channels a group, after DRACO.

DRACO (Jha et al., arXiv 2006.15103) gives the layers that reuse their operands least, the depthwise ones, more channels
in each group, which fills an array better and costs multiply-accumulates. What it does to accuracy is not modelled: the
**proxy** is the extra multiply-accumulates (wider groups compute more, and are at least as expressive). Of the paper
only the abstract was at hand (41.8 % more utilisation, 42.6 % less latency than a row-stationary dataflow on
MobileNetV1): what is here has its direction and size, and is no reproduction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..errors import InvalidWorkloadError, UnknownNameError
from .workloads import Layer, Workload

__all__ = ["depthwise_layers", "extra_macs", "widened"]


def depthwise_layers(workload: Workload) -> tuple[str, ...]:
    """The names of the convolutions with one channel in each of several groups."""
    return tuple(layer.name for layer in workload.layers if _is_depthwise(layer))


def _is_depthwise(layer: Layer) -> bool:
    window = layer.window
    return layer.kind == "conv" and window is not None and window.bounds[4:6] == (1, 1) and layer.products > 1


def widened(workload: Workload, widths: Mapping[str, int] | int) -> Workload:
    """The network with so many channels in each group of its depthwise convolutions.

    Args:
        workload: has groups of one channel.
        widths: of each layer by name, those left out staying as they are; or one for all, as far as it divides the
            channels, else the largest that does.

    Raises:
        UnknownNameError: a name is no depthwise convolution.
        InvalidWorkloadError: a width does not divide a layer's channels; names the layer.
    """
    names = depthwise_layers(workload)
    channels = {layer.name: layer.products for layer in workload.layers}
    if not isinstance(widths, Mapping):
        widths = {name: max(w for w in range(1, widths + 1) if channels[name] % w == 0) for name in names}
    for name, width in widths.items():
        if name not in names:
            raise UnknownNameError(f"depthwise convolution of {workload.name}", name, names)
        if width < 1 or channels[name] % width:
            raise InvalidWorkloadError(
                f"{name}: groups of {width} channels do not divide its {channels[name]} channels."
            )
    layers = tuple(_wider(each, widths[each.name]) if each.name in widths else each for each in workload.layers)
    return Workload(f"{workload.name} with wider groups", layers, f"{workload.source}; groups widened")


def _wider(layer: Layer, width: int) -> Layer:
    assert layer.window is not None
    bounds = layer.window.bounds
    return replace(
        layer,
        n=layer.n * width,
        k=layer.k * width,
        products=layer.products // width,
        ifmap_words=layer.ifmap_words * width,
        window=layer.window._replace(bounds=(*bounds[:4], width, width, bounds[6])),
    )


def extra_macs(workload: Workload, wider: Workload) -> float:
    """The accuracy proxy: the share of multiply-accumulates that is added."""
    return wider.macs / workload.macs - 1
