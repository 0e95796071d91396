"""Networks of sequences quantized by ONNX Runtime's own tool: the character LSTM dynamically (DynamicQuantizeLSTM, MatMulInteger), a
transformer with its tables and products in blocks of 4 bits (MatMulNBits, GatherBlockQuantized).

Dynamic quantization takes its range from the values of the call, so that sums taken in another order shift every step by a few parts in
10^7 and values at a half may go either way; in the LSTM the state carries them on. The most likely character must be the same in at
least 99.9 % of the positions, those left out where two are within two steps of each other."""
import os
import sys
import tempfile

import numpy as np
import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic

from common import ZOO
from quantized import judge, run, session_of

LSTM, TRANSFORMER = ZOO / "charlm/shakespeare_lstm.onnx", ZOO / "stories260k/stories260K.onnx"


def compare(path, feeds, files, batch, least, *extra):
    session = session_of(path)
    want = dict(zip([o.name for o in session.get_outputs()], session.run(None, feeds)))
    got = run(path, feeds, files, f"--batch={batch}", *extra)
    share, decibels = judge(want["logits"], got["logits"])
    return share >= 0.999 and decibels >= least, f"{100 * share:.2f} % {decibels:.0f} dB"


def lstms(files):
    random = np.random.default_rng(3)
    for weights, per_channel in ((QuantType.QInt8, False), (QuantType.QInt8, True), (QuantType.QUInt8, False)):
        quantize_dynamic(str(LSTM), files[2], weight_type=weights, per_channel=per_channel, reduce_range=weights == QuantType.QInt8)
        made = sorted({n.op_type for n in onnx.load(files[2]).graph.node})
        # One sample as a whole: axis 0 of the tokens is time, axis 1 the batch.
        feeds = {f"{s}{i}_in": np.zeros((1, 1, 128), np.float32) for i in (0, 1) for s in "hc"}
        feeds["tokens"] = random.integers(0, 65, (96, 1))
        yield f"LSTM {weights.name}{' per channel' if per_channel else ''}", made, feeds, 1, 30


def transformers(files):
    try:
        from onnxruntime.quantization import matmul_nbits_quantizer  # needs onnx_ir
    except ImportError as error:
        print(f"transformer: not run, {error}")
        return
    tokens = np.load(ZOO / "stories260k/stories.npz")["tokens"][:8]
    for block, symmetric, ops in ((32, True, ("MatMul",)), (16, False, ("MatMul",)), (32, False, ("MatMul", "Gather"))):
        config = matmul_nbits_quantizer.DefaultWeightOnlyQuantConfig(block_size=block, is_symmetric=symmetric, bits=4,
                                                                     op_types_to_quantize=ops, quant_axes=(("MatMul", 0), ("Gather", 1)))
        quantizer = matmul_nbits_quantizer.MatMulNBitsQuantizer(onnx.load(str(TRANSFORMER)), algo_config=config)
        quantizer.process()
        small = quantizer.model.model
        for entry in small.opset_import:
            if entry.domain == "":
                entry.version = 13  # the tool writes 21 above nodes that it leaves as they were
        onnx.save(small, files[2])
        made = sorted({n.op_type for n in onnx.load(files[2]).graph.node})
        yield f"transformer 4 bits, blocks of {block}{'' if symmetric else ', zero points'}", made, {"tokens": tokens}, 8, 80


def main():
    failed, ran = 0, 0
    with tempfile.TemporaryDirectory() as folder:
        files = [os.path.join(folder, n) for n in ("in.npz", "out.npz", "small.onnx")]
        for path, kind in ((LSTM, lstms), (TRANSFORMER, transformers)):
            if not path.exists():
                continue
            for name, made, feeds, batch, least in kind(files):
                said = []
                for extra in ([], ["--plain"]):
                    fine, text = compare(files[2], feeds, files, batch, least, *extra)
                    failed += not fine
                    said.append(" ".join([*extra, text]) + ("" if fine else " FAILED"))
                ran += 1
                known = [o for o in made if o.startswith(("Dynamic", "MatMulI", "MatMulN", "GatherB", "LSTM"))]
                print(f"{name}: {', '.join(known)}: {'; '.join(said)}", flush=True)
    print(f"{ran} quantized networks, {failed} failed")
    return 77 if ran == 0 else 1 if failed else 0


sys.exit(main())
