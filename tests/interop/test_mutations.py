"""Real networks with damage, through `pare infer` and `pare inspect`: bits flipped, bytes cut and repeated, and edits through onnx that leave a file
which parses and means something odd. Whatever comes of it is a result or one of the documented errors, in bounded time and memory.

MUTATIONS=N: that many files instead of those of the gate; MUTATIONS_FIRST=N: the first seed; MUTATIONS_PARE=PATH: another build (with
sanitizers)."""
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import AttributeProto, helper

from common import DIGITS, PARE, ZOO

COUNT = 60
SECONDS = 60
MOST_BYTES = 300_000
CODES = (0, 3, 4, 6)
ODD = [0, 1, -1, 2, 3, 7, -2, 255, 65536, 2**31 - 1, 2**31, -2**31, 2**40, 2**62, 2**63 - 1, -2**63]


def bases():
    found = [p for p in [DIGITS / "digits.onnx", *sorted(ZOO.rglob("*.onnx"))] if p.stat().st_size <= MOST_BYTES]
    return [(p.name, p.read_bytes()) for p in found]


def flip(r, data):
    """Bits anywhere, but mostly near the ends, where what is not weights stands."""
    data = bytearray(data)
    for _ in range(int(r.integers(1, 9))):
        reach = len(data) if r.random() < 0.3 else min(len(data), 3000)
        at = int(r.integers(reach))
        data[at if r.random() < 0.5 else len(data) - 1 - at] ^= 1 << int(r.integers(8))
    return bytes(data)


def cut(r, data):
    at, size = int(r.integers(len(data))), int(r.integers(1, 200))
    return [data[:at], data[:at] + data[at + size:], data[:at] + data[at:at + size] + data[at:]][int(r.integers(3))]


def pick(r, items):
    return items[int(r.integers(len(items)))] if len(items) else None


def edit_attribute(r, graph):
    node = pick(r, [n for n in graph.node if n.attribute])
    if node is None:
        return
    a = pick(r, node.attribute)
    if a.type == AttributeProto.INT:
        a.i = pick(r, ODD)
    elif a.type == AttributeProto.FLOAT:
        a.f = pick(r, [0.0, -1.0, float("nan"), float("inf"), 1e30])
    elif a.type == AttributeProto.INTS:
        values = list(a.ints)
        if values and r.random() < 0.7:
            values[int(r.integers(len(values)))] = pick(r, ODD)
        else:
            values = values[:-1] if r.random() < 0.5 else values * 3
        a.ints[:] = values
    elif a.type == AttributeProto.STRING:
        a.s = pick(r, [b"", b"SAME_UPPER", b"VALID", b"x" * 300, b"\xff\x00"])
    else:
        node.attribute.remove(a)


def edit_weights(r, graph):
    t = pick(r, graph.initializer)
    if t is None:
        return
    if r.random() < 0.4:
        t.data_type = int(r.integers(0, 27))
    elif t.dims and r.random() < 0.5:
        t.dims[int(r.integers(len(t.dims)))] = pick(r, ODD)
    elif r.random() < 0.5:
        t.dims[:] = [*t.dims, 1] if r.random() < 0.5 else list(t.dims)[::-1]
    else:
        t.raw_data = t.raw_data[:int(r.integers(len(t.raw_data) + 1))]


def edit_node(r, graph):
    node, other = pick(r, graph.node), pick(r, graph.node)
    if node is None:
        return
    what = int(r.integers(7))
    if what == 0:
        node.op_type = pick(r, [other.op_type, "Loop", "If", "Reshape", "Gather", "MatMul", "Resize", "Concat", "QLinearConv", "LSTM", "TopK"])
    elif what == 1 and node.input and other.input:
        node.input[int(r.integers(len(node.input)))] = pick(r, other.input)
    elif what == 2 and node.input:
        node.input[int(r.integers(len(node.input)))] = ""
    elif what == 3 and node.input:
        node.input.pop()
    elif what == 4:
        graph.node.append(other)
    elif what == 5:
        graph.node.remove(node)
    elif node.output:
        node.output.append("more")


def edit_interface(r, graph):
    v = pick(r, [*graph.input, *graph.output])
    if v is None:
        return
    t = v.type.tensor_type
    if t.shape.dim and r.random() < 0.6:
        d = t.shape.dim[int(r.integers(len(t.shape.dim)))]
        if r.random() < 0.5:
            d.dim_value = pick(r, ODD)
        else:
            d.dim_param = "n"
    elif r.random() < 0.5:
        t.elem_type = int(r.integers(0, 27))
    else:
        v.name = v.name + "x"


def edit(r, data):
    model = onnx.load_from_string(data)
    for _ in range(int(r.integers(1, 4))):
        if r.random() < 0.08:
            model.opset_import[0].version = int(pick(r, [1, 6, 9, 13, 25, 99, 0]))
        else:
            pick(r, [edit_attribute, edit_attribute, edit_weights, edit_node, edit_node, edit_interface])(r, model.graph)
    return model.SerializeToString()


def feeds(data):
    """One batch for the undamaged network."""
    model = onnx.load_from_string(data)
    held = {t.name for t in model.graph.initializer}
    made = {}
    for i in model.graph.input:
        if i.name not in held:
            dims = [d.dim_value or 1 for d in i.type.tensor_type.shape.dim]
            made[i.name] = np.random.default_rng(1).standard_normal(dims).astype(helper.tensor_dtype_to_np_dtype(i.type.tensor_type.elem_type))
    return made


def main():
    first, count = int(os.environ.get("MUTATIONS_FIRST", 0)), int(os.environ.get("MUTATIONS", COUNT))
    program = os.environ.get("MUTATIONS_PARE", PARE)
    known, bad, codes = bases(), 0, {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        for name, data in known:
            np.savez(folder / f"{name}.npz", **feeds(data))
        for seed in range(first, first + count):
            r = np.random.default_rng(seed)
            name, data = known[seed % len(known)]
            changed = [flip, cut, edit, edit, edit][int(r.integers(5))](r, data)
            path = folder / "m.onnx"
            path.write_bytes(changed)
            for command in (["inspect", "--json", path], ["infer", path, "--data", folder / f"{name}.npz", "-o", folder / "o.npz", "--threads=1"]):
                try:
                    done = subprocess.run([program, *command, "--max-mem=256M"], capture_output=True, timeout=SECONDS, check=False,
                                          env={**os.environ, "GOMP_SPINCOUNT": "1000"})
                    code, text = done.returncode, done.stderr.decode(errors="replace")
                except subprocess.TimeoutExpired:
                    code, text = "no end", ""
                codes[code] = codes.get(code, 0) + 1
                if code in CODES and (code == 0 or text.strip()):
                    continue
                bad += 1
                print(f"seed {seed} of {name}: pare {command[0]}: {code}: {text.strip()[-1500:]}", flush=True)
                keep = os.environ.get("MUTATIONS_KEEP")
                if keep:
                    pathlib.Path(keep, f"{seed}.onnx").write_bytes(changed)
    print(f"{count} damaged copies of {len(known)} networks: " + ", ".join(f"{n} ended with {c}" for c, n in sorted(codes.items(), key=str)))
    return 1 if bad else 0


sys.exit(main())
