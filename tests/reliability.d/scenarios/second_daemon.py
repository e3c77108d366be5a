"""A second daemon on the root of another one, by mistake."""

from ground import BrokenPromise, Outcome

NAME = "second-daemon"
ABOUT = "a second daemon on the same SQLite root is refused with one clear line, and the first goes on"
DATABASES = ("sqlite",)


def run(context):
    root = context.root("root")
    first = root.start()
    first.ready()
    times = context.times(3, 20)
    for _ in range(times):
        for arguments in (("run",), ("run", "--once")):
            code, printed = root.run(*arguments)
            wanted = f"another eventferry (process {first.id}) works there"
            if code != 3 or len(printed.splitlines()) != 1 or wanted not in printed or "eventferry.lock" not in printed:
                raise BrokenPromise(f"a second `eventferry {' '.join(arguments)}` ended with {code} and said: {printed}")
            if not first.is_alive():
                raise BrokenPromise(f"the first daemon has ended: {first.printed()}")
    first.kill()
    # The lock has gone with its process.
    code, printed = root.run("run", "--once")
    if code != 0:
        raise BrokenPromise(f"after the death of the first the second ended with {code} and said: {printed}")
    return Outcome(2 * times, "refused each time")
