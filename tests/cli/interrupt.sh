# Ctrl-C in the middle of a run: exit 130, no output, nothing left behind, the old file as it was. The data is large enough that the
# evaluation is still going on when the signal comes; earlier is as good.
cp "$EXAMPLE"/digits.onnx .
python3 - <<'END'
import array, struct, zipfile
n = 300000
def npy(descr, shape, data):
    head = "{'descr': '%s', 'fortran_order': False, 'shape': %s, }" % (descr, shape)
    head += " " * (-(len(head) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + data
pixels = array.array("f", [i % 17 / 16 for i in range(64 * 25)]).tobytes()
with zipfile.ZipFile("data.npz", "w") as z:
    z.writestr("image.npy", npy("<f4", (n, 1, 8, 8), pixels * (n // 25)))
    z.writestr("label.npy", npy("<i8", (n,), bytes(8 * n)))
END
echo '{ "data": { "calibration": "data.npz", "evaluation": "data.npz" },
  "passes": [ { "pass": "distill", "targets": "targets.npz" }, { "pass": "quantize" } ] }' >slow.json
echo old >small.onnx
echo old >targets.npz
"$PARE" run slow.json digits.onnx -o small.onnx --report out/ >said 2>&1 &
sleep 0.7
kill -INT $!
wait $!
echo "exit $?"
cat small.onnx targets.npz
ls
