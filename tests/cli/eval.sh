cd "$DATA"
t eval tiny.onnx --data tiny.npz
t eval tiny.onnx --data tiny.npz --json --batch=7 | sed -E 's/("cross_entropy":\t[0-9]+\.[0-9]{6})[0-9]+/\1/' # float32: the rest is the kernels'
t eval tiny.onnx --data tiny.npz --plain
t eval tiny.onnx --data tiny_calib.npz
t eval tiny.onnx --data tiny_calib.npz --reference tiny.onnx
t eval tiny.onnx --data bad_type.npz
t eval tiny.onnx --data bad_shape.npz
t eval tiny.onnx --data bad_name.npz
t eval tiny.onnx --data bad_label.npz
t eval tiny.onnx --data bad_nan.npz
t eval nan_weight.onnx --data tiny.npz
