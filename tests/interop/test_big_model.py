#!/usr/bin/env python3
"""Makes networks of 1 GB and checks the peak resident memory (VmHWM) of loading and saving them.

Three files: 100 tensors, a single tensor, and 100 tensors beside the model. The limit is 1.3 times the file; with the data outside,
a tenth of it. The files are written directly, without building the model in memory."""
import argparse
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import onnx
from onnx import TensorProto, helper

from common import PARE


def varint(n):
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def block(seed, size):
    """Bytes that differ from tensor to tensor and do not compress to nothing."""
    unit = hashlib.sha256(str(seed).encode()).digest() * 2048
    return (unit * (size // len(unit) + 1))[:size]


def tensor_head(name, count):
    return TensorProto(name=name, dims=[count], data_type=TensorProto.FLOAT).SerializeToString()


def graph_without_weights(tensors):
    """x + w0 + w1 ...: as small as a network with that many weights can be."""
    nodes = [helper.make_node("Sum", ["x"] + [f"w{i}" for i in range(tensors)], ["y"], name="sum")]
    info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n"]) for n in ("x", "y")]
    return helper.make_graph(nodes, "big", info[:1], info[1:])


def write_model(path, tensors, total, external):
    count = total // tensors // 4
    model = helper.make_model(graph_without_weights(tensors), opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    if external:
        with open(path + ".data", "wb") as data:
            for i in range(tensors):
                t = TensorProto(name=f"w{i}", dims=[count], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
                for key, value in (("location", os.path.basename(path) + ".data"), ("offset", data.tell()), ("length", count * 4)):
                    t.external_data.add(key=key, value=str(value))
                data.write(block(i, count * 4))
                model.graph.initializer.append(t)
        pathlib.Path(path).write_bytes(model.SerializeToString())
        return
    graph = model.graph.SerializeToString()
    heads = [tensor_head(f"w{i}", count) for i in range(tensors)]
    raw = b"\x4a" + varint(count * 4)
    sizes = [len(h) + len(raw) + count * 4 for h in heads]
    total_graph = len(graph) + sum(1 + len(varint(s)) + s for s in sizes)
    model.ClearField("graph")
    with open(path, "wb") as f:
        f.write(model.SerializeToString() + b"\x3a" + varint(total_graph) + graph)
        for i, head in enumerate(heads):
            f.write(b"\x2a" + varint(sizes[i]) + head + raw)
            f.write(block(i, count * 4))


def peak_of(command):
    """Peak resident bytes of one child process."""
    script = ("import resource, subprocess, sys; r = subprocess.run(sys.argv[1:]); "
              "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(r.returncode)")
    run = subprocess.run([sys.executable, "-c", script, *command], capture_output=True, text=True)
    if run.returncode != 0:
        raise SystemExit(f"big_model: {' '.join(command)}: exit {run.returncode}: {run.stderr.strip()}")
    return int(run.stdout.split()[-1]) * 1024


def same_weights(a, b):
    """Both files hold the same tensors; for small ones, as everything is loaded."""
    x, y = onnx.load(a).graph.initializer, onnx.load(b).graph.initializer
    return len(x) == len(y) and all(s.name == t.name and s.raw_data == t.raw_data for s, t in zip(x, y))


CASES = (("100 tensors", 100, False, 1.3), ("1 tensor", 1, False, 1.3), ("100 tensors outside", 100, True, 0.1))
PROGRAM = 32 << 20  # what the program takes whatever the file: code, libraries, buffers


def command(args, folder, source, target):
    if args.pare is None:
        return [args.tool, source, target]
    recipe = pathlib.Path(folder, "recipe.json")
    recipe.write_text('{ "passes": [] }')
    return [args.pare, "run", str(recipe), source, "-o", target, "-q"]


def run_case(args, megabytes, label, tensors, external, limit):
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        source, target = os.path.join(folder, "big.onnx"), os.path.join(folder, "again.onnx")
        write_model(source, tensors, megabytes << 20, external)
        peak = peak_of(command(args, folder, source, target))
        size = sum(p.stat().st_size for p in pathlib.Path(folder).glob("big.onnx*"))
        written = sum(p.stat().st_size for p in pathlib.Path(folder).glob("again.onnx*"))
        problem = ""
        if peak > limit * size + PROGRAM:
            problem += f"  OVER {limit} times the file"
        if abs(written - size) > 4096 * tensors:
            problem += f"  {written} bytes written"
        if megabytes <= 64 and not same_weights(source, target):
            problem += "  weights differ"
        print(f"big_model: {label}: file {size / 1e6:.0f} MB, peak {peak / 1e6:.1f} MB, ratio {peak / size:.3f}{problem}")
        return not problem


def main():
    if shutil.disk_usage(tempfile.gettempdir()).free < 5 << 30:
        print("less than 5 GB free for temporary files")
        return 77
    args = argparse.Namespace(pare=PARE, tool=None, folder=None)
    results = [run_case(args, megabytes, *case) for megabytes in (16, 1024) for case in CASES]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
