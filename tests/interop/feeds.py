"""Noise that fits a network's inputs, for checks that compare two files and not two accuracies."""
import numpy as np
import onnxruntime as ort

SHAPES = {"silero": {"input": (1, 512), "state": (2, 1, 128)}}  # a voice detector pads what it hears, its state has the batch second
TYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(int32)": np.int32}


def quiet(**entries):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    for key, value in entries.items():
        options.add_session_config_entry(f"session.{key}", value)
    return options


def noise(path, rng, samples=4):
    """One array per input: dimensions of one name are one size, integers are small, masks are ones."""
    sizes, found = {}, {}
    own = next((shapes for part, shapes in SHAPES.items() if part in str(path)), {})
    for v in ort.InferenceSession(str(path), quiet(), providers=["CPUExecutionProvider"]).get_inputs():
        shape = []
        for i, d in enumerate(v.shape):
            fallback = samples if i == 0 else 8
            shape.append(d if isinstance(d, int) else fallback if d is None else sizes.setdefault(d, fallback))
        dtype, shape = TYPES[v.type], own.get(v.name, shape)
        if v.name == "sr":
            found[v.name] = np.full(shape, 16000, dtype)
        elif "mask" in v.name:
            found[v.name] = np.ones(shape, dtype)
        elif dtype == np.float32:
            found[v.name] = rng.random(shape, np.float32)
        else:
            found[v.name] = rng.integers(0, 2 if "type" in v.name else 30, shape).astype(dtype)
    return found
