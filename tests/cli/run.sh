cp "$DATA"/tiny* "$DATA/custom.onnx" "$DATA/nan_weight.onnx" .
echo '{ "passes": [] }' >empty.json
t run empty.json tiny.onnx -o copy.onnx
t run empty.json custom.onnx -o custom_copy.onnx
t eval copy.onnx --data tiny.npz --reference tiny.onnx
cat >prune.json <<'END'
{ "data": { "evaluation": "tiny.npz" },
  "passes": [ { "pass": "fold" }, { "pass": "prune", "sparsity": 0.25, "layers": [ { "match": "conv", "skip": true } ] } ],
  "goals": { "max-accuracy-drop": 10, "max-size": "120%" } }
END
cat >sizes.json <<'END'
{ "passes": [ { "pass": "fold" }, { "pass": "prune", "sparsity": 0.25, "layers": [ { "match": "conv", "skip": true } ] } ] }
END
t run prune.json tiny.onnx --no-measure -o pruned.onnx
t run prune.json tiny.onnx -o tiny.npz
q run sizes.json --no-measure tiny.onnx -o pruned.onnx -q
q run sizes.json tiny.onnx -o again.onnx -q --threads=1
cmp pruned.onnx again.onnx && echo same bytes
"$PARE" run sizes.json --no-measure tiny.onnx -o - 2>table >stdout.onnx
echo "exit $?"
cmp pruned.onnx stdout.onnx && echo same bytes
head -1 table
"$PARE" run sizes.json --no-measure /dev/stdin -q -o stdin.onnx <tiny.onnx
cmp pruned.onnx stdin.onnx && echo same bytes
t run prune.json tiny.onnx --dry-run
t run prune.json tiny.onnx --dry-run --max-size=10
q run sizes.json --no-measure tiny.onnx -o small.onnx --max-size=10 -q
cat >two.json <<'END'
{ "data": { "evaluation": "tiny.npz" },
  "passes": [ { "pass": "prune", "sparsity": 0.1 }, { "pass": "prune", "sparsity": 0.99 } ], "goals": { "max-accuracy-drop": 10 } }
END
q run two.json tiny.onnx -o two.onnx -q
q run two.json tiny.onnx -o kept.onnx --keep-last-good --report kept -q
grep -o '"kept":.*' kept/report.json
t eval kept.onnx --data tiny.npz
q run sizes.json --no-measure tiny.onnx -o loaded.onnx --max-size=1273 --keep-last-good -q
q run sizes.json --no-measure tiny.onnx -o none.onnx --max-size=10 --keep-last-good -q
t inspect none.onnx
q run prune.json tiny.onnx -o tiny.onnx
q run prune.json tiny.onnx -o steps.onnx -q --report out --steps
grep -c '"file_bytes":.*[0-9]' out/report.json
grep '"accuracy":' out/report.json
: >notafolder
q run prune.json tiny.onnx -o steps.onnx -q --report notafolder
t pass prune nan_weight.onnx -o nan.onnx -q --no-measure
ls . out
cp tiny.onnx own.onnx
q run sizes.json --no-measure own.onnx -o own.onnx --force -q
cmp own.onnx tiny.onnx >/dev/null || echo replaced
q run prune.json tiny.onnx -o unkept.onnx --report notafolder
[ -e unkept.onnx ] && echo "written for nothing"
q run sizes.json --no-measure tiny.onnx -o small.onnx --max-size=10 --max-macs=1 -q
