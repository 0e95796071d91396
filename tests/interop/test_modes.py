"""Every mode and form of quantization on real networks: onnx accepts the file, ONNX Runtime loads it, and pare and ONNX Runtime choose the
same class on 99.9 % of the samples, two best scores within two steps of 1/255 of the range counting as one; what `pare lint` says will run
as integers does in ONNX Runtime's optimized model."""
import json
import os
import pathlib
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime

from common import DIGITS, ZOO, label, pare
from quantized import judge

MNIST = {"array": "image", "scale": 1 / 255, "expand": [1]}
SAMPLES = 400
# network, calibration file, evaluation file, entry of the data section, input; None: noise that fits
ROWS = [
    (DIGITS / "digits.onnx", DIGITS / "calib.npz", DIGITS / "test.npz", "image", {"array": "image"}),
    (ZOO / "mnist/lenet5.onnx", ZOO / "mnist/train.npz", ZOO / "mnist/test.npz", "image", MNIST),
    (ZOO / "kws/dscnn_nhwc.onnx", ZOO / "kws/calib.npz", ZOO / "kws/dev.npz", "input", {"array": "mfcc"}),
    (ZOO / "charlm/shakespeare_lstm.onnx", None, None, None, None),
    (ZOO / "stories260k/stories260K.onnx", ZOO / "stories260k/calib.npz", ZOO / "stories260k/stories.npz", "tokens", {"array": "tokens"}),
]
# options, needs data
MODES = [
    ("--mode=static", True), ("--mode=static --format=qoperator", True), ("--mode=static --activations=int8", True),
    ("--mode=static --target=gpu", True), ("--mode=static --reduce-range=true", True), ("--mode=static --block=tensor", True),
    ("--mode=dynamic", False), ("--mode=dynamic --block=tensor", False), ("--mode=weights", False),
    ("--mode=weights --bits=4 --block=32", False),
    ("--mode=weights --bits=4 --block=32 --format=nbits", False), ("--mode=weights --bits=2 --block=32 --format=nbits", False),
    ("--mode=weights --bits=3 --block=tensor", False),
]
INTEGER = {"QLinearConv", "QGemm", "QLinearMatMul", "MatMulIntegerToFloat", "ConvInteger", "MatMulInteger", "DynamicQuantizeMatMul",
           "DynamicQuantizeLSTM"}


def section(folder, name, file, array, entry, first):
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"file": str(file), "inputs": {array: entry}, "first": first}))
    return path


def feeds_of(row, rng):
    _, _, evaluation, array, entry = row
    if evaluation is None:
        states = {n: np.zeros((1, 8, 128), np.float32) for n in ("h0_in", "c0_in", "h1_in", "c1_in")}
        return {"tokens": rng.integers(0, 60, (16, 8)), **states}
    x = np.load(evaluation)[entry["array"]][:SAMPLES]
    if "scale" in entry:
        x = x.astype(np.float32) * np.float32(entry["scale"])
    for axis in entry.get("expand", []):
        x = np.expand_dims(x, axis)
    return {array: x if x.dtype == np.int64 else x.astype(np.float32)}


def session(path, optimized, plain):
    options = onnxruntime.SessionOptions()
    if plain:  # made for no x86: one float operator after another, nothing saturates
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")  # activations stay floats inside a MatMulNBits
    options.optimized_model_filepath = str(optimized)
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def check(row, mode, feeds, folder):
    network, calibration, _, array, entry = row
    written, optimized, given, made = (folder / n for n in ("out.onnx", "optimized.onnx", "in.npz", "made.npz"))
    first = 16 if "stories" in str(network) else 100
    data = ["--data", section(folder, "calib", calibration, array, entry, first)] if "static" in mode else []
    pare("pass", "quantize", *mode.split(), *data, network, "-o", written, "-q", "--no-measure")
    problems = []
    try:
        onnx.checker.check_model(str(written))
    except onnx.checker.ValidationError as e:
        problems.append(str(e).splitlines()[0])
    run = session(written, optimized, "gpu" in mode)
    names = [o.name for o in run.get_outputs()]
    want = dict(zip(names, run.run(None, {i.name: feeds[i.name] for i in run.get_inputs()})))
    np.savez(given, **feeds)
    batch = 8 if network.parent.name == "charlm" else len(next(iter(feeds.values())))  # grids found at run time are those of a batch
    pare("infer", written, "--data", given, "-o", made, f"--batch={batch}")
    with np.load(made) as got:
        same, db = judge(want[names[0]], got[names[0]])
    if same < 0.999:
        problems.append(f"same top-1 on {same:.2%} only")
    said = json.loads(pare("lint", "--json", written))
    kinds = [n.op_type for n in onnx.load(optimized, load_external_data=False).graph.node]
    found = sum(k in INTEGER for k in kinds)
    if "weights" not in mode and "gpu" not in mode and found < said["integer_layers"]:
        problems.append(f"lint says {said['integer_layers']} integer layers, ONNX Runtime runs {found}")
    if "weights" not in mode and said["integer_layers"] == 0:
        problems.append("nothing runs as integers")
    print(f"{label(network)} {mode}: {said['integer_layers']} of {said['layers']} layers as integers, {db:.1f} dB between the two, top-1 "
          f"{same:.2%}, {written.stat().st_size / network.stat().st_size:.1%} of the file" + "".join("; " + p for p in problems))
    return not problems


def main():
    rows = [r for r in ROWS if r[0].exists()]
    fine, rng = True, np.random.default_rng(3)
    only = os.environ.get("ONLY", "")
    for row in rows:
        if only not in str(row[0]):
            continue
        feeds = feeds_of(row, rng)
        for mode, needs_data in MODES:
            if needs_data and row[1] is None:
                continue
            with tempfile.TemporaryDirectory() as folder:
                try:
                    fine &= check(row, mode, feeds, pathlib.Path(folder))
                except Exception as e:  # one row's trouble is no reason not to see the others
                    print(f"{label(row[0])} {mode}: {str(e)[:300]}")
                    fine = False
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
