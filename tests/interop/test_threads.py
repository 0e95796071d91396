"""One thread and two give the same bytes: outputs of the example and of every network beside the project, in float32 and quantized by pare, with
the fast kernels and the plain ones; and the files that the passes write. Where they may differ stands in DIFFER, with the reason, and in
docs/design.md ("Threads")."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import helper

from common import PARE, SIMPLE, ZOO, label, networks
from fuzz_graphs import Server

BATCH = 2
INTEGERS = {"sr": 16000}
SLOW = ["imagenet/mobilenet_v2.onnx", "superres/super_resolution_10.onnx", "detect/ultraface_rfb_320.onnx", "detect/yunet_n_320.onnx",
        "cifar10/resnet56_bn.onnx"]  # for the plain kernels
TWINS = ["cifar10/resnet20.onnx", "speech/silero_vad.onnx"]  # their sisters with BatchNormalization and without If are compared
DIFFER = {}  # path: (reason, by how much of an output's largest value); none does
PASSES = [("prune", ["--sparsity=0.5"]), ("quantize", []), ("lowrank", ["--ratio=0.5"]), ("fold", [])]
PASSES_ON = ["digits.onnx", "mnist/lenet5.onnx", "mnist/lenet300.onnx", "kws/dscnn_nhwc.onnx", "cifar10/resnet8_nhwc.onnx",
             "stories260k/stories260K.onnx"]
REAL = {"mnist/lenet300.onnx": {"file": str(ZOO / "mnist" / "train.npz"), "first": 500,
                                "inputs": {"image": {"array": "image", "scale": 1 / 255, "expand": [1]}}}}  # columns enough for targets


def noise(path, count):
    """Seeded inputs for open or fixed shapes; open dimensions that are not first get 16."""
    model = onnx.load(path)
    held, random, made, sizes = {t.name for t in model.graph.initializer}, np.random.default_rng(1), {}, {}
    for i in model.graph.input:
        t = i.type.tensor_type
        if i.name in held:
            continue
        dims = [d.dim_value if d.dim_value > 0 else sizes.setdefault(d.dim_param or k, 16 if k else count) for k, d in enumerate(t.shape.dim)]
        if "silero" in path.name:
            dims = {"input": [1, 576], "state": [2, 1, 128], "sr": []}[i.name]
        if "shakespeare" in path.name:
            dims = {"tokens": [16, 1]}.get(i.name, [1, 1, 128])
        dtype = helper.tensor_dtype_to_np_dtype(t.elem_type)
        values = random.standard_normal(dims) if dtype.kind == "f" else random.integers(0, 50, dims)
        made[i.name] = np.full(dims, INTEGERS[i.name], dtype) if i.name in INTEGERS else values.astype(dtype)
    return made


def run_pass(name, options, source, data, out, threads):
    done = subprocess.run([PARE, "pass", name, *options, source, "-o", out, "-q", "--no-measure", "--no-cache", f"--threads={threads}",
                           *(["--data", data] if name == "quantize" else [])], capture_output=True, text=True, check=False,
                          env={**os.environ, "GOMP_SPINCOUNT": "1000"})
    return done.returncode, done.stderr.strip()[-200:]


def compare(server, model, feeds, name):
    """What differs between one thread and two."""
    faults = []
    for plain in (False,) if name.split()[0] in SLOW else (False, True):
        one, two = (server.run(model, [feeds], plain, threads)[1] for threads in (1, 2))
        if one[0] != 0 or two[0] != 0:
            faults.append(f"{name}: {one[:2]}, {two[:2]}")
            continue
        other = [n for n in one[2] if one[2][n].tobytes() != two[2][n].tobytes()]
        if other:
            worst = max(np.max(np.abs(one[2][n].astype(np.float64) - two[2][n])) / max(np.max(np.abs(one[2][n])), 1e-30) for n in other)
            if name in DIFFER and worst <= DIFFER[name][1]:
                print(f"{name}: {worst:.2g} of the largest, from {DIFFER[name][0]}")
                continue
            faults.append(f"{name} {'plain' if plain else 'fast'}: {len(other)} of {len(one[2])} outputs differ, by up to {worst:.3g} of the largest")
    return faults


def main():
    server, faults, compared, integers, written = Server(seconds=120), [], 0, 0, 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        for path in networks():
            name = label(path)
            if name in TWINS:
                continue
            feeds = noise(path, BATCH)
            data = folder / "data"  # each file a sample of its own: adjacency matrices and states have no axis of samples
            data.mkdir(exist_ok=True)
            np.savez(data / "0.npz", **feeds)
            faults += compare(server, path.read_bytes(), feeds, name)
            code, said = run_pass("quantize", SIMPLE, path, data, folder / "int8.onnx", 1)
            if code == 0:
                faults += compare(server, (folder / "int8.onnx").read_bytes(), feeds, name + " in int8")
            else:
                print(f"{name}: not quantized: {said}")
            compared += 1
            integers += code == 0
            if name not in PASSES_ON:
                continue
            if name in REAL:
                data = folder / "real.json"
                data.write_text(json.dumps(REAL[name]))
            for step, options in PASSES:
                codes = [run_pass(step, options, path, data, folder / f"{threads}.onnx", threads) for threads in (1, 2)]
                if any(c for c, _ in codes):
                    print(f"{name}: pass {step}: {codes[0][0]}: {codes[0][1]}")
                    continue
                written += 1
                if (folder / "1.onnx").read_bytes() != (folder / "2.onnx").read_bytes():
                    faults.append(f"{name}: pass {step} writes other bytes")
    server.close()
    print("\n".join(faults))
    print(f"{compared} networks, {integers} of them in int8 too, and {written} files of passes compared, {len(faults)} differ where they should not")
    return 1 if faults or integers == 0 or written == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
