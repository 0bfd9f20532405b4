"""The time zones of IANA, read once: `zoneinfo.available_timezones` walks six hundred files at each call."""

from functools import lru_cache
from zoneinfo import available_timezones


@lru_cache(maxsize=1)
def _known() -> frozenset[str]:
    return frozenset(available_timezones()) - {"localtime", "Factory", "posixrules"}  # these mean another thing on each host


def is_zone(name: str) -> bool:
    """Say whether `name` is an IANA time zone or one of its aliases."""
    return name in _known()
