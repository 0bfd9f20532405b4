// An OpenID provider for tests, on loopback alone: oidc-provider, with its development pages, where any login is taken.
//   PACKAGES=/tmp/octavo-real PORT=4710 REDIRECT_URIS=http://127.0.0.1:8000/v1/x /tmp/octavo-real/node oidc.mjs
// Prints one line, READY and JSON, when it answers; SIGTERM ends it.
import { createServer } from 'node:http'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const { PACKAGES, PORT, REDIRECT_URIS = 'http://127.0.0.1:9/callback' } = process.env
const LOOPBACK = '127.0.0.1'
const issuer = `http://${LOOPBACK}:${PORT}`
const client = { client_id: 'octavo-tests', client_secret: 'only-for-tests' }

const entry = join(PACKAGES, 'node_modules/oidc-provider/lib/index.js')
const { default: Provider } = await import(pathToFileURL(entry).href)

const person = (subject) => ({
  accountId: subject,
  claims: () => ({
    sub: subject,
    name: subject,
    email: subject.includes('@') ? subject : `${subject}@agency.test`,
    email_verified: !subject.startsWith('unverified'),
  }),
})

const provider = new Provider(issuer, {
  clients: [
    {
      ...client,
      redirect_uris: REDIRECT_URIS.split(','),
      grant_types: ['authorization_code', 'refresh_token'],
      token_endpoint_auth_method: 'client_secret_basic',
    },
  ],
  claims: { openid: ['sub'], profile: ['name'], email: ['email', 'email_verified'] },
  findAccount: (_context, subject) => person(subject),
  pkce: { required: () => true },
  features: { devInteractions: { enabled: true }, revocation: { enabled: true } },
})

const server = createServer(provider.callback()).listen(Number(PORT), LOOPBACK, () => {
  console.log('READY ' + JSON.stringify({ issuer, ...client }))
})
process.once('SIGTERM', () => {
  server.closeAllConnections()
  server.close(() => process.exit(0))
})
