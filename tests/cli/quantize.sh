# Modes that need data and modes that do not; options and files that do not fit are refused before anything is written.
net=$EXAMPLE/digits.onnx data=$EXAMPLE/calib.npz
run() { t pass quantize "$@" "$net" -o out.onnx -q --no-measure; }
run
run --data "$DATA/tiny_calib.npz"
run --mode=weights --bits=9
run --data "$data" --bits=4
run --data "$data" --layer 'conv1:bits=4'
run --data "$data" --layer 'convolution*:skip'
run --mode=dynamic --format=nbits
run --mode=weights --save-table=t.txt
run --mode=weights --bits=3 --repairs=adaround
ls
run --data "$data" --save-table=t.txt
sed 's/ .*//' t.txt
cp out.onnx first.onnx
run --data "$data" --table=t.txt
[ "$(cmp -l first.onnx out.onnx | wc -l)" -le 64 ] && echo "the same from the table but for the recipe's hash"
sed -i 's/^"relu2/#&/' t.txt
t pass quantize --data "$data" --table=t.txt "$net" -o out.onnx --no-measure | grep 'stays float'
rm out.onnx
run --data "$data" --table=none.txt
printf '"logits" 0 1 manual\n' >wrong.txt
run --data "$data" --table=wrong.txt
printf '"image" 0\n' >wrong.txt
run --data "$data" --table=wrong.txt
ls
for options in "" "--bits=4 --block=32" "--bits=4 --block=32 --format=nbits"; do
    run --mode=weights $options
    echo "$(($(wc -c <out.onnx) * 100 / $(wc -c <"$net"))) % of the file"
done
run --mode=dynamic
t pass quantize --mode=dynamic out.onnx -o again.onnx -q --no-measure
for mode in static "weights --bits=3"; do
    t pass quantize --mode=$mode --data "$data" --repairs=adaround "$net" -o learned.onnx --force --no-measure |
        grep -q 'conv1.*learned rounding' && echo "learned: $mode"
done
rm -f out.onnx
run --mode=weights --max-size=1%
