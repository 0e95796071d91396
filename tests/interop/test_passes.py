"""What the passes did, checked with numpy, scipy and ONNX Runtime: which weights prune sets to zero, the error lowrank leaves, the targets
distill writes, and every figure of `pare eval`."""
import atexit
import hashlib
import json
import math
import pathlib
import shutil
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx import numpy_helper
from scipy.special import log_softmax, softmax
from scipy.stats import norm

from common import DIGITS, ZOO, label, pare

TEMP = pathlib.Path(tempfile.mkdtemp())
atexit.register(shutil.rmtree, TEMP)
LENET = ZOO / "mnist" / "lenet300.onnx"


def weights(path):
    """Every initializer by name."""
    return {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}


def layer_weights(path):
    """Names of the weights of Conv, Gemm and MatMul, in the order of the nodes."""
    graph = onnx.load(path).graph
    constants = {t.name for t in graph.initializer}
    names = [n.input[1] for n in graph.node if n.op_type in ("Conv", "Gemm", "MatMul") and n.input[1] in constants]
    return list(dict.fromkeys(names))


def run(path, feeds, output=0):
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: feeds[i:i + 100]})[output] for i in range(0, len(feeds), 100)])


def run_pass(name, *options, model, data=None):
    out = TEMP / f"{name}.onnx"
    pare("pass", name, *options, "--no-measure", "-q", *(["--data", data] if data else []), model, "-o", out)
    onnx.checker.check_model(str(out), full_check=True)
    return out


# ---- prune ----

def smallest(values, sparsity):
    """Mask of the floor(sparsity n) smallest magnitudes, equal ones in order."""
    count = math.floor(sparsity * values.size + 1e-6)
    gone = np.zeros(values.size, bool)
    gone[np.argsort(np.abs(values.ravel()), kind="stable")[:count]] = True
    return gone


def check_prune(model):
    before, names = weights(model), layer_weights(model)
    for sparsity in (0, 0.3, 0.8, 1):
        by_layer = weights(run_pass("prune", f"--sparsity={sparsity}", model=model))
        overall = weights(run_pass("prune", f"--sparsity={sparsity}", "--scope=global", model=model))
        flat = np.concatenate([before[n].ravel() for n in names])
        gone = smallest(flat, sparsity)
        at = 0
        for n in names:
            w = before[n]
            expected = np.where(smallest(w, sparsity), 0, w.ravel()).reshape(w.shape)
            assert np.array_equal(by_layer[n], expected), f"{model.name}, {n}: not the smallest {sparsity} of the layer"
            expected = np.where(gone[at:at + w.size], 0, w.ravel()).reshape(w.shape)
            assert np.array_equal(overall[n], expected), f"{model.name}, {n}: not the smallest {sparsity} of all"
            at += w.size
        for n in before:
            assert n in names or np.array_equal(before[n], by_layer[n]), f"{n} was changed"
    return f"prune: {label(model)}: masks equal numpy's in {len(names)} layers"


# ---- lowrank ----

def check_lowrank(model, energy):
    before, after = weights(model), weights(run_pass("lowrank", f"--energy={energy}", model=model))
    split = 0
    for n in layer_weights(model):
        w = before[n].astype(np.float64)
        if w.ndim > 2 and max(w.shape[2:]) > 1:
            assert np.array_equal(after[n], before[n]), f"{n} is no matrix and was changed"
            continue
        w = w.reshape(w.shape[0], w.shape[1])
        squares = np.linalg.svd(w, compute_uv=False) ** 2
        rank = int(np.searchsorted(np.cumsum(squares) / squares.sum(), energy) + 1)
        if rank * sum(w.shape) >= w.size:
            assert np.array_equal(after[n], before[n]), f"{n} does not pay at rank {rank} and was changed"
            continue
        u, v = (after[f"{n}.{s}"].astype(np.float64) for s in "uv")
        u, v = u.reshape(u.shape[:2]), v.reshape(v.shape[:2])
        product = u @ v if u.shape[0] == w.shape[0] else v @ u
        assert min(u.shape[0], u.shape[1], v.shape[0], v.shape[1]) == rank, f"{n}: rank of {u.shape} {v.shape}, expected {rank}"
        error, tail = np.linalg.norm(product - w) / np.linalg.norm(w), math.sqrt(squares[rank:].sum() / squares.sum())
        assert abs(error - tail) < 1e-5, f"{n}: error {error}, the spectrum's tail is {tail}"
        split += 1
    assert split > 0
    return f"lowrank: {label(model)}: {split} layers in two, errors equal the spectra's tails"


# ---- eval ----

def wilson(correct, samples):
    z, p = norm.ppf(0.975), correct / samples
    centre, half = p + z * z / (2 * samples), z * math.sqrt(p * (1 - p) / samples + z * z / (4 * samples ** 2))
    return (centre - half) / (1 + z * z / samples), (centre + half) / (1 + z * z / samples)


def close(got, expected, tolerance, what):
    assert abs(got - expected) <= tolerance, f"{what}: {got}, expected {expected}"


def check_eval(model, reference, data, x, y):
    got = json.loads(pare("eval", model, "--data", data, "--reference", reference, "--json"))
    b, a = run(model, x).astype(np.float64), run(reference, x).astype(np.float64)
    correct = int((b.argmax(-1) == y).sum())
    assert got["samples"] == len(y)
    close(got["accuracy"], correct / len(y), 1e-12, "accuracy")
    low, high = wilson(correct, len(y))
    close(got["low"], low, 1e-9, "low")
    close(got["high"], min(high, 1), 1e-9, "high")
    close(got["cross_entropy"], -log_softmax(b, -1)[np.arange(len(y)), y].mean(), 1e-4, "cross_entropy")
    f = next(iter(got["outputs"].values()))
    close(f["sqnr_db"], 10 * math.log10((a ** 2).sum() / ((a - b) ** 2).sum()), 1e-2, "sqnr_db")
    close(f["cosine"], np.mean((a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)), 1e-5, "cosine")
    close(f["max_abs"], np.abs(a - b).max(), 1e-3, "max_abs")
    close(f["top1_agreement"], (a.argmax(-1) == b.argmax(-1)).mean(), 1e-12, "top1_agreement")
    return f"eval: {label(model)} against {label(reference)}: accuracy {got['accuracy']:.4f}, all figures equal ONNX Runtime's"


# ---- distill ----

def check_distill(model, data, x):
    other = run_pass("prune", "--sparsity=0.3", model=model)
    targets, temperature = TEMP / "targets.npz", 3.0
    out = run_pass("distill", f"--temperature={temperature}", f"--targets={targets}", f"--teacher={model},{other}", "--weights=2,1",
                   model=model, data=data)
    z, a, b = np.load(targets), run(model, x).astype(np.float64), run(other, x).astype(np.float64)
    assert np.abs(z["logits"] - (2 * a + b) / 3).max() < 1e-4
    expected = (2 * softmax(a / temperature, -1) + softmax(b / temperature, -1)) / 3
    assert np.abs(z["probabilities"] - expected).max() < 1e-5
    assert z["probabilities"].dtype == np.float32 and float(z["temperature"]) == temperature and float(z["samples"]) == len(x)
    for i, file in enumerate((model, other)):
        assert bytes(z[f"teacher_{i}_sha256"]).decode() == hashlib.sha256(file.read_bytes()).hexdigest()
    assert len(bytes(z["data_sha256"])) == 64
    assert weights(out).keys() == weights(model).keys() and all(np.array_equal(weights(out)[n], w) for n, w in weights(model).items())
    run_pass("distill", f"--temperature={temperature}", f"--targets={targets}", "--top-k=4", model=model, data=data)
    z = np.load(targets)
    order = np.argsort(-softmax(a / temperature, -1), axis=-1, kind="stable")[:, :4]
    picked = z["top_indices"].astype(int)
    assert np.abs(np.take_along_axis(a, picked, -1) - np.take_along_axis(a, order, -1)).max() < 1e-4
    assert np.abs(z["top_probabilities"] - np.take_along_axis(softmax(a / temperature, -1), order, -1)).max() < 1e-5
    return "distill: ensemble and top-k equal scipy's softmax of ONNX Runtime's logits"


# ---- the report's figures, from the file ----

def check_report(model):
    """lenet300, magnitude 80 % per layer, then int8: what the report says is what ONNX Runtime measures from the file."""
    section = {"file": str(ZOO / "mnist" / "test.npz"), "label": "label",
               "inputs": {"image": {"array": "image", "scale": 1 / 255, "expand": [1]}}}
    calibration = {**section, "file": str(ZOO / "mnist" / "train.npz"), "first": 500, "label": None}
    recipe = {"data": {"calibration": calibration, "evaluation": section},
              "passes": [{"pass": "prune", "method": "magnitude", "scope": "layer", "sparsity": 0.8}, {"pass": "quantize"}]}
    (TEMP / "recipe.json").write_text(json.dumps(recipe))
    out = TEMP / "small.onnx"
    report = json.loads(pare("run", TEMP / "recipe.json", model, "-o", out, "--json"))
    onnx.checker.check_model(str(out), full_check=True)
    z = np.load(ZOO / "mnist" / "test.npz")
    x, y = (z["image"] * np.float32(1 / 255)).astype(np.float32)[:, None], z["label"]
    correct = int((run(out, x).argmax(-1) == y).sum())
    accuracy = report["after"]["accuracy"]
    accuracy = accuracy["accuracy"] if isinstance(accuracy, dict) else accuracy
    close(accuracy, correct / len(y), 1e-12, "accuracy of the report")
    stored = weights(out)
    quantized = [w for n, w in stored.items() if w.dtype == np.int8]
    zeros = sum(int((w == 0).sum()) for w in quantized) / sum(w.size for w in quantized)
    assert zeros >= 0.8 - 1e-4, f"{zeros} of the int8 weights are zero"
    return f"report: {label(model)} at 80 % and int8: accuracy {accuracy:.4f} in both, {100 * zeros:.2f} % zeros"


def main():
    test = np.load(DIGITS / "test.npz")
    digits = DIGITS / "digits.onnx"
    done = [check_prune(digits), check_lowrank(digits, 0.9)]
    pruned = run_pass("prune", "--sparsity=0.75", model=digits)
    done.append(check_eval(pruned, digits, DIGITS / "test.npz", test["image"], test["label"]))
    done.append(check_distill(digits, DIGITS / "calib.npz", np.load(DIGITS / "calib.npz")["image"]))
    if LENET.exists():
        done += [check_prune(LENET), check_lowrank(LENET, 0.95), check_report(LENET)]
    else:
        done.append("lenet300 is not here: its part was left out")
    print("\n".join(done))


main()
