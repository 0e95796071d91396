"""The report's page in a browser we did not write: it parses, as HTML and as XML; nothing is said on the console; nothing outside the file
is asked for; it fits a phone; light and dark differ. And emissions.csv, BoAmps and the history as Python's own readers see them."""
import csv
import html.parser
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

import onnx
from common import DIGITS, pare

CHROMIUM = next((p for p in (shutil.which(n) for n in ("chromium", "chromium-browser", "google-chrome")) if p), None)
HOSTILE = ["<script>alert(1)</script>", "</svg></style>", "\"onmouseover=\"x", "&amp;&#x;", "名前 é", "a" * 300, "]]>--"]


class Reader(html.parser.HTMLParser):
    """What a page refers to, and the texts in it."""
    def __init__(self):
        super().__init__()
        self.tags, self.links, self.handlers, self.ids = set(), [], [], set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        for key, value in attrs:
            if key in ("href", "src", "srcset", "action", "data", "poster", "xlink:href"):
                self.links.append(value)
            if key.startswith("on"):
                self.handlers.append(key)
            if key == "id":
                self.ids.add(value)


def hostile_model(path):
    """The example with names that would break a page that does not escape them."""
    model = onnx.load(DIGITS / "digits.onnx")
    for k, node in enumerate(model.graph.node):
        node.name = HOSTILE[k % len(HOSTILE)] + str(k)
    onnx.save(model, path)


def check_document(page):
    text = page.read_text(encoding="utf-8")
    tree = xml.etree.ElementTree.fromstring(text.replace("<!DOCTYPE html>", "", 1))  # closed, quoted, escaped
    reader = Reader()
    reader.feed(text)
    assert not reader.tags & {"script", "link", "img", "iframe", "object", "embed", "form", "base"}, reader.tags
    assert not reader.handlers, reader.handlers
    outside = [link for link in reader.links if not link.startswith("#")]
    assert not outside, outside
    missing = [link for link in reader.links if link[1:] not in reader.ids]
    assert not missing, f"links to nowhere: {missing}"
    assert not re.search(r"https?:|url\(|@import", text)
    for element in tree.iter("svg"):
        assert element.get("aria-label"), "a picture without words"
        for part in element.iter():
            for key in ("x", "y", "x1", "y1", "x2", "y2", "cx", "cy", "width", "height", "r"):
                if part.tag != "svg" and part.get(key) is not None:
                    assert -40 <= float(part.get(key)) <= 2000, (part.tag, part.attrib)
    return tree


def chromium(folder, url, *arguments):
    command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={folder}/profile",
               "--enable-logging=stderr", "--v=0", "--host-resolver-rules=MAP * ~NOTFOUND", *arguments, url]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)


def check_browser(folder, page):
    log = folder / "net.json"
    done = chromium(folder, page.as_uri(), "--dump-dom", f"--log-net-log={log}", "--net-log-capture-mode=Everything")
    said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert not said, said
    assert "<svg" in done.stdout and "</html>" in done.stdout
    # requests of the page itself carry its origin; what the browser asks for on its own (updates) does not
    asked = set(re.findall(r'"url":\s*"((?:https?|file|ftp|ws)s?://[^"]+)"', log.read_text(errors="replace")))
    ours = [url for url in asked if url.startswith("file://") and url != page.as_uri()]
    assert not ours, ours
    shots = {}
    for name, width, arguments in (("light", 1180, []), ("dark", 1180, ["--blink-settings=preferredColorScheme=0"])):
        shot = folder / f"{name}.png"
        chromium(folder, page.as_uri(), f"--window-size={width},1400", f"--screenshot={shot}", *arguments)
        shots[name] = shot.read_bytes()
        assert len(shots[name]) > 20000, f"{name}: an empty page"
    assert shots["light"] != shots["dark"]
    # A phone: the page in a frame of 390 pixels, asked by a script of the page around it whether anything sticks out.
    outer = folder / "phone.html"
    outer.write_text(f"""<body><iframe id=f style="width:390px;height:800px" srcdoc=""></iframe><script>
        const f = document.getElementById('f');
        f.srcdoc = {json.dumps(page.read_text(encoding='utf-8')).replace('</', '<' + chr(92) + '/')};
        f.onload = () => document.title = 'width ' + f.contentDocument.documentElement.scrollWidth;
        </script></body>""", encoding="utf-8")
    dom = chromium(folder, outer.as_uri(), "--dump-dom", "--virtual-time-budget=4000").stdout
    width = int(re.search(r"<title>width (\d+)</title>", dom).group(1))
    assert width <= 390, f"{width} pixels wide on a phone"


def check_forms(folder):
    rows = list(csv.DictReader((folder / "emissions.csv").open(newline="", encoding="utf-8")))
    assert len(rows) == 2 and all(None not in row and None not in row.values() for row in rows), rows
    for row in rows:
        energy, emissions = float(row["energy_consumed"]), float(row["emissions"])
        assert abs(emissions - energy * 44.2e-3) <= 1e-6 * emissions, row  # kg, kWh, France's 44.2 g
        assert abs(float(row["cpu_energy"]) - energy) <= 1e-9 and float(row["duration"]) > 0
    assert len({row["run_id"] for row in rows}) == 2
    boamps = json.loads((folder / "boamps.json").read_text())
    for key in ("task", "measures", "infrastructure"):
        assert boamps[key]
    assert {"taskStage", "taskFamily", "algorithms", "dataset"} <= boamps["task"].keys()
    assert 0 <= boamps["task"]["measuredAccuracy"] <= 1
    lines = [json.loads(line) for line in (folder / "runs.jsonl").read_text().splitlines()]
    report = json.loads((folder / "out" / "report.json").read_text())
    assert lines[-1]["after"]["file_bytes"]["value"] == report["after"]["file_bytes"]
    assert lines[-1]["result_sha256"] == report["after"]["sha256"]
    trend = json.loads(pare("history", folder / "runs.jsonl", "--json", f"--html={folder / 'trend.html'}"))
    assert len(trend["runs"]) == 2 and not trend["skipped"]
    check_document(folder / "trend.html")


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for data in ("calib.npz", "test.npz"):
            shutil.copy(DIGITS / data, folder)
        recipe = json.loads((DIGITS / "small.json").read_text())
        for step in recipe["passes"]:
            step.pop("layers", None)
        (folder / "recipe.json").write_text(json.dumps(recipe))
        hostile_model(folder / "hostile.onnx")
        for source in (DIGITS / "digits.onnx", folder / "hostile.onnx"):
            pare("run", folder / "recipe.json", source, "-o", folder / "small.onnx", "--steps", "-q", "--report", folder / "out", "--grid=France",
                 "--emissions", folder / "emissions.csv", "--boamps", folder / "boamps.json", "--history", folder / "runs.jsonl")
            tree = check_document(folder / "out" / "report.html")
        words = " ".join(tree.itertext())
        assert "<script>alert(1)</script>" in words and "名前" in words, "names are shown as they are"
        titles = [h.text for h in tree.iter("h3")]
        for title in ("File size", "Roofline", "Time by layer", "Accuracy and file size", "A million inferences, by grid"):
            assert title in titles, (title, titles)
        check_forms(folder)
        pare("compare", DIGITS / "digits.onnx", folder / "small.onnx", "--data", folder / "test.npz", "--budget=2", "-q", "--report", folder / "cmp")
        titles = [h.text for h in check_document(folder / "cmp" / "report.html").iter("h3")]
        for title in ("Run time, pair by pair: after / before", "Roofline", "Time by layer", "Operations by layer"):
            assert title in titles, (title, titles)
        if CHROMIUM is None:
            print("no chromium here: the page was parsed, not rendered")
            sys.exit(77)
        check_browser(folder, folder / "out" / "report.html")
        print("report.html of a network with hostile names: parsed, rendered light, dark and 390 wide, no request, no word on the console")


main()
