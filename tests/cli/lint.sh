cd "$DATA"
t lint quantized.onnx
t lint --target=x86-vnni --all quantized.onnx
t lint --target=arm-dotprod quantized.onnx | grep -v "^  "
t lint --target=gpu quantized.onnx
t lint --json --target=x86-avx2 quantized.onnx | tail -30
t lint --strict tiny.onnx
t lint --strict quantized.onnx | tail -2
t lint --target=abacus quantized.onnx
cat quantized.onnx | "$PARE" lint /dev/stdin | grep layers
# weights alone, in blocks: a convolution's pass through a Reshape
cd "$OLDPWD"
"$PARE" pass quantize --mode=weights --bits=4 --block=16 "$DATA"/tiny.onnx -o w4.onnx --no-measure -q
"$PARE" pass quantize --mode=weights --bits=4 --block=16 --format=nbits "$DATA"/tiny.onnx -o w4n.onnx --no-measure -q
t lint w4.onnx
t lint --json w4.onnx | grep weight_bits
t lint w4n.onnx | tail -4
# weights quantized alone were asked for: no failure, unless that is asked for too
t lint --strict w4.onnx | tail -1
t lint --strict-weights w4.onnx | tail -2
t lint --strict-weights w4n.onnx | tail -1
t lint --strict-weights "$DATA"/quantized.onnx | tail -2
# a table, and a product of activations that only hands its result on
t lint --all --strict "$DATA"/words.onnx
