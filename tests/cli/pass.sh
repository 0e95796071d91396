cp "$DATA"/tiny* .
t pass prune --sparsity 0.5 --layer 'conv:skip' tiny.onnx --dry-run
t pass --no-measure prune --sparsity=0.5 --layer 'c*:sparsity=0.1' --layer 'fc*:sparsity=0.75' tiny.onnx --dry-run
t pass fold --dry-run -- tiny.onnx
q pass prune --sparsity=0.5 tiny.onnx -o out.onnx -q --data tiny_calib.npz --evaluation tiny.npz
q pass distill tiny.onnx --data tiny_calib.npz --output=x.onnx -q
ls
