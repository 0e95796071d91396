"""Quantized files on this processor, whatever it is: ONNX Runtime computes what exact integer arithmetic gives.

Per network: quantize with pare, check the file, check the pair rule with code of its own, compare the file bit for bit with the same one
whose int8 weights are shifted to uint8 (zero point 128), which no x86 kernel saturates on, and compare accuracy and fidelity with pare's
engine."""
import json
import sys
import tempfile
import pathlib

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

from common import ZOO, pare

CIFAR = {"array": "image", "scale": 1 / 255, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "transpose": [0, 3, 1, 2]}
MNIST = {"array": "image", "scale": 1 / 255, "expand": [1]}
# network, input, entry of the data section, calibration file, its first samples, evaluation file, least accuracy, least SQNR in dB, largest
# share of the file
ROWS = [
    ("cifar10/resnet20_bn.onnx", "input", CIFAR, "cifar10/train20k.npz", 500, "cifar10/dev.npz", 0.915, 27.0, 0.32),
    ("kws/dscnn_nhwc.onnx", "input", {"array": "mfcc"}, "kws/calib.npz", 200, "kws/dev.npz", 0.8875, 24.0, 0.45),
    ("mnist/mnist_8.onnx", "Input3", {"array": "image", "expand": [1]}, "mnist/train.npz", 500, "mnist/test.npz", 0.987, 35.0, 0.45),
    ("mnist/lenet5.onnx", "image", MNIST, "mnist/train.npz", 500, "mnist/test.npz", 0.985, 30.0, 0.30),
    ("mnist/lenet300.onnx", "image", MNIST, "mnist/train.npz", 500, "mnist/test.npz", 0.98, 27.0, 0.30),
    ("cifar10/resnet8_nhwc.onnx", "input", {"array": "image"}, "cifar10/train20k.npz", 500, "cifar10/dev.npz", 0.865, 15.0, 0.35),
]
INTEGER = {"QLinearConv", "QGemm", "QLinearMatMul", "MatMulIntegerToFloat"}


def section(name, entry, file, labels, first=None):
    out = {"file": str(ZOO / file), "inputs": {name: entry}}
    if labels:
        out["label"] = "label"
    if first:
        out["first"] = first
    return out


def arrays(entry, file):
    z = np.load(ZOO / file)
    x = z[entry["array"]].astype(np.float32)
    if "scale" in entry:
        x = x * np.float32(entry["scale"])
    if "mean" in entry:
        x = (x - np.float32(entry["mean"])) / np.float32(entry["std"])
    if "transpose" in entry:
        x = x.transpose(entry["transpose"])
    for axis in entry.get("expand", []):
        x = np.expand_dims(x, axis)
    return np.ascontiguousarray(x), z["label"]


def run(model, x, optimized=None):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if optimized:
        options.optimized_model_filepath = str(optimized)
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    feed = session.get_inputs()[0]
    batch = 1 if feed.shape[0] == 1 else 100
    return np.concatenate([session.run(None, {feed.name: x[i:i + batch]})[0] for i in range(0, len(x), batch)])


def layers(model):
    """(layer, its int8 weight, axis, group) of every layer that reads a dequantized int8 constant."""
    tensors = {t.name: t for t in model.graph.initializer}
    made = {o: n for n in model.graph.node for o in n.output}
    for node in model.graph.node:
        if node.op_type not in ("Conv", "Gemm", "MatMul"):
            continue
        source = made.get(node.input[1])
        if source is None or source.op_type != "DequantizeLinear" or source.input[0] not in tensors:
            continue
        weight = numpy_helper.to_array(tensors[source.input[0]])
        if weight.dtype == np.int8:
            yield node, source, weight


def unsafe_pairs(node, weight):
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    q = weight.astype(int)
    if node.op_type == "Conv":
        if q.shape[1] == 1 and q.shape[0] == attributes.get("group", 1):
            return 0
        taps = np.moveaxis(q, 1, -1).reshape(q.shape[0], -1, q.shape[1])
    else:
        q = q if attributes.get("transB", 0) else q.T
        taps = q[:, None, :]
    rows = taps.reshape(len(taps), -1)
    even = rows.shape[1] // 2 * 2
    sets = [rows[:, :even].reshape(-1, 2)]
    if taps.shape[2] > 1 and taps.shape[2] % 2 == 1:
        sets.append(taps[:, :, :taps.shape[2] // 2 * 2].reshape(-1, 2))
    pairs = np.concatenate(sets)
    same = np.sign(pairs[:, 0]) * np.sign(pairs[:, 1]) > 0
    return int(np.sum(same & (np.abs(pairs).sum(axis=1) > 128)))


def shifted(model):
    """The same numbers with uint8 weights around 128."""
    out = onnx.ModelProto()
    out.CopyFrom(model)
    tensors = {t.name: t for t in out.graph.initializer}
    done = set()
    for _, source, weight in layers(model):
        if source.input[0] in done:
            continue
        done.add(source.input[0])
        name = source.input[0]
        tensors[name].CopyFrom(numpy_helper.from_array((weight.astype(np.int16) + 128).astype(np.uint8), name))
        zero = name + "_128"
        scale = numpy_helper.to_array(tensors[source.input[1]])
        out.graph.initializer.append(numpy_helper.from_array(np.full(scale.shape, 128, np.uint8), zero))
        for node in out.graph.node:
            if node.op_type == "DequantizeLinear" and node.input[0] == name:
                node.input[2] = zero
    return out


def check(row, folder):
    network, name, entry, calibration, first, evaluation, accuracy, sqnr, share = row
    original, written = ZOO / network, folder / "int8.onnx"
    calib, dev = folder / "calib.json", folder / "dev.json"
    calib.write_text(json.dumps(section(name, entry, calibration, False, first)))
    dev.write_text(json.dumps(section(name, entry, evaluation, True)))
    pare("pass", "quantize", "--data", calib, original, "-o", written, "-q")
    model = onnx.load(written)
    onnx.checker.check_model(model, full_check=True)
    x, labels = arrays(entry, evaluation)
    ours = json.loads(pare("eval", written, "--data", dev, "--json"))
    float_out, out = run(original, x), run(written, x, folder / "optimized.onnx")
    run_shifted = folder / "shifted.onnx"
    onnx.save(shifted(model), run_shifted)
    exact = run(run_shifted, x)
    got = float(np.mean(out.reshape(len(x), -1).argmax(1) == labels))
    noise = float(10 * np.log10(np.sum(float_out ** 2) / np.sum((float_out - out) ** 2)))
    kinds = [n.op_type for n in onnx.load(folder / "optimized.onnx").graph.node]
    found = list(layers(model))
    problems = []
    pairs = sum(unsafe_pairs(node, weight) for node, _, weight in found)
    if pairs:
        problems.append(f"{pairs} unsafe pairs")
    if not np.array_equal(out, exact):
        problems.append(f"differs from the exact integer result by {np.abs(out - exact).max():.3g}")
    if sum(k in INTEGER for k in kinds) < len(found):
        problems.append(f"{len(found)} integer layers, but ONNX Runtime runs {kinds}")
    if got < accuracy or ours["accuracy"] < accuracy:
        problems.append(f"accuracy {got:.4f}, pare {ours['accuracy']:.4f}, expected {accuracy}")
    if noise < sqnr:
        problems.append(f"SQNR {noise:.1f} dB, expected {sqnr}")
    size = written.stat().st_size / original.stat().st_size
    if size > share:
        problems.append(f"{size:.1%} of the file, expected at most {share:.0%}")
    print(f"{network}: {len(found)} integer layers, accuracy {got:.4f} (pare {ours['accuracy']:.4f}), {noise:.1f} dB, "
          f"{size:.1%} of the file" + "".join("; " + p for p in problems))
    return not problems


def main():
    rows = [r for r in ROWS if (ZOO / r[0]).exists()]
    if not rows:
        print("the networks beside the project are not here")
        return 77
    fine = True
    for row in rows:
        with tempfile.TemporaryDirectory() as folder:
            fine &= check(row, pathlib.Path(folder))
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
