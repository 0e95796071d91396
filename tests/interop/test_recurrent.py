"""RNN, GRU and LSTM against ONNX Runtime in every direction, layout and activation, with and without each optional input, in the sizes of
the plain forward and of oneDNN: 1e-5 of the largest. ONNX Runtime has no layout 1: there the reference is layout 0 on turned arrays."""
import itertools
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from test_streaming import stream

TOLERANCE = 1e-5
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
FUNCTIONS = {"RNN": 1, "GRU": 2, "LSTM": 3}
ACTIVATIONS = {"Relu": 0, "Tanh": 0, "Sigmoid": 0, "Affine": 2, "LeakyRelu": 1, "ThresholdedRelu": 1, "ScaledTanh": 2, "HardSigmoid": 2,
               "Elu": 1, "Softsign": 0, "Softplus": 0}
STEPS, BATCH, INPUTS = 5, 3, 4
SIZES = 6, 19


def cases():
    """(kind, direction, what is special about it)."""
    for kind in GATES:
        for direction in ("forward", "reverse", "bidirectional"):
            yield from ((kind, direction, extra) for extra in (
                {}, {"lengths": [5, 2, 4]}, {"lengths": [3, 0, 5]}, {"without": ("bias", "states")}, {"layout": 1},
                {"layout": 1, "lengths": [1, 5, 3]}, {"clip": 0.1}, {"opset": 7}))
            count = FUNCTIONS[kind] * (2 if direction == "bidirectional" else 1)
            for name, parameters in ACTIVATIONS.items():
                extra = {"activations": [name] * count}
                if parameters > 0:
                    extra["activation_alpha"] = [0.3 + 0.1 * k for k in range(count)]
                if parameters > 1:
                    extra["activation_beta"] = [0.2 + 0.1 * k for k in range(count)]
                yield kind, direction, extra
    for direction in ("forward", "bidirectional"):
        for extra in ({}, {"clip": 0.1, "lengths": [5, 1, 2]}, {"without": ("bias",)}, {"layout": 1}):
            yield "GRU", direction, {"linear_before_reset": 1, **extra}
        for extra in ({}, {"input_forget": 1}, {"input_forget": 1, "clip": 0.1}, {"layout": 1}):
            yield "LSTM", direction, {"peepholes": True, **extra}


def arrays_of(random, kind, directions, hidden, extra):
    def normal(*shape):
        return (random.standard_normal(shape) * 0.2).astype(np.float32)

    without, rows = extra.get("without", ()), GATES[kind] * hidden
    arrays = {"X": normal(STEPS, BATCH, INPUTS), "W": normal(directions, rows, INPUTS),
              "R": normal(directions, rows, hidden) * np.float32(SIZES[0] / hidden)}
    arrays["B"] = None if "bias" in without else normal(directions, 2 * rows)
    arrays["L"] = np.array(extra["lengths"], np.int32) if "lengths" in extra else None
    arrays["h0"] = None if "states" in without else normal(directions, BATCH, hidden)
    if kind == "LSTM":
        arrays["c0"] = None if "states" in without else normal(directions, BATCH, hidden)
        arrays["P"] = normal(directions, 3 * hidden) if "peepholes" in extra else None
    return arrays


def model_of(kind, arrays, attributes, opset):
    outputs = ["Y", "Yh", "Yc"][:3 if kind == "LSTM" else 2]
    node = helper.make_node(kind, [n if a is not None else "" for n, a in arrays.items()], outputs, **attributes)
    graph = helper.make_graph([node], "cell", [helper.make_tensor_value_info("X", TensorProto.FLOAT, arrays["X"].shape)],
                              [helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in outputs],
                              [numpy_helper.from_array(a, n) for n, a in arrays.items() if n != "X" and a is not None])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def turned(arrays):
    return {n: a.swapaxes(0, 1) if a is not None and n in ("X", "h0", "c0") else a for n, a in arrays.items()}


def check(random, folder, kind, direction, hidden, extra):
    """The largest difference, relative to the largest value of each result."""
    directions = 2 if direction == "bidirectional" else 1
    arrays = arrays_of(random, kind, directions, hidden, extra)
    attributes = {k: v for k, v in extra.items() if k not in ("lengths", "without", "layout", "opset", "peepholes")}
    attributes |= {"hidden_size": hidden, "direction": direction}
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    reference = model_of(kind, arrays, attributes, extra.get("opset", 14))
    expected = onnxruntime.InferenceSession(reference.SerializeToString(), options).run(None, {"X": arrays["X"]})
    if extra.get("layout"):
        arrays, attributes = turned(arrays), attributes | {"layout": 1}
        expected = [expected[0].transpose(2, 0, 1, 3), *(e.swapaxes(0, 1) for e in expected[1:])]
    onnx.save(model_of(kind, arrays, attributes, extra.get("opset", 14)), f"{folder}/cell.onnx")
    found = stream(f"{folder}/cell.onnx", {"X": arrays["X"][None]}, {})
    return max(np.abs(f[0] - e).max() / max(np.abs(e).max(), 1e-2) if f[0].shape == e.shape else np.inf
               for f, e in zip(found.values(), expected))


def main():
    random, count, failed, worst = np.random.default_rng(5), 0, 0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        for hidden, (kind, direction, extra) in itertools.product(SIZES, cases()):
            difference = check(random, folder, kind, direction, hidden, extra)
            count += 1
            worst = max(worst, difference)
            if not difference <= TOLERANCE:
                failed += 1
                print(f"FAILED {kind} {direction} {hidden} {extra}: {difference:.2g}")
    print(f"{count - failed} of {count} recurrent cells agree with ONNX Runtime; the worst is {worst:.2g} of the largest")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
