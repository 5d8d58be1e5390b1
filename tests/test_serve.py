"""The app in a browser: at this machine's own address, and for nobody without the token."""

from __future__ import annotations

import pytest

from workbench.cli.serve import COOKIE, check_address, is_loopback, make_server
from workbench.errors import InputError

TOKEN = "a-token-that-nobody-guesses"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.53", "::1", "localhost"])
def test_an_address_of_this_machine_is_served(host: str) -> None:
    assert is_loopback(host)
    check_address(host, is_meant=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "example.org", "localhost.example.org"])
def test_any_other_is_refused_unless_it_is_meant(host: str) -> None:
    with pytest.raises(InputError, match="--allow-remote"):
        check_address(host, is_meant=False)
    check_address(host, is_meant=True)


async def test_nobody_comes_in_without_the_token() -> None:
    pytest.importorskip("textual_serve")
    from aiohttp.test_utils import TestClient, TestServer

    server = make_server("127.0.0.1", 8000, "true", TOKEN)
    async with TestClient(TestServer(await server._make_app())) as client:
        for path in ("/", "/ws", "/static/js/textual.js", "/?token=another", "/ws?token=" + TOKEN, "/download/x"):
            assert (await client.get(path)).status == 403, path
        client.session.cookie_jar.update_cookies({COOKIE: "another"})
        assert (await client.get("/")).status == 403
        client.session.cookie_jar.clear()
        entered = await client.get(f"/?token={TOKEN}", allow_redirects=False)
        assert (entered.status, entered.headers["Location"]) == (302, "/")
        cookie = entered.cookies[COOKIE]
        assert (cookie["httponly"], cookie["samesite"]) == (True, "Strict")
        client.session.cookie_jar.update_cookies({COOKIE: TOKEN})
        page = await client.get("/")
        assert page.status == 200
        assert TOKEN not in await page.text()
