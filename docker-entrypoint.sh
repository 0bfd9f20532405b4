#!/bin/sh
# One image, one word: which part of Octavo this container is. `exec`, so that signals reach Python itself.
set -eu

case "${1:-}" in
    api) exec python -m api ;;
    worker | scheduler | all) exec python -m workers "$1" ;;
    migrate) exec python -m migrations ;;
    tenants) shift && exec python -m tenants "$@" ;;
    alive)
        # The API answers only to its own host names; the first of them is used here.
        exec python -c '
import http.client, os
name = os.environ.get("OCTAVO_ALLOWED_HOSTS", "*").split(",")[0].strip().replace("*", "health")
link = http.client.HTTPConnection("127.0.0.1", int(os.environ.get("OCTAVO_PORT", "8000")), timeout=4)
link.request("GET", "/livez", headers={"Host": name})
raise SystemExit(link.getresponse().status != 200)'
        ;;
    *)
        echo "say which part: api | worker | scheduler | all | migrate | tenants ARGUMENTS | alive" >&2
        exit 64
        ;;
esac
