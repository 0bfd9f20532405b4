"""When people mean: a local wall time and a zone, or an instant, turned into one instant."""

import re
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from core.errors import Fault, InvalidInput
from core.zones import is_zone
from tenants.posts.schemas import TIME, Schedule

PAST_GRACE = timedelta(seconds=60)
"""A time this little in the past means now: requests take a while to arrive."""
FORM = re.compile(TIME)
AHEAD_MAX = timedelta(days=2 * 366)


class Due(NamedTuple):
    """The instant, and what people said."""

    at: datetime
    local: str | None
    time_zone: str | None


def _refuse(code: str, detail: str, pointer: str = "/schedule/at") -> InvalidInput:
    return InvalidInput(code=code, faults=[Fault(pointer, code, detail)])


def local_to_instant(local: datetime, zone: ZoneInfo) -> datetime:
    """Turn a wall time into an instant: one in a gap moves forward by the gap, one in a fold means the first."""
    return local.replace(tzinfo=zone, fold=0).astimezone(UTC)


def read_schedule(schedule: Schedule | Literal["now"], workspace_zone: str, now: datetime) -> Due:
    """Read a schedule. Raises InvalidInput: naive_instant, unknown_time_zone, in_the_past, too_far_ahead."""
    if schedule == "now":
        return Due(now, None, workspace_zone)
    zone = None
    if schedule.time_zone is not None:
        if not is_zone(schedule.time_zone):
            raise _refuse("unknown_time_zone", "An IANA time zone is wanted.", "/schedule/time_zone")
        zone = ZoneInfo(schedule.time_zone)
    if not FORM.fullmatch(schedule.at):
        raise _refuse("validation_failed", "An RFC 3339 date and time is wanted.")
    try:
        given = datetime.fromisoformat(schedule.at.replace("z", "Z").replace("t", "T"))
    except ValueError as error:
        raise _refuse("validation_failed", "An RFC 3339 date and time is wanted.") from error
    try:
        if given.tzinfo is not None:
            at = given.astimezone(UTC)
            local = at.astimezone(zone).replace(tzinfo=None).isoformat() if zone else None
        elif zone is not None:
            at, local = local_to_instant(given, zone), given.isoformat()
        else:
            raise _refuse("naive_instant", "Give an offset from UTC, or a time_zone beside the local time.")
    except OverflowError as error:
        raise _refuse("too_far_ahead", "The time is out of range.") from error
    if at < now - PAST_GRACE:
        raise _refuse("in_the_past", "The time has passed.")
    if at > now + AHEAD_MAX:
        raise _refuse("too_far_ahead", f"At most {AHEAD_MAX.days} days ahead.")
    return Due(max(at, now), local, schedule.time_zone)
