#!/usr/bin/env python3
"""Makes the seed corpus of fuzz_engine: random graphs of tests/interop/fuzz_graphs.py until every operator it knows was drawn, each one small,
and networks whose work or memory has no bound but the engine's. Needs `onnx` and `onnxruntime`.

usage: make_engine_corpus.py [FOLDER]      default: tests/fuzz/corpus/engine"""
import pathlib
import sys
import warnings

import numpy as np
from onnx import TensorProto, helper, numpy_helper

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "interop"))
import fuzz_graphs

MOST_BYTES = 1500
TRIES = 1500
FLOAT = TensorProto.FLOAT


def info(name, dims, kind=FLOAT):
    return helper.make_tensor_value_info(name, kind, dims)


def model(nodes, inputs, outputs, arrays, opset=17):
    held = [numpy_helper.from_array(a, n) for n, a in arrays.items()]
    return helper.make_model(helper.make_graph(nodes, "g", inputs, outputs, held), opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def loops(depth):
    """Loops within loops of a million steps each."""
    inner = [helper.make_node("Add", [f"v{depth}", f"v{depth}"], [f"o{depth}"])]
    for k in range(depth, 0, -1):
        body = helper.make_graph([helper.make_node("Identity", [f"c{k}"], [f"d{k}"]), *inner], f"b{k}",
                                 [info(f"i{k}", [], TensorProto.INT64), info(f"c{k}", [], TensorProto.BOOL), info(f"v{k}", None)],
                                 [info(f"d{k}", [], TensorProto.BOOL), info(f"o{k}", None)])
        inner = [helper.make_node("Loop", ["m", "t", f"v{k - 1}"], [f"o{k - 1}"], body=body)]
    return model(inner, [info("v0", [2])], [info("o0", None)], {"m": np.array(1 << 20, np.int64), "t": np.array(True)})


def unbounded():
    huge = np.array([1 << 20, 1 << 20], np.int64)
    yield "loops", loops(2)
    yield "range", model([helper.make_node("Range", ["a", "b", "c"], ["y"])], [], [info("y", None, TensorProto.INT64)],
                         {"a": np.array(0), "b": np.array(1 << 40), "c": np.array(1)})
    yield "expand", model([helper.make_node("Expand", ["x", "s"], ["y"])], [info("x", [1, 1])], [info("y", None)], {"s": huge})
    yield "filled", model([helper.make_node("ConstantOfShape", ["s"], ["y"])], [], [info("y", None)], {"s": huge})
    yield "tile", model([helper.make_node("Tile", ["x", "s"], ["y"])], [info("x", ["n", 4])], [info("y", None)], {"s": huge})
    yield "onehot", model([helper.make_node("OneHot", ["x", "d", "v"], ["y"])], [info("x", ["n"], TensorProto.INT64)], [info("y", None)],
                          {"d": np.array(1 << 40), "v": np.array([0, 1], np.float32)})
    yield "pad", model([helper.make_node("Pad", ["x", "p"], ["y"])], [info("x", [1, 1])], [info("y", None)], {"p": np.array([1 << 30] * 4)})
    yield "resize", model([helper.make_node("Resize", ["x", "", "", "s"], ["y"])], [info("x", [1, 1, 2, 2])], [info("y", None)],
                          {"s": np.array([1, 1, 1 << 20, 1 << 20])})
    yield "product", model([helper.make_node("MatMul", ["x", "y"], ["z"])], [info("x", [60000, 1]), info("y", [1, 60000])], [info("z", None)], {})
    yield "roi", model([helper.make_node("RoiAlign", ["x", "r", "b"], ["y"], sampling_ratio=1 << 30, output_height=4, output_width=4)],
                       [info("x", [1, 1, 4, 4])], [info("y", None)], {"r": np.array([[0, 0, 3, 3]], np.float32), "b": np.array([0])})
    yield "window", model([helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[1 << 15, 1 << 15], pads=[1 << 15] * 4)],
                          [info("x", [1, 1, 4, 4])], [info("y", None)], {})
    yield "hann", model([helper.make_node("HannWindow", ["n"], ["y"])], [], [info("y", None)], {"n": np.array(1 << 40)})


def random_graphs():
    """(name, network) of those that draw an operator, at an opset up to 12 or above, for the first time."""
    seen = set()
    for seed in range(TRIES):
        _, network, _ = fuzz_graphs.build(seed)
        if network is None or network.ByteSize() > MOST_BYTES:
            continue
        kinds = {(n.op_type, network.opset_import[0].version > 12) for n in network.graph.node}
        if kinds <= seen:
            continue
        seen |= kinds
        yield f"seed{seed}", network


def main():
    warnings.simplefilter("ignore")
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "tests" / "fuzz" / "corpus" / "engine"
    folder.mkdir(parents=True, exist_ok=True)
    for make in (unbounded, random_graphs):
        for name, network in make():
            (folder / f"{name}.onnx").write_bytes(network.SerializeToString(deterministic=True))


if __name__ == "__main__":
    main()
