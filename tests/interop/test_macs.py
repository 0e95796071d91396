"""A second counter of multiply-adds: the products of Conv, Gemm and MatMul, zero padding counted, nothing else, at the shapes that onnx
infers or, where it does not get through, that ONNX Runtime produces. `pare inspect` must agree to the last one, at batch 1."""
import math
import sys

import numpy as np
import onnx
import onnxruntime

from common import inspect, label, networks

MUST_COUNT = {"digits.onnx", "imagenet/mobilenet_v2.onnx"}  # onnx knows all their shapes
OTHER_PRODUCTS = {"ConvTranspose", "LSTM", "GRU", "RNN", "Einsum", "If", "Loop", "Scan"}


def fixed(model):
    """The model with 1 for every input dimension that is open, and nothing said about the shapes in between."""
    constants = {i.name for i in model.graph.initializer}
    for value in model.graph.input:
        if value.name not in constants:
            for dim in value.type.tensor_type.shape.dim:
                if not dim.HasField("dim_value"):
                    dim.dim_value = 1
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


def products(node, shapes):
    """Multiply-adds of one node; KeyError names a value whose shape onnx does not know."""
    if node.op_type == "Conv":
        return math.prod(shapes[node.output[0]]) * math.prod(shapes[node.input[1]][1:])
    if node.op_type == "Gemm":
        transposed = any(a.name == "transA" and a.i for a in node.attribute)
        return math.prod(shapes[node.output[0]]) * shapes[node.input[0]][0 if transposed else 1]
    if node.op_type == "MatMul":
        return math.prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]
    return 0


def main():
    compared, wrong = set(), 0
    for path in networks():
        model = fixed(onnx.load(path))
        others = sorted({n.op_type for n in model.graph.node} & OTHER_PRODUCTS)
        if others:
            print(f"{label(path)}: left out, it has {', '.join(others)}")
            continue
        source = "onnx"
        try:
            shapes = shapes_of(model)
            expected = sum(products(n, shapes) for n in model.graph.node)
        except KeyError:
            source, shapes = "ONNX Runtime", shapes_when_run(model)
            expected = sum(products(n, shapes) for n in model.graph.node)
        found = inspect(path)["macs"]["total"]
        same = found == expected
        print(f"{label(path)}: {found} MACs, second counter by {source}'s shapes {expected}{'' if same else '  DIFFERS'}")
        wrong += not same
        compared.add(label(path))
    if "imagenet/mobilenet_v2.onnx" not in {label(p) for p in networks()}:
        MUST_COUNT.discard("imagenet/mobilenet_v2.onnx")
        print("the zoo is not here: only the example was counted")
    if not MUST_COUNT <= compared:
        print("not compared:", ", ".join(sorted(MUST_COUNT - compared)))
        wrong += 1
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
