"""The workbench sends nothing anywhere unless it is asked: what works on a model that is here connects no socket."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import save_tiny
from workbench.loading import load
from workbench.models.store import catalog
from workbench.models.store.integrity import verify
from workbench.protocol import silent
from workbench.registry import method
from workbench.scripting import request

CASE = {"prompt": "The capital of Australia is ", "subject": "Australia", "target": "a", "foil": "b"}
ASKED: dict[str, dict[str, Any]] = {
    "lens": {"case": CASE},
    "continue": {"case": CASE, "tokens": 3},
    "attribution": {"case": CASE, "method": "input-x-gradient"},
    "trace": {"case": CASE, "samples": 2},
    "heads": {"case": CASE},
    "edit": {"case": CASE, "editor": "rome", "settings": {"layer": 1, "prefixes": 1, "steps": 2}, "test": False},
}


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Where anything tried to connect to, or which name it asked for; it fails there."""
    found: list[Any] = []

    def refused(_self: Any, address: Any, *_: Any) -> None:
        found.append(address)
        raise OSError("no network in this test")

    def asked(host: Any, *_: Any, **__: Any) -> None:
        found.append(host)
        raise OSError("no network in this test")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refused)
    monkeypatch.setattr(socket, "create_connection", asked)
    monkeypatch.setattr(socket, "getaddrinfo", asked)
    return found


def test_the_looking_finds_what_it_looks_for(reached: list[Any]) -> None:
    with pytest.raises(OSError, match="no network"):
        socket.create_connection(("example.org", 80))
    with pytest.raises(OSError, match="no network"):
        socket.socket().connect(("127.0.0.1", 9))
    assert len(reached) == 2


def test_adding_verifying_loading_and_asking_reach_nobody(tmp_path: Path, reached: list[Any]) -> None:
    folder = save_tiny("llama", tmp_path / "model")
    catalog.add(folder, "mine")
    assert verify("mine").state == "unknown"
    catalog.list_models()
    model = load("mine", device="cpu")
    for kind, asked in ASKED.items():
        method(kind).run(model, request(kind, **asked), silent)
    assert reached == []
