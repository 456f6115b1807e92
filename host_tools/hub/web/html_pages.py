"""The HTML files of the page. Each file in the folder `html` begins with its title and its own style sheets; the first
lines, which are the same for every page, stand once, in html/head.html."""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

FILES = Path(__file__).parent / "html"
ADDRESSES = {"/": "index", "/place": "place", "/lots": "lots", "/audit": "audit", "/login": "login"}


def page_text(name: str) -> str:
    """The whole HTML of the page `name`, which is the name of its file without .html."""
    return (FILES / "head.html").read_text(encoding="utf-8") + (FILES / f"{name}.html").read_text(encoding="utf-8")


def routes() -> list[Route]:
    """One route for each page. Each file is read once, when the hub starts."""
    return [_route(address, page_text(name)) for address, name in ADDRESSES.items()]


def _route(address: str, text: str) -> Route:
    async def answer(_request: Request) -> Response:
        return HTMLResponse(text)

    return Route(address, answer)
