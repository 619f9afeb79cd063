"""Nobody without the token, and nobody from elsewhere, gets anything from the viewer."""

import socket
import threading
import time
import urllib.error
import urllib.request

import pytest

pytest.importorskip("flask")

from continuousflex_dl.app.guard import is_local, same_origin
from continuousflex_dl.app.server import HEADER, Server, cookie_of, make_app
from continuousflex_dl.cli.view import read_dataset
from continuousflex_dl.core.errors import InputError
from continuousflex_dl.options.view import ViewOptions

TOKEN = "right-token"
PATHS = (
    "/", "/assets/main.js", "/assets/style.css", "/assets/plotly.min.js", "/assets/molstar.js", "/assets/none.js",
    "/api/datasets", "/api/jobs", "/api/0/selections", "/api/0/image/1.png", "/nothing/here", "/favicon.ico",
)  # fmt: skip
POSTS = ("scene", "select", "histogram", "sample", "structure", "trajectory", "command/group", "command/scipion")


@pytest.fixture(scope="module")
def app(results, tmp_path_factory):
    from continuousflex_dl.cli.run import Run

    data = read_dataset(results["space"], tmp_path_factory.mktemp("work"), None, Run("view", ViewOptions(input="x")))
    return make_app([data], TOKEN)


@pytest.fixture
def client(app):
    return app.test_client()


@pytest.mark.parametrize("path", PATHS)
def test_get_without_token_is_forbidden(client, path):
    assert client.get(path).status_code == 403
    assert client.get(path, query_string={"token": "wrong"}).status_code == 403
    assert client.get(path, headers={HEADER: TOKEN[:-1]}).status_code == 403
    client.set_cookie(cookie_of(TOKEN), "")
    answer = client.get(path)
    assert answer.status_code == 403
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("name", POSTS)
def test_callbacks_without_token_are_forbidden(client, name):
    assert client.post(f"/api/0/{name}", json={}).status_code == 403


@pytest.mark.parametrize("method", ["put", "delete", "patch", "options", "head"])
def test_other_methods_without_token_are_forbidden(client, method):
    assert getattr(client, method)("/api/0/selections/a").status_code == 403


@pytest.mark.parametrize("path", PATHS[:9])
def test_foreign_host_is_forbidden_with_the_token_too(client, path):
    for host in ("evil.example", "127.0.0.1.evil.example:80", "localhost.evil.example", "192.168.0.7:8000", ""):
        assert client.get(path, headers={"Host": host, HEADER: TOKEN}).status_code == 403


@pytest.mark.parametrize("host", ["127.0.0.1:80", "localhost:9000", "LOCALHOST", "[::1]:9000", "127.0.0.1"])
def test_this_computer_is_let_in_on_any_port_of_a_tunnel(client, host):
    assert client.get("/api/datasets", headers={"Host": host, HEADER: TOKEN}).status_code == 200


def test_request_of_another_page_is_forbidden(client):
    headers = {"Host": "127.0.0.1:8000", HEADER: TOKEN, "Origin": "http://127.0.0.1:9999"}
    assert client.post("/api/0/sample", json={}, headers=headers).status_code == 403
    headers["Origin"] = "http://127.0.0.1:8000"
    assert client.post("/api/0/sample", json={}, headers=headers).status_code == 200


def test_token_in_the_address_becomes_a_cookie_that_scripts_cannot_read(client):
    answer = client.get("/", query_string={"token": TOKEN})
    assert answer.status_code == 200
    cookie = answer.headers["Set-Cookie"]
    assert TOKEN in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert client.get("/assets/main.js").status_code == 200
    assert client.get("/api/datasets").status_code == 200


def test_two_viewers_do_not_take_each_others_cookie(app, client):
    other = make_app(app.extensions["cflex"].datasets, "other-token").test_client()
    names = set()
    for viewer, token in ((client, TOKEN), (other, "other-token")):
        names.add(viewer.get("/", query_string={"token": token}).headers["Set-Cookie"].split("=")[0])
    assert len(names) == 2


def test_page_may_only_speak_to_its_own_server(client):
    policy = client.get("/", query_string={"token": TOKEN}).headers["Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    for name in ("default-src", "script-src", "connect-src", "img-src"):
        assert "'self'" in rules[name]
        assert "http" not in rules[name]
        assert "*" not in rules[name]


@pytest.mark.parametrize(
    "name", ["../server.py", "..%2fserver.py", "%2e%2e/server.py", "", "index.html/../../server.py"]
)
def test_only_assets_are_served_as_assets(client, name):
    answer = client.get(f"/assets/{name}", headers={HEADER: TOKEN})
    assert answer.status_code == 404
    assert b"Flask" not in answer.data


def test_files_of_jobs_are_only_those_that_a_job_made(client):
    for path in ("/api/jobs/1/run.json", "/api/jobs/0/../../etc/passwd", "/api/jobs/1/%2e%2e/%2e%2e/etc/passwd"):
        assert client.get(path, headers={HEADER: TOKEN}).status_code in (400, 404)


def test_server_listens_on_loopback_only(app):
    from continuousflex_dl.app.state import State

    state: State = app.extensions["cflex"]
    server = Server(state.datasets)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        assert server.address.startswith(f"http://127.0.0.1:{server.port}/?token=")
        assert urllib.request.urlopen(server.address, timeout=20).status == 200
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(server.address.split("?")[0], timeout=20)
        with open("/proc/net/tcp", encoding="ascii") as table:  # local address, hexadecimal, of listening sockets
            listening = [line.split()[1] for line in table if line.split()[3] == "0A"]
        mine = [address for address in listening if int(address.split(":")[1], 16) == server.port]
        assert [address.split(":")[0] for address in mine] == ["0100007F"]
        with open("/proc/net/tcp6", encoding="ascii") as table:
            assert not [line for line in table if line.split()[1].endswith(f":{server.port:04X}")]
        with pytest.raises(InputError, match="--port"):
            Server(state.datasets, port=server.port)
    finally:
        server.close()
        thread.join(timeout=20)
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", server.port), timeout=5)


def test_server_that_nobody_uses_ends(app):
    server = Server(app.extensions["cflex"].datasets)
    begin = time.monotonic()
    server.serve(idle_minutes=0.5 / 60)
    assert 0.5 <= time.monotonic() - begin < 60


@pytest.mark.parametrize("package", ["plotly", "dash_molstar"])
def test_missing_packages_are_said(app, package, monkeypatch):
    from continuousflex_dl.app import assets

    absent = {
        name: (f"no_such_{owner}" if owner == package else owner, file)
        for name, (owner, file) in assets.VENDORED.items()
    }
    monkeypatch.setattr(assets, "VENDORED", absent)
    with pytest.raises(InputError, match=f"no_such_{package}.*pip install"):
        make_app(app.extensions["cflex"].datasets, TOKEN)


def test_tokens_differ(app):
    state = app.extensions["cflex"]
    servers = [Server(state.datasets) for _ in range(2)]
    assert servers[0].token != servers[1].token
    assert len(servers[0].token) >= 32
    for server in servers:
        server._server.server_close()


def test_names_of_this_computer():
    assert not is_local("localhost@evil.example")
    assert not is_local("evil.example#localhost")
    assert not is_local("0.0.0.0:80")
    assert is_local("127.8.8.8:1")
    assert same_origin("", "localhost:80")
    assert not same_origin("null", "localhost:80")
    assert not same_origin("http://localhost:81", "localhost:80")
