"""A second counter of multiply-adds: the products of Conv, ConvTranspose, Gemm, MatMul, Einsum and the matrices of recurrent cells, zero
padding counted, nothing else, at the shapes that onnx infers or, where it does not get through, that ONNX Runtime produces; of networks with
an If by what ONNX Runtime's profile says was run, on the branch that costs more. `pare inspect` must agree to the last one, at batch 1."""
import json
import math
import os
import shutil
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument

from common import inspect, label, networks

BRANCHES = {"If", "Loop", "Scan"}
GUESSES = (1, 16, 64, 224, 512, 1024)  # as pare tries them
RATES = (16000, 8000)  # what an If of the zoo asks for: the sampling rate


def fixed(model, guess=1):
    """The model with 1 for the input dimensions that are open, but `guess` in the first input for those that are no batch, and nothing said
    about the shapes in between."""
    constants = {i.name for i in model.graph.initializer}
    shapes = [value.type.tensor_type.shape.dim for value in model.graph.input if value.name not in constants]
    batch = {dims[0].dim_param for dims in shapes if dims} - {""}
    for k, dims in enumerate(shapes):
        for axis, dim in enumerate(dims):
            if not dim.HasField("dim_value"):
                dim.dim_value = 1 if k > 0 or axis == 0 or dim.dim_param in batch else guess
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    return model


def shapes_of(model):
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=False, data_prop=True)
    shapes = {i.name: list(i.dims) for i in inferred.graph.initializer}
    for value in [*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output]:
        tensor = value.type.tensor_type
        if value.name not in shapes and tensor.HasField("shape") and all(d.HasField("dim_value") for d in tensor.shape.dim):
            shapes[value.name] = [d.dim_value for d in tensor.shape.dim]
    return shapes


def shapes_when_run(model):
    """The shapes of all values of one run on zeros."""
    session_options = onnxruntime.SessionOptions()
    session_options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session_options.log_severity_level = 3
    inferred = onnx.shape_inference.infer_shapes(model)
    known = {v.name for v in inferred.graph.output}
    made = [name for n in inferred.graph.node for name in n.output if name and name not in known]
    inferred.graph.output.extend(onnx.ValueInfoProto(name=name) for name in made)
    session = onnxruntime.InferenceSession(inferred.SerializeToString(), session_options, providers=["CPUExecutionProvider"])
    types = {"tensor(float)": np.float32, "tensor(int64)": np.int64}
    feeds = {i.name: np.zeros(i.shape, types[i.type]) for i in session.get_inputs()}
    names = [o.name for o in session.get_outputs()]
    shapes = {i.name: list(i.dims) for i in model.graph.initializer}
    shapes.update((name, list(array.shape)) for name, array in zip(names, session.run(names, feeds)))
    shapes.update((name, list(array.shape)) for name, array in feeds.items())
    return shapes


def attribute(node, name, fallback):
    return next((onnx.helper.get_attribute_value(a) for a in node.attribute if a.name == name), fallback)


def einsum(equation, shapes):
    sizes = {}
    for letters, shape in zip(equation.replace(" ", "").split("->")[0].split(","), shapes):
        sizes.update(zip(letters, shape))
    return math.prod(sizes.values()) if len(shapes) > 1 else 0


def products(node, shapes):
    """Multiply-adds of one node; KeyError names a value whose shape onnx does not know."""
    if node.op_type == "Conv":
        return math.prod(shapes[node.output[0]]) * math.prod(shapes[node.input[1]][1:])
    if node.op_type == "ConvTranspose":
        return math.prod(shapes[node.input[0]]) * math.prod(shapes[node.input[1]][1:])
    if node.op_type == "Gemm":
        return math.prod(shapes[node.output[0]]) * shapes[node.input[0]][0 if attribute(node, "transA", 0) else 1]
    if node.op_type == "MatMul":
        return math.prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]
    if node.op_type == "Einsum":
        return einsum(attribute(node, "equation", b"").decode(), [shapes[i] for i in node.input])
    if node.op_type in ("LSTM", "GRU", "RNN"):  # steps x batch x (input weights + recurrent weights), all directions
        steps = math.prod(shapes[node.input[0]][:2])
        return steps * (math.prod(shapes[node.input[1]]) + math.prod(shapes[node.input[2]]))
    return 0


def nodes_by_name(graph):
    """Every node, those of branches too; ONNX Runtime's profile knows them by name."""
    for node in graph.node:
        yield node.name, node
        for a in node.attribute:
            if a.type == onnx.AttributeProto.GRAPH:
                yield from nodes_by_name(a.g)


def products_run(model, rate):
    """What ONNX Runtime's profile of one run says: each node with the shapes it had."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4  # sizes that it refuses are expected
    options.enable_profiling = True
    options.profile_file_prefix = os.path.join(tempfile.mkdtemp(), "profile")
    for i, (_, node) in enumerate(nodes_by_name(model.graph)):
        node.name = f"node {i}"
    known = dict(nodes_by_name(model.graph))
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    types = {"tensor(float)": np.float32, "tensor(int64)": np.int64}
    feeds = {i.name: np.full(i.shape, rate if i.type == "tensor(int64)" else 0, types[i.type]) for i in session.get_inputs()}
    try:
        session.run(None, feeds)
    finally:
        path = session.end_profiling()
        with open(path) as f:
            events = json.load(f)
        shutil.rmtree(os.path.dirname(path))
    total = 0
    for event in events:
        if event.get("cat") != "Node" or not event["name"].endswith("_kernel_time"):
            continue
        node = known[event["name"][: -len("_kernel_time")]]
        shape = lambda item: next(iter(item.values()))
        shapes = {}
        for names, sizes in ((node.input, event["args"]["input_type_shape"]), (node.output, event["args"]["output_type_shape"])):
            shapes.update(zip([n for n in names if n], map(shape, sizes)))
        total += products(node, shapes)
    return total


def branches_count(path):
    """At the first size that any rate's branch takes, the one that costs more."""
    for guess in GUESSES:
        totals = []
        for rate in RATES:
            try:
                totals.append(products_run(fixed(onnx.load(path), guess), rate))
            except InvalidArgument:
                pass
        if totals:
            return max(totals)
    raise ValueError(f"{path}: ONNX Runtime runs it at no size")


def second_count(path):
    model = fixed(onnx.load(path))
    if {n.op_type for n in model.graph.node} & BRANCHES:
        return branches_count(path), "ONNX Runtime's profile"
    try:
        shapes = shapes_of(model)
        return sum(products(n, shapes) for n in model.graph.node), "onnx's shapes"
    except KeyError:
        shapes = shapes_when_run(model)
        return sum(products(n, shapes) for n in model.graph.node), "ONNX Runtime's shapes"


def main():
    wrong = 0
    for path in networks():
        expected, source = second_count(path)
        found = inspect(path)["macs"]["total"]
        same = found == expected
        print(f"{label(path)}: {found} MACs, second counter by {source} {expected}{'' if same else '  DIFFERS'}")
        wrong += not same
    if len(networks()) == 1:
        print("the zoo is not here: only the example was counted")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
