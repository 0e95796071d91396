cp "$DATA/tiny.onnx" "$DATA/tiny.npz" "$DATA/loop.onnx" "$DATA/custom.onnx" "$DATA/bad_shape.npz" .
# numbers that depend on the machine are not printed
untimed() { sed -E -e 's/[0-9,]+\.[0-9]+/N/g' -e 's/ +N/ N/g' -e 's/[0-9]+ runs/N runs/' -e 's/\([-+]N %\)/(N %)/' -e 's/-{3,}/---/g' -e 's/ {2,}/ /g'; }
t probe --calibrate --seconds=0.5 --threads=1 -o machine.json >/dev/null
common="--seconds=0.001 --threads=1 --profile=machine.json"
t profile loop.onnx --plain --sort=order --batch=2 $common | untimed | sed -E 's/ (compute|memory|overhead) / BOUND /' | head -17
t profile tiny.onnx --data tiny.npz --batch=8 --match='c*' --plain $common | grep -c "Conv 'conv'"
t profile tiny.onnx --plain --sort=macs --top=1 $common | grep -E "^(and|exit)"
t profile tiny.onnx --json --trace=trace.json $common >out.json
grep -E '^	"(model|batch|threads|lanes|piece|inputs|plain|macs|macs_int8)"' out.json
for key in latency_ms median low high traced_ms trace_overhead steps_ms outside_ms reorders peaks layers types bound kernel data_type; do
    grep -q "\"$key\":" out.json || echo "$key is missing"
done
grep -c '"ph":"X"' trace.json | sed 's/[1-9][0-9]*/some events/'
# what was chosen for each quantized convolution, and why
cp "$DATA/quantized.onnx" .
for use in always auto; do
    t profile quantized.onnx --int8=$use --match='QLinearConv' $common | sed -nE 's/.*(int8|float32) +(integer|auto (int8|float32)).*/\2/p' |
        sed -E 's/(int8|float32)$/CHOSEN/'
done
t profile quantized.onnx --int8=sometimes
# the trace to standard output, the text to standard error
"$PARE" profile tiny.onnx --trace=- $common 2>text.txt >trace.json
echo "exit $?"
head -1 trace.json
grep -c latency text.txt
t profile tiny.onnx --plain --match='nobody*' $common
t profile tiny.onnx --data missing.npz $common
t profile tiny.onnx --data bad_shape.npz $common
t profile custom.onnx $common
t profile tiny.onnx --profile=missing.json
t profile tiny.onnx --profile=tiny.npz 2>&1 | tail -2
t profile tiny.onnx --trace=tiny.onnx $common
echo '{ "file": "tiny.npz" }' >section.json # what a section names is read, too
t profile tiny.onnx --data=section.json --trace=tiny.npz $common
t profile tiny.onnx --trace=missing/trace.json $common
t profile tiny.onnx --sort=name
t profile tiny.onnx --max-mem=100 $common
t profile
ls
