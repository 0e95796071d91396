#!/usr/bin/env python3
"""Loads models, has them saved again by pare, and compares both files message by message.

Over all of the Debian package libonnx-testdata, the example and the zoo: by a program that only loads and saves (data inside, then beside
the model), and by `pare run` with an empty recipe.

Tensor data are compared as values, whichever field holds them; everything else must be equal, unknown fields included."""
import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

import onnx
from onnx import numpy_helper

from common import PARE, ROOT, networks

DATA = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "raw_data")


def normalize_tensor(t):
    """Puts the values into raw_data in numpy's form."""
    if t.data_type == onnx.TensorProto.STRING:
        return
    values = numpy_helper.to_array(t).tobytes()
    for field in DATA:
        t.ClearField(field)
    t.ClearField("external_data")
    t.ClearField("data_location")
    if values:
        t.raw_data = values


def walk(message):
    if isinstance(message, onnx.TensorProto):
        normalize_tensor(message)
        return
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for child in value if field.is_repeated else [value]:
            walk(child)


def normalized(path):
    model = onnx.load(path)
    del_keys = [i for i, p in enumerate(model.metadata_props) if p.key.startswith("pare")]
    for i in reversed(del_keys):
        del model.metadata_props[i]
    walk(model)
    return model


def difference(a, b, path="model"):
    """Where two messages first differ, for people."""
    fields = {f.name: (f, v) for f, v in a.ListFields()}
    others = {f.name: (f, v) for f, v in b.ListFields()}
    for name in sorted(set(fields) | set(others)):
        if name not in fields or name not in others:
            return f"{path}.{name} is only in the {'first' if name in fields else 'second'}"
        (f, x), (_, y) = fields[name], others[name]
        if f.is_repeated:
            if len(x) != len(y):
                return f"{path}.{name}: {len(x)} and {len(y)} entries"
            for i, (p, q) in enumerate(zip(x, y)):
                if f.message_type is None and p != q:
                    return f"{path}.{name}[{i}]: {str(p)[:80]} and {str(q)[:80]}"
                if f.message_type is not None and p != q:
                    return difference(p, q, f"{path}.{name}[{i}]")
        elif f.message_type is not None:
            if x != y:
                return difference(x, y, f"{path}.{name}")
        elif x != y:
            return f"{path}.{name}: {str(x)[:80]} and {str(y)[:80]}"
    return f"{path}: unknown fields"


def resave(args, source, target, folder):
    if args.pare is None:
        command = [args.tool, str(source), target, *(["external"] if args.external else [])]
    else:
        recipe = pathlib.Path(folder, "recipe.json")
        recipe.write_text('{ "passes": [] }')
        command = [args.pare, "run", str(recipe), str(source), "-o", target, "-q"]
    return subprocess.run(command, capture_output=True, text=True)


def check(args, path, folder):
    out = os.path.join(folder, "again.onnx")
    run = resave(args, path, out, folder)
    if run.returncode == 4 and args.pare is not None:
        return "unsupported"
    if run.returncode != 0:
        return f"exit {run.returncode}: {run.stderr.strip()}"
    a, b = normalized(path), normalized(out)
    if a.SerializeToString(deterministic=True) != b.SerializeToString(deterministic=True):
        return difference(a, b)
    again = os.path.join(folder, "twice.onnx")
    resave(args, out, again, folder)
    if args.pare is None and not args.external and pathlib.Path(out).read_bytes() != pathlib.Path(again).read_bytes():
        return "a second save gave other bytes"
    return None


def testdata():
    listed = subprocess.run(["dpkg", "-L", "libonnx-testdata"], capture_output=True, text=True)
    return [p for p in listed.stdout.split() if p.endswith(".onnx")]


def check_all(args, paths):
    failures = unsupported = 0
    with tempfile.TemporaryDirectory() as folder:
        for path in paths:
            problem = check(args, path, folder)
            if problem == "unsupported":
                unsupported += 1
            elif problem:
                failures += 1
                print(f"{path}: {problem}")
    by = "pare run" if args.pare else "resave, data outside" if args.external else "resave"
    print(f"{by}: {len(paths)} models, {failures} failures, {unsupported} with operators that pare does not run")
    return failures


def main():
    tool = os.path.join(os.environ.get("BUILD", ROOT / "build"), "tests/tools/resave")
    both = [*testdata(), *networks()]
    failures = check_all(argparse.Namespace(tool=tool, pare=None, external=False), both)
    failures += check_all(argparse.Namespace(tool=tool, pare=None, external=True), networks())
    failures += check_all(argparse.Namespace(tool=tool, pare=PARE, external=False), networks())
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
