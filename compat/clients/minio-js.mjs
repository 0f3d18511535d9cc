// client: minio-js
// needs: apt nodejs:node
// needs: apt npm
// needs: npm minio@8.0.7
// MinIO's client for JavaScript. It asks for a bucket's location first, and sends bodies over plain HTTP with a signed SHA-256.

import { readFile, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { Readable } from 'node:stream'
import * as minio from 'minio'
import { KEY, S3, SECRET, WORK, bucket, bytes, equal, main, noise, refused, test } from './harness.mjs'

const B = bucket('minio-js')
const { hostname, port } = new URL(S3)
const PART = 5 << 20
const client = new minio.Client({ endPoint: hostname, port: Number(port), useSSL: false, accessKey: KEY, secretKey: SECRET, partSize: PART })
const get = async (key, options) => bytes(await client.getObject(B, key, options))
const list = (...more) => Readable.from(client.listObjectsV2(B, ...more)).toArray()
const names = (rows) => rows.map(({ name, prefix }) => name ?? prefix)
function* cut(body, piece) { for (let at = 0; at < body.length; at += piece) yield body.subarray(at, at + piece) }
const large = noise(3 * PART + 4321)

test('buckets: make, find, list', async () => {
  await client.makeBucket(B)
  equal([await client.bucketExists(B), await client.bucketExists(`${B}-none`)], [true, false], 'bucketExists')
  equal((await client.listBuckets()).some(({ name }) => name === B), true, 'listBuckets')
  await refused('NoSuchBucket', client.putObject(`${B}-none`, 'x', 'x'))
})

test('objects: buffers, text, streams', async () => {
  for (const size of [0, 1, 1024, 100_001]) {
    const body = noise(size)
    await client.putObject(B, `size/${size}`, body, size, { 'Content-Type': 'a/b', 'X-Amz-Meta-Kind': 'noise' })
    equal(await get(`size/${size}`), body, `${size}`)
  }
  await client.putObject(B, 'text', 'grüße')
  equal(String(await get('text')), 'grüße', 'text')
  await client.putObject(B, 'ünï çødé + 100%/&=?', Readable.from([Buffer.from('stre'), Buffer.from('amed')]))
  equal(String(await get('ünï çødé + 100%/&=?')), 'streamed', 'stream of unknown length')
  const stat = await client.statObject(B, 'size/1024')
  equal([stat.size, stat.metaData['content-type'], stat.metaData.kind], [1024, 'a/b', 'noise'], 'statObject')
  await refused('NotFound', client.statObject(B, 'none'))
  await refused('NoSuchKey', client.getObject(B, 'none'))
})

test('multipart: stream and file', async () => {
  const done = await client.putObject(B, 'large', Readable.from(cut(large, 70_001)), large.length)
  equal(/-\d$/.test(done.etag), true, done.etag)
  equal(await get('large'), large, 'stream')
  await writeFile(`${WORK}/large`, large)
  await client.fPutObject(B, 'file', `${WORK}/large`, { 'Content-Type': 'c/d' })
  await client.fGetObject(B, 'file', `${WORK}/back`)
  equal(await readFile(`${WORK}/back`), large, 'file')
})

test('multipart: left open, found and removed', async () => {
  const id = await client.initiateNewMultipartUpload(B, 'open/one', {})
  await client.uploadPart({ bucketName: B, objectName: 'open/one', uploadID: id, partNumber: 1, headers: {} }, noise(99))
  const open = await Readable.from(client.listIncompleteUploads(B, 'open/', true)).toArray()
  equal(open.map(({ key, uploadId, size }) => [key, uploadId, size]), [['open/one', id, 99]], 'listIncompleteUploads')
  await client.removeIncompleteUpload(B, 'open/one')
  equal(await Readable.from(client.listIncompleteUploads(B, '', true)).toArray(), [], 'removed')
})

test('ranges: from an offset', async () => {
  equal(await bytes(await client.getPartialObject(B, 'large', 5_000_000, 4_000_000)), large.subarray(5_000_000, 9_000_000), 'span')
  equal(await bytes(await client.getPartialObject(B, 'large', large.length - 10)), large.subarray(-10), 'to the end')
})

test('listing: recursive or by folder', async () => {
  for (const key of ['l/a/1', 'l/a/2', 'l/b', 'l/c c/ü']) await client.putObject(B, key, key)
  equal(names(await list('l/', true)), ['l/a/1', 'l/a/2', 'l/b', 'l/c c/ü'], 'recursive')
  equal(names(await list('l/', false)).sort(), ['l/a/', 'l/b', 'l/c c/'], 'folders')
  equal(names(await list('l/', true, 'l/a/2')), ['l/b', 'l/c c/ü'], 'start after')
  equal(names(await Readable.from(client.listObjects(B, 'l/', true)).toArray()), ['l/a/1', 'l/a/2', 'l/b', 'l/c c/ü'], 'version 1')
})

test('copies: conditions, composed of parts', async () => {
  const { etag } = await client.statObject(B, 'text')
  const matching = new minio.CopyConditions()
  matching.setMatchETag(etag)
  await client.copyObject(B, 'copy', `/${B}/text`, matching)
  equal(String(await get('copy')), 'grüße', 'copy')
  const wrong = new minio.CopyConditions()
  wrong.setMatchETag('00000000000000000000000000000000')
  await refused('PreconditionFailed', client.copyObject(B, 'copy', `/${B}/text`, wrong))
  const from = (Object, more) => new minio.CopySourceOptions({ Bucket: B, Object, ...more })
  await client.composeObject(new minio.CopyDestinationOptions({ Bucket: B, Object: 'composed' }), [
    from('large', { MatchRange: true, Start: 0, End: PART - 1 }), from('file'), from('text'),
  ])
  equal(await get('composed'), Buffer.concat([large.subarray(0, PART), large, Buffer.from('grüße')]), 'composed')
})

test('presigned URLs: get, put', async () => {
  const url = await client.presignedGetObject(B, 'large', 60, { 'response-content-type': 'x/y' })
  const answer = await fetch(url)
  equal(answer.headers.get('content-type'), 'x/y', 'response-content-type')
  equal(Buffer.from(await answer.arrayBuffer()), large, 'get')
  equal((await fetch(`${url}0`)).status, 403, 'forged')
  const upload = await client.presignedPutObject(B, 'signed', 60)
  equal((await fetch(upload, { method: 'PUT', body: 'signed' })).status, 200, 'put')
  equal(String(await get('signed')), 'signed', 'body')
})

test('forms: a policy', async () => {
  const policy = client.newPostPolicy()
  policy.setBucket(B)
  policy.setKeyStartsWith('form/')
  policy.setContentType('text/plain')
  policy.setContentLengthRange(1, 10)
  policy.setUserMetaData({ from: 'form' })
  policy.setExpires(new Date(Date.now() + 60_000))
  const { postURL, formData } = await client.presignedPostPolicy(policy)
  const send = (key, body) => {
    const form = new FormData()
    for (const [name, value] of Object.entries({ ...formData, key })) form.append(name, value)
    form.append('file', new Blob([body]))
    return fetch(postURL, { method: 'POST', body: form })
  }
  equal((await send('form/one', 'hello')).status, 204, 'answer')
  const stat = await client.statObject(B, 'form/one')
  equal([String(await get('form/one')), stat.metaData['content-type'], stat.metaData.from], ['hello', 'text/plain', 'form'], 'object')
  equal([(await send('other', 'hello')).status, (await send('form/two', 'longer than ten')).status], [403, 400], 'refusals')
})

test('object lock: retention, legal hold, bypass', async () => {
  const locked = `${B}-locked`
  await client.makeBucket(locked, 'us-east-1', { ObjectLocking: true })
  await client.setObjectLockConfig(locked, { mode: 'GOVERNANCE', unit: 'Days', validity: 1 })
  const { mode, validity, unit } = await client.getObjectLockConfig(locked)
  equal([mode, validity, unit], ['GOVERNANCE', 1, 'Days'], 'getObjectLockConfig')
  const { versionId } = await client.putObject(locked, 'kept', 'kept')
  equal((await client.getObjectRetention(locked, 'kept', { versionId })).mode, 'GOVERNANCE', 'default retention')
  await refused('AccessDenied', client.removeObject(locked, 'kept', { versionId }))
  await client.setObjectLegalHold(locked, 'kept', { status: 'ON', versionId })
  equal(await client.getObjectLegalHold(locked, 'kept', { versionId }), { Status: 'ON' }, 'getObjectLegalHold')
  await refused('AccessDenied', client.removeObject(locked, 'kept', { versionId, governanceBypass: true }))
  await client.setObjectLegalHold(locked, 'kept', { status: 'OFF', versionId })
  await client.removeObject(locked, 'kept', { versionId, governanceBypass: true })
  await client.removeBucket(locked)
})

test('versions: list, read, restore', async () => {
  await client.setBucketVersioning(B, { Status: 'Enabled' })
  equal((await client.getBucketVersioning(B)).Status, 'Enabled', 'getBucketVersioning')
  const { versionId } = await client.putObject(B, 'v', 'one')
  await client.putObject(B, 'v', 'two')
  await client.removeObject(B, 'v')
  await refused('NoSuchKey', client.getObject(B, 'v'))
  const rows = await Readable.from(client.listObjects(B, 'v', true, { IncludeVersion: true })).toArray()
  equal(rows.filter(({ isDeleteMarker }) => isDeleteMarker).length, 1, 'delete markers')
  equal(rows.length, 3, 'versions')
  equal(String(await get('v', { versionId })), 'one', 'by id')
  await client.removeObject(B, 'v', { versionId: rows.find(({ isDeleteMarker }) => isDeleteMarker).versionId })
  equal(String(await get('v')), 'two', 'restored')
})

test('deletion: many at once, then the bucket', async () => {
  await refused('BucketNotEmpty', client.removeBucket(B))
  const rows = await Readable.from(client.listObjects(B, '', true, { IncludeVersion: true })).toArray()
  await client.removeObjects(B, rows.map(({ name, versionId }) => ({ name, versionId })))
  equal(await list('', true), [], 'nothing left')
  await client.removeBucket(B)
  equal(await client.bucketExists(B), false, 'bucketExists')
})

await main(createRequire(import.meta.url)('minio/package.json').version)
