#!/usr/bin/env python3
"""Makes the seed corpus of fuzz_onnx: small models that touch every encoding and every message. Needs the `onnx` package.

usage: make_onnx_corpus.py [FOLDER]      default: tests/fuzz/corpus/onnx"""
import pathlib
import sys

import onnx
from onnx import AttributeProto, TensorProto, helper

FLOAT = TensorProto.FLOAT


def info(name, *dims, kind=FLOAT):
    return helper.make_tensor_value_info(name, kind, list(dims))


def model(nodes, inputs, outputs, initializers=(), ir=8, opset=13, **fields):
    graph = helper.make_graph(nodes, "g", inputs, outputs, list(initializers))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir, **fields)


def typed(name, kind, field, values, dims):
    t = TensorProto(name=name, data_type=kind, dims=dims)
    getattr(t, field).extend(values)
    return t


def encodings():
    tensors = [
        typed("float", FLOAT, "float_data", [1.0, 2.0], [2]),
        typed("double", TensorProto.DOUBLE, "double_data", [1.0], [1]),
        typed("int64", TensorProto.INT64, "int64_data", [-1, 2], [2]),
        typed("int32", TensorProto.INT32, "int32_data", [-1, 2], [2]),
        typed("int8", TensorProto.INT8, "int32_data", [-128, 127], [2]),
        typed("uint8", TensorProto.UINT8, "int32_data", [255], [1]),
        typed("bool", TensorProto.BOOL, "int32_data", [1, 0], [2]),
        typed("half", TensorProto.FLOAT16, "int32_data", [0x3C00], [1]),
        typed("bfloat", TensorProto.BFLOAT16, "int32_data", [0x3F80], [1]),
        typed("int4", TensorProto.INT4, "int32_data", [0x21, 0x0F], [3]),
        typed("int2", TensorProto.INT2, "int32_data", [0xE4], [4]),
        typed("uint32", TensorProto.UINT32, "uint64_data", [4000000000], [1]),
        typed("uint64", TensorProto.UINT64, "uint64_data", [1 << 63], [1]),
        typed("complex", TensorProto.COMPLEX64, "float_data", [1.0, 2.0], [1]),
        typed("string", TensorProto.STRING, "string_data", [b"a", b""], [2]),
        typed("six", TensorProto.FLOAT6E2M3, "int32_data", [1, 2], [2]),
        TensorProto(name="raw", data_type=FLOAT, dims=[1], raw_data=b"\0\0\x80\x3f"),
        TensorProto(name="empty", data_type=FLOAT, dims=[0]),
    ]
    nodes = [helper.make_node("Identity", [t.name], [t.name + "_out"]) for t in tensors]
    return model(nodes, [], [info("float_out", 2)], tensors, ir=13)


def subgraphs():
    inner = helper.make_graph([helper.make_node("Add", ["x", "m"], ["i"])], "inner", [], [info("i", 3)])
    middle = helper.make_graph([helper.make_node("Neg", ["x"], ["m"]), helper.make_node("If", ["c"], ["o"], then_branch=inner, else_branch=inner)],
                               "middle", [], [info("o", 3)])
    node = helper.make_node("If", ["c"], ["y"], name="if", then_branch=middle, else_branch=middle)
    return model([node], [info("x", "n"), info("c", kind=TensorProto.BOOL)], [info("y", 3)])


def attributes():
    node = helper.make_node("Thing", ["x", "", "x"], ["y", "", "z"], name="all", domain="custom", f=1.5, i=-3, s="text", floats=[1.0, 2.0], ints=[1, 2],
                            strings=["a", "b"], t=typed("t", FLOAT, "float_data", [1.0], []), tensors=[typed("t", FLOAT, "float_data", [1.0], [])])
    sparse = onnx.SparseTensorProto(values=typed("s", FLOAT, "float_data", [1.0], [1]), indices=typed("", TensorProto.INT64, "int64_data", [1], [1]), dims=[3])
    node.attribute.append(AttributeProto(name="sparse", type=AttributeProto.SPARSE_TENSOR, sparse_tensor=sparse))
    node.attribute.append(AttributeProto(name="type", type=AttributeProto.TYPE_PROTO, tp=info("x", 3).type))
    node.attribute.append(AttributeProto(name="untyped", i=3))
    m = model([node], [info("x", 3)], [info("y", 3)])
    m.opset_import.add(domain="custom", version=1)
    m.graph.sparse_initializer.append(sparse)
    return m


def everything():
    m = model([helper.make_node("Conv", ["x", "w"], ["y"], name="conv", kernel_shape=[1, 1], doc_string="doc")], [info("x", "N", 1, 4, 4)],
              [info("y", "N", 1, 4, 4)], [TensorProto(name="w", data_type=FLOAT, dims=[1, 1, 1, 1], raw_data=b"\0\0\x80\x3f", doc_string="doc")],
              ir=10, producer_name="p", doc_string="d")
    m.graph.value_info.append(info("stale", 3))
    m.graph.quantization_annotation.add(tensor_name="y").quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="w")
    m.metadata_props.add(key="k", value="v")
    f = helper.make_function("local", "F", ["a"], ["b"], [helper.make_node("Constant", [], ["b"], value=typed("t", FLOAT, "float_data", [1.0], []))],
                             [helper.make_opsetid("", 13)])
    m.functions.append(f)
    m.training_info.add().initialization.CopyFrom(helper.make_graph([], "init", [], [], [typed("t", FLOAT, "float_data", [1.0], [])]))
    m.configuration.add(name="device", num_devices=1)
    return m


def old_inputs():
    w = TensorProto(name="w", data_type=FLOAT, dims=[3], raw_data=bytes(12))
    return model([helper.make_node("Add", ["x", "w"], ["y"])], [info("w", 3), info("x", 3)], [info("y", 3)], [w], ir=3, opset=7)


def constants():
    kinds = {"value": typed("t", FLOAT, "float_data", [1.0], [1]), "value_float": 1.0, "value_floats": [1.0], "value_int": 1, "value_ints": [1],
             "value_string": "a", "value_strings": ["a"]}
    return model([helper.make_node("Constant", [], [k], **{k: v}) for k, v in kinds.items()], [], [info("value", 1)])


def external():
    t = TensorProto(name="w", data_type=FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "d"), ("offset", "8"), ("length", "8")):
        t.external_data.add(key=key, value=value)
    return model([helper.make_node("Add", ["x", "w"], ["y"])], [info("x", 2)], [info("y", 2)], [t])


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent / "corpus/onnx")
    folder.mkdir(parents=True, exist_ok=True)
    for make in (encodings, subgraphs, attributes, everything, old_inputs, constants, external):
        data = make().SerializeToString(deterministic=True)
        assert len(data) < 4096, (make.__name__, len(data))
        (folder / f"{make.__name__}.onnx").write_bytes(data)
    loop = [helper.make_node("Relu", ["a"], ["b"]), helper.make_node("Relu", ["b"], ["a"])]
    (folder / "cycle.onnx").write_bytes(model(loop, [], []).SerializeToString(deterministic=True))
    (folder / "cut.onnx").write_bytes(everything().SerializeToString(deterministic=True)[:200])


if __name__ == "__main__":
    main()
