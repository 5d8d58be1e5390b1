"""The app in a browser: textual-serve on this machine's own address, behind a token that nobody can guess."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import shlex
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from workbench.cli import output
from workbench.errors import InputError

COOKIE = "workbench-token"

Handler = Callable[[Any], Awaitable[Any]]


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_address(host: str, is_meant: bool) -> None:
    """Raise `InputError` for an address that others can reach, unless that is meant."""
    if not (is_loopback(host) or is_meant):
        raise InputError(
            f"{host} can be reached from other machines, and whoever has the token can run this program here, without "
            "encryption; forward a port by ssh -L instead, or say --allow-remote"
        )


def serve(host: str, port: int, arguments: Sequence[str], is_meant: bool = False) -> None:
    """Serve the app until ctrl+c; each window is a program of its own, with these ``arguments``.

    Raises `InputError` for an address that others can reach, and where textual-serve is not installed.
    """
    check_address(host, is_meant)
    token = secrets.token_urlsafe(24)
    server = make_server(host, port, shlex.join([sys.executable, "-m", "workbench", "open", *arguments]), token)
    output.remark(f"workbench: open {server.public_url}/?token={token}  (ctrl+c ends it)")
    server.serve()


def make_server(host: str, port: int, command: str, token: str) -> Any:
    """A server that runs ``command`` for whoever has the token, and answers nobody else."""
    try:
        from textual_serve.server import Server
    except ImportError:
        raise InputError("textual-serve is not installed; pip install 'lm-workbench[serve]'") from None
    shown = f"[{host}]" if ":" in host else host
    server = Server(command, host=host, port=port, title="workbench", public_url=f"http://{shown}:{port}")
    make_app = server._make_app

    async def guarded() -> Any:
        app = await make_app()
        app.middlewares.append(_guard(token))
        app.on_startup.clear()  # its banner names no token, and nobody could use that address
        return app

    server._make_app = guarded
    return server


def _guard(token: str) -> Any:
    """Lets pass who brings the token; at the door it becomes a cookie, which other sites cannot send along."""
    from aiohttp import web

    async def guard(request: Any, handler: Handler) -> Any:
        if "token" in request.query and request.path == "/":
            if not _same(request.query["token"], token):
                raise web.HTTPForbidden(text="this token is not the one that workbench serve has printed")
            inside = web.HTTPFound("/")
            inside.set_cookie(COOKIE, token, httponly=True, samesite="Strict")
            raise inside
        if not _same(request.cookies.get(COOKIE, ""), token):
            raise web.HTTPForbidden(text="open the address that workbench serve has printed, with its token")
        return await handler(request)

    return web.middleware(guard)


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())
