"""Random valid networks for test_fuzz_graphs: nodes drawn from fuzz_ops, each run alone by ONNX Runtime when it is added, so that its results are
known and those that ONNX Runtime refuses do not get in; and the pipe to tests/tools/serve, which runs them."""
import os
import pathlib
import struct
import subprocess
import threading

import numpy as np
import onnxruntime
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import fuzz_ops
from common import PARE

SERVE = pathlib.Path(PARE).parent / "tests" / "tools" / "serve"
OPSETS = (9, 25)
OLD_IR, NEW_IR = 8, 10
PERTURBED = 4e-6  # relative change of the inputs whose effect on the outputs sets the tolerance


def kind_of(dtype):
    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))


def runtime(model):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


class Builder:
    """A network that grows: arrays by name, what of it is fed, what is constant."""

    def __init__(self, seed):
        self.r = np.random.default_rng(seed)
        self.opset = int(self.r.integers(OPSETS[0], OPSETS[1] + 1))
        self.arrays, self.feeds, self.constants, self.nodes, self.made = {}, [], [], [], []
        self.refused = []  # models of one node which ONNX Runtime did not take
        self.batch = int(self.r.choice([1, 2, 3]))

    def chance(self, p):
        return bool(self.r.random() < p)

    def choice(self, options):
        return options[int(self.r.integers(len(options)))]

    def shape(self, rank=None, low=1):
        """Dimensions mostly small, 1 now and then, 0 rarely; the batch first most of the time."""
        rank = int(self.r.integers(0, 5)) if rank is None else rank
        dims = [int(self.r.choice([1, 2, 3, 4, 5, 7, 8, 16], p=[.15, .15, .2, .15, .1, .1, .1, .05])) for _ in range(rank)]
        if rank and self.chance(0.6):
            dims[0] = self.batch
        if rank and low == 0 and self.chance(0.04):
            dims[int(self.r.integers(rank))] = 0
        return dims

    def random(self, shape, dtype=np.float32):
        dtype = np.dtype(dtype)
        if dtype == np.bool_:
            return self.r.random(shape) < 0.5
        if dtype.kind == "f":
            a = self.r.standard_normal(shape) * self.r.choice([0.3, 1, 3])
            return np.asarray(np.round(a, 2) if self.chance(0.2) else a).astype(dtype)
        low, high = (-9, 10) if dtype.kind == "i" else (0, 12)
        if dtype.itemsize == 1 and self.chance(0.5):
            low, high = np.iinfo(dtype).min, np.iinfo(dtype).max + 1
        return self.r.integers(low, high, shape).astype(dtype)

    def add(self, array, kind):
        name = f"{kind}{len(self.arrays)}"
        self.arrays[name] = np.asarray(array)
        return name

    def const(self, array):
        name = self.add(array, "c")
        self.constants.append(name)
        return name

    def feed(self, array):
        name = self.add(array, "x")
        self.feeds.append(name)
        return name

    def fresh(self, shape, dtype=np.float32):
        array = self.random(shape, dtype)
        return self.const(array) if self.chance(0.25) and self.feeds else self.feed(array)

    def pick(self, fits=lambda a: True, shape=None, dtype=np.float32, reuse=0.8):
        """A value that is there and fits, or a new one of this shape."""
        there = [n for n, a in self.arrays.items() if a.dtype == dtype and n not in self.constants and fits(a) and a.size <= 4096]
        if there and self.chance(reuse):
            return there[-1] if self.chance(0.5) else self.choice(there)
        return self.fresh(self.shape(low=0) if shape is None else shape, dtype)

    def model(self, nodes, feeds, outputs, dynamic=False):
        inputs = []
        for name in feeds:
            a = self.arrays[name]
            dims = [None if dynamic and (i == 0 or self.opset % 3 == 0) else d for i, d in enumerate(a.shape)]
            dims = ["batch" if d is None and i == 0 and a.shape[0] == self.batch else d for i, d in enumerate(dims)]
            inputs.append(helper.make_tensor_value_info(name, kind_of(a.dtype), dims))
        used = {n for node in nodes for n in node.input} | {n for node in nodes for n in captured(node)} | set(outputs)
        held = [numpy_helper.from_array(self.arrays[n], n) for n in self.constants if n in used]
        results = [helper.make_tensor_value_info(n, kind_of(self.arrays[n].dtype), None) if n in self.arrays else helper.make_empty_tensor_value_info(n)
                   for n in outputs]
        graph = helper.make_graph(nodes, "fuzz", inputs, results, held)
        imports = [helper.make_opsetid("", self.opset)] + [helper.make_opsetid(d, 1) for d in sorted({n.domain for n in nodes} - {""})]
        return helper.make_model(graph, opset_imports=imports, ir_version=OLD_IR if self.opset < 21 else NEW_IR)

    def node(self, op, inputs, outputs=1, domain="", **attributes):
        """Adds a node when ONNX Runtime runs it; True then."""
        names = [f"v{len(self.arrays)}_{k}" for k in range(outputs)]
        attributes = {k: v for k, v in attributes.items() if v is not None and v != []}
        node = helper.make_node(op, inputs, names, domain=domain, **attributes)
        needs = dict.fromkeys(n for n in [*inputs, *captured(node)] if n and n not in self.constants)
        model = self.model([node], list(needs), names)
        try:
            results = runtime(model).run(None, {n: self.arrays[n] for n in needs})
        except Exception:  # not implemented, or not valid: pare may refuse it or run it, but must end well
            self.refused.append((model, {n: self.arrays[n] for n in needs}))
            return False
        if any(np.size(r) > 1 << 16 for r in results):
            return False
        for name, result in zip(names, results):
            self.arrays[name] = np.asarray(result)
            self.made.append(name)
        self.nodes.append(node)
        return True


def captured(node):
    """Names that the subgraphs of a node take from outside."""
    outer = []
    for attribute in node.attribute:
        if attribute.HasField("g"):
            own = {i.name for i in attribute.g.input} | {i.name for i in attribute.g.initializer}
            for inner in attribute.g.node:
                outer += [n for n in [*inner.input, *captured(inner)] if n and n not in own]
                own |= set(inner.output)
            outer += [o.name for o in attribute.g.output if o.name not in own]
    return outer


def build(seed):
    """A network of one to ten nodes, the arrays to feed, and the same for further batch sizes."""
    b = Builder(seed)
    wanted = int(b.r.integers(1, 11))
    tries = 0
    while len(b.nodes) < wanted and tries < 40:
        tries += 1
        b.choice(fuzz_ops.ALL)(b)
    read = {n for node in b.nodes for n in [*node.input, *captured(node)]}
    outputs = [n for n in b.made if n not in read or b.chance(0.1)] or b.made[-1:]
    used = [n for n in b.feeds if n in read]
    if not outputs:
        return b, None, []
    model = b.model(b.nodes, used, outputs, dynamic=b.chance(0.6))
    runs = [{n: b.arrays[n] for n in used}]
    for size in (b.batch + 1, 1, 0)[:int(b.r.integers(0, 4))]:
        runs.append({n: b.random([size, *b.arrays[n].shape[1:]], b.arrays[n].dtype)
                     if b.arrays[n].ndim and b.arrays[n].shape[0] == b.batch and dynamic_batch(model, n) else b.arrays[n] for n in used})
    return b, model, runs


def dynamic_batch(model, name):
    return any(i.name == name and i.type.tensor_type.shape.dim[0].dim_param for i in model.graph.input)


def expected(model, runs, seed):
    """For each run ONNX Runtime's outputs and the same for inputs changed in their last digits, or None where it fails."""
    results = []
    try:
        session = runtime(model)
    except Exception:
        return [None] * len(runs)
    r = np.random.default_rng(seed)
    for feeds in runs:
        try:
            exact = session.run(None, feeds)
            near = []
            for _ in range(4):
                moved = {n: (a * (1 + PERTURBED * r.uniform(-1, 1, a.shape)) + 1e-6 * r.uniform(-1, 1, a.shape)).astype(a.dtype) if a.dtype.kind == "f" else a for n, a in feeds.items()}
                near.append(session.run(None, moved))
            results.append((exact, near))
        except Exception:
            results.append(None)
    return results


def with_all_outputs(b, model):
    """The same network with every value that a node makes as an output."""
    full = type(model)()
    full.CopyFrom(model)
    del full.graph.output[:]
    full.graph.output.extend(helper.make_tensor_value_info(n, kind_of(b.arrays[n].dtype), None) for n in b.made)
    return full


def reference(b, node, values):
    """What onnx's reference evaluator makes of one node, by name; empty where it does not run it."""
    needs = dict.fromkeys(n for n in [*node.input, *captured(node)] if n and n not in b.constants)
    try:
        results = ReferenceEvaluator(b.model([node], list(needs), list(node.output))).run(None, {n: values[n] for n in needs})
        return dict(zip(node.output, map(np.asarray, results)))
    except Exception:
        return {}


class Server:
    """tests/tools/serve as a process that is started again when it died or was ended for taking too long."""

    def __init__(self, program=SERVE, seconds=30):
        self.program, self.seconds, self.process = program, seconds, None

    def _start(self):
        if self.process is None or self.process.poll() is not None:
            self.process = subprocess.Popen([self.program], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            env={**os.environ, "GOMP_SPINCOUNT": "1000"})

    def _read(self, size):
        data = self.process.stdout.read(size)
        if len(data) != size:
            raise EOFError
        return data

    def _status(self):
        code, length = struct.unpack("<iI", self._read(8))
        return code, self._read(length).decode(errors="replace")

    def _array(self):
        name = self._read(struct.unpack("<I", self._read(4))[0]).decode(errors="replace")
        kind, rank = struct.unpack("<ii", self._read(8))
        dims = struct.unpack(f"<{rank}q", self._read(8 * rank))
        data = self._read(struct.unpack("<Q", self._read(8))[0])
        dtype = helper.tensor_dtype_to_np_dtype(kind)
        if np.prod(dims, dtype=np.int64) * dtype.itemsize != len(data):
            return name, np.frombuffer(data, np.uint8)
        return name, np.frombuffer(data, dtype).reshape(dims)

    def run(self, model, runs, plain=False, threads=1, max_mem=0):
        """(code, message) of making the network ready, and of each run (code, message, outputs by name). Code -1: crashed, -2: took too long."""
        self._start()
        late = threading.Event()
        timer = threading.Timer(self.seconds, lambda: (late.set(), self.process.kill()))
        timer.start()
        answers = []
        try:
            data = model if isinstance(model, bytes) else model.SerializeToString()
            parts = [struct.pack("<Q", len(data)), data, struct.pack("<IIQI", plain, threads, max_mem, len(runs))]
            for feeds in runs:
                parts.append(struct.pack("<I", len(feeds)))
                for name, a in feeds.items():
                    raw = np.ascontiguousarray(a).tobytes()
                    parts += [struct.pack("<I", len(name)), name.encode(), struct.pack(f"<ii{a.ndim}q", kind_of(a.dtype), a.ndim, *a.shape),
                              struct.pack("<Q", len(raw)), raw]
            self.process.stdin.write(b"".join(parts))
            self.process.stdin.flush()
            answers.append(self._status())
            for _ in runs:
                code, text = self._status()
                answers.append((code, text, dict(self._array() for _ in range(struct.unpack("<I", self._read(4))[0])) if code == 0 else None))
        except (EOFError, BrokenPipeError):
            self.process.wait()
            code = -2 if late.is_set() else -1
            answers += [(code, "took too long" if late.is_set() else f"ended with {self.process.returncode}", None)] * (len(runs) + 1 - len(answers))
            if len(answers[0]) == 3:
                answers[0] = answers[0][:2]
        finally:
            timer.cancel()
        return answers

    def close(self):
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait()
