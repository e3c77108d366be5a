"""Whether a root at rest is as the promise says. Looks at tables and folders alone, and knows what was dropped."""

import collections
import email
import email.policy
import hashlib
import json
import pathlib
import zipfile

from archives import IN_RESULTS, VALUE, World
from ground import BrokenPromise

FINAL = ("succeeded", "partial", "failed", "cancelled", "duplicate")

# What may lie in a root itself.
IN_ROOT = {"inbox", "work", "outbox", "done", "rejected", "media", "mail", "eventferry.lock"}
IN_ROOT_OF_SQLITE = {"eventferry.db", "eventferry.db-wal", "eventferry.db-shm"}

# Space that is kept back in the outbox while the disk must have some free.
RESERVE = ".eventferry-reserve"

SINGULAR = {
    "events": "event",
    "microlocations": "microlocation",
    "sponsors": "sponsor",
    "speakers": "speaker",
    "tracks": "track",
    "session_types": "session_type",
    "sessions": "session",
}

Row = collections.namedtuple("Row", "dataset event source_id")


def check(root, dropped, told=None, order="as they ended", admin_was_told=False):
    """Raises `BrokenPromise` with everything that is wrong.

    `dropped` are the archives that were dropped, each under a name of its own; `told` is what a receiver was sent (id →
    how often), where all jobs have called handlers. Archives of one event were imported one after the other: either as the
    jobs say that they ended, or, where the clock cannot be trusted, "as they were dropped". Where something went wrong that
    the admin had to be told of, `admin_was_told`.
    """
    wrong = []
    tables = root.tables
    wrong += tables.faults()
    exports = tables.rows("SELECT id, state FROM jobs WHERE kind <> 'import'")
    wrong += [f"the export {job['id']} is {job['state']}" for job in exports if job["state"] != "succeeded"]
    jobs = tables.rows("SELECT * FROM jobs WHERE kind = 'import' ORDER BY id")
    endings = expected_endings(wrong, jobs, dropped, order)
    check_files(wrong, root, jobs, dropped)
    check_jobs(wrong, root, jobs, endings)
    check_results(wrong, root, jobs, endings)
    check_events(wrong, root, endings.world)
    check_media(wrong, root, endings.world)
    check_mails(wrong, root, jobs, exports, admin_was_told)
    check_left_over(wrong, root, dropped)
    check_deliveries(wrong, root, jobs, endings, told)
    if wrong:
        shown = "\n".join(f"  - {line}" for line in wrong[:60])
        raise BrokenPromise(f"{len(wrong)} things are wrong in {root.path}:\n{shown}")


class Endings:
    def __init__(self):
        self.of_job = {}
        self.archive_of = {}
        self.world = World()


def expected_endings(wrong, jobs, dropped, order):
    """What must have become of each job, in the order in which they were imported."""
    endings = Endings()
    by_name = {archive.name: archive for archive in dropped}
    places = {archive.name: place for place, archive in enumerate(dropped)}
    keys = {
        "as they ended": lambda job: (job["finished_at"] or "", job["id"]),
        "as they were dropped": lambda job: places.get(job["archive_name"], -1),
    }
    for archive in dropped:
        count = sum(job["archive_name"] == archive.name for job in jobs)
        wanted = 0 if archive.kind == "unfinished" else 1
        if count != wanted:
            wrong.append(f"`{archive.name}` has {count} jobs and not {wanted}")
    for job in sorted(jobs, key=keys[order]):
        archive = by_name.get(job["archive_name"])
        if archive is None or archive.account != job["account"]:
            wrong.append(f"nobody has dropped `{job['archive_name']}` of job {job['id']} for `{job['account']}`")
            continue
        endings.archive_of[job["id"]] = archive
        endings.of_job[job["id"]] = endings.world.take(archive)
    return endings


def check_files(wrong, root, jobs, dropped):
    """Each dropped file lies in exactly one place, with its bytes."""
    places = collections.defaultdict(list)
    for folder in ("inbox", "work", "done", "rejected"):
        for file in root.files(folder):
            if not pathlib.PurePath(file).name.startswith("."):
                places[hash_of(root.path / file)].append(file)
    wanted = collections.Counter(archive.sha256 for archive in dropped)
    for sha256 in wanted.keys() | places.keys():
        found = places.get(sha256, [])
        if len(found) != wanted[sha256]:
            names = [archive.name for archive in dropped if archive.sha256 == sha256]
            wrong.append(f"{names} lie {len(found)} times and not {wanted[sha256]}: {found}")
    for archive in dropped:
        if archive.kind == "unfinished" and not (root.inbox(archive.account) / archive.name).exists():
            wrong.append(f"the unfinished `{archive.name}` does not lie in the inbox")
    for job in jobs:
        place = "rejected" if job["state"] in ("failed", "cancelled") else "done"
        path = job["source_path"] or ""
        if job["source_state"] != "moved" or not path.startswith(f"{place}/{job['account']}/") or job["id"] not in path:
            wrong.append(f"the file of the {job['state']} job {job['id']} is `{job['source_state']}` at `{path}`")
        elif not (root.path / path).is_file():
            wrong.append(f"the file of job {job['id']} is not at `{path}`")
        elif job["archive_sha256"] and job["archive_sha256"] != hash_of(root.path / path):
            wrong.append(f"the file of job {job['id']} at `{path}` has other bytes")


def check_jobs(wrong, root, jobs, endings):
    """Each job has ended as it had to, and holds nothing."""
    for job in jobs:
        id, ending = job["id"], endings.of_job.get(job["id"])
        if job["state"] not in FINAL:
            wrong.append(f"job {id} is {job['state']}: {job['waits_for']} {job['last_trouble']}")
        elif ending and job["state"] != ending.state:
            name = job["archive_name"]
            wrong.append(f"job {id} (`{name}`) is {job['state']} and not {ending.state}: {job['summary']}")
        held = {key: job[key] for key in ("owner", "source_turn", "blocked_on", "held", "waits_for") if job[key]}
        if held:
            wrong.append(f"job {id} has ended and still holds {held}")
        if not job["finished_at"] or job["outcome"] is None:
            wrong.append(f"job {id} has no outcome")
    for handler in root.tables.rows("SELECT name, owner FROM handlers WHERE owner IS NOT NULL"):
        wrong.append(f"the handler `{handler['name']}` is still owned by {handler['owner']}")


def check_results(wrong, root, jobs, endings):
    """One folder of result files per job, which says what the tables say."""
    folders = {}
    for file in root.files("outbox"):
        if file == f"outbox/{RESERVE}":
            continue
        parts = pathlib.PurePath(file).parts
        if parts[2] not in ("latest", "exports"):
            folders.setdefault("/".join(parts[1:3]), set()).add("/".join(parts[3:]))
    owned = {job["result_folder"]: job for job in jobs if job["result_folder"]}
    for folder in folders.keys() - owned.keys():
        wrong.append(f"`outbox/{folder}` belongs to no job: {sorted(folders[folder])}")
    problems = root.tables.rows("SELECT job_id, count(*) AS many FROM problems GROUP BY job_id")
    problems = {row["job_id"]: row["many"] for row in problems}
    results = {}
    for job in jobs:
        files = folders.get(job["result_folder"], set())
        wanted = {"report.txt", "errors.csv", "result.json"} | ({"rejected.zip"} & files)
        if files != wanted:
            wrong.append(f"the results of job {job['id']} are {sorted(files)}")
            continue
        folder = root.path / "outbox" / job["result_folder"]
        data = (folder / "result.json").read_bytes()
        results.setdefault(job["account"], {}).setdefault(job["archive_name"], set()).add(data)
        check_result(wrong, job, json.loads(data), endings, problems.get(job["id"], 0))
        check_rejected(wrong, job, folder, endings.archive_of.get(job["id"]))
    for account, names in results.items():
        for name, wanted in names.items():
            latest = root.path / "outbox" / account / "latest" / f"{name.removesuffix('.zip')}.json"
            if not latest.is_file() or latest.read_bytes() not in wanted:
                wrong.append(f"`{latest.relative_to(root.path)}` is not there or is no result of `{name}`")


def check_result(wrong, job, result, endings, problems):
    id, ending, archive = job["id"], endings.of_job.get(job["id"]), endings.archive_of.get(job["id"])
    said = (result["job"], result["state"], result["account"], result["archive"]["name"])
    if said != (id, job["state"], job["account"], job["archive_name"]):
        wrong.append(f"the result of job {id} speaks of {said}")
    if len(result["problems"]) != problems:
        wrong.append(f"the result of job {id} has {len(result['problems'])} problems, the table {problems}")
    if ending is None:
        return
    if ending.state != "failed" and result["archive"]["sha256"] != archive.sha256:
        wrong.append(f"the result of job {id} has another hash than the file")
    event = result["event"]
    if ending.state in ("succeeded", "partial") and (event is None or event["id"] != job["event_id"]):
        wrong.append(f"the result of job {id} speaks of the event {event} and not of {job['event_id']}")
    if ending.state in ("duplicate", "failed"):
        for dataset, counts in result["datasets"].items():
            changed = {name: counts[name] for name in ("created", "updated", "gone") if counts[name]}
            if changed:
                wrong.append(f"the {ending.state} job {id} says that {dataset} were changed: {changed}")
        return
    for dataset in IN_RESULTS.values():
        found = {name: count for name, count in result["datasets"].get(dataset, {}).items() if count}
        wanted = ending.counts.get(dataset, {})
        if found != wanted:
            wrong.append(f"the result of job {id} counts {found} for {dataset} and not {wanted}")
    media = result["media"]
    if media["referenced"] != media["stored"] + media["missing"] + media["remote"]:
        wrong.append(f"the media of job {id} do not add up: {media}")
    wanted = collections.Counter(state for state, _ in archive.media.values())
    found = {state: media[state] for state in ("stored", "missing", "remote") if media[state]}
    if found != dict(wanted):
        wrong.append(f"the result of job {id} counts {found} media and not {dict(wanted)}")


def check_rejected(wrong, job, folder, archive):
    """What was left out has come back, whole."""
    path = folder / "rejected.zip"
    wanted = archive.rejected if archive and job["state"] == "partial" else set()
    found = set()
    if path.exists():
        with zipfile.ZipFile(path) as rejected:
            found = {str(record["id"]) for record in json.loads(rejected.read("sessions"))}
    if found != wanted:
        wrong.append(f"the rejected.zip of job {job['id']} holds the sessions {found} and not {wanted}")


def check_events(wrong, root, world):
    """Each record of each accepted archive is there exactly once, with the values that it was given last."""
    rows = root.tables.rows("SELECT id, account, source_id FROM events")
    found = collections.Counter((row["account"], row["source_id"]) for row in rows)
    for key in found.keys() | world.events.keys():
        if found[key] != (key in world.events):
            wrong.append(f"the event {key} is there {found[key]} times")
    events = {row["id"]: (row["account"], row["source_id"]) for row in rows}
    for dataset, value in VALUE.items():
        column = "id" if dataset == "events" else "event_id"
        sql = f"SELECT {column} AS event, source_id, {value} AS value, gone_at IS NOT NULL AS gone FROM {dataset}"
        there = collections.defaultdict(list)
        for row in root.tables.rows(sql):
            there[events.get(row["event"]), row["source_id"]].append([row["value"], bool(row["gone"])])
        wanted = {
            (key, id): record for key, kept in world.events.items() for id, record in kept.records[dataset].items()
        }
        compare(wrong, dataset, there, {key: [record] for key, record in wanted.items()})
    check_links(wrong, root, world, events)


def check_links(wrong, root, world, events):
    sql = (
        "SELECT s.event_id AS event, s.source_id AS session, p.source_id AS speaker FROM session_speakers l "
        "JOIN sessions s ON s.id = l.session_id JOIN speakers p ON p.id = l.speaker_id"
    )
    there = collections.defaultdict(list)
    for row in root.tables.rows(sql):
        there[events.get(row["event"]), row["session"]].append(row["speaker"])
    wanted = {(key, id): links for key, kept in world.events.items() for id, links in kept.links.items() if links}
    compare(wrong, "session_speakers", {key: sorted(links) for key, links in there.items()}, wanted)
    sql = (
        "SELECT u.event_id AS event, s.source_id AS session FROM unresolved_references u "
        "LEFT JOIN sessions s ON s.id = u.record_id AND u.dataset = 'sessions'"
    )
    there = collections.Counter((events.get(row["event"]), row["session"]) for row in root.tables.rows(sql))
    wanted = {(key, id): 1 for key, kept in world.events.items() for id in kept.dangling}
    compare(wrong, "unresolved_references", there, wanted)
    sql = (
        "SELECT event_id AS event, source_id AS session FROM sessions "
        "WHERE track_id IS NULL OR microlocation_id IS NULL OR session_type_id IS NULL"
    )
    there = collections.Counter((events.get(row["event"]), row["session"]) for row in root.tables.rows(sql))
    compare(wrong, "sessions without a track, a room or a type", there, wanted)


def check_media(wrong, root, world):
    """The rows are what the archives say, and the store has each file once under its hash and no other."""
    sql = (
        "SELECT m.dataset, m.field, m.state, m.sha256, m.bytes, e.account, e.source_id AS event, s.source_id FROM media m "
        "JOIN events e ON e.id = m.event_id LEFT JOIN speakers s ON s.id = m.record_id AND m.dataset = 'speakers'"
    )
    there = collections.defaultdict(list)
    for row in root.tables.rows(sql):
        key = (row["account"], row["event"]), (row["dataset"], row["source_id"], row["field"])
        there[key].append((row["state"], row["sha256"]))
    wanted = {(key, field): [media] for key, kept in world.events.items() for field, media in kept.media.items()}
    compare(wrong, "media", there, wanted)
    files = {f"media/{sha[:2]}/{sha}" for rows in wanted.values() for state, sha in rows if state == "stored"}
    stored = set(root.files("media"))
    for file in sorted(stored - files):
        wrong.append(f"`{file}` is used by nothing")
    for file in sorted(files - stored):
        wrong.append(f"`{file}` is not there")
    for file in stored & files:
        if hash_of(root.path / file) != pathlib.PurePath(file).name:
            wrong.append(f"`{file}` has other bytes")


def check_mails(wrong, root, jobs, exports, admin_was_told):
    """One mail and one notification per job, and one file per Message-ID."""
    rows = root.tables.rows("SELECT id, job_id, kind, state, message_id, recipient FROM mails")
    of_jobs = [row for row in rows if row["job_id"] and row["kind"] != "admin"]
    told = root.tables.rows("SELECT job_id FROM notifications WHERE job_id IS NOT NULL AND kind <> 'admin'")
    for what, found in (("mails", of_jobs), ("notifications", told)):
        count = collections.Counter(row["job_id"] for row in found)
        for job in count.keys() | {job["id"] for job in [*jobs, *exports]}:
            if count[job] != 1:
                wrong.append(f"job {job} has {count[job]} {what}")
    accounts = {job["id"]: job["account"] for job in jobs}
    for row in of_jobs:
        if row["state"] != "sent" or row["recipient"] != f"{accounts.get(row['job_id'], 'default')}@example.org":
            wrong.append(f"the mail of job {row['job_id']} is {row['state']} to {row['recipient']}")
    for row in rows:
        if row["kind"] == "admin" and not admin_was_told:
            wrong.append(f"the admin was told: {row}")
        elif row["state"] != "sent":
            wrong.append(f"a mail was not sent: {row}")
    written = collections.Counter()
    for file in root.files("mail"):
        mail = email.message_from_bytes((root.path / file).read_bytes(), policy=email.policy.default)
        written[str(mail["Message-ID"])] += 1
        if not file.endswith(".eml") or mail.get_body(("plain",)) is None:
            wrong.append(f"`{file}` is no whole mail")
    sent = collections.Counter(row["message_id"] for row in rows if row["state"] == "sent")
    compare(wrong, "mail files by Message-ID", written, dict(sent))


def check_left_over(wrong, root, dropped):
    """No folder of a job, no temporary, nothing that nobody has put there; nobody is connected."""
    for path in (root.path / "work").rglob("*"):
        if path.name != ".owners":
            wrong.append(f"`{path.relative_to(root.path)}` is left over")
    for path in root.path.rglob(".*"):
        if path.name not in (".owners", RESERVE):
            wrong.append(f"the temporary `{path.relative_to(root.path)}` is left over")
    allowed = IN_ROOT | (IN_ROOT_OF_SQLITE if hasattr(root.tables, "path") else set())
    for path in root.path.iterdir():
        if path.name not in allowed:
            wrong.append(f"`{path.name}` lies in the root")
    staying = [archive for archive in dropped if archive.kind == "unfinished"]
    arrivals = root.tables.rows("SELECT path FROM arrivals")
    if len(arrivals) > len(staying):
        wrong.append(f"{len(arrivals)} arrivals are remembered, {len(staying)} files are there")
    if hasattr(root.tables, "name"):
        sessions = root.tables.rows(
            "SELECT pid, query FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'eventferry'"
        )
        wrong += [f"somebody is still connected to the database: {session}" for session in sessions]


def check_deliveries(wrong, root, jobs, endings, told):
    """Each change has exactly one message, which was delivered under its id; nothing else was sent."""
    rows = root.tables.rows("SELECT message_id, type, subject, job_id, state FROM deliveries")
    if told is None:
        wrong += [f"{len(rows)} messages were made though nobody listens"] * bool(rows)
        return
    ids = {}
    for dataset in VALUE:
        column = "id" if dataset == "events" else "event_id"
        for row in root.tables.rows(f"SELECT id, {column} AS event, source_id FROM {dataset}"):
            subject = f"events/{row['event']}" + ("" if dataset == "events" else f"/{dataset}/{row['id']}")
            ids[row["event"], dataset, row["source_id"]] = subject
    found = collections.Counter((row["job_id"], row["type"], row["subject"]) for row in rows)
    wanted = {}
    for job in jobs:
        ending = endings.of_job.get(job["id"])
        for action, dataset, source_id in ending.changes if ending else ():
            subject = ids.get((job["event_id"], dataset, source_id), "no such record")
            wanted[job["id"], f"eventferry.{SINGULAR[dataset]}.{action}.v1", subject] = 1
        if ending:
            how = "failed" if ending.state in ("failed", "cancelled") else "finished"
            wanted[job["id"], f"eventferry.import.{how}.v1", f"jobs/{job['id']}"] = 1
    compare(wrong, "messages to handlers", found, wanted)
    for row in rows:
        if row["state"] != "delivered":
            wrong.append(f"a message is {row['state']}: {row}")
        if not told.get(row["message_id"]):
            wrong.append(f"the receiver has never seen {row}")
    for id in told.keys() - {row["message_id"] for row in rows}:
        wrong.append(f"the receiver was sent {id}, which is in no table")


def compare(wrong, what, found, wanted):
    for key in sorted(found.keys() | wanted.keys(), key=str):
        if found.get(key) != wanted.get(key):
            wrong.append(f"{what}, {key}: found {found.get(key)}, expected {wanted.get(key)}")


def hash_of(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()
