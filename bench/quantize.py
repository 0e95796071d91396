#!/usr/bin/env python3
"""The table of docs/performance.md: quantization by pare beside ONNX Runtime and NNCF, same networks, same samples, same evaluation.

    make bench-quantize                       everything that is not measured yet, then the tables
    bench/quantize.py [--only NETWORK,...] [--tools pare,ort,nncf] [--match TEXT] [--again TEXT] [--report] [--speed]

Intermediate files and every row's result are kept under build/bench/quantize, so that a run can be stopped and taken up again; pare's rows
are measured anew when the program has changed. `exact`: the same file with its int8 weights as uint8 around 128, which no x86 saturates on.
--speed: time and memory, on an idle machine."""

import argparse
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import traceback

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = pathlib.Path(__file__).resolve().parents[1]
BUILD = pathlib.Path(os.environ.get("BUILD", ROOT / "build")).resolve()
CACHE = BUILD / "bench" / "quantize"
PACKAGES = ["onnx", "onnx_ir", "onnxruntime", "numpy", "scipy", "sympy", "nncf", "openvino"]


def enter_venv():
    """Goes on in a virtual environment of its own, made when missing."""
    venv = BUILD / "bench" / "venv"
    if pathlib.Path(sys.prefix).resolve() == venv.resolve():
        return
    if not (venv / "bin" / "python").exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    if subprocess.run(
        [venv / "bin" / "python", "-c", "import onnx, onnxruntime, onnx_ir, nncf"], capture_output=True, check=False
    ).returncode:
        subprocess.run([venv / "bin" / "pip", "install", "-q", "--disable-pip-version-check", *PACKAGES], check=True)
    os.execv(venv / "bin" / "python", [str(venv / "bin" / "python"), *sys.argv])


def versions():
    import importlib.metadata

    said = {p: importlib.metadata.version(p) for p in ("onnxruntime", "nncf", "onnx", "numpy")}
    said["time"] = time.strftime("%Y-%m-%d %H:%M")
    head = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    said["pare"] = os.environ.get("PARE_COMMIT", head.stdout.strip())  # of the program named by $PARE
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        info = file.read()
    said["processor"] = next((line.split(":", 1)[1].strip() for line in info.splitlines() if line.startswith("model name")), "unknown")
    flags = next((line.split() for line in info.splitlines() if line.startswith("flags")), [])
    said["processor"] += ", " + ("VNNI" if any("vnni" in f for f in flags) else "AVX2 without VNNI" if "avx2" in flags else "no AVX2")
    return said


def outputs(net, model, feeds, engine, folder, data=None):
    """What the engine makes of the evaluation data: the judged output and, before a Softmax at the end, the logits."""
    import numpy as np
    from networks import output_name, run_runtime, with_logits
    from pare_rows import run_pare

    def run(file, name):
        return run_runtime(file, feeds, net, name) if engine == "ort" else run_pare(file, data, net, name, folder)

    got = run(model, output_name(net, model))
    more = with_logits(model, folder) if net.kind == "classify" else None
    logits = run(more[0], more[1]) if more else got
    return np.asarray(got), np.asarray(logits)


def judged(net, reference, got, labels):
    from networks import decibels, judge

    found = judge(net, reference[0], got[0], labels)
    if got[1] is not got[0] and "sqnr" in found:
        found["sqnr_output"], found["sqnr"] = found["sqnr"], decibels(reference[1], got[1])
    return found


def measure(net, model, engines, state):
    """The row's figures by engine."""
    import networks
    from peers import shifted

    found, classes = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for engine in engines:
            started = time.perf_counter()
            try:
                file = model
                if engine == "exact":
                    file = folder / "exact.onnx"
                    if not shifted(model, file):
                        continue
                data = networks.data_file(net, CACHE, "evaluation") if engine == "pare" else None
                got = outputs(net, file, state["feeds"], "pare" if engine == "pare" else "ort", folder, data)
                found[engine] = judged(net, state["reference"], got, state["labels"])
                first = got[0].argmax(axis=-1)
                if engine == "pare" and "ort" in classes:
                    found[engine]["same_as_ort"] = 100 * float((first == classes["ort"]).mean())
                classes[engine] = first
            except Exception as error:  # one engine refusing a file is a result
                found[engine] = {"failed": f"{type(error).__name__}: {error}"[:300]}
            found[engine]["took"] = round(time.perf_counter() - started, 2)
    return found


def prepare(net):
    """Evaluation data, labels and the float network's outputs."""
    import numpy as np
    import networks

    feeds, labels = networks.samples(net, "evaluation")
    kept = CACHE / "float" / f"{net.key}.npz"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            got = outputs(net, networks.model_of(net, CACHE), feeds, "ort", folder)
        np.savez(kept, output=got[0], logits=got[1])
    stored = np.load(kept)
    reference = (stored["output"], stored["logits"])
    kept.with_suffix(".json").write_text(json.dumps(networks.judge(net, reference[0], reference[0], labels)))
    return {"feeds": feeds, "labels": labels, "reference": reference}


def rows(net):
    """(tool, name, make, engines, stamp) of everything measured on the network; a changed stamp is measured anew."""
    import pare_rows
    import peers

    built = hashlib.sha256(pathlib.Path(pare_rows.PARE).read_bytes()).hexdigest()[:12]
    for row in pare_rows.rows(net):
        yield "pare", row.name, row.make, row.engines, built
    for i, variant in enumerate(peers.variants(net)):
        # nothing saturates with weights of 7 bits or uint8; signed activations with unsigned weights are no integer kernels
        saturates = variant.tool == "NNCF" or ("u8s8" in variant.name and "7 bits" not in variant.name)
        engines = ["ort"] + (["exact"] if saturates else []) + (["pare"] if i == 0 and variant.tool.endswith("static") else [])
        yield variant.tool, variant.name, variant.make, engines, "1"


def place(net, tool, name):
    safe = "".join(c if c.isalnum() else "-" for c in f"{tool}-{name}")
    return CACHE / "rows" / net.key / f"{safe}.json", CACHE / "files" / net.key / f"{safe}.onnx"


def integer_layers(file):
    """(layers that run as integers in ONNX Runtime, layers), by pare's lint."""
    import pare_rows

    told = json.loads(pare_rows.call("lint", "--json", file))
    return told["integer_layers"], told["layers"]


def run_row(net, tool, name, make, engines, stamp, state, said):
    kept, file = place(net, tool, name)
    for path in (kept, file):
        path.parent.mkdir(parents=True, exist_ok=True)
    row = {"network": net.key, "tool": tool, "variant": name, "stamp": stamp, "versions": said, "load": os.getloadavg()[0]}
    try:
        row["seconds"] = make(net, CACHE, file)
        row["bytes"] = file.stat().st_size
        row["integers"] = integer_layers(file)
        row["engines"] = measure(net, file, engines, state)
    except Exception as error:  # a tool that refuses the network is a result
        row["failed"] = f"{type(error).__name__}: {error}"[:400]
        if os.environ.get("BENCH_TRACE"):
            traceback.print_exc()
    kept.write_text(json.dumps(row, indent=1))
    print(f"{net.key:13} {tool} {name}: {json.dumps(row.get('engines', row.get('failed')))[:330]}", flush=True)


def current(path, stamp):
    return path.exists() and json.loads(path.read_text()).get("stamp") == stamp


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--only", default="", help="networks, separated by commas")
    parser.add_argument("--tools", default="pare,ort,nncf")
    parser.add_argument("--match", default="", help="only rows whose name holds this")
    parser.add_argument("--again", default=None, help="measure anew the rows whose name holds this")
    parser.add_argument("--report", action="store_true", help="write the tables from what is measured, measure nothing")
    parser.add_argument("--speed", action="store_true", help="time and memory")
    arguments = parser.parse_args()
    enter_venv()
    import networks
    import quantize_report

    CACHE.mkdir(parents=True, exist_ok=True)
    if arguments.speed:
        import quantize_speed

        quantize_speed.measure(CACHE, versions())
    elif not arguments.report:
        said, wanted = versions(), arguments.only.split(",") if arguments.only else list(networks.NETWORKS)
        short = {"pare": "pare", "ONNX": "ort", "NNCF": "nncf"}
        for key in wanted:
            net, state = networks.NETWORKS[key], None
            for tool, name, make, engines, stamp in rows(net):
                if short[tool.split()[0]] not in arguments.tools.split(",") or arguments.match not in name:
                    continue
                if current(place(net, tool, name)[0], stamp) and not (arguments.again is not None and arguments.again in name):
                    continue
                state = state or prepare(net)
                run_row(net, tool, name, make, engines, stamp, state, said)
    quantize_report.write(CACHE, ROOT / "docs" / "performance.md")


if __name__ == "__main__":
    main()
