# standard output that cannot be written, interrupts, full disks
cp "$DATA"/tiny* .
"$PARE" help >/dev/full
echo "exit $?"
"$PARE" inspect tiny.onnx >&-
echo "exit $?"
"$PARE" pass prune --no-measure tiny.onnx -o - -q >/dev/full
echo "exit $?"
# a limit on file size stands in for a full disk
head -c 3000000 /dev/zero >zeros
(ulimit -f 0; "$PARE" pass prune --no-measure tiny.onnx -o out.onnx -q)
echo "exit $?"
ls
