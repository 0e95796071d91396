"""What exporters spell in many nodes runs as the steps it means: small graphs as PyTorch's (TorchScript, dynamo), TensorFlow's, Keras's and Flax's
exporters write them. For each the steps that `pare profile` names, and ONNX Runtime's results with kernels and with plain operators alone."""
import json
import pathlib
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from common import pare
from feeds import quiet

ROWS = []
SEQUENCE, HEADS, IMAGE, LAST = ["B", 7, 16], ["B", 4, 9, 8], ["B", 6, 8, 8], ["B", 8, 8, 6]
rng = np.random.default_rng(1)


def w(*shape):
    return rng.standard_normal(shape) * 0.3


class Net:
    """A graph that grows by calls: net("Mul", a, b); numbers and arrays among the inputs become constants."""

    def __init__(self, opset):
        self.nodes, self.held, self.opset, self.count = [], [], opset, 0

    def const(self, array, dtype=np.float32):
        self.count += 1
        self.held.append(numpy_helper.from_array(np.asarray(array, dtype), f"c{self.count}"))
        return f"c{self.count}"

    def __call__(self, op, *inputs, outputs=1, **attributes):
        self.count += 1
        names = [f"v{self.count}_{k}" for k in range(outputs)]
        inputs = [i if isinstance(i, str) else self.const(i, np.int64 if isinstance(i, list) else np.float32) for i in inputs]
        self.nodes.append(helper.make_node(op, inputs, names, **attributes))
        return names[0] if outputs == 1 else names

    def model(self, shape, result):
        graph = helper.make_graph(self.nodes, "spelling", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
                                  [helper.make_tensor_value_info(result, TensorProto.FLOAT, None)], self.held)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8 if self.opset < 21 else 10)


def row(name, steps, shape, opset=17):
    """The steps that compute, reorders apart, in the order in which they run."""
    def keep(build):
        ROWS.append((name, steps, shape, opset, build))
        return build
    return keep


def mean(n, x):
    return n("ReduceMean", x, axes=[-1]) if n.opset < 18 else n("ReduceMean", x, [-1])


def root(n, d, power=2.0):
    square = n("Mul", d, d) if power is None else n("Pow", d, power)
    return n("Sqrt", n("Add", mean(n, square), 1e-5))


# --- normalisation

for variant, exponent in (("PyTorch", 2.0), ("PyTorch, a product", None)):
    @row(f"LayerNorm, {variant}", ["LayerNormalization"], SEQUENCE)
    def _(n, exponent=exponent):
        d = n("Sub", "x", mean(n, "x"))
        return n("Add", n("Mul", n("Div", d, root(n, d, exponent)), w(16)), w(16))


@row("LayerNorm, axes as an input", ["LayerNormalization"], SEQUENCE, 18)
def _(n):
    d = n("Sub", "x", mean(n, "x"))
    return n("Add", n("Mul", n("Div", d, root(n, d, None)), w(16)), w(16))


@row("LayerNorm, an integer exponent", ["LayerNormalization"], SEQUENCE)
def _(n):
    d = n("Sub", "x", mean(n, "x"))
    return n("Add", n("Mul", n("Div", d, root(n, d, n.const(2, np.int64))), w(16)), w(16))


@row("LayerNorm, older PyTorch: the difference twice", ["LayerNormalization"], SEQUENCE)
def _(n):
    m = mean(n, "x")
    return n("Add", n("Mul", n("Div", n("Sub", "x", m), root(n, n("Sub", "x", m))), w(16)), w(16))


@row("LayerNorm, Keras", ["LayerNormalization"], SEQUENCE)
def _(n):
    m = mean(n, "x")
    a = n("Mul", n("Reciprocal", root(n, n("Sub", "x", m), None)), w(16))
    return n("Add", n("Mul", "x", a), n("Sub", w(16), n("Mul", m, a)))


@row("LayerNorm, Flax", ["LayerNormalization"], SEQUENCE)
def _(n):
    d = n("Sub", "x", mean(n, "x"))
    return n("Add", n("Mul", d, n("Mul", n("Div", 1.0, root(n, d, None)), w(16))), w(16))


@row("LayerNorm without scale and shift", ["LayerNormalization"], SEQUENCE)
def _(n):
    d = n("Sub", "x", mean(n, "x"))
    return n("Div", d, root(n, d))


@row("RMSNorm, Llama", ["SimplifiedLayerNormalization"], SEQUENCE)
def _(n):
    return n("Mul", w(16), n("Mul", "x", n("Div", 1.0, root(n, "x"))))


@row("RMSNorm, dynamo", ["SimplifiedLayerNormalization"], SEQUENCE, 18)
def _(n):
    return n("Mul", w(16), n("Mul", "x", n("Reciprocal", root(n, "x"))))


@row("RMSNorm, a power", ["SimplifiedLayerNormalization"], SEQUENCE)
def _(n):
    return n("Mul", n("Mul", "x", n("Pow", n("Add", mean(n, n("Mul", "x", "x")), 1e-5), -0.5)), w(16))


@row("RMSNorm, Gemma: one more than the weight", ["SimplifiedLayerNormalization"], SEQUENCE)
def _(n):
    return n("Mul", n("Mul", "x", n("Reciprocal", root(n, "x"))), n("Add", w(16), 1.0))


@row("RMSNormalization of opset 23", ["RMSNormalization"], SEQUENCE, 23)
def _(n):
    return n("RMSNormalization", "x", w(16))


# --- activations

@row("GELU, PyTorch", ["Gelu"], SEQUENCE)
def _(n):
    return n("Mul", n("Mul", "x", n("Add", n("Erf", n("Div", "x", 2 ** 0.5)), 1.0)), 0.5)


@row("GELU, Keras", ["Gelu"], SEQUENCE)
def _(n):
    return n("Mul", n("Mul", 0.5, "x"), n("Add", 1.0, n("Erf", n("Mul", "x", 0.5 ** 0.5))))


def bent(n):
    return n("Tanh", n("Mul", (2 / np.pi) ** 0.5, n("Add", "x", n("Mul", 0.044715, n("Pow", "x", 3.0)))))


@row("GELU by tanh, PyTorch", ["Gelu"], SEQUENCE)
def _(n):
    return n("Mul", n("Mul", 0.5, "x"), n("Add", 1.0, bent(n)))


@row("GELU by tanh, dynamo", ["Gelu"], SEQUENCE, 18)
def _(n):
    return n("Mul", 0.5, n("Mul", "x", n("Add", 1.0, bent(n))))


@row("GELU by tanh, three products", ["Gelu"], SEQUENCE)
def _(n):
    cube = n("Mul", n("Mul", "x", "x"), "x")
    return n("Mul", n("Mul", "x", 0.5), n("Add", n("Tanh", n("Mul", n("Add", "x", n("Mul", cube, 0.044715)), 0.7978845608)), 1.0))


@row("GELU by tanh, factors apart", ["Gelu"], SEQUENCE)
def _(n):
    inner = n("Mul", n("Mul", "x", 0.7978845608), n("Add", 1.0, n("Mul", n("Mul", "x", 0.044715), "x")))
    return n("Mul", n("Mul", "x", 0.5), n("Add", 1.0, n("Tanh", inner)))


@row("SiLU", ["Swish"], SEQUENCE)
def _(n):
    return n("Mul", "x", n("Sigmoid", "x"))


@row("quick GELU", ["Swish"], SEQUENCE)
def _(n):
    return n("Mul", "x", n("Sigmoid", n("Mul", "x", 1.702)))


@row("HardSwish, PyTorch", ["HardSwish"], SEQUENCE)
def _(n):
    return n("Mul", "x", n("HardSigmoid", "x", alpha=1 / 6, beta=0.5))


@row("Mish", ["Mish"], SEQUENCE)
def _(n):
    return n("Mul", "x", n("Tanh", n("Softplus", "x")))


# --- attention

for by, mask in ((by, mask) for by in ("Div", "Mul", None) for mask in (False, True)):
    together = "+".join(["MatMul", *([by] if by else []), *(["Add"] if mask else []), "Softmax", "MatMul"])

    @row(f"attention, {by or 'no factor'}, {'a mask' if mask else 'no mask'}", ["Relu", "Abs", together], HEADS)
    def _(n, by=by, mask=mask):
        scores = n("MatMul", n("Relu", "x"), n("Transpose", "x", perm=[0, 1, 3, 2]))
        scores = n(by, scores, 8 ** 0.5 if by == "Div" else 8 ** -0.5) if by else scores
        scores = n("Add", scores, np.triu(np.full((9, 9), -1e9), 1)) if mask else scores
        return n("MatMul", n("Softmax", scores, axis=-1), n("Abs", "x"))


# --- rotary embeddings

def angles(n, width):
    return n.const(w(9, width)), n.const(w(9, width))


def split(n, x="x"):
    return n("Split", x, outputs=2, axis=-1) if n.opset < 18 else n("Split", x, outputs=2, axis=-1, num_outputs=2)


@row("rotate_half, Split", ["Rotary"], HEADS)
def _(n):
    c, s = angles(n, 8)
    a, b = split(n)
    return n("Add", n("Mul", "x", c), n("Mul", n("Concat", n("Neg", b), a, axis=-1), s))


@row("rotate_half, Slice", ["Rotary"], HEADS)
def _(n):
    c, s = angles(n, 8)
    a, b = n("Slice", "x", [0], [4], [3], [1]), n("Slice", "x", [4], [2 ** 63 - 1], [3], [1])
    return n("Add", n("Mul", "x", c), n("Mul", n("Concat", n("Neg", b), a, axis=-1), s))


@row("rotate_every_two", ["Rotary"], HEADS)
def _(n):
    c, s = angles(n, 8)
    a, b = n("Slice", "x", [0], [2 ** 63 - 1], [3], [2]), n("Slice", "x", [1], [2 ** 63 - 1], [3], [2])
    both = n("Concat", n("Unsqueeze", n("Neg", b), [4]), n("Unsqueeze", a, [4]), axis=-1)
    return n("Add", n("Mul", "x", c), n("Mul", n("Reshape", both, [0, 0, 0, 8]), s))


@row("pairs by Gather, stacked", ["Rotary"], HEADS)
def _(n):
    c, s = angles(n, 4)
    x = n("Reshape", "x", [0, 0, 0, 4, 2])
    a, b = n("Gather", x, n.const(0, np.int64), axis=4), n("Gather", x, n.const(1, np.int64), axis=4)
    first, second = n("Sub", n("Mul", a, c), n("Mul", b, s)), n("Add", n("Mul", a, s), n("Mul", b, c))
    return n("Reshape", n("Concat", n("Unsqueeze", first, [-1]), n("Unsqueeze", second, [-1]), axis=-1), [0, 0, 0, 8])


@row("halves, joined", ["Rotary"], HEADS)
def _(n):
    c, s = angles(n, 4)
    a, b = split(n)
    return n("Concat", n("Sub", n("Mul", a, c), n("Mul", b, s)), n("Add", n("Mul", b, c), n("Mul", a, s)), axis=-1)


@row("a part of each head", ["Slice", "Slice", "Rotary", "Concat"], HEADS)
def _(n):
    c, s = angles(n, 4)
    turned, rest = n("Slice", "x", [0], [4], [3]), n("Slice", "x", [4], [8], [3])
    a, b = split(n, turned)
    turned = n("Add", n("Mul", turned, c), n("Mul", n("Concat", n("Neg", b), a, axis=-1), s))
    return n("Concat", turned, rest, axis=-1)


# --- convolutions and products with what follows them; TensorFlow's channels last

def conv(n, x, last=False):
    x = n("Transpose", x, perm=[0, 3, 1, 2]) if last else x
    y = n("Conv", x, w(6, 6, 3, 3), pads=[1, 1, 1, 1])
    return n("Transpose", y, perm=[0, 2, 3, 1]) if last else y


@row("Conv, normalisation, shortcut, activation", ["Abs", "Conv+BatchNormalization+Add+Relu"], IMAGE)
def _(n):
    y = n("BatchNormalization", conv(n, "x"), *(np.abs(w(6)) + 0.1 for _ in range(4)))
    return n("Relu", n("Add", y, n("Abs", "x")))


@row("Conv, a bias as Add, Clip", ["Conv+Clip"], IMAGE)
def _(n):
    return n("Clip", n("Add", conv(n, "x"), w(1, 6, 1, 1)), 0.0, 6.0)


@row("Gemm, Relu", ["Gemm+Relu"], ["B", 16])
def _(n):
    return n("Relu", n("Gemm", "x", w(20, 16), w(20), transB=1))


@row("MatMul, bias, shortcut", ["MatMul+Add+Add"], SEQUENCE)
def _(n):
    return n("Add", n("Add", n("MatMul", "x", w(16, 16)), w(16)), "x")


@row("channels last: two convolutions", ["Conv+Relu", "Conv"], LAST)
def _(n):
    y = n("Transpose", conv(n, "x", True), perm=[0, 3, 1, 2])
    y = n("Transpose", n("Relu", y), perm=[0, 2, 3, 1])
    return conv(n, y, True)


def main():
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        path, data, out = (pathlib.Path(folder, name) for name in ("m.onnx", "in.npz", "out.npz"))
        machine = pathlib.Path(folder, "machine.json")  # its peaks would be measured again for every row
        pare("probe", "--calibrate", "--seconds=0.5", "--threads=1", "-o", machine)
        for name, steps, shape, opset, build in ROWS:
            net = Net(opset)
            model = net.model(shape, build(net))
            path.write_bytes(model.SerializeToString())
            x = rng.standard_normal([2 if d == "B" else d for d in shape]).astype(np.float32)
            np.savez(data, x=x)
            expected = onnxruntime.InferenceSession(str(path), quiet(), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
            for plain in ([], ["--plain"]):
                layers = json.loads(pare("profile", path, "--json", "--data", data, "--batch=2", "--sort=order", "--seconds=0.001", "--threads=1", f"--profile={machine}", *plain))["layers"]
                found = [row["op"] for row in layers if row["kernel"] not in ("view", "reorder")]
                if not plain and found != steps or plain and any("+" in op for op in found):
                    print(f"{name}{' --plain' if plain else ''}: {', '.join(found)}; wanted {', '.join(steps)}")
                    failed += 1
                pare("infer", path, "--data", data, "-o", out, "--threads=1", *plain)
                gap = np.abs(np.load(out)[model.graph.output[0].name] - expected).max() / max(1, np.abs(expected).max())
                if not gap <= 1e-5:
                    print(f"{name}{' --plain' if plain else ''}: {gap:.1e} from ONNX Runtime")
                    failed += 1
    print(f"{len(ROWS)} spellings, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
