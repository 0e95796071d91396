"""Networks quantized by ONNX Runtime's own tool (static QDQ and QOperator, dynamic; every signedness; per tensor and per channel) run
here against ONNX Runtime without optimization, which takes a QDQ file one float operator at a time.

--plain runs the same way but sums in another order: a value that lies within a few parts in 10^7 of a half may go to the neighbouring
integer, and later layers carry the step on. Signal to noise is 200 dB (equal) on shallow networks and on every QOperator form; near 40 dB
on resnet8 as QDQ with 8-bit activations, 75 dB with 16-bit ones, alike with and without --plain. Judged are the class that wins (at least
99.9 % of the samples, those left out whose two best scores lie within two steps of each other) and the distance."""
import os
import sys
import tempfile

import numpy as np
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

from common import DIGITS, ZOO, pare

SAMPLES, LEAST_DB = 60, 30.0
U8, S8 = QuantType.QUInt8, QuantType.QInt8
# name, format, activations, weights, per channel. reduce_range keeps ONNX Runtime's 8-bit kernels from saturating.
FORMS = [("QDQ u8 s8", QuantFormat.QDQ, U8, S8, True), ("QDQ s8 s8", QuantFormat.QDQ, S8, S8, True),
         ("QDQ u8 u8", QuantFormat.QDQ, U8, U8, False), ("QDQ u16 s8", QuantFormat.QDQ, QuantType.QUInt16, S8, False),
         ("QOperator u8 s8", QuantFormat.QOperator, U8, S8, True), ("QOperator u8 u8", QuantFormat.QOperator, U8, U8, False),
         ("QOperator s8 s8", QuantFormat.QOperator, S8, S8, False), ("dynamic s8", None, None, S8, False),
         ("dynamic u8", None, None, U8, False)]


def networks():
    """(path, samples, forms): the example and the smallest image networks of the zoo; the slowest without the dynamic forms."""
    with np.load(DIGITS / "test.npz") as archive:
        image = next(archive[n] for n in archive.files if archive[n].ndim >= 2)[:SAMPLES]
    yield DIGITS / "digits.onnx", image, FORMS
    for name, data in (("mnist/lenet5.onnx", "mnist/test.npz"), ("cifar10/resnet8_nhwc.onnx", "cifar10/dev.npz")):
        if (ZOO / name).exists() and (ZOO / data).exists():
            with np.load(ZOO / data) as archive:
                image = next(archive[n] for n in archive.files if archive[n].ndim >= 3)[:SAMPLES]
            yield ZOO / name, image, FORMS[:6] if "resnet8" in name else FORMS


def fit(image, entry):
    """The samples in the form the input declares: channels moved or added, bytes scaled to [0, 1] unless the network takes NHWC."""
    rank, out = len(entry.shape), image.astype(np.float32)
    if out.ndim == rank - 1:
        out = out[:, None] if entry.shape[1] == 1 else out[..., None]
    elif out.ndim == 4 and isinstance(entry.shape[1], int) and out.shape[1] != entry.shape[1]:
        out = out.transpose(0, 3, 1, 2)
    if image.dtype == np.uint8 and entry.shape[-1] != 3:
        out = out / np.float32(255)
    return np.ascontiguousarray(out.reshape([len(out), *[d if isinstance(d, int) else s for d, s in zip(entry.shape[1:], out.shape[1:])]]))


class Reader(CalibrationDataReader):
    def __init__(self, name, data):
        self.rows = iter([{name: data[i:i + 1]} for i in range(20)])

    def get_next(self):
        return next(self.rows, None)


def quantize(path, out, form, name, data):
    _, kind, activations, weights, per_channel = form
    if kind is None:
        quantize_dynamic(path, out, weight_type=weights, reduce_range=True)
    else:
        quantize_static(path, out, Reader(name, data), quant_format=kind, activation_type=activations, weight_type=weights,
                        per_channel=per_channel, reduce_range=activations != QuantType.QUInt16)


def session_of(path):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def judge(want, got):
    """(share of samples whose class agrees, decibels). Two best scores within two steps of 1/255 of the range count as agreeing."""
    want, got = want.reshape(len(want), -1).astype(np.float64), got.reshape(len(want), -1).astype(np.float64)
    top = np.sort(want, axis=1)
    close = top[:, -1] - top[:, -2] <= 2 * np.ptp(want) / 255
    same = (want.argmax(1) == got.argmax(1)) | close
    noise = float(((want - got) ** 2).sum())
    return float(same.mean()), 200.0 if noise == 0 else float(10 * np.log10((want ** 2).sum() / noise))


def main():
    failed, ran = 0, 0
    with tempfile.TemporaryDirectory() as folder:
        small, data_file, result = (os.path.join(folder, n) for n in ("small.onnx", "in.npz", "out.npz"))
        for path, image, forms in networks():
            if not path.exists():
                continue
            entry = session_of(path).get_inputs()[0]
            data = fit(image, entry)
            fixed = isinstance(entry.shape[0], int)
            np.savez(data_file, **{entry.name: data})
            for form in forms:
                quantize(str(path), small, form, entry.name, data)
                session = session_of(small)
                runs = [session.run(None, {entry.name: data[i:i + 1]})[0] for i in range(len(data))] if fixed or form[1] is None else None
                want = np.concatenate(runs) if runs else session.run(None, {entry.name: data})[0]
                said = []
                for extra in ([], ["--plain"]):
                    pare("infer", small, "--data", data_file, "-o", result, f"--batch={1 if runs else 50}", *extra)
                    with np.load(result) as found:
                        share, decibels = judge(want, found[session.get_outputs()[0].name])
                    fine = share >= 0.999 and decibels >= LEAST_DB
                    failed += not fine
                    said.append(f"{100 * share:.1f} % {decibels:.0f} dB{'' if fine else ' FAILED'}")
                ran += 1
                print(f"{path.stem:14} {form[0]:16} {said[0]}, plain {said[1]}", flush=True)
    print(f"{ran} quantized networks, {failed} failed")
    return 1 if failed or ran == 0 else 0


sys.exit(main())
