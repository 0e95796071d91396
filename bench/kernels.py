#!/usr/bin/env python3
"""What a layer costs in integers against float, kind by kind, in ONNX Runtime: the table in quantize/latency.h.

    build/venv/bin/python bench/kernels.py [--threads 1] [--rounds 60]

Layers in a row with QuantizeLinear and DequantizeLinear between them, weights int8 or uint8 with zero point 128, and the same in float.
The three take turns within each round; the ratio is that of the tenth percentiles, which other work on the machine moves least. On x86
without VNNI int8 weights are what the pair rule of --target=portable keeps exact; uint8 weights are exact anyway.
"""
import argparse
import time

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

DEPTH = 4  # layers in a row, so that the ends cost little
KINDS = {  # input, weight, attributes
    "convolution 3x3": ((1, 64, 28, 28), (64, 64, 3, 3), {"pads": [1, 1, 1, 1]}),
    "pointwise": ((1, 128, 28, 28), (128, 128, 1, 1), {}),
    "depthwise": ((1, 128, 28, 28), (128, 1, 3, 3), {"pads": [1, 1, 1, 1], "group": 128}),
    "matrix": ((64, 512), (512, 512), None),
}


def model(kind, weights, rng):
    shape, wshape, attributes = KINDS[kind]
    op = "MatMul" if attributes is None else "Conv"
    constants, nodes, now = [numpy_helper.from_array(np.float32(0.02), "s"), numpy_helper.from_array(np.uint8(128), "z")], [], "x"

    def requantize(value, name):
        nodes.append(helper.make_node("QuantizeLinear", [value, "s", "z"], [name + "_q"]))
        nodes.append(helper.make_node("DequantizeLinear", [name + "_q", "s", "z"], [name]))
        return name

    if weights is not None:
        now = requantize(now, "x0")
        zero = 128 if weights is np.uint8 else 0
        constants += [numpy_helper.from_array(np.array(zero, weights), "wz"), numpy_helper.from_array(np.float32(1 / 256), "ws")]
    for i in range(DEPTH):
        w, name = rng.normal(size=wshape).astype(np.float32), f"w{i}"
        fan_in = float(np.prod(wshape[1:])) if attributes is not None else wshape[0]
        if weights is None:
            constants.append(numpy_helper.from_array(w / np.float32(fan_in**0.5), name))
        else:
            constants.append(numpy_helper.from_array((np.clip(np.round(w * 16), -64, 64) + zero).astype(weights), name + "_q"))
            nodes.append(helper.make_node("DequantizeLinear", [name + "_q", "ws", "wz"], [name]))
        nodes.append(helper.make_node(op, [now, name], [f"r{i}"], **(attributes or {})))
        now = f"r{i}" if weights is None else requantize(f"r{i}", f"y{i}")
    graph = helper.make_graph(nodes, kind, [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
                              [helper.make_tensor_value_info(now, TensorProto.FLOAT, None)], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def session(kind, weights, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model(kind, weights, np.random.default_rng(1)), options, providers=["CPUExecutionProvider"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=60)
    arguments = parser.parse_args()
    print(f"{'kind':16} {'float ms':>9} {'int8 / float':>13} {'uint8 / float':>14}")
    for kind, (shape, _, _) in KINDS.items():
        feeds = {"x": np.random.default_rng(2).normal(size=shape).astype(np.float32)}
        sessions = [session(kind, weights, arguments.threads) for weights in (None, np.int8, np.uint8)]
        times = [[], [], []]
        for _ in range(arguments.rounds):
            for i, s in enumerate(sessions):
                started = time.perf_counter()
                s.run(None, feeds)
                times[i].append((time.perf_counter() - started) * 1e3)
        base, signed, unsigned = (float(np.percentile(t, 10)) for t in times)
        print(f"{kind:16} {base:9.3f} {signed / base:13.2f} {unsigned / base:14.2f}")


if __name__ == "__main__":
    main()
