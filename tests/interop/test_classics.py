"""The classic networks of the onnx package's `light` folder against ONNX Runtime: as they are (every weight tensor one constant, made by
ConstantOfShape) and with seeded random weights put in: max |a - b| <= 1e-4 max |b|. One image each; seconds are printed, not judged."""
import os
import pathlib
import sys
import tempfile
import time

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

from common import pare

TOLERANCE = 1e-4
LIGHT = pathlib.Path(onnx.__file__).parent / "backend/test/data/light"
NAMES = ("bvlc_alexnet", "densenet121", "inception_v1", "inception_v2", "resnet50", "shufflenet", "squeezenet", "vgg19", "zfnet512")


def fans(model):
    """For each weight value: what one output element sums over, and whether it multiplies (a filter) or shifts and scales."""
    found = {}
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm"):
            found[node.input[1]] = "filter"
        elif node.op_type == "BatchNormalization":
            found[node.input[1]] = found[node.input[4]] = "positive"
    return found


def randomize(model, seed):
    """ConstantOfShape weights become initializers: filters He-scaled, scales and variances near 1, everything else small."""
    random, roles = np.random.default_rng(seed), fans(model)
    shapes = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    transposed = {n.input[1] for n in model.graph.node if n.op_type == "Gemm" and any(a.name == "transB" and a.i for a in n.attribute)}
    kept = []
    for node in model.graph.node:
        if node.op_type != "ConstantOfShape" or node.input[0] not in shapes:
            kept.append(node)
            continue
        shape, name = [int(d) for d in shapes[node.input[0]]], node.output[0]
        if roles.get(name) == "filter":
            fan = int(np.prod(shape[1:])) if len(shape) > 2 or name in transposed else shape[0]
            values = random.standard_normal(shape, np.float32) * np.float32(np.sqrt(2 / fan))
        elif roles.get(name) == "positive":
            values = random.uniform(0.8, 1.2, shape).astype(np.float32)
        else:
            values = random.standard_normal(shape, np.float32) * np.float32(0.05)
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    replaced = len(model.graph.node) - len(kept)
    del model.graph.node[:]
    model.graph.node.extend(kept)
    return replaced


def show_logits(model):
    """The final Softmax's input becomes an output too: on random weights its own output is often one 1 among zeros."""
    outputs = {o.name for o in model.graph.output}
    for node in model.graph.node:
        if node.op_type == "Softmax" and node.output[0] in outputs:
            model.graph.output.append(onnx.helper.make_tensor_value_info(node.input[0], onnx.TensorProto.FLOAT, None))


def feed(model, seed):
    constants = {i.name for i in model.graph.initializer}
    (entry,) = [i for i in model.graph.input if i.name not in constants]
    shape = [d.dim_value or 1 for d in entry.type.tensor_type.shape.dim]
    return {entry.name: np.random.default_rng(seed).standard_normal(shape, np.float32)}


def compare(path, feeds, folder):
    """(error relative to the largest expected value, seconds of pare, spread of the last expected output)."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    expected = session.run(None, feeds)
    data, result = os.path.join(folder, "in.npz"), os.path.join(folder, "out.npz")
    np.savez(data, **feeds)
    start = time.monotonic()
    pare("infer", path, "--data", data, "-o", result, "--batch=1")
    seconds, worst = time.monotonic() - start, 0.0
    with np.load(result) as found:
        for output, want in zip(session.get_outputs(), expected):
            got = found[output.name].reshape(want.shape).astype(np.float64)
            worst = max(worst, float(np.abs(got - want).max()) / max(float(np.abs(want).max()), 1e-30))
    return worst, seconds, float(np.ptp(expected[-1]))


def main():
    if not LIGHT.is_dir():
        print("this onnx package has no light networks")
        return 77
    failed = 0
    for name in NAMES:
        path = LIGHT / f"light_{name}.onnx"
        with tempfile.TemporaryDirectory() as folder:
            model = onnx.load(path)
            plain, plain_seconds, _ = compare(path, feed(model, 1), folder)
            replaced = randomize(model, 2)
            show_logits(model)
            full = pathlib.Path(folder) / "random.onnx"
            onnx.save(model, full)
            error, seconds, spread = compare(full, feed(model, 3), folder)
        fine = plain <= TOLERANCE and error <= TOLERANCE and replaced > 0 and spread > 1e-6
        failed += not fine
        print(f"{name:14} {replaced:4} random weights, as it is {plain:.1e} in {plain_seconds:.1f} s, random {error:.1e} in {seconds:.1f} s"
              f"{'' if fine else f'   FAILED (spread {spread:.1e})'}", flush=True)
    return 1 if failed else 0


sys.exit(main())
