"""Archives of made-up events, and what must be in the tables after they were imported.

What is expected is computed here from what was put into the archives and from the rules in `docs/`, in no other way.
"""

import copy
import dataclasses
import hashlib
import io
import json
import zipfile

ROOT_URL = "https://events.example.org"

# The column by which each dataset's records are compared, beside their source id.
VALUE = {
    "events": "location_name",
    "microlocations": "name",
    "sponsors": "name",
    "speakers": "name",
    "tracks": "name",
    "session_types": "name",
    "sessions": "title",
}

# The name of each table's dataset in result files.
IN_RESULTS = {"events": "event", **{name: name for name in VALUE if name != "events"}}


@dataclasses.dataclass
class Archive:
    """A file for the inbox, and what is in it."""

    name: str
    account: str
    data: bytes
    # "whole", "dirty" (partly bad), "refused" (nothing of it can be imported), "unfinished" (stays in the inbox)
    kind: str
    event: str = ""
    # dataset → source id → value; only what is good.
    records: dict = dataclasses.field(default_factory=dict)
    # Sessions that are there and cannot be imported.
    rejected: set = dataclasses.field(default_factory=set)
    # session → its speakers
    links: dict = dataclasses.field(default_factory=dict)
    # (dataset, source id, field) → (state, SHA-256 or None)
    media: dict = dataclasses.field(default_factory=dict)
    # Sessions with a track that nobody knows.
    dangling: set = dataclasses.field(default_factory=set)

    @property
    def sha256(self):
        return hashlib.sha256(self.data).hexdigest()


class Event:
    """An event that grows and changes from one archive to the next."""

    def __init__(self, chance, number, account, size):
        self.chance = chance
        self.source_id = str(number)
        self.account = account
        self.version = 0
        sessions = max(4, size)
        self.next_id = sessions + 1
        self.speakers = {str(id): self._speaker(id) for id in range(1, max(3, size // 6) + 1)}
        self.sponsors = {str(id): f"Sponsor {id}" for id in range(1, 6)}
        self.tracks = {str(id): f"Track {id}" for id in range(1, 5)}
        self.rooms = {str(id): f"Room {id}" for id in range(1, 4)}
        self.types = {str(id): f"Type {id}" for id in range(1, 3)}
        self.sessions = {str(id): self._session(id) for id in range(1, sessions + 1)}
        self.dangling = set()

    def _speaker(self, id):
        # Several have the same picture, some none that is there, some one that lies elsewhere.
        picture = self.chance.choice(["own", "own", "shared", "shared", "missing", "remote", "none"])
        return {"name": f"Speaker {id}", "picture": picture, "drawn": self.version}

    def _session(self, id):
        speakers = self.chance.sample(sorted(self.speakers), self.chance.randint(0, min(3, len(self.speakers))))
        return {"title": f"Session {id}", "speakers": sorted(speakers), "track": self.chance.choice(sorted(self.tracks))}

    def change(self):
        """Becomes what the next archive of it says."""
        self.version += 1
        for id in self.chance.sample(sorted(self.sessions), len(self.sessions) // 3):
            self.sessions[id]["title"] = f"Session {id}, version {self.version}"
        for id in self.chance.sample(sorted(self.speakers), max(1, len(self.speakers) // 3)):
            self.speakers[id].update(name=f"Speaker {id}, version {self.version}", drawn=self.version)
        gone = self.chance.sample(sorted(self.sessions), min(2, len(self.sessions) - 2))
        for id in gone:
            del self.sessions[id]
        for _ in range(self.chance.randint(0, 3)):
            self.sessions[str(self.next_id)] = self._session(self.next_id)
            self.next_id += 1
        self.sponsors.pop(self.chance.choice(sorted(self.sponsors)) if len(self.sponsors) > 2 else None, None)
        self.dangling &= self.sessions.keys()

    def archive(self, name, is_dirty=False):
        """An archive of what it says now."""
        made = Archive(name, self.account, b"", "dirty" if is_dirty else "whole", event=self.source_id)
        files = {"meta": json.dumps({"root_url": ROOT_URL})}
        pictures = {}
        place = f"Harbour, version {self.version}"
        made.records["events"] = {self.source_id: place}
        files["event"] = json.dumps({
            "id": int(self.source_id),
            "name": f"Conference {self.source_id}",
            "location_name": place,
            "starts_at": "2026-05-04T09:00:00+02:00",
            "ends_at": "2026-05-05T18:00:00+02:00",
            "timezone": "Europe/Berlin",
        })
        for dataset, records in (("microlocations", self.rooms), ("tracks", self.tracks), ("session_types", self.types)):
            made.records[dataset] = dict(records)
            files[dataset] = json.dumps([{"id": int(id), "name": value} for id, value in records.items()])
        files["speakers"] = json.dumps([self._write_speaker(id, made, pictures) for id in self.speakers])
        sponsors = json.dumps([{"id": int(id), "name": value} for id, value in self.sponsors.items()])
        if is_dirty:
            # No JSON to its end: the whole file counts as not there.
            files["sponsors"] = sponsors[:-1] + ' {"id": }]'
            self.dangling |= set(self.chance.sample(sorted(self.sessions), 1))
            made.rejected = set(self.chance.sample(sorted(self.sessions.keys() - self.dangling), 2))
        else:
            files["sponsors"] = sponsors
            made.records["sponsors"] = dict(self.sponsors)
        made.dangling = set(self.dangling)
        made.records["sessions"] = {}
        files["sessions"] = json.dumps([self._write_session(id, made) for id in self.sessions])
        damaged = None
        if is_dirty:
            own = [key for key, (state, _) in made.media.items() if state == "stored" and "own-" in pictures_of(key, self)]
            if own:
                key = self.chance.choice(own)
                damaged = pictures_of(key, self)
                made.media[key] = ("missing", None)
        made.data = zipped(self.chance, files, pictures, damaged)
        return made

    def _write_speaker(self, id, made, pictures):
        speaker = self.speakers[id]
        made.records.setdefault("speakers", {})[id] = speaker["name"]
        written = {"id": int(id), "name": speaker["name"], "short_biography": f"About {speaker['name']}. " * 10}
        kind = speaker["picture"]
        if kind == "none":
            return written
        path = picture_path(self, id)
        written["photo_url"] = path
        key = ("speakers", id, "photo_url")
        if kind == "remote":
            made.media[key] = ("remote", None)
        elif kind == "missing":
            made.media[key] = ("missing", None)
        else:
            pictures[path] = picture(path, 3_000 if kind == "own" else 6_000)
            made.media[key] = ("stored", hashlib.sha256(pictures[path]).hexdigest())
        return written

    def _write_session(self, id, made):
        session = self.sessions[id]
        written = {
            "id": int(id),
            "title": session["title"],
            "short_abstract": f"What {session['title']} is about. " * 5,
            "starts_at": f"2026-05-04T{9 + int(id) % 9:02}:00:00+02:00",
            "ends_at": f"2026-05-04T{9 + int(id) % 9:02}:45:00+02:00",
            "track_id": 9999 if id in self.dangling else int(session["track"]),
            "microlocation_id": 1 + int(id) % 3,
            "session_type_id": 1 + int(id) % 2,
            "speaker_ids": [int(speaker) for speaker in session["speakers"]],
        }
        if id in made.rejected:
            written["title"] = None
        else:
            made.records["sessions"][id] = session["title"]
            made.links[id] = list(session["speakers"])
        return written


def picture_path(event, id):
    speaker = event.speakers[id]
    return {
        "own": f"/images/speakers/own-{event.source_id}-{id}-{speaker['drawn']}.png",
        "shared": f"/images/speakers/shared-{int(id) % 3}.png",
        "missing": f"/images/speakers/nowhere-{id}.png",
        "remote": f"https://pictures.example.org/{id}-{speaker['drawn']}.png",
    }[speaker["picture"]]


def pictures_of(key, event):
    return picture_path(event, key[1])


def picture(path, size):
    """Bytes that depend on the path alone and cannot be packed."""
    return b"".join(hashlib.sha256(f"{path}/{part}".encode()).digest() for part in range(size // 32))


def zipped(chance, files, pictures, damaged=None):
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w") as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name), text, zipfile.ZIP_DEFLATED)
        for path, data in pictures.items():
            archive.writestr(zipfile.ZipInfo(path.lstrip("/")), data, zipfile.ZIP_STORED)
        # No two archives have the same bytes by chance.
        archive.comment = f"{chance.getrandbits(64):016x}".encode()
    data = bytearray(output.getvalue())
    if damaged:
        at = data.index(pictures[damaged])
        data[at + 100] ^= 0xFF
    return bytes(data)


def no_zip(chance, name, account):
    return Archive(name, account, f"<html>{chance.getrandbits(64)}</html>\n".encode() * 50, "refused")


def no_event(chance, name, account):
    """A whole zip in which the event cannot be read."""
    files = {"event": '{"id": 1, "name": ', "tracks": '[{"id": 1, "name": "Lost"}]'}
    return Archive(name, account, zipped(chance, files, {}), "refused")


def damaged_sessions(chance, name, account, number):
    """A whole zip whose data do not match their checksum, the event included."""
    made = Event(chance, number, account, 5).archive(name)
    data = bytearray(made.data)
    with zipfile.ZipFile(io.BytesIO(made.data)) as archive:
        entry = archive.getinfo("event")
        start = entry.header_offset + 30 + len(entry.filename)
        data[start + entry.compress_size // 2] ^= 0x01
    return Archive(name, account, bytes(data), "refused")


def unfinished(chance, name, account, number):
    """The first half of an upload that never goes on."""
    data = Event(chance, number, account, 20).archive(name).data
    return Archive(name, account, data[: len(data) // 2], "unfinished")


@dataclasses.dataclass
class Ending:
    """What must have become of an archive."""

    state: str
    # dataset as in results → {"created": …}; only what is not 0.
    counts: dict = dataclasses.field(default_factory=dict)
    # (action, dataset, source id)
    changes: set = dataclasses.field(default_factory=set)


@dataclasses.dataclass
class Kept:
    """What must be in the tables of one event."""

    last_sha256: str = ""
    # dataset → source id → [value, is it gone]
    records: dict = dataclasses.field(default_factory=lambda: {dataset: {} for dataset in VALUE})
    links: dict = dataclasses.field(default_factory=dict)
    media: dict = dataclasses.field(default_factory=dict)
    dangling: set = dataclasses.field(default_factory=set)
    # What of each record was given last, so that only a real change counts.
    given: dict = dataclasses.field(default_factory=dict)


class World:
    """What must be in the database after archives were imported in an order."""

    def __init__(self):
        # (account, source id of the event) → Kept
        self.events = {}

    def take(self, archive):
        """Imports an archive, as far as the promise goes, and says what must have become of it."""
        if archive.kind == "refused":
            return Ending("failed")
        kept = self.events.setdefault((archive.account, archive.event), Kept())
        if kept.last_sha256 == archive.sha256:
            return Ending("duplicate")
        kept.last_sha256 = archive.sha256
        ending = Ending("partial" if archive.kind == "dirty" else "succeeded")
        for dataset, records in archive.records.items():
            counts = self._take_dataset(kept, archive, dataset, records, ending)
            ending.counts[IN_RESULTS[dataset]] = {name: count for name, count in counts.items() if count}
        for session, speakers in archive.links.items():
            kept.links[session] = list(speakers)
        touched = {(dataset, id) for _, dataset, id in ending.changes}
        for field, media in archive.media.items():
            # A picture that is damaged in an archive which says nothing else of its record is kept as it was.
            is_touched = field[:2] in touched
            if is_touched or media[0] != "missing":
                kept.media[field] = media
        kept.dangling -= archive.records["sessions"].keys()
        kept.dangling |= archive.dangling
        return ending

    @staticmethod
    def _take_dataset(kept, archive, dataset, records, ending):
        table = kept.records[dataset]
        counts = dict.fromkeys(("read", "created", "updated", "unchanged", "rejected", "gone"), 0)
        for id, value in records.items():
            given = (value,)
            if dataset == "sessions":
                given = (value, tuple(archive.links[id]), id in archive.dangling)
            before = table.get(id)
            if before is None:
                action = "created"
            elif before[1] or kept.given[dataset, id] != given:
                action = "updated"
            else:
                action = "unchanged"
            table[id] = [value, False]
            kept.given[dataset, id] = given
            counts["read"] += 1
            counts[action] += 1
            if action != "unchanged":
                ending.changes.add((action, dataset, id))
        rejected = archive.rejected if dataset == "sessions" else set()
        counts["read"] += len(rejected)
        counts["rejected"] += len(rejected)
        for id, record in table.items():
            if dataset != "events" and not record[1] and id not in records and id not in rejected:
                record[1] = True
                counts["gone"] += 1
                ending.changes.add(("gone", dataset, id))
        return counts


class Stream:
    """Archives as people drop them: new events, changes, duplicates, dirt, rubbish, now and then a large one."""

    KINDS = ("new",) * 4 + ("change",) * 5 + ("dirty",) * 4 + ("again",) * 2 + ("no zip", "no event", "damaged", "unfinished")

    def __init__(self, chance, accounts, first_number=1, kinds=KINDS, large=2_000):
        self.chance = chance
        self.kinds = kinds
        # Whether dirt also comes into events that are there.
        self.changes = "change" in kinds
        self.large = large
        self.accounts = accounts
        self.number = first_number
        self.events = []
        self.dropped = []

    def next(self, kind=None):
        kind = kind or self.chance.choice(self.kinds)
        if not self.events and kind in ("change", "again"):
            kind = "new"
        account = self.chance.choice(self.accounts)
        self.number += 1
        name = f"drop-{self.number:05}.zip"
        if kind == "no zip":
            made = no_zip(self.chance, name, account)
        elif kind == "no event":
            made = no_event(self.chance, name, account)
        elif kind == "damaged":
            made = damaged_sessions(self.chance, name, account, self.number)
        elif kind == "unfinished":
            made = unfinished(self.chance, name, account, self.number)
        elif kind == "again":
            made = copy.copy(self.chance.choice([one for one in self.dropped if one.event]))
            made.name = name
        else:
            made = self._of_event(kind, name, account)
        self.dropped.append(made)
        return made

    def _of_event(self, kind, name, account):
        is_new = kind in ("new", "large") or not self.events or (kind == "dirty" and (not self.changes or self.chance.random() < 0.5))
        if is_new:
            size = self.large if kind == "large" else self.chance.randint(10, 120)
            event = Event(self.chance, self.number, account, size)
            self.events.append(event)
        else:
            event = self.chance.choice(self.events)
            event.change()
        return event.archive(name, is_dirty=kind == "dirty")
