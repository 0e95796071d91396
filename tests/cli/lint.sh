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
