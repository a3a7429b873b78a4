"""The real `datasets` library against a stand-in Hub on loopback, and against no Hub at all."""

import hashlib
import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlparse

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from common.tasks.catalogue import known_tasks
from common.tasks.hub import HUB_SETS

COMMIT = HUB_SETS["sst-2"].revision
SENTENCES = {"train": [("a fine film", 1), ("a dull film", 0), ("so good", 1)], "validation": [("so bad", 0)]}


def parquet(rows: list[tuple[str, int]]) -> bytes:
    sink = io.BytesIO()
    columns = {"sentence": [row[0] for row in rows], "label": pa.array([row[1] for row in rows], pa.int64())}
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def repository_files(rows: dict[str, list[tuple[str, int]]]) -> dict[str, bytes]:
    card = ["---", "configs:", "- config_name: sst2", "  data_files:"]
    card += [f"  - split: {split}\n    path: sst2/{split}-*" for split in rows]
    files = {f"sst2/{split}-00000-of-00001.parquet": parquet(rows[split]) for split in rows}
    return {"README.md": "\n".join([*card, "---", ""]).encode(), **files}


class StandIn(BaseHTTPRequestHandler):
    """The few routes of the Hub that loading a Parquet data set needs."""

    files: dict[str, bytes]
    requests: list[str]

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_POST = do_GET

    def log_message(self, *_: object) -> None:
        """Keep the test output quiet."""

    def _answer(self) -> None:
        path = unquote(urlparse(self.path).path)
        self.requests.append(path)
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        resolve = f"/datasets/nyu-mll/glue/resolve/{COMMIT}/"
        if path.startswith(resolve) and path.removeprefix(resolve) in self.files:
            self._send(self.files[path.removeprefix(resolve)], "application/octet-stream")
        elif path.startswith(f"/api/datasets/nyu-mll/glue/paths-info/{COMMIT}"):
            wanted = json.loads(body)["paths"]
            self._json([self._entry(name) for name in (*self.files, "sst2") if name in wanted])
        elif path.startswith(f"/api/datasets/nyu-mll/glue/tree/{COMMIT}"):
            under = path.removeprefix(f"/api/datasets/nyu-mll/glue/tree/{COMMIT}").strip("/")
            inside = [name for name in self.files if Path(name).is_relative_to(under)]
            folders = {str(Path(name).parent) for name in inside} - {".", under}
            self._json([self._entry(name) for name in (*inside, *sorted(folders))])
        elif path in ("/api/datasets/nyu-mll/glue", f"/api/datasets/nyu-mll/glue/revision/{COMMIT}"):
            siblings = [{"rfilename": name} for name in self.files]
            self._json({"id": "nyu-mll/glue", "sha": COMMIT, "private": False, "siblings": siblings})
        else:
            self.send_error(404)

    def _entry(self, name: str) -> dict[str, object]:
        oid = hashlib.sha1(name.encode()).hexdigest()
        if name not in self.files:
            return {"type": "directory", "path": name, "size": 0, "oid": oid}
        return {"type": "file", "path": name, "size": len(self.files[name]), "oid": oid}

    def _json(self, value: object) -> None:
        self._send(json.dumps(value).encode(), "application/json")

    def _send(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{hashlib.sha1(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@pytest.fixture
def hub() -> Iterator[tuple[str, type[StandIn]]]:
    handler = type("Handler", (StandIn,), {"files": repository_files(SENTENCES), "requests": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", handler
    server.shutdown()
    server.server_close()


SCRIPT = """
import json, sys
from common.errors import UserError
from common.tasks import load_task
try:
    task = load_task(sys.argv[1], "hub")
except UserError as error:
    print(json.dumps({"error": str(error)}))
else:
    rows = {name: [[e.text_a, e.text_b, e.label] for e in getattr(task, name)] for name in ("train", "dev")}
    print(json.dumps({"name": task.name, "labels": task.labels, "source": task.source, **rows}))
"""


def load(endpoint: str, home: Path, name: str = "SST-2", **extra: str) -> dict[str, object]:
    """Load in a fresh process: the libraries read their environment when they are imported."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
    environment |= {"HF_HOME": str(home), "HF_ENDPOINT": endpoint, "NO_PROXY": "127.0.0.1", **extra}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, name], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_loads_the_pinned_revision_and_then_works_offline(hub: tuple[str, type[StandIn]], tmp_path: Path) -> None:
    endpoint, handler = hub
    first = load(endpoint, tmp_path)
    assert first == {
        "name": "sst-2",
        "labels": ["negative", "positive"],
        "source": "hub",
        "train": [["a fine film", None, 1.0], ["a dull film", None, 0.0], ["so good", None, 1.0]],
        "dev": [["so bad", None, 0.0]],
    }
    downloads = [path for path in handler.requests if path.endswith(".parquet")]
    assert downloads and all(COMMIT in path for path in downloads)
    handler.requests.clear()
    assert load(endpoint, tmp_path, HF_HUB_OFFLINE="1") == first
    assert handler.requests == []


def test_hidden_labels_are_an_error(hub: tuple[str, type[StandIn]], tmp_path: Path) -> None:
    endpoint, handler = hub
    handler.files = repository_files({"train": [("a fine film", 1)], "validation": [("so bad", -1)]})
    message = str(load(endpoint, tmp_path)["error"])
    assert "label -1 is none of 0..1" in message and "(validation)" in message


def test_unknown_repository_is_an_error(hub: tuple[str, type[StandIn]], tmp_path: Path) -> None:
    message = str(load(hub[0], tmp_path, name="imdb")["error"])
    assert "stanfordnlp/imdb" in message and "DATA=files" in message


def test_no_network_fails_in_seconds_and_says_what_to_type(tmp_path: Path) -> None:
    start = time.monotonic()
    message = str(load("http://127.0.0.1:9", tmp_path)["error"])
    assert time.monotonic() - start < 20
    assert "nyu-mll/glue" in message
    assert "DATA=files DATA_DIR=" in message and "DATA=builtin" in message
    assert "\n" not in message


def test_every_hub_task_of_the_catalogue_has_a_place() -> None:
    assert set(known_tasks("hub")) == set(HUB_SETS)
