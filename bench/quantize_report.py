"""docs/performance.md from the rows that are measured: what was aimed at beside what was reached, then every row by network."""

import json
import re
import textwrap

import numpy as np

from networks import NETWORKS
from quantize_figures import figures

HEAD = """# Quantization beside others

Made by `make bench-quantize` (bench/quantize.py); tables and verdicts come from its stored rows. Processor: {processor}. ONNX Runtime {onnxruntime}, NNCF
{nncf}, onnx {onnx}. pare's rows: {commits},
as each table says: older rows do not show what later commits gained or lost. Calibration uses training data only, the same samples for every tool: 500 (dscnn_nhwc 200,
mobilenet_v2 the first 60 of its 300 images, evaluated on the other 240; stories260K 256 windows, minilm 500 sentences). Evaluated on 4,900
CIFAR-10 images, 10,000 MNIST images, 400 clips, 26 windows of 64 tokens, 1,000 sentences, 100,000 characters. One thread.

SQNR is of the output against the float network's, in dB (dscnn_nhwc and resnet8_nhwc end in a Softmax: of what it reads, then in brackets of
its output); agreement is of the first class. *ORT*: the file in ONNX Runtime as it comes. *exact*: the same file with its int8 weights shifted
to uint8, zero point 128, which no x86 saturates on. *pare*: in pare's engine, which is exact on every file. Where all three are equal the file
needs nothing from the processor.
"""
ENGINES = (("ort", "ORT"), ("exact", "exact"), ("pare", "pare"))


def load(cache):
    """Rows by (network, tool, variant)."""
    found = {}
    for path in sorted((cache / "rows").glob("*/*.json")):
        row = json.loads(path.read_text())
        found[row["network"], row["tool"], row["variant"]] = row
    return found


def cell(net, engine, plain):
    """One engine's result in a few characters."""
    if engine is None:
        return ""
    if "failed" in engine:
        return "fails"
    if net.kind == "embed":
        return f"{engine['cosine']:.4f} / {engine['nearest']:.1f} %"
    if net.kind == "classify":
        said = f"{engine['accuracy']:.2f} % ({engine['right']}), {engine['sqnr']:.1f} dB"
        said += f" [{engine['sqnr_output']:.1f}]" if "sqnr_output" in engine else ""
        return said + (f", {engine['agreement']:.2f} %" if plain else "")
    return f"+{engine['excess']:.4f}, {engine['sqnr']:.1f} dB, {engine['agreement']:.2f} %".replace("+-", "-")


def short(text):
    return text.replace("\n", " ").replace("|", "/")[:110]


def network_table(net, rows, cache):
    """Every row of a network: pare's first, then the others in the order they were named."""
    header = {
        "classify": "accuracy (right), SQNR, agreement",
        "text": "nats above float32, SQNR, agreement",
        "chars": "nats above float32, SQNR, agreement",
        "embed": "mean cosine / same nearest neighbour",
    }[net.kind]
    lines = [
        f"## {net.key}",
        "",
        base_line(net, cache),
        "",
        f"| tool | variant | ORT: {header} | exact | pare | integer layers | file |",
        "|---|---|---|---|---|---|---|",
    ]
    order = {"pare": 0, "ONNX Runtime static": 1, "ONNX Runtime dynamic": 2, "ONNX Runtime MatMulNBits": 3, "NNCF": 4}
    mine = sorted(
        (r for r in rows.values() if r["network"] == net.key), key=lambda r: (order[r["tool"]], r["variant"] != "default", r["variant"])
    )
    for row in mine:
        if "failed" in row:
            lines.append(f"| {row['tool']} | {row['variant']} | not made: {short(row['failed'])} | | | | |")
            continue
        cells = [cell(net, row["engines"].get(key), key == "ort") for key, _ in ENGINES]
        cells.append("{} of {}".format(*row["integers"]) if "integers" in row else "")
        tool = f"pare {row['versions']['pare']}" if row["tool"] == "pare" else row["tool"]
        lines.append(f"| {tool} | {row['variant']} | {' | '.join(cells)} | {row['bytes'] / 1000:,.0f} kB |")
    return [*lines, ""] if mine else []


def base_line(net, cache):
    path = cache / "float" / f"{net.key}.json"
    if not path.exists():
        return "float32: the reference."
    base = json.loads(path.read_text())
    if "accuracy" in base:
        return f"float32: {base['accuracy']:.2f} % ({base['right']} of {base['samples']})."
    if "nats" in base:
        return f"float32: {base['nats']:.4f} nats."
    return "float32: the reference."


def figure_table(rows, cache):
    lines = [
        "## What was aimed at",
        "",
        "Short of the aim is marked **short**; a dash is not measured. Others' best is among the rows below, in ONNX Runtime as it comes.",
        "",
        "| network, setting | aim | ORT | exact | pare's engine | ORT's default | others' best | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    missed = 0
    for figure in figures(rows, cache):
        verdict = "" if figure.met is None else "reached" if figure.met else "**short**"
        missed += figure.met is False
        lines.append(
            f"| {figure.what} | {figure.aim} | {figure.ort} | {figure.exact} | {figure.pare} "
            f"| {figure.default} | {figure.best} | {verdict} |"
        )
    note = (
        "Portable pairs are measured on weights alone, beside 8 bits without the rule and 7 bits. The layers "
        "of stories260K that stay float are in its table below."
    )
    return [*lines, "", f"{missed} of the measured ones short.", "", *textwrap.wrap(note, 140), ""]


def speed_table(cache):
    path = cache / "speed.json"
    if not path.exists():
        return ["## Time and memory", "", "Not measured yet: `bench/quantize.py --speed` on an idle machine.", ""]
    told = json.loads(path.read_text())
    busy = " **The machine was not idle: to be repeated.**" if told["load"] > 0.7 else ""
    lines = [
        "## Time and memory",
        "",
        f"resnet56_bn, 500 images, in turns within one run, all cores; pare {told['versions']['pare']}; load average before "
        f"the first run {told['load']:.1f}.{busy}",
        "",
        "Whole processes of pare; of ONNX Runtime what is inside quantize_static, its imports and the model's preparation left out.",
        "",
        "| | seconds, median | range | processor seconds (threads that wait count) | VmHWM |",
        "|---|---|---|---|---|",
    ]
    for name, runs in told["runs"].items():
        seconds, memory, work = ([r[k] for r in runs] for k in ("seconds", "peak", "processor"))
        lines.append(
            f"| {name} | {np.median(seconds):.1f} | {min(seconds):.1f} to {max(seconds):.1f} | {np.median(work):.1f} | {max(memory) / 1e3:,.0f} MB |"
        )
    lines += ["", *told["lines"], ""]
    return lines


def write(cache, path):
    rows = load(cache)
    if not rows:
        return
    newest = max(rows.values(), key=lambda r: r["versions"].get("time", ""))["versions"]
    commits = sorted({r["versions"]["pare"] for r in rows.values() if r["tool"] == "pare"})
    text = HEAD.format(
        commits=f"commit{'s' if len(commits) > 1 else ''} {', '.join(commits)}",
        **{k: newest[k] for k in ("processor", "onnxruntime", "nncf", "onnx")},
    )
    lines = [text, *figure_table(rows, cache), *speed_table(cache)]
    for net in NETWORKS.values():
        lines += network_table(net, rows, cache)
    block = re.search(r"<!-- engine: begin -->.*<!-- engine: end -->", path.read_text(), re.S) if path.exists() else None
    if block:  # bench/engine.py's
        lines += ["", block[0]]
    path.write_text("\n".join(lines).rstrip() + "\n")
    (cache / "rows.json").write_text(json.dumps(list(rows.values()), indent=1))
    print(f"{path} and {cache / 'rows.json'}: {len(rows)} rows")
