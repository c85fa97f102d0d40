"""Loop nests as layers: problems of Timeloop, and layers of ZigZag and Stream, both in YAML.

Both name the loops of a product and say which of them index each tensor. An index of the input that is a sum of two
loops is a window: one of them moves over the output, the other over the filter. Sizes are those of the output, so that
the input is what the windows reach: it holds its padding, unless the file says what padding is. A sum that indexes the
output is a transposed convolution.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import DsegymError
from ...files import fail, read_text, shortened
from ...formats import MOST_LAYERS
from .imported import ImportedNetwork, Reading, Row, contraction, convolution

__all__ = ["from_yaml"]

MOST_BYTES = 4 * 2**20  # YAML is read slowly
MOST_NODES = 2**20  # values of a file, aliases written out
_LARGEST = 2**31 - 1  # bound of a loop
_DECIMAL = re.compile(r"[+-]?(0|[1-9][0-9]*)")  # YAML also takes 1:30 for 90, 010 for 8 and 1_0 for 10

Term = tuple[str, int]  # loop, how far one step of it moves the index
Axis = tuple[Term, ...]


class _Nest(NamedTuple):
    """A product of two tensors as a loop nest."""

    bounds: Mapping[str, int]
    left: Sequence[Axis]
    right: Sequence[Axis]
    result: Sequence[Axis]
    left_is_weights: bool
    right_is_weights: bool
    inputs: Mapping[frozenset[str], tuple[int, tuple[int, int]]] = {}  # {loops of a window: (size, padding)}


def from_yaml(path: str | Path) -> ImportedNetwork:
    """The layers of a Timeloop problem, or of a workload of ZigZag or Stream.

    Raises:
        InvalidWorkloadError: the file is neither; says what is wrong.
        DsegymError: PyYAML is not installed.
    """
    content, wrong = _parsed(path)
    if wrong and isinstance(content, dict | list) and ("problem" in content or isinstance(content, list)):
        fail(path, wrong)
    if isinstance(content, dict) and "problem" in content:
        return _timeloop(path, content["problem"])
    if isinstance(content, list) and any(isinstance(each, dict) and "equation" in each for each in content):
        return _zigzag(path, content)
    return fail(
        path,
        "it is neither a Timeloop problem (a member 'problem') nor a workload of ZigZag (a list of layers with an "
        "equation)",
    )


def _parsed(path: str | Path) -> tuple[Any, str]:
    """The content, and what is wrong with how it is written."""
    try:
        import yaml
    except ImportError:
        raise DsegymError("Reading YAML needs PyYAML: pip install 'dsegym[workloads]'.") from None
    text = _with_includes(path, read_text(path, most_bytes=MOST_BYTES))
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if twice := _named_twice(root):
            fail(path, f"the member '{shortened(twice)}' is given twice")
        return yaml.safe_load(text), _ill_written(root)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        fail(path, f"{where}it is no YAML that can be read: {getattr(error, 'problem', None) or 'damaged'}")
    except (RecursionError, ValueError, LookupError, AttributeError, TypeError):  # of a tag that its value does not fit
        fail(path, "it is no YAML that can be read: nested too deeply, or a value that is none")


_INCLUDE = re.compile(r"^[ \t]*\{\{[ \t]*include_text\((['\"])([^'\"\n]+)\1\)[ \t]*\}\}[ \t]*$", re.MULTILINE)


def _with_includes(path: str | Path, text: str) -> str:
    """The text with the YAML files beside it that Timeloop's front end would put in; no other template is run."""

    def included(match: re.Match[str]) -> str:
        other = Path(path).parent / match[2]
        if Path(match[2]).is_absolute() or other.suffix.lower() not in (".yaml", ".yml"):
            fail(path, f"'{shortened(match[2])}' is not the relative path of a YAML file")
        return read_text(other, most_bytes=MOST_BYTES)

    text = _INCLUDE.sub(included, text)
    if rest := re.search(r"\{\{.*|\{%.*", text):
        fail(path, f"the template '{shortened(rest[0])}' is not run; of those, include_text of another file is read")
    return text


def _named_twice(root: Any) -> str:
    """A member's name that a mapping holds twice, of which YAML would take the last."""
    nodes, seen = [root], set()
    while nodes:
        node = nodes.pop()
        if node is None or id(node) in seen or isinstance(node.value, str):
            continue
        seen.add(id(node))
        pairs = [each for each in node.value if isinstance(each, tuple)]
        names = [key.value for key, _ in pairs if isinstance(key.value, str)]
        if len(set(names)) < len(names):
            return next(name for name in names if names.count(name) > 1)
        nodes += [value for _, value in pairs] if pairs else node.value
    return ""


def _ill_written(root: Any) -> str:
    """What is wrong with aliases that grow without end, or with a number that YAML alone reads so; else nothing."""
    sizes: dict[int, int] = {}  # of nodes with their aliases written out; 0 while one is open
    wrong: list[str] = []

    def size(node: Any) -> int:
        if node is None or isinstance(node.value, str):
            if node is not None and node.tag == "tag:yaml.org,2002:int" and not _DECIMAL.fullmatch(node.value):
                line = node.start_mark.line + 1
                wrong.append(f"line {line}: '{shortened(node.value)}' is no number of plain decimal digits")
            return 1
        if id(node) not in sizes:
            sizes[id(node)] = 0
            parts = [part for each in node.value for part in (each if isinstance(each, tuple) else (each,))]
            sizes[id(node)] = 1 + sum(map(size, parts))
        elif not sizes[id(node)]:
            wrong.append(f"line {node.start_mark.line + 1}: an anchor holds an alias of itself")
        return sizes[id(node)]

    if size(root) > MOST_NODES:
        wrong.append(f"with its aliases written out it has more than {MOST_NODES:,} values")
    return wrong[0] if wrong else ""


# Timeloop.

_CNN_LAYER = {  # the shape that Timeloop knows by this name, and takes where a problem has none
    "dimensions": ["R", "S", "P", "Q", "C", "K", "N"],
    "coefficients": [{"name": name, "default": 1} for name in ("Wstride", "Hstride", "Wdilation", "Hdilation")],
    "data_spaces": [
        {"name": "Weights", "projection": [[["C"]], [["K"]], [["R"]], [["S"]]]},
        {
            "name": "Inputs",
            "projection": [
                *([["N"]], [["C"]]),
                *([["R", "Wdilation"], ["P", "Wstride"]], [["S", "Hdilation"], ["Q", "Hstride"]]),
            ],
        },
        {"name": "Outputs", "projection": [[["N"]], [["K"]], [["Q"]], [["P"]]], "read_write": True},
    ],
}
_WEIGHTS = re.compile(r"w|weights?|filters?|kernels?", re.IGNORECASE)
_UNREAD = ("version", "name", "notes", "shape", "instance", "densities")
_INPUT = ("H", "W", "Hpad", "Wpad")  # of the input, beside a problem that is known by its output: Timeloop passes over
_MERGE = "<<<"  # of Timeloop's front end: members of a mapping into those beside it, member by member


def _timeloop(path: str | Path, problem: Any) -> ImportedNetwork:
    reading = Reading(Path(path).stem, f"The Timeloop problem {Path(path).name}.")
    try:
        nest, name = _problem(problem)
        row = _row(nest)
    except ValueError as error:
        fail(path, str(error))
    reading.add(reading.name, name, row)
    network = reading.done()
    if network.unsupported:
        fail(path, network.unsupported[0].reason)
    return network


def _problem(problem: Any) -> tuple[_Nest, str]:
    problem = _merged(_mapping(problem, "problem"))
    shape = problem.get("shape", "cnn-layer")
    if isinstance(shape, str):
        if shape not in ("cnn-layer", "cnn_layer"):
            raise ValueError(f"the shape '{shortened(shape)}' is a file of Timeloop's; write it out")
        shape = _CNN_LAYER
    shape = {_plain(key): value for key, value in _merged(_mapping(shape, "shape")).items()}
    spaces = [
        {_plain(key): value for key, value in _mapping(each, "data_spaces").items()}
        for each in _sequence(shape.get("data_spaces"), "data_spaces")
    ]
    instance = _merged(_mapping(problem.get("instance", problem), "instance"))
    dimensions = _names(shape.get("dimensions"), "dimensions")
    members = [_mapping(each, "coefficients") for each in _sequence(shape.get("coefficients") or [], "coefficients")]
    names = _names([each.get("name") for each in members], "coefficients")
    coefficients = {name: each.get("default", 1) for name, each in zip(names, members, strict=True)}
    if unknown := [key for key in instance if key not in (*dimensions, *coefficients, *_UNREAD, *_INPUT)]:
        known = {name.lower(): name for name in (*dimensions, *coefficients)}
        nearest = known.get(str(unknown[0]).lower())
        raise ValueError(
            f"'{shortened(str(unknown[0]))}' is neither a dimension ({', '.join(dimensions)}) nor a coefficient "
            f"({', '.join(coefficients) or 'there are none'})" + (f"; is {nearest} meant?" if nearest else "")
        )
    densities = _mapping(instance.get("densities") or {}, "densities")
    if sparse := [name for name, each in densities.items() if not _is_dense(each)]:
        raise ValueError(f"{shortened(str(sparse[0]))} is sparse; dense tensors are modelled")
    if missing := [name for name in dimensions if name not in instance]:
        raise ValueError(f"the instance gives no {missing[0]}")
    bounds = {name: _bound(name, instance[name]) for name in dimensions}
    coefficients = {name: _bound(name, instance.get(name, default)) for name, default in coefficients.items()}
    results = [each for each in spaces if each.get("read_write")]
    operands = [each for each in spaces if not each.get("read_write")]
    if len(results) != 1 or len(operands) != 2:
        raise ValueError(f"{len(operands)} operands and {len(results)} results; a product has 2 and 1 (read_write)")
    left, right, result = (_projection(each, bounds, coefficients) for each in (*operands, results[0]))
    named = [bool(_WEIGHTS.fullmatch(str(each.get("name", "")))) for each in operands]
    return _Nest(bounds, left, right, result, named[0], named[1]), str(shape.get("name", "problem"))


def _is_dense(density: Any) -> bool:
    return (density.get("density") if isinstance(density, dict) else density) == 1


def _merged(members: Mapping[Any, Any], depth: int = 3) -> dict[Any, Any]:
    """Members with what `<<<` brings, where they do not say it themselves; mappings member by member."""
    found: dict[Any, Any] = {}
    bases = members.get(_MERGE, [])
    for base in [*(bases if isinstance(bases, list) else [bases]), {k: v for k, v in members.items() if k != _MERGE}]:
        for key, value in _mapping(base, _MERGE).items():
            both = isinstance(value, dict) and isinstance(found.get(key), dict) and depth > 0
            found[key] = _merged({_MERGE: [found[key], value]}, depth - 1) if both else value
    return found


def _plain(key: object) -> str:
    return str(key).replace("-", "_")


def _mapping(value: Any, what: str) -> Mapping[Any, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"'{what}' holds no members")
    return value


def _sequence(value: Any, what: str) -> Sequence[Any]:
    if not isinstance(value, list):
        raise ValueError(f"'{what}' is no list")
    return value


def _names(value: Any, what: str) -> Sequence[str]:
    names: list[str] = []
    for each in _sequence(value, what):
        if not isinstance(each, str) or each in names:
            problem = "is given twice" if each in names else "is no name"
            raise ValueError(f"'{shortened(str(each))}' of {what} {problem}")
        names.append(each)
    return names


def _bound(name: object, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _LARGEST:
        raise ValueError(f"{shortened(str(name))} = {shortened(str(value))} is no whole number from 1 to {_LARGEST}")
    return value


def _projection(space: Mapping[str, Any], bounds: Mapping[str, int], coefficients: Mapping[str, int]) -> list[Axis]:
    axes = []
    for axis in _sequence(space.get("projection"), "projection"):
        terms = []
        for term in _sequence(axis, "projection"):
            loop, *factors = term if isinstance(term, list) and term else [term]
            if not isinstance(loop, str) or loop not in bounds:
                raise ValueError(f"'{shortened(str(loop))}' in a projection is no dimension")
            factor = 1
            for each in factors:
                if isinstance(each, str) and each not in coefficients:
                    raise ValueError(f"'{shortened(each)}' in a projection is no coefficient")
                factor *= coefficients[each] if isinstance(each, str) else _bound(loop, each)
            terms.append((loop, factor))
        axes.append(tuple(terms))
    return axes


# ZigZag and Stream.

_TENSOR = re.compile(r"([A-Za-z]\w*)((?:\[\w+\])*)")
_EQUATION = re.compile(rf"{_TENSOR.pattern}(\+?=){_TENSOR.pattern}(?:([*+]){_TENSOR.pattern})?")
_RELATION = re.compile(r"(\w+)=(.+)")
_TERM = re.compile(r"(?:([1-9][0-9]{0,9})\*)?([A-Za-z_]\w*)")


def _zigzag(path: str | Path, layers: Sequence[Any]) -> ImportedNetwork:
    reading = Reading(Path(path).stem, f"Layers of the workload {Path(path).name} of ZigZag or Stream.")
    if len(layers) > MOST_LAYERS:
        fail(path, f"{len(layers):,} layers; at most {MOST_LAYERS:,} are read")
    for index, layer in enumerate(layers):
        if not isinstance(layer, dict):
            fail(path, f"layer {index} holds no members")
        operator = str(layer.get("operator_type", "layer"))
        name = str(layer.get("name") or f"{operator}_{layer.get('id', index)}")
        try:
            nest = _layer(layer)
            if isinstance(nest, str):
                reading.skip(nest, operator)
            else:
                reading.add(name, operator, _row(nest))
        except ValueError as error:
            reading.cannot(name, operator, str(error))
    return reading.done()


_POOLING = ("Pooling", "Pool", "MaxPool", "AveragePool", "GlobalAveragePool")  # of those that ZigZag 3.8.5 allows


def _layer(layer: Mapping[str, Any]) -> _Nest | str:
    """A layer's nest; what it is where nothing is multiplied and summed. ZigZag takes `=` for `+=`."""
    equation = "".join(str(layer.get("equation", "")).split())
    found = _EQUATION.fullmatch(equation)
    if found is None:
        raise ValueError(f"the equation '{shortened(equation)}' is no product of two tensors")
    _, result, assignment, left_name, left, sign, right_name, right = found.groups()
    if sign != "*":
        return "elementwise"
    names, sizes = (_sequence(layer.get(key), key) for key in ("loop_dims", "loop_sizes"))
    if len(names) != len(sizes):
        raise ValueError(f"{len(names)} loop_dims and {len(sizes)} loop_sizes")
    names = _names([each.lower() if isinstance(each, str) else each for each in names], "loop_dims")
    bounds = {name: _bound(name.upper(), size) for name, size in zip(names, sizes, strict=True)}
    relations = [
        _relation(str(each)) for each in _sequence(layer.get("dimension_relations") or [], "dimension_relations")
    ]
    _names([name for name, _ in relations], "dimension_relations")
    sums = dict(relations)
    axes = [
        [_axis(letter, sums, bounds) for letter in re.findall(r"\[(\w+)\]", each)] for each in (left, right, result)
    ]
    indexed = [{loop for axis in each for loop, _ in axis} for each in axes]
    if assignment == "=" and indexed[0] | indexed[1] <= indexed[2]:
        return "elementwise"
    if layer.get("operator_type") in _POOLING and any(each.isdisjoint(indexed[2]) for each in indexed[:2]):
        return "pooling"  # its window has no weights: one for all that the result has
    source = _mapping(layer.get("operand_source") or {}, "operand_source")
    constant = [
        each.upper().startswith("W") and source.get(each, layer.get("id")) == layer.get("id")
        for each in (left_name, right_name)
    ]
    return _Nest(bounds, axes[0], axes[1], axes[2], constant[0], constant[1], _inputs(layer, sums))


def _relation(text: str) -> tuple[str, Axis]:
    found = _RELATION.fullmatch("".join(text.split()))
    terms = [_TERM.fullmatch(each) for each in found[2].split("+")] if found else [None]
    if found is None or None in terms:
        raise ValueError(f"the relation '{shortened(text)}' is no sum such as ix=2*ox+1*fx")
    return found[1].lower(), tuple((term[2].lower(), int(term[1] or 1)) for term in terms if term)


def _axis(letter: str, sums: Mapping[str, Axis], bounds: Mapping[str, int]) -> Axis:
    axis = sums.get(letter.lower(), ((letter.lower(), 1),))
    if absent := [loop for loop, _ in axis if loop not in bounds]:
        raise ValueError(f"the loop {absent[0]} has no size")
    return axis


def _inputs(layer: Mapping[str, Any], sums: Mapping[str, Axis]) -> dict[frozenset[str], tuple[int, tuple[int, int]]]:
    """{loops of a window: (size of the input, padding)}, where the layer says them."""
    given, sizes = (_sequence(layer.get(key) or [], key) for key in ("pr_loop_dims", "pr_loop_sizes"))
    names = _names([each.lower() if isinstance(each, str) else each for each in given], "pr_loop_dims")
    padding = _sequence(layer.get("padding") or [[0, 0]] * len(names), "padding")
    if not len(names) == len(sizes) == len(padding):
        raise ValueError("pr_loop_dims, pr_loop_sizes and padding are of other lengths")
    found = {}
    for name, size, ends in zip(names, sizes, padding, strict=True):
        if (
            not isinstance(ends, list)
            or len(ends) != 2
            or not all(isinstance(each, int) and not isinstance(each, bool) and each >= 0 for each in ends)
        ):
            raise ValueError(f"the padding of {name} is no pair of whole numbers")
        if name not in sums:
            raise ValueError(f"'{shortened(name)}' of pr_loop_dims is in no relation")
        found[frozenset(loop for loop, _ in sums[name])] = (_bound(name, size), (ends[0], ends[1]))
    return found


# Both.

_ROLES = {  # (indexes the input, the filter, the result): what it is of a convolution
    (True, False, True): "images",
    (True, True, False): "channels",
    (False, True, True): "filters",
    (True, True, True): "groups",
}


def _row(nest: _Nest) -> Row:
    left, right, result = ({loop for axis in axes for loop, _ in axis} for axes in (nest.left, nest.right, nest.result))
    if idle := [loop for loop, bound in nest.bounds.items() if bound > 1 and loop not in left | right]:
        raise ValueError(f"the loop {idle[0]} indexes no operand")
    sizes = {loop: bound for loop, bound in nest.bounds.items() if loop in left | right}
    windows = [[axis for axis in axes if len(axis) > 1] for axes in (nest.left, nest.right)]
    if all(windows):
        raise ValueError("both operands have windows")
    if not any(windows):
        return contraction(sizes, left, right, result, nest.left_is_weights, nest.right_is_weights)
    images, filters = (left, right) if windows[0] else (right, left)
    axes = [_window(nest, axis, filters, result) for axis in sorted(windows[0] or windows[1], key=_is_width)]
    counts = dict.fromkeys(_ROLES.values(), 1)
    for loop in sizes.keys() - {loop for axis in (*windows[0], *windows[1]) for loop, _ in axis}:
        role = (loop in images, loop in filters, loop in result)
        if role not in _ROLES:
            raise ValueError(f"the loop {loop} is no part of a convolution")
        counts[_ROLES[role]] *= sizes[loop]
    size, kernel, stride, padding, dilation = zip(*axes, strict=True)
    return convolution(
        images=counts["images"],
        channels=counts["channels"] * counts["groups"],
        filters=counts["filters"] * counts["groups"],
        size=size,
        kernel=kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=counts["groups"],
    )


def _is_width(axis: Axis) -> bool:
    """Whether a window runs along the width: P and R of Timeloop, OX and FX of ZigZag."""
    return any(loop.lower() in ("p", "r") or loop.lower().endswith("x") for loop, _ in axis)


def _window(nest: _Nest, axis: Axis, filters: set[str], result: set[str]) -> tuple[int, int, int, tuple[int, int], int]:
    """(size, kernel, stride, padding, dilation) of an axis of a convolution."""
    steps = [term for term in axis if term[0] in result and term[0] not in filters]
    taps = [term for term in axis if term[0] in filters and term[0] not in result]
    if not len(steps) == len(taps) == len(axis) - 1 == 1:
        raise ValueError(f"the sum of {' and '.join(loop for loop, _ in axis)} is no window of a convolution")
    (step, stride), (tap, dilation) = steps[0], taps[0]
    outputs, kernel = nest.bounds[step], nest.bounds[tap]
    reach = (kernel - 1) * dilation + 1
    size, padding = nest.inputs.get(frozenset((step, tap)), ((outputs - 1) * stride + reach, (0, 0)))
    if (size + sum(padding) - reach) // stride + 1 != outputs:
        raise ValueError(f"an input of {size} with the padding {list(padding)} has no {outputs} outputs along {step}")
    return size, kernel, stride, padding, dilation
