"""A real SMTP server for one test.

The only argument is a JSON object, see `Options` in smtp.rs. The first line on standard output is the port; then comes
one line per mail taken in, the name of its `.eml` and `.json` (the envelope) in the directory. The server ends when its
standard input does, so it never outlives the test.
"""

import asyncio
import json
import pathlib
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult


class Handler:
    def __init__(self, options):
        self.directory = pathlib.Path(options["directory"])
        self.refused = options["refused"]
        self.scripts = {verb: list(options[verb]) for verb in ("mail", "rcpt", "data")}
        self.taken = 0

    async def handle_MAIL(self, server, session, envelope, address, mail_options):
        reply = self.next_reply(server, "mail")
        if reply is None:
            envelope.mail_from = address
            envelope.mail_options.extend(mail_options)
        return reply or "250 2.1.0 sender ok"

    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
        reply = self.refused.get(address) or self.next_reply(server, "rcpt")
        if reply is None:
            envelope.rcpt_tos.append(address)
            envelope.rcpt_options.extend(rcpt_options)
        return reply or "250 2.1.5 recipient ok"

    async def handle_DATA(self, server, session, envelope):
        script = self.scripts["data"]
        reply = script.pop(0) if script else None
        if reply is None or reply == "drop":
            self.take(server, session, envelope)
        if reply == "drop":
            server.transport.abort()
        return reply or "250 2.6.0 taken"

    def next_reply(self, server, verb):
        """What the script says to the next command of this kind; `None` accepts it."""
        script = self.scripts[verb]
        reply = script.pop(0) if script else None
        if reply == "drop":
            server.transport.abort()
        return reply

    def take(self, server, session, envelope):
        self.taken += 1
        name = f"{self.taken:04}"
        (self.directory / f"{name}.eml").write_bytes(envelope.original_content)
        facts = {
            "sender": envelope.mail_from,
            "recipients": envelope.rcpt_tos,
            "encrypted": server.transport.get_extra_info("sslcontext") is not None,
            "user": session.auth_data.login.decode() if session.auth_data else None,
        }
        (self.directory / f"{name}.json").write_text(json.dumps(facts))
        print(name, flush=True)


def authenticator(user, password):
    def check(server, session, envelope, mechanism, login):
        right = login.login.decode() == user and login.password.decode() == password
        return AuthResult(success=right, handled=False, auth_data=login if right else None)

    return check


async def main():
    options = json.loads(sys.argv[1])
    encryption = options["encryption"]
    context = None
    if encryption != "none":
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(options["certificate"], options["key"])

    handler = Handler(options)
    smtp = {"hostname": "localhost", "enable_SMTPUTF8": True}
    if encryption.startswith("starttls"):
        smtp |= {"tls_context": context, "require_starttls": encryption == "starttls_required"}
    if options["user"] is not None:
        smtp |= {
            "auth_required": True,
            "auth_require_tls": False,
            "authenticator": authenticator(options["user"], options["password"]),
        }

    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(handler, loop=loop, **smtp),
        host="127.0.0.1",
        port=0,
        ssl=context if encryption == "tls" else None,
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


asyncio.run(main())
