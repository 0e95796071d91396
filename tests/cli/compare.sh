# the networks run on a machine that tells nothing; only what does not depend on time is printed
mkdir -p fs/proc
cp "$DATA/tiny.onnx" before.onnx
cp "$DATA/quantized.onnx" other.onnx
keys() { grep -oE '^	"[a-z_]+"|^			"[a-z_]+"|^				"[a-z_]+"' | tr -d '\t"' | sort -u | tr '\n' ' '; echo; }
rows() { sed -E -e 's/[0-9.]+ \[[^]]*\]/N [I]/g' -e 's/(inconclusive|lower|higher)/VERDICT/g' | grep -E "^( *[a-zA-Z' ,0-9]+  )" | sed -E 's/  +/ | /g' |
    grep -vE '^(power|  of 1|carbon|peak|by )'; }
"$PARE" compare before.onnx before.onnx --data "$DATA/tiny.npz" --sysroot=fs --budget=0.5 --threads=1 | rows | grep -E '^(file|param|non|MACs|accuracy|outputs|bits)'
"$PARE" compare before.onnx before.onnx --data "$DATA/tiny.npz" --sysroot=fs --budget=0.5 --threads=1 --json >report.json
echo "exit $?"
keys <report.json
grep -cE '"(call_cpu_seconds|cpu_seconds)"' report.json # once a network
grep -c '"net_j"' report.json
grep -E '"(id|provenance|proportional|measured|region|batch|boundary|idle_before_w)"' report.json | sort -u | grep -v '{'
t measure before.onnx --data "$DATA/tiny.npz" --sysroot=fs --budget=0.5 --threads=1 --report=out --quiet
ls out
# the page of a comparison has its layers; kernels are said, and stand in the command that does it again
for kernels in "" --plain --int8=auto; do
    "$PARE" compare before.onnx before.onnx --sysroot=fs --budget=0.5 --threads=1 --batch=2 --report=layers -q $kernels
    grep -oE '<h3>(Roofline|Time by layer|Operations by layer)' layers/report.html
    grep -oE 'All layers|Of one inference, in calls of [0-9]+' layers/report.html | sort -u
    grep -E '"kernels"' layers/report.json
    grep -oE ' --batch=2[^<]*</pre>' layers/report.html
    grep -cE '"milliseconds":	[0-9.]+' layers/report.json | sed 's/^[1-9][0-9]*$/times/'
done
# the command that does it again: every option that changes figures, none that only prints or writes beside; words quoted for a shell
again() { grep -oE '<pre>pare [^<]*</pre>' "$1/report.html"; grep '"command"' "$1/report.json" | tr -d '\t'; }
"$PARE" compare before.onnx before.onnx --sysroot=fs --budget 0.5 --threads=1 --watts-per-core=4 --grid='United Kingdom' --grids=France,China \
    --embodied=1000:4 --pue=1.2 --max-size=100% --strict-goals --rest=0 -q --history=again.jsonl --report=again
again again
echo '{ "passes": [ { "pass": "fold" } ] }' >fold.json
"$PARE" run fold.json before.onnx -oafter.onnx --sysroot=fs --budget=0.3 --threads=1 --steps --no-plain --report again -q
again again
"$PARE" pass prune --sparsity 0.5 --layer='*:skip' before.onnx -o "it's.onnx" --no-measure --report again -q
again again
# what a layer moves for one inference is less in a call of two, which share the weights
"$PARE" measure before.onnx --sysroot=fs --budget=0.5 --threads=1 --report=one -q
"$PARE" measure before.onnx --sysroot=fs --budget=0.5 --threads=1 --batch=2 --report=two -q
for n in one two; do grep -E '"(macs|bytes)":	[0-9]' $n/report.json | tr -d '\t\n'; echo; done
grep -cE '^\| (run time|CPU time|energy|carbon of 1,000|accuracy)' out/report.md
# random inputs stand in for data, and it says so
"$PARE" compare before.onnx before.onnx --sysroot=fs --budget=0.5 --threads=1 --report=none | rows | grep '^outputs'
grep -o "as the original's, random inputs" none/report.html
grep -h 'medians of pairs' none/report.md
# gates
q compare before.onnx before.onnx --data "$DATA/tiny.npz" --sysroot=fs --budget=0.5 --max-size=50% --max-macs=100% --max-accuracy-drop=0 --max-latency-ratio=1000 --junit=goals.xml
cat goals.xml
q compare before.onnx before.onnx --data "$DATA/tiny.npz" --sysroot=fs --budget=0.5 --max-size=100% --max-energy-ratio=1000
q compare before.onnx before.onnx --max-accuracy-drop=1 --sysroot=fs
q compare before.onnx before.onnx --max-size=much
# what a grid and the making of the machine add; several grids side by side
"$PARE" measure before.onnx --sysroot=fs --budget=0.5 --threads=1 --grid=300 --grids=France,China --embodied=1000:4 --pue=1.2 |
    grep -E '^(SCI|carbon on)' | sed -E 's/[0-9.]+e-[0-9]+/N/g'
"$PARE" compare before.onnx before.onnx --sysroot=fs --budget=0.5 --threads=1 | grep -E '^(SCI|carbon on)' | sed -E 's/[0-9.]+e-[0-9]+/N/g'
# what is refused
q compare before.onnx
q measure before.onnx --batch=7 --data "$DATA/tiny_calib.npz" --sysroot=fs --budget=0.5
q measure before.onnx --batch=100000 --data "$DATA/tiny.npz" --sysroot=fs
q measure nowhere.onnx
q measure before.onnx --grid=Atlantis
q measure before.onnx --grid=EU
q measure before.onnx --grid=Swedn
q measure before.onnx --meter-log=nowhere.csv
q compare before.onnx other.onnx --data "$DATA/tiny.npz" --sysroot=fs --budget=0.5
q measure before.onnx --sysroot=nowhere
q measure before.onnx --sysroot=fs --sensor=foo
q compare before.onnx before.onnx --sysroot=fs --sensor=foo
q measure "$DATA/row.onnx" --sysroot=fs --budget=0.3 # random indices are not all in the table
# outputs that do not fit are said with -q, too
t compare before.onnx "$DATA/custom.onnx" -q --sysroot=fs --budget=0.5
t compare before.onnx "$DATA/wide.onnx" -q --sysroot=fs --budget=0.5
# three networks, and one that cannot be timed on these inputs stays out of the ratios
"$PARE" compare before.onnx before.onnx before.onnx --sysroot=fs --budget=0.5 --max-size=100% --json >three.json
grep -c '"network":	2' three.json
# labels of calibration data count, before and after, when there are no others; and it says so
echo "{ \"data\": { \"calibration\": \"$DATA/tiny.npz\" }, \"passes\": [ { \"pass\": \"quantize\" } ] }" >labelled.json
"$PARE" run labelled.json before.onnx -o labelled.onnx --sysroot=fs --budget=0.3 --threads=1 --report=labelled | grep '^accuracy' | sed -E 's/  +/ | /g'
grep -oE 'Accuracy was not measured|labelled samples of the calibration data' labelled/report.html | sort -u
# a run is measured in the same way
cat >recipe.json <<END
{ "data": { "evaluation": "$DATA/tiny.npz" }, "passes": [ { "pass": "prune", "sparsity": 0.5 } ], "goals": { "max-size": "200%", "max-latency-ratio": 1000 } }
END
q run recipe.json before.onnx -o after.onnx --sysroot=fs --budget=0.3 --threads=1 --report=run --junit=run.xml
cat run.xml | sed -E 's/time="[0-9.]+"/time="N"/'
grep -E '"(id|verdict|measure|provenance|network)":' run/report.json | tr -d '\t' | sort -u | grep -v verdict
grep -cE '^\| peak memory +\| +[0-9.]+ MB +\| +[0-9.]+ MB' run/report.md
grep -cE '"peak_memory":	[1-9]' run/report.json # of both networks and of the run
grep -c '>peak memory<' run/report.html
grep -cE '^- cost of compressing: (not known to be saved again|saved again)' run/report.md
q run recipe.json before.onnx -o after.onnx --sysroot=fs --budget=0.3 --junit=nowhere/run.xml
# what energy is to be read from is looked at before the first pass: nothing is written
echo old >kept.onnx
printf '1767225600,10\n1767225599,12\n' >plug.csv
echo '{ "passes": [ { "pass": "prune", "sparsity": 0.5 } ] }' >bare.json
for wrong in --meter-log=nowhere.csv --meter-log=plug.csv --sensor=foo --profile=nowhere.json; do
    q run recipe.json before.onnx -o kept.onnx --force --sysroot=fs $wrong
    q run bare.json before.onnx -o kept.onnx --force --sysroot=fs $wrong
done
q run recipe.json before.onnx -o kept.onnx --force --sysroot=nowhere
cat kept.onnx
# more threads than any machine has cores
q run bare.json before.onnx --dry-run --threads=1024 | sed -E 's/[0-9]+ cores?/N cores/; s/count [0-9]+/count N/'
# a section that asks for more samples than there are
echo '{ "data": { "evaluation": { "file": "'"$DATA/tiny.npz"'", "first": 100000 } }, "passes": [ { "pass": "fold" } ] }' >many.json
q run many.json before.onnx -o after.onnx -q --sysroot=fs --budget=0.3
q run recipe.json before.onnx -o after.onnx --sysroot=fs --budget=1 --max-latency-ratio=0.000001 | sed -E "s/is [0-9.e+-]+ .*,/is N [I],/"
# a ratio that cannot be told from its limit fails no build, unless it must be shown to be kept: the exit code says what the report says
for how in "" --strict-goals; do
    "$PARE" compare before.onnx before.onnx --data "$DATA/tiny.npz" --sysroot=fs --budget=0.5 --max-latency-ratio=1 --json $how >gate.json 2>gate.txt
    code=$?
    outcome=$(sed -nE 's/.*"outcome":\t"([a-z]+)".*/\1/p' gate.json)
    case $how$outcome in
    missed | --strict-goalsmissed) [ $code -eq 5 ] && grep -q 'goal missed: max-latency-ratio' gate.txt && echo as said ;;
    inconclusive) [ $code -eq 0 ] && grep -q 'goal inconclusive: max-latency-ratio' gate.txt && echo as said ;;
    met | --strict-goalsmet) [ $code -eq 0 ] && echo as said ;;
    esac
done
# rests need a temperature, and it is said where there is none
"$PARE" compare before.onnx before.onnx --sysroot=fs --budget=0.5 --rest=1 | grep -c 'no temperature can be read'
"$PARE" run bare.json before.onnx -o after.onnx --sysroot=fs --budget=0.3 --rest=1 | grep -c 'no temperature can be read'
# the forms of other tools, as of a run: a row for a thousand inferences of each network, a report of the last
q compare before.onnx "$DATA/image.onnx" --sysroot=fs --budget=0.3 --threads=1 --emissions=rows.csv --boamps=last.json
q measure before.onnx --sysroot=fs --budget=0.3 --threads=1 --batch=2 --emissions=rows.csv --boamps=one.json --grid=France
cut -d, -f2,16,17 rows.csv
awk -F, 'NR > 1 { print ($5 > 0 && $6 > 0 && $14 > 0) ? "figures" : "none" }' rows.csv
awk -F, 'NR > 1 { print $4 }' rows.csv | sort | uniq -c | sed 's/^ *//' | cut -c1-12
grep -hoE '"(nbRequest|quality|taskDescription)":.*' last.json one.json | cut -c1-60
q measure before.onnx --sysroot=fs --emissions=before.onnx
q measure before.onnx --sysroot=fs --boamps=no/such.json
echo 'a,b' >foreign.csv
q measure before.onnx --sysroot=fs --emissions=foreign.csv
