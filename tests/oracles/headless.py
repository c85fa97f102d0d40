"""Pages in a headless Chromium: what a script returns that runs in one, and what axe-core finds there.

Axe-core comes from npm, `npm install axe-core`, and the environment variable `DSEGYM_AXE` names its `axe.min.js`.
"""

import json
import os
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
AXE = Path(os.environ.get("DSEGYM_AXE", ""))

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
needs_axe = pytest.mark.skipif(not AXE.is_file(), reason="DSEGYM_AXE names no axe.min.js")

# JavaScript for the beginning of a script: `axeIn(a window)` gives the axe-core of that window.
AXE_IN = """
  const axeIn = view => new Promise(done => {
    const code = view.document.createElement("script");
    code.addEventListener("load", () => done(view.axe));
    code.src = "AXE";
    view.document.head.append(code);
  });""".replace("AXE", AXE.absolute().as_uri())

HARNESS = """
<pre id="outcome"></pre>
<script>
  const errors = [];
  window.addEventListener("error", event => errors.push(event.message));
  const all = what => [...document.querySelectorAll(what)];
  const shown = what => all(what).filter(each => getComputedStyle(each).display !== "none").length;
  const until = async true_of => {
    for (let turn = 0; turn < 500 && !true_of(); turn++) await new Promise(done => setTimeout(done, 50));
  };
  (async () => {
    let found;
    try { found = await (async () => { %s })(); } catch (error) { errors.push(String(error)); }
    document.getElementById("outcome").textContent = JSON.stringify({found, errors});
  })();
</script>
</body>"""


def outcome(path, script, *, width=1280, suffix=""):
    """What a script returns that runs in a page.

    Args:
        path: the page, which the script and a place for its outcome are written into.
        script: the body of an asynchronous function of JavaScript, which returns what JSON can hold.
        width: of the window, in pixels; Chromium's own are at least 500 wide.
        suffix: what follows the path in the address, such as `#top`.
    """
    head, _, tail = path.read_text(encoding="utf-8").rpartition("</body>")
    path.write_text(head + HARNESS.replace("%s", script) + tail, encoding="utf-8")
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom", "--virtual-time-budget=120000"]
    options += ["--allow-file-access-from-files", f"--window-size={width},900"]
    options += [f"--user-data-dir={path.parent / 'profile'}", f"file://{path}{suffix}"]
    done = subprocess.run([str(CHROMIUM), *options], capture_output=True, text=True, timeout=240, check=True)
    (text,) = re.findall(r'<pre id="outcome">(.*?)</pre>', done.stdout, re.DOTALL)
    answer = json.loads(unescape(text))
    assert answer["errors"] == []
    return answer["found"]
