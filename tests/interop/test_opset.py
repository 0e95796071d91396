"""Raising the opset: what ONNX Runtime computes from the raised file is what it computed before, for the zoo's networks and one model per
operator that changed between 7 and 25."""
import atexit
import os
import pathlib
import shutil
import subprocess
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper as nh

from common import DIGITS, ZOO, label
from feeds import noise, quiet

TEMP = pathlib.Path(tempfile.mkdtemp())
atexit.register(shutil.rmtree, TEMP)
TOOL = pathlib.Path(os.environ["BUILD"]) / "tests" / "tools" / "forms"
NotImplemented_ = ort.capi.onnxruntime_pybind11_state.NotImplemented
VERSIONS = (13, 18, 21, 25)
rng = np.random.default_rng(3)


def raised(path, version):
    out = TEMP / "raised.onnx"
    done = subprocess.run([TOOL, path, out, "raise", str(version)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{path}: exit {done.returncode}: {done.stderr.strip()}")
    model = onnx.load(str(out))
    assert max(o.version for o in model.opset_import if o.domain == "") >= version
    onnx.checker.check_model(str(out), full_check=all(o.domain == "" for o in model.opset_import))
    return out


def run(path, feeds):
    return ort.InferenceSession(str(path), quiet(), providers=["CPUExecutionProvider"]).run(None, feeds)


def same(a, b, what):
    for x, y in zip(a, b):
        assert x.shape == y.shape and x.dtype == y.dtype, f"{what}: {x.shape} {x.dtype} became {y.shape} {y.dtype}"
        if x.dtype.kind == "f":
            worst = np.abs(x.astype(np.float64) - y).max() if x.size else 0
            assert worst <= 1e-5 * max(np.abs(x).max() if x.size else 0, 1), f"{what}: off by {worst}"
        else:
            assert np.array_equal(x, y), f"{what}: other integers"


# ---- one model per operator ----

def const(name, values, dtype=np.float32):
    return nh.from_array(np.asarray(values, dtype), name)


def rows():
    """name, opset, node (reads x), constants, shape of x."""
    n, image = h.make_node, (2, 4, 6, 5)
    for op in ("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
               "ReduceSumSquare", "ReduceSum"):
        yield f"{op} over some axes", 11, n(op, ["x"], ["y"], axes=[1, -1], keepdims=0), [], (2, 3, 4)
        yield f"{op} over all", 11, n(op, ["x"], ["y"]), [], (2, 3, 4)
    for op in ("Softmax", "LogSoftmax", "Hardmax"):
        yield f"{op} by default", 11, n(op, ["x"], ["y"]), [], (2, 3, 4)
        yield f"{op} over the last", 11, n(op, ["x"], ["y"], axis=2), [], (2, 3, 4)
    yield "Squeeze", 11, n("Squeeze", ["x"], ["y"], axes=[1]), [], (2, 1, 3)
    yield "Squeeze of all", 11, n("Squeeze", ["x"], ["y"]), [], (2, 1, 3)
    yield "Unsqueeze", 11, n("Unsqueeze", ["x"], ["y"], axes=[0, 3]), [], (2, 3)
    yield "Split in sizes", 11, n("Split", ["x"], ["y", "z"], axis=1, split=[1, 3]), [], (2, 4)
    yield "Split in two", 13, n("Split", ["x"], ["y", "z"], axis=1), [], (2, 4)
    yield "Clip 7", 7, n("Clip", ["x"], ["y"], min=-0.3, max=0.4), [], (2, 4)
    yield "Pad 10", 10, n("Pad", ["x"], ["y"], pads=[0, 1, 2, 0], value=0.5), [], (2, 4)
    yield "Pad reflect 13", 13, n("Pad", ["x", "p"], ["y"], mode="reflect"), [const("p", [0, 1, 1, 0], np.int64)], (3, 4)
    yield "Slice 9", 9, n("Slice", ["x"], ["y"], starts=[1], ends=[-1], axes=[1]), [], (2, 5)
    yield "TopK 9", 9, n("TopK", ["x"], ["y", "i"], k=2), [], (2, 5)
    yield "Dropout 7", 7, n("Dropout", ["x"], ["y"], ratio=0.4), [], (2, 5)
    yield "Upsample 7", 7, n("Upsample", ["x"], ["y"], scales=[1.0, 1.0, 2.0, 3.0]), [], image
    yield "Upsample 9 linear", 9, n("Upsample", ["x", "s"], ["y"], mode="linear"), [const("s", [1, 1, 2, 2])], image
    yield "Resize 10", 10, n("Resize", ["x", "s"], ["y"]), [const("s", [1, 1, 2, 1.5])], image
    for mode, place in (("nearest", "asymmetric"), ("nearest", "half_pixel"), ("linear", "half_pixel"), ("linear", "align_corners"),
                        ("cubic", "pytorch_half_pixel"), ("linear", "asymmetric")):
        yield f"Resize 11 {mode} {place}", 11, n("Resize", ["x", "r", "s"], ["y"], mode=mode, coordinate_transformation_mode=place), \
            [const("r", []), const("s", [1, 1, 1.7, 0.6])], image
    yield "Resize 13 to sizes", 13, n("Resize", ["x", "", "", "s"], ["y"], mode="linear"), [const("s", [2, 4, 9, 8], np.int64)], image
    yield "Resize 11 tf nearest", 11, n("Resize", ["x", "r", "s"], ["y"], coordinate_transformation_mode="tf_half_pixel_for_nn",
                                        nearest_mode="floor"), [const("r", []), const("s", [1, 1, 2, 3])], image
    for old in (7, 10, 11):
        yield f"AveragePool {old}", old, n("AveragePool", ["x"], ["y"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1],
                                           count_include_pad=1), [], image
        yield f"MaxPool {old}", max(old, 8), n("MaxPool", ["x"], ["y"], kernel_shape=[3, 2], strides=[2, 2]), [], image
    yield "AveragePool 11 rounded up", 11, n("AveragePool", ["x"], ["y"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1],
                                             ceil_mode=1), [], image
    yield "LpPool 11", 11, n("LpPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 1]), [], image
    yield "BatchNormalization 8", 8, n("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"]), \
        [const("s", [1, 2, 3, 4]), const("b", [0, 1, 0, 1]), const("m", [0.1, 0, 0.2, 0]), const("v", [1, 2, 1, 0.5])], image
    yield "RoiAlign 10", 10, n("RoiAlign", ["x", "r", "i"], ["y"], output_height=2, output_width=3), \
        [const("r", [[0.5, 1, 4, 4], [0, 0, 3, 5]]), const("i", [0, 1], np.int64)], image
    for mode in ("bilinear", "bicubic", "nearest"):
        yield f"GridSample {mode}", 16, n("GridSample", ["x", "g"], ["y"], mode=mode), [const("g", rng.uniform(-1, 1, (2, 3, 3, 2)))], image
    yield "DFT 17", 17, n("DFT", ["x"], ["y"]), [], (2, 6, 3, 1)
    yield "GroupNormalization 18", 18, n("GroupNormalization", ["x", "s", "b"], ["y"], num_groups=2), \
        [const("s", [1, 2]), const("b", [0.5, -1])], image
    yield "LSTM 7", 7, n("LSTM", ["x", "w", "r"], ["y"], hidden_size=3), \
        [const("w", rng.standard_normal((1, 12, 4))), const("r", rng.standard_normal((1, 12, 3)))], (5, 2, 4)
    yield "Cast 9", 9, n("Cast", ["x"], ["y"], to=T.INT32), [], (2, 3)
    yield "PRelu 7", 7, n("PRelu", ["x", "s"], ["y"]), [const("s", [[[0.1]], [[0.2]], [[0.3]], [[0.4]]])], image
    yield "Scatter 9", 9, n("Scatter", ["x", "i", "u"], ["y"], axis=1), [const("i", [[1], [0]], np.int64), const("u", [[7], [8]])], (2, 3)


def check_row(name, opset, node, constants, shape):
    outputs = [h.make_empty_tensor_value_info(o) for o in node.output]
    graph = h.make_graph([h.make_node("Abs", ["in"], ["a"]), h.make_node("Add", ["a", "tenth"], ["x"]), node], "row",
                         [h.make_tensor_value_info("in", T.FLOAT, shape)], outputs, [const("tenth", [0.1]), *constants])
    model = onnx.shape_inference.infer_shapes(h.make_model(graph, opset_imports=[h.make_opsetid("", opset)], ir_version=8))
    path = TEMP / "row.onnx"
    onnx.save(model, path)
    feeds = {"in": rng.standard_normal(shape).astype(np.float32)}
    try:
        want = run(path, feeds)
    except Exception as error:  # ONNX Runtime lacks the operator at this version: nothing to compare with
        return f"{name}: not run before: {str(error).splitlines()[0][:90]}"
    for v, t in zip(model.graph.output, want):
        v.CopyFrom(h.make_tensor_value_info(v.name, h.np_dtype_to_tensor_dtype(t.dtype), t.shape))
    onnx.save(model, path)
    for version in VERSIONS:
        if version <= opset:
            continue
        out = raised(path, version)
        try:
            got = run(out, feeds)
        except NotImplemented_ as error:
            assert version > 21, f"{name} at {version}: {error}"
            print(f"{name}: ONNX Runtime has no kernel at {version}")
            continue
        same(want, got, f"{name} at {version}")
    return None


def check_zoo(path):
    model = onnx.load(str(path), load_external_data=False)
    opset = next(o.version for o in model.opset_import if o.domain == "")
    if opset < 7:
        return f"{label(path)}: opset {opset}"
    feeds = noise(path, rng, 2)
    want = run(path, feeds)
    versions = [v for v in VERSIONS if v > opset]
    for version in versions:
        same(want, run(raised(path, version), feeds), f"{label(path)} at {version}")
    return f"{label(path)}: {opset} -> {', '.join(map(str, versions))}"


def main():
    done = 0
    for row in rows():
        said = check_row(*row)
        done += said is None
        if said is not None:
            print(said)
    print(f"{done} operators compute the same at {VERSIONS}")
    assert done >= 45
    for path in [DIGITS / "digits.onnx", *sorted(ZOO.rglob("*.onnx"))]:
        if path.stat().st_size < 30e6:
            print(check_zoo(path))


main()
