"""A real transformer (all-MiniLM-L6-v2, 22.7 M parameters) at changing batch and length agrees with ONNX Runtime.

The network is made from a PyPI package by a script beside the networks; without either this is skipped."""
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnxruntime

from common import ZOO, pare

LIMIT = 1e-4  # of the largest value


def main():
    script = ZOO / "minilm" / "make_onnx.py"
    if not script.exists():
        print("the networks beside the project are not here")
        return 77
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        model = folder / "minilm.onnx"
        if subprocess.run([sys.executable, str(script), str(model)], capture_output=True, check=False).returncode != 0:
            print("the package with the weights cannot be had")
            return 77
        data = np.load(ZOO / "minilm" / "dev.npz")
        ids, mask = data["input_ids"], data["attention_mask"]
        session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
        names = [o.name for o in session.get_outputs()]
        fine = True
        for batch, length in ((1, 7), (3, ids.shape[1]), (32, 16), (1, ids.shape[1])):
            feed = {"input_ids": ids[:batch, :length], "attention_mask": mask[:batch, :length]}
            np.savez(folder / "in.npz", **feed)
            pare("infer", model, "--data", folder / "in.npz", "-o", folder / "out.npz", "--batch", batch)
            ours, worst = np.load(folder / "out.npz"), 0
            for name, theirs in zip(names, session.run(None, feed)):
                worst = max(worst, float(np.abs(ours[name] - theirs).max() / np.abs(theirs).max()))
            fine &= worst <= LIMIT
            print(f"batch {batch}, length {length}: {worst:.1e} of the largest")
        return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
