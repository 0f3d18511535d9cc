// What the clients in JavaScript share: named cases, printed as compat/run counts them.
//
// A client's file declares its cases with `test('flow: what of it', async () => …)` and ends in `await main(version)`. They
// run in the order in which they are written and may build on one another. Endpoint and folder are in $S3 and $WORK.

import { randomBytes, randomInt } from 'node:crypto'

export const S3 = process.env.S3
export const WORK = process.env.WORK
export const KEY = process.env.AWS_ACCESS_KEY_ID
export const SECRET = process.env.AWS_SECRET_ACCESS_KEY
export const REGION = process.env.AWS_DEFAULT_REGION
export const noise = randomBytes

/** A name that no other run has. */
export const bucket = (client) => `${client}-compat-${randomInt(10 ** 9)}`

const tests = []
export const test = (name, run) => tests.push([name, run])

/** Compares values as JSON writes them, and bodies byte by byte, of which it prints only where they differ. */
export function equal(found, expected, what = '') {
  if (found instanceof Uint8Array && expected instanceof Uint8Array) {
    if (Buffer.compare(found, expected) === 0) return
    const at = found.findIndex((byte, i) => byte !== expected[i])
    throw new Error(`${what}: ${found.length} bytes, expected ${expected.length}; they differ at ${at}`)
  }
  const [a, b] = [found, expected].map((value) => JSON.stringify(value))
  if (a !== b) throw new Error(`${what}: found ${a}, expected ${b}`)
}

/** Awaits what has to fail with that error code or name, and returns the error. */
export async function refused(code, promise) {
  let found
  try {
    await promise
  } catch (error) {
    if ([error.code, error.Code, error.name].includes(code)) return error
    found = error
  }
  throw new Error(found ? `refused with ${found.code ?? found.name} (${found.message}), expected ${code}` : `was not refused with ${code}`)
}

/** All bytes of a stream of Node's. */
export async function bytes(stream) {
  const chunks = []
  for await (const chunk of stream) chunks.push(chunk)
  return Buffer.concat(chunks)
}

export async function main(version) {
  console.log(`version ${version}`)
  let failed = 0
  for (const [name, run] of tests) {
    try {
      await run()
      console.log(`ok ${name}`)
    } catch (error) {
      failed = 1
      console.log(`FAILED ${name}\n    ${String(error.stack).replaceAll('\n', '\n    ')}`)
    }
  }
  process.exit(failed)
}
