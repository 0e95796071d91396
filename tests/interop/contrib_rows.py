"""Rows of test_contrib.py: the quantized operators and the fused float ones."""
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

FLOAT, UINT8, INT8, INT32 = TensorProto.FLOAT, TensorProto.UINT8, TensorProto.INT8, TensorProto.INT32
NUMBER = {np.uint8: UINT8, np.int8: INT8}


@dataclass
class Row:
    op: str
    name: str
    inputs: list
    types: list
    attributes: dict = field(default_factory=dict)
    outputs: list = field(default_factory=lambda: [True])
    domain: str = "com.microsoft"
    steps: int = 0
    tolerance: float = 1e-4
    mask: Any = None
    reference: Any = None  # inputs that say the same in a form that ONNX Runtime has on this processor


def bytes_of(random, kind, *shape, low=None, high=None):
    info = np.iinfo(kind)
    return random.integers(info.min if low is None else low, (info.max if high is None else high) + 1, shape).astype(kind)


def scalar(value, kind=np.float32):
    return np.array(value, kind)


def zero_of(kind, offset=3):
    return scalar(128 + offset if kind is np.uint8 else offset, kind)


def quantized_rows():
    random = np.random.default_rng(1)
    for kind in (np.uint8, np.int8):
        yield from elementwise(random, kind)
        yield from pools(random, kind)
        yield from joined(random, kind)
    for a in (np.uint8, np.int8):
        for b in (np.uint8, np.int8):
            yield from products(random, a, b)
    yield from linear(random)
    yield from blocks(random)
    yield from recurrent(random)


def elementwise(random, kind):
    name, out, low = kind.__name__, [NUMBER[kind]], zero_of(kind)
    for op in ("QLinearAdd", "QLinearMul"):
        for left, right in (((2, 3, 40), (2, 3, 40)), ((2, 3, 4, 5), (1, 3, 1, 1)), ((4, 7), (7,)), ((3, 5), (1,)),
                            ((2, 1, 600), (2, 4, 1))):
            for zeros in (True, False):
                a, b = bytes_of(random, kind, *left), bytes_of(random, kind, *right)
                yield Row(op, f"{name} {left} {right} zeros={zeros}",
                          [("feed", a), scalar(0.021), low if zeros else None, b, scalar(0.017), zero_of(kind, -5) if zeros else None,
                           scalar(0.03 if op == "QLinearAdd" else 0.04), zero_of(kind, 9)], out, steps=1,
                          reference=None if zeros else [a, scalar(0.021), scalar(0, kind), ("feed", b), scalar(0.017), scalar(0, kind),
                                                        scalar(0.03 if op == "QLinearAdd" else 0.04), zero_of(kind, 9)])
    for op, attributes in (("QLinearSigmoid", {}), ("QLinearLeakyRelu", {}), ("QLinearLeakyRelu", {"alpha": 0.25})):
        for zeros in (True, False):
            yield Row(op, f"{name} {attributes} zeros={zeros}",
                      [("feed", bytes_of(random, kind, 3, 100)), scalar(0.05), low if zeros else None,
                       scalar(0.004 if "Sig" in op else 0.06), zero_of(kind, -7) if zeros else None], out, attributes, steps=1)
    for axis, opset in ((-1, 13), (1, 13), (1, 11), (2, 12), (0, 13)):
        yield Row("QLinearSoftmax", f"{name} axis={axis} opset={opset}",
                  [("feed", bytes_of(random, kind, 2, 5, 7)), scalar(0.08), low, scalar(1 / 256),
                   scalar(0 if kind is np.uint8 else -128, kind)], out, {"axis": axis, "opset": opset}, steps=1)


def pools(random, kind):
    name, out = kind.__name__, [NUMBER[kind]]
    for attributes in ({"kernel_shape": [2, 2], "strides": [2, 2]}, {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]},
                       {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}, {"kernel_shape": [3, 2], "strides": [2, 1]},
                       {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}, {"kernel_shape": [3, 3], "auto_pad": "SAME_UPPER"}):
        for last in (0, 1):
            shape = (2, 9, 8, 5) if last else (2, 5, 9, 8)
            yield Row("QLinearAveragePool", f"{name} {attributes} channels_last={last}",
                      [("feed", bytes_of(random, kind, *shape)), scalar(0.03), zero_of(kind), scalar(0.025), zero_of(kind, -4)], out,
                      {**attributes, "channels_last": last}, steps=1)
    for shape, last in (((2, 5, 7, 6), 0), ((2, 7, 6, 5), 1), ((1, 3, 50), 0), ((2, 3, 4, 5, 6), 0)):
        yield Row("QLinearGlobalAveragePool", f"{name} {shape} channels_last={last}",
                  [("feed", bytes_of(random, kind, *shape)), scalar(0.03), zero_of(kind), scalar(0.009), zero_of(kind, -4)], out,
                  {"channels_last": last}, steps=last)


def joined(random, kind):
    for axis, widths in ((1, (2, 3, 4)), (-1, (5, 1)), (0, (2, 2))):
        inputs = [scalar(0.05), zero_of(kind)]
        for i, width in enumerate(widths):
            shape = [2, 3, 4]
            shape[axis] = width
            part = bytes_of(random, kind, *shape)
            inputs += [("feed", part) if i == 0 else part, scalar(0.02 + 0.02 * i), zero_of(kind, 2 * i)]
        yield Row("QLinearConcat", f"{kind.__name__} axis={axis}", inputs, [NUMBER[kind]], {"axis": axis}, steps=1)


def products(random, a_kind, b_kind):
    """Weights within 30 of their zero point: more would saturate inside ONNX Runtime's kernels on processors without VNNI."""
    name = f"{a_kind.__name__} {b_kind.__name__}"
    middle = 128 if b_kind is np.uint8 else 0

    def weights(*shape):
        return bytes_of(random, b_kind, *shape, low=middle - 30, high=middle + 30)

    columns = np.linspace(0.005, 0.02, 9, dtype=np.float32)
    column_zeros = (middle + np.arange(9) - 4).astype(b_kind)
    for ta in (0, 1):
        for tb in (0, 1):
            for form in ("tensor", "columns", "float", "alpha"):
                a, b = bytes_of(random, a_kind, *((13, 6) if ta else (6, 13))), weights(*((9, 13) if tb else (13, 9)))
                y = [] if form == "float" else [scalar(0.07), zero_of(a_kind, 6)]
                inputs = [("feed", a), scalar(0.02), zero_of(a_kind), b, columns if form == "columns" else scalar(0.01),
                          column_zeros if form == "columns" else scalar(middle + 2, b_kind),
                          random.integers(-500, 500, 9).astype(np.int32) if form != "tensor" else None, *y]
                yield Row("QGemm", f"{name} transA={ta} transB={tb} {form}", inputs, [NUMBER[a_kind] if y else FLOAT],
                          {"transA": ta, "transB": tb, **({"alpha": 0.5} if form == "alpha" else {})}, steps=1)
    for shape, b_shape in (((4, 13), (13, 9)), ((2, 3, 13), (13, 9)), ((2, 5, 13), (2, 13, 9))):
        for per_column in (False, True):
            for bias in (False, True):
                scale = columns if per_column else scalar(0.01)
                zero = column_zeros if per_column else scalar(middle + 2, b_kind)
                inputs = [("feed", bytes_of(random, a_kind, *shape)), weights(*b_shape), scalar(0.02), scale, zero_of(a_kind),
                          zero, random.standard_normal(9).astype(np.float32) if bias else None]
                yield Row("MatMulIntegerToFloat", f"{name} {shape} {b_shape} per_column={per_column} bias={bias}", inputs, [FLOAT])
                if a_kind is np.uint8:
                    yield Row("DynamicQuantizeMatMul", f"{b_kind.__name__} {shape} {b_shape} per_column={per_column} bias={bias}",
                              [("feed", random.standard_normal(shape).astype(np.float32)), weights(*b_shape), scale, zero,
                               random.standard_normal(9).astype(np.float32) if bias else None], [FLOAT])
    each = (np.linspace(0.005, 0.02, 2 * 3 * 9).reshape(2, 3, 1, 9).astype(np.float32),
            (np.arange(2 * 3 * 9).reshape(2, 3, 1, 9) % 7 + middle).astype(b_kind))
    yield Row("MatMulIntegerToFloat", f"{name} columns of each matrix", [("feed", bytes_of(random, a_kind, 2, 3, 4, 13)),
                                                                        weights(2, 3, 13, 9), scalar(0.02), each[0], zero_of(a_kind),
                                                                        each[1]], [FLOAT])
    if a_kind is np.uint8:
        yield Row("DynamicQuantizeMatMul", f"{b_kind.__name__} columns of each matrix",
                  [("feed", random.standard_normal((2, 3, 4, 13)).astype(np.float32)), weights(2, 3, 13, 9), *each], [FLOAT])
    yield Row("MatMulIntegerToFloat", f"{name} no zero points", [("feed", bytes_of(random, a_kind, 4, 13, high=100)), weights(13, 9),
                                                                scalar(0.02), scalar(0.01)], [FLOAT])


def packed(kind, array):
    return helper.make_tensor("t", kind, array.shape, array.reshape(-1).tolist())


def linear(random):
    """com.microsoft QuantizeLinear and DequantizeLinear."""
    x = random.standard_normal((4, 5, 6)).astype(np.float32)
    for kind in ("uint8", "int8", "uint16", "int16", "uint4", "int4"):
        number = getattr(TensorProto, kind.upper())
        low = 0 if kind[0] == "u" else -(1 << (int(kind[3:]) - 1))
        high = low + (1 << int(kind[4:] if kind[0] == "u" else kind[3:])) - 1
        middle = (low + high + 1) // 2
        step = 6.0 / (high - low)
        for axis in (None, 1):
            count = () if axis is None else (5,)
            scale = np.full(count, step, np.float32) * (1 + np.arange(5, dtype=np.float32) / 10 if axis else np.float32(1))
            zero = packed(number, np.full(count, middle))
            attributes = {} if axis is None else {"axis": axis}
            if "4" in kind and axis is not None:
                continue
            if "4" not in kind:
                yield Row("QuantizeLinear", f"{kind} axis={axis}", [("feed", x), scale, zero], [number], attributes)
                q = random.integers(low, high + 1, (4, 5, 6)).astype(kind)
                yield Row("DequantizeLinear", f"{kind} axis={axis}", [("feed", q), scale, zero], [FLOAT], attributes)
            else:
                q = packed(number, random.integers(low, high + 1, (4, 5, 6)))
                yield Row("DequantizeLinear", f"{kind} axis={axis}", [q, ("feed", np.array([step], np.float32).reshape(())), zero],
                          [FLOAT], attributes)


def blocks(random):
    for bits in (2, 4, 8):
        for k, n, block in ((64, 9, 16), (100, 8, 32), (33, 5, 16), (128, 16, 128)):
            for zeros in ("none", "packed", "float"):
                for bias in (False, True):
                    per_row = -(-k // block)
                    scales = random.uniform(0.01, 0.05, (n, per_row)).astype(np.float32)
                    zero = {"none": None, "packed": bytes_of(random, np.uint8, n, -(-per_row * bits // 8)),
                            "float": random.uniform(0, 1 << bits, (n, per_row)).astype(np.float32)}[zeros]
                    yield Row("MatMulNBits", f"{bits} bits K={k} N={n} block={block} zeros={zeros} bias={bias}",
                              [("feed", random.standard_normal((2, 3, k)).astype(np.float32)),
                               bytes_of(random, np.uint8, n, per_row, block * bits // 8), scales, zero, None,
                               random.standard_normal(n).astype(np.float32) if bias else None], [FLOAT],
                              {"K": k, "N": n, "bits": bits, "block_size": block})
    for kind in ("uint4", "int4", "uint8"):
        number = getattr(TensorProto, kind.upper())
        for bits in ((4,) if kind != "uint8" else (4, 8)):
            for gather, axis in ((0, 1), (0, 2), (1, 2), (2, 0)):
                for zeros in (True, False):
                    if kind == "uint8" and (gather, axis) != (0, 2):
                        continue
                    per_byte = 8 // bits if kind == "uint8" else 1
                    shape = [20, 18, 40]
                    scale_shape = list(shape)
                    scale_shape[axis] = -(-shape[axis] // 16)
                    low = -8 if kind == "int4" else 0
                    top = 15 if kind != "uint8" else 255
                    data_shape, zero_shape = list(shape), list(scale_shape)
                    data_shape[-1] //= per_byte
                    zero_shape[-1] = -(-zero_shape[-1] // per_byte)
                    data = packed(number, random.integers(low, low + top + 1, data_shape))
                    zero = packed(number, random.integers(low, low + top + 1, zero_shape)) if zeros else None
                    picks = random.integers(-18, 18, (2, 3)).astype(np.int64)
                    yield Row("GatherBlockQuantized", f"{kind} {bits} bits gather={gather} quantized={axis} zeros={zeros}",
                              [data, ("feed", picks), random.uniform(0.01, 0.1, scale_shape).astype(np.float32), zero], [FLOAT],
                              {"gather_axis": gather, "quantize_axis": axis, "block_size": 16,
                               **({"bits": bits} if kind == "uint8" else {})})


def recurrent(random):
    steps, batch, inputs, hidden = 6, 3, 5, 4

    def normal(*shape):
        return random.standard_normal(shape).astype(np.float32)

    for kind in (np.int8, np.uint8):
        middle = 128 if kind is np.uint8 else 0
        for direction, count in (("forward", 1), ("reverse", 1), ("bidirectional", 2)):
            for form in ("plain", "states", "peepholes", "columns", "lengths", "clip"):
                weights = [bytes_of(random, kind, count, rows, 4 * hidden, low=middle - 60, high=middle + 60) for rows in (inputs, hidden)]
                shape = (count, 4 * hidden) if form == "columns" else (count,)
                scales = [random.uniform(0.005, 0.02, shape).astype(np.float32) for _ in range(2)]
                zeros = [np.full(shape, middle + 3, kind) for _ in range(2)]
                states = form in ("states", "peepholes")
                yield Row("DynamicQuantizeLSTM", f"{kind.__name__} {direction} {form}",
                          [("feed", normal(steps, batch, inputs)), *weights, normal(count, 8 * hidden) if form != "plain" else None,
                           np.array([6, 6, 6], np.int32) if form == "lengths" else None,
                           normal(count, batch, hidden) * np.float32(0.3) if states else None,
                           normal(count, batch, hidden) if states else None,
                           normal(count, 3 * hidden) if form == "peepholes" else None, scales[0], zeros[0], scales[1], zeros[1]],
                          [FLOAT] * 3, {"hidden_size": hidden, "direction": direction, **({"clip": 0.7} if form == "clip" else {})},
                          [True, True, True], tolerance=1e-4)


def float_rows():
    random = np.random.default_rng(2)

    def normal(*shape):
        return random.standard_normal(shape).astype(np.float32)

    activations = [("Relu", None), ("LeakyRelu", [0.2]), ("Tanh", None), ("Sigmoid", None), ("Clip", [-0.5, 1.5]),
                   ("HardSigmoid", [0.3, 0.4])]
    for name, parameters in [(None, None), *activations]:
        for z in (False, True):
            attributes = {"pads": [1, 1, 1, 1], "strides": [2, 2], **({"activation": name} if name else {}),
                          **({"activation_params": parameters} if parameters else {})}
            yield Row("FusedConv", f"{name} z={z}", [("feed", normal(2, 3, 9, 9)), normal(4, 3, 3, 3), normal(4),
                                                    ("feed", normal(2, 4, 5, 5)) if z else None], [FLOAT], attributes)
    yield Row("FusedConv", "groups, no bias", [("feed", normal(1, 4, 6, 6)), normal(4, 1, 3, 3)], [FLOAT],
              {"group": 4, "activation": "Relu"})
    for name, parameters in activations:
        attributes = {"activation": name, "transB": 1, "alpha": 0.5, "beta": 2.0}
        if parameters:
            attributes["activation_alpha"] = parameters[0]
        if parameters and len(parameters) > 1:
            attributes["activation_beta"] = parameters[1]
        yield Row("FusedGemm", name, [("feed", normal(5, 7)), normal(6, 7), normal(6)], [FLOAT], attributes)
    yield Row("FusedGemm", "no C", [("feed", normal(5, 7)), normal(7, 6)], [FLOAT], {"activation": "Relu"})
    for ta in (0, 1):
        for tb in (0, 1):
            for batch in ((0, 0), (1, 0), (0, 1), (1, 1)):
                a_shape, b_shape = ((2, 3, 5, 4) if ta else (2, 3, 4, 5)), ((2, 3, 6, 5) if tb else (2, 3, 5, 6))
                if batch[0]:
                    a_shape = (a_shape[2], *a_shape[:2], a_shape[3])
                if batch[1]:
                    b_shape = (b_shape[2], *b_shape[:2], b_shape[3])
                if batch[0] and ta:
                    a_shape = (5, 2, 3, 4)
                if batch[1] and tb:
                    b_shape = (6, 2, 3, 5)
                yield Row("FusedMatMul", f"transA={ta} transB={tb} batch={batch}", [("feed", normal(*a_shape)), normal(*b_shape)], [FLOAT],
                          {"transA": ta, "transB": tb, "transBatchA": batch[0], "transBatchB": batch[1], "alpha": 0.7})
    yield Row("FusedMatMul", "vectors", [("feed", normal(5)), normal(5)], [FLOAT], {"alpha": 3.0})
    x = ("feed", normal(3, 4, 8) * 3)
    yield Row("Gelu", "", [x], [FLOAT])
    yield Row("BiasGelu", "", [x, normal(8)], [FLOAT])
    yield Row("FastGelu", "", [x], [FLOAT])
    yield Row("FastGelu", "bias", [x, normal(8)], [FLOAT])
    yield Row("QuickGelu", "", [x], [FLOAT])
    yield Row("QuickGelu", "alpha", [x], [FLOAT], {"alpha": 0.9})
    yield from norms(normal, random)


def norms(normal, random):
    x = ("feed", normal(2, 3, 16))
    for skip in ((2, 3, 16), (1, 3, 16), (3, 16)):
        for beta in (True, False):
            for bias in (True, False):
                yield Row("SkipLayerNormalization", f"skip={skip} beta={beta} bias={bias}",
                          [x, normal(*skip), normal(16), normal(16) if beta else None, normal(16) if bias else None], [FLOAT] * 4,
                          {"epsilon": 1e-5}, [True, False, False, True])
    for bias in (True, False):
        yield Row("SkipSimplifiedLayerNormalization", f"bias={bias}", [x, normal(2, 3, 16), normal(16), normal(16) if bias else None],
                  [FLOAT] * 4, {"epsilon": 1e-6}, [True, False, False, True])
    yield Row("SkipSimplifiedLayerNormalization", "default epsilon, matrices", [("feed", normal(6, 16)), normal(6, 16), normal(16)],
              [FLOAT])
    for axis in (-1, 2, 1):
        yield Row("SimplifiedLayerNormalization", f"axis={axis}", [x, normal(16) if axis != 1 else normal(3, 16)], [FLOAT] * 2,
                  {"axis": axis, "epsilon": 1e-5}, domain="")
    ids, segments = random.integers(0, 20, (2, 5)).astype(np.int32), random.integers(0, 2, (2, 5)).astype(np.int32)
    mask = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], np.int32)
    for with_segments in (True, False):
        for with_mask in (True, False):
            for positions in (None, (1, 5), (2, 5)):
                yield Row("EmbedLayerNormalization", f"segments={with_segments} mask={with_mask} positions={positions}",
                          [("feed", ids), ("feed", segments) if with_segments else None, normal(20, 12), normal(9, 12),
                           normal(2, 12) if with_segments else None, normal(12), normal(12), ("feed", mask) if with_mask else None,
                           random.integers(0, 9, positions).astype(np.int32) if positions else None], [FLOAT, INT32, FLOAT],
                          {"epsilon": 1e-6}, [True, True, True])
