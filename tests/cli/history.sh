cp "$DATA"/tiny* .
echo '{ "passes": [ { "pass": "quantize", "mode": "weights" } ] }' >half.json
echo '{ "passes": [ { "pass": "fold" } ] }' >less.json
q run half.json tiny.onnx -o small.onnx -q --no-measure --history runs.jsonl
q run half.json tiny.onnx -o small.onnx -q --no-measure --history runs.jsonl
t history runs.jsonl --gate | sed 's/20[0-9-]*T[0-9:]*Z/WHEN/g'
printf '{"pare_history":1,"af' >>runs.jsonl
q run less.json tiny.onnx -o small.onnx -q --no-measure --history runs.jsonl
q run less.json tiny.onnx -o other.onnx -q --no-measure --history runs.jsonl
t history runs.jsonl --name=small.onnx --gate --html=trend.html | sed 's/20[0-9-]*T[0-9:]*Z/WHEN/g'
t history runs.jsonl --gate -q
t history runs.jsonl --name=third.onnx
t history runs.jsonl --name=small.onnx --json | grep '"change"'
grep -c '<svg' trend.html
LC_ALL=C.UTF-8 "$PARE" history runs.jsonl --name=small.onnx | head -3 | tail -1 | wc -L
# what the last run lacks or cannot be is said: it was not judged
sed -n 1p runs.jsonl >lacks.jsonl
sed -n 1p runs.jsonl | sed -E 's/"file_bytes":\{"value":/&-/2; s/,"macs":\{[^}]*\}//2' >>lacks.jsonl
q history lacks.jsonl --gate
q history lacks.jsonl
echo '{"pare_history":1,"cut' >>lacks.jsonl
q history lacks.jsonl --gate
t history missing.jsonl
t history tiny.onnx
: >empty.jsonl
t history empty.jsonl
t history empty.jsonl --gate
q run half.json tiny.onnx -o small.onnx -q --no-measure --history no/such/folder
[ -e small.onnx ] && ls small.onnx
q run half.json tiny.onnx -o x.onnx -q --no-measure --emissions tiny.csv --grid=France
q run half.json tiny.onnx -o x.onnx -q --no-measure --emissions tiny.csv --grid=FRA --pue=1.5
cut -d, -f2,16,17 tiny.csv
q run half.json tiny.onnx -o y.onnx -q --no-measure --emissions less.json
[ -e y.onnx ] && echo "written for nothing"
q run half.json tiny.onnx -o x.onnx -q --no-measure --boamps b.json
q run half.json tiny.onnx -o x.onnx -q --boamps b.json
grep -o '"quality":.*' b.json
q run half.json tiny.onnx -o x.onnx -q --grid=Frence
q run half.json tiny.onnx -o x.onnx -q --pue=0.5
q run half.json tiny.onnx -o x.onnx -q --embodied=1000
q measure small.onnx -q --budget=0.5 --history measured.jsonl
q compare tiny.onnx small.onnx other.onnx -q --budget=0.5 --history measured.jsonl
"$PARE" history measured.jsonl | tail -1
grep -o '"name":"[^"]*"' measured.jsonl
