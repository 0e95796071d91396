# the command line is checked: options, arguments, nearest names
cp "$DATA/tiny.onnx" "$DATA/tiny_calib.npz" .
t inspekt tiny.onnx
t prune tiny.onnx -o out.onnx
t quantise tiny.onnx -o out.onnx
t --wat
t inspect
t inspect a b
t inspect --jsno tiny.onnx
t inspect --max-mem=lots tiny.onnx
t inspect -x tiny.onnx
t infer tiny.onnx -o out.npz
t infer tiny.onnx --data tiny_calib.npz
t infer tiny.onnx --data tiny_calib.npz -o out.npz --batch=-1
t infer tiny.onnx --data tiny_calib.npz -o out.npz --batch
t infer tiny.onnx --data tiny_calib.npz -o tiny_calib.npz
echo '{ "file": "tiny_calib.npz" }' >section.json # what a section names is read, too
t infer tiny.onnx --data section.json -o tiny_calib.npz
t pass quantize --data section.json tiny.onnx -o tiny_calib.npz
t eval tiny.onnx
t pass
t pass prun tiny.onnx -o out.onnx
t pass --sparsity=0.5 prune tiny.onnx -o out.onnx
t pass prune --sparsity=2 tiny.onnx -o out.onnx
t pass prune --sparsity=half tiny.onnx -o out.onnx
t pass prune --sparsty=0.5 tiny.onnx -o out.onnx
t pass prune --scope=world tiny.onnx -o out.onnx
t pass prune tiny.onnx
t pass prune tiny.onnx -o tiny.onnx
t pass prune tiny.onnx -o missing/out.onnx
t pass prune tiny.onnx -o out.onnx --layer 'nothing*:skip'
t pass prune tiny.onnx -o out.onnx --layer 'conv'
t pass prune tiny.onnx -o out.onnx --layer 'conv:sparsity=9'
t pass prune tiny.onnx -o out.onnx --layer 'conv:scope=global'
t pass prune tiny.onnx -o out.onnx --seed=x
t pass prune tiny.onnx -o out.onnx --max-accuracy-drop=1
t pass prune tiny.onnx -o out.onnx --keep-last-good
t pass quantize tiny.onnx -o out.onnx
ls
q measure tiny.onnx --seed=-1
