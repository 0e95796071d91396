"""The node cases that the onnx package generates, against pare and ONNX Runtime: every case whose inputs and outputs are all numeric
tensors and which uses no random, training, string or sequence op. pare must get none wrong, refuse with exit 4 alone, and pass as many
of each op as conformance_counts.json records."""
import argparse
import collections
import concurrent.futures
import json
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

from common import PARE

COUNTS = pathlib.Path(__file__).with_name("conformance_counts.json")
LEAST = 1450
# The expected values of these carry the rounding of a transform in float32 (1.9e-7 where the exact sum is zero): an absolute tolerance.
ROUNDED = {"test_dft_inverse": 1e-6, "test_dft_inverse_opset19": 1e-6}
LEFT_OUT = {  # random, training, strings, sequences and optionals, maps, images from a codec
    "Bernoulli", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial",
    "Adagrad", "Adam", "Momentum", "Gradient",
    "StringNormalizer", "StringConcat", "StringSplit", "RegexFullMatch", "TfIdfVectorizer", "LabelEncoder",
    "SequenceAt", "SequenceConstruct", "SequenceEmpty", "SequenceErase", "SequenceInsert", "SequenceLength", "SequenceMap",
    "SplitToSequence", "ConcatFromSequence", "ReverseSequenceList", "Optional", "OptionalGetElement", "OptionalHasElement",
}


def ops_of(graph):
    for node in graph.node:
        yield node.op_type
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from ops_of(attribute.g)


def is_numeric(case):
    values = [*case.model.graph.input, *case.model.graph.output]
    if any(v.type.WhichOneof("value") != "tensor_type" or v.type.tensor_type.elem_type == TensorProto.STRING for v in values):
        return False
    used = set(ops_of(case.model.graph))
    for function in case.model.functions:
        used |= {node.op_type for node in function.node}
    return not used & LEFT_OUT


def op_of(case):
    """The op a case is counted under: its only node's; else the one its name tells; else its last node's."""
    nodes = case.model.graph.node
    if len(nodes) == 1:
        return nodes[0].op_type
    return nodes[-1].op_type + "..." if nodes else "(empty)"


def tensor_of(array):
    return array if isinstance(array, TensorProto) else numpy_helper.from_array(np.asarray(array))


def write_case(case, folder):
    (folder / "model.onnx").write_bytes(case.model.SerializeToString())
    inputs, outputs = case.data_sets[0]
    for k, (array, info) in enumerate(zip(inputs, case.model.graph.input)):
        tensor = onnx.TensorProto()
        tensor.CopyFrom(tensor_of(array))
        tensor.name = info.name
        (folder / f"input_{k}.pb").write_bytes(tensor.SerializeToString())
    return [numpy_helper.to_array(tensor_of(a)) for a in outputs]


def close(case, found, expected):
    """Why an output is not the expected one, or None."""
    if found.shape != expected.shape:
        return f"shape {list(found.shape)}, expected {list(expected.shape)}"
    if found.dtype != expected.dtype:
        return f"type {found.dtype}, expected {expected.dtype}"
    name = expected.dtype.name
    if expected.dtype.kind not in "fiubc":  # ml_dtypes
        found, expected = found.astype(np.float32), expected.astype(np.float32)
    rtol = max(case.rtol, 2**-6) if name == "bfloat16" else case.rtol  # as ONNX's own runner
    with np.errstate(all="ignore"):
        same = np.isclose(found, expected, rtol=rtol, atol=ROUNDED.get(case.name, case.atol), equal_nan=True)
    if same.all():
        return None
    at = np.argwhere(~same)[0] if same.ndim else ()
    return f"{int((~same).sum())} of {same.size} elements; {found[tuple(at)]} at {[int(i) for i in at]}, expected {expected[tuple(at)]}"


def judge(case, found, expected):
    for info, got, want in zip(case.model.graph.output, found, expected):
        why = close(case, got, want)
        if why:
            return "wrong", f"{info.name}: {why}"
    return "passed", ""


def retyped(array, kind):
    """An array of an .npz with the type that its bits stand for."""
    wanted = helper.tensor_dtype_to_np_dtype(kind)
    if array.dtype == wanted:
        return array
    if array.dtype.itemsize == wanted.itemsize and array.dtype.kind == "V":
        return array.view(wanted)
    if wanted.name in ("int4", "uint4", "int2", "uint2") and array.dtype.name in ("int8", "uint8"):
        return array.astype(wanted)
    return array


def run_pare(case, folder, expected):
    result = folder / "out.npz"
    done = subprocess.run([PARE, "infer", str(folder / "model.onnx"), "--data", str(folder), "-o", str(result), "--threads=1", "-q"],
                          capture_output=True, text=True, check=False, timeout=300, env={**os.environ, "GOMP_SPINCOUNT": "1000"})
    if done.returncode != 0:
        verdict = "refused" if done.returncode == 4 else "failed"
        return verdict, f"exit {done.returncode}: {done.stderr.strip()[-300:]}"
    with np.load(result) as archive:
        found = [retyped(archive[v.name], v.type.tensor_type.elem_type) for v in case.model.graph.output]
    return judge(case, found, expected)


def run_runtime(case, expected):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(case.model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        feeds = {v.name: numpy_helper.to_array(tensor_of(a)) for v, a in zip(case.model.graph.input, case.data_sets[0][0])}
        wanted = {i.name for i in session.get_inputs()}
        found = session.run(None, {name: array for name, array in feeds.items() if name in wanted})
    except Exception as failure:  # every kind of refusal counts alike
        return "refused", str(failure)[:200]
    return judge(case, found, expected)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--record", action="store_true", help="write the counts by op that later runs must reach")
    parser.add_argument("--no-runtime", action="store_true", help="leave ONNX Runtime out")
    parser.add_argument("--only", default="", help="cases whose name holds this; judged, not counted")
    parser.add_argument("--verbose", action="store_true", help="say why for every refusal too")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    cases = [c for c in collect_testcases(None) if is_numeric(c)]
    if options.only:
        cases = [c for c in cases if options.only in c.name]
    table = collections.defaultdict(collections.Counter)
    bad = []
    with tempfile.TemporaryDirectory() as temporary, concurrent.futures.ThreadPoolExecutor(2) as pool:
        def one(case):
            folder = pathlib.Path(temporary) / case.name
            folder.mkdir()
            expected = write_case(case, folder)
            return run_pare(case, folder, expected), ("refused", "") if options.no_runtime else run_runtime(case, expected)
        for case, (mine, theirs) in zip(cases, pool.map(one, cases)):
            row = table[op_of(case)]
            row["pare " + mine[0]] += 1
            row["runtime " + theirs[0]] += 1
            if mine[0] in ("wrong", "failed") or (options.verbose and mine[0] == "refused"):
                print(f"{mine[0]} {case.name}: {mine[1]}")
            if mine[0] in ("wrong", "failed"):
                bad.append(case.name)
    columns = [f"{who} {verdict}" for who in ("pare", "runtime") for verdict in ("passed", "wrong", "refused")]
    print(f"{'op':<34}{'pare: passed':>14}{'wrong':>7}{'refused':>9}   {'ONNX Runtime: passed':>20}{'wrong':>7}{'refused':>9}")
    total = collections.Counter()
    for op, row in sorted(table.items()):
        total.update(row)
        print(f"{op:<34}{row[columns[0]]:>14}{row[columns[1]]:>7}{row[columns[2]]:>9}   "
              f"{row[columns[3]]:>20}{row[columns[4]]:>7}{row[columns[5]]:>9}")
    passed = total["pare passed"]
    print(f"{len(cases)} cases of onnx {onnx.__version__}: pare {passed} passed, {total['pare wrong']} wrong, "
          f"{total['pare refused']} refused, {total['pare failed']} failed; ONNX Runtime {onnxruntime.__version__} "
          f"{total['runtime passed']} passed, {total['runtime wrong']} wrong, {total['runtime refused']} refused")
    if options.record:
        COUNTS.write_text(json.dumps({op: row["pare passed"] for op, row in sorted(table.items()) if row["pare passed"]}, indent=0) + "\n")
    if options.only:
        return 1 if bad else 0
    fewer = []
    if COUNTS.exists():
        for op, count in json.loads(COUNTS.read_text()).items():
            if op in table and table[op]["pare passed"] < count:
                fewer.append(f"{op}: {table[op]['pare passed']} passed, {count} before")
    for line in fewer:
        print(line)
    if passed < LEAST:
        print(f"{passed} passed, at least {LEAST} expected")
    return 1 if bad or fewer or passed < LEAST else 0


if __name__ == "__main__":
    sys.exit(main())
