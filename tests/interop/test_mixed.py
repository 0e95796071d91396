"""Mixed precision beside ONNX Runtime: files with some layers in float, some with uint8 weights (zero point 128) and some with int8 ones
load, run as integers, and give the integers that the same file with all weights shifted to uint8 gives, which no kernel saturates on;
the accuracy that a goal asks for holds on data that the pass has not seen."""
import json
import pathlib
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from common import ZOO, pare

RANDOM = np.random.default_rng(3)


def run(model, x):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model if isinstance(model, bytes) else str(model), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def pairs_cost(path):
    """Two products a few steps of one grid apart, their difference, and one that the pair rule costs nothing."""
    even = np.arange(32)[:, None] < 4
    large = np.where(even, 127, RANDOM.integers(105, 125, (32, 16)))
    near = large - np.where(even, 0, RANDOM.integers(0, 4, large.shape))
    sign = np.where(np.arange(32) % 4 < 2, 1, -1)[:, None]
    third = RANDOM.normal(size=(16, 10)) * np.where(np.arange(16) % 2 == 1, 0.002, 1)[:, None]
    weights = {"wa": sign * large / 127, "wb": sign * near / 127, "wc": third}
    nodes = [helper.make_node("MatMul", ["x", "wa"], ["a"], "a"), helper.make_node("MatMul", ["x", "wb"], ["b"], "b"),
             helper.make_node("Sub", ["a", "b"], ["d"]), helper.make_node("MatMul", ["d", "wc"], ["y"], "c")]
    graph = helper.make_graph(nodes, "pairs", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 32])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 10])],
                              [numpy_helper.from_array(w.astype(np.float32), n) for n, w in weights.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def shifted(path):
    """The same network with every int8 weight stored as uint8 around 128."""
    model = onnx.load(path)
    tensors = {t.name: t for t in model.graph.initializer}
    done = set()
    for node in model.graph.node:
        if node.op_type != "DequantizeLinear" or node.input[0] not in tensors or tensors[node.input[0]].data_type != TensorProto.INT8:
            continue
        for name in (node.input[0], node.input[2]):
            if name not in done:
                moved = (numpy_helper.to_array(tensors[name]).astype(np.int16) + 128).astype(np.uint8)
                tensors[name].CopyFrom(numpy_helper.from_array(moved, name))
                done.add(name)
    return model.SerializeToString()


def weight_types(path):
    model = onnx.load(path)
    held = {t.name: t.data_type for t in model.graph.initializer if len(t.dims) >= 2}
    names = {TensorProto.UINT8: "uint8", TensorProto.INT8: "int8", TensorProto.FLOAT: "float"}
    return sorted(names[t] for t in held.values())


def uint8_weights(folder):
    pairs_cost(folder / "pairs.onnx")
    x = RANDOM.normal(size=(64, 32)).astype(np.float32)
    np.savez(folder / "x.npz", x=x)
    pare("pass", "quantize", "--repairs=none", "--data", folder / "x.npz", folder / "pairs.onnx", "--no-measure", "-q",
         "-o", folder / "q.onnx")
    types = weight_types(folder / "q.onnx")
    if types != ["int8", "uint8", "uint8"]:
        return f"weights are {types}, expected two in uint8 and one in int8"
    pare("infer", folder / "q.onnx", "--data", folder / "x.npz", "-o", folder / "y.npz")
    ours, theirs = np.load(folder / "y.npz")["y"], run(folder / "q.onnx", x)
    if not np.array_equal(theirs, run(shifted(folder / "q.onnx"), x)):
        return "not the exact integers in ONNX Runtime"
    off = float(np.abs(ours - theirs).max()) / float(np.abs(theirs).max())
    return "" if off <= 1e-5 else f"pare and ONNX Runtime differ by {off:.3g} of the largest output"


def keyword_spotting(folder):
    model, recipe = ZOO / "kws" / "dscnn_nhwc.onnx", folder / "r.json"
    if not model.exists():
        return "skipped"
    data = {"calibration": {"file": str(ZOO / "kws" / "calib.npz"), "inputs": {"input": {"array": "mfcc"}}}}
    dev = np.load(ZOO / "kws" / "dev.npz")
    x, labels = dev["mfcc"].astype(np.float32), dev["label"]
    before = float((run(model, x.reshape(-1, 49, 10, 1)).argmax(1) == labels).mean())
    whole = model.stat().st_size
    rows = [({"max-size": "60%"}, 0.6, 1.0), ({"mode": "weights", "bits": 2, "max-accuracy-drop": 1}, 0.4, 4.0),
            ({"mode": "weights", "bits": 2, "max-size": "30%"}, 0.3, 2.0)]
    for options, share, drop in rows:
        recipe.write_text(json.dumps({"data": data, "passes": [{"pass": "quantize", **options}]}), encoding="utf-8")
        pare("run", recipe, model, "--no-measure", "--threads=1", "-o", folder / "k.onnx", "-q")
        after = float((run(folder / "k.onnx", x.reshape(-1, 49, 10, 1)).argmax(1) == labels).mean())
        size = (folder / "k.onnx").stat().st_size
        print(f"  kws {options}: {size / whole:.1%} of the file, accuracy {after:.2%} (float {before:.2%})")
        if size > share * whole:
            return f"{options}: {size} bytes of {whole}"
        if before - after > drop / 100:
            return f"{options}: accuracy {after:.4f}, was {before:.4f}"
    return ""


def main():
    failed = 0
    for check in (uint8_weights, keyword_spotting):
        with tempfile.TemporaryDirectory() as folder:
            problem = check(pathlib.Path(folder))
        print(f"{check.__name__}: {problem or 'ok'}")
        failed += problem not in ("", "skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
