"""What the checks of this folder share: where pare and the networks are, and how to run it."""
import json
import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
PARE = os.environ.get("PARE", str(ROOT / "build" / "pare"))
ZOO = pathlib.Path(os.environ.get("PARE_ZOO", ROOT.parent / "shared" / "zoo"))
DIGITS = ROOT / "examples" / "digits"
FULL = os.environ.get("PARE_INTEROP") == "full"  # the long forms of the checks too: every network in every form
SIMPLE = ["--calibration=minmax", "--repairs=none"]  # quantize without trials, where the form of the result matters and not its accuracy


def pare(*arguments):
    """Runs pare; its standard output. A failure raises with what it said."""
    done = subprocess.run([PARE, *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"pare {' '.join(map(str, arguments))}: exit {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def inspect(path):
    return json.loads(pare("inspect", "--json", path))


def networks():
    """The example and every network of the zoo that is there."""
    return [DIGITS / "digits.onnx", *sorted(ZOO.rglob("*.onnx"))]


def label(path):
    return str(path.relative_to(ZOO)) if path.is_relative_to(ZOO) else path.name
