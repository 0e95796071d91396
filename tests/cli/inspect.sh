cd "$DATA"
t inspect tiny.onnx
t inspect --all tiny.onnx
t inspect --json tiny.onnx
t inspect custom.onnx
t inspect -- tiny.onnx
cat tiny.onnx | "$PARE" inspect /dev/stdin | tail -n +2
# packed weights: each number is a parameter of 4 bits, products are float32
cd "$OLDPWD"
"$PARE" pass quantize --mode=weights --bits=4 --block=16 --format=nbits "$DATA"/tiny.onnx -o w4.onnx --no-measure -q
t inspect w4.onnx | sed -n '/^layers/,/int8  /p'
