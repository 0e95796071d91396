"""One function per family of operators: adds a random node to a fuzz_graphs.Builder, in the form of the builder's opset. A node that ONNX
Runtime refuses does not get in, so that these may be careless."""
import numpy as np
from onnx import TensorProto, helper

UNARY = ["Relu", "Sigmoid", "Tanh", "Exp", "Abs", "Neg", "Ceil", "Floor", "Sqrt", "Reciprocal", "Sin", "Cos", "Atan", "Erf", "Softplus", "Softsign", "Sign",
         "Sinh", "Cosh", "Asinh", "Identity", "Log", "HardSwish", "Round", "Mish"]
PARAMETRIC = {"LeakyRelu": ["alpha"], "Elu": ["alpha"], "Selu": ["alpha", "gamma"], "HardSigmoid": ["alpha", "beta"], "ThresholdedRelu": ["alpha"],
              "Celu": ["alpha"], "Shrink": ["lambd", "bias"]}
REDUCE = ["ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare"]
TYPES = [np.float32, np.float32, np.float32, np.int64, np.int32, np.bool_, np.uint8, np.int8, np.float64, np.float16]


def ints(*values):
    return np.array(values, np.int64)


def rank(least, most=5):
    return lambda a: least <= a.ndim <= most


def unary(b):
    b.node(b.choice(UNARY), [b.pick()])


def parametric(b):
    op = b.choice([p for p in PARAMETRIC if p != "ThresholdedRelu" or b.opset >= 10])
    b.node(op, [b.pick()], **{k: float(np.round(b.r.uniform(0.05, 2), 3)) for k in PARAMETRIC[op] if b.chance(0.7)})


def clip(b):
    low, high = sorted(np.round(b.r.uniform(-2, 2, 2), 2))
    if b.opset < 11:
        return b.node("Clip", [b.pick()], min=float(low), max=float(high))
    dtype = b.choice([np.float32] * 4 + [np.int32])
    sides = [b.const(np.array(v, dtype)) if b.chance(0.8) else "" for v in (low, high)]
    return b.node("Clip", [b.pick(dtype=dtype), *sides])


def partner(b, x):
    """Something that broadcasts with the value: of its shape, or with axes of 1 or left out."""
    a = b.arrays[x]
    same = [n for n, v in b.arrays.items() if v.shape == a.shape and v.dtype == a.dtype]
    if b.chance(0.4):
        return b.choice(same)
    dims = [1 if b.chance(0.3) else d for d in a.shape][int(b.r.integers(0, a.ndim + 1)):]
    if b.chance(0.15) and a.ndim < 4:
        dims = [b.batch, *([1] * (a.ndim - len(dims))), *dims]
    return b.fresh(dims, a.dtype)


def binary(b):
    op = b.choice(["Add", "Sub", "Mul", "Div", "Add", "Mul", "Pow", "Max", "Min", "PRelu", "Mod", "Sum", "Mean"])
    dtype = b.choice([np.float32] * 5 + [np.int32, np.int64]) if op not in ("PRelu", "Mean", "Sum") else np.float32
    x = b.pick(dtype=dtype)
    if op in ("Max", "Min", "Sum", "Mean"):
        return b.node(op, [x, *(partner(b, x) for _ in range(int(b.r.integers(0, 3))))])
    y = partner(b, x)
    if op == "PRelu" and np.broadcast_shapes(b.arrays[x].shape, b.arrays[y].shape) != b.arrays[x].shape:
        return None
    if op in ("Div", "Mod") and dtype != np.float32:
        y = b.const(np.where(b.arrays[y] == 0, 3, b.arrays[y]))
    if op == "Mod":
        return b.node(op, [x, y], fmod=1 if dtype == np.float32 or b.chance(0.5) else 0)
    if op == "Pow":
        y = b.const(b.choice([np.array(2, dtype), np.array([1, 2, 3], dtype), np.array(0.5 if dtype == np.float32 else 1, dtype)]))
    sides = [x, y] if op in ("Pow", "PRelu", "Div") or b.chance(0.6) else [y, x]
    return b.node(op, sides)


def compare(b):
    x = b.pick(dtype=b.choice([np.float32, np.int64, np.int32]))
    b.node(b.choice(["Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual"]), [x, partner(b, x)])


def logic(b):
    x = b.pick(dtype=np.bool_)
    op = b.choice(["And", "Or", "Xor", "Not"])
    b.node(op, [x] if op == "Not" else [x, partner(b, x)])


def bits(b):
    x = b.pick(dtype=b.choice([np.int32, np.uint8, np.int64]))
    op = b.choice(["BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot"])
    b.node(op, [x] if op == "BitwiseNot" else [x, partner(b, x)])


def where(b):
    x = b.pick(dtype=b.choice([np.float32, np.int64]))
    b.node("Where", [b.pick(lambda a: a.shape == b.arrays[x].shape, b.arrays[x].shape, np.bool_), x, partner(b, x)])


def cast(b):
    to = b.choice([TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.UINT8])
    b.node("Cast", [b.pick(dtype=b.choice(TYPES))], to=to)


def nan_tests(b):
    b.node(b.choice(["IsNaN", "IsInf"]), [b.pick()])


def axes_of(b, a, empty=True):
    count = int(b.r.integers(0 if empty else 1, a.ndim + 1)) if a.ndim else 0
    axes = b.r.permutation(a.ndim)[:count]
    return [int(k - a.ndim if b.opset >= 11 and b.chance(0.3) else k) for k in axes]


def listed(b, op, x, name, values, since, outputs=1, **more):
    """A list that is an attribute before opset `since` and an input from then on."""
    if not values and (b.chance(0.5) or b.opset < since):
        return b.node(op, [x], outputs, **more)
    if b.opset < since:
        return b.node(op, [x], outputs, **{name: values}, **more)
    return b.node(op, [x, b.const(ints(*values))], outputs, **more)


def reduce(b):
    op = b.choice(REDUCE)
    whole = op not in ("ReduceProd", "ReduceMean", "ReduceL2") and "Log" not in op  # ONNX Runtime computes those of integers in floats
    x = b.pick(rank(0), dtype=b.choice([np.float32] * 4 + [np.int32 if whole else np.float32, np.float64]))
    listed(b, op, x, "axes", axes_of(b, b.arrays[x]), 13 if op == "ReduceSum" else 18, keepdims=int(b.chance(0.6)))


def arg(b):
    x = b.pick(rank(1), [b.batch, 5])
    b.node(b.choice(["ArgMax", "ArgMin"]), [x], axis=int(b.r.integers(b.arrays[x].ndim)), keepdims=int(b.chance(0.5)),
           select_last_index=1 if b.opset >= 12 and b.chance(0.3) else None)


def cumulate(b):
    x = b.pick(rank(1), [b.batch, 5])
    b.node("CumSum", [x, b.const(np.array(b.r.integers(b.arrays[x].ndim), np.int64))], reverse=int(b.chance(0.5)), exclusive=int(b.chance(0.5)))


def top(b):
    x = b.pick(rank(1), [b.batch, 6])
    a = b.arrays[x]
    axis = int(b.r.integers(a.ndim))
    k = int(b.r.integers(0, a.shape[axis] + 1))
    more = {"largest": int(b.chance(0.6))} if b.opset >= 11 else {}
    if b.opset < 10:
        return b.node("TopK", [x], 2, axis=axis, k=max(k, 1))
    return b.node("TopK", [x, b.const(ints(k))], 2, axis=axis, **more)


def reshape(b):
    x = b.pick(dtype=b.choice(TYPES))
    a = b.arrays[x]
    if b.chance(0.5) and a.ndim > 1:
        at = int(b.r.integers(a.ndim - 1))
        dims = [*a.shape[:at], -1, *a.shape[at + 2:]]
    elif b.chance(0.5):
        dims = [0 if b.chance(0.5) else d for d in a.shape] + [1] * int(b.r.integers(0, 2))
    else:
        dims = [-1] if b.chance(0.5) else [1, -1]
    b.node("Reshape", [x, b.const(ints(*dims))], allowzero=1 if b.opset >= 14 and b.chance(0.1) else None)


def views(b):
    op = b.choice(["Flatten", "Squeeze", "Unsqueeze", "Transpose", "Shape", "Size"])
    x = b.pick(dtype=b.choice(TYPES))
    a = b.arrays[x]
    if op == "Flatten":
        return b.node(op, [x], axis=int(b.r.integers(0, a.ndim + 1)))
    if op == "Squeeze":
        return listed(b, op, x, "axes", [i for i, d in enumerate(a.shape) if d == 1 and b.chance(0.7)], 13)
    if op == "Unsqueeze":
        return listed(b, op, x, "axes", sorted(int(k) for k in b.r.permutation(a.ndim + 2)[:2]), 13)
    if op == "Transpose":
        return b.node(op, [x], perm=[int(k) for k in b.r.permutation(a.ndim)] if a.ndim and b.chance(0.8) else None)
    more = {"start": int(b.r.integers(-3, 3)), "end": int(b.r.integers(-3, 4))} if op == "Shape" and b.opset >= 15 and b.chance(0.4) else {}
    return b.node(op, [x], **more)


def shape_chain(b):
    """Reshape by dimensions that are computed from the input's own."""
    x = b.pick(rank(2), [b.batch, 4, 3])
    if b.node("Shape", [x]) and b.node("Gather", [b.made[-1], b.const(ints(0))], axis=0):
        b.node("Concat", [b.made[-1], b.const(ints(-1))], axis=0) and b.node("Reshape", [x, b.made[-1]])


def expand(b):
    x = b.pick(dtype=b.choice(TYPES))
    a = b.arrays[x]
    dims = [int(b.r.integers(1, 4)) if d == 1 else (1 if b.chance(0.3) else d) for d in a.shape]
    b.node("Expand", [x, b.const(ints(*([2] if b.chance(0.3) else []), *dims))])


def blocks(b):
    x = b.pick(lambda a: a.ndim == 4, [b.batch, 8, 4, 4])
    if b.chance(0.5):
        b.node("DepthToSpace", [x], blocksize=2, mode=b.choice(["DCR", "CRD"]) if b.opset >= 11 else None)
    else:
        b.node("SpaceToDepth", [x], blocksize=2)


def concat(b):
    x = b.pick(rank(1), [b.batch, 3], b.choice(TYPES))
    a = b.arrays[x]
    axis = int(b.r.integers(a.ndim))
    others = []
    for _ in range(int(b.r.integers(0, 3))):
        dims = [int(b.r.integers(0, 4)) if i == axis else d for i, d in enumerate(a.shape)]
        others.append(b.pick(lambda v: v.ndim == a.ndim and all(i == axis or d == e for i, (d, e) in enumerate(zip(v.shape, dims))), dims, a.dtype))
    b.node("Concat", [x, *others], axis=axis - a.ndim if b.opset >= 11 and b.chance(0.3) else axis)


def split(b):
    x = b.pick(rank(1), [b.batch, 6], b.choice(TYPES))
    a = b.arrays[x]
    axis = int(b.r.integers(a.ndim))
    first = int(b.r.integers(0, a.shape[axis] + 1))
    parts = [first, a.shape[axis] - first]
    if b.chance(0.4):
        return b.node("Split", [x], 2, axis=axis, num_outputs=2 if b.opset >= 18 else None)
    return listed(b, "Split", x, "split", parts, 13, 2, axis=axis)


def slicing(b):
    x = b.pick(rank(1), [b.batch, 6, 3], b.choice(TYPES))
    a = b.arrays[x]
    axes = [int(k) for k in b.r.permutation(a.ndim)[:int(b.r.integers(1, a.ndim + 1))]]
    starts = [int(b.r.integers(-a.shape[k] - 2, a.shape[k] + 2)) for k in axes]
    ends = [b.choice([int(b.r.integers(-a.shape[k] - 2, a.shape[k] + 2)), 2**31 - 1, 2**63 - 1, -2**31]) for k in axes]
    steps = [b.choice([1, 1, 2, 3, -1, -2]) if e < 2**31 - 1 else b.choice([1, 2]) for e in ends]
    if b.opset < 10:
        return b.node("Slice", [x], starts=starts, ends=ends, axes=axes)
    lists = [starts, ends, axes] + ([steps] if b.chance(0.6) else [])
    return b.node("Slice", [x, *(b.const(ints(*v)) for v in lists)])


def padding(b):
    x = b.pick(rank(1, 4), [b.batch, 3, 4])
    a = b.arrays[x]
    mode = b.choice(["constant", "constant", "reflect", "edge"] + (["wrap"] if b.opset >= 19 else []))
    pads = [int(b.r.integers(-1 if mode == "constant" else 0, 3)) for _ in range(2 * a.ndim)]
    if mode == "reflect":
        pads = [min(p, max(a.shape[i % a.ndim] - 1, 0)) for i, p in enumerate(pads)]
    if b.opset < 11:
        return b.node("Pad", [x], pads=pads, mode=mode, value=1.5)
    return b.node("Pad", [x, b.const(ints(*pads)), *([b.const(np.array(0.5, np.float32))] if b.chance(0.5) else [])], mode=mode)


def tile(b):
    x = b.pick(rank(1, 4), [b.batch, 3], b.choice(TYPES[:5]))
    b.node("Tile", [x, b.const(ints(*(int(b.r.integers(0, 4) if b.chance(0.1) else b.r.integers(1, 3)) for _ in b.arrays[x].shape)))])


def gather(b):
    x = b.pick(rank(1), [b.batch, 5, 3], b.choice(TYPES))
    a = b.arrays[x]
    axis = int(b.r.integers(a.ndim))
    if a.shape[axis] == 0:
        return
    low = -a.shape[axis] if b.opset >= 11 else 0
    dtype = b.choice([np.int64, np.int32])
    op = b.choice(["Gather", "Gather", "GatherElements", "GatherND", "ScatterElements", "ScatterND", "Compress", "ReverseSequence", "OneHot", "Trilu", "NonZero"])
    if op == "Gather":
        return b.node(op, [x, b.const(b.r.integers(low, a.shape[axis], b.shape(int(b.r.integers(0, 3)))).astype(dtype))], axis=axis)
    some = [int(b.r.integers(1, d + 1)) if d else 0 for d in a.shape]
    at = b.const(b.r.integers(low, a.shape[axis], some).astype(dtype))
    if op == "GatherElements":
        return b.node(op, [x, at], axis=axis)
    if op == "ScatterElements":
        at = b.const(np.argsort(b.r.random(some), axis=axis).astype(dtype))
        return b.node(op, [x, at, b.fresh(some, a.dtype)], axis=axis)
    if op == "Trilu":
        return b.node(op, [x, *([b.const(np.array(b.r.integers(-2, 3), np.int64))] if b.chance(0.6) else [])], upper=int(b.chance(0.5)))
    if op == "NonZero":
        return b.node(op, [x])
    if op == "Compress":
        return b.node(op, [x, b.const(b.r.random(a.shape[axis]) < 0.5)], axis=axis)
    if op == "OneHot":
        indices = b.pick(dtype=np.int64, shape=[b.batch, 3])
        return b.node(op, [indices, b.const(np.array(5, np.int64)), b.const(np.array([0, 1], np.float32))], axis=-1)
    if op == "ReverseSequence":
        if a.ndim < 2:
            return None
        return b.node(op, [x, b.const(b.r.integers(1, max(a.shape[0], 1) + 1, a.shape[1]))], batch_axis=1, time_axis=0)
    deep = int(b.r.integers(1, a.ndim + 1))
    count = int(b.r.integers(1, 4))
    if 0 in a.shape:
        return None
    if op == "GatherND":
        return b.node(op, [x, b.const(np.stack([b.r.integers(0, d, count) for d in a.shape[:deep]], -1))])
    flat = b.r.permutation(int(np.prod(a.shape[:deep])))[:count]
    return b.node(op, [x, b.const(np.stack(np.unravel_index(flat, a.shape[:deep]), -1).astype(np.int64)), b.fresh([len(flat), *a.shape[deep:]], a.dtype)])


def window(b, spatial, kernel):
    """Attributes that convolutions and poolings share."""
    more = {"strides": [int(b.r.integers(1, 4)) for _ in range(spatial)] if b.chance(0.6) else None}
    if b.chance(0.25):
        more["auto_pad"] = b.choice(["SAME_UPPER", "SAME_LOWER", "VALID"])
    elif b.chance(0.6):
        more["pads"] = [int(b.r.integers(0, k)) if k > 1 else 0 for k in kernel * 2]
    return more


def conv(b):
    spatial = int(b.choice([1, 2, 2, 2, 3]))
    x = b.pick(lambda a: a.ndim == spatial + 2 and a.shape[1] > 0, [b.batch, int(b.choice([1, 2, 4, 6, 8, 16])), *(int(b.r.integers(1, 10)) for _ in range(spatial))])
    channels = b.arrays[x].shape[1]
    group = int(b.choice([g for g in range(1, channels + 1) if channels % g == 0] + [1, channels]))
    kernel = [int(b.r.integers(1, 4)) for _ in range(spatial)]
    if b.chance(0.75):
        out = group * int(b.r.integers(1, 4))
        weights, bias = [out, channels // group, *kernel], out
        op, more = "Conv", {}
    else:
        per = int(b.r.integers(1, 4))
        weights, bias = [channels, per, *kernel], per * group
        op, more = "ConvTranspose", {"output_padding": [int(b.r.integers(0, 2)) for _ in range(spatial)] if b.chance(0.3) else None}
    w = b.const(b.random(weights)) if b.chance(0.85) else b.feed(b.random(weights))
    b.node(op, [x, w, *([b.const(b.random([bias]))] if b.chance(0.6) else [])], group=group, kernel_shape=kernel if b.chance(0.7) else None,
           dilations=[int(b.r.integers(1, 4)) for _ in range(spatial)] if b.chance(0.4) else None, **more, **window(b, spatial, kernel))


def pool(b):
    spatial = int(b.choice([1, 2, 2, 2, 3]))
    x = b.pick(lambda a: a.ndim == spatial + 2, [b.batch, int(b.r.integers(1, 9)), *(int(b.r.integers(1, 10)) for _ in range(spatial))])
    op = b.choice(["MaxPool", "MaxPool", "AveragePool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool"])
    if op.startswith("Global"):
        return b.node(op, [x])
    kernel = [int(b.r.integers(1, 4)) for _ in range(spatial)]
    more = window(b, spatial, kernel)
    if op != "LpPool" and b.opset >= 10 and b.chance(0.3):
        more["ceil_mode"] = 1
    if op == "AveragePool" and b.chance(0.5):
        more["count_include_pad"] = 1
    if b.chance(0.3) and b.opset >= {"MaxPool": 10, "AveragePool": 19, "LpPool": 18}[op]:
        more["dilations"] = [int(b.r.integers(1, 3)) for _ in range(spatial)]
    pads, wide = more.get("pads") or [0] * 2 * spatial, more.get("dilations") or [1] * spatial
    if any(d + pads[i] + pads[i + spatial] < (kernel[i] - 1) * wide[i] + 1 for i, d in enumerate(b.arrays[x].shape[2:])):
        return None
    return b.node(op, [x], 2 if op == "MaxPool" and b.chance(0.2) else 1, kernel_shape=kernel, **more)


def resize(b):
    x = b.pick(lambda a: a.ndim in (3, 4) and 0 not in a.shape, [b.batch, 2, 4, 5])
    a = b.arrays[x]
    scales = [1.0, 1.0] + [float(b.choice([1, 2, 3, 0.5, 1.5])) for _ in a.shape[2:]]
    mode = b.choice(["nearest", "linear"] + (["cubic"] if b.opset >= 11 and a.ndim == 4 else []))
    if b.opset < 11:
        return b.node("Upsample" if b.opset < 10 else "Resize", [x, b.const(np.array(scales, np.float32))], mode=mode)
    more = {"mode": mode, "coordinate_transformation_mode": b.choice(["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]),
            "nearest_mode": b.choice(["round_prefer_floor", "floor", "ceil", "round_prefer_ceil"]) if mode == "nearest" else None,
            "antialias": 1 if b.opset >= 18 and mode != "nearest" and b.chance(0.2) else None}
    if more["antialias"]:
        more["coordinate_transformation_mode"] = "half_pixel"
    roi = b.const(np.zeros(0, np.float32))
    if b.chance(0.5):
        return b.node("Resize", [x, roi, b.const(np.array(scales, np.float32))], **more)
    sizes = [max(1, int(d * s)) for d, s in zip(a.shape, scales)]
    return b.node("Resize", [x, roi if b.opset < 13 else "", b.const(np.zeros(0, np.float32)) if b.opset < 13 else "", b.const(ints(*sizes))], **more)


def matmul(b):
    x = b.pick(rank(1, 4), [b.batch, 4, 6], b.choice([np.float32] * 5 + [np.int32]))
    a = b.arrays[x]
    inner, out = a.shape[-1], int(b.r.integers(1, 9))
    dims = b.choice([[inner, out], [inner, out], [inner], [*a.shape[:-2], inner, out], [1, inner, out]])
    b.node("MatMul", [x, b.pick(lambda v: list(v.shape) == dims, dims, a.dtype, 0.3)])


def gemm(b):
    x = b.pick(lambda a: a.ndim == 2, [b.batch, 5])
    rows, inner = b.arrays[x].shape
    turn, out = b.chance(0.3), int(b.r.integers(1, 20))
    if turn:
        rows, inner = inner, rows
    flip = b.chance(0.5)
    w = b.const(b.random([out, inner] if flip else [inner, out])) if b.chance(0.8) else b.feed(b.random([out, inner] if flip else [inner, out]))
    bias = b.choice([[out], [1, out], [rows, out], [rows, 1], [], [1]])
    c = [b.fresh(bias)] if b.opset < 11 or b.chance(0.7) else []
    b.node("Gemm", [x, w, *c], transA=int(turn), transB=int(flip), alpha=b.choice([None, 0.5]), beta=b.choice([None, 2.0, 0.0]))


def softmax(b):
    x = b.pick(rank(1), [b.batch, 6])
    b.node(b.choice(["Softmax", "LogSoftmax", "Softmax", "Hardmax"]), [x], axis=int(b.r.integers(b.arrays[x].ndim)) if b.chance(0.7) else None)


def norm(b):
    op = b.choice(["BatchNormalization", "InstanceNormalization", "LayerNormalization", "LRN", "LpNormalization", "GroupNormalization",
                   "MeanVarianceNormalization", "BatchNormalization"])
    x = b.pick(rank(2, 5), [b.batch, 4, 3, 5])
    a = b.arrays[x]
    channel = [b.const((np.abs(b.random([a.shape[1]])) + 0.1).astype(np.float32)) for _ in range(4)]
    if op == "BatchNormalization":
        return b.node(op, [x, *channel], epsilon=b.choice([None, 1e-3]))
    if op == "InstanceNormalization":
        return b.node(op, [x, *channel[:2]])
    if op == "LayerNormalization":
        axis = int(b.r.integers(a.ndim))
        return b.node(op, [x, b.const(b.random(a.shape[axis:])), *([b.const(b.random(a.shape[axis:]))] if b.chance(0.5) else [])], axis=axis)
    if op == "LRN":
        return b.node(op, [x], size=int(b.choice([1, 3, 5])))
    if op == "LpNormalization":
        return b.node(op, [x], axis=int(b.r.integers(a.ndim)), p=int(b.choice([1, 2])))
    if op == "GroupNormalization":
        groups = int(b.choice([g for g in range(1, a.shape[1] + 1) if a.shape[1] % g == 0])) if a.shape[1] else 1
        size = a.shape[1] if b.opset >= 21 else groups
        return b.node(op, [x, b.const(b.random([size])), b.const(b.random([size]))], num_groups=groups)
    return b.node(op, [x]) if a.ndim >= 4 else None


def einsum(b):
    x = b.pick(lambda a: a.ndim == 3, [b.batch, 3, 4])
    a = b.arrays[x]
    rule, dims = b.choice([("bij,jk->bik", [a.shape[2], 3]), ("bij,bjk->bik", [a.shape[0], a.shape[2], 2]), ("bij,bij->b", list(a.shape)),
                           ("bij->jib", None), ("bij,kj", [2, a.shape[2]])])
    b.node("Einsum", [x] + ([] if dims is None else [b.fresh(dims)]), equation=rule)


def quantized(b):
    """QuantizeLinear and DequantizeLinear around a layer, per tensor or per output channel of the weights."""
    kind = b.choice([np.uint8, np.int8])
    scale, zero = b.const(np.array(b.r.uniform(0.01, 0.1), np.float32)), b.const(np.array(b.r.integers(0, 9), kind))
    x = b.pick(lambda a: a.ndim in (2, 4) and a.shape[1] > 0, [b.batch, 4, 6, 6])
    if not (b.node("QuantizeLinear", [x, scale, zero]) and b.node("DequantizeLinear", [b.made[-1], scale, zero])):
        return
    x, a = b.made[-1], b.arrays[x]
    out = int(b.r.integers(1, 9))
    per = b.opset >= 13 and b.chance(0.5)
    shape = [out, a.shape[1], 3, 3] if a.ndim == 4 else [a.shape[1], out]
    w = b.const(b.r.integers(-127, 128, shape).astype(np.int8))
    scales = b.const(b.r.uniform(0.005, 0.02, [out] if per else []).astype(np.float32))
    zeros = b.const(np.zeros([out] if per else [], np.int8))
    if not b.node("DequantizeLinear", [w, scales, zeros], axis=(0 if a.ndim == 4 else 1) if per else None):
        return
    done = b.node("Conv", [x, b.made[-1]], pads=[1, 1, 1, 1]) if a.ndim == 4 else b.node("MatMul", [x, b.made[-1]])
    if done and b.chance(0.7):
        if b.chance(0.5):
            b.node("Relu", [b.made[-1]])
        wide = b.const(np.array(b.r.uniform(0.05, 0.3), np.float32))
        b.node("QuantizeLinear", [b.made[-1], wide, zero]) and b.node("DequantizeLinear", [b.made[-1], wide, zero])


def integer(b):
    op = b.choice(["MatMulInteger", "ConvInteger", "DynamicQuantizeLinear", "QLinearMatMul", "QLinearConv", "QuantizeLinear", "DequantizeLinear"])
    scale, zero = lambda: b.const(np.array(b.r.uniform(0.01, 0.1), np.float32)), lambda t=np.uint8: b.const(np.array(b.r.integers(0, 9), t))
    if op == "DynamicQuantizeLinear":
        return b.node(op, [b.pick()], 3)
    if op == "QuantizeLinear":
        return b.node(op, [b.pick(), scale(), zero(b.choice([np.uint8, np.int8]))])
    kind = b.choice([np.uint8, np.int8])
    if op == "DequantizeLinear":
        return b.node(op, [b.pick(dtype=kind), scale(), zero(kind)])
    if "MatMul" in op:
        x = b.pick(rank(2, 3), [b.batch, 6], np.uint8)
        w = b.const(b.random([b.arrays[x].shape[-1], int(b.r.integers(1, 8))], kind))
    else:
        x = b.pick(lambda a: a.ndim == 4, [b.batch, 3, 6, 6], np.uint8)
        w = b.const(b.random([int(b.r.integers(1, 6)), b.arrays[x].shape[1], 3, 3], kind))
    b.arrays[w] = b.arrays[w] // 2 if kind == np.int8 else b.arrays[w]
    if op in ("MatMulInteger", "ConvInteger"):
        return b.node(op, [x, w, *([zero()] if b.chance(0.6) else [])])
    return b.node(op, [x, scale(), zero(), w, scale(), zero(kind), scale(), zero()])


def recurrent(b):
    op = b.choice(["LSTM", "GRU", "RNN"])
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[op]
    direction = b.choice(["forward", "reverse", "bidirectional"])
    d, hidden = (2 if direction == "bidirectional" else 1), int(b.r.integers(1, 9))
    x = b.pick(lambda a: a.ndim == 3 and 0 not in a.shape, [int(b.r.integers(1, 6)), b.batch, int(b.r.integers(1, 6))])
    steps, batch, size = b.arrays[x].shape
    inputs = [x, b.const(b.random([d, gates * hidden, size])), b.const(b.random([d, gates * hidden, hidden]))]
    inputs.append(b.const(b.random([d, 2 * gates * hidden])) if b.chance(0.6) else "")
    inputs.append(b.const(b.r.integers(0 if b.chance(0.2) else 1, steps + 1, batch).astype(np.int32)) if b.chance(0.3) else "")
    inputs.append(b.fresh([d, batch, hidden]) if b.chance(0.5) else "")
    if op == "LSTM":
        inputs.append(b.fresh([d, batch, hidden]) if b.chance(0.5) else "")
        if b.chance(0.2):
            inputs.append(b.const(b.random([d, 3 * hidden])))
    while inputs[-1] == "":
        inputs.pop()
    each = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Relu"]}[op]
    b.node(op, inputs, 3 if op == "LSTM" else 2, hidden_size=hidden, direction=direction, activations=each * d if b.chance(0.4) else None,
           linear_before_reset=1 if op == "GRU" and b.chance(0.5) else None, clip=0.7 if b.chance(0.1) else None,
           input_forget=1 if op == "LSTM" and b.chance(0.1) else None)


def body(nodes, inputs, outputs, name):
    return helper.make_graph(nodes, name, [helper.make_tensor_value_info(n, t, s) for n, t, s in inputs],
                             [helper.make_tensor_value_info(n, t, None) for n, t in outputs])


def branch(b):
    x = b.pick()
    tag = f"b{len(b.arrays)}"
    def side(op, name):
        return body([helper.make_node(op, [x], [tag + name])], [], [(tag + name, TensorProto.FLOAT)], name)
    b.node("If", [b.feed(np.array(b.chance(0.5)))], then_branch=side(b.choice(["Relu", "Neg"]), "then"), else_branch=side(b.choice(["Exp", "Abs", "Shape"][:2]), "else"))


def loop(b):
    start = b.pick(reuse=0.6)
    other = partner(b, start)
    if np.broadcast_shapes(b.arrays[start].shape, b.arrays[other].shape) != b.arrays[start].shape:
        return
    tag = f"l{len(b.arrays)}"
    f = TensorProto.FLOAT
    nodes = [helper.make_node("Identity", [tag + "go"], [tag + "on"]), helper.make_node("Add", [tag + "in", other], [tag + "sum"]),
             helper.make_node("Tanh", [tag + "sum"], [tag + "out"]), helper.make_node("Identity", [tag + "out"], [tag + "scan"])]
    inner = body(nodes, [(tag + "i", TensorProto.INT64, []), (tag + "go", TensorProto.BOOL, []), (tag + "in", f, None)],
                 [(tag + "on", TensorProto.BOOL), (tag + "out", f), (tag + "scan", f)], "body")
    b.node("Loop", [b.const(np.array(b.r.integers(1, 5), np.int64)), b.const(np.array(True)), start], 2, body=inner)


def scan(b):
    x = b.pick(lambda a: a.ndim in (2, 3) and a.shape[0] > 0, [b.batch + 1, 3])
    tag = f"s{len(b.arrays)}"
    f = TensorProto.FLOAT
    dims = list(b.arrays[x].shape[1:])
    nodes = [helper.make_node("Add", [tag + "s", tag + "x"], [tag + "t"]), helper.make_node("Mul", [tag + "t", tag + "x"], [tag + "y"])]
    inner = body(nodes, [(tag + "s", f, dims), (tag + "x", f, dims)], [(tag + "t", f), (tag + "y", f)], "body")
    b.node("Scan", [b.fresh(dims), x], 2, body=inner, num_scan_inputs=1, scan_input_directions=[1] if b.chance(0.3) else None)


def made(b):
    op = b.choice(["Range", "ConstantOfShape", "EyeLike", "Constant"])
    if op == "Range":
        return b.node(op, [b.const(np.array(v, np.int64)) for v in (int(b.r.integers(-3, 3)), int(b.r.integers(-3, 9)), int(b.choice([1, 2, -1])))])
    if op == "EyeLike":
        return b.node(op, [b.pick(lambda a: a.ndim == 2, [3, 4])], k=int(b.r.integers(-2, 3)))
    value = helper.make_tensor("value", TensorProto.FLOAT, [1], [1.5])
    if op == "Constant":
        return b.node(op, [], value=value)
    return b.node(op, [b.const(ints(*b.shape(int(b.r.integers(0, 4)), 0)))], value=value)


def gelu(b):
    b.node("Gelu", [b.pick()], approximate=b.choice([None, "tanh"])) if b.opset >= 20 else b.node("Gelu", [b.pick()], domain="com.microsoft")


def residual(b):
    """Convolution, BatchNormalization, addition and activation: what plans fuse."""
    x = b.pick(lambda a: a.ndim == 4 and a.shape[1] in (4, 8, 16), [b.batch, 8, 6, 6])
    c = b.arrays[x].shape[1]
    w = b.const(b.random([c, c, 3, 3]) * np.float32(0.2))
    if not b.node("Conv", [x, w, b.const(b.random([c]))], pads=[1, 1, 1, 1]):
        return
    if b.chance(0.5):
        b.node("BatchNormalization", [b.made[-1], *(b.const((np.abs(b.random([c])) + 0.1).astype(np.float32)) for _ in range(4))])
    if b.chance(0.6):
        b.node("Add", [b.made[-1], x] if b.chance(0.5) else [x, b.made[-1]])
    last = b.made[-1]
    op = b.choice(["Relu", "Sigmoid", "Clip6", "Tanh", "LeakyRelu", "Swish", None])
    if op == "Clip6":
        b.node("Clip", [last], min=0.0, max=6.0) if b.opset < 11 else b.node("Clip", [last, b.const(np.float32(0).reshape(())), b.const(np.float32(6).reshape(()))])
    elif op == "Swish":
        b.node("Sigmoid", [last]) and b.node("Mul", [last, b.made[-1]])
    elif op:
        b.node(op, [last])


ALL = [unary, unary, parametric, clip, binary, binary, binary, compare, logic, bits, where, cast, nan_tests, reduce, reduce, arg, cumulate, top, reshape, views, views,
       shape_chain, expand, blocks, concat, concat, split, slicing, slicing, padding, tile, gather, gather, gather, conv, conv, conv, pool, pool, resize,
       matmul, gemm, gemm, softmax, norm, norm, einsum, quantized, integer, recurrent, branch, loop, scan, made, gelu, residual, residual]
