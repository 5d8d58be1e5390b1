"""A server for nnsight's remote protocol on this machine: it runs what it is sent on a tiny model, without our modules.

nnsight ships the client and what both sides make of a request (`nnsight.schema`), but no server that serves a model of
transformers. This one does what its client waits for: a websocket that gives a session id and tells of the job, and a
form by POST with the job itself.
"""

from __future__ import annotations

import asyncio
import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
import zstandard
from aiohttp import WSMsgType, web
from nnsight.intervention.serialization import CustomCloudUnpickler
from nnsight.schema.request import RequestModel
from nnsight.schema.response import ResponseModel, Status
from nnsight.tracing import tracer as tracing


class Strangers(CustomCloudUnpickler):
    """Finds no module of ours, as on a machine where the workbench was never installed."""

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] in ("workbench", "screens", "tests"):
            raise ModuleNotFoundError(f"No module named {module!r}")
        return super().find_class(module, name)


class StandIn:
    """``seen`` are the requests that came, as (envelope, headers, bytes). ``key`` is the one that is accepted.

    ``says`` are updates, as (status, description), that are told before the result, or in its place where the last is
    an error; ``sends`` is what is sent in the place of a result. With ``waits`` no result comes before it is set.
    """

    def __init__(self, model: Any, key: str = "secret") -> None:
        self.model, self.key = model, key
        self.seen: list[tuple[dict[str, Any], dict[str, str], bytes]] = []
        self.says: list[tuple[str, str]] = []
        self.sends: Any = None
        self.waits: threading.Event | None = None
        self.address = ""
        self._sockets: dict[str, web.WebSocketResponse] = {}

    async def subscribe(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("ndif-api-key") != self.key:
            raise web.HTTPUnauthorized
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        session = f"session-{len(self._sockets)}"
        self._sockets[session] = socket
        await socket.send_str(json.dumps({"session_id": session}))
        async for message in socket:
            if message.type in (WSMsgType.CLOSE, WSMsgType.ERROR):
                break
        return socket

    async def accept(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        envelope, blob = json.loads(str(form["data"])), form["blob"].file.read()  # type: ignore[union-attr]
        self.seen.append((envelope, dict(request.headers), blob))
        asyncio.get_running_loop().create_task(self._answer(envelope, blob))
        first = ResponseModel(id="job", status=Status.RECEIVED, description="Your job has been received.")
        return web.Response(text=first.model_dump_json(exclude_unset=True), content_type="application/json")

    async def _answer(self, envelope: dict[str, Any], blob: bytes) -> None:
        socket = self._sockets[envelope["session_id"]]
        for status, description in self.says:
            said = ResponseModel(id="job", status=Status(status), description=description)
            await socket.send_str(said.model_dump_json(exclude_unset=True))
        if self.says and self.says[-1][0] == "ERROR":
            return
        while self.waits is not None and not self.waits.is_set():
            await asyncio.sleep(0.01)
        saved = await asyncio.to_thread(self._run, envelope, blob) if self.sends is None else self.sends
        file = io.BytesIO()
        torch.save(saved, file)
        data = zstandard.ZstdCompressor().compress(file.getvalue()) if envelope["compress"] else file.getvalue()
        with suppress(ConnectionError):  # who was cancelled has left
            await socket.send_bytes(ResponseModel(id="job", status=Status.COMPLETED, data=data).pickle())

    def _run(self, envelope: dict[str, Any], blob: bytes) -> dict[str, Any]:
        """What is saved when the block has run, as nnsight's own simulation runs it."""
        objects = self.model._remoteable_persistent_objects()
        self.model._remoteable_set_env(envelope["env"])
        tracer = RequestModel.deserialize(blob, objects, envelope["compress"], Strangers)
        frame = tracer.info.frame
        given = dict(frame.f_locals)
        tracing.inc()
        try:
            tracer.execute(tracer.info.code)
        finally:
            tracing.dec()
        return {name: value for name, value in frame.f_locals.items() if given.get(name) is not value}


@contextmanager
def standing_in(model: Any) -> Iterator[StandIn]:
    """Serve a model of nnsight's on a free port of this machine."""
    served = StandIn(model)
    loop = asyncio.new_event_loop()
    ready = threading.Event()

    async def start() -> web.AppRunner:
        app = web.Application(client_max_size=2**26)
        app.add_routes([web.get("/subscribe", served.subscribe), web.post("/request", served.accept)])
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        served.address = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return runner

    def serve() -> None:
        asyncio.set_event_loop(loop)
        runner = loop.run_until_complete(start())
        ready.set()
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    ready.wait()
    try:
        yield served
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
