"""The other side of bench/engine.py: ONNX Runtime in a process of its own that speaks as bench/serve.c does. For each number read from
standard input it runs the network that many times and prints the seconds it took; 0: the seconds from the model's file to the first
result, imports left out."""

import sys
import time

import numpy as np
import onnxruntime


def main():
    model, data, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    with np.load(data) as stored:
        feeds = {k: stored[k] for k in stored.files}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 4
    started = time.perf_counter()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    session.run(None, feeds)
    first = time.perf_counter() - started
    for line in sys.stdin:
        calls = int(line)
        started = time.perf_counter()
        for _ in range(calls):
            session.run(None, feeds)
        print(f"{time.perf_counter() - started if calls else first:.9f}", flush=True)


if __name__ == "__main__":
    main()
