"""A real receiver of webhooks for one test.

The only argument is a JSON object: `secrets` that it knows, `strict` (whether the time of a signature counts, which a test
on a manual clock cannot keep), and optionally `certificate` and `key` for TLS. The first line on standard output
has its port, and that of a door that is never behind TLS. The server ends when its standard input does, so it never outlives the test.

`POST /hook` is what is tested. What it answers is a script, used up from its beginning; after its end everything is taken:

    POST /script     a list of steps, added to the script: {"status", "headers", "body"}, {"huge": BYTES}, {"hang": true},
                     {"close": true}, {"unfinished": true} (an answer whose body stops in its middle)
    POST /release    lets those that hang be taken
    GET /wait/N      answers as soon as N requests have come
    GET /done/N      answers as soon as N requests were answered
    GET /seen        every request: what it said, whether its signature and its event are good, and the most at one time
"""

import json
import socket
import ssl
import sys
import threading
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from cloudevents.core.formats.json import JSONFormat
from standardwebhooks.webhooks import Webhook, WebhookVerificationError


class Log:
    def __init__(self):
        self.changed = threading.Condition()
        self.requests = []
        self.script = []
        self.released = 0
        self.under_way = 0
        self.most = 0
        self.answered = 0

    def wait(self, is_there):
        with self.changed:
            self.changed.wait_for(is_there)


def verdict(options, headers, body):
    """Whether an independent implementation takes the signature, with each secret that it knows."""
    verdicts = []
    for secret in options["secrets"]:
        try:
            Webhook(secret).verify(body, dict(headers), json_parse=False)
            verdicts.append(True)
        except WebhookVerificationError as error:
            verdicts.append(str(error))
    return verdicts


def event_of(headers, body):
    """The event as an independent implementation reads it."""
    message = HTTPMessage(headers={key: value for key, value in headers.items()}, body=body)
    event = from_http_event(message, JSONFormat())
    return {**{key: str(value) for key, value in event.get_attributes().items()}, "data": event.get_data()}


def make_handler(options, log):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Small answers must not wait for more to come.
        disable_nagle_algorithm = True

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            if self.path == "/script":
                with log.changed:
                    log.script.extend(json.loads(body))
                return self.answer(200, {}, b"")
            if self.path == "/release":
                with log.changed:
                    log.released += 1
                    log.changed.notify_all()
                return self.answer(200, {}, b"")
            self.take(body)

        def take(self, body):
            request = {
                "path": self.path,
                "headers": {key.lower(): value for key, value in self.headers.items()},
                "body": body.decode(),
                "signatures": verdict(options, self.headers, body),
            }
            try:
                request["event"] = event_of(self.headers, body)
            except Exception as error:
                request["fault"] = repr(error)
            with log.changed:
                log.requests.append(request)
                log.under_way += 1
                log.most = max(log.most, log.under_way)
                step = log.script.pop(0) if log.script else {}
                log.changed.notify_all()
            try:
                self.play(step)
            finally:
                with log.changed:
                    log.under_way -= 1
                    log.answered += 1
                    log.changed.notify_all()

        def play(self, step):
            if step.get("hang"):
                before = log.released
                log.wait(lambda: log.released > before)
            if step.get("close"):
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            if step.get("unfinished"):
                self.send_response(step.get("status", 200))
                self.send_header("content-length", "100")
                self.end_headers()
                self.wfile.write(b"taken, and")
                return
            if "huge" in step:
                self.send_response(step.get("status", 200))
                self.send_header("content-length", str(step["huge"]))
                self.end_headers()
                try:
                    for _ in range(step["huge"] // 65536):
                        self.wfile.write(b"x" * 65536)
                except OSError:
                    # The other side has heard enough.
                    self.close_connection = True
                return
            self.answer(step.get("status", 204), step.get("headers", {}), step.get("body", "").encode())

        def do_GET(self):
            kind, _, count = self.path.strip("/").partition("/")
            if kind == "wait":
                log.wait(lambda: len(log.requests) >= int(count))
                return self.answer(200, {}, b"")
            if kind == "done":
                log.wait(lambda: log.answered >= int(count))
                return self.answer(200, {}, b"")
            with log.changed:
                seen = {"requests": log.requests, "most": log.most}
                self.answer(200, {}, json.dumps(seen).encode())

        def answer(self, status, headers, body):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if status != 204:
                self.send_header("content-length", str(len(body)))
            self.end_headers()
            if status != 204:
                self.wfile.write(body)

        def log_message(self, *_):
            pass

    return Handler


def be_lenient():
    """The time of a signature is that of whoever has signed: on a manual clock it is not that of this machine."""

    def timestamp_of(_, header):
        return datetime.fromtimestamp(float(header), tz=timezone.utc)

    Webhook._Webhook__verify_timestamp = timestamp_of


def main():
    options = json.loads(sys.argv[1])
    if not options["strict"]:
        be_lenient()
    log = Log()

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 256

    server = Server(("127.0.0.1", 0), make_handler(options, log))
    if options.get("certificate"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options["certificate"], options["key"])
        if options.get("client_ca"):
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(options["client_ca"])
        server.socket = context.wrap_socket(server.socket, server_side=True)
    doors = Server(("127.0.0.1", 0), make_handler(options, log))
    for each in (server, doors):
        threading.Thread(target=each.serve_forever, daemon=True).start()
    print(server.server_address[1], doors.server_address[1], flush=True)
    sys.stdin.read()


main()
