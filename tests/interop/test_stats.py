"""The layer statistics against ONNX Runtime and numpy: every layer's second moment, mean and count from activations of ONNX Runtime and
columns made by numpy, and range, sums and histogram of one activation; 1e-6 relative (float32 activations of two programs)."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx import numpy_helper

from common import DIGITS, ROOT, ZOO, label

TOOL = pathlib.Path(os.environ.get("BUILD", ROOT / "build")) / "tests" / "tools" / "layer_stats"
SAMPLES, BATCH = 60, 25
CASES = [
    (DIGITS / "digits.onnx", DIGITS / "calib.npz", None),
    (ZOO / "mnist/lenet5.onnx", ZOO / "mnist/train.npz", {"array": "image", "scale": 1 / 255, "expand": [1]}),
    (ZOO / "kws/dscnn_nhwc.onnx", ZOO / "kws/calib.npz", {"array": "mfcc"}),
]


def columns(node, x, w):
    """[positions, groups, width] of a layer's input, in float64; positions in the order of the output."""
    attrs = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    x = x.astype(np.float64)
    if node.op_type in ("MatMul", "Gemm"):
        if attrs.get("transA"):
            x = x.T
        return x.reshape(-1, 1, x.shape[-1])
    kernel, stride = w.shape[2:], attrs.get("strides", [1, 1])
    dilation, group = attrs.get("dilations", [1, 1]), attrs.get("group", 1)
    pads = list(attrs.get("pads", [0, 0, 0, 0]))
    mode = attrs.get("auto_pad", b"NOTSET").decode()
    for i in range(2):
        if mode.startswith("SAME"):
            out = -(-x.shape[2 + i] // stride[i])
            total = max(0, (out - 1) * stride[i] + dilation[i] * (kernel[i] - 1) + 1 - x.shape[2 + i])
            pads[i], pads[2 + i] = (total // 2, total - total // 2) if mode == "SAME_UPPER" else (total - total // 2, total // 2)
    x = np.pad(x, ((0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])))
    size = [(x.shape[2 + i] - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1 for i in range(2)]
    taps = np.stack([x[:, :, r * dilation[0]:r * dilation[0] + size[0] * stride[0]:stride[0],
                       s * dilation[1]:s * dilation[1] + size[1] * stride[1]:stride[1]]
                     for r in range(kernel[0]) for s in range(kernel[1])], axis=2)  # N, C, taps, H, W
    n, c, t = taps.shape[:3]
    return taps.reshape(n, group, c // group * t, -1).transpose(0, 3, 1, 2).reshape(-1, group, c // group * t)


def activations(model, names, feed):
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    have = {o.name for o in shown.graph.output} | {i.name for i in shown.graph.input}
    shown.graph.output.extend(onnx.ValueInfoProto(name=n) for n in dict.fromkeys(names) if n not in have)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(shown.SerializeToString(), options, providers=["CPUExecutionProvider"])
    wanted = [n for n in dict.fromkeys(names) if n not in feed]
    return {**feed, **dict(zip(wanted, session.run(wanted, feed)))}


def feed_of(model, data, entry):
    name = [i.name for i in model.graph.input if i.name not in {t.name for t in model.graph.initializer}][0]
    archive = np.load(data)
    if entry is None:
        return {name: archive[name][:SAMPLES].astype(np.float32)}
    x = archive[entry["array"]][:SAMPLES].astype(np.float32) * np.float32(entry.get("scale", 1))
    return {name: np.expand_dims(x, tuple(entry["expand"])) if "expand" in entry else x}


def close(found, wanted, what):
    scale = np.abs(wanted).max()
    error = float(np.abs(found - wanted).max() / scale) if scale > 0 else float(np.abs(found).max())
    assert error <= 1e-6, f"{what}: {error:.2e} from numpy's"
    return error


def check(path, data, entry, folder):
    model = onnx.load(path)
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    layers = [n for n in model.graph.node if n.op_type in ("Conv", "MatMul", "Gemm") and n.input[1] in constants]
    value = next(n.output[0] for n in model.graph.node if n.op_type == "Relu")
    feed = feed_of(model, data, entry)
    seen = activations(model, [n.input[0] for n in layers] + [value], feed)
    source = data
    if entry is not None:
        source = pathlib.Path(folder, "data.json")
        source.write_text(json.dumps({"file": str(data), "inputs": {next(iter(feed)): entry}}), encoding="utf-8")
    out = pathlib.Path(folder, "stats.npz")
    subprocess.run([TOOL, path, source, out, str(SAMPLES), str(BATCH), value], check=True)
    worst = 0.0
    with np.load(out) as found:
        names = [bytes(found[f"name{i}"]).decode() for i in range(len([k for k in found.files if k.startswith("name")]))]
        assert len(names) == len(layers), f"{len(names)} layers, the network has {len(layers)}"
        by_name = {n.name or n.output[0]: n for n in layers}
        for i, name in enumerate(names):
            node = by_name[name]
            x = columns(node, seen[node.input[0]], constants[node.input[1]])
            assert int(found[f"columns{i}"]) == x.shape[0], f"{name}: {found[f'columns{i}']} columns, numpy has {x.shape[0]}"
            worst = max(worst, close(found[f"h{i}"], np.einsum("pgi,pgj->gij", x, x, optimize=True), f"{name}: H"))
            worst = max(worst, close(found[f"sum{i}"], x.sum(0), f"{name}: sum"))
        a = seen[value].astype(np.float64)
        parts = [a[i:i + BATCH] for i in range(0, SAMPLES, BATCH)]
        low, high = parts[0].min(), parts[0].max()
        for part in parts[1:]:
            low, high = low + 0.01 * (part.min() - low), high + 0.01 * (part.max() - high)
        close(found["numbers"], np.array([a.min(), a.max(), a.sum(), (a * a).sum(), low, high]), f"{value}: numbers")
        bins = np.histogram(a, found["edges"])[0].astype(np.int64)
        # an activation that differs in the last bit may fall into the neighbouring bin
        moved = np.abs(np.cumsum(found["bins"].astype(np.int64)) - np.cumsum(bins)).max()
        assert found["bins"].sum() == a.size and moved <= 1e-4 * a.size, f"{value}: {moved} of {a.size} values lie in other bins"
    print(f"{label(path)}: {len(layers)} layers, worst {worst:.1e}; histogram of {value}: {moved} of {a.size} in the next bin")


def main():
    run = 0
    for path, data, entry in CASES:
        if not path.exists() or not data.exists():
            continue
        with tempfile.TemporaryDirectory() as folder:
            check(path, data, entry, folder)
        run += 1
    if run == 0:
        print("the networks are not here")
        return 77
    return 0


sys.exit(main())
