#!/usr/bin/env python3
"""Compares formats/onnx.proto with the descriptors of the `onnx` package: every message, field number, type, label, oneof and enum.

Text fields are `bytes` in ours, and TensorProto has one private field; nothing else may differ."""
import pathlib
import re
import sys

from google.protobuf import descriptor_pb2
from onnx import onnx_ml_pb2

PRIVATE = {("TensorProto", "payload")}
F = descriptor_pb2.FieldDescriptorProto
SCALARS = {getattr(F, "TYPE_" + n.upper()): n for n in ("float", "double", "int32", "int64", "uint32", "uint64", "bool", "bytes")}
FIELD = re.compile(r"(optional|repeated|required)?\s*([\w.]+)\s+(\w+)\s*=\s*(\d+)\s*(\[packed = true\])?")


def parse(text):
    """Messages {name: {field: (number, type, label, oneof, packed)}} and enums {name: {value: number}} of a .proto file."""
    text = re.sub(r"//[^\n]*", "", text)
    messages, enums, stack = {}, {}, []
    for piece in re.findall(r"[^{};]+[{;]|\}", text):
        piece = piece.strip()
        if piece == "}":
            stack.pop()
        elif piece.endswith("{"):
            kind, name = piece[:-1].split()
            full = ".".join([n for k, n in stack if k == "message"] + [name])
            stack.append((kind, name))
            if kind == "message":
                messages[full] = {}
            elif kind == "enum":
                enums[full] = {}
        elif stack and stack[-1][0] == "enum":
            name, number = piece[:-1].split("=")
            enums[".".join(n for _, n in stack)][name.strip()] = int(number)
        elif stack:
            label, kind, name, number, packed = FIELD.fullmatch(piece[:-1].strip()).groups()
            oneof = stack[-1][1] if stack[-1][0] == "oneof" else None
            owner = ".".join(n for k, n in stack if k == "message")
            messages[owner][name] = (int(number), kind.split(".")[-1], label or "optional", oneof, packed is not None)
    return messages, enums


def flatten(messages, prefix=""):
    for m in messages:
        yield prefix + m.name, m
        yield from flatten(m.nested_type, prefix + m.name + ".")


def facts(m, f):
    kind = "bytes" if f.type == F.TYPE_STRING else SCALARS.get(f.type) or f.type_name.split(".")[-1]
    label = {F.LABEL_OPTIONAL: "optional", F.LABEL_REPEATED: "repeated", F.LABEL_REQUIRED: "required"}[f.label]
    oneof = m.oneof_decl[f.oneof_index].name if f.HasField("oneof_index") else None
    return f.number, kind, label, oneof, bool(f.options.packed)


def main():
    root = pathlib.Path(__file__).resolve().parents[2]
    messages, enums = parse((root / "formats/onnx.proto").read_text())
    theirs = descriptor_pb2.FileDescriptorProto.FromString(onnx_ml_pb2.DESCRIPTOR.serialized_pb)
    reference = dict(flatten(theirs.message_type))
    problems, fields = [], 0
    for name in sorted(set(messages) | set(reference)):
        if name not in messages or name not in reference:
            problems.append(f"message {name} is only in {'ours' if name in messages else 'onnx'}")
            continue
        a = {f: v for f, v in messages[name].items() if (name, f) not in PRIVATE}
        b = {f.name: facts(reference[name], f) for f in reference[name].field}
        fields += len(b)
        problems += [f"{name}.{f}: ours {a.get(f)}, onnx {b.get(f)}" for f in sorted(set(a) | set(b)) if a.get(f) != b.get(f)]
        for e in reference[name].enum_type:
            values = {v.name: v.number for v in e.value}
            if enums.get(f"{name}.{e.name}") != values:
                problems.append(f"enum {name}.{e.name}: ours {enums.get(f'{name}.{e.name}')}, onnx {values}")
    for p in problems:
        print(p)
    print(f"{len(reference)} messages, {fields} fields, {len(problems)} differences")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
