"""The engine against ONNX Runtime on every zoo network that has no control flow and no recurrent operator: max |a - b| <= 1e-4 max |b|
per output, on the network's own data or, where there is none, on seeded normal inputs; one sample and several, one thread and two."""
import os
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime

from common import DIGITS, ZOO, label, networks, pare

TOLERANCE = 1e-4
OTHER = {"If", "Loop", "Scan", "LSTM", "GRU", "RNN"}
# Absolute differences allowed besides. ONNX Runtime's Sigmoid is a rational approximation with an absolute error near 1e-7, and the obj
# outputs on noise peak at 1e-5: its own results with and without graph optimization differ by 1e-2 of that.
ABSOLUTE = {"detect/yunet_n_320.onnx": 3e-7}
IMAGENET = (np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32))


def images(path, count, scale=1.0, statistics=None, layout="NCHW"):
    archive = np.load(path)
    array = next(archive[name] for name in archive.files if archive[name].ndim >= 3)[:count].astype(np.float32) * np.float32(scale)
    if array.ndim == 3:
        array = array[..., None]
    if statistics:
        array = (array - statistics[0]) / statistics[1]
    return np.ascontiguousarray(array.transpose(0, 3, 1, 2) if layout == "NCHW" else array, np.float32)


def own_data(name, count):
    """The input named in the zoo's notes, or None."""
    if name in ("mnist/lenet300.onnx", "mnist/lenet5.onnx"):
        return {"image": images(ZOO / "mnist/test.npz", count, 1 / 255)}
    if name == "mnist/mnist_8.onnx":
        return {"Input3": images(ZOO / "mnist/test.npz", 1)}
    if name == "cifar10/resnet8_nhwc.onnx":
        return {"input": images(ZOO / "cifar10/dev.npz", count, layout="NHWC")}
    if name.startswith("cifar10/"):
        return {"input": images(ZOO / "cifar10/dev.npz", count, 1 / 255, IMAGENET)}
    if name == "imagenet/mobilenet_v2.onnx":
        return {"input": images(ZOO / "imagenet/sample300.npz", count, 1 / 255, IMAGENET)}
    if name == "kws/dscnn_nhwc.onnx":
        return {"input": np.load(ZOO / "kws/dev.npz")["mfcc"][:count].astype(np.float32)}
    if name == "gcn/gcn_cora.onnx":
        archive = np.load(ZOO / "gcn/cora.npz")
        return {"x": archive["x"].astype(np.float32), "adj": archive["adj"].astype(np.float32)}
    if name == "stories260k/stories260K.onnx":
        return {"tokens": np.load(ZOO / "stories260k/stories.npz")["tokens"][:count].astype(np.int64)}
    return None


def noise(session, count):
    random = np.random.default_rng(1)
    return {i.name: random.standard_normal([d if isinstance(d, int) else count for d in i.shape]).astype(np.float32)
            for i in session.get_inputs()}


def main():
    wanted, worst, run = [], [], 0
    for path in networks():
        if not path.exists() or (path.parent == DIGITS and not path.is_file()):
            continue
        model = onnx.load(path)
        if not {n.op_type for n in model.graph.node} & OTHER:
            wanted.append(path)
    if len(wanted) < 2:
        print("the networks are not here")
        return 77
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 2
    for path in wanted:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        for count, threads in ((1, 1), (3, 1), (3, 2)):
            feeds = own_data(label(path), count) or noise(session, count)
            expected = session.run(None, feeds)
            with tempfile.TemporaryDirectory() as folder:
                data, result = os.path.join(folder, "in.npz"), os.path.join(folder, "out.npz")
                np.savez(data, **feeds)
                pare("infer", path, "--data", data, "-o", result, f"--threads={threads}", f"--batch={count}")
                with np.load(result) as found:
                    for output, want in zip(session.get_outputs(), expected):
                        got = found[output.name].reshape(want.shape)
                        allowed = ABSOLUTE.get(label(path), 0.0)
                        apart = max(0.0, float(np.abs(got.astype(np.float64) - want).max()) - allowed)
                        error = apart / max(float(np.abs(want).max()), 1e-30)
                        worst.append((error, f"{label(path)} {output.name}, {count} samples, {threads} threads"))
                        if not error <= TOLERANCE:
                            print(f"{label(path)}: {output.name} differs by {error:.2e} of its largest value "
                                  f"({count} samples, {threads} threads)")
                            return 1
            run += 1
    print(f"{run} runs of {len(wanted)} networks; worst {max(worst)[0]:.1e}: {max(worst)[1]}")
    return 0


sys.exit(main())
