# a recipe is checked before the first pass runs; nothing is written
cp "$DATA"/tiny* .
try() {
    echo "--- $1"
    printf '%s\n' "$1" >r.json
    "$PARE" run r.json tiny.onnx -o out.onnx
    echo "exit $?"
}
try '{ "passes": [ '
try '{ "passes": [], "gaols": {} }'
try '{ "passes": [ { "pass": "prune", "sparsty": 0.5 } ] }'
try '{ "passes": [ { "pass": "prune", "sparsity": 5 } ] }'
try '{ "passes": [ { "pass": "prune", "layers": [ { "match": "head*", "skip": true } ] } ] }'
try '{ "passes": [], "passes": [] }'
try '{ "passes": [ { "pass": "quantize" } ] }'
try '{ "passes": [ { "pass": "prune" } ], "data": { "evaluation": "gone.npz" } }'
try '{ "passes": [ { "pass": "prune" } ], "data": { "evaluation": "bad.npz" } }'
try '{ "passes": [ { "pass": "prune" } ], "data": { "evaluation": { "file": "tiny.npz", "frist": 3 } } }'
try '{ "passes": [ { "pass": "prune" } ], "goals": { "max-accuracy-drop": 1 } }'
try '{ "passes": [ { "pass": "prune" } ], "data": { "evaluation": "tiny_calib.npz" }, "goals": { "max-accuracy-drop": 1 } }'
try '{ "passes": [ { "pass": "prune", "sparsity": 0.5 } ], "data": { "evaluation": "bad_label.npz" } }'
cp "$DATA/bad_label.npz" .
try '{ "passes": [ { "pass": "prune", "sparsity": 0.5 } ], "data": { "evaluation": "bad_label.npz" } }'
t run gone.json tiny.onnx -o out.onnx
ls
