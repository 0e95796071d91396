"""Recurrent networks and those with control flow against ONNX Runtime, step by step with their states fed back: 200 steps, every output of
every step within 1e-4 of the largest; and the character model's loss in nats on the head of its text."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnxruntime

from common import PARE, ZOO

STREAM = pathlib.Path(PARE).parent / "tests" / "tools" / "stream"
TOLERANCE = 1e-4
STEPS = 200
CHARACTERS = 100000


def stream(model, arrays, states, plain=False):
    with tempfile.TemporaryDirectory() as folder:
        np.savez(f"{folder}/in.npz", **arrays)
        environment = {**os.environ, "PLAIN": "1"} if plain else os.environ
        done = subprocess.run([STREAM, model, f"{folder}/in.npz", f"{folder}/out.npz", *(f"{o}={i}" for o, i in states.items())],
                              capture_output=True, text=True, check=False, env=environment)
        if done.returncode != 0:
            raise RuntimeError(f"{model}: exit {done.returncode}: {done.stderr.strip()}")
        with np.load(f"{folder}/out.npz") as archive:
            return {name: archive[name] for name in archive.files}


def peer(model, arrays, states):
    """ONNX Runtime's outputs, stacked in the same way."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model), options)
    names = [o.name for o in session.get_outputs()]
    ranks = {i.name: len(i.shape) for i in session.get_inputs()}
    fed = {i: arrays[i] for i in states.values()}
    framed = [n for n, a in arrays.items() if n not in fed and a.ndim == ranks[n] + 1]
    made = {name: [] for name in names}
    for step in range(len(arrays[framed[0]])):
        feeds = {n: a[step] if n in framed else a for n, a in arrays.items()} | fed
        results = dict(zip(names, session.run(None, feeds)))
        for name in names:
            made[name].append(results[name])
        fed = {i: results[o] for o, i in states.items()}
    return {name: np.stack(values) for name, values in made.items()}


def audio():
    with np.load(ZOO / "speech" / "noisy_clean_5dB_20s.npz") as archive:
        return archive["noisy"]


def windows(wave, size, hop):
    return np.stack([wave[k * hop:k * hop + size] for k in range(STEPS)])


def silero(rate, size, context):
    wave = audio()
    return {"input": windows(wave, size + context, size)[:, None, :], "state": np.zeros((2, 1, 128), np.float32), "sr": np.array(rate)}


def gtcrn():
    spectrum = np.fft.rfft(windows(audio(), 512, 256) * np.hanning(512) ** 0.5, axis=1)
    mix = np.stack([spectrum.real, spectrum.imag], -1).astype(np.float32)[:, None, :, None, :]
    return {"mix": mix, "conv_cache": np.zeros((2, 1, 16, 16, 33), np.float32), "tra_cache": np.zeros((2, 3, 1, 1, 16), np.float32),
            "inter_cache": np.zeros((2, 1, 33, 16), np.float32)}


def dtln():
    magnitude = np.abs(np.fft.rfft(windows(audio(), 512, 128), axis=1)).astype(np.float32)
    return {"input_2": magnitude[:, None, None, :], "input_3": np.zeros((1, 2, 128, 2), np.float32)}


def tokens(count):
    index = json.loads((ZOO / "charlm" / "shakespeare.vocab.json").read_text())
    text = (ZOO / "charlm" / "tinyshakespeare.txt").read_text()[:count + 1]
    return np.array([index[c] for c in text], np.int64)


def charlm(count, chunk):
    text = tokens(count)
    zero = np.zeros((1, 1, 128), np.float32)
    return {"tokens": text[:-1].reshape(-1, chunk, 1), "h0_in": zero, "c0_in": zero, "h1_in": zero, "c1_in": zero}, text[1:]


def nats(logits, expected):
    logits = logits.reshape(-1, logits.shape[-1]).astype(np.float64)
    top = logits.max(1, keepdims=True)
    return float(np.mean(np.log(np.exp(logits - top).sum(1)) + top[:, 0] - logits[np.arange(len(expected)), expected]))


CHAR_STATES = {"h0_out": "h0_in", "c0_out": "c0_in", "h1_out": "h1_in", "c1_out": "c1_in"}
CASES = [
    ("speech/silero_vad.onnx", lambda: silero(16000, 512, 64), {"stateN": "state"}),
    ("speech/silero_vad.onnx", lambda: silero(8000, 256, 32), {"stateN": "state"}),
    ("speech/silero_vad_16k_op15.onnx", lambda: silero(16000, 512, 64), {"stateN": "state"}),
    ("speech/gtcrn_simple.onnx", gtcrn, {"conv_cache_out": "conv_cache", "tra_cache_out": "tra_cache", "inter_cache_out": "inter_cache"}),
    ("speech/dtln_1.onnx", dtln, {"tf_op_layer_stack_2": "input_3"}),
    ("charlm/shakespeare_lstm.onnx", lambda: charlm(STEPS, 1)[0], CHAR_STATES),
]


def main():
    if not any((ZOO / name).exists() for name, _, _ in CASES):
        print("the networks beside the project are not here")
        return 77
    failed = False
    for name, make, states in CASES:
        if not (ZOO / name).exists():
            print(f"skipped: {name} is not here")
            continue
        arrays = make()
        expected = peer(ZOO / name, arrays, states)
        for plain in (False, True):
            found = stream(ZOO / name, arrays, states, plain)
            worst = max(np.abs(found[n] - e).max() / max(np.abs(e).max(), 1e-30) for n, e in expected.items())
            fits = all(found[n].shape == e.shape for n, e in expected.items()) and worst <= TOLERANCE
            failed |= not fits
            print(f"{'ok' if fits else 'FAILED':6} {name} {'plain' if plain else 'fast'}: {worst:.2g} of the largest over {STEPS} steps")
    name = ZOO / "charlm" / "shakespeare_lstm.onnx"
    if name.exists():
        arrays, expected = charlm(CHARACTERS, 100)
        ours, theirs = (nats(run(name, arrays, CHAR_STATES)["logits"], expected) for run in (stream, peer))
        print(f"charlm: {ours:.5f} nats a character, ONNX Runtime {theirs:.5f}, on the first {CHARACTERS}")
        failed |= not abs(ours - theirs) < 1e-4
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
