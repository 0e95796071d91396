"""The operators of com.microsoft that ONNX Runtime's quantizer and optimizer write, against ONNX Runtime: one node per row, seeded inputs.
Bytes must be equal or, where the row says so, one step apart (its kernels fold scales in another order); floats within 1e-4 of the
largest. Rows that ONNX Runtime itself refuses on this processor are counted and named."""
import os
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from contrib_attention import attention_rows
from contrib_rows import float_rows, quantized_rows
from common import pare


def build(row, given):
    """A model of one node. Inputs: None is left out; a tuple ('feed', array) is fed, an array is an initializer."""
    names, inputs, constants, feeds = [], [], [], {}
    for i, value in enumerate(given):
        if value is None:
            names.append("")
            continue
        name = f"x{i}"
        names.append(name)
        array = value[1] if isinstance(value, tuple) else value
        tensor = array if isinstance(array, onnx.TensorProto) else numpy_helper.from_array(np.asarray(array), name)
        tensor.name = name
        if isinstance(value, tuple):
            inputs.append(helper.make_tensor_value_info(name, tensor.data_type, tensor.dims))
            feeds[name] = numpy_helper.to_array(tensor)
        else:
            constants.append(tensor)
    outputs = [f"y{i}" if wanted else "" for i, wanted in enumerate(row.outputs)]
    node = helper.make_node(row.op, names, outputs, name="node", domain=row.domain, **row.attributes)
    graph = helper.make_graph([node], "row", inputs, [helper.make_tensor_value_info(o, row.types[i], None) for i, o in enumerate(outputs)
                                                     if o], constants)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10), feeds


def agree(row, name, want, got):
    got = got.reshape(want.shape)
    if want.dtype.kind in "iub":
        apart = np.abs(want.astype(np.int64) - got.astype(np.int64)).max(initial=0)
        return apart <= row.steps, f"{name} differs by {apart}"
    keep = np.isfinite(want) if row.mask is None else row.mask
    want, got = want.astype(np.float64), got.astype(np.float64)
    error = np.abs(np.where(keep, want - got, 0)).max(initial=0) / max(float(np.abs(np.where(keep, want, 0)).max(initial=0)), 1e-30)
    return error <= row.tolerance, f"{name} differs by {error:.1e} of its largest value"


def run(row, folder):
    """'' when both agree, what differs, or None when ONNX Runtime refuses the row."""
    model, feeds = build(row, row.inputs)
    reference, reference_feeds = build(row, row.reference or row.inputs)
    path, data, result = (os.path.join(folder, name) for name in ("row.onnx", "in.npz", "out.npz"))
    onnx.save(model, path)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1  # a quantized LSTM on several quantizes the states of each one's share of the batch apart
    try:
        session = onnxruntime.InferenceSession(reference.SerializeToString(), options, providers=["CPUExecutionProvider"])
        expected = session.run(None, reference_feeds)
    except Exception as error:  # every kind of refusal is one class here
        return None, str(error).splitlines()[0]
    np.savez(data, **feeds)
    try:
        pare("infer", path, "--data", data, "-o", result, f"--batch={max(len(v) if v.ndim else 1 for v in feeds.values())}")
    except RuntimeError as error:
        return False, str(error)
    said = []
    with np.load(result) as found:
        for output, want in zip(session.get_outputs(), expected):
            fine, text = agree(row, output.name, want, found[output.name])
            if not fine:
                said.append(text)
    return not said, "; ".join(said)


def main():
    ran, refused, failed, ops = 0, [], 0, set()
    rows = [*quantized_rows(), *float_rows(), *attention_rows()]
    with tempfile.TemporaryDirectory() as folder:
        for row in rows:
            if len(sys.argv) > 1 and sys.argv[1] not in row.op:
                continue
            fine, text = run(row, folder)
            if fine is None:
                refused.append(f"{row.op} {row.name}: {text}")
                continue
            ran += 1
            ops.add((row.domain, row.op))
            if not fine:
                failed += 1
                print(f"FAILED {row.op} {row.name}: {text[:300]}", flush=True)
    for text in refused:
        print(f"refused by ONNX Runtime: {text[:150]}")
    idle = {(r.domain, r.op) for r in rows} - ops
    for _, op in sorted(idle if len(sys.argv) < 2 else []):
        print(f"FAILED {op}: no row ran")
    print(f"{ran} rows of {len(ops)} operators compared, {failed} failed, {len(refused)} refused by ONNX Runtime")
    return 1 if failed or (idle and len(sys.argv) < 2) else 0


sys.exit(main())
