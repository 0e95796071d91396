# standard output that cannot be written, interrupts, full disks
cp "$DATA"/tiny* .
"$PARE" help >/dev/full
echo "exit $?"
"$PARE" inspect tiny.onnx >&-
echo "exit $?"
"$PARE" pass prune --no-measure tiny.onnx -o - -q >/dev/full
echo "exit $?"
# devices are written as they are
for to in /dev/stdout /dev/null /dev/full; do
    "$PARE" pass prune --no-measure tiny.onnx -o "$to" -q | wc -c
    echo "exit ${PIPESTATUS[0]}"
done
"$PARE" pass prune --no-measure tiny.onnx -o /dev/stdout -q >redirected.onnx
"$PARE" pass prune --no-measure tiny.onnx -o pruned.onnx -q && cmp pruned.onnx redirected.onnx && rm pruned.onnx redirected.onnx
# a limit on file size stands in for a full disk
head -c 3000000 /dev/zero >zeros
(ulimit -f 0; "$PARE" pass prune --no-measure tiny.onnx -o out.onnx -q)
echo "exit $?"
ls
