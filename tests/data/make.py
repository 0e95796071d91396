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

# loop.onnx: five steps, the first two through one branch of an If and the others through another
early = body("early", [helper.make_node("Add", ["s", "s"], ["a"], name="early")], [], [value("a", ["N", 4])])
late = body("late", [helper.make_node("MatMul", ["s", "w"], ["b"], name="late")], [], [value("b", ["N", 4])])
steps = [helper.make_node("Identity", ["c"], ["go"]), helper.make_node("Less", ["i", "two"], ["first"], name="less"),
         helper.make_node("If", ["first"], ["s2"], name="branch", then_branch=early, else_branch=late)]
save("loop.onnx", [helper.make_node("MatMul", ["x", "w"], ["h"], name="before"),
                   helper.make_node("Loop", ["most", "yes", "h"], ["y"], name="loop",
                                    body=body("step", steps, [scalar("i"), flag("c"), value("s", ["N", 4])],
                                              [flag("go"), value("s2", ["N", 4])]))],
     [value("x", ["N", 4])], [value("y", ["N", 4])],
     {"w": np.eye(4, dtype=np.float32), "most": np.int64(5), "two": np.int64(2), "yes": np.bool_(True)})


# quantized.onnx: what `pare lint` speaks of, a layer for each: fused, saturating pairs, a Relu in the way, a bias on its own grid, float
class Quantized:
    def __init__(self):
        self.nodes, self.weights = [], {}

    def constant(self, name, array):
        self.weights[name] = array
        return name

    def pair(self, name, source, scale, zero):
        grid = [self.constant(name + "_scale", np.float32(scale)), self.constant(name + "_zero", zero)]
        self.nodes.append(helper.make_node("QuantizeLinear", [source, *grid], [name + "_q"], name=name + "_quantize"))
        self.nodes.append(helper.make_node("DequantizeLinear", [name + "_q", *grid], [name], name=name + "_dequantize"))
        return name

    def frozen(self, name, array, scale, axis=0):
        scales = self.constant(name + "_scale", np.float32(scale))
        zeros = self.constant(name + "_zero", np.zeros(np.shape(scale), array.dtype))
        self.nodes.append(helper.make_node("DequantizeLinear", [self.constant(name + "_q", array), scales, zeros], [name],
                                           name=name + "_dequantize", axis=axis))
        return name

    def node(self, op, inputs, name, output=None, **attributes):
        self.nodes.append(helper.make_node(op, inputs, [output or name + "_out"], name=name, **attributes))
        return output or name + "_out"


q = Quantized()
loud = np.full((4, 2, 3, 3), 20, np.int8)
loud[0, :, 0, 0], loud[2, :, 2, 1:] = 100, -90
at = q.pair("x8", "x", 0.05, np.uint8(128))
at = q.node("Conv", [at, q.frozen("stem_w", loud, np.full(4, 0.01)),
                     q.frozen("stem_b", np.int32([1, 2, 3, 2**31 - 1]), np.full(4, 0.0005))], "stem", pads=[1, 1, 1, 1])
stem = q.pair("stem8", q.node("Relu", [at], "stem_relu"), 0.1, np.uint8(0))
at = q.node("Conv", [stem, q.frozen("depth_w", np.full((4, 1, 3, 3), 9, np.int8), 0.01), q.frozen("depth_b", np.int32([1, 2, 3, 4]), 0.5)],
            "depth", pads=[1, 1, 1, 1], group=4)
at = q.node("Conv", [q.pair("depth8", at, 0.1, np.uint8(90)), q.frozen("point_w", np.full((4, 4, 1, 1), -7, np.int8), 0.01)], "point")
at = q.node("Relu", [at], "point_relu")
at = q.node("Add", [q.pair("point8", at, 0.1, np.uint8(20)), stem], "sum")
at = q.pair("pool8", q.node("GlobalAveragePool", [q.pair("sum8", at, 0.2, np.uint8(20))], "pool"), 0.2, np.uint8(20))
at = q.node("Flatten", [at], "flatten")
at = q.node("Gemm", [q.pair("flat8", at, 0.2, np.uint8(20)), q.frozen("fc_w", np.full((4, 6), 7, np.int8), 0.01),
                     q.frozen("fc_b", np.arange(6, dtype=np.int32), 0.002)], "fc", beta=2.0)
at = q.node("MatMul", [q.pair("fc8", at, 0.3, np.uint8(100)), q.frozen("head_w", np.full((6, 3), 200, np.uint8), 0.01)], "head", "y")
q.node("MatMul", [at, q.constant("last_w", np.ones((3, 2), np.float32))], "last", "z")
save("quantized.onnx", q.nodes, [value("x", ["N", 2, 4, 4])], [value("y", ["N", 3]), value("z", ["N", 2])], q.weights)

# words.onnx: a table in integers, products of two activations of which one hands its result to
# QuantizeLinear behind a Transpose, a layer with float weights beside one with integers
w = Quantized()
at = w.node("Gather", [w.frozen("table", rng.integers(-127, 128, (16, 8)).astype(np.int8), np.full(16, 0.01)), "tokens"], "look_up")
keys = w.node("Transpose", [at], "keys", perm=[0, 2, 1])
shares = w.node("Softmax", [w.node("MatMul", [at, keys], "scores")], "shares", axis=-1)
at = w.node("Transpose", [w.node("MatMul", [shares, at], "mix")], "across", perm=[0, 2, 1])
w.node("MatMul", [w.pair("across8", at, 0.01, np.uint8(128)), w.frozen("head_w", np.full((4, 3), 7, np.int8), 0.01)], "head", "y")
w.node("MatMul", ["across8", w.constant("tail_w", np.ones((4, 2), np.float32))], "tail", "z")
save("words.onnx", w.nodes, [value("tokens", ["N", 4], TensorProto.INT64)], [value("y", ["N", 8, 3]), value("z", ["N", 8, 2])], w.weights)

# the same network as another maker would write it: its input has another name and takes one sample; and one with other outputs
image_nodes = [helper.make_node("Conv", ["image", "conv.weight", "conv.bias"], ["c"], name="conv", pads=[1, 1, 1, 1])] + tiny_nodes[1:]
save("image.onnx", image_nodes, [value("image", [1, 1, 4, 4])], [value("y", [1, 3])], weights)
save("wide.onnx", [helper.make_node("Flatten", ["x"], ["y"], name="flatten")], [value("x", ["N", 1, 4, 4])], [value("y", ["N", 16])], {})

# one row that random indices do not all find
save("row.onnx", [helper.make_node("Gather", ["table", "i"], ["y"], name="look_up")], [value("i", ["N", 5], TensorProto.INT64)],
     [value("y", ["N", 5, 8])], {"table": np.ones((1, 8), np.float32)})
