cp "$DATA/tiny.onnx" "$DATA/tiny.npz" "$DATA"/custom.* .
t infer tiny.onnx --data tiny.npz -o all.npz
t infer tiny.onnx --data tiny.npz -o plain.npz --plain --threads=1
t infer --batch=1 -o one.npz tiny.onnx --data=tiny.npz
t eval tiny.onnx --data tiny.npz --reference tiny.onnx
# to standard output: the array and nothing else
"$PARE" infer tiny.onnx --data tiny.npz -o - >out.npz
echo "exit $?"
cmp out.npz all.npz && echo same bytes
"$PARE" infer /dev/stdin --data tiny.npz -o again.npz <tiny.onnx
cmp again.npz all.npz && echo same bytes
t infer custom.onnx --data custom.npz -o c.npz
t eval custom.onnx --data custom.npz --reference custom.onnx
t infer tiny.onnx --data missing.npz -o c.npz
t infer tiny.onnx --data tiny.npz -o missing/c.npz
ls
