"""QuantizeLinear and DequantizeLinear at every version that changed them: per tensor, per axis and blocked, 2 to 32 bits, float32 and
float16, with constant and with computed scales, against onnx's reference evaluator and, where it takes the row, ONNX Runtime. Integers
must be equal, but for int16 from float16: the reference and ONNX Runtime from 1.32 on divide and add in float16, whose steps reach 32
there; pare and ONNX Runtime 1.31 take float32."""
import collections
import os
import sys
import tempfile
import warnings

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from common import pare

Row = collections.namedtuple("Row", "op name version kind float inputs attributes held")
BITS = {"UINT8": (8, False), "INT8": (8, True), "UINT16": (16, False), "INT16": (16, True), "UINT4": (4, False), "INT4": (4, True),
        "UINT2": (2, False), "INT2": (2, True), "INT32": (32, True)}
SHAPE = (4, 6, 5)
CHUNK = 60 # rows in one network
RANDOM = np.random.default_rng(11)


def kinds(op, version):
    names = ["UINT8", "INT8"]
    if version >= 21:
        names += ["UINT16", "INT16", "UINT4", "INT4"]
    if version >= 25:
        names += ["UINT2", "INT2"]
    return names + (["INT32"] if op == "DequantizeLinear" else [])


def forms(version):
    """(name, axis, block, shape of the scale): block 0 means per tensor or per axis."""
    yield "tensor", None, 0, ()
    if version >= 13:
        yield "axis 1", 1, 0, (6,)
        yield "axis -1", -1, 0, (5,)
        yield "axis 0", 0, 0, (4,)
    if version >= 21:
        yield "axis 1 block 3", 1, 3, (4, 2, 5)
        yield "axis 1 block 2", 1, 2, (4, 3, 5)
        yield "axis 0 block 4", 0, 4, (1, 6, 5)
        yield "axis -1 block 1", -1, 1, (4, 6, 5)
        yield "axis -1 block 3, cut short", -1, 3, (4, 6, 2)


def limits(kind):
    bits, signed = BITS[kind]
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)


def rows():
    for version in (10, 13, 19, 21, 23, 25):
        for op in ("QuantizeLinear", "DequantizeLinear"):
            for kind in kinds(op, version):
                for name, axis, block, shape in forms(version):
                    for floats in (np.float32, np.float16)[:2 if version >= 19 and kind in ("UINT8", "INT4", "INT16") else 1]:
                        for zeros in (True, False):
                            yield from row(op, version, kind, name, axis, block, shape, floats, zeros)


def row(op, version, kind, name, axis, block, shape, floats, zeros):
    low, high = limits(kind)
    typed = helper.tensor_dtype_to_np_dtype(getattr(TensorProto, kind))
    scale = np.array(2.0 ** -RANDOM.integers(1, 4, shape) * (1 + RANDOM.integers(0, 2, shape) / 2), floats) # halves do come up
    zero = np.zeros(shape, np.int64) if kind == "INT32" else RANDOM.integers(low, high, shape, endpoint=True)
    attributes = {} if axis is None else {"axis": axis}
    if block:
        attributes["block_size"] = block
    if op == "QuantizeLinear":
        x = (RANDOM.integers(-80, 80, SHAPE) / 8 * (40 if BITS[kind][0] == 16 else 1)).astype(floats)
        if not zeros and kind != "UINT8":
            if version < 21:
                return
            attributes["output_dtype"] = getattr(TensorProto, kind)
    else:
        x = RANDOM.integers(max(low, -5000), min(high, 5000), SHAPE, endpoint=True).astype(typed)
        if floats == np.float16 and version >= 23 and zeros:
            scale = scale.astype(np.float32)
            attributes["output_dtype"] = TensorProto.FLOAT16
    inputs = [x, scale] + ([zero.astype(typed)] if zeros else [])
    for held in (True, False):
        more = ("" if zeros else ", no zero point") + ("" if held else ", computed")
        yield Row(op, f"{name}, {np.dtype(floats).name}{more}", version, kind, floats, inputs, attributes, held)


def model_of(chunk):
    """A node a row; (model, feeds)."""
    nodes, given, results, held, feeds = [], [], [], [], {}
    for i, r in enumerate(chunk):
        names = [f"x{i}", f"scale{i}", f"zero{i}"][:len(r.inputs)]
        result = TensorProto.FLOAT16 if r.float == np.float16 else TensorProto.FLOAT
        result = getattr(TensorProto, r.kind) if r.op == "QuantizeLinear" else result
        nodes.append(helper.make_node(r.op, names, [f"y{i}"], **r.attributes))
        results.append(helper.make_tensor_value_info(f"y{i}", result, SHAPE))
        for name, array in zip(names, r.inputs):
            if r.held and not name.startswith("x"):
                held.append(numpy_helper.from_array(array, name))
                continue
            given.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape))
            feeds[name] = array
    graph = helper.make_graph(nodes, "g", given, results, held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", chunk[0].version)], ir_version=min(13, onnx.IR_VERSION)), feeds


def close(a, b, r, who):
    a, b = np.asarray(a).astype(np.float64), np.asarray(b).astype(np.float64)
    newer = tuple(int(part) for part in onnxruntime.__version__.split(".")[:2]) >= (1, 32)  # divides in float16 too
    if r.op == "QuantizeLinear" and (who == "reference" or newer) and r.float == np.float16 and BITS[r.kind][0] == 16:
        return a.shape == b.shape and bool((np.abs(a - b) <= 64).all())
    if r.op == "QuantizeLinear":
        return a.shape == b.shape and bool((a == b).all())
    return a.shape == b.shape and bool(np.allclose(a, b, rtol=1e-3 if r.float == np.float16 else 1e-6, atol=0))


def by_runtime(model, feeds):
    """None where ONNX Runtime does not take the row."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return session.run(None, feeds)[0]
    except Exception:  # pylint: disable=broad-except
        return None


def by_reference(model, feeds):
    try:
        return ReferenceEvaluator(model).run(None, feeds)[0]
    except Exception:  # pylint: disable=broad-except
        return None


def byte_each(array):
    """4- and 2-bit values as pare's arrays hold them: one a byte."""
    kind = str(array.dtype)
    return array.astype(np.uint8 if kind.startswith("u") else np.int8) if kind in ("int4", "uint4", "int2", "uint2") else array


def chunks():
    """Rows of one version and one way to give the scale, at most CHUNK of them: one run of pare each."""
    sorted_rows = collections.defaultdict(list)
    for r in rows():
        sorted_rows[r.version, r.held].append(r)
    for together in sorted_rows.values():
        yield from (together[i:i + CHUNK] for i in range(0, len(together), CHUNK))


def main():
    warnings.simplefilter("ignore")
    counts, failed = collections.Counter(), []
    with tempfile.TemporaryDirectory() as folder:
        path, data, out = (os.path.join(folder, n) for n in ("m.onnx", "in.npz", "out.npz"))
        for number, chunk in enumerate(chunks()):
            model, feeds = model_of(chunk)
            onnx.save(model, path)
            np.savez(data, **{k: byte_each(v) for k, v in feeds.items()})
            pare("infer", path, "--data", data, "-o", out, *(["--plain"] if number % 2 else []))
            found = np.load(out)
            for i, r in enumerate(chunk):
                counts["rows"] += 1
                single, feeds = model_of([r])
                judges = 0
                for who, want in (("reference", by_reference(single, feeds)), ("ONNX Runtime", by_runtime(single, feeds))):
                    if want is None:
                        continue
                    judges += 1
                    counts[who] += 1
                    if not close(found[f"y{i}"], want, r, who):
                        failed.append(f"{r.op}-{r.version} {r.kind} {r.name}: not as {who}")
                counts["judged by neither"] += judges == 0
            found.close()
    print(", ".join(f"{v} {k}" for k, v in counts.items()))
    for line in failed[:40]:
        print(line)
    print(f"{len(failed)} failed")
    return 1 if failed or counts["rows"] == 0 else 0


sys.exit(main())
