// A Bluesky network for tests, on loopback alone: a PLC directory in memory and the reference PDS on disk.
//   PACKAGES=/tmp/octavo-real DATA=/tmp/pds PLC_PORT=2582 PDS_PORT=2583 /tmp/octavo-real/node pds.mjs
// Prints one line, READY and JSON, when both answer; SIGTERM ends both.
import { mkdirSync } from 'node:fs'
import { Server } from 'node:net'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const { PACKAGES, DATA, PLC_PORT, PDS_PORT, RATE_LIMITS } = process.env
const LOOPBACK = '127.0.0.1'

// both servers listen by port number alone, which would open every interface of the machine
const openListen = Server.prototype.listen
Server.prototype.listen = function listen(first, ...rest) {
  if (typeof first !== 'number') return openListen.call(this, first, ...rest)
  return openListen.call(this, { port: first, host: LOOPBACK }, rest.find((one) => typeof one === 'function'))
}

const fromPackages = (path) => import(pathToFileURL(join(PACKAGES, 'node_modules', path)).href)
const { PDS } = await fromPackages('@atproto/pds/dist/index.js')
const plcModule = await fromPackages('@did-plc/server/dist/index.js')
const { PlcServer, Database } = plcModule.PlcServer ? plcModule : plcModule.default

const blobs = join(DATA, 'blobs')
mkdirSync(blobs, { recursive: true })

const plc = PlcServer.create({ db: Database.mock(), port: Number(PLC_PORT) })
await plc.start()

const nowhere = { url: 'https://nowhere.invalid', did: 'did:example:nowhere' }
const pds = await PDS.fromEnv({
  hostname: 'localhost',
  port: Number(PDS_PORT),
  devMode: true, // lets the server call itself http://localhost
  disableSsrfProtection: true, // lets it reach the PLC directory on loopback
  dataDirectory: DATA,
  blobstoreDiskLocation: blobs,
  blobUploadLimit: 5_000_000,
  didPlcUrl: `http://localhost:${PLC_PORT}`,
  serviceHandleDomains: ['.test'],
  inviteRequired: false,
  enableDidDocWithSession: true, // as at bsky.social: a session says which server is the account's own
  rateLimitsEnabled: RATE_LIMITS === '1',
  jwtSecret: 'only for tests, signs session tokens',
  adminPassword: 'only-for-tests',
  plcRotationKeyK256PrivateKeyHex: '42'.repeat(32),
  bskyAppViewUrl: nowhere.url,
  bskyAppViewDid: nowhere.did,
  modServiceUrl: nowhere.url,
  modServiceDid: nowhere.did,
})
await pds.start()

const stop = async () => {
  await pds.destroy()
  await plc.destroy()
  process.exit(0)
}
process.once('SIGTERM', stop)
process.once('SIGINT', stop)
console.log('READY ' + JSON.stringify({ url: `http://localhost:${PDS_PORT}`, plcUrl: `http://localhost:${PLC_PORT}` }))
