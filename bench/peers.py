"""Networks quantized by others: ONNX Runtime's tools in every variant, NNCF. Each maker writes `out` from the float network."""

import collections
import logging
import time

import numpy as np
import onnx
from onnx import numpy_helper, version_converter
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from networks import model_of, samples

U8, S8 = QuantType.QUInt8, QuantType.QInt8
TYPES = {"u8u8": (U8, U8, False), "u8s8": (U8, S8, False), "s8s8": (S8, S8, False), "u8s8 7 bits": (U8, S8, True)}
METHODS = {"MinMax": CalibrationMethod.MinMax, "Entropy": CalibrationMethod.Entropy, "Percentile": CalibrationMethod.Percentile}
Variant = collections.namedtuple("Variant", "name tool make")


class Reader(CalibrationDataReader):
    """One sample a call, as in ONNX Runtime's examples."""

    def __init__(self, feeds, count=None):
        total = len(next(iter(feeds.values())))
        self.rows = iter([{k: v[i : i + 1] for k, v in feeds.items()} for i in range(min(count or total, total))])

    def get_next(self):
        return next(self.rows, None)


def prepared(net, cache):
    """The float network as ONNX Runtime's guide prepares it: opset 13, shapes inferred, optimized (BatchNormalization folded)."""
    path = cache / "prepared" / f"{net.key}.onnx"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    source = model_of(net, cache)
    model = onnx.load(str(source))
    if model.opset_import[0].version < 13:
        source = path.with_suffix(".opset13.onnx")
        onnx.save(version_converter.convert_version(model, 13), str(source))
    quant_pre_process(str(source), str(path), skip_symbolic_shape=True)
    return path


def static(method, types, per_channel, ops=None):
    def make(net, cache, out):
        activations, weights, reduce_range = TYPES[types]
        table = cache / "ranges" / f"{net.key}-{method}{'-' + '-'.join(ops) if ops else ''}.json"
        table.parent.mkdir(parents=True, exist_ok=True)
        source, started = prepared(net, cache), time.perf_counter()
        quantize_static(
            str(source),
            str(out),
            None if table.exists() else Reader(samples(net, "calibration")[0]),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=ops,
            activation_type=activations,
            weight_type=weights,
            per_channel=per_channel,
            reduce_range=reduce_range,
            calibrate_method=METHODS[method],
            calibration_cache_path=table,
        )
        return time.perf_counter() - started

    name = f"{method} {types} per {'channel' if per_channel else 'tensor'}{', ' + '/'.join(ops) + ' only' if ops else ''}"
    return Variant(name, "ONNX Runtime static", make)


def dynamic(weights, per_channel, reduce_range=False):
    def make(net, cache, out):
        started = time.perf_counter()
        quantize_dynamic(str(prepared(net, cache)), str(out), weight_type=weights, per_channel=per_channel, reduce_range=reduce_range)
        return time.perf_counter() - started

    kind = "u8" if weights == U8 else "s8"
    return Variant(f"{kind} per {'channel' if per_channel else 'tensor'}{' 7 bits' if reduce_range else ''}", "ONNX Runtime dynamic", make)


def blocks(block, symmetric, head):
    """Weights alone in 4 bits: MatMulNBits by rounding to nearest."""

    def make(net, cache, out):
        from onnxruntime.quantization import matmul_nbits_quantizer

        logging.getLogger(matmul_nbits_quantizer.__name__).setLevel(logging.WARNING)

        model, started = onnx.load(str(model_of(net, cache))), time.perf_counter()
        last = [n.name for n in model.graph.node if n.op_type == "MatMul"][-1]
        config = matmul_nbits_quantizer.DefaultWeightOnlyQuantConfig(block_size=block, is_symmetric=symmetric, bits=4)
        tool = matmul_nbits_quantizer.MatMulNBitsQuantizer(model, algo_config=config, nodes_to_exclude=None if head else [last])
        tool.process()
        for entry in tool.model.model.opset_import:
            if entry.domain == "":
                entry.version = model.opset_import[0].version if model.opset_import[0].version > 13 else 13
        onnx.save(tool.model.model, str(out))
        return time.perf_counter() - started

    return Variant(
        f"4 bits, blocks of {block}, {'symmetric' if symmetric else 'zero points'}{'' if head else ', without the head'}",
        "ONNX Runtime MatMulNBits",
        make,
    )


def nncf_static(preset, transformer=False):
    def make(net, cache, out):
        import nncf

        feeds, started = samples(net, "calibration")[0], time.perf_counter()
        total = len(next(iter(feeds.values())))
        source = onnx.load(str(prepared(net, cache)))
        done = nncf.quantize(
            source,
            nncf.Dataset([{k: v[i : i + 1] for k, v in feeds.items()} for i in range(total)]),
            subset_size=total,
            preset=getattr(nncf.QuantizationPreset, preset),
            model_type=nncf.ModelType.TRANSFORMER if transformer else None,
        )
        onnx.save(done, str(out))
        return time.perf_counter() - started

    return Variant(f"{preset.lower()}{' transformer' if transformer else ''}", "NNCF", make)


def variants(net):
    """What the others do to this network."""
    if net.kind == "chars":
        return [dynamic(S8, False), dynamic(U8, False), dynamic(S8, True), dynamic(S8, True, True)]
    if net.kind == "embed":
        ops = ["MatMul"]
        return [
            dynamic(U8, False),
            dynamic(S8, True),
            dynamic(S8, True, True),
            static("MinMax", "u8s8", True),
            static("MinMax", "u8s8", True, ops),
            static("MinMax", "u8u8", True, ops),
            static("MinMax", "u8s8 7 bits", True, ops),
            static("MinMax", "s8s8", True, ops),
            static("Percentile", "u8u8", True, ops),
            static("Entropy", "u8u8", True, ops),
            blocks(32, True, True),
            blocks(32, False, True),
            nncf_static("PERFORMANCE", True),
        ]
    if net.kind == "text":  # the default of all ops, then the products alone
        made = [static("MinMax", "u8s8", True), static("MinMax", "u8u8", True)]
        made += [static(m, t, True, ["MatMul"]) for m in METHODS for t in ("u8u8", "u8s8", "u8s8 7 bits")]
        made += [dynamic(U8, False), dynamic(S8, True, True), *[blocks(32, s, h) for s in (True, False) for h in (True, False)]]
        return [*made, nncf_static("MIXED", True)]
    made = [static("MinMax", t, c) for c in (True, False) for t in ("u8s8", "u8u8", "u8s8 7 bits", "s8s8")]
    made += [static(m, t, True) for m in ("Percentile", "Entropy") for t in ("u8s8", "u8u8", "u8s8 7 bits", "s8s8")]
    return [*made, nncf_static("MIXED"), nncf_static("PERFORMANCE")]


def shifted(path, out):
    """The same numbers with uint8 weights around 128, exact in ONNX Runtime on every processor. False where nothing is int8."""
    model = onnx.load(str(path))
    held = {t.name: t for t in model.graph.initializer}
    made = {
        n.input[0]: n
        for n in model.graph.node
        if n.op_type == "DequantizeLinear" and n.input[0] in held and held[n.input[0]].data_type == onnx.TensorProto.INT8
    }
    for name, node in made.items():
        weight = numpy_helper.to_array(held[name]).astype(np.int16) + 128
        held[name].CopyFrom(numpy_helper.from_array(weight.astype(np.uint8), name))
        old = numpy_helper.to_array(held[node.input[2]]) if len(node.input) > 2 and node.input[2] else None
        scale = numpy_helper.to_array(held[node.input[1]])
        zero = np.full(scale.shape, 128, np.uint8) if old is None else (old.astype(np.int16) + 128).astype(np.uint8)
        model.graph.initializer.append(numpy_helper.from_array(zero, name + "/128"))
        for reader in model.graph.node:
            if reader.op_type == "DequantizeLinear" and reader.input[0] == name:
                del reader.input[2:]
                reader.input.append(name + "/128")
    if made:
        model.ir_version = max(model.ir_version, 4)  # before it every initializer is an input, too
        onnx.save(model, str(out))
    return bool(made)
