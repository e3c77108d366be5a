"""Reads a calendar from standard input and prints its events as JSON, with begin and end in UTC.

Every zone is given a name that no database knows, so that only the calendar's own rules can explain it.
"""

import json
import re
import sys
from datetime import timezone

import icalendar

text = sys.stdin.buffer.read().decode("utf-8")
text = re.sub(r"TZID([:=])([A-Za-z_+-]+/)?([A-Za-z_+-]+)", r"TZID\1Only-here-\3", text)
calendar = icalendar.Calendar.from_ical(text)
events = []
for event in calendar.walk("VEVENT"):
    categories = event.get("CATEGORIES")
    start = event.decoded("DTSTART")
    end = event.decoded("DTEND") if "DTEND" in event else start
    assert start.tzinfo is not None and end.tzinfo is not None, start
    errors = [str(error) for error in event.errors]
    assert not errors, errors
    events.append({
        "uid": str(event["UID"]),
        "start": start.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "end": end.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "zone": str(start.tzinfo),
        "summary": str(event["SUMMARY"]),
        "location": str(event.get("LOCATION", "")),
        "description": str(event.get("DESCRIPTION", "")),
        "categories": [str(category) for category in categories.cats] if categories else [],
        "sequence": int(event["SEQUENCE"]),
        "stamp": event.decoded("DTSTAMP").strftime("%Y-%m-%dT%H:%M:%SZ"),
        "status": str(event["STATUS"]),
    })
zones = sum(1 for _ in calendar.walk("VTIMEZONE"))
print(json.dumps({"name": str(calendar["X-WR-CALNAME"]), "zones": zones, "events": events}))
