"""A receiver of webhooks that outlives the daemons that call it, and remembers every message."""

import collections
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# Any secret will do: whether signatures are right is tested elsewhere.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Receiver:
    """Takes everything; now and then (a share of `rudeness`) it takes a message and does not answer. It answers when the same one
    comes again: after a second failure that would take five minutes.
    """

    def __init__(self, chance, rudeness=0.0):
        self.told = collections.Counter()
        # What came under an id; the same id must always say the same.
        self.bodies = {}
        self.changed = []
        self._refused = set()
        self._lock = threading.Lock()
        self._chance = chance
        self._rudeness = rudeness
        self._server = Server(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def configuration(self):
        port = self._server.server_address[1]
        return f"""
[[handlers]]
name = "told"
kind = "webhook"
url = "http://127.0.0.1:{port}/hook"
secret = "{SECRET}"
allow_addresses = ["127.0.0.1"]
actions = ["created", "updated", "gone", "import.finished", "import.failed"]
attempts = 100
"""

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def take(self, body):
        """Remembers a message; says whether it is to be answered."""
        message = json.loads(body)
        with self._lock:
            id = message["id"]
            self.told[id] += 1
            if self.bodies.setdefault(id, body) != body:
                self.changed.append(id)
            is_rude = self._chance.random() < self._rudeness
            if not is_rude or id in self._refused:
                return True
            self._refused.add(id)
            return False

    def _handler(self):
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                if not receiver.take(body):
                    self.close_connection = True
                    return
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        return Handler


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request, client_address):
        """A daemon that is killed leaves its connections; a message that was cut short was not taken."""
