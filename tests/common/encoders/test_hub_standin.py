"""Loading by hub id, from a stand-in for the hub on the loopback interface, and from a closed port.

The hub's address and cache are read when its client is imported, so the loads run in processes of their own: one that
reaches the stand-in, and one later, with the same cache, that reaches nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

from common.encoders.shapes import random_encoder
from common.encoders.sources import load_encoder

COMMIT = "0123456789abcdef0123456789abcdef01234567"
GOOD, PINNED = "someone/tiny-bert", "someone/pinned-bert"
PICKLED, WORDLESS = "someone/pickled-bert", "someone/wordless-bert"
UNKNOWN, NO_REVISION = "someone/else", f"{GOOD}@v9"

PROGRAM = """
import json, sys, time
from common.encoders.sources import load_encoder
from common.errors import UserError
for name in sys.argv[1:]:
    started = time.monotonic()
    try:
        loaded = load_encoder(name)
    except UserError as error:
        answer = {"error": str(error)}
    else:
        answer = {
            "fingerprint": loaded.fingerprint, "backbone": loaded.backbone, "layers": loaded.encoder.num_layers,
            "words": len(loaded.tokenizer), "bias": loaded.encoder.pooler_dense.bias[:2].tolist(),
            "pretrained": loaded.encoder.pooler_is_pretrained,
        }
    print(json.dumps([name, answer, time.monotonic() - started]))
"""


class Hub(ThreadingHTTPServer):
    """Serves each subfolder `<owner>/<name>` of a folder as a repository with one commit; remembers the requests."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.asked: list[str] = []


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append(path)
        body, headers = self._content(path.strip("/").split("/"))
        self.send_response(404 if body is None else 200)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        if with_body and body is not None:
            self.wfile.write(body)

    def _content(self, path: list[str]) -> tuple[bytes | None, dict[str, str]]:
        match path:
            case ["api", "models", owner, name, *rest]:
                return self._api(self.server.folder / owner / name, rest)
            case [owner, name, "resolve", revision, file] if revision == COMMIT:
                source = self.server.folder / owner / name / file
                if source.is_file():
                    body = source.read_bytes()
                    return body, {"ETag": f'"{hashlib.sha1(body).hexdigest()}"', "X-Repo-Commit": COMMIT}
        return None, {"X-Error-Code": "EntryNotFound"}

    def _api(self, folder: Path, rest: list[str]) -> tuple[bytes | None, dict[str, str]]:
        if not folder.is_dir():
            return None, {"X-Error-Code": "RepoNotFound"}
        files = sorted(folder.iterdir())
        answer: Any
        match rest:
            case [] | ["revision", "main"] | ["revision", "0123456789abcdef0123456789abcdef01234567"]:
                siblings = [{"rfilename": p.name} for p in files]
                answer = {"id": folder.name, "sha": COMMIT, "siblings": siblings, "tags": []}
            case ["tree", _]:
                answer = [{"type": "file", "path": p.name, "size": p.stat().st_size, "oid": "0" * 40} for p in files]
            case _:
                return None, {"X-Error-Code": "RevisionNotFound"}
        return json.dumps(answer).encode(), {"Content-Type": "application/json"}

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


def fill(folder: Path) -> None:
    """Four repositories: two sound ones, one with pickled weights alone, one without tokenizer."""
    encoder = random_encoder("tiny", seed=4)
    tokenizer = load_encoder("minilm").tokenizer
    assert encoder.pooler_dense is not None
    torch.nn.init.ones_(encoder.pooler_dense.bias)
    for repository in (GOOD, PINNED, PICKLED, WORDLESS):
        encoder.model.save_pretrained(folder / repository)
        if repository != WORDLESS:
            tokenizer.save_pretrained(folder / repository)
    (folder / PICKLED / "model.safetensors").rename(folder / PICKLED / "pytorch_model.bin")
    for name in ("pytorch_model.bin", "modeling_custom.py", "tf_model.h5"):
        (folder / GOOD / name).write_bytes(b"never read")


def load(names: list[str], endpoint: str, home: Path) -> dict[str, Any]:
    """What load_encoder gives for each name in one fresh process. Nothing may be printed but the answers."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("HF_") and not k.lower().endswith("_proxy")}
    checkout = str(Path(__file__).resolve().parents[3])
    environment = {**kept, "HF_ENDPOINT": endpoint, "HF_HOME": str(home), "PYTHONPATH": checkout}
    command = [sys.executable, "-c", PROGRAM, *names]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    answers = {}
    for line in done.stdout.splitlines():
        name, answer, seconds = json.loads(line)
        answers[name] = {**answer, "seconds": seconds}
    return answers


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, Any], list[str], Path]]:
    """The answers with the stand-in, the paths that were asked for, and the cache that was filled."""
    folder, home = tmp_path_factory.mktemp("hub"), tmp_path_factory.mktemp("home")
    fill(folder)
    server = Hub(folder)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    names = [GOOD, f"{PINNED}@{COMMIT}", PICKLED, WORDLESS, UNKNOWN, NO_REVISION]
    try:
        yield load(names, f"http://127.0.0.1:{server.server_address[1]}", home), server.asked, home
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)


Session = tuple[dict[str, Any], list[str], Path]
EXPECTED = {
    "fingerprint": f"hub:{GOOD}@{COMMIT}",
    "backbone": "tiny-bert",
    "layers": 4,
    "words": 30522,
    "bias": [1.0, 1.0],
    "pretrained": True,
}


def test_an_encoder_comes_from_the_hub_and_is_identified_by_its_commit(session: Session) -> None:
    assert session[0][GOOD].items() >= EXPECTED.items()


def test_nothing_is_fetched_but_what_an_encoder_needs(session: Session) -> None:
    fetched = {path.rpartition("/")[2] for path in session[1] if path.startswith(f"/{GOOD}/resolve/")}
    assert fetched == {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}


def test_a_pinned_revision_is_asked_for_and_no_other(session: Session) -> None:
    answers, asked, _ = session
    assert answers[f"{PINNED}@{COMMIT}"]["fingerprint"] == f"hub:{PINNED}@{COMMIT}"
    asked_for_it = [path for path in asked if PINNED in path]
    assert asked_for_it and all(COMMIT in path for path in asked_for_it)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (PICKLED, "expected model.safetensors beside config.json"),
        (WORDLESS, "no tokenizer in"),
        (UNKNOWN, f"no encoder '{UNKNOWN}' on the hub"),
        (NO_REVISION, f"'{GOOD}' on the hub has no revision 'v9'"),
    ],
)
def test_what_cannot_be_loaded_is_refused_in_one_line(session: Session, name: str, message: str) -> None:
    error = session[0][name]["error"]
    assert message in error and "\n" not in error


def test_without_network_the_cache_serves_and_the_rest_is_refused_in_seconds(session: Session) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    answers = load([GOOD, "someone/never-fetched"], f"http://127.0.0.1:{port}", session[2])
    assert answers[GOOD].items() >= EXPECTED.items()
    refused = answers["someone/never-fetched"]
    assert "no network, and it was not fetched before" in refused["error"]
    assert "SCALE=mini" in refused["error"] and "folder" not in refused["error"], "nothing that cannot be typed"
    assert refused["seconds"] < 10
