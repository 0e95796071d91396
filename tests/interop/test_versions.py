"""Operators whose meaning changed between opsets follow the file's opset: each row builds its one-node model for every opset from its
first to the newest, and pare agrees with onnx's reference evaluator or, where that does not know the version, with ONNX Runtime."""
import os
import pathlib
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from common import PARE

NEWEST = 25  # what ONNX Runtime and the reference evaluator both know
RANDOM = np.random.default_rng(7)
X = RANDOM.standard_normal((2, 3, 4, 5)).astype(np.float32)
M = RANDOM.standard_normal((3, 4)).astype(np.float32)
POSITIVE = (np.abs(M) + 0.1).astype(np.float32)
CHANNEL = [RANDOM.random(3).astype(np.float32) + 0.5 for _ in range(4)]


def ints(*values):
    return np.array(values, np.int64)


def by_input(since, x, values, attribute, **more):
    """A list that became an input in version `since`."""
    return lambda v: ([x, ints(*values)], more) if v >= since else ([x], {attribute: list(values), **more})


def clip(v):
    low, high = np.float32(-0.5), np.float32(0.7)
    return ([M, np.array(low), np.array(high)], {}) if v >= 11 else ([M], {"min": float(low), "max": float(high)})


def pad(v):
    pads = [0, 0, 1, 2, 0, 0, 2, 1]
    if v >= 11:
        return [X, ints(*pads), np.array(1.5, np.float32)], {"mode": "constant"}
    return [X], {"pads": pads, "mode": "constant", "value": 1.5}


def slices(v):
    if v >= 10:
        return [X, ints(0, 1), ints(2, 9), ints(1, 3)], {}
    return [X], {"starts": [0, 1], "ends": [2, 9], "axes": [1, 3]}


def top(v):
    return ([M, ints(2)], {"axis": -1 if v >= 11 else 1}) if v >= 10 else ([M], {"k": 2, "axis": 1})


def split(v):
    return ([M, ints(1, 3)], {"axis": 1}) if v >= 13 else ([M], {"axis": 1, "split": [1, 3]})


def resize(v):
    scales = np.array([1, 1, 2, 2], np.float32)
    if v >= 11:
        return [X, np.array([], np.float32), scales], {"mode": "linear"}
    return [X, scales], {"mode": "linear"}


def group_norm(v):
    size = 2 if v < 21 else 4
    g = RANDOM.standard_normal((2, 4, 3)).astype(np.float32)
    return [g, np.linspace(0.5, 2, size, dtype=np.float32), np.linspace(-1, 1, size, dtype=np.float32)], {"num_groups": 2}


# op, first opset, last opset (None: the newest), inputs and attributes at version v, outputs
ROWS = [
    ("Squeeze", 7, None, by_input(13, X[:, :1], (1,), "axes"), 1),
    ("Unsqueeze", 7, None, by_input(13, M, (0, 2), "axes"), 1),
    ("Clip", 7, None, clip, 1),
    ("Softmax", 7, None, lambda v: ([X], {}), 1),
    ("Softmax", 7, None, lambda v: ([X], {"axis": 2}), 1),
    ("LogSoftmax", 7, None, lambda v: ([X], {"axis": 1}), 1),
    ("Hardmax", 7, None, lambda v: ([X], {}), 1),
    ("Resize", 10, None, resize, 1),
    ("Upsample", 7, 9, lambda v: ([X, np.array([1, 1, 2, 2], np.float32)], {}) if v >= 9 else ([X], {"scales": [1.0, 1.0, 2.0, 2.0]}), 1),
    ("BatchNormalization", 7, None, lambda v: ([X, *CHANNEL], {}), 1),
    ("ReduceSum", 7, None, by_input(13, X, (1, 3), "axes", keepdims=0), 1),
    ("ReduceMean", 7, None, by_input(18, X, (1, 3), "axes", keepdims=1), 1),
    ("ReduceMax", 7, None, by_input(18, X, (2,), "axes", keepdims=0), 1),
    ("ReduceL2", 7, None, by_input(18, X, (-1,) , "axes", keepdims=0), 1),
    ("ReduceLogSumExp", 7, None, by_input(18, X, (0, 1), "axes", keepdims=0), 1),
    ("ReduceProd", 7, None, by_input(18, M, (0,), "axes", keepdims=0), 1),
    ("Pad", 7, None, pad, 1),
    ("Dropout", 7, None, lambda v: ([M], {"ratio": 0.3} if v < 12 else {}), 1),
    ("Slice", 7, None, slices, 1),
    ("TopK", 7, None, top, 2),
    ("Split", 7, None, split, 2),
    ("Gemm", 7, None, lambda v: ([M, M, np.float32([[1], [2], [3]])], {"transB": 1, "alpha": 0.5, "beta": 2.0}), 1),
    ("Flatten", 7, None, lambda v: ([X], {"axis": 2}), 1),
    ("Cast", 7, None, lambda v: ([M * 3], {"to": TensorProto.INT32}), 1),
    ("ArgMax", 7, None, lambda v: ([X], {"axis": 1, "keepdims": 0}), 1),
    ("Concat", 7, None, lambda v: ([M, M], {"axis": 1}), 1),
    ("Gather", 7, None, lambda v: ([M, ints(2, 0)], {"axis": 0}), 1),
    ("AveragePool", 7, None, lambda v: ([X], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2]}), 1),
    ("AveragePool", 10, None, lambda v: ([X], {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}), 1),
    ("MaxPool", 8, None, lambda v: ([X], {"kernel_shape": [3, 2], "strides": [2, 1]}), 1),
    ("Add", 7, None, lambda v: ([X, X[0, 0, 0]], {}), 1),
    ("Pow", 7, None, lambda v: ([POSITIVE, np.array([2, 0.5, 1, 3], np.float32)], {}), 1),
    ("PRelu", 7, None, lambda v: ([M, np.array([0.1, 0.2, 0.3, 0.4], np.float32)], {}), 1),
    ("Greater", 7, None, lambda v: ([M, POSITIVE], {}), 1),
    ("Equal", 7, None, lambda v: ([ints(1, 2, 3), ints(1, 0, 3)], {}), 1),
    ("OneHot", 9, None, lambda v: ([ints(1, 2, 0), np.array(3, np.int64), np.array([0, 1], np.float32)], {"axis": -1}), 1),
    ("ScatterElements", 11, None, lambda v: ([M, ints(0, 2).reshape(1, 2), np.float32([[9, 8]])], {"axis": 1}), 1),
    ("CumSum", 11, None, lambda v: ([M, np.array(1, np.int64)], {"reverse": 1}), 1),
    ("Reshape", 7, None, lambda v: ([X, ints(0, -1, 5)], {}), 1),
    ("GroupNormalization", 18, None, group_norm, 1),
    ("LayerNormalization", 17, None, lambda v: ([M, np.float32([1, 2, 3, 4])], {}), 1),
    ("RMSNormalization", 23, None, lambda v: ([M, np.float32([1, 2, 3, 4])], {}), 1),
    ("QuantizeLinear", 10, None, lambda v: ([M, np.array(0.05, np.float32), np.array(3, np.uint8)], {}), 1),
    ("DequantizeLinear", 10, None, lambda v: ([np.uint8([[1, 200], [7, 9]]), np.array(0.1, np.float32), np.array(3, np.uint8)], {}), 1),
    ("Gelu", 20, None, lambda v: ([M], {"approximate": "tanh"}), 1),
    ("GridSample", 16, None, lambda v: ([X, np.tanh(RANDOM.standard_normal((2, 3, 3, 2))).astype(np.float32)], {}), 1),
    ("DFT", 17, None, lambda v: ([X[..., :1].copy()], {"axis": 1} if v < 20 else {}), 1),
    ("IsInf", 10, None, lambda v: ([np.float32([1, np.inf, -np.inf])], {"detect_negative": 0}), 1),
    ("Mod", 10, None, lambda v: ([M, POSITIVE], {"fmod": 1}), 1),
]


def model_of(op, version, arrays, attributes, outputs):
    names = [f"i{k}" for k in range(len(arrays))]
    inputs = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in zip(names, arrays)]
    results = [helper.make_empty_tensor_value_info(f"o{k}") for k in range(outputs)]
    # lists are constants as in exported networks, everything else is fed
    held = [numpy_helper.from_array(a, n) for n, a in zip(names, arrays) if a.dtype == np.int64 and len(arrays) > 1 and n != "i0"]
    inputs = [i for i in inputs if i.name not in {h.name for h in held}]
    graph = helper.make_graph([helper.make_node(op, names, [r.name for r in results], **attributes)], "g", inputs, results, held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)], ir_version=8 if version < 21 else 10)
    inferred = onnx.shape_inference.infer_shapes(model)
    for result in inferred.graph.output:
        if result.type.WhichOneof("value") is None:
            result.type.CopyFrom(helper.make_tensor_type_proto(TensorProto.FLOAT, None))
    return inferred, {i.name: a for i, a in zip(model.graph.input, [a for n, a in zip(names, arrays) if n in {x.name for x in inputs}])}


def references(model, feeds):
    """What the reference evaluator and ONNX Runtime give; None for one that does not run it."""
    try:
        yield "reference", ReferenceEvaluator(model).run(None, feeds)
    except Exception:  # it knows no older versions of some operators
        yield "reference", None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        yield "ONNX Runtime", session.run(None, feeds)
    except Exception:
        yield "ONNX Runtime", None


def agree(found, expected):
    return all(f.shape == np.shape(e) and f.dtype == np.asarray(e).dtype and np.allclose(f, e, rtol=1e-4, atol=1e-6)
               for f, e in zip(found, expected))


def main():
    warnings.simplefilter("ignore")
    compared, bad = 0, []
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        for op, first, last, build, outputs in ROWS:
            for version in range(first, (last or NEWEST) + 1):
                arrays, attributes = build(version)
                model, feeds = model_of(op, version, [np.asarray(a) for a in arrays], attributes, outputs)
                (folder / "m.onnx").write_bytes(model.SerializeToString())
                for old in folder.glob("input_*.pb"):
                    old.unlink()
                for k, (name, array) in enumerate(feeds.items()):
                    (folder / f"input_{k}.pb").write_bytes(numpy_helper.from_array(array, name).SerializeToString())
                done = subprocess.run([PARE, "infer", str(folder / "m.onnx"), "--data", str(folder), "-o", str(folder / "o.npz"), "-q",
                                       "--threads=1"], capture_output=True, text=True, check=False,
                                      env={**os.environ, "GOMP_SPINCOUNT": "1000"})
                if done.returncode != 0:
                    bad.append(f"{op} at opset {version}: exit {done.returncode}: {done.stderr.strip()[-200:]}")
                    continue
                with np.load(folder / "o.npz") as archive:
                    found = [archive[o.name] for o in model.graph.output]
                known = [(who, result) for who, result in references(model, feeds) if result is not None]
                if not known:
                    bad.append(f"{op} at opset {version}: nobody to compare with")
                elif not any(agree(found, result) for _, result in known):
                    bad.append(f"{op} at opset {version}: differs from {' and '.join(who for who, _ in known)}")
                compared += 1
    for line in bad:
        print(line)
    print(f"{compared} models of {len(ROWS)} operators compared, {len(bad)} disagree")
    return 1 if bad else 0


sys.exit(main())
