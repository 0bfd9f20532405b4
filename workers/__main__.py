"""`python -m workers worker|scheduler`."""

import sys

from workers.main import main

if len(sys.argv) != 2 or sys.argv[1] not in {"worker", "scheduler"}:
    sys.exit("usage: python -m workers worker|scheduler")
main(sys.argv[1])
