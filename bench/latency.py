#!/usr/bin/env python3
"""pare's engine against ONNX Runtime: the same network, the same inputs, the same threads, in turns within one run.

    make && make build/bench/serve
    build/venv/bin/python bench/latency.py [--threads 2] [--seconds 5] [--batch 1] MODEL.onnx ...

(`make interop` makes build/venv; any Python with numpy and onnxruntime will do.) Each round times a window of calls of either, in an order
drawn anew; the ratio is the median over rounds of pare / ONNX Runtime with its 95 % bootstrap interval, so below 1 pare is faster. The
inputs are seeded: normal numbers, or zeros and ones for integers. ORT / ORT in the last column is the same measurement of ONNX Runtime
against itself: what lies inside its interval cannot be told apart on this machine. Needs an idle machine: with other work on its cores,
threads that wait for each other at every layer mostly wait.
"""
import argparse
import os
import pathlib
import subprocess
import tempfile
import time

import numpy as np
import onnxruntime

ROOT = pathlib.Path(__file__).resolve().parents[1]
SERVE = pathlib.Path(os.environ.get("BUILD", ROOT / "build")) / "bench" / "serve"
WINDOW = 0.02  # seconds
PAUSE = 0.01   # before each window: the other's worker threads spin for a while before they sleep


def make_inputs(session, batch, rng):
    types = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(int64)": np.int64, "tensor(int32)": np.int32}
    feeds = {}
    for value in session.get_inputs():
        shape = [d if isinstance(d, int) else (batch if i == 0 else 1) for i, d in enumerate(value.shape)]
        kind = types[value.type]
        feeds[value.name] = rng.normal(size=shape).astype(kind) if np.issubdtype(kind, np.floating) else rng.integers(0, 2, shape, kind)
    return feeds


class Runtime:
    """ONNX Runtime on the CPU."""

    def __init__(self, model, threads):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.feeds = {}

    def run(self, calls):
        started = time.perf_counter()
        for _ in range(calls):
            self.session.run(None, self.feeds)
        return time.perf_counter() - started


class Pare:
    """bench/serve.c in a process of its own, which sleeps while the other is timed."""

    def __init__(self, model, data, threads):
        self.process = subprocess.Popen([SERVE, model, data, str(threads)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, calls):
        self.process.stdin.write(f"{calls}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline() or "nan")

    def close(self):
        self.process.stdin.close()
        return self.process.wait()


def window_calls(subject):
    """Warms up, then says how many calls make a window."""
    started, fastest = time.perf_counter(), float("inf")
    while time.perf_counter() - started < 0.3:
        fastest = min(fastest, subject.run(1))
    return max(1, int(np.ceil(WINDOW / fastest)))


def interval(values, rng):
    values = np.asarray(values)
    medians = np.median(rng.choice(values, (2000, len(values))), axis=1)
    return np.median(values), *np.percentile(medians, [2.5, 97.5])


def measure(model, arguments, folder, rng):
    runtime = Runtime(model, arguments.threads)
    runtime.feeds = make_inputs(runtime.session, arguments.batch, rng)
    data = pathlib.Path(folder) / "inputs.npz"
    np.savez(data, **runtime.feeds)
    pare = Pare(model, data, arguments.threads)
    subjects = {"pare": pare, "ort": runtime, "again": runtime}
    calls = {"pare": window_calls(pare), "ort": window_calls(runtime)}
    calls["again"] = calls["ort"]
    times = {name: [] for name in subjects}
    started = time.perf_counter()
    while time.perf_counter() - started < arguments.seconds or len(times["pare"]) < 5:
        for name in rng.permutation(list(subjects)):
            time.sleep(PAUSE)
            times[name].append(subjects[name].run(calls[name]) / calls[name] * 1e3)
    if pare.close() != 0:
        raise SystemExit(f"{model}: serve failed")
    ratio = interval(np.array(times["pare"]) / np.array(times["ort"]), rng)
    null = interval(np.array(times["again"]) / np.array(times["ort"]), rng)
    ours, theirs = np.median(times["pare"]), np.median(times["ort"])
    print(f"{pathlib.Path(model).name:28} {ours:9.3f} {theirs:9.3f}   {ratio[0]:5.2f} [{ratio[1]:.2f}, {ratio[2]:.2f}]"
          f"   {null[0]:5.2f} [{null[1]:.2f}, {null[2]:.2f}]   {len(times['pare'])}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=1, help="first dimension of inputs where it is open")
    parser.add_argument("--seconds", type=float, default=5, help="for each network")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    print(f"{'network':28} {'pare ms':>9} {'ORT ms':>9}   {'pare / ORT':18}   {'ORT / ORT':18}   rounds")
    for model in arguments.models:
        with tempfile.TemporaryDirectory() as folder:
            measure(model, arguments, folder, rng)


if __name__ == "__main__":
    main()
