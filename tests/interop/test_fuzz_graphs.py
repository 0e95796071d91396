"""Random valid networks (fuzz_graphs): pare agrees with ONNX Runtime or says why not, with its fast kernels and with its plain ones, one loaded
network run at several batch sizes. Networks that ONNX Runtime refuses end well in pare too, whatever it makes of them.

FUZZ_GRAPHS=N: that many networks instead of those of the gate; FUZZ_FIRST=N: the first seed; FUZZ_SERVE=PATH: another build of tests/tools/serve
(with sanitizers)."""
import os
import pathlib
import sys
import time
import warnings

import numpy as np

import fuzz_graphs

COUNT = 250
FIRST = 0
# What ONNX Runtime 1.31 computes otherwise than the specification says, while onnx's reference evaluator agrees with pare or has no answer.
# Only a difference that starts at one of these is passed over.
OTHERWISE = {
    "Slice": "a negative step with the largest int32 or int64 as end: taken for the front",
    "Resize": "align_corners with antialias or round_prefer_ceil: other source coordinates",
    "AveragePool": "a window larger than the padded input gives an element when the stride is above 1",
    "QLinearConv": "u8 x s8 products saturate on AVX2",
    "QLinearMatMul": "u8 x s8 products saturate on AVX2",
    "PRelu": "the slope may make the result larger",
    "Loop": "without a step the stacked output has shape [0]",
    "Squeeze": "an empty list of axes stands for none at all",
    "Concat": "an input without elements need not fit",
    "ConvTranspose": "auto_pad SAME with strides above the kernel: the result is not strides times the input",
    "ArgMin": "NaN is passed over", "ArgMax": "NaN is passed over",
    "RNN": "without a step the last state is 0, not the initial one", "GRU": "the same", "LSTM": "the same",
} | {f"Reduce{kind}": "a reduction over an axis of size 0 gives nothing" for kind in
     ("Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "LogSum", "LogSumExp", "SumSquare")}
ALLOWED = (0, 3, 4, 6)  # done, does not fit, unsupported, too large
RELATIVE = 2e-5
SPREAD = 30
FLOOR = 4e-6  # oneDNN's exponentials and logarithms


def differs(found, expected, near):
    """What is wrong with an output, or None. Floats may move as far as ONNX Runtime's own result does for inputs changed in their last digits,
    times SPREAD; other types agree wherever that does not change them."""
    if found is None or found.shape != expected.shape or found.dtype != expected.dtype:
        return f"{None if found is None else (found.dtype.name, found.shape)}, expected {(expected.dtype.name, expected.shape)}"
    near = [n if n.shape == expected.shape else None for n in near]
    if any(n is None for n in near):
        return None
    if expected.dtype.kind != "f":
        stable = np.all([n == expected for n in near], axis=0) if near else np.ones(expected.shape, bool)
        wrong = (found != expected) & stable
    else:
        f, e = found.astype(np.float64), expected.astype(np.float64)
        finite = np.isfinite(e)
        with np.errstate(invalid="ignore", over="ignore"):
            moved = np.max([np.abs(n.astype(np.float64) - e) for n in near], axis=0) if near else np.zeros(e.shape)
            largest = np.max(np.abs(e[finite]), initial=0)
            step = 2.0 ** -9 if expected.dtype == np.float16 else RELATIVE
            limit = step * np.maximum(np.abs(e), 0.1 * largest) + SPREAD * moved + FLOOR
            wrong = np.where(finite, ~(np.abs(f - e) <= limit), ~((f == e) | (np.isnan(f) & np.isnan(e))))
            wrong &= ~np.isnan(moved) | ~finite
    if not wrong.any():
        return None
    at = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
    return f"{int(wrong.sum())} of {wrong.size} elements, at {tuple(int(i) for i in at)} {found[at]!r}, expected {expected[at]!r}"


def judge(answers, results, model, who, lines):
    """Adds a line for each thing that is wrong; the number of runs that agreed."""
    agreed = 0
    code, text = answers[0]
    if code not in ALLOWED or (code == 0) != (text == ""):
        lines.append(f"{who}: code {code} when made ready: {text}")
        return 0
    for k, (answer, result) in enumerate(zip(answers[1:], results)):
        code, text, outputs = answer
        if code not in ALLOWED:
            lines.append(f"{who}, run {k}: code {code}: {text}")
        elif code == 0 and result is not None:
            exact, near = result
            faults = [(o.name, differs(outputs.get(o.name), np.asarray(e), [np.asarray(n[i]) for n in near]))
                      for i, (o, e) in enumerate(zip(model.graph.output, exact))]
            faults = [f"{who}, run {k}: output {n}: {f}" for n, f in faults if f is not None]
            lines += faults
            agreed += not faults
        elif code != 0 and result is not None:
            lines.append(f"{who}, run {k}: refused with {code}: {text}")
    return agreed


def first_difference(b, model, feeds, server, plain):
    """(operator, its own name in OTHERWISE, the reference evaluator's verdict) of the first node of a run at which pare and ONNX Runtime part."""
    full = fuzz_graphs.with_all_outputs(b, model)
    code, _, outputs = server.run(full, [feeds], plain)[1]
    result = fuzz_graphs.expected(full, [feeds], 0)[0]
    if code != 0 or result is None:
        return None
    exact, near = (dict(zip(b.made, result[0])), [dict(zip(b.made, n)) for n in result[1]])
    for node in b.nodes:
        for name in node.output:
            if differs(outputs.get(name), np.asarray(exact[name]), [np.asarray(n[name]) for n in near]):
                values = {**b.arrays, **feeds, **outputs}
                own = fuzz_graphs.reference(b, node, values).get(name)
                return node.op_type, own is None or differs(outputs.get(name), own, [own]) is None
    return None


def explained(b, model, feeds, answers, server, plain, lines):
    """Whether every run that went wrong did so at an operator of OTHERWISE."""
    for k, answer in enumerate(answers[1:]):
        if not any(f", run {k}:" in line for line in lines):
            continue
        if answer[0] != 0:
            if not any(f"{op} '" in answer[1] for op in ("AveragePool", "Concat", "PRelu")):
                return False
            continue
        found = first_difference(b, model, feeds[k], server, plain)
        if found is None or found[0] not in OTHERWISE or not found[1]:
            return False
    return bool(lines)


def main():
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    first, count = int(os.environ.get("FUZZ_FIRST", FIRST)), int(os.environ.get("FUZZ_GRAPHS", COUNT))
    server = fuzz_graphs.Server(os.environ.get("FUZZ_SERVE", fuzz_graphs.SERVE))
    keep = os.environ.get("FUZZ_KEEP")
    began, networks, runs, agreed, nodes, refused, bad, ops, otherwise = time.time(), 0, 0, 0, 0, 0, 0, set(), set()
    for seed in range(first, first + count):
        b, model, feeds = fuzz_graphs.build(seed)
        lines = []
        for other, arrays in b.refused:
            judge(server.run(other, [arrays]), [None], other, f"seed {seed}, refused {other.graph.node[0].op_type}", lines)
            refused += 1
        if model is not None:
            results = fuzz_graphs.expected(model, feeds, seed)
            for plain in (False, True):
                answers, found = server.run(model, feeds, plain), []
                agreed += judge(answers, results, model, f"seed {seed} {'plain' if plain else 'fast'}", found)
                runs += sum(r is not None for r in results)
                if found and explained(b, model, feeds, answers, server, plain, found):
                    otherwise.add(seed)
                else:
                    lines += found
            networks, nodes = networks + 1, nodes + len(model.graph.node)
            ops |= {n.op_type for n in model.graph.node}
        if lines:
            bad += 1
            print("\n".join(lines))
            print("    opset", b.opset, ", ".join(n.op_type for n in b.nodes), flush=True)
            if keep and model is not None:
                pathlib.Path(keep, f"{seed}.onnx").write_bytes(model.SerializeToString())
    server.close()
    print(f"{networks} networks of {nodes} nodes, {len(ops)} operators, {agreed} of {runs} runs agree; {refused} that ONNX Runtime refuses; "
          f"{len(otherwise)} where it alone differs; {bad} seeds failed; "
          f"{time.time() - began:.0f} s", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
