#!/usr/bin/env python3
"""Train the example network on real handwritten digits and write what the recipes of this folder use.

    digits.onnx    the trained network: `image` float32 [N,1,8,8] in 0..1 -> `logits` float32 [N,10]
    calib.npz      400 training images with labels, for calibration
    test.npz       450 images that training never saw, with labels

Needs jax, numpy, onnx and scikit-learn (for its copy of the data only):

    python3 -m venv venv && venv/bin/pip install jax numpy onnx scikit-learn
    venv/bin/python train.py [DIGITS_CSV_GZ]

Everything is seeded; on one machine the same versions give the same bytes. About one minute on two cores.
"""
import gzip
import pathlib
import sys
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SEED = 8
TEST, CALIBRATION = 450, 400
EPOCHS, BATCH, RATE, DECAY, LASSO = 90, 64, 3e-3, 0.02, 0.3
EPSILON = 1e-5
HERE = pathlib.Path(__file__).resolve().parent

# name, kernel, channels in, channels out; max pooling 2x2 after those in POOLED
CONVOLUTIONS = [("conv1", 3, 1, 16), ("conv2", 3, 16, 32), ("conv3", 3, 32, 32), ("conv4", 1, 32, 64)]
POOLED = ("conv2", "conv4")
DENSE = [("fc1", 256, 64), ("fc2", 64, 10)]


def read_digits(path):
    """Images float32 [1797,1,8,8] in 0..1 and labels int64 [1797] from digits.csv.gz: 64 pixels 0..16 and the digit a line."""
    with gzip.open(path, "rt") as file:
        table = np.loadtxt(file, delimiter=",")
    return (table[:, :64].reshape(-1, 1, 8, 8) / 16).astype(np.float32), table[:, 64].astype(np.int64)


def find_digits():
    if len(sys.argv) > 1:
        return sys.argv[1]
    import sklearn
    return pathlib.Path(sklearn.__file__).parent / "datasets" / "data" / "digits.csv.gz"


def initial_parameters(rng):
    """He-normal weights, zero biases, unit norms."""
    parameters = {}
    for name, kernel, channels_in, channels_out in CONVOLUTIONS:
        fan_in = channels_in * kernel * kernel
        parameters[name] = {
            "weight": rng.normal(0, (2 / fan_in) ** 0.5, (channels_out, channels_in, kernel, kernel)),
            "scale": np.ones(channels_out), "shift": np.zeros(channels_out)}
    for name, size_in, size_out in DENSE:
        parameters[name] = {"weight": rng.normal(0, (2 / size_in) ** 0.5, (size_out, size_in)), "bias": np.zeros(size_out)}
    return jax.tree_util.tree_map(lambda a: jnp.asarray(a, jnp.float32), parameters)


def max_pool(x):
    n, c, h, w = x.shape
    return x.reshape(n, c, h // 2, 2, w // 2, 2).max(axis=(3, 5))


def forward(parameters, x, key=None):
    """Logits [N,10] and, per convolution, the mean and variance [K] of its outputs over this batch, which normalise it.
    With a key, a quarter of the inputs of each dense layer is dropped."""
    statistics = {}
    for name, kernel, _, _ in CONVOLUTIONS:
        p = parameters[name]
        x = jax.lax.conv_general_dilated(x, p["weight"], (1, 1), [(kernel // 2, kernel // 2)] * 2)
        mean, variance = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))
        statistics[name] = (mean, variance)
        x = (x - mean[:, None, None]) * (p["scale"] / jnp.sqrt(variance + EPSILON))[:, None, None] + p["shift"][:, None, None]
        x = jax.nn.relu(x)
        x = max_pool(x) if name in POOLED else x
    x = x.reshape(x.shape[0], -1)
    for i, (name, _, _) in enumerate(DENSE):
        if key is not None:
            key, drop = jax.random.split(key)
            x = x * jax.random.bernoulli(drop, 0.75, x.shape) / 0.75
        x = x @ parameters[name]["weight"].T + parameters[name]["bias"]
        x = jax.nn.relu(x) if i + 1 < len(DENSE) else x
    return x, statistics


def warped(x, rng):
    """Each image shifted by up to one pixel, turned by up to 12 degrees and scaled by up to 12 %, with bilinear sampling."""
    n = len(x)
    angle, zoom = np.deg2rad(rng.uniform(-12, 12, n)), rng.uniform(0.88, 1.12, n)
    shift = rng.uniform(-1, 1, (2, n))
    row, column = np.meshgrid(np.arange(8) - 3.5, np.arange(8) - 3.5, indexing="ij")
    cos, sin = (np.cos(angle) * zoom)[:, None, None], (np.sin(angle) * zoom)[:, None, None]
    at_row = cos * row - sin * column + 3.5 + shift[0][:, None, None]
    at_column = sin * row + cos * column + 3.5 + shift[1][:, None, None]
    padded = np.pad(x[:, 0], ((0, 0), (2, 2), (2, 2)))
    at_row, at_column = np.clip(at_row + 2, 0, 10.999), np.clip(at_column + 2, 0, 10.999)
    r, c = at_row.astype(int), at_column.astype(int)
    fr, fc, i = at_row - r, at_column - c, np.arange(n)[:, None, None]
    top = padded[i, r, c] * (1 - fc) + padded[i, r, c + 1] * fc
    bottom = padded[i, r + 1, c] * (1 - fc) + padded[i, r + 1, c + 1] * fc
    return (top * (1 - fr) + bottom * fr)[:, None].astype(np.float32)


def train(x, y, rng):
    """AdamW with a cosine rate and a small L1 shrinkage of the weights, which leaves many near zero; the result is the running
    mean of the parameters."""
    parameters = initial_parameters(rng)
    zeros = jax.tree_util.tree_map(jnp.zeros_like, parameters)
    steps = EPOCHS * (len(x) // BATCH)

    def loss(p, images, labels, key):
        logits, _ = forward(p, images, key)
        target = jax.nn.one_hot(labels, 10) * 0.95 + 0.005
        return -(target * jax.nn.log_softmax(logits)).sum(axis=1).mean()

    @jax.jit
    def step(state, images, labels, t, key):
        p, first, second, mean = state
        gradient = jax.grad(loss)(p, images, labels, key)
        rate = RATE * 0.5 * (1 + jnp.cos(jnp.pi * t / steps)) * jnp.minimum(1.0, (t + 1) / 100)
        first = jax.tree_util.tree_map(lambda m, g: 0.9 * m + 0.1 * g, first, gradient)
        second = jax.tree_util.tree_map(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradient)

        def moved(a, m, v):
            direction = (m / (1 - 0.9 ** (t + 1))) / (jnp.sqrt(v / (1 - 0.999 ** (t + 1))) + 1e-8)
            if a.ndim == 1:
                return a - rate * direction
            a = a - rate * (direction + DECAY * a)
            return jnp.sign(a) * jnp.maximum(jnp.abs(a) - rate * LASSO, 0)
        p = jax.tree_util.tree_map(moved, p, first, second)
        keep = jnp.minimum(0.995, (t + 1) / (t + 10))
        mean = jax.tree_util.tree_map(lambda a, b: keep * a + (1 - keep) * b, mean, p)
        return p, first, second, mean

    state, t, key = (parameters, zeros, zeros, parameters), 0, jax.random.PRNGKey(SEED)
    for _ in range(EPOCHS):
        order = rng.permutation(len(x))
        for first in range(0, len(x) - BATCH + 1, BATCH):
            rows = order[first:first + BATCH]
            key, drop = jax.random.split(key)
            state = step(state, warped(x[rows], rng), y[rows], t, drop)
            t += 1
    return state[3]


def write_onnx(parameters, statistics, path):
    """The network as exporters leave it: convolutions without bias, each followed by its BatchNormalization."""
    nodes, constants = [], []

    def constant(name, values):
        constants.append(numpy_helper.from_array(np.ascontiguousarray(values, np.float32), name))
        return name

    value = "image"
    for name, kernel, _, _ in CONVOLUTIONS:
        p, (mean, variance) = parameters[name], statistics[name]
        nodes.append(helper.make_node("Conv", [value, constant(f"{name}.weight", p["weight"])], [f"{name}.out"], name,
                                      kernel_shape=[kernel] * 2, pads=[kernel // 2] * 4))
        norm = f"bn{name[-1]}"
        nodes.append(helper.make_node(
            "BatchNormalization",
            [f"{name}.out", constant(f"{norm}.scale", p["scale"]), constant(f"{norm}.shift", p["shift"]),
             constant(f"{norm}.mean", mean), constant(f"{norm}.variance", variance)], [f"{norm}.out"], norm, epsilon=EPSILON))
        value = f"relu{name[-1]}.out"
        nodes.append(helper.make_node("Relu", [f"{norm}.out"], [value], f"relu{name[-1]}"))
        if name in POOLED:
            pooled = f"pool{name[-1]}.out"
            nodes.append(helper.make_node("MaxPool", [value], [pooled], f"pool{name[-1]}", kernel_shape=[2, 2], strides=[2, 2]))
            value = pooled
    nodes.append(helper.make_node("Flatten", [value], ["flat.out"], "flat"))
    value = "flat.out"
    for i, (name, _, _) in enumerate(DENSE):
        p, last = parameters[name], i + 1 == len(DENSE)
        out = "logits" if last else f"{name}.out"
        nodes.append(helper.make_node("Gemm", [value, constant(f"{name}.weight", p["weight"]), constant(f"{name}.bias", p["bias"])],
                                      [out], name, transB=1))
        if not last:
            nodes.append(helper.make_node("Relu", [out], [f"relu_{name}.out"], f"relu_{name}"))
            value = f"relu_{name}.out"
    graph = helper.make_graph(
        nodes, "digits", [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 10])], constants)
    model = helper.make_model(graph, producer_name="examples/digits/train.py", ir_version=8,
                              opset_imports=[helper.make_opsetid("", 17)])
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


def write_npz(path, arrays):
    """A deflated .npz without the time of day, so that the same arrays give the same bytes."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy")
            member.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(member, "w") as file:
                np.lib.format.write_array(file, array, version=(1, 0))


def main():
    x, y = read_digits(find_digits())
    rng = np.random.default_rng(SEED)
    order = rng.permutation(len(x))
    test, rest = order[:TEST], order[TEST:]
    parameters = train(x[rest], y[rest], rng)
    _, statistics = forward(parameters, x[rest])  # the norms' mean and variance are those of the whole training set
    write_onnx(parameters, statistics, HERE / "digits.onnx")
    write_npz(HERE / "test.npz", {"image": x[test], "label": y[test]})
    write_npz(HERE / "calib.npz", {"image": x[rest[:CALIBRATION]], "label": y[rest[:CALIBRATION]]})

    # In inference the batch's statistics give way to the stored ones: evaluate the written file itself.
    import onnx.reference
    network = onnx.reference.ReferenceEvaluator(str(HERE / "digits.onnx"))
    for name, rows in (("training", rest), ("test", test)):
        right = (network.run(None, {"image": x[rows]})[0].argmax(axis=1) == y[rows]).sum()
        print(f"{name}: {right} of {len(rows)} right ({100 * right / len(rows):.2f} %)")


if __name__ == "__main__":
    main()
