"""The output forms of quantized networks: onnx accepts them, ONNX Runtime loads them and computes what the integers stand for, and pare's
engine computes the same. Small networks of every layer kind, and the zoo's."""
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

from common import DIGITS, SIMPLE, ZOO, label, pare
from feeds import noise, quiet

TEMP = pathlib.Path(tempfile.mkdtemp())
atexit.register(shutil.rmtree, TEMP)
TOOL = pathlib.Path(os.environ["BUILD"]) / "tests" / "tools" / "forms"
rng = np.random.default_rng(7)


def forms(*arguments):
    done = subprocess.run([TOOL, *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"forms {' '.join(map(str, arguments))}: exit {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def session(path):
    options = quiet(qdq_matmulnbits_accuracy_level="1")  # activations stay floats inside a fused MatMulNBits
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run(path, feeds):
    return session(path).run(None, feeds)


def run_pare(path, feeds):
    given, made = TEMP / "in.npz", TEMP / "out.npz"
    np.savez(given, **feeds)
    pare("infer", path, "--data", given, "-o", made)
    outputs = np.load(made)
    return [outputs[v.name] for v in onnx.load(str(path), load_external_data=False).graph.output]


def distance(a, b):
    """max |a - b| / max |b|, the worst output's; 3e-7 is what ONNX Runtime's own Sigmoid is off by."""
    return max(float(max(np.abs(x.astype(np.float64) - y).max() - 3e-7, 0) / max(np.abs(y).max(), 1e-30)) for x, y in zip(a, b))


def ops(path):
    return [n.op_type for n in onnx.load(str(path), load_external_data=False).graph.node]


# ---- small networks ----

def weight(name, *shape):
    return nh.from_array(rng.standard_normal(shape).astype(np.float32), name)


def save(name, nodes, constants, x, dtype=T.FLOAT, opset=13, shape=None):
    given, made = h.make_tensor_value_info("x", dtype, shape or x.shape), h.make_tensor_value_info("y", T.FLOAT, None)
    graph = h.make_graph(nodes, name, [given], [made], constants)
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", opset)], ir_version=8)
    path = TEMP / f"{name}.onnx"
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    return path, {"x": x}


def normal(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def small_networks():
    node = h.make_node
    yield save("matmul", [node("MatMul", ["x", "w"], ["y"])], [weight("w", 40, 9)], normal(2, 3, 40))
    yield save("gemm", [node("Gemm", ["x", "w", "b"], ["y"], transB=1, alpha=0.5, beta=2.0)], [weight("w", 9, 40), weight("b", 9)],
               normal(5, 40))
    yield save("gemm_matrix_bias", [node("Gemm", ["x", "w", "b"], ["y"], beta=2.0)], [weight("w", 40, 9), weight("b", 5, 9)], normal(5, 40))
    yield save("conv", [node("Conv", ["x", "w", "b"], ["y"], group=2, pads=[1, 1, 0, 1], strides=[2, 1])],
               [weight("w", 6, 4, 3, 3), weight("b", 6)], normal(2, 8, 7, 6))
    yield save("conv1x1", [node("Conv", ["x", "w"], ["y"])], [weight("w", 6, 40, 1, 1)], normal(2, 40, 4, 3))
    yield save("conv1d", [node("Conv", ["x", "w", "b"], ["y"])], [weight("w", 6, 20, 3), weight("b", 6)], normal(2, 20, 9))
    yield save("transposed", [node("ConvTranspose", ["x", "w", "b"], ["y"], strides=[2, 2])], [weight("w", 8, 3, 3, 3), weight("b", 3)],
               normal(1, 8, 4, 5))
    yield save("transposed_groups", [node("ConvTranspose", ["x", "w"], ["y"], group=2)], [weight("w", 8, 3, 3, 3)], normal(1, 8, 4, 5))
    yield save("lstm", [node("LSTM", ["x", "w", "r", "b"], ["", "y"], hidden_size=20)],
               [weight("w", 1, 80, 24), weight("r", 1, 80, 20), weight("b", 1, 160)], normal(5, 2, 24))
    yield save("lstm_both", [node("LSTM", ["x", "w", "r", "b"], ["y"], hidden_size=20, direction="bidirectional")],
               [weight("w", 2, 80, 24), weight("r", 2, 80, 20), weight("b", 2, 160)], normal(5, 2, 24))
    yield save("gru", [node("GRU", ["x", "w", "r", "b"], ["y"], hidden_size=20, linear_before_reset=1)],
               [weight("w", 1, 60, 24), weight("r", 1, 60, 20), weight("b", 1, 120)], normal(5, 2, 24))
    yield save("table", [node("Gather", ["w", "x"], ["y"])], [weight("w", 50, 40)], rng.integers(-50, 50, (2, 3)), T.INT64)
    yield save("tied", [node("Gather", ["w", "x"], ["e"]), node("Reshape", ["e", "flat"], ["f"]),
                        node("Gemm", ["f", "w"], ["y"], transB=1)],
               [weight("w", 50, 40), nh.from_array(np.array([-1, 40]), "flat")], rng.integers(0, 50, (2, 3)), T.INT64)
    yield save("two_readers", [node("MatMul", ["x", "w"], ["a"]), node("MatMul", ["x", "v"], ["b"]), node("MatMul", ["x", "w"], ["c"]),
                               node("Add", ["a", "b"], ["ab"]), node("Mul", ["ab", "c"], ["y"])], [weight("w", 40, 9), weight("v", 40, 9)],
               normal(3, 40))


# What must stand in the network afterwards.
def expected_op(form, name):
    if form == "nbits" and name in ("matmul", "gemm", "gemm_matrix_bias", "two_readers", "tied"):
        return "MatMulNBits"
    if form == "nbits" and name == "table":
        return "GatherBlockQuantized"
    if form == "dynamic":
        return {"conv": "ConvInteger", "conv1x1": "ConvInteger", "conv1d": "ConvInteger", "matmul": "MatMulInteger",
                "gemm": "MatMulInteger", "two_readers": "MatMulInteger", "lstm": "DynamicQuantizeLSTM",
                "lstm_both": "DynamicQuantizeLSTM"}.get(name)
    return "DequantizeLinear" if name not in ("table", "tied") else None


def check_weights(path, feeds, form, bits, block, *options, tolerance=1e-4):
    """Off from the float network with the same weights; tolerance for dynamic: what 8 bits of the activations cost."""
    out, reference = TEMP / "form.onnx", TEMP / "reference.onnx"
    left = forms(path, out, reference, form, bits, block, *options)
    onnx.checker.check_model(str(out), full_check=form == "qdq")
    want, got, own = run(reference, feeds), run(out, feeds), run_pare(out, feeds)
    op, what = expected_op(form, path.stem), f"{path.stem}, {form} {bits} {block} {options}"
    assert op is None or op in ops(out), f"{what}: {ops(out)}"
    assert distance(got, want) < tolerance, f"{what}: ONNX Runtime is off by {distance(got, want)}"
    steps = 2e-2 if "lstm" in path.stem and form == "dynamic" else 5e-3  # one step of the state's grid goes on to the steps behind
    assert distance(own, got) < min(tolerance, steps), f"{what}: pare is off from ONNX Runtime by {distance(own, got)}"
    return left


QDQ = [(8, -1), (8, 0), (8, 32, "asymmetric"), (8, 0, "asymmetric"), (8, 0, "shifted"), (6, 0, "asymmetric"), (4, -1), (4, 0, "asymmetric"),
       (4, 16), (4, 24), (4, 32, "asymmetric"), (3, 32), (2, 16), (2, 32, "asymmetric", "two-bit"), (2, 0, "two-bit")]
NBITS = [(8, 32), (8, 0, "asymmetric"), (5, 16), (4, 0), (4, -1, "asymmetric"), (4, 16), (4, 32, "asymmetric"),
         (3, 32, "asymmetric"), (2, 16), (2, 32, "asymmetric")]
DYNAMIC = [(7, 0), (7, -1), (8, 0, "shifted"), (8, -1, "asymmetric"), (8, 0, "asymmetric")]


def check_small():
    for path, feeds in small_networks():
        for row in QDQ:
            check_weights(path, feeds, "qdq", *row, "tables")
        for row in NBITS:
            check_weights(path, feeds, "nbits", *row, "tables", tolerance=3e-4)
        for row in DYNAMIC:
            if row[1] == 0 and "asymmetric" in row and ("conv" in path.stem or "lstm" in path.stem):
                assert "one zero point" in forms(path, TEMP / "form.onnx", TEMP / "reference.onnx", "dynamic", *row), path.stem
                continue
            check_weights(path, feeds, "dynamic", *row, tolerance=0.1 if "lstm" in path.stem else 0.04)
        print(f"{path.stem}: {len(QDQ)} qdq, {len(NBITS)} nbits, {len(DYNAMIC)} dynamic")
    path, feeds = next(n for n in small_networks() if n[0].stem == "two_readers")
    forms(path, TEMP / "form.onnx", TEMP / "reference.onnx", "dynamic", 8, 0)
    assert ops(TEMP / "form.onnx").count("DynamicQuantizeLinear") == 1, "one per activation"
    weights = [t for t in onnx.load(TEMP / "form.onnx").graph.initializer if t.data_type == T.INT8]
    assert len(weights) == 2, "a weight that two layers share stands there once"


def check_packing():
    """int4: the low nibble is the first element."""
    x = np.eye(2, dtype=np.float32)
    path, _ = save("nibbles", [h.make_node("MatMul", ["x", "w"], ["y"])], [nh.from_array(np.array([[7, -3], [2, -7]], np.float32), "w")], x)
    forms(path, TEMP / "form.onnx", TEMP / "reference.onnx", "qdq", 4, -1)
    raw = next(t.raw_data for t in onnx.load(TEMP / "form.onnx").graph.initializer if t.data_type == T.INT4)
    assert raw == bytes([0x7 | (-3 & 15) << 4, 0x2 | (-7 & 15) << 4]), raw


# ---- the zoo ----

ROWS = [("qdq", 8, 0, 2e-3), ("qdq", 4, 32, 2e-3), ("nbits", 4, 32, 2e-3), ("dynamic", 7, 0, None)]


def check_zoo(path):
    feeds = noise(path, rng)
    before = ops(path)
    if any("Quantize" in op or "QLinear" in op for op in before):
        return f"{label(path)}: quantized already"
    text = []
    for form, bits, block, tolerance in ROWS:
        out, reference = TEMP / "form.onnx", TEMP / "reference.onnx"
        forms(path, out, reference, form, bits, block, "tables")
        onnx.checker.check_model(str(out), full_check=form == "qdq")
        want, got, own = run(reference, feeds), run(out, feeds), run_pare(out, feeds)
        if tolerance is not None:
            assert distance(got, want) < tolerance, f"{label(path)}, {form} {bits}: ONNX Runtime is off by {distance(got, want)}"
        # one step of a dynamic grid carries on through the layers behind
        assert distance(own, got) < (tolerance or 0.1), f"{label(path)}, {form} {bits}: pare is off by {distance(own, got)}"
        text.append(f"{form}{bits} {distance(got, want):.1e}/{distance(own, got):.1e}")
    return f"{label(path)}: " + ", ".join(text)


def check_qoperator(model, data):
    """pare's static QDQ against the same in QOperator form: ONNX Runtime's and pare's integers are the same but for ties."""
    qdq, out = TEMP / "qdq.onnx", TEMP / "qoperator.onnx"
    pare("pass", "quantize", *SIMPLE, "--no-measure", "-q", "--data", data, model, "-o", qdq)
    said = forms(qdq, out, "qoperator")
    onnx.checker.check_model(str(out))
    feeds = noise(qdq, rng)
    want, got, own = run(qdq, feeds), run(out, feeds), run_pare(out, feeds)
    found = ops(out)
    quantized = [op for op in found if op.startswith("Q") and op != "QuantizeLinear" or op == "MatMulIntegerToFloat"]
    assert quantized, f"{label(model)}: nothing was converted: {said}"
    assert distance(got, want) < 0.03, f"{label(model)}: ONNX Runtime is off by {distance(got, want)}"
    most = 0.2 if "mobilenet" in model.stem else 0.03 # 52 layers carry on what is rounded at a half: 14 dB, see test_quantized.py
    assert distance(own, want) < most, f"{label(model)}: pare is off by {distance(own, want)}"
    return f"qoperator: {label(model)}: {len(quantized)} operators on integers, {found.count('DequantizeLinear')} DequantizeLinear left, " \
           f"{distance(got, want):.1e}/{distance(own, got):.1e}"


def main():
    check_small()
    check_packing()
    print(check_qoperator(DIGITS / "digits.onnx", DIGITS / "calib.npz"))
    for name in ("cifar10/resnet20_bn.onnx", "mnist/lenet5.onnx", "mnist/mnist_8.onnx", "imagenet/mobilenet_v2.onnx",
                 "kws/dscnn_nhwc.onnx"):
        if (ZOO / name).exists():
            np.savez(TEMP / "noise.npz", **noise(ZOO / name, rng))
            print(check_qoperator(ZOO / name, TEMP / "noise.npz"))
    for path in [DIGITS / "digits.onnx", *sorted(ZOO.rglob("*.onnx"))]:
        if path.stat().st_size < 30e6:
            print(check_zoo(path))


main()
