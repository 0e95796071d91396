"""What `pare lint` says against what ONNX Runtime does: every network of the zoo, quantized by pare and by ONNX Runtime's own tool in
every form, and hand-made graphs, one for each rule. ONNX Runtime's optimized model is read back; each layer has to have become the kernel
that pare named, or to be float as pare said; so have the nodes
between layers, all but one in two hundred: ONNX Runtime also moves Transposes through them, which pare does not follow.

The target is x86-avx2: fusion is the same on every x86 processor. Parts of names as arguments choose networks."""
import collections
import os
import re
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

from common import FULL, PARE, SIMPLE, ZOO, label, networks, pare
from lint_rows import ROWS

import json
import logging

U8, S8 = QuantType.QUInt8, QuantType.QInt8
# name, format, activations, weights, per channel
FORMS = [("QDQ u8 s8", QuantFormat.QDQ, U8, S8, True), ("QDQ s8 s8", QuantFormat.QDQ, S8, S8, False),
         ("QDQ u8 u8", QuantFormat.QDQ, U8, U8, False), ("QDQ u16 s8", QuantFormat.QDQ, QuantType.QUInt16, S8, False),
         ("QOperator u8 s8", QuantFormat.QOperator, U8, S8, True), ("QOperator s8 s8", QuantFormat.QOperator, S8, S8, False),
         ("dynamic u8 s8", None, None, S8, False)]
LARGE = 12e6 # bytes: only the first and the last form
EVERY_FORM = ["digits", "resnet8_nhwc", "dscnn_nhwc", "mnist_8", "yunet_n_320", "stories260K"] # the others in two, but where all is asked for
TWINS = ["cifar10/resnet20.onnx", "cifar10/resnet56_bn.onnx", "speech/silero_vad.onnx"] # like another one
INTEGER = {"QLinearConv", "QLinearMatMul", "QGemm", "ConvInteger", "MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul",
           "DynamicQuantizeLSTM", "QAttention", "MatMulNBits", "QLinearAdd", "QLinearMul", "QLinearConcat", "QLinearWhere",
           "QLinearAveragePool", "QLinearGlobalAveragePool", "QLinearLeakyRelu", "QLinearSigmoid", "QLinearSoftmax"}


ALL, EXTENDED = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL, onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED


RENAMING = ["MatMulScaleFusion", "MatmulTransposeFusion"] # of float products


def session(path, optimized=None, level=ALL):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = level
    if optimized is not None:
        options.optimized_model_filepath = optimized
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"],
                                        disabled_optimizers=RENAMING if level == EXTENDED else None)


def name_nodes(graph, seen=None):
    """Every node gets a name of its own, the one pare calls it by."""
    seen = seen if seen is not None else set()
    for node in graph.node:
        name = node.name or next((o for o in node.output if o), "node")
        while name in seen:
            name += "_again"
        node.name = name
        seen.add(name)
        for attribute in node.attribute:
            for inner in [attribute.g] if attribute.type == onnx.AttributeProto.GRAPH else attribute.graphs:
                name_nodes(inner, seen)


def all_nodes(graph):
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in [attribute.g] if attribute.type == onnx.AttributeProto.GRAPH else attribute.graphs:
                yield from all_nodes(inner)


def truth(path, level):
    """(by name, by what is read, by what is made, DequantizeLinear by output): what ONNX Runtime made of the nodes. Names get
    _token_N behind them when layouts change."""
    optimized = path + ".optimized.onnx"
    session(path, optimized, level)
    graph = onnx.load(optimized).graph
    os.unlink(optimized)
    named, reading, making, dequantized = {}, collections.defaultdict(list), {}, {}
    for node in all_nodes(graph):
        name = re.sub(r"(_token_\d+)+$", "", node.name)
        named[re.sub(r"/MatMulAddFusion$", "", name)] = node
        for value in node.input:
            reading[value].append(node)
        if not node.op_type.startswith("Reorder"):
            making.update({o: node for o in node.output if o})
        if node.op_type == "DequantizeLinear":
            dequantized.update({o: node for o in node.output})
    return named, reading, making, dequantized


def found(original, constants, named, reading, making, _):
    """The node that stands for one of the file: of its name, else making its output, else reading its constants; None: there is none."""
    stands = named.get(original.name) or making.get(original.output[0])
    for value in original.input if stands is None else ():
        candidates = [n for n in reading.get(value, ()) if n.op_type not in ("DequantizeLinear", "QuantizeLinear")]
        if value in constants and candidates:
            stands = candidates[0]
    return stands


def compare(path):
    """(layers, agreeing, others, agreeing, lines of what differs)"""
    model = onnx.load(path)
    name_nodes(model.graph)
    onnx.save(model, path)
    originals = {n.name: n for n in all_nodes(model.graph)}
    constants = {i.name for i in model.graph.initializer}
    optimized = truth(path, ALL)
    before_layouts = None
    layers = agree = others = others_agree = 0
    wrong = []
    for node in json.loads(pare("lint", "--json", "--target=x86-avx2", path))["nodes"]:
        stands = found(originals[node["name"]], constants, *optimized)
        if stands is None and node["layer"]: # a float convolution in blocks of channels, a scaled product
            before_layouts = before_layouts or truth(path, EXTENDED)
            stands = found(originals[node["name"]], constants, *before_layouts)
        if stands is None:
            if node["layer"]:
                layers += 1
                wrong.append(f"{node['op']} '{node['name']}': nothing in the optimized model stands for it")
            continue
        if "uint16" in (node.get("reason") or "") and stands.op_type == "MatMulNBits":
            fine = True  # from 1.32 on: the activation stays float and the weight alone is read as integers
        elif node["kernel"] in INTEGER or stands.op_type in INTEGER:
            fine = node["kernel"] == stands.op_type
        elif node["layer"]:
            fine = node["fate"] != "integer"
        else:
            fine = (node["fate"] == "integer") != any(i in optimized[-1] for i in stands.input)
        if node["layer"]:
            layers, agree = layers + 1, agree + fine
        else:
            others, others_agree = others + 1, others_agree + fine
        if not fine:
            wrong.append(f"{node['op']} '{node['name']}': pare says {node['kernel'] or 'float'}"
                         f"{' (' + node['reason'] + ')' if 'reason' in node else ''}, ONNX Runtime {stands.op_type}")
    return layers, agree, others, others_agree, wrong


def sample(entries, seed):
    """Something to calibrate with: sizes that are not fixed are 1 for a batch and else 8, one size for one symbol."""
    rng = np.random.default_rng(seed)
    feed, inner = {}, {d for entry in entries for d in entry.shape[1:] if isinstance(d, str)}
    for entry in entries:
        shape = [d if isinstance(d, int) else (1 if i == 0 and d not in inner else 8) for i, d in enumerate(entry.shape)]
        if "int" in entry.type:
            feed[entry.name] = rng.integers(0, 2, shape).astype(np.int32 if "int32" in entry.type else np.int64)
        else:
            feed[entry.name] = rng.normal(size=shape).astype(np.float32)
    return feed


class Reader(CalibrationDataReader):
    def __init__(self, entries):
        self.rows = iter([sample(entries, 0)])

    def get_next(self):
        return next(self.rows, None)


def quantize(source, target, form, entries):
    _, kind, activations, weights, per_channel = form
    if kind is None:
        quantize_dynamic(source, target, weight_type=weights)
    else:
        quantize_static(source, target, Reader(entries), quant_format=kind, activation_type=activations, weight_type=weights,
                        per_channel=per_channel)


def quantize_pare(source, target, entries, folder):
    data = os.path.join(folder, "data.npz")
    np.savez(data, **sample(entries, 0))
    pare("pass", "quantize", *([] if FULL else SIMPLE), f"--data={data}", source, "-o", target, "--force")


def forms_of(path):
    return FORMS if path.stat().st_size < LARGE and (FULL or path.stem in EVERY_FORM) else [FORMS[0], FORMS[-1]]


def zoo(folder, totals):
    failed = 0
    for path in networks():
        if not FULL and label(path) in TWINS:
            continue
        if sys.argv[1:] and not any(part in label(path) for part in sys.argv[1:]):
            continue
        entries = session(str(path)).get_inputs()
        named = os.path.join(folder, "named.onnx")
        model = onnx.load(str(path))
        name_nodes(model.graph)
        onnx.save(model, named)
        for form in [("pare",), *forms_of(path)]:
            small = os.path.join(folder, "small.onnx")
            try:
                if form[0] == "pare":
                    quantize_pare(named, small, entries, folder)
                else:
                    quantize(named, small, form, entries)
                session(small)
            except Exception as error: # pylint: disable=broad-except
                print(f"{label(path):40} {form[0]:16} not made: {str(error).strip().splitlines()[-1][:90]}", flush=True)
                totals["not made"] += 1
                continue
            layers, agree, others, others_agree, wrong = compare(small)
            totals["layers"] += layers
            totals["others"] += others
            print(f"{label(path):40} {form[0]:16} {agree} of {layers} layers, {others_agree} of {others} others", flush=True)
            for line in wrong[:8]:
                print(f"    {line}")
            failed += agree != layers
            totals["others apart"] += others - others_agree
    return failed


def main():
    logging.disable(logging.WARNING)
    onnxruntime.set_default_logger_severity(4)
    failed, totals = 0, collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        for name, want, model in ROWS:
            path = os.path.join(folder, "row.onnx")
            onnx.save(model, path)
            layers, agree, others, others_agree, wrong = compare(path)
            said = {n["name"]: n["kernel"] for n in json.loads(pare("lint", "--json", "--target=x86-avx2", path))["nodes"]}
            fine = layers == agree and others == others_agree and said.get("it") == want
            failed += not fine
            print(f"rule: {name:50} {said.get('it') or 'float':22} {'' if fine else f'FAILED, wanted {want}'}", flush=True)
            for line in wrong:
                print(f"    {line}")
        failed += zoo(folder, totals)
        failed += totals["others apart"] > totals["others"] / 200
    print(f"{len(ROWS)} rules; {totals['layers']} layers and {totals['others']} other nodes of the zoo compared "
          f"({totals['others apart']} of these differ), {totals['not made']} forms could not be made; {failed} failed")
    return 1 if failed else 0


sys.exit(main())
