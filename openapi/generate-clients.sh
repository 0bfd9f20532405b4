#!/bin/bash
# Generate the Python and the TypeScript client from the published document. What comes out is never mended by hand.
#   bash openapi/generate-clients.sh TOOLS CLIENTS [DOCUMENT]     TOOLS is the folder of install-tools.sh
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
tools=$(realpath "${1:?usage: generate-clients.sh TOOLS CLIENTS [DOCUMENT]}")
clients=$(realpath -m "${2:?usage: generate-clients.sh TOOLS CLIENTS [DOCUMENT]}")
document=$(realpath "${3:-$here/openapi.json}")
export PATH="$tools/python/bin:$PATH" NO_COLOR=1 # openapi-python-client calls ruff by its name

mkdir -p "$clients"
rm -rf "$clients/python" "$clients/typescript"
"$tools/python/bin/openapi-python-client" generate --fail-on-warning --overwrite \
  --path "$document" --config "$here/python-client.yaml" --output-path "$clients/python"

cd "$tools" # openapi-ts looks for typescript from where it runs
./node node_modules/.bin/openapi-ts --silent --no-log-file --input "$document" --output "$clients/typescript/src" --client @hey-api/client-fetch
cp "$here/typescript-client.tsconfig.json" "$clients/typescript/tsconfig.json"
./node node_modules/.bin/tsc --project "$clients/typescript/tsconfig.json" --typeRoots "$tools/node_modules/@types"
echo '{"name": "octavo-client", "version": "1.0.0", "private": true, "type": "commonjs", "main": "dist/index.js"}' >"$clients/typescript/package.json"
echo "generated: $clients"
