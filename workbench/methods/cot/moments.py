"""Dates and times of day as they are written in answers. A spelling that people read in two ways (7/4/1776) is none."""

from __future__ import annotations

import re

MONTH_NAMES = "january february march april may june july august september october november december"
MONTHS = MONTH_NAMES.split()
_MONTH = "(?P<month>" + "|".join(f"{name[:3]}(?:{name[3:]})?\\.?" for name in MONTHS) + r"|sept\.?)"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_YEAR = r"(?P<year>\d{3,4})"
DATES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"(?:on )?(?:the )?{_MONTH} {_DAY}(?:,? {_YEAR})?",
        rf"(?:on )?(?:the )?{_DAY} (?:of )?{_MONTH}(?:,? {_YEAR})?",
        rf"(?:in )?{_MONTH},? {_YEAR}",
        r"(?P<year>\d{4})-(?P<month>\d{2})-(?P<day>\d{2})",
    )
)
TIME = re.compile(
    r"(?:at )?(?P<hour>\d{1,2})(?::(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d))?)?"
    r" ?(?P<half>[ap]\.?m\b\.?)?(?P<clock> ?o'clock)?",
    re.IGNORECASE,
)


def date(text: str) -> str | None:
    """A date as year-month-day, with ? for what is not said. None for any other text."""
    for form in DATES:
        if found := form.fullmatch(text):
            parts = found.groupdict()
            name = parts["month"].lower().rstrip(".")
            month = int(name) if name.isdigit() else 1 + [one[:3] for one in MONTHS].index(name[:3])
            day = int(parts.get("day") or 0)
            if not 1 <= month <= 12 or day > 31 or (parts.get("day") and not day):
                return None
            year = parts["year"] or "?"
            return f"{year}-{month:02d}-{f'{day:02d}' if day else '?'}"
    return None


def time_of_day(text: str) -> str | None:
    """A time of day as hour:minute of 24, or of 12 with "?" where it does not say which half. None for any other."""
    if text.lower() in ("noon", "midnight"):
        return "12:00" if text.lower() == "noon" else "0:00"
    found = TIME.fullmatch(text)
    if not found or not (found["minute"] or found["half"] or found["clock"]):
        return None
    hour = int(found["hour"])
    rest = f"{found['minute'] or '00'}" + (f":{found['second']}" if found["second"] else "")
    if found["half"]:
        if not 1 <= hour <= 12:
            return None
        return f"{hour % 12 + (12 if found['half'].lower().startswith('p') else 0)}:{rest}"
    if hour > 24:
        return None
    sure = hour == 0 or hour > 12 or found["hour"].startswith("0")
    return f"{hour}:{rest}" + ("" if sure else " ?")
