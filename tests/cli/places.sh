# a file that is written besides the network is never one that is read, the output, or another of them
cp "$DATA"/tiny.onnx "$DATA"/tiny.npz "$DATA"/tiny_calib.npz .
mkdir -p fs/proc out
echo '{ "file": "tiny_calib.npz" }' >section.json
echo '{ "data": { "calibration": "tiny_calib.npz", "evaluation": "tiny.npz" }, "passes": [ { "pass": "fold" } ] }' >recipe.json
echo '{ "passes": [ { "pass": "fold" } ] }' >out/report.json
ln -s tiny.onnx link.onnx
"$PARE" run recipe.json tiny.onnx -o before.onnx -q --no-measure --history runs.jsonl
md5sum tiny.onnx tiny.npz tiny_calib.npz section.json recipe.json out/report.json runs.jsonl >sums
run() { q run recipe.json tiny.onnx --no-measure "$@"; }
run -o small.onnx --junit=tiny.onnx
run -o small.onnx --junit=link.onnx
run -o small.onnx --junit=recipe.json
run -o small.onnx --junit=tiny.npz
run -o small.onnx --junit=./tiny_calib.npz
run -o small.onnx --history=tiny.onnx
run -o small.onnx --emissions=recipe.json --force
run -o small.onnx --junit=small.onnx
run -o small.onnx --junit=./out/../small.onnx
run -o small.onnx --history=x --junit=./x
run -o small.onnx --history=x --emissions=x
run -o small.onnx --report=out --junit=out/report.html
q run recipe.json tiny.onnx -o small.onnx --boamps=tiny.npz
q run recipe.json tiny.onnx -o - --boamps=-
q run out/report.json tiny.onnx -o small.onnx --no-measure --report=out
q run recipe.json tiny.onnx -o small.onnx --no-measure --meter-log=log.csv --junit=log.csv
q pass fold tiny.onnx -o small.onnx --no-measure --data=tiny_calib.npz --junit=tiny_calib.npz
q measure tiny.onnx --history=tiny.onnx
q measure tiny.onnx --data=tiny.npz --history=tiny.npz
q compare tiny.onnx before.onnx --data=section.json --max-size=100% --junit=tiny_calib.npz --sysroot=fs
q compare tiny.onnx before.onnx --max-size=100% --junit=before.onnx
q compare tiny.onnx before.onnx --max-size=100% --junit=goals --history=goals
q compare tiny.onnx before.onnx --max-size=100% --junit=no/such/goals.xml
q history runs.jsonl --html=runs.jsonl
md5sum -c --quiet sums && echo untouched
ls
# a dry run writes nothing, and refuses what the run would
run --dry-run --junit=tiny.onnx
run --dry-run -o tiny.onnx
run --dry-run -o .
run --dry-run -o no/such.onnx
run --dry-run -o small.onnx --report=tiny.onnx
run --dry-run -o small.onnx --junit=goals.xml
# streams are nobody's file
run -o small.onnx --junit=/dev/null --history=/dev/null
# a file of something else is neither added to nor written over; a history, cut off in its first line too, and a report are
cp "$DATA"/quantized.onnx foreign.onnx
echo 'a,b' >foreign.csv
printf '{"pare_history":1,"cut' >cut.jsonl
printf '{"passes":[],"header":1}\n' >foreign.json
md5sum foreign.* >sums
run -o small.onnx --history=foreign.onnx
run -o small.onnx --history=recipe.json
q measure tiny.onnx --sysroot=fs --history=foreign.csv
q measure tiny.onnx --sysroot=fs --boamps=foreign.csv
q run recipe.json tiny.onnx -o small.onnx --sysroot=fs --boamps=foreign.json
md5sum -c --quiet sums && echo untouched
run -o small.onnx -q --history=cut.jsonl
grep -c pare_history cut.jsonl
q measure tiny.onnx --sysroot=fs --budget=0.3 -q --boamps=good.json
q measure tiny.onnx --sysroot=fs --budget=0.3 -q --boamps=good.json
# a report that cannot be written is known before the work
for folder in /proc/out /proc no/such/out tiny.onnx; do
    "$PARE" measure tiny.onnx --sysroot=fs --budget=0.3 --report=$folder 2>why | wc -l
    sed -E 's/: (No such|Permission|Operation).*/: REASON/' why
done
run --dry-run -o small.onnx --report=made
[ -e made ] && echo "made by a dry run"
# what was measured is told although a file could not be written
for what in "measure tiny.onnx" "run recipe.json tiny.onnx -o late.onnx"; do
    "$PARE" $what --history=/proc/late --sysroot=fs --budget=0.3 2>&1 | grep -cE '^(run time|latency, ms)|/proc/late'
done
