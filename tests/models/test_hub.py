"""Models by Hugging Face id: the real client against a small hub of our own on this machine, and without one."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import pytest

from tests.tiny import save_tiny
from workbench.errors import Cancelled, ModelError
from workbench.models.store import catalog, hub
from workbench.protocol import Result, silent

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def _oid(data: bytes) -> str:
    """How git names a blob."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as a download asks for: the model, its files, each file."""

    files: dict[str, bytes]
    address: str
    asked_for: list[str]
    slow: float
    breaks: bool

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        self.asked_for.append(path)
        if path.startswith("/api/models/owner/tiny/tree/"):
            self._json(200, [self._file(name, data) for name, data in self.files.items()])
        elif path.startswith("/api/models/owner/tiny"):
            self._json(200, {"id": "owner/tiny", "sha": COMMIT, "siblings": []})
        elif path.startswith(f"/owner/tiny/resolve/{COMMIT}/"):
            self._send(self.files[path.rsplit("/", 1)[1]])
        elif path.startswith("/api/models/owner/gated"):
            self._json(403, {"error": "gated"}, {"X-Error-Code": "GatedRepo"})
        elif path.startswith("/api/models/owner/unauthorized"):
            self._json(401, {"error": "Invalid username or password."})
        else:
            self._json(404, {"error": "nothing"}, {"X-Error-Code": "RepoNotFound"})

    def _file(self, name: str, data: bytes) -> dict[str, object]:
        return {"type": "file", "path": name, "size": len(data), "oid": _oid(data)}

    def _json(self, status: int, value: object, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        for key, text in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(key, text)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def _send(self, data: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", f'"{_oid(data)}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if self.command == "GET":
            for start in range(0, len(data), 4096):
                if self.breaks and start:
                    self.connection.close()
                    return
                time.sleep(self.slow)
                self.wfile.write(data[start : start + 4096])

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the server's name for it
        """Say nothing."""


@pytest.fixture
def tiny_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    """A hub with the model owner/tiny, and a cache of our own."""
    folder = save_tiny("llama", tmp_path / "original")
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    files["pytorch_model.bin"] = b"a pickle"

    class TinyHub(Hub):
        pass

    TinyHub.files, TinyHub.asked_for, TinyHub.slow, TinyHub.breaks = files, [], 0.0, False
    server = ThreadingHTTPServer(("127.0.0.1", 0), TinyHub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    TinyHub.address = f"http://127.0.0.1:{server.server_port}"
    _use(monkeypatch, tmp_path, TinyHub.address)
    yield TinyHub
    server.shutdown()
    server.server_close()


def _use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, endpoint: str) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(
        huggingface_hub.constants,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        endpoint + "/{repo_id}/resolve/{revision}/{filename}",
    )
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def test_a_model_is_downloaded_with_all_that_it_needs_and_no_pickle(tiny_hub: type[Hub]) -> None:
    reports: list[tuple[int, int]] = []

    def note(done: int, total: int, partial: Result | None = None, *, stage: str = "") -> None:
        assert stage == "downloading owner/tiny"
        reports.append((done, total))

    tiny_hub.slow = 0.02
    folder = catalog.resolve("owner/tiny", note)
    wanted = {name: data for name, data in tiny_hub.files.items() if name != "pytorch_model.bin"}
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == wanted
    assert not [path for path in tiny_hub.asked_for if path.endswith(".bin")]
    assert all(0 <= done <= total for done, total in reports)
    assert 0 < max(done for done, _ in reports) <= sum(map(len, wanted.values()))


def test_a_model_that_stays_elsewhere_is_described_without_its_weights(tiny_hub: type[Hub]) -> None:
    with pytest.raises(ModelError, match="a dry run fetches nothing; fetch them with: hf download owner/tiny"):
        hub.described("owner/tiny", silent, fetch=False)
    assert tiny_hub.asked_for == []
    folder = hub.described("owner/tiny", silent, fetch=True)
    assert {"config.json", "tokenizer.json"} <= {file.name for file in folder.iterdir()}
    assert not [path for path in tiny_hub.asked_for if path.endswith((".safetensors", ".bin"))]
    assert hub.described("owner/tiny", silent, fetch=False) == folder
    assert hub.cached("owner/tiny") is None


def in_a_fresh_process(hub_at: str, tmp_path: Path, *arguments: str) -> subprocess.Popen[str]:
    """The program, with a hub of ours and nothing imported yet: much of the client is there on demand only."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {"HF_ENDPOINT": hub_at, "HF_HOME": str(tmp_path / "hf"), "no_proxy": "127.0.0.1", "COLUMNS": "300"}
    program = "from workbench.cli.main import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_fresh_process_pulls_describes_and_verifies_a_model(tiny_hub: type[Hub], tmp_path: Path) -> None:
    folder, said = in_a_fresh_process(tiny_hub.address, tmp_path, "models", "pull", "owner/tiny").communicate()
    assert "Traceback" not in said
    assert (Path(folder.strip()) / "model.safetensors").read_bytes() == tiny_hub.files["model.safetensors"]
    described, _ = in_a_fresh_process(tiny_hub.address, tmp_path, "models", "info", "owner/tiny").communicate()
    assert "architecture   LlamaForCausalLM" in described
    verdict, _ = in_a_fresh_process(tiny_hub.address, tmp_path, "models", "verify", "owner/tiny").communicate()
    assert verdict.startswith("owner/tiny: whole; every file as the hub has it")


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("owner/gated", "owner/gated is gated: ask for access"),
        (None, "the hub cannot be reached"),
    ],
)
def test_in_a_fresh_process_what_the_hub_refuses_is_one_sentence_and_exit_2(
    tiny_hub: type[Hub], tmp_path: Path, spec: str | None, sentence: str
) -> None:
    at = tiny_hub.address if spec else "http://127.0.0.1:9"
    process = in_a_fresh_process(at, tmp_path, "models", "pull", spec or "owner/tiny")
    printed, said = process.communicate()
    assert (process.returncode, printed) == (2, "")
    assert said.splitlines()[-1].startswith("workbench: ")
    assert sentence in said
    assert "Traceback" not in said


def test_a_full_disk_is_one_sentence(tiny_hub: type[Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", full)
    with pytest.raises(ModelError, match="the disk is too full to fetch owner/tiny; make room, or set HF_HOME"):
        hub.download("owner/tiny", silent)


def test_what_the_cache_holds_serves_without_the_hub(
    tiny_hub: type[Hub], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = hub.download("owner/tiny", silent)
    assert hub.cached("owner/tiny") == folder
    assert catalog.describe("owner/tiny").layers == 3
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    tiny_hub.asked_for.clear()
    assert catalog.resolve("owner/tiny") == folder
    assert tiny_hub.asked_for == []


def test_a_cancelled_download_stops(tiny_hub: type[Hub]) -> None:
    tiny_hub.slow = 0.5
    began = time.monotonic()

    def cancelling(done: int, total: int, partial: Result | None = None, *, stage: str = "") -> None:
        if done or time.monotonic() - began > 1:
            raise Cancelled

    with pytest.raises(Cancelled):
        hub.download("owner/tiny", cancelling)
    assert hub.cached("owner/tiny") is None


def test_a_model_that_the_hub_does_not_have_is_one_sentence(tiny_hub: type[Hub]) -> None:
    with pytest.raises(ModelError, match="the hub has no model owner/nothing, or it is private"):
        catalog.resolve("owner/nothing")


def test_a_token_that_the_hub_does_not_take_is_one_sentence(tiny_hub: type[Hub]) -> None:
    with pytest.raises(ModelError, match="the hub does not let you have owner/unauthorized; check that HF_TOKEN"):
        catalog.resolve("owner/unauthorized")


def test_a_gated_model_is_one_sentence_that_says_how_to_get_in(tiny_hub: type[Hub]) -> None:
    with pytest.raises(ModelError, match="owner/gated is gated: ask for access"):
        catalog.resolve("owner/gated")


def test_a_connection_that_breaks_is_one_sentence_and_the_next_try_works(
    tiny_hub: type[Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)  # the client waits between its tries
    tiny_hub.breaks = True
    with pytest.raises(ModelError, match=r"owner/tiny could not be fetched from the hub .*; try again"):
        catalog.resolve("owner/tiny")
    tiny_hub.breaks = False
    assert (catalog.resolve("owner/tiny") / "model.safetensors").read_bytes() == tiny_hub.files["model.safetensors"]


def test_a_model_without_safetensors_is_one_sentence(tiny_hub: type[Hub]) -> None:
    del tiny_hub.files["model.safetensors"]
    with pytest.raises(ModelError, match="owner/tiny has no safetensors weights"):
        catalog.resolve("owner/tiny")


def test_no_route_to_the_hub_is_one_sentence_that_says_how_to_bring_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _use(monkeypatch, tmp_path, "http://127.0.0.1:9")
    with pytest.raises(ModelError, match=r"the hub cannot be reached; .*workbench models add FOLDER"):
        catalog.resolve("owner/tiny")


def test_no_route_to_what_describes_a_model_elsewhere_asks_for_a_network_and_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _use(monkeypatch, tmp_path, "http://127.0.0.1:9")
    for offline, why in ((False, "the hub cannot be reached; connect"), (True, "HF_HUB_OFFLINE is set; unset it")):
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", offline)
        with pytest.raises(ModelError) as refused:
            hub.described("owner/tiny", silent, fetch=True)
        assert str(refused.value) == (
            f"--remote needs a network: config.json and tokenizer of owner/tiny are not in the hub's cache and {why}, "
            "or leave out --remote to ask a model that is here"
        )


def test_offline_the_sentence_names_the_variable_that_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _use(monkeypatch, tmp_path, "http://127.0.0.1:9")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE is set"):
        catalog.resolve("owner/tiny")


def test_a_hub_model_that_is_not_here_is_described_by_how_to_fetch_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _use(monkeypatch, tmp_path, "http://127.0.0.1:9")
    with pytest.raises(ModelError, match="workbench models pull owner/tiny"):
        catalog.describe("owner/tiny")
