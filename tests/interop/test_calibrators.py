"""The calibrators against ONNX Runtime's own, on the same activations: ends of min-max and percentile within a bin's width, entropy against the
definition written in numpy, and what ONNX Runtime's form of it gives beside.

ONNX Runtime's entropy calibrator counts 128 bins and forms 128 levels by default: it has one candidate, the whole range. With 2,048 bins its
result is another than ours, since it compares P with a Q that is empty in the bins that do not divide by 128 and cut to whole numbers; the
definition here is that of TensorRT."""
import contextlib
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization.calibrate import HistogramCollector

from common import DIGITS, ROOT, ZOO, label

TOOL = pathlib.Path(os.environ.get("BUILD", ROOT / "build")) / "tests" / "tools" / "calibrate"
SAMPLES, BATCH = 60, 25
CIFAR = {"array": "image", "scale": 1 / 255, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "transpose": [0, 3, 1, 2]}
CASES = [
    (DIGITS / "digits.onnx", DIGITS / "calib.npz", None),
    (ZOO / "mnist/lenet5.onnx", ZOO / "mnist/train.npz", {"array": "image", "scale": 1 / 255, "expand": [1]}),
    (ZOO / "cifar10/resnet20.onnx", ZOO / "cifar10/train20k.npz", CIFAR),
]
VALUES = 6


def feed_of(model, data, entry):
    name = [i.name for i in model.graph.input if i.name not in {t.name for t in model.graph.initializer}][0]
    archive = np.load(data)
    if entry is None:
        return {name: archive[name][:SAMPLES].astype(np.float32)}
    x = archive[entry["array"]][:SAMPLES].astype(np.float32) * np.float32(entry["scale"])
    if "expand" in entry:
        x = np.expand_dims(x, tuple(entry["expand"]))
    if "mean" in entry:
        x = ((x - np.float32(entry["mean"])) / np.float32(entry["std"])).transpose(entry["transpose"])
    return {name: np.ascontiguousarray(x)}


def activations(model, names, feed):
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    have = {o.name for o in shown.graph.output}
    shown.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names if n not in have)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(shown.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip(names, session.run(names, feed)))


def collector(method, symmetric, bins, x, percentile=99.999):
    """ONNX Runtime's ends for one tensor."""
    c = HistogramCollector(method, symmetric, bins, 128, percentile, None)
    with contextlib.redirect_stdout(io.StringIO()):
        c.collect({"x": x})
        low, high = c.compute_collection_result()["x"][:2]
    return float(low), float(high)


def divergence(counts, start, stop):
    """TensorRT's: P with the outliers at its ends, Q in 128 levels spread over the bins that P uses, both smoothed."""
    p = counts[start:stop].copy()
    own = p.copy()
    p[0] += counts[:start].sum()
    p[-1] += counts[stop:].sum()
    level = np.minimum(np.arange(p.size) // (p.size // 128), 127)
    mass = np.bincount(level, own, 128)
    used = np.bincount(level, p > 0, 128)
    q = np.where(p > 0, (mass / np.maximum(used, 1))[level], 0.0)
    smooth = []
    for a in (p, q):
        empty = a == 0
        if empty.all():
            return np.inf
        a = np.where(empty, 1e-4, a - 1e-4 * empty.sum() / (~empty).sum())
        if (a <= 0).any():
            return np.inf
        smooth.append(a / a.sum())
    return float((smooth[0] * np.log(smooth[0] / smooth[1])).sum())


def entropy(x, width):
    """Ends and divergences of all candidates on bins of this width."""
    index = np.floor(x.ravel().astype(np.float64) / width).astype(np.int64)
    below, above = max(0, -int(index.min())), max(0, int(index.max()) + 1)
    reach = max(below, above)
    zero = reach if below else 0
    counts = np.bincount(index + zero, minlength=zero + (reach if above else 0)).astype(np.float64)
    if above:
        side = -1 if zero > 0 and counts[zero - 1] > counts[zero + 1] else 1
        beside, behind = counts[zero + side], counts[zero + 2 * side] if zero + 2 * side >= 0 else 0
        if beside > 0 and behind >= beside / 2:
            counts[zero] = min(counts[zero], beside)
    found = {}
    for i in range(64 if below and above else 128, reach + 1):
        ends = (max(float(x.min()), -i * width) if below else float(x.min()), min(float(x.max()), i * width) if above else float(x.max()))
        found[i] = (divergence(counts, zero - i if below else 0, zero + i if above else counts.size), ends)
    return found


def check(path, data, entry, folder):
    model = onnx.load(path)
    feed = feed_of(model, data, entry)
    nodes = [n for n in model.graph.node if n.op_type in ("Relu", "Conv", "Gemm", "Add", "MatMul")]
    names = [n.output[0] for n in nodes[::max(1, len(nodes) // VALUES)]][:VALUES]
    source = data
    if entry is not None:
        source = pathlib.Path(folder, "data.json")
        source.write_text(json.dumps({"file": str(data), "inputs": {next(iter(feed)): entry}}), encoding="utf-8")
    lines = subprocess.run([TOOL, path, source, str(SAMPLES), str(BATCH), *names], check=True, capture_output=True, text=True).stdout
    ours = [json.loads(line) for line in lines.splitlines()]
    for name, x in activations(model, names, feed).items():
        mine = next(o for o in ours if o["name"] == name)
        width, span = mine["width"], float(x.max() - x.min())
        near = 1e-5 * span  # activations of two programs
        assert abs(mine["minmax"][0] - x.min()) <= near and abs(mine["minmax"][1] - x.max()) <= near, f"{name}: minmax {mine['minmax']}"
        one_bin = collector("entropy", False, 128, x)
        assert np.allclose(one_bin, (x.min(), x.max())), f"{name}: ONNX Runtime's entropy with its own 128 bins gives {one_bin}"
        theirs = collector("percentile", False, 2048, x)
        their_width = 2 * float(np.abs(x).max()) / 2048
        for end in (0, 1):
            wrong = abs(mine["percentile"][end] - theirs[end])
            assert wrong <= width + their_width + near, f"{name}: percentile {mine['percentile']}, ONNX Runtime {theirs}, bins of {width}"
        candidates = entropy(x, width)
        best = min(d for d, _ in candidates.values())
        here = [d for d, e in candidates.values() if max(abs(e[0] - mine["entropy"][0]), abs(e[1] - mine["entropy"][1])) <= width + near]
        assert here and min(here) <= best * 1.01 + 1e-9, f"{name}: entropy {mine['entropy']}: {here} of least {best}"
        print(f"{label(path)} {name}: [{x.min():.4g}, {x.max():.4g}] percentile [{mine['percentile'][0]:.4g}, {mine['percentile'][1]:.4g}] "
              f"(ONNX Runtime [{theirs[0]:.4g}, {theirs[1]:.4g}]), mse [{mine['mse'][0]:.4g}, {mine['mse'][1]:.4g}], "
              f"entropy [{mine['entropy'][0]:.4g}, {mine['entropy'][1]:.4g}]")


def main():
    run = 0
    with tempfile.TemporaryDirectory() as folder:
        for path, data, entry in CASES:
            if path.exists() and data.exists():
                check(path, data, entry, folder)
                run += 1
    if run == 0:
        print("no network is here")
        sys.exit(77)


main()
