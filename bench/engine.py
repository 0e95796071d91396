#!/usr/bin/env python3
"""pare's engine beside ONNX Runtime: latency of every zoo network in float32, and of each CNN in static int8, in turns within one run.

    make bench-engine                                    every network, both batches, one and two threads; then the table of docs/performance.md
    bench/engine.py [--only lenet5,kws] [--types float32,int8] [--batches 1,32] [--threads 1,2] [--rounds 15] [--write]

Either engine runs in a process of its own with its default settings but for the number of threads (ONNX Runtime: all optimizations; its
threads spin), and sleeps while the other is timed. The time from file to first result is the middle one of three fresh processes, in
turns. A round times a window of calls of either, in an order drawn anew; the ratio is the median over rounds of pare / ONNX Runtime, with
its 10th and 90th percentile: below 1 pare is faster. A call is what a user of the library sees: session_run in C, InferenceSession.run in Python with inputs that are there already. int8 files are written by `pare pass quantize
--calibration=minmax --repairs=none` and kept under build/bench/engine, as are rows, so that --write needs no second run. Memory is VmHWM of
the process after its runs; ONNX Runtime's holds Python (a process that has only imported it is shown too)."""

import argparse
import json
import math
import os
import pathlib
import re
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
BUILD = pathlib.Path(os.environ.get("BUILD", ROOT / "build")).resolve()
CACHE = BUILD / "bench" / "engine"
BEGIN, END = "<!-- engine: begin -->", "<!-- engine: end -->"
WINDOW = 0.03  # seconds
FIRSTS = 3       # processes started anew for the time to the first result, of which the middle one counts
PAUSE = 0.15    # before each window: until the other's worker threads have stopped spinning; with 0.01 either loses a core to them
TINY = ("lenet300", "lenet5", "mnist_8", "kws", "digits")  # where the call itself is what counts
BARS = {True: 0.5, False: 1.0}


def enter_venv():
    """Goes on in the virtual environment of the interop checks, made when missing."""
    venv = BUILD / "venv"
    if pathlib.Path(sys.prefix).resolve() == venv.resolve():
        return
    python = venv / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    if subprocess.run([python, "-c", "import onnx, onnxruntime, numpy"], capture_output=True, check=False).returncode:
        subprocess.run([venv / "bin" / "pip", "install", "-q", "--disable-pip-version-check", "onnx", "onnxruntime", "numpy"], check=True)
    os.execv(python, [str(python), *sys.argv])


# --- the networks


def subjects():
    """{name: (model, Network or None, CNN)}; a Network brings its own data, the others are fed seeded noise."""
    import networks

    zoo, found = networks.ZOO, {}
    for key, net in networks.NETWORKS.items():
        cnn = net.kind == "classify" and key != "lenet300"
        found[key] = (networks.model_of(net, CACHE) if (zoo / "minilm").exists() or key != "minilm" else zoo / "minilm.onnx", net, cnn)
    found["resnet20"] = (zoo / "cifar10/resnet20.onnx", networks.NETWORKS["resnet20_bn"], True)
    found["digits"] = (ROOT / "examples/digits/digits.onnx", None, True)
    for name in ("gcn/gcn_cora", "speech/silero_vad", "speech/silero_vad_16k_op15", "speech/gtcrn_simple", "speech/dtln_1"):
        found[name.split("/")[1]] = (zoo / f"{name}.onnx", None, False)
    for name in ("detect/yunet_n_320", "detect/ultraface_rfb_320", "superres/super_resolution_10"):
        found[name.split("/")[1]] = (zoo / f"{name}.onnx", None, True)
    return {k: v for k, v in found.items() if v[0].exists()}


def noise(model, batch):
    """Seeded inputs; sizes that are open by name are the same, the first of an input is the batch."""
    import numpy as np
    import onnx

    types = {1: np.float32, 6: np.int32, 7: np.int64, 11: np.float64}
    rng, feeds, sizes = np.random.default_rng(1), {}, {}
    loaded = onnx.load(str(model), load_external_data=False)
    held = {t.name for t in loaded.graph.initializer}
    for v in loaded.graph.input:
        if v.name in held:
            continue
        kind = types[v.type.tensor_type.elem_type]
        shape = []
        for i, d in enumerate(v.type.tensor_type.shape.dim):
            fallback = batch if i == 0 else 512 if v.name == "input" else 1
            shape.append(d.dim_value if d.HasField("dim_value") else sizes.setdefault(d.dim_param or f"{v.name}{i}", fallback))
        if v.name == "sr":
            feeds[v.name] = np.full(shape, 16000, kind)
        elif np.issubdtype(kind, np.floating):
            feeds[v.name] = rng.random(shape).astype(kind)
        else:
            feeds[v.name] = rng.integers(0, 2, shape).astype(kind)
    return feeds


def feeds_of(name, model, net, batch):
    """Inputs of `batch` samples, or None where the network fixes another."""
    import networks
    import numpy as np
    import onnx

    first = onnx.load(str(model), load_external_data=False).graph.input[0].type.tensor_type.shape.dim
    free = "silero" not in name and name != "gcn_cora" and not first[0].HasField("dim_value")
    if batch != 1 and not free and name != "charlm":
        return None
    if name == "digits":
        with np.load(ROOT / "examples/digits/test.npz") as stored:
            return {k: stored[k][:batch] for k in stored.files if k != "label"}
    if name == "gcn_cora":
        with np.load(networks.ZOO / "gcn/cora.npz") as stored:
            return {k: stored[k].astype(np.float32) for k in ("x", "adj")}
    if net is None:
        return noise(model, batch)
    if net.kind == "chars":
        feeds = networks.text_feeds()[0]
        return {k: np.ascontiguousarray(v[:64, :batch] if k == "tokens" else v[:, :batch]) for k, v in feeds.items()}
    return {k: np.ascontiguousarray(v[:batch]) for k, v in networks.samples(net, "evaluation")[0].items()}


def quantized(name, model, net):
    """The network in static int8, written once."""
    import networks
    import numpy as np

    made = CACHE / "int8" / f"{name}.onnx"
    if made.exists():
        return made
    made.parent.mkdir(parents=True, exist_ok=True)
    if net is not None:
        data = networks.data_file(net, CACHE, "calibration")
    elif name == "digits":
        data = ROOT / "examples/digits/calib.npz"
    else:
        data = CACHE / "data" / f"{name}-noise.npz"
        np.savez(data, **noise(model, 1))
    options = ["--mode=static", "--calibration=minmax", "--repairs=none", "--samples=60", "--no-measure", "--no-cache", "-q", "--force"]
    subprocess.run([BUILD / "pare", "pass", "quantize", "--data", data, *options, model, "-o", made], check=True)
    return made


# --- the engines


class Engine:
    """A process that runs the network as often as it is told."""

    def __init__(self, command):
        self.process = subprocess.Popen([str(c) for c in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.first = self.run(0)

    def run(self, calls):
        self.process.stdin.write(f"{calls}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args[0]} ended early")
        return float(line)

    def window(self):
        """Warms up; calls that fill a window."""
        started, fastest = time.perf_counter(), math.inf
        while time.perf_counter() - started < 0.2:
            fastest = min(fastest, self.run(1))
        return max(1, math.ceil(WINDOW / fastest))

    def peak(self):
        """MB"""
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return int(re.search(r"VmHWM:\s*(\d+)", text)[1]) / 1024

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))]


def compare(model, data, threads, rounds, rng):
    """One line of the table."""
    commands = {
        "pare": [BUILD / "bench" / "serve", model, data, threads],
        "ort": [sys.executable, ROOT / "bench" / "runtime.py", model, data, threads],
    }
    firsts = {k: [] for k in commands}
    for _ in range(FIRSTS - 1):
        for name in rng.sample(list(commands), 2):
            engine = Engine(commands[name])
            firsts[name].append(engine.first)
            engine.close()
    engines = {k: Engine(c) for k, c in commands.items()}
    for name, engine in engines.items():
        firsts[name].append(engine.first)
    calls = {k: e.window() for k, e in engines.items()}
    times = {k: [] for k in engines}
    for _ in range(rounds):
        for name in rng.sample(list(engines), 2):
            time.sleep(PAUSE)
            times[name].append(engines[name].run(calls[name]) / calls[name] * 1e3)
    ratios = [a / b for a, b in zip(times["pare"], times["ort"])]
    row = {"load": os.getloadavg()[0], "ratio": statistics.median(ratios), "low": percentile(ratios, 0.1), "high": percentile(ratios, 0.9)}
    for name, engine in engines.items():
        row[name] = {"ms": statistics.median(times[name]), "fastest": min(times[name]), "first": statistics.median(firsts[name]) * 1e3, "peak": engine.peak()}
        engine.close()
    return row


# --- the table


def text_of(row):
    pare, ort, bar = row["pare"], row["ort"], BARS[row["network"] in TINY]
    verdict = "" if row["ratio"] <= bar else " **above**"
    return (
        f"| {row['network']} | {row['type']} | {row['batch']} | {row['threads']} | {pare['ms']:.3f} | {ort['ms']:.3f} | "
        f"{row['ratio']:.2f} [{row['low']:.2f}, {row['high']:.2f}]{verdict} | {pare['first']:.1f} / {ort['first']:.1f} | "
        f"{pare['peak']:.0f} / {ort['peak']:.0f} |"
    )


def idle_peak():
    """VmHWM in MB of a Python that has imported ONNX Runtime and done nothing."""
    code = "import numpy, onnxruntime, re; print(re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read())[1])"
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout) / 1024


def processor():
    info = pathlib.Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    model, flags = re.search(r"model name\s*: (.*)", info), re.search(r"flags\s*: (.*)", info)
    flags = flags[1] if flags else ""
    return (model[1] if model else "unknown") + ", " + ("VNNI" if "vnni" in flags else "AVX2 without VNNI" if "avx2" in flags else "no AVX2")


def summary(rows):
    lines = []
    for kind in ("float32", "int8"):
        of_kind = [r for r in rows if r["type"] == kind]
        if of_kind:
            mean = math.exp(statistics.mean(math.log(r["ratio"]) for r in of_kind))
            under = sum(r["ratio"] <= BARS[r["network"] in TINY] for r in of_kind)
            lines.append(f"{kind}: geometric mean {mean:.2f}, {under} of {len(of_kind)} within the bar (1; the smallest networks {BARS[True]}).")
    firsts = [r["pare"]["first"] / r["ort"]["first"] for r in rows]
    peaks = sum(r["pare"]["peak"] <= r["ort"]["peak"] for r in rows)
    lines.append(f"Load to first result: {statistics.median(firsts):.2f} of ONNX Runtime's in the median, {max(firsts):.2f} at most. ")
    lines[-1] += f"Peak memory at most ONNX Runtime's in {peaks} of {len(rows)}."
    return lines


def said_of_load(rows):
    """Other work on the machine delays threads that wait for each other: what is left out, and what the numbers are worth."""
    busiest = max(r["load"] for r in rows)
    if busiest < 1.5 * os.cpu_count():
        return []
    lines = [f"**The machine was not idle** (load average up to {busiest:.1f}): interleaved ratios hold, with a wide spread; to be repeated."]
    if not any(r["threads"] > 1 for r in rows):
        lines.append("Two threads are not measured: where barriers wait for a processor that others hold, such numbers say nothing.")
    return lines


def report(rows):
    import onnxruntime

    head = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    lines = [
        BEGIN,
        "## The engine beside ONNX Runtime",
        "",
        f"Made by `make bench-engine` (bench/engine.py says how it is measured). Processor: {processor()}, {os.cpu_count()} cores. pare",
        f"{head.stdout.strip()}, built with `make` (gcc -O2); ONNX Runtime {onnxruntime.__version__} from PyPI, called from Python, whose process",
        f"holds {idle_peak():.0f} MB before it has loaded anything. Ratios are pare / ONNX Runtime, medians with the 10th and 90th percentile.",
        "",
        *said_of_load(rows),
        *summary(rows),
        "",
        "| network | type | batch | threads | pare ms | ONNX Runtime ms | ratio | first result ms, pare / ORT | peak MB, pare / ORT |",
        "|---|---|---|---|---|---|---|---|---|",
        *map(text_of, rows),
        "",
        END,
    ]
    path = ROOT / "docs" / "performance.md"
    text = path.read_text()
    block = "\n".join(lines)
    if BEGIN in text:
        text = text[: text.index(BEGIN)] + block + text[text.index(END) + len(END) :]
    else:
        text = text.rstrip() + "\n\n" + block + "\n"
    path.write_text(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--only", default="", help="networks, separated by commas")
    parser.add_argument("--types", default="float32,int8")
    parser.add_argument("--batches", default="1,32")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--write", action="store_true", help="put the table of all kept rows into docs/performance.md")
    arguments = parser.parse_args()
    enter_venv()
    import random

    import numpy as np

    rng, kept = random.Random(1), CACHE / "rows.json"
    (CACHE / "data").mkdir(parents=True, exist_ok=True)
    rows = {tuple(r[k] for k in ("network", "type", "batch", "threads")): r for r in (json.loads(kept.read_text()) if kept.exists() else [])}
    for name, (model, net, cnn) in subjects().items():
        if arguments.only and name not in arguments.only.split(","):
            continue
        for kind in arguments.types.split(","):
            if kind == "int8" and not cnn:
                continue
            for batch in map(int, arguments.batches.split(",")):
                feeds = feeds_of(name, model, net, batch)
                if feeds is None:
                    continue
                data = CACHE / "data" / f"{name}-{batch}.npz"
                np.savez(data, **feeds)
                for threads in map(int, arguments.threads.split(",")):
                    row = {"network": name, "type": kind, "batch": batch, "threads": threads}
                    row |= compare(quantized(name, model, net) if kind == "int8" else model, data, threads, arguments.rounds, rng)
                    rows[name, kind, batch, threads] = row
                    kept.write_text(json.dumps(list(rows.values()), indent=1))
                    print(text_of(row), f"fastest {row['pare']['fastest'] / row['ort']['fastest']:.2f}", flush=True)
    if arguments.write:
        report(sorted(rows.values(), key=lambda r: (r["type"], r["network"], r["batch"], r["threads"])))


if __name__ == "__main__":
    main()
