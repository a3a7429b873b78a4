"""Loading by hub id, from a stand-in for the hub on the loopback interface, and from a closed port.

Each load runs in a process of its own with a fresh cache, because the hub's address is read when its client is
imported.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from common.encoders.layered import LayeredEncoder
from common.encoders.shapes import random_encoder
from common.encoders.sources import load_encoder

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "someone/tiny-bert"

PROGRAM = """
import json, sys, time
from common.encoders.sources import load_encoder
from common.errors import UserError
started = time.monotonic()
try:
    loaded = load_encoder(sys.argv[1])
except UserError as error:
    print(json.dumps({"error": str(error), "seconds": time.monotonic() - started}))
else:
    dense = loaded.encoder.pooler_dense
    print(json.dumps({
        "fingerprint": loaded.fingerprint, "backbone": loaded.backbone, "layers": loaded.encoder.num_layers,
        "words": len(loaded.tokenizer), "bias": dense.bias[:3].tolist(),
        "pretrained": loaded.encoder.pooler_is_pretrained,
    }))
"""


class Hub(ThreadingHTTPServer):
    """Serves the files of one folder as one repository at one commit, and remembers what was asked for."""

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
        body, headers = self._content(path)
        self.send_response(200 if body is not None else 404)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        if with_body and body is not None:
            self.wfile.write(body)

    def _content(self, path: str) -> tuple[bytes | None, dict[str, str]]:
        api = f"/api/models/{REPOSITORY}"
        if path.startswith(f"{api}/revision/") and path.rpartition("/")[2] not in ("main", COMMIT):
            return None, {"X-Error-Code": "RevisionNotFound"}
        if path == api or path.startswith(f"{api}/"):
            files = [{"rfilename": p.name} for p in self.server.folder.iterdir()]
            listing = {"id": REPOSITORY, "modelId": REPOSITORY, "sha": COMMIT, "siblings": files, "tags": []}
            return json.dumps(listing).encode(), {"Content-Type": "application/json"}
        prefix = f"/{REPOSITORY}/resolve/{COMMIT}/"
        if not path.startswith(prefix):
            return None, {"X-Error-Code": "RepoNotFound"}
        file = self.server.folder / path.removeprefix(prefix)
        if not file.is_file():
            return None, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}
        body = file.read_bytes()
        return body, {"ETag": f'"{hashlib.sha1(body).hexdigest()}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    folder = tmp_path / "repository"
    encoder = random_encoder("tiny", seed=4)
    assert encoder.pooler_dense is not None
    torch.nn.init.ones_(encoder.pooler_dense.bias)
    encoder.model.save_pretrained(folder)
    load_encoder("minilm").tokenizer.save_pretrained(folder)
    server = Hub(folder)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(timeout=10)


def load(name: str, endpoint: str, home: Path) -> tuple[dict[str, object], str]:
    """What load_encoder gives for `name` in a fresh process, and what it wrote to standard error."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("HF_") and not k.lower().endswith("_proxy")}
    environment = {
        **kept,
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home),
        "PYTHONPATH": str(Path(__file__).resolve().parents[3]),
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, name], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def url(server: Hub) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}"


def test_an_encoder_comes_from_the_hub_and_is_identified_by_its_commit(hub: Hub, tmp_path: Path) -> None:
    answer, err = load(REPOSITORY, url(hub), tmp_path / "home")
    assert answer == {
        "fingerprint": f"hub:{REPOSITORY}@{COMMIT}",
        "backbone": "tiny-bert",
        "layers": 4,
        "words": 30522,
        "bias": [1.0, 1.0, 1.0],
        "pretrained": True,
    }
    assert err == ""
    assert f"/{REPOSITORY}/resolve/{COMMIT}/model.safetensors" in hub.asked


def test_nothing_is_fetched_but_what_an_encoder_needs(hub: Hub, tmp_path: Path) -> None:
    for name in ("pytorch_model.bin", "modeling_custom.py", "tf_model.h5"):
        (hub.folder / name).write_bytes(b"never read")
    load(REPOSITORY, url(hub), tmp_path / "home")
    fetched = {path.rpartition("/")[2] for path in hub.asked if "/resolve/" in path}
    assert fetched == {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}


def test_a_revision_is_pinned_for_every_file(hub: Hub, tmp_path: Path) -> None:
    answer, _ = load(f"{REPOSITORY}@{COMMIT}", url(hub), tmp_path / "home")
    assert answer["fingerprint"] == f"hub:{REPOSITORY}@{COMMIT}"
    assert not any("/resolve/main/" in path for path in hub.asked)


def test_a_repository_with_pickled_weights_alone_is_refused(hub: Hub, tmp_path: Path) -> None:
    (hub.folder / "model.safetensors").rename(hub.folder / "pytorch_model.bin")
    answer, _ = load(REPOSITORY, url(hub), tmp_path / "home")
    assert "expected model.safetensors" in str(answer["error"])


def test_an_unknown_repository_is_refused(hub: Hub, tmp_path: Path) -> None:
    answer, _ = load("someone/else", url(hub), tmp_path / "home")
    assert "no encoder 'someone/else' on the hub" in str(answer["error"])


def test_an_unknown_revision_is_refused(hub: Hub, tmp_path: Path) -> None:
    answer, _ = load(f"{REPOSITORY}@v9", url(hub), tmp_path / "home")
    assert "has no revision 'v9'" in str(answer["error"])


def test_an_encoder_without_tokenizer_is_refused(hub: Hub, tmp_path: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (hub.folder / name).unlink()
    answer, _ = load(REPOSITORY, url(hub), tmp_path / "home")
    assert "tokenizer" in str(answer["error"])


def test_without_network_the_answer_comes_in_seconds(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    started = time.monotonic()
    answer, err = load(REPOSITORY, f"http://127.0.0.1:{port}", tmp_path / "home")
    assert f"cannot fetch the encoder '{REPOSITORY}': no network" in str(answer["error"])
    assert "\n" not in str(answer["error"]) and err == ""
    assert float(str(answer["seconds"])) < 15 and time.monotonic() - started < 60


def test_what_was_fetched_once_is_there_without_network(hub: Hub, tmp_path: Path) -> None:
    first, _ = load(REPOSITORY, url(hub), tmp_path / "home")
    hub.shutdown()
    hub.server_close()
    second, _ = load(REPOSITORY, url(hub), tmp_path / "home")
    assert second == first


def test_the_standin_serves_what_the_encoder_wrote(hub: Hub) -> None:
    """Guards the fixture: its weights are the ones that the tests expect."""
    model = load_encoder(str(hub.folder)).encoder
    assert isinstance(model, LayeredEncoder) and model.pooler_is_pretrained
