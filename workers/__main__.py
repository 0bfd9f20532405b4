"""`python -m workers worker|scheduler|all`."""

import sys

from core import garbage

if len(sys.argv) != 2 or sys.argv[1] not in {"worker", "scheduler", "all"}:
    sys.exit("usage: python -m workers worker|scheduler|all")
garbage.hold()

from workers.main import main  # noqa: E402  # after `hold`

main(sys.argv[1])
