"""What pare does to each network of the table."""

import collections
import json
import os
import pathlib
import subprocess
import tempfile
import time

import numpy as np
import onnx
from onnx import numpy_helper

from networks import ROOT, data_file, model_of

PARE = os.environ.get("PARE", str(pathlib.Path(os.environ.get("BUILD", ROOT / "build")) / "pare"))
Row = collections.namedtuple("Row", "name make engines")
ALL = ["ort", "exact", "pare"]
SEEDS = (1, 2, 3)


def call(*arguments):
    done = subprocess.run([PARE, *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"exit {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def run_pare(model, data, net, name, folder):
    """An output of the network in pare's engine."""
    out = pathlib.Path(folder) / "out.npz"
    call("infer", model, "--data", data, "-o", out, "--threads=1", f"--batch={1 if net.kind == 'chars' else net.batch}", "-q")
    with np.load(out) as found:
        return found[name]


def quantize(net, cache, out, options, seed=None, source=None, layers=()):
    """Seconds that `pare run` took, calibration included."""
    settings = {"pass": "quantize", "samples": 0, **options}
    if layers:
        settings["layers"] = list(layers)
    recipe = {"passes": [settings]}
    if net.kind != "chars":
        recipe["data"] = {"calibration": str(data_file(net, cache, "calibration", seed))}
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "recipe.json"
        file.write_text(json.dumps(recipe))
        started = time.perf_counter()
        call("run", file, source or model_of(net, cache), "-o", out, "--force", "--no-measure", "--no-cache", "--threads=1", "-q")
        return time.perf_counter() - started


def plain(name, options, seed=None, layers=(), engines=None):
    return Row(name, lambda net, cache, out: quantize(net, cache, out, options, seed, None, layers), engines or ALL)


def rescaled(net, cache, seed):
    """resnet20_bn with the channels between the convolutions of each block multiplied by 10^U[-2, 2]: the same function."""
    path = cache / "scaled" / f"{net.key}-{seed}.onnx"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    random, model = np.random.default_rng(seed), onnx.load(str(model_of(net, cache)))
    tensors = {t.name: t for t in model.graph.initializer}
    readers = collections.defaultdict(list)
    for node in model.graph.node:
        for name in node.input:
            readers[name].append(node)

    def multiply(name, factor):
        value = numpy_helper.to_array(tensors[name])
        tensors[name].CopyFrom(numpy_helper.from_array((value * factor).astype(value.dtype), name))

    for node in model.graph.node:
        chain, last = [node], node
        while last.op_type != "Conv" or last is node:
            following = readers[last.output[0]]
            if node.op_type != "Conv" or len(following) != 1 or following[0].op_type not in ("BatchNormalization", "Relu", "Conv"):
                break
            last = following[0]
            chain.append(last)
        kinds = [n.op_type for n in chain]
        if len(chain) < 3 or kinds[-1] != "Conv" or "Relu" not in kinds:
            continue
        factor = 10 ** random.uniform(-2, 2, tensors[node.input[1]].dims[0])
        normal = next((n for n in chain if n.op_type == "BatchNormalization"), None)
        if normal is not None:  # through its scale and shift: its epsilon would tell scaled statistics apart
            multiply(normal.input[1], factor)
            multiply(normal.input[2], factor)
        else:
            multiply(node.input[1], factor[:, None, None, None])
            if len(node.input) > 2:
                multiply(node.input[2], factor)
        multiply(chain[-1].input[1], 1 / factor[None, :, None, None])
    onnx.save(model, str(path))
    return path


def scaled_row(name, seed, options):
    return Row(
        name, lambda net, cache, out: quantize(net, cache, out, options, None, rescaled(net, cache, seed) if seed else None), ["ort"]
    )


def seeds(bits):
    return [plain(f"weights {bits} bits, seed {s}", {"mode": "weights", "bits": bits}, s, (), ["ort"]) for s in SEEDS]


def equalized():
    repairs = {"equalize": ["equalize"], "equalize, bias": ["equalize", "bias"]}
    rows = []
    for name, list_ in repairs.items():
        for seed in (0, 1, 2):
            what = f"channels scaled, seed {seed}" if seed else "channels as they are"
            rows.append(scaled_row(f"per tensor, {name}; {what}", seed, {"mode": "weights", "block": "tensor", "repairs": list_}))
    return rows


def rows(net):
    """Every row of pare's for the network; the first is the default."""
    if net.kind == "chars":
        return [
            plain("dynamic", {"mode": "dynamic"}),
            plain("weights 8 bits", {"mode": "weights"}),
            plain("weights 4 bits, blocks of 32", {"mode": "weights", "bits": 4, "block": "32"}),
        ]
    made = [plain("default", {}), plain("minmax, no repairs", {"calibration": "minmax", "repairs": ["none"]})]
    if net.kind == "embed":
        return made + [
            plain("weights 8 bits", {"mode": "weights"}),
            plain("dynamic", {"mode": "dynamic"}),
            plain("MatMul only", {"ops": ["MatMul"]}),
            plain("weights 4 bits, blocks of 32", {"mode": "weights", "bits": 4, "block": "32"}),
            plain("weights 4 bits, blocks of 32, MatMulNBits", {"mode": "weights", "bits": 4, "block": "32", "format": "nbits"}),
        ]
    made += [plain("weights 8 bits", {"mode": "weights"})]
    if net.kind == "text":
        head = [{"match": "/MatMul_45", "skip": True}]
        made += [plain("outputs of products quantized, too", {"outputs": True})]
        made += [plain("MatMul only", {"ops": ["MatMul"]}), plain("dynamic", {"mode": "dynamic"})]
        for bits in (4, 3):
            made.append(plain(f"weights {bits} bits, blocks of 32", {"mode": "weights", "bits": bits, "block": "32"}))
            made.append(
                plain(f"weights {bits} bits, blocks of 32, without the head", {"mode": "weights", "bits": bits, "block": "32"}, None, head)
            )
        made.append(plain("weights 4 bits, blocks of 32, MatMulNBits", {"mode": "weights", "bits": 4, "block": "32", "format": "nbits"}))
    if net.key in ("resnet20_bn", "kws"):
        for how, repairs in (("nearest", ["none"]), ("H-aware rounding", ["gptq"])):
            for bits, target, kind in ((8, "x86-avx2", "portable"), (8, "x86-vnni", "free"), (7, "x86-vnni", "7 bits")):
                options = {"mode": "weights", "bits": bits, "target": target, "repairs": repairs}
                made.append(plain(f"weights alone: {kind}, {how}", options, None, (), ["ort"]))
    if net.key == "resnet20_bn":
        made += [*seeds(4), *seeds(3), *seeds(2), *equalized()]
    if net.key == "lenet300":
        made += [*seeds(3), *seeds(2)]
    if net.key == "lenet5":
        made += seeds(2)
    return made
