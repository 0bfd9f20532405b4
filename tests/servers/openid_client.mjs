// openid-client, the certified client, driven a step at a time: one JSON object a line in, one out.
//   PACKAGES=/tmp/octavo-real /tmp/octavo-real/node openid_client.mjs
import { createInterface } from 'node:readline'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const entry = join(process.env.PACKAGES, 'node_modules/openid-client/build/index.js')
const client = await import(pathToFileURL(entry).href)
const insecure = { execute: [client.allowInsecureRequests], algorithm: 'oauth2' } // loopback has no certificate
const configs = {}
const flow = {}

const steps = {
  async discover({ name, issuer, id, secret, signed }) {
    const metadata = signed ? { introspection_signed_response_alg: 'ES256' } : undefined
    const way = secret ? client.ClientSecretBasic(secret) : client.None()
    configs[name] = await client.discovery(new URL(issuer), id, metadata, way, insecure)
    if (signed) client.enableNonRepudiationChecks(configs[name])
    const server = configs[name].serverMetadata()
    return { issuer: server.issuer, pkce: server.supportsPKCE(), iss: server.authorization_response_iss_parameter_supported }
  },
  async url({ name, redirect_uri, scope, pushed }) {
    flow.verifier = client.randomPKCECodeVerifier()
    flow.state = client.randomState()
    const parameters = {
      redirect_uri, scope, state: flow.state, code_challenge_method: 'S256',
      code_challenge: await client.calculatePKCECodeChallenge(flow.verifier),
    }
    const build = pushed ? client.buildAuthorizationUrlWithPAR : client.buildAuthorizationUrl
    return { url: (await build(configs[name], parameters)).href }
  },
  code: ({ name, callback }) => client.authorizationCodeGrant(configs[name], new URL(callback), {
    pkceCodeVerifier: flow.verifier, expectedState: flow.state,
  }),
  refresh: ({ name, token }) => client.refreshTokenGrant(configs[name], token),
  alone: ({ name, scope }) => client.clientCredentialsGrant(configs[name], { scope }),
  introspect: ({ name, token }) => client.tokenIntrospection(configs[name], token),
  revoke: async ({ name, token }) => (await client.tokenRevocation(configs[name], token)) ?? {},
  async fetch({ name, url, token }) {
    const answer = await client.fetchProtectedResource(configs[name], token, new URL(url), 'GET')
    return { status: answer.status }
  },
}

for await (const line of createInterface({ input: process.stdin })) {
  const { step, ...more } = JSON.parse(line)
  let told
  try {
    told = { ok: await steps[step](more) }
  } catch (error) {
    told = { error: error.error ?? error.code ?? error.message, detail: String(error.cause?.message ?? error.message) }
  }
  process.stdout.write(`${JSON.stringify(told)}\n`)
}
