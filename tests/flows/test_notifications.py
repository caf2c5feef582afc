"""People are told as docs/operations/notifications.md says: its blocks, its automations, real HTTP and real SMTP."""

import email.policy
import json
import os
import re
import shutil
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import StringIO
from pathlib import Path

import pytest
import yaml
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.events import emit_event
from prefect.events.worker import EventsWorker
from prefect.states import Running

from flows.metrics import GAUGES
from tests.flows.conftest import configured, server_in
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def prefect_api(made_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of these tests alone: automations act on whatever happens there."""
    home = Path(shutil.copytree(made_home, tmp_path_factory.mktemp("prefect") / "home"))
    with server_in(home) as url, configured(home=home, url=url):
        yield url


PAGE = (Path(__file__).parents[2] / "docs" / "operations" / "notifications.md").read_text(encoding="utf-8")


def block(language: str, *, having: str) -> str:
    found = re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)
    (text,) = (each for each in found if having in each)
    return str(text)


def saved_block(code: str, *, address: str, instead_of: str) -> str:
    """Run the page's Python with another address; return the ID that it prints."""
    code, replaced = re.subn(instead_of, lambda _: address, code)
    assert replaced == 1
    with redirect_stdout(StringIO()) as printed:
        exec(compile(code, "notifications.md", "exec"), {})
    return printed.getvalue().strip()


@contextmanager
def automation(text: str, folder: Path) -> Iterator[None]:
    """Make an automation with Prefect's own command."""
    (folder / "automation.yaml").write_text(text)
    prefect = [sys.executable, "-m", "prefect", "--no-prompt", "automation"]
    create = [*prefect, "create", "--from-file", str(folder / "automation.yaml")]
    subprocess.run(create, env=os.environ, check=True, capture_output=True)
    yield
    subprocess.run([*prefect, "delete", yaml.safe_load(text)["name"]], env=os.environ, check=False, capture_output=True)


def with_block(text: str, block_id: str) -> str:
    text, replaced = re.subn(r"<id that .*>", block_id, text)
    assert replaced == 1
    return text


@contextmanager
def listening(server: socketserver.BaseServer) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def waited_for(received: list[str], act: Callable[[], object]) -> str:
    """Act, again and again as an automation takes a while to be loaded by the server, until something comes."""

    def came() -> list[str]:
        if not received:
            act()
            EventsWorker.drain_all(timeout=5)
        return received

    wait_until(came)
    return received[0]


def test_webhook_of_the_page_is_called_after_a_regression(prefect_api: str, tmp_path: Path) -> None:
    received: list[str] = []

    class Chat(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    def regressed() -> None:
        emit_event(
            "augmentation.study.regressed",
            resource={"prefect.resource.id": "augmentation.run.told"},
            payload={"regressions": ['a "gain" is worse', "another too"], "comparison": "http://here/comparison.html"},
        )

    with listening(HTTPServer(("127.0.0.1", 0), Chat)) as port:
        code = block("py", having="import Webhook")
        made = saved_block(code, address=f"http://127.0.0.1:{port}/hook", instead_of=r"https://chat[\w./]+")
        with automation(with_block(block("yaml", having="call-webhook"), made), tmp_path):
            told = json.loads(waited_for(received, regressed))
    assert told == {"text": 'a "gain" is worse; another too http://here/comparison.html'}


class Mailbox(socketserver.StreamRequestHandler):
    """The least of SMTP that takes a message."""

    received: list[str] = []  # noqa: RUF012 (of the one test that uses it)

    def handle(self) -> None:
        self.say("220 here")
        while line := self.rfile.readline().decode().strip():
            verb = line.split()[0].upper()
            if verb == "DATA":
                self.say("354 go on")
                lines = list(iter(lambda: self.rfile.readline().decode().rstrip("\r\n"), "."))
                self.received.append("\n".join(lines))
            self.say("221 bye" if verb == "QUIT" else "250 ok")
            if verb == "QUIT":
                return

    def say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


def test_mail_of_the_page_is_sent_after_a_failure(prefect_api: str, tmp_path: Path) -> None:
    @flow(name="scheduled_study", persist_result=False)
    def fails() -> None:
        raise ValueError("no disk is left")

    def failed() -> None:
        with pytest.raises(ValueError, match="no disk"):
            fails()

    with listening(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mailbox)) as port:
        code = block("py", having="import SlackWebhook")
        address = f"mailto://127.0.0.1:{port}/?from=augment@example.org&to=me@example.org&mode=insecure"
        made = saved_block(code, address=address, instead_of=r'mailtos://[^"]+')
        with automation(with_block(block("yaml", having="send-notification"), made), tmp_path):
            mail = waited_for(Mailbox.received, failed)
    message = email.message_from_string(mail, policy=email.policy.default)
    assert message["Subject"] == "scheduled_study Failed"
    body = message.get_body(("plain",))
    assert body is not None
    assert "no disk is left" in body.get_content()
    with get_client(sync_client=True) as client:
        stored = client.read_block_document_by_name("mail", "slack-webhook", include_secrets=False)
    assert "example.org" not in str(stored.data)


def test_run_without_a_sign_of_life_is_marked_as_crashed(prefect_api: str, tmp_path: Path) -> None:
    @flow(name="killed", persist_result=False)
    def killed() -> None: ...

    text, replaced = re.subn("within: 90", "within: 10", block("yaml", having="Proactive"))
    assert replaced == 1
    with automation(text, tmp_path), get_client(sync_client=True) as client:
        run = client.create_flow_run(killed, state=Running())
        alive = 0.0

        def crashed() -> bool:
            nonlocal alive
            if time.monotonic() - alive > 30:  # again, for an automation that the server has loaded only now
                alive = time.monotonic()
                emit_event("prefect.flow-run.heartbeat", resource={"prefect.resource.id": f"prefect.flow-run.{run.id}"})
                EventsWorker.drain_all(timeout=5)
            state = client.read_flow_run(run.id).state
            return state is not None and state.is_crashed()

        wait_until(crashed)
        state = client.read_flow_run(run.id).state
    assert state is not None
    assert state.message == "no sign of life for 90 seconds"


def test_every_metric_is_in_the_pages_table() -> None:
    rows = "".join(line for line in PAGE.splitlines() if line.startswith("|"))
    assert set(re.findall(r"`(augment_\w+)`", rows)) == {*GAUGES, "augment_server_up"}
    assert yaml.safe_load(block("yaml", having="scrape_configs"))["scrape_configs"][0]["static_configs"][0][
        "targets"
    ] == ["127.0.0.1:9108"]
