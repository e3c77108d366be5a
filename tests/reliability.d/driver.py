"""Runs scenarios one after the other and prints what came of each. Start it with `tests/reliability`.

A scenario is a file in `scenarios/` with

    NAME         as it is given on the command line; unique
    ABOUT        one line: what is tried
    run(context) tries it on one database; returns an `Outcome`, or raises `BrokenPromise`

and, where it does not concern both, DATABASES. What it needs it finds in `ground.Context`: a folder, roots with a database
of their own, daemons on them, a seeded `random`, and whether the long form is wanted. Files that scenarios share lie beside
this one. A scenario ends whatever it has started; the driver ends what is left when one has failed.
"""

import argparse
import importlib
import os
import pathlib
import random
import shlex
import signal
import sys
import time
import traceback

from ground import BrokenPromise, Context

HERE = pathlib.Path(__file__).parent
BOTH = ("sqlite", "postgres")


def main():
    scenarios = load_scenarios()
    options = read_arguments(scenarios)
    if options.list:
        for name, scenario in scenarios.items():
            print(f"{name:<16} {scenario.ABOUT}")
        return 0
    seed = random.SystemRandom().randrange(10**9) if options.seed is None else options.seed
    print(f"seed {seed}, {'long' if options.long else 'short'} form", flush=True)
    rows = []
    is_kept = True
    started = time.monotonic()
    for name in options.scenarios or scenarios:
        scenario = scenarios[name]
        for database in getattr(scenario, "DATABASES", BOTH):
            if options.database in (None, database) and is_kept:
                row, is_kept = try_one(scenario, database, seed, options)
                rows.append(row)
    print_table(rows)
    print(f"{time.monotonic() - started:.0f} s in all")
    return 0 if is_kept else 1


def load_scenarios():
    sys.path.insert(0, str(HERE))
    modules = [importlib.import_module(f"scenarios.{path.stem}") for path in sorted(HERE.glob("scenarios/*.py"))]
    scenarios = {module.NAME: module for module in modules}
    assert len(scenarios) == len(modules), "two scenarios have one name"
    return scenarios


def read_arguments(scenarios):
    parser = argparse.ArgumentParser(prog="tests/reliability", allow_abbrev=False)
    parser.add_argument("--long", action="store_true", help="the long form of each scenario: hours, not minutes")
    parser.add_argument("--seed", type=int, help="of what is left to chance; the default is another one each time")
    parser.add_argument("--times", type=int, help="how often a scenario tries, where that can be chosen")
    parser.add_argument("--database", choices=BOTH, help="only this one")
    parser.add_argument("--list", action="store_true", help="name the scenarios and end")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="all where none is named")
    options = parser.parse_args()
    for name in options.scenarios:
        if name not in scenarios:
            parser.error(f"there is no scenario `{name}`: {', '.join(scenarios)}")
    return options


def try_one(scenario, database, seed, options):
    """One row of the table, and whether the promise was kept."""
    context = Context(scenario.NAME, database, options.long, seed, options.times)
    started = time.monotonic()
    broken = None
    tried = 0
    try:
        outcome = scenario.run(context)
        tried, said = outcome.tried, f"kept: {outcome.said}" if outcome.said else "kept"
    except BrokenPromise as error:
        broken, said = str(error), "BROKEN"
    except Exception:
        broken, said = traceback.format_exc(), "COULD NOT BE TRIED"
    except BaseException:
        context.end(keep=False)
        raise
    seconds = time.monotonic() - started
    print(f"{scenario.NAME} on {database}: {said} ({seconds:.0f} s)", flush=True)
    if broken is None:
        context.end(keep=False)
    else:
        again = ["tests/reliability", *(["--long"] if options.long else []), "--seed", str(seed)]
        again += ["--times", str(options.times)] if options.times else []
        again += ["--database", database, scenario.NAME]
        (context.folder / "broken.txt").write_text(f"{broken}\nagain: {shlex.join(again)}\n")
        context.end(keep=True)
        print(f"{broken}\n\nWhat was found lies in {context.folder}.\nTo try it again: {shlex.join(again)}", flush=True)
    return (scenario.NAME, database, str(tried or "-"), said, f"{seconds:.0f}"), broken is None


def print_table(rows):
    head = ("scenario", "database", "tried", "outcome", "seconds")
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    print()
    for row in [head, tuple("-" * width for width in widths), *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


if __name__ == "__main__":
    # Programs that are started here must not see what only this one needs.
    os.environ.pop("PYTHONPATH", None)
    # Whoever stops it leaves nothing behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
