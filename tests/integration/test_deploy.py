"""What the containers run, as plain processes: users against a stand-in, the rest against a real node."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from es_xmodal.cluster.transport import BackoffTransport
from tests.support.cli import ELASTIC, REPOSITORY, SAMPLE, WRONG, Cli, environment
from tests.support.compose import DOCKERFILE, EXAMPLE, image_default, load, read_env
from tests.support.nodes import delete_everything_named, require

pytestmark = pytest.mark.integration

ROLES = json.loads((REPOSITORY / "deploy" / "roles.json").read_text(encoding="utf-8"))


class Container:
    """One service of docker-compose.yml, run here instead of in its image."""

    def __init__(self, name: str, given: Mapping[str, str], home: Path, *, url: str, data: Path) -> None:
        self.home = home
        self._said = load(given)["services"][name]
        self._own = {key: self._here(value) for key, value in self._said["environment"].items()}
        self._own |= {"ES_XMODAL_URL": url, "ES_XMODAL_DATA_DIR": str(data)}

    def _here(self, text: str) -> str:
        """Where the image has something, this machine has it elsewhere."""
        deploy = str(REPOSITORY / "deploy")
        text = text.replace("/opt/es-xmodal/deploy", deploy).replace("0.0.0.0", "127.0.0.1")
        return re.sub(r"/opt/es-xmodal/lib/\S+/_data/ingest/sample", str(SAMPLE), text)

    def start(self, command: Sequence[str] = (), *, port: int = 0) -> subprocess.Popen[str]:
        """Start its command, or another one in its environment; with a port where its own may be taken."""
        if not command:
            command = [*self._said.get("entrypoint", image_default("ENTRYPOINT")), *self._said["command"]]
        programs = Path(sys.executable).parent
        variables = {
            **environment(self.home),
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            **self._own,
        }
        if port:
            variables["ES_XMODAL_SERVER_PORT"] = str(port)
        return subprocess.Popen(
            [self._here(part) for part in command],
            cwd=self.home,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self) -> tuple[int, str, str]:
        process = self.start()
        out, err = process.communicate()
        return process.returncode, out, err

    @property
    def healthcheck(self) -> list[str]:
        command: list[str] = self._said["healthcheck"]["test"]
        assert command[0] == "CMD"
        return command[1:]


@pytest.fixture
def given(es_url: str) -> Iterator[dict[str, str]]:
    """An .env with secrets, and an index of its own."""
    index = f"t{secrets.token_hex(5)}-products"
    made = {name: value or f"{name.lower()}-0123456789" for name, value in read_env(EXAMPLE).items()}
    yield {**made, "INDEX": index}
    delete_everything_named(es_url, index)


@pytest.fixture
def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def test_sample_then_service(
    given: dict[str, str], es_url: str, cli_data: Path, tmp_path: Path, free_port: int
) -> None:
    place: dict[str, Any] = {"home": tmp_path, "url": es_url, "data": cli_data}
    sample = Container("sample", given, **place)
    code, out, err = sample.run()
    assert (code, f"{given['INDEX']}-v0001" in out) == (0, True), err
    assert sample.run() == (0, f"the index {given['INDEX']} is there: the sample is left out\n", "")

    service = Container("service", given, **place)
    process = service.start(port=free_port)
    try:
        while True:
            check = service.start(service.healthcheck, port=free_port)
            complaint = check.communicate()[1]
            if check.returncode == 0:
                break
            assert process.poll() is None, process.communicate()
            assert complaint.count("\n") == 1
        url = f"http://127.0.0.1:{free_port}"
        assert httpx.get(f"{url}/search?q=couch", timeout=60).status_code == 401
        headers = {"X-API-Key": given["SEARCH_KEY"]}
        found = httpx.get(f"{url}/search?q=couch in leather", headers=headers, timeout=120).json()
        assert found["hits"][0]["id"] == "leather-sofa"
        picture = httpx.get(f"{url}/products/leather-sofa/images/0", headers=headers, timeout=60)
        assert picture.headers["content-type"] == "image/jpeg"
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate()
        assert (process.returncode, "Traceback" in err) == (0, False)
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def secured(refused: str = "") -> Iterator[tuple[str, list[tuple[str, str, Any]]]]:
    """A stand-in for a cluster with security: remembers what it is asked; `refused` is answered 403."""
    asked: list[tuple[str, str, Any]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def _reply(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked.append((self.command, self.path, json.loads(body) if body else None))
            asked.append(("as", str(self.headers.get("Authorization")), None))
            status = 403 if refused and refused in self.path else 200
            self.send_response(status)
            for name, value in ELASTIC.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b'{"error": {"type": "security_exception", "reason": "unauthorized"}}')

        do_GET = do_PUT = do_POST = _reply  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_users_get_roles_of_their_own(given: dict[str, str], tmp_path: Path) -> None:
    with secured() as (url, asked):
        code, out, err = Container("users", given, tmp_path, url=url, data=tmp_path).run()
    assert (code, err) == (0, "")
    assert out.count("set up: ") == 5
    bodies = {path: body for method, path, body in asked if method != "as"}
    assert bodies["/_security/user/kibana_system/_password"] == {"password": given["KIBANA_PASSWORD"]}
    for name, variable in (("es_xmodal_search", "SEARCH_PASSWORD"), ("es_xmodal_ingest", "INGEST_PASSWORD")):
        assert bodies[f"/_security/user/{name}"] == {"password": given[variable], "roles": [name]}
        role = bodies[f"/_security/role/{name}"]
        assert role["cluster"] == ["monitor"]
        assert role["indices"][0]["names"] == [given["INDEX"], f"{given['INDEX']}-*"]
    assert bodies["/_security/role/es_xmodal_search"]["indices"][1:] == []
    basic = (
        "Basic " + __import__("base64").b64encode(f"elastic:{given['ELASTIC_PASSWORD']}".encode()).decode()
    )
    assert {path for method, path, _ in asked if method == "as"} == {basic}


def test_a_set_up_that_fails_is_one_line_without_a_secret(given: dict[str, str], tmp_path: Path) -> None:
    with secured(refused="/_security/role/es_xmodal_ingest") as (url, _):
        code, out, err = Container("users", given, tmp_path, url=url, data=tmp_path).run()
    assert (code, out, err.count("\n")) == (3, "", 1)
    assert "setting up users" in err
    with secured() as (url, asked):
        short = {**given, "INGEST_PASSWORD": "hunter2"}
        code, _, err = Container("users", short, tmp_path, url=url, data=tmp_path).run()
        assert asked == []  # nothing is half set up
    assert (code, err.count("\n"), "INGEST_PASSWORD" in err, "hunter2" in err) == (WRONG, 1, True, False)
    wrong = Container("users", given, tmp_path, url="http://127.0.0.1:9", data=tmp_path)
    process = wrong.start([sys.executable, str(REPOSITORY / "deploy" / "set_up.py"), "everything"])
    assert "write `users` or `sample`" in process.communicate()[1]
    assert process.returncode == WRONG


# Method and path to the privilege that Elasticsearch asks for; `cluster:` where it is one of the cluster.
NEEDS: tuple[tuple[str, str, str], ...] = (
    ("GET|POST", r"/[^/]+/_(msearch|search|count|mget|pit)", "read"),
    ("GET|POST", r"/_(search|msearch|pit|mget)", "read"),
    ("DELETE", r"/_pit", "read"),
    ("GET|HEAD", r"/[^/_][^/]*(/_(alias(/[^/]+)?|mapping|settings))?", "view_index_metadata"),
    ("GET|HEAD", r"/_alias.*", "view_index_metadata"),
    ("GET|POST", r"/[^/]+/_validate/query", "view_index_metadata"),
    ("PUT|POST", r"/[^/]+/_bulk", "write"),
    ("PUT|POST", r"/_bulk", "write"),
    ("GET|POST", r"/[^/]+/_(stats|refresh|flush|settings|mapping|forcemerge)(/.*)?", "manage"),
    ("PUT", r"/[^/]+/_(settings|mapping|block/write|alias/[^/]+)", "manage"),
    ("DELETE", r"/[^/]+/_alias/[^/]+", "manage"),
    ("PUT|DELETE", r"/[^/_][^/]*", "manage"),
    ("POST", r"/_aliases", "manage"),
    ("GET", r"/", "cluster:monitor"),
    ("GET", r"/_(license|nodes|cluster|cat)(/.*)?", "cluster:monitor"),
)
IMPLIED = {"manage": {"view_index_metadata"}}


def needed(method: str, target: str) -> str:
    path = target.partition("?")[0]
    for methods, pattern, privilege in NEEDS:
        if re.fullmatch(methods, method) and re.fullmatch(pattern, path):
            return privilege
    return f"what {method} {path} needs"  # which no role has: look it up, and write it into the table


def granted(role: Mapping[str, Any]) -> set[str]:
    of_index = {name for one in role["indices"][:1] for name in one["privileges"]}
    of_index |= {more for name in of_index for more in IMPLIED.get(name, ())}
    return of_index | {f"cluster:{name}" for name in role["cluster"]}


def test_the_roles_allow_what_is_asked_and_no_more(
    bare_cli: Cli, es_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: set[tuple[str, str]] = set()
    real = BackoffTransport.perform_request

    def recording(self: BackoffTransport, method: str, target: str, **rest: Any) -> Any:
        asked.add((method, target))
        return real(self, method, target, **rest)

    monkeypatch.setattr(BackoffTransport, "perform_request", recording)
    prefix = f"t{secrets.token_hex(5)}-"
    cli = Cli(home=tmp_path, variables=bare_cli.variables, options=("--index", f"{prefix}roles"))
    shutil.copy(SAMPLE / "photos" / "yellow-chair.jpg", tmp_path / "photo.jpg")
    rows = [{"id": str(number), "title": f"Yellow chair {number}", "price": 5} for number in range(3)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (tmp_path / "edit.jsonl").write_text('{"id": "1", "price": 7}', encoding="utf-8")
    try:
        for command in (
            ["ingest", "rows.jsonl", "--json"],
            ["ingest", "edit.jsonl", "--update", "--json"],
            ["ingest", "rows.jsonl", "--delete-missing", "--json"],
            ["ingest", "rows.jsonl", "--rebuild", "--json"],
            ["index", "rollback"],
        ):
            done = cli.here(*command)
            assert done.code == 0, done
        ingest, asked = set(asked), set()
        for command in (
            ["search", "chair", "--image", "photo.jpg", "--json"],
            ["search", "--like", "1", "--hold", "--size", "1", "--json"],
        ):
            done = cli.here(*command)
            assert done.code == 0, done
        search = set(asked)
    finally:
        delete_everything_named(es_url, prefix)
    for requests, name in ((ingest, "es_xmodal_ingest"), (search, "es_xmodal_search")):
        wanted = {needed(method, target) for method, target in requests}
        assert wanted <= granted(ROLES[name]), name
    own = {one for one in granted(ROLES["es_xmodal_search"]) if not one.startswith("cluster:")}
    assert own <= {needed(method, target) for method, target in search}


def test_the_wheel_can_be_built_from_what_the_dockerfile_copies(tmp_path: Path) -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) (\S+)$", DOCKERFILE.read_text(), re.MULTILINE)
    sources = {source for several, _ in copied for source in several.split()}
    kept = {line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line[:1] == "!"}
    for source in sources:
        path = REPOSITORY / source
        assert path.exists(), source
        assert source.partition("/")[0] in kept, source
        if path.is_dir():
            shutil.copytree(path, tmp_path / source, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            (tmp_path / source).parent.mkdir(exist_ok=True)
            shutil.copy(path, tmp_path / source)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", "dist", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    reached = "No matching distribution" not in done.stderr and "connection" not in done.stderr.lower()
    require(done.returncode == 0 or reached, "the package index cannot be reached")
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "dist").glob("*.whl"))


def test_a_service_that_is_not_there_is_not_healthy(tmp_path: Path, free_port: int) -> None:
    command = [sys.executable, "-m", "es_xmodal.server.alive"]
    variables = environment(tmp_path, ES_XMODAL_SERVER_PORT=str(free_port))
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert f"no answer on port {free_port}" in done.stderr
