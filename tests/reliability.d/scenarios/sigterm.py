"""The real process, asked to stop."""

import signal

import kills

NAME = "sigterm"
ABOUT = "SIGTERM, now and then twice, at random moments over a stream of drops; handlers on in every other root"


def run(context):
    return kills.run(context, signal.SIGTERM)
