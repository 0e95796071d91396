"""The networks that benchmarks measure: where they are, what they are fed, and how outputs are judged. Data come from $PARE_ZOO, prepared
once as .npz files named as the network's inputs, so that every tool reads the same numbers."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime

ROOT = pathlib.Path(__file__).resolve().parents[1]
ZOO = pathlib.Path(os.environ.get("PARE_ZOO", ROOT.parent / "shared" / "zoo"))
MEAN, STD = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
CHARS, STREAMS = 100_000, 100  # of the text: that many characters in so many pieces


def unit(x):
    return x.astype(np.float32)[:, None] / np.float32(255)


def plain(x):
    return x.astype(np.float32)


def channel(x):
    return x.astype(np.float32)[:, None]


def normal(x):
    return np.ascontiguousarray(((x.astype(np.float32) / np.float32(255) - MEAN) / STD).transpose(0, 3, 1, 2))


@dataclasses.dataclass(frozen=True)
class Network:
    """kind: classify, text, embed or chars. `calibration`: file and how many samples from its first; `skip`: samples at the start of the
    evaluation file that calibration has used."""

    key: str
    path: str
    kind: str
    input: str = ""
    array: str = ""
    prepare: object = plain
    calibration: tuple = ("", 0)
    evaluation: str = ""
    skip: int = 0
    batch: int = 50


def cifar(key, prepare):
    return Network(key, f"cifar10/{key}.onnx", "classify", "input", "image", prepare, ("cifar10/train20k.npz", 500), "cifar10/dev.npz")


def mnist(key, name, prepare, batch=50):
    return Network(key, f"mnist/{key}.onnx", "classify", name, "image", prepare, ("mnist/train.npz", 500), "mnist/test.npz", 0, batch)


PICTURES, STORIES = "imagenet/sample300.npz", "stories260k"
NETWORKS = {
    n.key: n
    for n in [
        cifar("resnet20_bn", normal),
        cifar("resnet56_bn", normal),
        cifar("resnet8_nhwc", plain),
        mnist("lenet5", "image", unit),
        mnist("lenet300", "image", unit),
        mnist("mnist_8", "Input3", channel, 1),
        Network("kws", "kws/dscnn_nhwc.onnx", "classify", "input", "mfcc", plain, ("kws/calib.npz", 200), "kws/dev.npz"),
        Network("mobilenet_v2", "imagenet/mobilenet_v2.onnx", "classify", "input", "image", normal, (PICTURES, 60), PICTURES, 60, 10),
        Network(
            "stories260K",
            f"{STORIES}/stories260K.onnx",
            "text",
            "tokens",
            "tokens",
            np.asarray,
            (f"{STORIES}/calib.npz", 256),
            f"{STORIES}/stories.npz",
            0,
            26,
        ),
        Network("minilm", "minilm.onnx", "embed", "input_ids", "input_ids", np.asarray, ("minilm/calib.npz", 500), "minilm/dev.npz"),
        Network("charlm", "charlm/shakespeare_lstm.onnx", "chars", "tokens"),
    ]
}


def model_of(net, cache):
    """The float network's file; minilm's is made by the script beside the zoo's networks."""
    if net.key != "minilm":
        return ZOO / net.path
    made = cache / "minilm.onnx"
    if not made.exists():
        subprocess.run([sys.executable, str(ZOO / "minilm" / "make_onnx.py"), str(made)], check=True)
    return made


def text_feeds():
    """Characters as T x STREAMS ids, zero states, and the character after each."""
    index = json.loads((ZOO / "charlm/shakespeare.vocab.json").read_text())
    text = (ZOO / "charlm/tinyshakespeare.txt").read_text()[: CHARS + 1]
    ids = np.array([index[c] for c in text], np.int64)
    feeds = {f"{s}{i}_in": np.zeros((1, STREAMS, 128), np.float32) for i in (0, 1) for s in "hc"}
    feeds["tokens"] = np.ascontiguousarray(ids[:-1].reshape(STREAMS, -1).T)
    return feeds, np.ascontiguousarray(ids[1:].reshape(STREAMS, -1).T)


def samples(net, part, seed=None):
    """(inputs by name, labels or None) of "calibration" or "evaluation". A seed draws other calibration samples of the same count."""
    if net.kind == "chars":
        return text_feeds()
    file, count = net.calibration if part == "calibration" else (net.evaluation, None)
    with np.load(ZOO / file) as stored:
        total = len(stored[net.array])
        taken = np.arange(total)[net.skip if part == "evaluation" else 0 : count]
        if seed:
            taken = np.sort(np.random.default_rng(seed).choice(total, count, replace=False))
        feeds = {net.input: net.prepare(stored[net.array][taken])}
        if net.kind == "embed":
            feeds["attention_mask"] = stored["attention_mask"][taken]
        return feeds, stored["label"][taken] if "label" in stored.files else None


def data_file(net, cache, part, seed=None):
    """The same as an .npz for pare."""
    path = cache / "data" / f"{net.key}-{part}{f'-{seed}' if seed else ''}.npz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        made = path.with_suffix(".part.npz")
        np.savez(made, **samples(net, part, seed)[0])
        made.rename(path)
    return path


def with_logits(model, folder):
    """Where the first output is a Softmax's: a copy that also gives what the Softmax reads, and that value's name; else None."""
    loaded = onnx.load(str(model))
    made = {o: n for n in loaded.graph.node for o in n.output}
    node = made[loaded.graph.output[0].name]
    while node.op_type in ("Identity", "DequantizeLinear", "QuantizeLinear") and node.input[0] in made:
        node = made[node.input[0]]
    if node.op_type != "Softmax":
        return None
    loaded.graph.output.append(onnx.helper.make_tensor_value_info(node.input[0], onnx.TensorProto.FLOAT, None))
    path = pathlib.Path(folder) / "logits.onnx"
    onnx.save(loaded, str(path))
    return path, node.input[0]


def output_name(net, model):
    return {"embed": "sentence_embedding", "chars": "logits"}.get(net.kind) or onnx.load(str(model)).graph.output[0].name


def run_runtime(model, feeds, net, name=None):
    """An output (the judged one if not named) in ONNX Runtime with its default settings, one thread."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    name = name or output_name(net, model)
    if net.kind == "chars":
        return session.run([name], feeds)[0]
    total = len(next(iter(feeds.values())))
    return np.concatenate([session.run([name], {k: v[i : i + net.batch] for k, v in feeds.items()})[0] for i in range(0, total, net.batch)])


def nats(logits, labels):
    """Mean cross entropy of the labels."""
    x = logits.reshape(-1, logits.shape[-1]).astype(np.float64)
    x = x - x.max(axis=1, keepdims=True)
    return float((np.log(np.exp(x).sum(axis=1)) - x[np.arange(len(x)), labels.reshape(-1)]).mean())


def neighbours(rows):
    similar = rows @ rows.T
    np.fill_diagonal(similar, -2)
    return similar.argmax(axis=1)


def decibels(want, got):
    """10 log10(sum a^2 / sum (a - b)^2)."""
    want, got = want.astype(np.float64).reshape(-1), got.astype(np.float64).reshape(-1)
    noise = float(((want - got) ** 2).sum())
    return 200.0 if noise == 0 else float(10 * np.log10((want**2).sum() / noise))


def judge(net, want, got, labels):
    """What the table shows of an output beside the float network's."""
    if not np.isfinite(got).all():
        return {"failed": "not finite"}
    flat, other = (x.reshape(-1, x.shape[-1]).astype(np.float64) for x in (want, got))
    if net.kind == "embed":
        unit_flat, unit_other = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (flat, other))
        return {
            "cosine": float((unit_flat * unit_other).sum(axis=1).mean()),
            "nearest": 100 * float((neighbours(unit_flat) == neighbours(unit_other)).mean()),
        }
    found = {
        "sqnr": decibels(want, got),
        "agreement": 100 * float((flat.argmax(axis=1) == other.argmax(axis=1)).mean()),
        "samples": len(flat),
    }
    if net.kind == "classify":
        found["right"] = int((other.argmax(axis=1) == labels).sum())
        found["accuracy"] = 100 * found["right"] / len(flat)
    else:
        found["nats"] = nats(got, labels)
        found["excess"] = found["nats"] - nats(want, labels)
    return found
