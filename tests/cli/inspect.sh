cd "$DATA"
t inspect tiny.onnx
t inspect --all tiny.onnx
t inspect --json tiny.onnx
t inspect custom.onnx
t inspect -- tiny.onnx
cat tiny.onnx | "$PARE" inspect /dev/stdin | tail -n +2
