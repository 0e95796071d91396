"""Time and memory of quantizing, in turns within one run: pare beside quantize_static on resnet56_bn with 500 images, every tool with all
cores as it comes. pare's seconds are the whole process (reading, folding, calibration, writing); ONNX Runtime's are those inside
quantize_static alone: importing Python's modules and preparing the model are not counted. Memory is VmHWM of the process."""

import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

from networks import NETWORKS, ZOO, data_file, model_of
from pare_rows import PARE
from peers import prepared

ROUNDS = 5
# a small process between: a child's peak counts what its parent held when it forked
WAIT = """
import os, sys, time
started = time.perf_counter()
child = os.spawnv(os.P_NOWAIT, sys.argv[1], sys.argv[1:])
_, status, used = os.wait4(child, 0)
print(status, time.perf_counter() - started, used.ru_maxrss, used.ru_utime + used.ru_stime)
"""
STATIC = """
import sys, time
sys.path.insert(0, sys.argv[1])
import numpy as np
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
from peers import Reader
class Batches(Reader):
    def __init__(self, feeds, size):
        total = len(next(iter(feeds.values())))
        self.rows = iter([{k: v[i:i + size] for k, v in feeds.items()} for i in range(0, total, size)])
feeds = dict(np.load(sys.argv[3]))
started, before = time.perf_counter(), time.process_time()
quantize_static(sys.argv[2], sys.argv[4], Batches(feeds, int(sys.argv[6])), quant_format=QuantFormat.QDQ, per_channel=True,
                activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, calibrate_method=getattr(CalibrationMethod, sys.argv[5]))
took, used = time.perf_counter() - started, time.process_time() - before
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
print("done", took, peak, used)
"""


def run_pare(*arguments):
    """{"seconds", "peak" in kB, "processor": seconds of all threads} of one process."""
    done = subprocess.run([sys.executable, "-S", "-c", WAIT, PARE, *map(str, arguments)], capture_output=True, text=True, check=True)
    status, seconds, peak, processor = done.stdout.split()[-4:]
    if status != "0":
        raise RuntimeError(f"pare {arguments}: {done.stderr}")
    return {"seconds": float(seconds), "peak": int(peak), "processor": float(processor)}


def run_static(source, data, out, method, batch):
    done = subprocess.run(
        [sys.executable, "-c", STATIC, str(pathlib.Path(__file__).parent), str(source), str(data), str(out), method, str(batch)],
        capture_output=True,
        text=True,
        check=True,
    )
    _, seconds, peak, processor = done.stdout.split()[-4:]
    return {"seconds": float(seconds), "peak": int(peak), "processor": float(processor)}


def subjects(cache, folder):
    net = NETWORKS["resnet56_bn"]
    model, data = model_of(net, cache), data_file(net, cache, "calibration")
    source, out = prepared(net, cache), folder / "out.onnx"
    common = ["pass", "quantize", "--data", data, "--samples=0", "--no-measure", "--no-cache", "-q", model, "-o", out, "--force"]
    return {
        "pare, minmax, no repairs": lambda: run_pare(*common, "--calibration=minmax", "--repairs=none"),
        "pare, default": lambda: run_pare(*common),
        "ONNX Runtime MinMax, one image a call": lambda: run_static(source, data, out, "MinMax", 1),
        "ONNX Runtime MinMax, 50 images a call": lambda: run_static(source, data, out, "MinMax", 50),
        "ONNX Runtime Entropy, one image a call": lambda: run_static(source, data, out, "Entropy", 1),
    }


def many_images(folder):
    """VmHWM of 60,000 MNIST images beside 500, streamed from the stored file."""
    net, lines = NETWORKS["lenet5"], []
    for name, options in (("minmax, no repairs", ["--calibration=minmax", "--repairs=none"]), ("default", [])):
        peaks = []
        for first in (500, 60000):
            section = folder / f"{first}.json"
            section.write_text(
                json.dumps(
                    {
                        "file": str(ZOO / net.calibration[0]),
                        "first": first,
                        "inputs": {net.input: {"array": net.array, "scale": 1 / 255, "expand": [1]}},
                    }
                )
            )
            runs = [
                run_pare(
                    "pass",
                    "quantize",
                    "--data",
                    section,
                    "--samples=0",
                    "--no-measure",
                    "--no-cache",
                    "-q",
                    *options,
                    ZOO / net.path,
                    "-o",
                    folder / "lenet.onnx",
                    "--force",
                )["peak"]
                for _ in range(3)
            ]
            peaks.append(sorted(runs)[1])
        more = 100 * (peaks[1] / peaks[0] - 1)
        lines.append(
            f"lenet5, pare {name}: VmHWM {peaks[0] / 1e3:.1f} MB with 500 MNIST images, {peaks[1] / 1e3:.1f} MB with 60,000: {more:+.1f} % "
            f"(aim: below 5 %: {'reached' if more < 5 else '**short**'})."
        )
    return lines


def same_bytes(cache, folder):
    net, hashes = NETWORKS["resnet20_bn"], []
    for threads in (1, 2, 1):
        out = folder / "same.onnx"
        run_pare(
            "pass",
            "quantize",
            "--data",
            data_file(net, cache, "calibration"),
            "--samples=0",
            "--no-measure",
            "--no-cache",
            "-q",
            f"--threads={threads}",
            model_of(net, cache),
            "-o",
            out,
            "--force",
        )
        hashes.append(hashlib.sha256(out.read_bytes()).hexdigest())
    return f"resnet20_bn, default, one thread, two and one again: {'the same bytes' if len(set(hashes)) == 1 else '**different bytes**'}."


def ratios(runs):
    """What the aims speak of, a round's two runs at a time: (text by subject, lines)."""

    def ratio(a, b):
        each = [y["seconds"] / x["seconds"] for x, y in zip(runs[a], runs[b])]
        work = np.median([y["processor"] / x["processor"] for x, y in zip(runs[a], runs[b])])
        return float(np.median(each)), f"{np.median(each):.2f} [{min(each):.2f}, {max(each):.2f}]", f"{work:.2f}"

    plain, default, single, batched, entropy = runs
    lines = []
    for what, mine, other, least in (
        ("minmax without repairs beside MinMax", plain, single, 3),
        ("the same beside MinMax in batches", plain, batched, 3),
        ("default beside MinMax", default, single, 1),
        ("default beside MinMax in batches", default, batched, 1),
        ("default beside Entropy", default, entropy, 2),
    ):
        value, text, work = ratio(mine, other)
        verdict = "reached" if value >= least else "**short**"
        lines.append(f"{what}: {text} times as fast, {work} times by processor seconds (aim: {least}: {verdict}).  ")
    for mine in (plain, default):
        share = max(r["peak"] for r in runs[mine]) / max(r["peak"] for r in runs[entropy])
        lines.append(
            f"VmHWM of {mine}: {100 * share:.1f} % of Entropy's (aim: at most 10 %: {'reached' if share <= 0.1 else '**short**'}).  "
        )
    return lines


def measure(cache, said, rounds=ROUNDS):
    """Runs the rounds, then what needs no rounds; speed.json is written as soon as the rounds are done, then once more."""
    load, random = os.getloadavg()[0], np.random.default_rng(1)

    def keep(runs, lines):
        (cache / "speed.json").write_text(json.dumps({"load": load, "versions": said, "runs": runs, "lines": lines}, indent=1))

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        made = subjects(cache, folder)
        runs = {name: [] for name in made}
        for round_ in range(int(os.environ.get("BENCH_ROUNDS", rounds))):
            for name in random.permutation(list(made)):
                runs[name].append(made[name]())
                print(round_, name, runs[name][-1], flush=True)
        keep(runs, ratios(runs))
        lines = [*ratios(runs), "", *many_images(folder), "", same_bytes(cache, folder)]
    keep(runs, lines)
