# hostile and damaged networks: one line, the documented code
cd "$DATA"
for m in cycle duplicate undefined external_up external_absolute external_missing overflow deep; do t inspect $m.onnx; done
t inspect no-such-file.onnx
t inspect .
: >"$TMPDIR/../work/empty.onnx"
cd "$TMPDIR/../work"
t inspect empty.onnx
for n in 1 20 200 900 1272; do
    head -c $n "$DATA/tiny.onnx" >cut.onnx
    "$PARE" inspect cut.onnx >/dev/null 2>err
    code=$?
    echo "first $n bytes: exit $code, $(wc -l <err) line"
done
echo hello >text.onnx
t inspect text.onnx
t inspect --max-mem=100 "$DATA/tiny.onnx"
