#!/usr/bin/env python3
"""numpy and pare read each other's arrays: every type, order and packing goes through `pare infer` of a network that copies its input."""
import os
import subprocess
import sys
import tempfile

import numpy as np
from onnx import TensorProto, helper, save

PARE = os.environ["PARE"]
TYPES = [
    ("f4", TensorProto.FLOAT), ("f8", TensorProto.DOUBLE), ("f2", TensorProto.FLOAT16), ("u1", TensorProto.UINT8), ("i1", TensorProto.INT8),
    ("u2", TensorProto.UINT16), ("i2", TensorProto.INT16), ("u4", TensorProto.UINT32), ("i4", TensorProto.INT32),
    ("u8", TensorProto.UINT64), ("i8", TensorProto.INT64), ("?", TensorProto.BOOL),
]
SHAPES = [(3,), (5, 4), (2, 3, 4), (40, 7, 3, 2)]


def copy_network(path, kind, rank):
    dims = ["d%d" % i for i in range(rank)]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "copy", [helper.make_tensor_value_info("x", kind, dims)],
                              [helper.make_tensor_value_info("y", kind, dims)])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)


def variants(a):
    yield "C", a
    if a.ndim > 1:
        yield "Fortran", np.asfortranarray(a)
    if a.dtype.itemsize > 1:
        yield "big-endian", a.astype(a.dtype.newbyteorder(">"))
        if a.ndim > 1:
            yield "big-endian Fortran", np.asfortranarray(a.astype(a.dtype.newbyteorder(">")))


def main():
    rng = np.random.default_rng(1)
    checked = 0
    with tempfile.TemporaryDirectory() as folder:
        net, data, out = (os.path.join(folder, n) for n in ("copy.onnx", "in.npz", "out.npz"))
        for code, kind in TYPES:
            for shape in SHAPES:
                a = (rng.standard_normal(shape) * 50).astype(code)
                copy_network(net, kind, len(shape))
                for order, stored in variants(a):
                    for write in (np.savez, np.savez_compressed):
                        write(data, x=stored, other=np.arange(3))
                        done = subprocess.run([PARE, "infer", net, "--data", data, "-o", out, "-q"], capture_output=True, text=True)
                        what = "%s %s %s %s" % (code, shape, order, write.__name__)
                        if done.returncode != 0:
                            sys.exit("%s: %s" % (what, done.stderr))
                        got = np.load(out)["y"]
                        if got.dtype != a.dtype or got.shape != a.shape or not (got == a).all():
                            sys.exit("%s: pare copied it to %s %s" % (what, got.dtype, got.shape))
                        checked += 1
                np.save(os.path.join(folder, "x.npy"), a)
                subprocess.run([PARE, "infer", net, "--data", os.path.join(folder, "x.npy"), "-o", out, "-q"], check=True)
                assert (np.load(out)["y"] == a).all()
                checked += 1
    print("%d arrays of numpy came back unchanged" % checked)


main()
