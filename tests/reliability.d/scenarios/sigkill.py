"""The real process, killed."""

import signal

import kills

NAME = "sigkill"
ABOUT = "kill -9 at random moments over a stream of drops; handlers on in every other root"


def run(context):
    return kills.run(context, signal.SIGKILL)
