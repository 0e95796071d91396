"""Every version of every operator of the default domain that is numeric and inference. The onnx package's own node cases are written at the
newest version; each is put back to the first and the last opset of every older version whose signature can still say it (an input that
was an attribute becomes one), and what no case of today can say stands in ROWS. pare agrees with ONNX Runtime where that runs the model,
else with the numbers of the case itself, which numpy made, else with onnx's reference evaluator. A version that no model reaches must be
in LEFT_OUT, with the reason."""
import collections
import concurrent.futures
import os
import pathlib
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.backend.test.case.node import collect_testcases
from onnx.defs import OpSchema
from onnx.reference import ReferenceEvaluator

from common import PARE
from test_conformance import close, is_numeric, ops_of, retyped, tensor_of

PER_VERSION = 4  # cases of today put back to one version
RANDOM = np.random.default_rng(11)
X = RANDOM.standard_normal((2, 3, 4, 4)).astype(np.float32)
M = RANDOM.standard_normal((3, 4)).astype(np.float32)
STATISTICS = [RANDOM.random(3).astype(np.float32) + 0.5 for _ in range(4)]
POINTWISE = [RANDOM.random((3, 4, 4)).astype(np.float32) + 0.5 for _ in range(4)]

NOT_NUMERIC = "strings, sequences, optionals, images or maps"
RANDOM_OP = "random"
LEFT_OUT = {
    **{op: NOT_NUMERIC for op in (
        "ConcatFromSequence", "SequenceAt", "SequenceConstruct", "SequenceEmpty", "SequenceErase", "SequenceInsert", "SequenceLength",
        "SequenceMap", "SplitToSequence", "Optional", "OptionalGetElement", "OptionalHasElement", "ImageDecoder", "RegexFullMatch",
        "StringConcat", "StringNormalizer", "StringSplit", "TfIdfVectorizer")},
    **{op: RANDOM_OP for op in (
        "Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike")},
}
# The name that an input of today had when it was an attribute, where it is another one.
AS_ATTRIBUTE = {"pads": ("pads", "paddings"), "constant_value": ("value",), "K": ("k",)}
# What versions without an attribute of today mean, where that is not its default.
IMPLIED = {
    ("RoiAlign", "coordinate_transformation_mode"): b"output_half_pixel",
    ("Resize", "coordinate_transformation_mode"): b"asymmetric", ("Resize", "nearest_mode"): b"floor",
}
# Until this version the operands of these must have one shape, or say in an attribute how they are broadcast.
ONE_SHAPE = {**{op: 7 for op in ("Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Xor", "Equal", "Greater", "Less")},
             **{op: 8 for op in ("Max", "Min", "Sum", "Mean")}}
# ONNX Runtime's result is not what the version says.
RUNTIME_WRONG = {("MaxUnpool", 9), ("MaxUnpool", 11), ("MaxUnpool", 22)}  # indices count in the tensor before the padding that output_shape names
# ONNX Runtime's own transforms are float32: this far from zero where the exact sum is zero.
ROUGH = {"DFT": 1e-3, "STFT": 1e-4}

# where: the operator and version it counts for; feeds by name; expected: what numpy says, or None
Case = collections.namedtuple("Case", "op since opset model feeds expected rtol atol")


def schemas():
    """{op: {since: schema}} of the default domain."""
    table = collections.defaultdict(dict)
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain == "":
            table[schema.name][schema.since_version] = schema
    return table


def formal(parameters, i):
    if i < len(parameters):
        return parameters[i]
    last = parameters[-1] if parameters else None
    return last if last is not None and last.option == OpSchema.FormalParameterOption.Variadic else None


def allows(schema, parameters, names, kinds):
    """Whether the version takes tensors of these element types."""
    for i, name in enumerate(names):
        parameter = formal(parameters, i)
        if parameter is None:
            return False
        wanted = f"tensor({TensorProto.DataType.Name(kinds[name]).lower()})" if name else ""
        allowed = [c.allowed_type_strs for c in schema.type_constraints if c.type_param_str == parameter.type_str] or [[parameter.type_str]]
        if name and wanted not in allowed[0]:
            return False
    return True


def means_the_same(op, since, attributes, arrays):
    """Whether a version gives the numbers that the newest one gives, written with these attributes."""
    shapes = [a.shape for a in arrays]
    if op in ("Softmax", "LogSoftmax", "Hardmax") and since < 13:
        return "axis" in attributes and attributes["axis"].i == len(shapes[0]) - 1
    if since < ONE_SHAPE.get(op, 0):
        return len(set(shapes)) == 1
    if op == "PRelu" and since < 7 or op == "BatchNormalization" and since < 7 or op == "GroupNormalization" and since < 21:
        return False
    if op == "Gemm" and since < 7:
        return shapes[2] == (shapes[0][0], shapes[1][1]) and "transA" not in attributes and "transB" not in attributes
    if op == "Dropout" and since < 7:
        return False
    if op == "GridSample" and since < 20:
        return "mode" not in attributes
    if op == "Selu" and since < 6:
        return "alpha" in attributes and "gamma" in attributes
    return True


def as_attribute(array, kind):
    values = [v.item() for v in np.asarray(array).ravel()]
    if kind in (OpSchema.AttrType.INTS, OpSchema.AttrType.FLOATS):
        return values
    return values[0] if len(values) == 1 else None


def inputs_of(node, newest, schema, arrays, attributes):
    """The node's inputs where this version has them; what it has as attributes joins those. None where it has neither."""
    names, inputs = [p.name for p in schema.inputs], []
    for i, name in enumerate(node.input):
        today = formal(newest.inputs, i)
        if today.name in names and today.option != OpSchema.FormalParameterOption.Variadic:
            at = names.index(today.name)
        elif i == 0 or len(schema.inputs) == len(newest.inputs):
            at = i
        elif name == "":
            continue
        else:
            old = [a for a in AS_ATTRIBUTE.get(today.name, (today.name,)) if a in schema.attributes]
            value = as_attribute(arrays[name], schema.attributes[old[0]].type) if old else None
            if value is None:
                return None
            attributes[old[0]] = helper.make_attribute(old[0], value, attr_type=int(schema.attributes[old[0]].type.value))
            continue
        inputs += [""] * (at + 1 - len(inputs))
        inputs[at] = name
    return inputs


def attributes_fit(op, newest, schema, attributes):
    """Drops what older versions mean anyway; False when one says what this version cannot."""
    for (named, attribute), value in IMPLIED.items():
        known = attribute in attributes and attributes[attribute].s == value
        if named == op and attribute not in schema.attributes and attribute in newest.attributes and not known:
            return False
    for name in list(attributes):
        if name in schema.attributes:
            if attributes[name].type != int(schema.attributes[name].type.value):
                return False
            continue
        default = newest.attributes[name].default_value
        meant = IMPLIED.get((op, name), helper.get_attribute_value(default) if default.type else None)
        if helper.get_attribute_value(attributes[name]) != meant:
            return False
        del attributes[name]
    return all(name in attributes for name, a in schema.attributes.items() if a.required)


def model_of(node, opset, inputs, outputs, held=()):
    graph = helper.make_graph([node], "g", inputs, outputs, list(held))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8 if opset < 21 else 10)


def put_back(case, newest, schema, opset):
    """The one-node case as an older version spells it; None where it cannot."""
    node = case.model.graph.node[0]
    arrays = {v.name: numpy_helper.to_array(tensor_of(a)) for v, a in zip(case.model.graph.input, case.data_sets[0][0])}
    kinds = {v.name: v.type.tensor_type.elem_type for v in [*case.model.graph.input, *case.model.graph.output]}
    attributes = {a.name: a for a in node.attribute}
    inputs = inputs_of(node, newest, schema, arrays, attributes)
    if inputs is None or not attributes_fit(node.op_type, newest, schema, attributes):
        return None
    while inputs and inputs[-1] == "":
        inputs.pop()
    if not schema.min_input <= len(inputs) <= schema.max_input or len(node.output) > schema.max_output:
        return None
    if not (allows(schema, schema.inputs, inputs, kinds) and allows(schema, schema.outputs, node.output, kinds)):
        return None
    if not means_the_same(node.op_type, schema.since_version, attributes, [arrays[n] for n in inputs if n]):
        return None
    made = helper.make_node(node.op_type, inputs, list(node.output))
    made.attribute.extend(attributes.values())
    kept = [v for v in case.model.graph.input if v.name in inputs]
    expected = [numpy_helper.to_array(tensor_of(a)) for a in case.data_sets[0][1]]
    return Case(node.op_type, schema.since_version, opset, model_of(made, opset, kept, list(case.model.graph.output)),
                {v.name: arrays[v.name] for v in kept}, expected, case.rtol, case.atol)


# ---- what no case of today can say ----


def resized(x, height, width):
    return x.repeat(height, 2).repeat(width, 3)


def normed(x, statistics, axes):
    shape = [1, *x.shape[1:]] if axes == "all" else [1, -1] + [1] * (x.ndim - 2)
    scale, bias, mean, variance = (s.reshape(shape) for s in statistics)
    return scale * (x - mean) / np.sqrt(variance + 1e-5) + bias


def by_batch(x, statistics):
    return normed(x, [*statistics[:2], x.mean((0, 2, 3)), x.var((0, 2, 3))], "channel")


def softmax_over(x, axis):
    flat = x.reshape(int(np.prod(x.shape[:axis])), -1)
    e = np.exp(flat - flat.max(1, keepdims=True))
    return (e / e.sum(1, keepdims=True)).reshape(x.shape)


def lp_pool(x, p):
    parts = np.stack([x[:, :, i::2, j::2] for i in range(2) for j in range(2)])
    return (np.abs(parts) ** p).sum(0) ** (1 / p)


def group_norm(x, scale, bias):
    g = x.reshape(x.shape[0], len(scale), -1)
    g = (g - g.mean(2, keepdims=True)) / np.sqrt(g.var(2, keepdims=True) + 1e-5)
    return (g * scale.reshape(1, -1, 1) + bias.reshape(1, -1, 1)).reshape(x.shape)


def roi_pool(x, rois, size):
    out = np.zeros((len(rois), x.shape[1], size, size), np.float32)
    for r, (image, left, top, right, bottom) in enumerate(rois.astype(int)):
        high, wide = (bottom - top + 1) / size, (right - left + 1) / size
        for i in range(size):
            for j in range(size):
                rows = slice(top + int(np.floor(i * high)), top + int(np.ceil((i + 1) * high)))
                columns = slice(left + int(np.floor(j * wide)), left + int(np.ceil((j + 1) * wide)))
                out[r, :, i, j] = x[image, :, rows, columns].max((1, 2))
    return out


POWERS = np.abs(M) + np.float32(0.1)
TRUTH = M > 0
ROIS = np.float32([[0, 0, 0, 3, 3], [1, 1, 1, 3, 2]])
COLUMN = POWERS[:, 0].copy()  # along axis 0 of M
BROADCAST = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide, "Pow": np.power, "Greater": np.greater, "Less": np.less,
    "And": np.logical_and, "Or": np.logical_or, "Xor": np.logical_xor, "Equal": np.equal,
}


def broadcast_row(op):
    """The second operand along axis 0 of the first, as the attributes of opsets 1 to 6 say."""
    a, b = (TRUTH, TRUTH[:, 0].copy()) if op in ("And", "Or", "Xor") else (POWERS, COLUMN)
    if op == "Equal":
        a, b = np.int32(M * 2), np.int32(M[:, 0] * 2)
    return (op, 1, 6, [a, b], {"broadcast": 1, "axis": 0}, [BROADCAST[op](a, b[:, None])])


# operator, first opset, last opset (None: the newest), inputs, attributes, expected (None: ONNX Runtime or the reference must know)
ROWS = [
    *(broadcast_row(op) for op in BROADCAST),
    ("PRelu", 1, 6, [X, STATISTICS[0]], {}, [np.where(X < 0, X * STATISTICS[0].reshape(1, 3, 1, 1), X)]),
    ("PRelu", 1, 6, [M, COLUMN[:1]], {}, [np.where(M < 0, M * COLUMN[0], M)]),
    ("Gemm", 1, 6, [M, M, COLUMN], {"transB": 1, "broadcast": 1, "alpha": 0.5}, [0.5 * M @ M.T + COLUMN]),
    ("Cast", 1, 5, [M * 3], {"to": "INT32"}, [np.trunc(M * 3).astype(np.int32)]),
    ("Cast", 1, 5, [M], {"to": "BOOL"}, [M != 0]),
    ("Cast", 1, 5, [M], {"to": "DOUBLE"}, [M.astype(np.float64)]),
    ("Cast", 1, 5, [np.int8([[-3, 7]])], {"to": "FLOAT16"}, [np.float16([[-3, 7]])]),
    ("Concat", 1, 3, [X, X], {}, [np.concatenate([X, X], 1)]),
    ("Concat", 1, 3, [M, M], {"axis": 0}, [np.concatenate([M, M], 0)]),
    ("Dropout", 1, 6, [M], {"is_test": 1, "ratio": 0.7}, [M]),
    ("Dropout", 1, 6, [M], {"ratio": 0.0}, [M]),
    ("Reshape", 1, 4, [X], {"shape": [0, -1, 8]}, [X.reshape(2, -1, 8)]),
    ("Reshape", 1, 4, [X], {"shape": [96], "consumed_inputs": [0]}, [X.reshape(96)]),
    ("Pad", 1, 1, [M], {"paddings": [1, 0, 0, 2], "value": 1.5}, [np.pad(M, ((1, 0), (0, 2)), constant_values=1.5)]),
    ("Pad", 1, 1, [M], {"paddings": [1, 1, 0, 2], "mode": "reflect"}, [np.pad(M, ((1, 0), (1, 2)), mode="reflect")]),
    ("Split", 1, 1, [M, np.float32([1, 3])], {"axis": 1}, [M[:, :1], M[:, 1:]]),
    ("Split", 1, 1, [M], {"axis": 1, "split": [3, 1]}, [M[:, :3], M[:, 3:]]),
    ("Split", 1, 12, [M], {"axis": 1}, [M[:, :2], M[:, 2:]]),
    ("Tile", 1, 5, [M, np.float32([3]), np.float32([1])], {}, [np.tile(M, (1, 3))]),
    ("Tile", 1, 5, [M, np.array(2, np.float32), np.array(0, np.float32)], {}, [np.tile(M, (2, 1))]),
    ("Upsample", 1, 6, [X], {"height_scale": 2.0, "width_scale": 3.0}, [resized(X, 2, 3)]),
    ("Upsample", 7, 8, [X], {"scales": [1.0, 1.0, 2.0, 2.0], "mode": "linear"}, None),
    ("Upsample", 9, 9, [X, np.float32([1, 1, 2, 3])], {}, [resized(X, 2, 3)]),
    ("TopK", 1, 9, [M], {"k": 2, "axis": 1}, [-np.sort(-M, 1)[:, :2], np.argsort(-M, 1)[:, :2]]),
    ("Clip", 1, 5, [M], {"max": 0.25}, [np.minimum(M, np.float32(0.25))]),
    ("Clip", 1, 10, [M], {"min": -0.5, "max": 0.25}, [np.clip(M, np.float32(-0.5), np.float32(0.25))]),
    ("Clip", 11, None, [M, np.array(-0.5, np.float32), np.array(0.25, np.float32)], {}, [np.clip(M, np.float32(-0.5), np.float32(0.25))]),
    ("Selu", 1, 5, [M], {}, [1.0507 * np.where(M < 0, 1.6732 * np.expm1(M), M)]),
    ("LpPool", 1, 1, [X], {"kernel_shape": [2, 2], "strides": [2, 2], "p": 3.0}, [lp_pool(X, 3)]),
    ("LpPool", 2, None, [X], {"kernel_shape": [2, 2], "strides": [2, 2], "p": 3}, [lp_pool(X, 3)]),
    ("GlobalLpPool", 1, 1, [X], {"p": 3.0}, [(np.abs(X) ** 3).sum((2, 3), keepdims=True) ** (1 / 3)]),
    ("GlobalLpPool", 2, None, [X], {"p": 3}, [(np.abs(X) ** 3).sum((2, 3), keepdims=True) ** (1 / 3)]),
    ("Softmax", 1, 12, [X], {}, [softmax_over(X, 1)]),
    ("Softmax", 1, 12, [X], {"axis": 2}, [softmax_over(X, 2)]),
    ("LogSoftmax", 1, 12, [X], {}, [np.log(softmax_over(X, 1))]),
    ("Hardmax", 1, 12, [M], {}, [(M == M.max(1, keepdims=True)).astype(np.float32)]),
    ("BatchNormalization", 1, 5, [X, *STATISTICS], {"is_test": 1, "consumed_inputs": [0, 0, 0, 1, 1]}, [normed(X, STATISTICS, "channel")]),
    ("BatchNormalization", 1, 5, [X, *STATISTICS], {"consumed_inputs": [0, 0, 0, 1, 1]}, [by_batch(X, STATISTICS)]),
    ("BatchNormalization", 6, 6, [X, *STATISTICS], {"is_test": 1}, [normed(X, STATISTICS, "channel")]),
    ("BatchNormalization", 6, 6, [X, *STATISTICS], {}, [by_batch(X, STATISTICS)]),
    ("BatchNormalization", 6, 6, [X, *POINTWISE], {"is_test": 1, "spatial": 0}, [normed(X, POINTWISE, "all")]),
    ("BatchNormalization", 7, 8, [X, *POINTWISE], {"spatial": 0}, [normed(X, POINTWISE, "all")]),
    ("BatchNormalization", 7, None, [X, *STATISTICS], {}, [normed(X, STATISTICS, "channel")]),
    ("GroupNormalization", 18, 20, [X[:, :2].copy(), np.float32([0.5, 2]), np.float32([1, -1])], {"num_groups": 2},
     [group_norm(X[:, :2], np.float32([0.5, 2]), np.float32([1, -1]))]),
    ("GroupNormalization", 18, 20, [X.reshape(2, 4, 3, 4), np.float32([0.5, 2]), np.float32([1, -1])], {"num_groups": 2},
     [group_norm(X.reshape(2, 4, 3, 4), np.float32([0.5, 2]), np.float32([1, -1]))]),
    ("Scatter", 9, 10, [M, np.int64([[0, 2, 1, 1]]), np.float32([[9, 8, 7, 6]])], {"axis": 0}, None),
    ("Resize", 10, 10, [X, np.float32([1, 1, 2, 3])], {}, [resized(X, 2, 3)]),
    ("Resize", 10, 10, [X, np.float32([1, 1, 2, 1.5])], {"mode": "linear"}, None),
    ("MaxRoiPool", 1, None, [X, ROIS], {"pooled_shape": [2, 2]}, [roi_pool(X, ROIS, 2)]),
    ("GridSample", 16, 19, [X, np.tanh(RANDOM.standard_normal((2, 3, 3, 2))).astype(np.float32)], {"mode": "bilinear"}, None),
]


def row_case(table, row, opset):
    op, _, _, arrays, attributes, expected = row
    since = max(v for v in table[op] if v <= opset)
    names = [f"i{k}" for k in range(len(arrays))]
    outputs = [f"o{k}" for k in range(len(expected) if expected else 1)]
    inputs = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in zip(names, arrays)]
    kinds = [helper.np_dtype_to_tensor_dtype(e.dtype) for e in expected] if expected else [TensorProto.FLOAT]
    if expected and kinds[0] == TensorProto.DOUBLE and attributes.get("to") != "DOUBLE":
        expected = [e.astype(np.float32) if e.dtype == np.float64 else e for e in expected]
        kinds = [TensorProto.FLOAT if k == TensorProto.DOUBLE else k for k in kinds]
    results = [helper.make_tensor_value_info(n, k, None) for n, k in zip(outputs, kinds)]
    attributes = {k: v for k, v in attributes.items() if k != "consumed_inputs" or opset < 6}
    node = helper.make_node(op, names, outputs, **attributes)
    return Case(op, since, opset, model_of(node, opset, inputs, results), dict(zip(names, arrays)), expected, 1e-4, 1e-6)


def control_cases(table):
    """If, Loop and Scan with bodies that every opset can say."""
    def info(name, array):
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)

    def nodes(op, *names):
        return helper.make_node(op, list(names[:-1]), [names[-1]])
    flag, count = np.array(False), np.array(3, np.int64)
    for since in sorted(table["If"]):
        branches = {f"{side}_branch": helper.make_graph([nodes(op, "x", side)], side, [], [info(side, M)])
                    for side, op in (("then", "Neg"), ("else", "Abs"))}
        node = helper.make_node("If", ["c"], ["y"], **branches)
        yield Case("If", since, since, model_of(node, since, [info("c", flag), info("x", M)], [info("y", M)]), {"c": flag, "x": M},
                   [np.abs(M)], 1e-5, 1e-7)
    for since in sorted(table["Loop"]):
        body = helper.make_graph([nodes("Sum", "s_in", "x", "s_out"), nodes("Identity", "c_in", "c_out"), nodes("Neg", "s_out", "line")],
                                 "body", [info("i", count), info("c_in", flag), info("s_in", M)],
                                 [info("c_out", flag), info("s_out", M), info("line", M)])
        node = helper.make_node("Loop", ["n", "", "x"], ["last", "lines"], body=body)
        yield Case("Loop", since, since, model_of(node, since, [info("n", count), info("x", M)], [info("last", M), info(
            "lines", np.stack([M] * 3))]), {"n": count, "x": M}, [4 * M, np.stack([-2 * M, -3 * M, -4 * M])], 1e-5, 1e-6)
    for since in sorted(table["Scan"]):
        row = M[0]
        body = helper.make_graph([nodes("Sum", "s_in", "x_in", "s_out"), nodes("Neg", "s_out", "line")], "body",
                                 [info("s_in", row), info("x_in", row)], [info("s_out", row), info("line", row)])
        total, start = np.cumsum(M, 0, dtype=np.float32), np.zeros_like(row)
        if since == 8:  # a batch in front of everything
            start, x, want = start[None], M[None], [total[-1:], -total[None]]
        else:
            x, want = M, [total[-1], -total]
        node = helper.make_node("Scan", (["", "s", "x"] if since == 8 else ["s", "x"]), ["last", "lines"], body=body, num_scan_inputs=1)
        yield Case("Scan", since, since, model_of(node, since, [info("s", start), info("x", x)], [info("last", want[0]), info(
            "lines", want[1])]), {"s": start, "x": x}, want, 1e-5, 1e-6)


def last_opset(versions, since, newest):
    later = [v for v in versions if v > since]
    return min(later) - 1 if later else newest


def all_cases(table, newest_opset):
    today = collections.defaultdict(list)
    for case in collect_testcases(None):
        nodes = case.model.graph.node
        if len(nodes) == 1 and nodes[0].domain == "" and not case.model.functions and is_numeric(case) and not set(
                ops_of(case.model.graph)) & {"If", "Loop", "Scan"}:
            today[nodes[0].op_type].append(case)
    for op, versions in sorted(table.items()):
        for since, schema in sorted(versions.items()):
            if schema.deprecated:
                continue
            made = 0
            for case in today[op]:
                own = case.model.opset_import[0].version
                newest = versions[max(v for v in versions if v <= own)]
                if newest.since_version < since:
                    continue
                opset = since if made % 2 == 0 else last_opset(versions, since, newest_opset)
                old = put_back(case, newest, schema, opset)
                if old is None:
                    continue
                yield old
                made += 1
                if made == PER_VERSION:
                    break
    for row in ROWS:
        versions = table[row[0]]
        last = row[2] or newest_opset
        ends = {v for v in versions if row[1] <= v <= last} | {last_opset(versions, v, newest_opset) for v in versions}
        for opset in sorted({row[1], last} | {e for e in ends if row[1] <= e <= last}):
            yield row_case(table, row, opset)
    yield from control_cases(table)


def runtime_says(case):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(case.model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return session.run(None, case.feeds)
    except Exception:  # it has no kernel for most of the oldest versions
        return None


def reference_says(case):
    try:
        return [np.asarray(r) for r in ReferenceEvaluator(case.model).run(None, case.feeds)]
    except Exception:
        return None


def differs(case, found, expected):
    return next((why for got, want in zip(found, expected) if (why := close(case, got, np.asarray(want)))), None)


Tolerance = collections.namedtuple("Tolerance", "name rtol atol")


def judge(case, folder):
    """('agrees' | 'wrong' | 'refused', who was asked, why)."""
    (folder / "m.onnx").write_bytes(case.model.SerializeToString())
    for k, (name, array) in enumerate(case.feeds.items()):
        (folder / f"input_{k}.pb").write_bytes(numpy_helper.from_array(np.asarray(array), name).SerializeToString())
    done = subprocess.run([PARE, "infer", str(folder / "m.onnx"), "--data", str(folder), "-o", str(folder / "o.npz"), "-q", "--threads=1"],
                          capture_output=True, text=True, check=False, timeout=60, env={**os.environ, "GOMP_SPINCOUNT": "1000"})
    if done.returncode != 0:
        return ("refused" if done.returncode == 4 else "wrong"), "", f"exit {done.returncode}: {done.stderr.strip()[-250:]}"
    with np.load(folder / "o.npz") as archive:
        found = [retyped(archive[o.name], o.type.tensor_type.elem_type) for o in case.model.graph.output]
    tolerance = Tolerance("", case.rtol, max(case.atol, ROUGH.get(case.op, 0)))
    wrong = (case.op, case.since) in RUNTIME_WRONG
    for who, says in (("ONNX Runtime", None if wrong else runtime_says(case)), ("numpy", case.expected),
                      ("the reference", None if case.expected else reference_says(case))):
        if says is not None:
            why = differs(tolerance, found, says)
            return ("wrong", who, f"differs from {who}: {why}") if why else ("agrees", who, "")
    return "wrong", "", "nobody to compare with"


def main():
    warnings.simplefilter("ignore")
    table = schemas()
    newest = max(v for versions in table.values() for v in versions)
    cases = list(all_cases(table, newest))
    reached, asked, bad = collections.Counter(), collections.Counter(), []
    refused = collections.defaultdict(list)
    with tempfile.TemporaryDirectory() as temporary, concurrent.futures.ThreadPoolExecutor(2) as pool:
        def one(numbered):
            folder = pathlib.Path(temporary) / str(numbered[0])
            folder.mkdir()
            return judge(numbered[1], folder)
        for case, (verdict, who, why) in zip(cases, pool.map(one, enumerate(cases))):
            if verdict == "agrees":
                reached[case.op, case.since] += 1
                asked[who] += 1
            elif verdict == "refused":
                refused[case.op, case.since].append(why)
            else:
                bad.append(f"{case.op}-{case.since} at opset {case.opset}: {why}")
    wanted = [(op, since) for op, versions in sorted(table.items()) for since, schema in sorted(versions.items()) if not schema.deprecated]
    missing = [(op, since) for op, since in wanted if op not in LEFT_OUT and not reached[op, since]]
    for line in bad:
        print(line)
    for op, since in missing:
        print(f"{op}-{since}: {refused[op, since][0] if refused[op, since] else 'no model reaches this version'}")
    for op in sorted(LEFT_OUT):
        if op not in table or any(reached[op, since] for since in table[op]):
            print(f"{op}: need not be left out")
            bad.append(op)
    left = sum(op in LEFT_OUT for op, _ in wanted)
    agree = len(wanted) - left - len(missing)
    print(f"{len(wanted)} versions of {len(table)} operators up to opset {newest}: {agree} agree, {left} left out, {len(missing)} missing")
    print(f"{len(cases)} models: " + ", ".join(f"{n} as {who} says" for who, n in asked.most_common())
          + f", {sum(map(len, refused.values()))} refused, {len(bad)} wrong")
    return 1 if bad or missing else 0


if __name__ == "__main__":
    sys.exit(main())
