"""A second count of parameters, non-zeros, weight bits and bytes, by numpy from what onnx reads: of every network as it is, and of the
example pruned and quantized by pare.

The rule (greenness/parameters.h): a parameter is an element of a constant of rank 1 or more that some node reads as data, when it is a
float, an integer of at most 8 bits, or an integer that is dequantized or the bias of a QLinearConv; scales, zero points and the
settings of an op are none, and a constant with several readers counts once."""
import pathlib
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from common import DIGITS, inspect, label, networks, pare

SETTINGS = {
    "QuantizeLinear": {1, 2}, "DequantizeLinear": {1, 2}, "QLinearConv": {1, 2, 4, 5, 6, 7}, "QLinearMatMul": {1, 2, 4, 5, 6, 7},
    "ConvInteger": {2, 3}, "MatMulInteger": {2, 3}, "Resize": {1, 2, 3}, "Upsample": {1}, "Clip": {1, 2}, "Pad": {1, 2, 3},
    "Dropout": {1, 2}, "OneHot": {1, 2},
}
FLOATS = {TensorProto.FLOAT: 32, TensorProto.FLOAT16: 16, TensorProto.BFLOAT16: 16, TensorProto.DOUBLE: 64}
NARROW = {TensorProto.INT8: 8, TensorProto.UINT8: 8, TensorProto.INT4: 4, TensorProto.UINT4: 4}
WIDE = {TensorProto.INT16: 16, TensorProto.UINT16: 16, TensorProto.INT32: 32, TensorProto.UINT32: 32, TensorProto.INT64: 64}


def width(node, index, tensor):
    """Bits of an element when this operand holds parameters, else 0."""
    if not tensor.dims or (node.domain in ("", "ai.onnx") and index in SETTINGS.get(node.op_type, ())):
        return 0
    kind = tensor.data_type
    if kind in FLOATS or kind in NARROW:
        return FLOATS.get(kind) or NARROW[kind]
    dequantized = (node.op_type, index) in {("DequantizeLinear", 0), ("QLinearConv", 8)}
    return WIDE.get(kind, 0) if dequantized else 0


def nonzeros(node, index, tensor, scope):
    values = numpy_helper.to_array(tensor)
    if node.op_type == "DequantizeLinear" and index == 0 and len(node.input) > 2 and node.input[2] in scope:
        zero = numpy_helper.to_array(scope[node.input[2]]).astype(np.int64)
        if zero.size > 1:
            axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
            zero = zero.reshape([-1 if d == axis % values.ndim else 1 for d in range(values.ndim)])
        return int(np.count_nonzero(values.astype(np.int64) - zero))
    return int(np.count_nonzero(values))


def stored_bytes(tensor):
    elements = int(np.prod(tensor.dims, dtype=np.int64))
    if tensor.data_type in (TensorProto.INT4, TensorProto.UINT4):
        return (elements + 1) // 2
    return elements * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize


def walk(graph, outer, totals, counted, read):
    """Adds what the nodes of a graph and its subgraphs read; `outer` holds the constants around it by name."""
    scope = dict(outer)
    for made in (v.name for v in graph.input):
        scope.pop(made, None)
    scope.update((i.name, i) for i in graph.initializer)
    for node in graph.node:
        if node.op_type == "Constant":
            scope.update((node.output[0], a.t) for a in node.attribute if a.name == "value")
    for node in graph.node:
        for index, name in enumerate(node.input):
            tensor = scope.get(name)
            if tensor is None or tensor.data_type == TensorProto.STRING:
                continue
            if id(tensor) not in read:
                read[id(tensor)] = tensor
                totals["bytes"] += stored_bytes(tensor)
            bits = width(node, index, tensor)
            if bits and id(tensor) not in counted:
                counted[id(tensor)] = tensor
                elements = int(np.prod(tensor.dims, dtype=np.int64))
                totals["parameters"] += elements
                totals["bits"] += elements * bits
                totals["nonzeros"] += nonzeros(node, index, tensor, scope)
        for attribute in node.attribute:
            for inner in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                walk(inner, scope, totals, counted, read)


WEIGHTS = {"Conv": [1], "ConvTranspose": [1], "Gemm": [1], "MatMul": [1], "LSTM": [1, 2], "GRU": [1, 2], "RNN": [1, 2], "QLinearConv": [3]}
MOVES = {"DequantizeLinear", "Transpose", "Reshape", "Cast", "Squeeze", "Unsqueeze", "Identity", "Flatten"}


def nonzero_macs(model, layers):
    """Each layer's products times the share of its weights that are not zero; all of them where both factors are computed."""
    graph, found = model.graph, {layer["name"]: layer for layer in layers}
    scope = {i.name: i for i in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            scope.update((node.output[0], a.t) for a in node.attribute if a.name == "value")
    density = {name: (int(np.prod(t.dims, dtype=np.int64)), nonzeros(onnx.NodeProto(), 0, t, {}))
               for name, t in scope.items() if t.data_type in FLOATS or t.data_type in NARROW}
    sum_of = 0
    for node in graph.node:
        if node.op_type in MOVES and node.input[0] in density:
            tensor = scope.get(node.input[0])
            known = density[node.input[0]]
            density[node.output[0]] = (known[0], nonzeros(node, 0, tensor, scope)) if tensor is not None else known
        layer = found.get(node.name) or found.get(node.output[0] if node.output else "")
        if layer is None:
            continue
        held = [density[node.input[i]] for i in WEIGHTS.get(node.op_type, []) if node.input[i] in density]
        elements = sum(size for size, _ in held)
        sum_of += layer["macs"] * sum(some for _, some in held) // elements if elements else layer["macs"]
    return sum_of


def compare(name, path):
    totals = {"parameters": 0, "nonzeros": 0, "bits": 0, "bytes": 0}
    model = onnx.load(path)
    walk(model.graph, {}, totals, {}, {})
    found = inspect(path)
    found["macs of weights that are not zero"] = found["macs"]["nonzero"]
    expected = {
        "macs of weights that are not zero": nonzero_macs(model, found["layers"]),
        "parameters": totals["parameters"], "nonzeros": totals["nonzeros"], "weight_bytes": totals["bytes"],
        "weight_bits": totals["bits"] / totals["parameters"] if totals["parameters"] else 0,
        "file_bytes": pathlib.Path(path).stat().st_size}
    differences = [f"{key} {found[key]}, second count {value}" for key, value in expected.items()
                   if abs(found[key] - value) > 1e-9 * abs(value)]
    print(f"{name}: " + ("; ".join(differences) or f"{totals['parameters']} parameters, {totals['nonzeros']} not zero: the same"))
    return not differences


def main():
    good = all([compare(label(path), path) for path in networks()])
    with tempfile.TemporaryDirectory() as folder:
        pruned, quantized = f"{folder}/pruned.onnx", f"{folder}/quantized.onnx"
        pare("pass", "prune", "-q", "--sparsity=0.6", DIGITS / "digits.onnx", "-o", pruned)
        pare("pass", "quantize", "-q", f"--data={DIGITS / 'calib.npz'}", pruned, "-o", quantized)
        good = compare("digits, pruned", pruned) and good
        good = compare("digits, pruned and quantized", quantized) and good
        macs = inspect(quantized)["macs"]
        print("MACs after quantizing:", macs)
        good = good and macs["float32"] == 0 and macs["int8"] == 501376
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
