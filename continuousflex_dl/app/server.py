"""The server: a Flask application behind the guard, and the loop that serves it on 127.0.0.1."""

from __future__ import annotations

import gzip
import hashlib
import logging
import secrets
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, abort, g, request, send_file
from werkzeug.exceptions import HTTPException

from ..core.errors import InputError
from .assets import STATIC, vendored_files
from .guard import HEADERS, has_token, is_local, same_origin
from .routes import routes
from .state import State

if TYPE_CHECKING:
    from werkzeug.serving import BaseWSGIServer

    from .dataset import Dataset

ADDRESS = "127.0.0.1"
QUERY, HEADER = "token", "X-Cflex-Token"
_MOST_REQUEST_BYTES = 8 << 20
_ZIPPED_FROM_BYTES = 4096
_KINDS = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml"}


def make_app(datasets: Sequence[Dataset], token: str, *, points: int = 20_000) -> Flask:
    """Make the application.

    Parameters
    ----------
    datasets
        What is shown.
    token
        Without which every request is answered 403.
    points
        Particles that are drawn as points, at most.

    Raises
    ------
    InputError
        If a package whose JavaScript the page needs is missing.
    """
    vendored = vendored_files()
    cookie = cookie_of(token)
    app = Flask("cflex_view", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = _MOST_REQUEST_BYTES
    app.extensions["cflex"] = State(tuple(datasets), points)
    zipped: dict[Path, bytes] = {}

    @app.before_request
    def guard() -> None:
        host = request.headers.get("Host", "")
        places = {
            "query": request.args.get(QUERY),
            "cookie": request.cookies.get(cookie),
            "header": request.headers.get(HEADER),
        }
        if not is_local(host) or not has_token(token, places):
            abort(403)
        if not same_origin(request.headers.get("Origin", ""), host):
            abort(403)
        app.extensions["cflex"].touch()
        g.by_query = bool(places["query"]) and places["cookie"] != token

    @app.after_request
    def seal(response: Response) -> Response:
        response.headers.update(HEADERS)
        response.headers.setdefault("Cache-Control", "no-store")
        if response.status_code == 200 and g.get("by_query", False):
            response.set_cookie(cookie, token, httponly=True, samesite="Strict")
        return _zipped(response)

    @app.errorhandler(InputError)
    def refused(error: InputError) -> tuple[dict[str, str], int]:
        return {"error": str(error)}, 400

    @app.errorhandler(HTTPException)
    def answered(error: HTTPException) -> tuple[dict[str, str], int]:
        return {"error": str(error.description)}, error.code or 500

    @app.errorhandler(Exception)
    def failed(error: Exception) -> tuple[dict[str, str], int]:
        logging.getLogger(__name__).exception("request failed")
        return {"error": f"internal error: {type(error).__name__}: {error}"}, 500

    @app.get("/")
    def page() -> Response:
        return send_file(STATIC / "index.html")

    @app.get("/assets/<name>")
    def asset(name: str) -> Response:
        path = vendored.get(name) or STATIC / name
        if name not in vendored and (path.parent != STATIC or path.suffix not in _KINDS or not path.is_file()):
            abort(404)
        return _file(path, zipped, lasting=name in vendored)

    app.register_blueprint(routes)
    return app


def cookie_of(token: str) -> str:
    """Name of the cookie: cookies do not tell ports apart, and two viewers must not take each other's."""
    return f"cflex_view_{hashlib.sha256(token.encode()).hexdigest()[:12]}"


def _file(path: Path, zipped: dict[Path, bytes], *, lasting: bool) -> Response:
    """A file, compressed where the browser takes that: through a tunnel 11 MB of JavaScript are slow."""
    headers = {"Content-Type": f"{_KINDS[path.suffix]}; charset=utf-8"}
    if lasting:
        headers["Cache-Control"] = "private, max-age=86400"
    data = path.read_bytes()
    local = not request.headers.get("Accept-Encoding", "").count("gzip")
    if not local and len(data) >= _ZIPPED_FROM_BYTES:
        if path not in zipped or not lasting:
            zipped[path] = gzip.compress(data, 1)
        data = zipped[path]
        headers["Content-Encoding"] = "gzip"
    return Response(data, headers=headers)


def _zipped(response: Response) -> Response:
    """Structures of a path, megabytes of text, compressed: they may have to go through a tunnel."""
    text = response.mimetype in ("text/plain", "application/json")
    if text and not response.is_streamed and "gzip" in request.headers.get("Accept-Encoding", ""):
        data = response.get_data()
        if len(data) >= _ZIPPED_FROM_BYTES and "Content-Encoding" not in response.headers:
            response.set_data(gzip.compress(data, 1))
            response.headers["Content-Encoding"] = "gzip"
    return response


class Server:
    """The application on a port of 127.0.0.1.

    Parameters
    ----------
    datasets, points
        See `make_app`.
    port
        0 for any free one.

    Raises
    ------
    InputError
        If the port is taken, or a package is missing.
    """

    def __init__(self, datasets: Sequence[Dataset], *, port: int = 0, points: int = 20_000) -> None:
        from werkzeug.serving import make_server

        self.token = secrets.token_urlsafe(24)
        self.app = make_app(datasets, self.token, points=points)
        logging.getLogger("werkzeug").setLevel(logging.ERROR)  # one line per request is of no use here
        try:
            self._server: BaseWSGIServer = make_server(ADDRESS, port, self.app, threaded=True)
        except (OSError, SystemExit) as error:
            raise InputError(f"--port: cannot listen on {ADDRESS}:{port} ({error}); give another one, or 0") from None
        self._server.daemon_threads = True  # type: ignore[attr-defined]

    @property
    def port(self) -> int:
        """Port that is listened on."""
        return self._server.server_port

    @property
    def address(self) -> str:
        """Address of the page, with the token."""
        return f"http://{ADDRESS}:{self.port}/?{QUERY}={self.token}"

    @property
    def state(self) -> Any:
        """What the requests share."""
        return self.app.extensions["cflex"]

    def serve(self, idle_minutes: float = 0.0) -> None:
        """Serve until `close` is called, an exception comes (Ctrl-C), or nobody has asked for anything in some time."""
        if idle_minutes > 0:
            threading.Thread(target=self._watch, args=(60 * idle_minutes,), daemon=True).start()
        try:
            self._server.serve_forever(poll_interval=0.2)
        finally:
            self.state.close()
            self._server.server_close()

    def _watch(self, seconds: float) -> None:
        while not self.state.idle_for(seconds):
            time.sleep(min(1.0, seconds / 4))
        self.close()

    def close(self) -> None:
        """Stop serving; from another thread than that of `serve`."""
        self._server.shutdown()
