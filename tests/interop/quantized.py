"""What the checks of quantized networks share: quantizing with ONNX Runtime's own tool, running, and cutting a network at its integers.

ONNX Runtime takes part without graph optimization: a QDQ file is then one float operator after another, so nothing saturates, whatever the
weights. Its integer operators (QOperator, dynamic) do saturate on AVX2 without VNNI where signed weights meet unsigned activations;
there signed weights are made with reduce_range (7 bits: two products always fit); unsigned ones need not be."""
import collections
import copy

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

from common import pare

U8, S8, U16, S16 = QuantType.QUInt8, QuantType.QInt8, QuantType.QUInt16, QuantType.QInt16
Form = collections.namedtuple("Form", "name kind activations weights per_channel")
FORMS = [Form("QDQ u8 s8", QuantFormat.QDQ, U8, S8, True), Form("QDQ s8 s8", QuantFormat.QDQ, S8, S8, True),
         Form("QDQ u8 s8 tensor", QuantFormat.QDQ, U8, S8, False), Form("QDQ u8 u8", QuantFormat.QDQ, U8, U8, False),
         Form("QDQ u16 s8", QuantFormat.QDQ, U16, S8, False), Form("QDQ s16 s16", QuantFormat.QDQ, S16, S16, False),
         Form("QOperator u8 s8", QuantFormat.QOperator, U8, S8, True), Form("QOperator u8 u8", QuantFormat.QOperator, U8, U8, False),
         Form("QOperator s8 s8", QuantFormat.QOperator, S8, S8, False),
         Form("dynamic s8", None, None, S8, False), Form("dynamic u8", None, None, U8, False)]
NARROW = {TensorProto.UINT8, TensorProto.INT8, TensorProto.UINT16, TensorProto.INT16}
NEAR_HALF, NEAR_HALF_16 = 1e-3, 0.05  # float32 sums of a value of up to 255 (65535) steps


class Reader(CalibrationDataReader):
    def __init__(self, name, data):
        self.rows = iter([{name: data[i:i + 1]} for i in range(min(20, len(data)))])

    def get_next(self):
        return next(self.rows, None)


def quantize(path, out, form, name, data):
    if form.kind is None:
        quantize_dynamic(path, out, weight_type=form.weights, reduce_range=form.weights == S8)
    else:
        quantize_static(path, out, Reader(name, data), quant_format=form.kind, activation_type=form.activations, weight_type=form.weights,
                        per_channel=form.per_channel, reduce_range=form.kind == QuantFormat.QOperator and form.weights == S8)


def session_of(model):
    """Of a path or a model's bytes."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model if isinstance(model, bytes) else str(model), options, providers=["CPUExecutionProvider"])


def run(model, feeds, files, *extra):
    """What pare makes of the feeds: arrays by output."""
    np.savez(files[0], **feeds)
    pare("infer", model, "--data", files[0], "-o", files[1], *extra)
    with np.load(files[1]) as found:
        return {name: found[name] for name in found.files}


def judge(want, got):
    """(share of samples whose class agrees, decibels). Two best scores within two steps of 1/255 of the range count as agreeing."""
    want, got = want.reshape(-1, want.shape[-1]).astype(np.float64), got.reshape(-1, got.shape[-1]).astype(np.float64)
    top = np.sort(want, axis=1)
    close = top[:, -1] - top[:, -2] <= 2 * np.ptp(want) / 255
    same = (want.argmax(1) == got.argmax(1)) | close
    noise = float(((want - got) ** 2).sum())
    return float(same.mean()), 200.0 if noise == 0 else float(10 * np.log10((want ** 2).sum() / noise))


def typed(model, feeds, names):
    """The values of these tensors by ONNX Runtime."""
    more = copy.deepcopy(model)
    del more.graph.output[:]
    more.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names)
    return dict(zip(names, session_of(more.SerializeToString()).run(list(names), feeds)))


def cut(model, values, samples):
    """The network in pieces: every integer tensor that is in `values` is an output where it is made, and an input where it is read."""
    pieces = copy.deepcopy(model)
    for name, array in values.items():
        for node in pieces.graph.node:
            for i, read in enumerate(node.input):
                if read == name:
                    node.input[i] = f"{name}/given"
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        shape = ["N" if array.shape[0] == samples else array.shape[0], *array.shape[1:]]
        pieces.graph.input.append(helper.make_tensor_value_info(f"{name}/given", kind, shape))
        if name not in {o.name for o in pieces.graph.output}:
            pieces.graph.output.append(helper.make_tensor_value_info(name, kind, shape))
    first = pieces.graph.input[0].type.tensor_type.shape.dim[0]
    if first.dim_param:
        first.dim_param = "N"
    return pieces


def unrounded(node, known):
    """What QuantizeLinear, QLinearAdd or QLinearMul rounds, in steps and in double; None for other ops and where an operand is not known."""
    if node.op_type not in ("QuantizeLinear", "QLinearAdd", "QLinearMul") or any(i and i not in known for i in node.input):
        return None
    given = [known[i].astype(np.float64) if i else 0.0 for i in node.input]
    if node.op_type == "QuantizeLinear":
        return given[0] / given[1]
    a, b = (given[0] - given[2]) * given[1], (given[3] - given[5]) * given[4]
    return (a + b if node.op_type == "QLinearAdd" else a * b) / given[6]


def compare_pieces(path, name, data, files, *extra):
    """Every integer tensor from ONNX Runtime's own integers before it. Returns (tensors, elements, off by a step, unexplained, what).

    A step is explained where the value before it was rounded lies at a half, as far as float32 tells: ONNX Runtime's sum and the exact
    one (or --plain's) fall on two sides of it. Integer operators have no such excuse but for those that ONNX Runtime computes in float
    (pools, Sigmoid, Softmax ...), where one step is let pass and anything more is not; in QLinearAdd and QLinearMul it must be at a half too
(resnet8 in int8 QOperator form: 9 of 2,356,880 values, all (27 - 33) 0.0693667 + (33 - 7) 0.1667213 = 49.4999994 steps)."""
    model = onnx.load(str(path))
    held = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    made = {n.output[0]: n for n in model.graph.node if n.op_type in ("QuantizeLinear", "QGemm") or n.op_type.startswith("QLinear")}
    made = {k: n for k, n in made.items() if n.input[0] not in held}
    before = [n.input[0] for n in made.values() if n.op_type == "QuantizeLinear"]
    seen = typed(model, {name: data}, list(dict.fromkeys([*made, *before])))
    values = {k: seen[k] for k in made if seen[k].ndim > 0 and seen[k].shape[0] == len(data) and
              helper.np_dtype_to_tensor_dtype(seen[k].dtype) in NARROW}
    onnx.save(cut(model, values, len(data)), files[2])
    got = run(files[2], {name: data, **{f"{k}/given": v for k, v in values.items()}}, files, f"--batch={len(data)}", *extra)
    elements, steps, bad, what = 0, 0, 0, ""
    for k, want in values.items():
        node, apart = made[k], np.abs(want.astype(np.int64) - got[k].astype(np.int64))
        elements, steps, wrong = elements + apart.size, steps + int((apart > 0).sum()), apart > 1
        exact = unrounded(node, {**seen, **held})
        if exact is not None:
            near = NEAR_HALF if want.itemsize == 1 else NEAR_HALF_16
            wrong |= (apart > 0) & (np.abs(np.abs(exact - np.floor(exact)) - 0.5) > near)
        elif node.op_type in ("QLinearConv", "QLinearMatMul", "QGemm"):
            wrong |= apart > 0
        if wrong.any():
            bad, what = bad + int(wrong.sum()), what or f"{node.op_type} '{k}' off by {apart.max()}"
    return len(values), elements, steps, bad, what
