"""A browser without a window, for the tests of the static page: what a page has become, and what it complained of.

A start takes seconds, so a test asks one page for many things: a probe is a script that runs when the page has loaded.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.toy_site import Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FOUND = next((path for name in NAMES if (path := shutil.which(name))), None)
MISSING = "needs a browser: apt-get install chromium"
SECONDS = 120

POINTS = """
const drawn = () => [...document.querySelectorAll("g.point")];
const points = () => drawn().map((g) => [g.dataset.method, +g.dataset.x, +g.dataset.y]);
const go = async (choice) => {
  const heard = new Promise((done) => addEventListener("hashchange", done, { once: true }));
  location.hash = new URLSearchParams(choice);
  await heard;
};
"""
"""For probes: what is drawn (method, speed, score), and the way to another choice."""


@dataclass(frozen=True)
class Seen:
    """A page after its scripts have run.

    Attributes:
        html: the document.
        complaints: what its console says.
    """

    html: str
    complaints: tuple[str, ...]

    @property
    def page(self) -> Page:
        """The document taken apart."""
        return Page(self.html)

    @property
    def said(self) -> Any:
        """What the probe returned.

        Raises:
            KeyError: it returned nothing.
        """
        return json.loads(self.page.of("body")[0]["data-said"])


def see(path: Path, profile: Path, fragment: str = "", probe: str = "") -> Seen:
    """Open a page from the file system.

    Args:
        path: the page.
        profile: a folder for the browser's own files.
        fragment: of its address.
        probe: body of an asynchronous function that runs when the page has loaded; what it returns is `said`.
    """
    page = path
    if probe:
        page = path.with_name("probed.html")
        keep = "document.body.dataset.said = JSON.stringify(said)"
        _with_script(path, page, f"(async () => {{ {POINTS} {probe} }})().then((said) => {{ {keep}; }});")
    return _open(page.resolve().as_uri() + (f"#{fragment}" if fragment else ""), profile)


def widths(paths: Sequence[Path], profile: Path, width: int) -> dict[str, list[int]]:
    """How wide each page is in a frame of so many pixels, and by how much what it holds is wider; all in one folder.

    A window is never narrower than 500 pixels, a frame is.
    """
    for path in paths:
        wider = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        ask = f"parent.postMessage(['{path.name}', innerWidth, {wider}], '*');"
        _with_script(path, path.with_name(f"frame-{path.name}"), ask)
    size = f'width="{width}" height="800" style="border:0"'
    frames = "".join(f'<iframe {size} src="frame-{path.name}"></iframe>' for path in paths)
    listen = "addEventListener('message', ({data: [name, ...found]}) => { said[name] = found; keep(); });"
    keep = "const said = {}, keep = () => { document.body.dataset.said = JSON.stringify(said); };"
    outer = paths[0].with_name("frames.html")
    outer.write_text(f"<!DOCTYPE html><body><script>{keep}{listen}</script>{frames}</body>", encoding="utf-8")
    found: dict[str, list[int]] = _open(outer.resolve().as_uri(), profile).said
    return found


def _with_script(path: Path, copy: Path, code: str) -> None:
    script = f"<script>addEventListener('load', () => {{ {code} }});</script></body>"
    copy.write_text(path.read_text(encoding="utf-8").replace("</body>", script), encoding="utf-8")


def _open(address: str, profile: Path) -> Seen:
    assert FOUND is not None
    command = [
        FOUND,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--enable-logging=stderr",
        f"--user-data-dir={profile}",
        "--window-size=1280,900",
        "--virtual-time-budget=4000",
        "--dump-dom",
        address,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=SECONDS)
    return Seen(done.stdout, tuple(re.findall(r"CONSOLE.*", done.stderr)))
