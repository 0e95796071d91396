"""One small graph for each rule of test_lint.py: (name, the kernel that node 'it' has to become in ONNX Runtime or None, model)."""
import numpy as np
from onnx import TensorProto as T
from onnx import helper, numpy_helper

NP = {T.INT8: np.int8, T.UINT8: np.uint8, T.INT16: np.int16, T.UINT16: np.uint16, T.INT32: np.int32}
ZERO = {T.INT8: 0, T.UINT8: 128, T.INT16: 0, T.UINT16: 32768}


class Build:
    """A graph in the making. quantize/dequantize append a node and give back the name of its output."""

    def __init__(self, opset=13):
        self.nodes, self.constants, self.inputs, self.outputs, self.opset, self.count = [], [], [], [], opset, 0

    def constant(self, array):
        self.count += 1
        self.constants.append(numpy_helper.from_array(array, f"c{self.count}"))
        return f"c{self.count}"

    def packed(self, kind, shape):
        """A 4-bit constant of ones."""
        self.count += 1
        bytes_ = bytes([0x11]) * ((int(np.prod(shape)) + 1) // 2)
        self.constants.append(helper.make_tensor(f"c{self.count}", kind, shape, bytes_, raw=True))
        return f"c{self.count}"

    def node(self, op, inputs, outputs=1, name=None, domain="", **attributes):
        self.count += 1
        made = [f"v{self.count}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, made, name or f"n{self.count}", domain=domain, **attributes))
        return made[0] if outputs == 1 else made

    def input(self, shape, kind=T.FLOAT):
        self.count += 1
        self.inputs.append(helper.make_tensor_value_info(f"x{self.count}", kind, shape))
        return f"x{self.count}"

    def grid(self, kind, scale, zero):
        zero = ZERO[kind] if zero is None else zero
        return [self.constant(np.float32(scale)), self.constant(NP[kind](zero))]

    def quantize(self, value, kind=T.UINT8, scale=0.1, zero=None):
        return self.node("QuantizeLinear", [value, *self.grid(kind, scale, zero)])

    def dequantize(self, value, kind=T.UINT8, scale=0.1, zero=None):
        return self.node("DequantizeLinear", [value, *self.grid(kind, scale, zero)])

    def pair(self, value, kind=T.UINT8, scale=0.1, zero=None):
        return self.dequantize(self.quantize(value, kind, scale, zero), kind, scale, zero)

    def weight(self, shape, kind=T.INT8, channels=None, axis=0):
        w = self.constant(np.ones(shape, NP[kind]))
        if channels is None:
            return self.node("DequantizeLinear", [w, self.constant(np.float32(0.01)), self.constant(NP[kind](0))])
        return self.node("DequantizeLinear", [w, self.constant(np.full(channels, 0.01, np.float32)),
                                              self.constant(np.zeros(channels, NP[kind]))], axis=axis)

    def bias(self, count, kind=T.INT32):
        b = self.constant(np.zeros(count, NP[kind]))
        return self.node("DequantizeLinear", [b, self.constant(np.float32(0.001)), self.constant(NP[kind](0))])

    def output(self, value):
        self.outputs.append(helper.make_tensor_value_info(value, T.FLOAT, None))

    def model(self):
        graph = helper.make_graph(self.nodes, "rule", self.inputs, self.outputs, self.constants)
        return helper.make_model(graph, ir_version=10 if self.opset > 18 else 8,
                                 opset_imports=[helper.make_opsetid("", self.opset), helper.make_opsetid("com.microsoft", 1)])


def conv(kind=T.UINT8, weights=T.INT8, out=None, bias=None, after=None, zero=None, channels=None, opset=13, end="quantized"):
    b = Build(opset)
    inputs = [b.pair(b.input([1, 3, 8, 8]), kind), b.weight([4, 3, 3, 3], weights, channels)]
    if bias == "float":
        inputs.append(b.constant(np.ones(4, np.float32)))
    elif bias is not None:
        inputs.append(b.bias(4, bias))
    y = b.node("Conv", inputs, name="it")
    if after is not None:
        y = b.node(after, [y] + ([b.constant(np.float32(0)), b.constant(np.float32(6))] if after == "Clip" else []))
    if end == "both":
        b.output(y)
    if end == "float reader":
        b.output(b.node("Tanh", [y]))
    if end.endswith("quantizers"):
        b.output(b.pair(y, scale=0.7 if end == "two quantizers" else 0.1))
    b.output(y if end == "output" else b.pair(y, out or kind, zero=zero))
    return b.model()


def gemm(kind=T.UINT8, weights=T.INT8, end="quantized", bias=T.INT32, trans=0, **attributes):
    b = Build()
    inputs = [b.pair(b.input([2, 8]), kind), b.weight([4, 8] if trans else [8, 4], weights)]
    if bias == "float":
        inputs.append(b.constant(np.ones(4, np.float32)))
    elif bias is not None:
        inputs.append(b.bias(4, bias))
    y = b.node("Gemm", inputs, name="it", transB=trans, **attributes)
    b.output(y if end == "output" else b.pair(y, kind))
    return b.model()


def matmul(kind=T.UINT8, weights=T.INT8, end="quantized", shape=(2, 8), add=False, after=None, two=True):
    b = Build()
    x = b.input(list(shape))
    y = b.node("MatMul", [b.pair(x, kind) if two else x, b.weight([8, 4], weights)], name="it")
    if add:
        y = b.node("Add", [y, b.constant(np.ones(4, np.float32))])
    if after:
        y = b.node(after, [y])
    b.output(y if end == "output" else b.pair(y, kind))
    return b.model()


def blocked(kind=T.INT4, block=16, shape=(32, 4), op="MatMul", axis=0):
    b = Build(21)
    w, blocks = b.packed(kind, list(shape)), -(-shape[axis] // block)
    scales = np.ones((blocks, shape[1]) if axis == 0 else (shape[0], blocks), np.float32)
    d = b.node("DequantizeLinear", [w, b.constant(scales)], axis=axis, block_size=block)
    b.output(b.node(op, [b.input([2, shape[0]]), d], name="it"))
    return b.model()


def unary(op, kind=T.UINT8, scale=0.1, out_scale=0.1, shape=(1, 4, 8, 8), extra=(), opset=13, zero=None, **attributes):
    b = Build(opset)
    y = b.node(op, [b.pair(b.input(list(shape)), kind, scale), *[b.constant(e) for e in extra]], name="it", **attributes)
    b.output(b.pair(y, kind, out_scale, zero))
    return b.model()


def binary(op, kinds=(T.UINT8, T.UINT8), out=T.UINT8, floats=0, **attributes):
    b = Build()
    values = [b.pair(b.input([1, 4, 8, 8]), k, 0.1 + i / 10) for i, k in enumerate(kinds)]
    values += [b.input([1, 4, 8, 8]) for _ in range(floats)]
    if op == "Where":
        values.insert(0, b.constant(np.ones((1, 4, 8, 8), bool)))
    b.output(b.pair(b.node(op, values, name="it", **attributes), out))
    return b.model()


def residual(kind):
    """One quantized tensor read by a convolution and by a sum."""
    b = Build()
    q = b.quantize(b.input([1, 4, 8, 8]), kind)
    y = b.node("Conv", [b.dequantize(q, kind), b.weight([4, 4, 1, 1])], name="it")
    y = b.node("Add", [b.pair(y, kind, 0.2), b.dequantize(q, kind)])
    b.output(b.pair(y, kind, 0.3))
    return b.model()


def shared(kind):
    """One DequantizeLinear read twice."""
    b = Build()
    d = b.pair(b.input([1, 4, 8, 8]), kind)
    y = b.node("Conv", [d, b.weight([4, 4, 1, 1])], name="it")
    b.output(b.pair(b.node("Add", [b.pair(y, kind, 0.2), d]), kind, 0.3))
    return b.model()


def slices(kind=T.UINT8):
    """One tensor cut in two, each part read in float: DequantizeLinear moves behind the Slice."""
    b = Build()
    d = b.pair(b.input([1, 4, 8, 8]), kind)
    for i, name in ((0, "it"), (2, "other")):
        ends = [b.constant(np.int64([e])) for e in (i, i + 2, 1)]
        b.output(b.node("Sigmoid", [b.node("Slice", [d, *ends], name=name)]))
    return b.model()


def split(same):
    b = Build()
    made = b.node("Split", [b.pair(b.input([1, 4, 8, 8]))], outputs=2, name="it", axis=1)
    for value in made:
        b.output(b.pair(value, scale=0.1 if same else 0.2))
    return b.model()


def argmax(kind):
    b = Build()
    b.node("ArgMax", [b.pair(b.input([1, 4, 8, 8]), kind)], name="it", axis=1)
    b.outputs.append(helper.make_tensor_value_info(b.nodes[-1].output[0], T.INT64, None))
    return b.model()


def moved(op, *extra, where="before", **attributes):
    """A convolution with a node that only moves numbers between it and its QuantizeLinear or DequantizeLinear."""
    b = Build()
    x = b.input([1, 4, 8, 8])
    extra = [b.constant(e) for e in extra]
    if where == "before":
        x = b.node(op, [b.pair(x), *extra], **attributes)
        y = b.node("Conv", [x, b.weight([4, 4, 1, 1])], name="it")
    else:
        y = b.node(op, [b.node("Conv", [b.pair(x), b.weight([4, 4, 1, 1])], name="it"), *extra], **attributes)
    b.output(b.pair(y))
    return b.model()


def dynamic(weights=T.INT8, fused=True, readers=1, add=False):
    b = Build()
    q, scale, zero = b.node("DynamicQuantizeLinear", [b.input([2, 8])], outputs=3)
    for i in range(readers):
        product = b.node("MatMulInteger", [q, b.constant(np.full((8, 4), i + 1, NP[weights])), zero, b.constant(NP[weights](0))],
                         name="it" if i == 0 else "other")
        if not fused:
            b.outputs.append(helper.make_tensor_value_info(product, T.INT32, None))
            continue
        both = b.node("Mul", [scale, b.constant(np.float32(0.01 * (i + 1)))])
        y = b.node("Mul", [b.node("Cast", [product], to=T.FLOAT), both])
        b.output(b.node("Add", [y, b.constant(np.ones(4, np.float32))]) if add else y)
    return b.model()


def nbits(level):
    b = Build()
    y = b.node("MatMulNBits", [b.input([2, 32]), b.constant(np.zeros((4, 2, 8), np.uint8)), b.constant(np.ones(8, np.float32))],
               name="it", domain="com.microsoft", K=32, N=4, bits=4, block_size=16, accuracy_level=level)
    b.output(y)
    return b.model()


def half(op):
    """A float weight behind a quantized input."""
    b = Build()
    x = b.pair(b.input([2, 8] if op != "Conv" else [1, 4, 8, 8]))
    w = b.constant(np.ones((8, 4) if op != "Conv" else (4, 4, 1, 1), np.float32))
    b.output(b.pair(b.node(op, [x, w], name="it")))
    return b.model()


ROWS = [
    ("Conv u8 s8", "QLinearConv", conv()),
    ("Conv u8 u8", "QLinearConv", conv(weights=T.UINT8)),
    ("Conv s8 s8", "QLinearConv", conv(T.INT8)),
    ("Conv s8 u8 (uint8 after the shift)", "QLinearConv", conv(T.INT8, T.UINT8)),
    ("Conv u16 s8", None, conv(T.UINT16, opset=21)),
    ("Conv per channel", "QLinearConv", conv(channels=4)),
    ("Conv int32 bias", "QLinearConv", conv(bias=T.INT32)),
    ("Conv int8 bias", None, conv(bias=T.INT8)),
    ("Conv float bias is quantized by ONNX Runtime", "QLinearConv", conv(bias="float")),
    ("Conv u8 to s8 (uint8 after the shift)", "QLinearConv", conv(out=T.INT8)),
    ("Conv u8 to u16", None, conv(out=T.UINT16, opset=21)),
    ("Conv is an output of the network", None, conv(end="output")),
    ("Conv is quantized and an output", None, conv(end="both")),
    ("Conv is also read in float", None, conv(end="float reader")),
    ("Conv with two QuantizeLinear", None, conv(end="two quantizers")),
    ("Conv with two equal QuantizeLinear", None, conv(end="equal quantizers")),
    ("Conv, Relu, lowest number at 0", "QLinearConv", conv(after="Relu", zero=0)),
    ("Conv, Relu, grid reaches below 0", None, conv(after="Relu", zero=128)),
    ("Conv s8, Relu, zero point -128", "QLinearConv", conv(T.INT8, after="Relu", zero=-128)),
    ("Conv s8, Relu, zero point 0", None, conv(T.INT8, after="Relu", zero=0)),
    ("Conv, Relu, opset 21", "QLinearConv", conv(after="Relu", zero=0, opset=21)),
    ("Conv, Clip within the grid", None, conv(after="Clip", zero=0)),
    ("Conv float weight is quantized by ONNX Runtime", "QLinearConv", half("Conv")),
    ("Gemm u8 s8", "QGemm", gemm()),
    ("Gemm transB", "QGemm", gemm(trans=1)),
    ("Gemm s8 s8", "QGemm", gemm(T.INT8)),
    ("Gemm without QuantizeLinear", "QGemm", gemm(end="output")),
    ("Gemm without bias", "QGemm", gemm(bias=None)),
    ("Gemm beta 2", None, gemm(beta=2.0)),
    ("Gemm alpha 2", None, gemm(alpha=2.0)),
    ("Gemm alpha 2 without bias", "QGemm", gemm(alpha=2.0, bias=None)),
    ("Gemm float bias, quantized", "QGemm", gemm(bias="float")),
    ("Gemm float bias, output", None, gemm(bias="float", end="output")),
    ("Gemm float weight", "QGemm", half("Gemm")),
    ("MatMul u8 s8", "QLinearMatMul", matmul()),
    ("MatMul s8 s8", "QLinearMatMul", matmul(T.INT8)),
    ("MatMul without QuantizeLinear", "MatMulIntegerToFloat", matmul(end="output")),
    ("MatMul s8 without QuantizeLinear", "MatMulIntegerToFloat", matmul(T.INT8, end="output")),
    ("MatMul, Add becomes Gemm", "QGemm", matmul(add=True)),
    ("MatMul, Add, output", None, matmul(add=True, end="output")),
    ("MatMul of rank 3, Add", "QGemm", matmul(add=True, shape=(2, 3, 8))),
    ("MatMul of rank 3, Add, output", None, matmul(add=True, end="output", shape=(2, 3, 8))),
    ("MatMul of free rank 3, Add", "MatMulIntegerToFloat", matmul(add=True, shape=("N", "T", 8))),
    ("MatMul, Relu, output", "MatMulIntegerToFloat", matmul(after="Relu", end="output")),
    ("MatMul, Relu, grid reaches below 0", None, matmul(after="Relu")),
    ("MatMul, Tanh in float", "MatMulIntegerToFloat", matmul(after="Tanh", end="output")),
    ("MatMul float weight", None, half("MatMul")),
    ("MatMul int8 weights alone", "MatMulNBits", matmul(two=False, end="output")),
    ("MatMul int8 weights alone, quantized", None, matmul(two=False)),
    ("MatMul int4 blocks", "MatMulNBits", blocked()),
    ("MatMul uint4 blocks", "MatMulNBits", blocked(T.UINT4)),
    ("MatMul int4 blocks of 8", None, blocked(block=8)),
    ("MatMul int4 blocks along axis 1", None, blocked(axis=1, shape=(32, 32))),
    ("Gemm int4 blocks", "MatMulNBits", blocked(op="Gemm")),
    ("MatMulNBits in integers", "MatMulNBits", nbits(4)),
    ("MatMulNBits in float", "MatMulNBits", nbits(1)),
    ("dynamic, one reader", "DynamicQuantizeMatMul", dynamic()),
    ("dynamic with bias", "DynamicQuantizeMatMul", dynamic(add=True)),
    ("dynamic uint8 weights", "DynamicQuantizeMatMul", dynamic(T.UINT8)),
    ("dynamic, two readers", "MatMulIntegerToFloat", dynamic(readers=2)),
    ("dynamic, product as integers", "MatMulInteger", dynamic(fused=False)),
    ("residual u8", "QLinearConv", residual(T.UINT8)),
    ("residual s8", None, residual(T.INT8)),
    ("DequantizeLinear read twice, u8", "QLinearConv", shared(T.UINT8)),
    ("DequantizeLinear read twice, s8", None, shared(T.INT8)),
    ("Add", "QLinearAdd", binary("Add")),
    ("Mul", "QLinearMul", binary("Mul")),
    ("Sub has no kernel", None, binary("Sub")),
    ("Add of u8 and s8 (uint8 after the shift)", "QLinearAdd", binary("Add", (T.UINT8, T.INT8))),
    ("Add to s8 (uint8 after the shift)", "QLinearAdd", binary("Add", out=T.INT8)),
    ("Add of a float", None, binary("Add", (T.UINT8,), floats=1)),
    ("Concat", "QLinearConcat", binary("Concat", (T.UINT8, T.UINT8, T.UINT8), axis=1)),
    ("Concat with a float", None, binary("Concat", floats=1, axis=1)),
    ("Where", "QLinearWhere", binary("Where")),
    ("AveragePool", "QLinearAveragePool", unary("AveragePool", kernel_shape=[2, 2])),
    ("GlobalAveragePool", "QLinearGlobalAveragePool", unary("GlobalAveragePool", out_scale=0.3)),
    ("LeakyRelu", "QLinearLeakyRelu", unary("LeakyRelu", alpha=0.1)),
    ("Sigmoid", "QLinearSigmoid", unary("Sigmoid", out_scale=1 / 256, zero=0)),
    ("Softmax", "QLinearSoftmax", unary("Softmax", out_scale=1 / 256, zero=0, axis=1)),
    ("Tanh has no kernel", None, unary("Tanh")),
    ("Relu is taken over by the grid", None, unary("Relu", zero=0)),
    ("MaxPool, one grid", "MaxPool", unary("MaxPool", kernel_shape=[2, 2])),
    ("MaxPool, two grids", None, unary("MaxPool", out_scale=0.2, kernel_shape=[2, 2])),
    ("MaxPool, two zero points", None, unary("MaxPool", zero=3, kernel_shape=[2, 2])),
    ("MaxPool, opset 11", None, unary("MaxPool", kernel_shape=[2, 2], opset=11)),
    ("Reshape, one grid", "Reshape", unary("Reshape", extra=[np.array([4, 64])])),
    ("Reshape, two grids", None, unary("Reshape", out_scale=0.2, extra=[np.array([4, 64])])),
    ("Transpose of int16", "Transpose", unary("Transpose", T.INT16, opset=21)),
    ("MaxPool of int16", None, unary("ReduceMax", T.INT16, opset=21, extra=[np.array([1])])),
    ("Slice of a tensor cut in two", "Slice", slices()),
    ("Split, one grid", "Split", split(True)),
    ("Split, two grids", None, split(False)),
    ("ArgMax", "ArgMax", argmax(T.UINT8)),
    ("ArgMax of int8", "ArgMax", argmax(T.INT8)),
    ("Transpose before Conv", "QLinearConv", moved("Transpose", perm=[0, 1, 3, 2])),
    ("Reshape before Conv", "QLinearConv", moved("Reshape", np.array([1, 4, 4, 16]))),
    ("MaxPool behind Conv", "QLinearConv", moved("MaxPool", where="behind", kernel_shape=[2, 2])),
    ("Reshape behind Conv", "QLinearConv", moved("Reshape", np.array([1, 256]), where="behind")),
    ("Flatten behind Conv", None, moved("Flatten", where="behind")),
]
