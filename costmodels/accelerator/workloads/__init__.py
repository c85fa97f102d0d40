"""Workloads of the accelerator family: networks as layers, and how people's files and models become them."""

from .imported import FreeOperators, ImportedNetwork, Row, Unsupported, joined
from .loop_nests import from_yaml
from .onnx_models import from_onnx
from .tables import Layer, LayerArrays, Loops, Workload, get_workload, load_workload, workload_names, workload_rows
from .torch_modules import LIBRARIES, from_named_model, from_torch

__all__ = [
    "LIBRARIES",
    "FreeOperators",
    "ImportedNetwork",
    "Layer",
    "LayerArrays",
    "Loops",
    "Row",
    "Unsupported",
    "Workload",
    "from_named_model",
    "from_onnx",
    "from_torch",
    "from_yaml",
    "get_workload",
    "joined",
    "load_workload",
    "workload_names",
    "workload_rows",
]
