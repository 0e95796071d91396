"""What pare's quantization aims at, each aim beside what the measured rows give. Drops are in percentage points, excess in nats."""

import collections
import json

Figure = collections.namedtuple("Figure", "what aim ort exact pare default best met")
DEFAULT = ("ONNX Runtime static", "MinMax u8s8 per channel")
# network, largest drop of accuracy, least SQNR in dB, least agreement
STATIC = [
    ("resnet20_bn", 0.2, 28.7, None),
    ("resnet56_bn", 0.2, 27.5, None),
    ("lenet5", 0.2, 38, None),
    ("lenet300", 0.2, None, None),
    ("mnist_8", 0.2, None, None),
    ("resnet8_nhwc", 0.3, 23, None),
    ("kws", 0.0, 31, None),
    ("mobilenet_v2", None, 17.5, 95.0),
]
# network, bits, least accuracy, least SQNR: the worst of three seeds
WEIGHTS = [
    ("resnet20_bn", 4, 91.5, 24.5),
    ("resnet20_bn", 3, 91.1, 19),
    ("resnet20_bn", 2, 90.0, 13),
    ("lenet300", 2, 98.25, None),
    ("lenet300", 3, None, 29),
    ("lenet5", 2, 98.95, None),
]
# stories260K: setting, most nats above float32
STORIES = [
    ("default", 0.012),
    ("outputs of products quantized, too", 0.018),
    ("weights 4 bits, blocks of 32", 0.070),
    ("weights 4 bits, blocks of 32, without the head", 0.055),
    ("weights 3 bits, blocks of 32", 0.33),
]


def value_of(engine, metric):
    """Of an engine's results; "sqnr" is that of the network's output, "logits" that before a Softmax at its end."""
    if metric == "sqnr":
        return engine.get("sqnr_output", engine.get("sqnr"))
    return engine.get("sqnr" if metric == "logits" else metric)


class Rows:
    def __init__(self, rows, cache):
        self.rows, self.cache = rows, cache

    def get(self, net, tool, variant, engine, metric):
        row = self.rows.get((net, tool, variant), {})
        return value_of(row.get("engines", {}).get(engine, {}), metric)

    def base(self, net, metric):
        path = self.cache / "float" / f"{net}.json"
        return json.loads(path.read_text()).get(metric) if path.exists() else None

    def best(self, net, metric, largest=True, tools=("ONNX Runtime static", "ONNX Runtime dynamic", "NNCF")):
        """(value, tool and variant) of the others."""
        results = [
            (value_of(r.get("engines", {}).get("ort", {}), metric), f"{r['tool'].replace('ONNX Runtime', 'ORT')} {r['variant']}")
            for r in self.rows.values()
            if r["network"] == net and r["tool"] in tools
        ]
        return (max if largest else min)([r for r in results if r[0] is not None], default=(None, ""))


def line(rows, net, variant, what, metric, aim, show, largest=True, transform=None, tools=None):
    """One aim: met when both engines (ONNX Runtime and pare, as far as measured) reach it."""
    transform = transform or (lambda v: v)
    values = {e: rows.get(net, "pare", variant, e, metric) for e in ("ort", "exact", "pare")}
    values = {e: None if v is None else transform(v) for e, v in values.items()}
    known = [values[e] for e in ("ort", "pare") if values[e] is not None]
    met = None
    if known:
        met = all((v >= aim - 1e-9) if largest else (v <= aim + 1e-9) for v in known)
    said = {e: "-" if v is None else show.format(v) for e, v in values.items()}
    default = rows.get(net, *DEFAULT, "ort", metric)
    best, by = rows.best(net, metric, largest if metric != "accuracy" else True, *([tools] if tools else []))
    aim_text = f"{'>=' if largest else '<='} {show.format(aim)}"
    return Figure(
        f"{net}, {what}",
        aim_text,
        said["ort"],
        said["exact"] if values["exact"] is not None else "",
        said["pare"],
        "" if default is None else show.format(transform(default)),
        "" if best is None else f"{show.format(transform(best))} ({by})",
        met,
    )


def static_figures(rows):
    for net, drop, sqnr, agreement in STATIC:
        base = rows.base(net, "accuracy")
        if drop is not None and base is not None:
            yield line(
                rows, net, "default", "static default, drop of accuracy", "accuracy", drop, "{:.2f} points", False, lambda v, b=base: b - v
            )
        if sqnr is not None:
            yield line(rows, net, "default", "static default, SQNR of the output", "sqnr", sqnr, "{:.1f} dB")
            if rows.get(net, "pare", "default", "ort", "logits") != rows.get(net, "pare", "default", "ort", "sqnr"):
                yield line(rows, net, "default", "the same before the Softmax", "logits", sqnr, "{:.1f} dB")
        if agreement is not None:
            yield line(rows, net, "default", "static default, agreement of the first class", "agreement", agreement, "{:.1f} %")
    for net, *_ in STATIC:
        yield agreement_of_engines(rows, net)


def agreement_of_engines(rows, net):
    got = [rows.get(net, "pare", "default", e, "right") for e in ("ort", "pare")]
    same = rows.get(net, "pare", "default", "pare", "same_as_ort")
    met = None if same is None else same >= 99.9
    return Figure(
        f"{net}, engines agree on the quantized file, first class",
        ">= 99.9 %",
        "" if got[0] is None else f"{got[0]} right",
        "",
        "-" if same is None else f"{same:.2f} %, {got[1]} right",
        "",
        "",
        met,
    )


def text_figures(rows):
    for variant, aim in STORIES:
        tools = ("ONNX Runtime MatMulNBits",) if variant.startswith("weights") else None
        yield line(rows, "stories260K", variant, variant, "excess", aim, "+{:.4f} nats", False, None, tools)
    yield line(rows, "minilm", "default", "static default, mean cosine", "cosine", 0.9975, "{:.4f}")
    yield line(rows, "minilm", "default", "static default, same nearest neighbour", "nearest", 90, "{:.1f} %")
    yield line(rows, "minilm", "weights 8 bits", "weights only, mean cosine", "cosine", 0.9994, "{:.4f}", True, None, ("none",))
    peer = rows.best("minilm", "cosine", True, ("ONNX Runtime MatMulNBits",))[0]
    if peer is not None:
        yield line(
            rows,
            "minilm",
            "weights 4 bits, blocks of 32",
            "4 bits, blocks of 32, never below MatMulNBits",
            "cosine",
            peer,
            "{:.4f}",
            True,
            None,
            ("ONNX Runtime MatMulNBits",),
        )


def weight_figures(rows):
    for net, bits, accuracy, sqnr in WEIGHTS:
        for metric, aim, show in (("accuracy", accuracy, "{:.2f} %"), ("sqnr", sqnr, "{:.1f} dB")):
            if aim is None:
                continue
            found = [rows.get(net, "pare", f"weights {bits} bits, seed {s}", "ort", metric) for s in (1, 2, 3)]
            known = [v for v in found if v is not None]
            yield Figure(
                f"{net}, weights alone, {bits} bits per channel, worst of {len(known)} seeds",
                f">= {show.format(aim)}",
                show.format(min(known)) if known else "-",
                "",
                "",
                "",
                "",
                min(known) >= aim - 1e-9 if len(known) == 3 else None,
            )


def pair_figures(rows):
    for net in ("resnet20_bn", "kws"):
        found = {
            n: rows.get(net, "pare", f"weights alone: {n}", "ort", "sqnr")
            for n in ("portable, nearest", "free, nearest", "7 bits, nearest", "portable, H-aware rounding")
        }
        portable, free, seven, aware = found.values()

        def told(value):
            return "-" if value is None else f"{value:.1f} dB"

        yield Figure(
            f"{net}, portable pairs, weights alone, above 7 bits",
            ">= 5.0 dB",
            "-" if None in (portable, seven) else f"{portable - seven:.1f} dB ({portable:.1f} against {seven:.1f})",
            "",
            "",
            "",
            "",
            None if None in (portable, seven) else portable - seven >= 5,
        )
        yield Figure(
            f"{net}, portable pairs, weights alone, below free 8 bits",
            "<= 3.0 dB",
            "-" if None in (portable, free) else f"{free - portable:.1f} dB ({portable:.1f} against {free:.1f})",
            "",
            "",
            "",
            "",
            None if None in (portable, free) else free - portable <= 3,
        )
        yield Figure(
            f"{net}, portable pairs with H-aware rounding",
            ">= 40.0 dB",
            told(aware),
            "",
            "",
            "",
            "",
            None if aware is None else aware >= 40,
        )


def equalization_figures(rows):
    for repairs, least in (("equalize", 32.5), ("equalize, bias", 35.0)):
        base = rows.get("resnet20_bn", "pare", f"per tensor, {repairs}; channels as they are", "ort", "sqnr")
        for seed in (1, 2):
            name = f"per tensor, {repairs}; channels scaled, seed {seed}"
            sqnr, accuracy = (rows.get("resnet20_bn", "pare", name, "ort", m) for m in ("sqnr", "accuracy"))
            said = "-" if sqnr is None else f"{accuracy:.2f} %, {sqnr:.1f} dB"
            aim = f">= {least} dB" + (", 91.66 %" if repairs == "equalize" else "")
            met = None if sqnr is None else sqnr >= least and (accuracy >= 91.66 or repairs != "equalize")
            yield Figure(f"resnet20_bn, {name}", aim, said, "", "", "", "", met)
            if None not in (sqnr, base):
                yield Figure(
                    f"resnet20_bn, {name}, from the untouched network",
                    "<= 0.1 dB",
                    f"{abs(sqnr - base):.2f} dB ({base:.1f})",
                    "",
                    "",
                    "",
                    "",
                    abs(sqnr - base) <= 0.1,
                )


def figures(rows, cache):
    held = Rows(rows, cache)
    for group in (static_figures, text_figures, weight_figures, pair_figures, equalization_figures):
        yield from group(held)
