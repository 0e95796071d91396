#!/usr/bin/env python3
"""Makes the small networks and arrays of this folder. Needs onnx and numpy; seeded, so that the same files come out again.

    python3 tests/data/make.py
"""
import os

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

here = os.path.dirname(os.path.abspath(__file__))
rng = np.random.default_rng(1)


def path(name):
    return os.path.join(here, name)


def value(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def save(name, nodes, inputs, outputs, weights, opset=13, ir=7, domains=()):
    graph = helper.make_graph(nodes, name, inputs, outputs, [numpy_helper.from_array(w, n) for n, w in weights.items()])
    imports = [helper.make_opsetid("", opset)] + [helper.make_opsetid(d, 1) for d in domains]
    model = helper.make_model(graph, opset_imports=imports, producer_name="make.py")
    model.ir_version = ir
    with open(path(name), "wb") as f:
        f.write(model.SerializeToString())
    return model


# tiny.onnx: Conv, Relu, Flatten, Gemm
weights = {
    "conv.weight": rng.normal(0, 0.5, (4, 1, 3, 3)).astype(np.float32),
    "conv.bias": rng.normal(0, 0.1, 4).astype(np.float32),
    "fc.weight": rng.normal(0, 0.3, (3, 64)).astype(np.float32),
    "fc.bias": np.zeros(3, np.float32),
}
tiny_nodes = [
    helper.make_node("Conv", ["x", "conv.weight", "conv.bias"], ["c"], name="conv", pads=[1, 1, 1, 1]),
    helper.make_node("Relu", ["c"], ["r"], name="relu"),
    helper.make_node("Flatten", ["r"], ["f"], name="flatten"),
    helper.make_node("Gemm", ["f", "fc.weight", "fc.bias"], ["y"], name="fc", transB=1),
]
tiny = save("tiny.onnx", tiny_nodes, [value("x", ["N", 1, 4, 4])], [value("y", ["N", 3])], weights)

# samples whose two largest logits are well apart, so that rounding cannot change a label
from onnx.reference import ReferenceEvaluator  # noqa: E402

run = ReferenceEvaluator(tiny)
x = rng.normal(0, 1, (200, 1, 4, 4)).astype(np.float32)
y = run.run(None, {"x": x})[0]
top = np.sort(y, axis=1)
x, y = x[top[:, 2] - top[:, 1] > 0.5][:40], y[top[:, 2] - top[:, 1] > 0.5][:40]
label = y.argmax(1).astype(np.int64)
label[0] = (label[0] + 1) % 3  # one wrong: 39 of 40
np.savez(path("tiny.npz"), x=x, label=label)
np.savez(path("tiny_calib.npz"), x=x[:16])
np.savez(path("tiny_raw.npz"), pixels=np.clip(x[:8, 0] * 40 + 128, 0, 255).astype(np.uint8), label=label[:8])
np.savez(path("bad_type.npz"), x=np.zeros((4, 1, 4, 4), np.uint8), label=label[:4])
np.savez(path("bad_shape.npz"), x=x[:4, :, :3], label=label[:4])
np.savez(path("bad_name.npz"), z=x[:4], label=label[:4])
np.savez(path("bad_label.npz"), x=x[:4], label=np.array([0, 1, 7, 2]))
bad = x[:4].copy()
bad[2, 0, 1, 1] = np.nan
np.savez(path("bad_nan.npz"), x=bad, label=label[:4])

# networks that cannot be run or loaded
save("custom.onnx", [helper.make_node("Relu", ["x"], ["r"], name="relu"),
                     helper.make_node("Sparkle", ["r"], ["y"], name="sparkle", domain="example.org")],
     [value("x", ["N", 4])], [value("y", ["N", 4])], {}, domains=["example.org"])
np.savez(path("custom.npz"), x=x[:4, 0, 0])
save("cycle.onnx", [helper.make_node("Add", ["x", "b"], ["a"], name="first"), helper.make_node("Relu", ["a"], ["b"], name="second")],
     [value("x", [4])], [value("b", [4])], {})
save("duplicate.onnx", [helper.make_node("Relu", ["x"], ["y"], name="one"), helper.make_node("Neg", ["x"], ["y"], name="two")],
     [value("x", [4])], [value("y", [4])], {})
save("undefined.onnx", [helper.make_node("Relu", ["ghost"], ["y"], name="one")], [value("x", [4])], [value("y", [4])], {})
model = save("nan_weight.onnx", tiny_nodes, [value("x", ["N", 1, 4, 4])], [value("y", ["N", 3])],
             dict(weights, **{"fc.weight": np.full((3, 64), np.nan, np.float32)}))

t = helper.make_tensor("w", TensorProto.FLOAT, [4], np.zeros(4, np.float32).tobytes(), raw=True)
for name, location in (("external_up.onnx", "../tiny.npz"), ("external_absolute.onnx", "/etc/hostname"), ("external_missing.onnx", "gone.bin")):
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"], name="add")], "g", [value("x", [4])], [value("y", [4])])
    w = graph.initializer.add()
    w.CopyFrom(t)
    w.ClearField("raw_data")
    w.data_location = TensorProto.EXTERNAL
    w.external_data.add(key="location", value=location)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 7
    with open(path(name), "wb") as f:
        f.write(model.SerializeToString())

graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"], name="add")], "g", [value("x", [4])], [value("y", [4])])
w = graph.initializer.add()
w.name, w.data_type, w.raw_data = "w", TensorProto.FLOAT, b"\0" * 16
w.dims.extend([1 << 40, 1 << 40])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
with open(path("overflow.onnx"), "wb") as f:
    f.write(model.SerializeToString())


# a graph within a graph, hundreds of times deep, written by hand: field 1 of a graph is a node, 5 of a node an attribute, 6 of that a graph
def field(number, body):
    size, out = len(body), bytes([number << 3 | 2])
    while size > 127:
        out, size = out + bytes([size & 127 | 128]), size >> 7
    return out + bytes([size]) + body


body = b""
for _ in range(700):
    body = field(1, field(4, b"If") + field(5, field(1, b"then_branch") + field(6, body)))
with open(path("deep.onnx"), "wb") as f:
    f.write(b"\x08\x07" + field(7, body) + field(8, b"\x10\x0d"))
# control flow: a branch that fold can take and one that it cannot; loops that never end, one of which stacks what it makes
def body(name, nodes, inputs, outputs):
    return helper.make_graph(nodes, name, inputs, outputs)


v2, scalar, flag = (lambda n: value(n, [2])), (lambda n: value(n, [], TensorProto.INT64)), (lambda n: value(n, [], TensorProto.BOOL))
inner = [body("plus", [helper.make_node("Add", ["t", "x"], ["r"])], [], [v2("r")]),
         body("minus", [helper.make_node("Sub", ["t", "w"], ["r"])], [], [v2("r")])]
taken = body("taken", [helper.make_node("Mul", ["x", "w"], ["t"]),
                       helper.make_node("If", ["c2"], ["u"], name="inner", then_branch=inner[0], else_branch=inner[1]),
                       helper.make_node("Relu", ["u"], ["o"])], [], [v2("o")])
left = body("left", [helper.make_node("Neg", ["x"], ["o"])], [], [v2("o")])
save("branches.onnx", [helper.make_node("Neg", ["x"], ["t"], name="neg"),
                       helper.make_node("If", ["yes"], ["y"], name="outer", then_branch=taken, else_branch=left),
                       helper.make_node("Add", ["y", "t"], ["z"], name="add")],
     [v2("x"), flag("c2")], [v2("y"), v2("z")], {"w": np.float32([2, -7]), "yes": np.bool_(True)})
for name, outputs in (("endless.onnx", []), ("endless_stack.onnx", [value("big", [65536])])):
    steps = [helper.make_node("Identity", ["c"], ["go"]), helper.make_node("Add", ["s", "s"], ["s2"])]
    steps += [helper.make_node("Expand", ["s2", "wide"], ["big"])] if outputs else []
    save(name, [helper.make_node("Loop", ["most", "yes", "x"], ["y"] + ["stacked"] * len(outputs), name="loop",
                                 body=body("step", steps, [scalar("i"), flag("c"), value("s", [1])],
                                           [flag("go"), value("s2", [1])] + outputs))],
         [value("x", [1])], [value("y", [1])] + [value("stacked", ["steps", 65536])] * len(outputs),
         {"most": np.int64(2**63 - 1), "yes": np.bool_(True), "wide": np.int64([65536])})
