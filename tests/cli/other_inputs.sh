# networks side by side whose inputs are not the same: what is compared of them, and what is only said
mkdir -p fs/proc
cp "$DATA/tiny.onnx" "$DATA/image.onnx" "$DATA/wide.onnx" .
cp "$DATA/quantized.onnx" other.onnx
rows() {
    printf '$ pare compare %s\n' "$*"
    "$PARE" compare "$@" --sysroot=fs --budget=0.3 --threads=1 >told.txt
    echo "exit $?"
    grep -E '^(outputs|accuracy|[a-z.]+onnx: (is|takes|has))' told.txt | sed -E 's/  +/ | /g'
    [ -s told.txt ] || echo 'nothing was measured'
}
# random numbers of another shape are other inputs: outputs are not held against each other
rows tiny.onnx other.onnx --report=out
grep -oE 'is given other inputs than [^<;]*|Inputs of [a-z.]*onnx|on their inputs' out/report.html | sort | uniq -c | sed 's/^ *//'
grep -E '"inputs"' out/report.json
# other names, and one sample a call: the same inputs by their order
rows tiny.onnx image.onnx
rows tiny.onnx image.onnx --data "$DATA/tiny.npz"
rows tiny.onnx image.onnx --data "$DATA/tiny.npz" --batch=4
rows image.onnx tiny.onnx --data "$DATA/tiny.npz" --max-accuracy-drop=0
# what does not fit is refused before the first is measured
rows tiny.onnx other.onnx --data "$DATA/tiny.npz"
rows tiny.onnx wide.onnx
rows tiny.onnx wide.onnx --data "$DATA/tiny_calib.npz"
rows tiny.onnx nowhere.onnx
rows tiny.onnx image.onnx --data nowhere.npz
# of three, the others are
rows tiny.onnx wide.onnx image.onnx
