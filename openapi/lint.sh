#!/bin/bash
# Judge the published document by Spectral (OpenAPI, OWASP's rules and our own) and by Redocly. One warning is too many.
#   bash openapi/lint.sh FOLDER [DOCUMENT]     FOLDER is that of install-tools.sh
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
folder=$(realpath "${1:?usage: lint.sh FOLDER [DOCUMENT]}")
document=$(realpath "${2:-$here/openapi.json}")
# Rulesets are found beside the file that names them, so the tools work on a copy in their own folder.
work=$(mktemp -d "$folder/lint-XXXXXX")
trap 'rm -rf "$work"' EXIT
cp "$here/.spectral.yaml" "$here/redocly.yaml" "$work"
cp "$document" "$work/openapi.json"
cd "$work"
export NO_COLOR=1 REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true

found=0
"$folder/node" "$folder/node_modules/.bin/spectral" lint --ruleset .spectral.yaml --fail-severity hint --display-only-failures openapi.json || found=1
"$folder/node" "$folder/node_modules/.bin/redocly" lint --config redocly.yaml --format stylish --max-problems 200 openapi.json >redocly.txt 2>&1 || found=1
cat redocly.txt
if grep -qE '^[^a-z]*(⚠|.*[1-9][0-9]* warning)' redocly.txt; then found=1; fi
exit "$found"
