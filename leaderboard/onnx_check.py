"""Is an ONNX file nothing but a small, self-contained graph of ordinary arithmetic? Decided before anything runs it.

A graph is a program in a small language. What that language could do to whoever plays it is taken away: files beside
it, code of its own (custom operators, functions), loops without end, and tensors larger than the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from leaderboard.onnx_interface import MAX_HIDDEN, OPSET_LEAST, inputs, outputs
from offmarl_bench.errors import FormatError, OffmarlError
from offmarl_bench.types import EnvSpec

if TYPE_CHECKING:
    import onnx

MAX_NODES = 2000
"""A policy is a step of a network, not an unrolled program."""
MAX_IR_VERSION = 13
NAME = re.compile(r"[A-Za-z0-9_.:/@ -]{0,200}")
OPERATORS = frozenset((
    "Abs", "Acos", "Acosh", "Add", "And", "ArgMax", "Asin", "Asinh", "Atan", "Atanh", "AveragePool",
    "BatchNormalization", "Cast", "Ceil", "Clip", "Concat", "Constant", "ConstantOfShape", "Conv", "Cos", "Cosh",
    "CumSum", "Div", "Dropout", "Einsum", "Elu", "Equal", "Erf", "Exp", "Expand", "Flatten", "Floor", "Gather",
    "GatherElements", "GatherND", "Gelu", "Gemm", "Greater", "GreaterOrEqual", "GroupNormalization", "GRU",
    "HardSigmoid", "HardSwish", "Identity", "InstanceNormalization", "LayerNormalization", "LeakyRelu", "Less",
    "LessOrEqual", "Log", "LogSoftmax", "LSTM", "MatMul", "Max", "MaxPool", "Mean", "Min", "Mish", "Mod", "Mul",
    "Neg", "Not", "OneHot", "Or", "Pad", "Pow", "Range", "Reciprocal", "ReduceL2", "ReduceMax", "ReduceMean",
    "ReduceMin", "ReduceProd", "ReduceSum", "Relu", "Reshape", "RNN", "Round", "ScatterElements", "ScatterND",
    "Selu", "Shape", "Sigmoid", "Sign", "Sin", "Sinh", "Size", "Slice", "Softmax", "Softplus", "Softsign",
    "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Tan", "Tanh", "Tile", "TopK", "Transpose", "Trilu", "Unsqueeze",
    "Where", "Xor",
))  # fmt: skip
"""Arithmetic and reordering. No loops, branches, random numbers, sequences, text or training."""


def _model(path: Path) -> onnx.ModelProto:
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as e:
        raise OffmarlError("looking into a graph needs onnx: pip install 'offmarl-bench[onnx]'") from e
    try:
        return onnx.load_model_from_string(path.read_bytes())
    except (DecodeError, ValueError, OSError, RecursionError) as e:
        raise FormatError(f"{path}: cannot be read as an ONNX graph: {str(e).splitlines()[0][:100]!r}") from e


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _check_nodes(graph: onnx.GraphProto, where: Path) -> None:
    if len(graph.node) > MAX_NODES:
        raise FormatError(f"{where}: {len(graph.node)} nodes, at most {MAX_NODES} are played")
    for node in graph.node:
        if node.domain not in ("", "ai.onnx") or node.op_type not in OPERATORS:
            raise FormatError(
                f"{where}: operator {node.op_type[:40]!r} of domain {node.domain[:40]!r} is not played; "
                "only arithmetic of the standard ONNX operators is"
            )
        for a in node.attribute:
            if a.HasField("g") or a.graphs or a.HasField("sparse_tensor") or a.sparse_tensors or a.ref_attr_name:
                raise FormatError(
                    f"{where}: node {node.op_type} holds a graph inside or a sparse tensor; neither is played"
                )


def _check_tensors(graph: onnx.GraphProto, where: Path) -> None:
    import onnx
    from onnx import helper

    if graph.sparse_initializer:
        raise FormatError(f"{where}: holds sparse tensors, which are not played")
    for tensor in _tensors(graph):
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            raise FormatError(
                f"{where}: tensor {tensor.name[:40]!r} is in another file; a graph must hold all its data"
            )
        try:
            width = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        except (KeyError, TypeError, ValueError) as e:
            raise FormatError(f"{where}: tensor {tensor.name[:40]!r} has type {tensor.data_type}, which none is") from e
        count = 1
        for d in tensor.dims:
            count *= max(d, 0)
        if any(d < 0 for d in tensor.dims) or count * width > where.stat().st_size:
            raise FormatError(
                f"{where}: tensor {tensor.name[:40]!r} claims shape {list(tensor.dims)}, more than the file holds"
            )


def _shape(value: onnx.ValueInfoProto) -> tuple[int | None, ...]:
    dims = value.type.tensor_type.shape.dim
    return tuple(d.dim_value if d.HasField("dim_value") else None for d in dims)


def _check_interface(graph: onnx.GraphProto, spec: EnvSpec, where: Path) -> None:
    from onnx import helper

    ports = inputs(spec) | outputs(spec)
    for kind, found, names in (("inputs", graph.input, inputs(spec)), ("outputs", graph.output, outputs(spec))):
        if [v.name for v in found] != list(names):
            given = [v.name[:20] for v in found][:8]
            raise FormatError(f"{where}: {kind} are {given!r}, expected {', '.join(names)} in this order")
    widths = set[int | None]()
    for value in (*graph.input, *graph.output):
        kind = value.type.tensor_type.elem_type
        wanted, found = ports[value.name].shape, _shape(value)
        named = helper.tensor_dtype_to_np_dtype(kind).name if kind in helper.get_all_tensor_dtypes() else "none"
        if named != ports[value.name].dtype:
            raise FormatError(f"{where}: {value.name} has type {named}, expected {ports[value.name].dtype}")
        fits = len(found) == len(wanted) and all(w is None or f == w for f, w in zip(found, wanted, strict=True))
        if not fits or found[0] is not None:
            raise FormatError(
                f"{where}: {value.name} has shape {_spelled(found)}, expected {_spelled(wanted)} for {spec.id}"
            )
        if len(found) == 2 and wanted[1] is None:
            widths.add(found[1])
    if len(widths) != 1 or not 1 <= (next(iter(widths)) or 0) <= MAX_HIDDEN:
        raise FormatError(
            f"{where}: hidden and next_hidden are {widths} wide, expected one number from 1 to {MAX_HIDDEN}"
        )


def _spelled(shape: tuple[int | None, ...]) -> str:
    return "(" + ", ".join("any" if d is None else str(d) for d in shape) + ")"


def check_graph(path: Path, spec: EnvSpec) -> int:
    """Refuse a graph that is not a policy for this environment, or that could do harm.

    Returns:
        The width of its memory.

    Raises:
        FormatError: what is wrong. OffmarlError: onnx is not installed.
    """
    model = _model(path)
    if not 1 <= model.ir_version <= MAX_IR_VERSION:
        raise FormatError(f"{path}: IR version {model.ir_version}, expected at most {MAX_IR_VERSION}")
    opsets = [(o.domain, o.version) for o in model.opset_import]
    if len(opsets) != 1 or opsets[0][0] not in ("", "ai.onnx") or opsets[0][1] < OPSET_LEAST:
        shown = [(d[:20], v) for d, v in opsets][:4]
        raise FormatError(f"{path}: operator sets {shown!r}, expected the standard one from version {OPSET_LEAST}")
    if model.functions or model.training_info:
        raise FormatError(f"{path}: holds functions or training of its own; only plain graphs are played")
    names = [*model.graph.input, *model.graph.output, *model.graph.initializer, *model.graph.node]
    if not all(NAME.fullmatch(x.name) for x in names):
        raise FormatError(f"{path}: a name in it has unusual characters or more than 200 of them")
    _check_nodes(model.graph, path)
    _check_tensors(model.graph, path)
    _check_interface(model.graph, spec, path)
    return int(model.graph.input[-1].type.tensor_type.shape.dim[1].dim_value)
