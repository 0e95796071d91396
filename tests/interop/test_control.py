"""If, Loop and Scan against ONNX Runtime: captures through several levels, carried values that change their shape, stacked results, axes
and directions; and fold, which puts the branch of a constant condition in its If's place: the file it writes is valid and computes the same."""
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from common import pare
from test_streaming import stream

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
node = helper.make_node


def value(name, kind=FLOAT, shape=None):
    return helper.make_tensor_value_info(name, kind, shape)


def constant(name, array):
    return numpy_helper.from_array(np.asarray(array), name)


def graph(name, nodes, inputs, outputs, constants=()):
    return helper.make_graph(nodes, name, inputs, outputs, list(constants))


def model(name, nodes, inputs, outputs, constants=()):
    built = helper.make_model(graph(name, nodes, inputs, outputs, constants), opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(built)
    return built


def branches():
    """An If in an If: the outer condition is constant once folded; names of both levels meet those of the main graph."""
    inner = [graph("a", [node("Add", ["t", "x"], ["r"])], [], [value("r", shape=[2])]),
             graph("b", [node("Sub", ["t", "w"], ["r"])], [], [value("r", shape=[2])], [constant("w2", np.float32([5, 5]))])]
    yes = graph("yes", [node("Mul", ["x", "w"], ["t"]), node("If", ["c2"], ["u"], then_branch=inner[0], else_branch=inner[1]),
                        node("Relu", ["u"], ["o"]), node("Constant", [], ["k"], value=constant("k", np.float32([1, 2])))],
                [], [value("o", shape=[2]), value("k", shape=[2])])
    no = graph("no", [node("Neg", ["x"], ["o"]), node("Neg", ["x"], ["k"])], [], [value("o", shape=[2]), value("k", shape=[2])])
    return model("branches", [node("Neg", ["x"], ["n"]), node("Equal", ["one", "one"], ["c"]),
                              node("If", ["c"], ["y", "k1"], then_branch=yes, else_branch=no), node("Add", ["y", "n"], ["z"])],
                 [value("x", shape=[2]), value("c2", BOOL, [])], [value("y", shape=[2]), value("z", shape=[2]), value("k1", shape=[2])],
                 [constant("w", np.float32([2, -7])), constant("one", np.int64(1))])


def clashes():
    """Two Ifs of constant conditions whose branches use the same names, one inside a third that stays and has them too."""
    def branch(name, scale):
        return graph(name, [node("Constant", [], ["k"], value=constant("k", np.float32(scale))), node("Mul", ["x", "k"], ["v"])], [],
                     [value("v", shape=[2])])
    inside = graph("inside", [node("If", ["yes"], ["v2"], then_branch=branch("p", 5), else_branch=branch("q", 6)),
                              node("Add", ["v2", "a"], ["v"])], [], [value("v", shape=[2])])
    return model("clashes", [node("If", ["yes"], ["a"], then_branch=branch("p", 2), else_branch=branch("q", 3)),
                             node("If", ["no"], ["b"], then_branch=branch("p", 2), else_branch=branch("q", 3)),
                             node("If", ["c2"], ["c"], then_branch=inside, else_branch=branch("q", 4))],
                 [value("x", shape=[2]), value("c2", BOOL, [])], [value(n, shape=[2]) for n in "abc"],
                 [constant("yes", np.bool_(True)), constant("no", np.bool_(False))])


def growing():
    """A Loop whose carried array grows by one each step, stacks a row and stops by its own condition; captures two levels up."""
    twice = graph("twice", [node("Mul", ["x", "w"], ["m"])], [], [value("m", shape=[2])])
    once = graph("once", [node("Identity", ["x"], ["m"])], [], [value("m", shape=[2])])
    body = graph("body", [node("Concat", ["s", "one"], ["s2"], axis=0), node("ReduceSum", ["s2"], ["sum"], keepdims=0),
                          node("Less", ["sum", "bound"], ["go"]), node("If", ["c2"], ["m"], then_branch=twice, else_branch=once),
                          node("Mul", ["m", "sum"], ["row"])],
                 [value("i", INT64, []), value("c", BOOL, []), value("s", shape=["n"])],
                 [value("go", BOOL, []), value("s2", shape=["k"]), value("row", shape=[2])])
    return model("growing", [node("Loop", ["", "", "start"], ["s3", "rows"], body=body)],
                 [value("x", shape=[2]), value("c2", BOOL, [])], [value("s3", shape=["l"]), value("rows", shape=["t", 2])],
                 [constant("w", np.float32([2, 3])), constant("one", np.float32([1])), constant("start", np.float32([0.5])),
                  constant("bound", np.float32(6))])


def scanning(lists):
    body = graph("body", [node("Add", ["h", "a"], ["h2"]), node("Mul", ["h2", "x"], ["p"]), node("Mul", ["p", "b"], ["o"])],
                 [value("h", shape=[2]), value("a", shape=[2]), value("b", shape=[2])], [value("h2", shape=[2]), value("o", shape=[2])])
    return model("scanning", [node("If", ["c2"], ["h0"], then_branch=graph("t", [node("Neg", ["x"], ["v"])], [], [value("v", shape=[2])]),
                                   else_branch=graph("e", [node("Abs", ["x"], ["v"])], [], [value("v", shape=[2])])),
                              node("Scan", ["h0", "a", "b"], ["h3", "o3"], body=body, num_scan_inputs=2, **lists)],
                 [value("x", shape=[2]), value("c2", BOOL, [])], [value("h3", shape=[2]), value("o3", shape=["p", "q"])],
                 [constant("a", np.arange(6, dtype=np.float32).reshape(2, 3)), constant("b", np.arange(6, dtype=np.float32).reshape(3, 2))])


CASES = {"branches": branches, "clashes": clashes, "growing": growing}


def outcome(path, feeds):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options)
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, feeds)))


def main():
    failed = False
    models = {name: make() for name, make in CASES.items()}
    for k, lists in enumerate(({"scan_input_axes": [1, 0]}, {"scan_input_axes": [-1, 0], "scan_input_directions": [1, 0]},
                               {"scan_input_axes": [1, 0], "scan_output_axes": [1], "scan_output_directions": [1]})):
        models[f"scanning {k}"] = scanning(lists)
    with tempfile.TemporaryDirectory() as folder:
        for name, built in models.items():
            path, folded = f"{folder}/{name}.onnx", f"{folder}/{name} folded.onnx"
            onnx.save(built, path)
            pare("pass", "fold", path, "-o", folded, "--force", "--no-measure")
            onnx.checker.check_model(onnx.load(folded), full_check=True)
            ifs = [n.op_type for n in onnx.load(folded).graph.node].count("If")
            for truth in (True, False):
                feeds = {"x": np.float32([1.5, -2]), "c2": np.array(truth)}
                expected = outcome(path, feeds)
                arrays = {"x": feeds["x"][None], "c2": feeds["c2"]}
                found = {n: a[0] for n, a in stream(path, arrays, {}).items()}
                fits = [all(np.array_equal(r[n], e) for n, e in expected.items()) for r in (found, outcome(folded, feeds))]
                failed |= not all(fits)
                print(f"{'ok' if all(fits) else 'FAILED':6} {name} {truth}: pare {fits[0]}, folded {fits[1]}, {ifs} If left")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
