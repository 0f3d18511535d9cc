// client: AWS SDK for JavaScript v3
// needs: apt nodejs:node
// needs: apt npm
// needs: npm @aws-sdk/client-s3@3.1169.0
// needs: npm @aws-sdk/lib-storage@3.1169.0
// needs: npm @aws-sdk/s3-request-presigner@3.1162.0
// needs: npm @aws-sdk/s3-presigned-post@3.1164.0
// With its default settings, but for path-style addresses: so it adds a CRC32 to what it sends, in a trailer when the body is a
// stream, and checks what it gets.

import { createHash } from 'node:crypto'
import { createRequire } from 'node:module'
import { Readable } from 'node:stream'
import { crc32 } from 'node:zlib'
import * as aws from '@aws-sdk/client-s3'
import { Upload } from '@aws-sdk/lib-storage'
import { createPresignedPost } from '@aws-sdk/s3-presigned-post'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import { REGION, S3, bucket, bytes, equal, main, noise, refused, test } from './harness.mjs'

const Bucket = bucket('aws-sdk-js')
const MiB = 1 << 20
const PART = 5 * MiB
const s3 = new aws.S3({ endpoint: S3, region: REGION, forcePathStyle: true, maxAttempts: 1 })
const put = (Key, Body, more) => s3.putObject({ Bucket, Key, Body, ...more })
const get = async (Key, more) => bytes((await s3.getObject({ Bucket, Key, ...more })).Body)
const md5 = (body) => `"${createHash('md5').update(body).digest('hex')}"`
// A stream whose length the SDK cannot know, in pieces that fit no boundary.
const stream = (body, piece = 100_003) =>
  Readable.from((function* () { for (let at = 0; at < body.length; at += piece) yield body.subarray(at, at + piece) })())
async function pages(paginator, field) {
  const found = []
  for await (const page of paginator) {
    found.push(...(page[field] ?? []))
    // S3 ends ListParts with the marker 0, from which this paginator would begin anew.
    if (!page.IsTruncated) break
  }
  return found
}

test('buckets: create, head, list, refuse', async () => {
  await s3.createBucket({ Bucket })
  await aws.waitUntilBucketExists({ client: s3, maxWaitTime: 10 }, { Bucket })
  const names = (await s3.listBuckets({})).Buckets.map(({ Name }) => Name)
  equal(names.includes(Bucket), true, 'ListBuckets')
  await refused('NotFound', s3.headBucket({ Bucket: `${Bucket}-none` }))
  await refused('NoSuchBucket', s3.listObjectsV2({ Bucket: `${Bucket}-none` }))
  await refused('InvalidBucketName', s3.createBucket({ Bucket: 'UPPER_case' }))
})

test('objects: sizes around the limits', async () => {
  for (const size of [0, 1, 1023, 1024, 1025, 65_536, 65_537, 3_000_017]) {
    const body = noise(size)
    equal((await put(`size/${size}`, body)).ETag, md5(body), 'ETag')
    equal(await get(`size/${size}`), body, `${size}`)
  }
})

test('objects: metadata and headers', async () => {
  const headers = { ContentType: 'text/html; charset=utf-8', CacheControl: 'no-cache', ContentDisposition: 'inline', ContentLanguage: 'de' }
  await put('meta', 'x', { Metadata: { one: '1', two: 'b c' }, ...headers })
  const head = await s3.headObject({ Bucket, Key: 'meta' })
  equal(Object.entries(head.Metadata).sort(), [['one', '1'], ['two', 'b c']], 'Metadata')
  for (const [name, value] of Object.entries(headers)) equal(head[name], value, name)
  equal((await s3.getObject({ Bucket, Key: 'meta', ResponseContentType: 'a/b' })).ContentType, 'a/b', 'ResponseContentType')
})

test('objects: keys that trip clients', async () => {
  const keys = ['ünï/çødé ☃', 'a b+c%20d', '../up/./and//down/', '/slash', "quote'\"<&>", 'tab\tand=?#[]@!$()*,;:', '\u{1F980}']
  for (const key of keys) {
    await put(`k/${key}`, key)
    equal(String(await get(`k/${key}`)), key, key)
  }
  const listed = (await pages(aws.paginateListObjectsV2({ client: s3 }, { Bucket, Prefix: 'k/' }), 'Contents')).map(({ Key }) => Key)
  const byBytes = (a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))
  equal(listed, keys.map((key) => `k/${key}`).sort(byBytes), 'list')
})

test('objects: ranges', async () => {
  const body = await get('size/3000017')
  equal(await get('size/3000017', { Range: 'bytes=1000-1999999' }), body.subarray(1000, 2_000_000), 'middle')
  equal(await get('size/3000017', { Range: 'bytes=-5' }), body.subarray(-5), 'end')
  await refused('InvalidRange', get('size/3000017', { Range: 'bytes=3000017-' }))
})

test('objects: typed errors', async () => {
  const missing = await refused('NoSuchKey', get('none'))
  equal(missing instanceof aws.NoSuchKey, true, 'class')
  equal([missing.$metadata.httpStatusCode, Boolean(missing.$metadata.requestId)], [404, true], '$metadata')
  equal((await refused('NotFound', s3.headObject({ Bucket, Key: 'none' }))).$metadata.httpStatusCode, 404, 'head')
  const wrong = new aws.S3({ endpoint: S3, region: REGION, forcePathStyle: true, credentials: { accessKeyId: 'nobody', secretAccessKey: 'x' } })
  await refused('InvalidAccessKeyId', wrong.listBuckets({}))
})

test('checksums: streams with trailers', async () => {
  const body = noise(2 * MiB + 11)
  for (const ChecksumAlgorithm of ['CRC32', 'CRC32C', 'CRC64NVME', 'SHA1', 'SHA256']) {
    const Key = `sum/${ChecksumAlgorithm}`
    await put(Key, stream(body), { ContentLength: body.length, ChecksumAlgorithm })
    const found = await s3.getObject({ Bucket, Key, ChecksumMode: 'ENABLED' })
    equal(await bytes(found.Body), body, Key)
    equal(typeof found[`Checksum${ChecksumAlgorithm}`], 'string', Key)
    equal([found.ContentEncoding, found.ETag], [undefined, md5(body)], 'aws-chunked is not kept')
  }
  const sums = await s3.headObject({ Bucket, Key: 'sum/SHA256', ChecksumMode: 'ENABLED' })
  equal(sums.ChecksumSHA256, createHash('sha256').update(body).digest('base64'), 'SHA256')
})

test('checksums: wrong ones are refused', async () => {
  await refused('BadDigest', put('sum/wrong', 'abc', { ChecksumCRC32: 'AAAAAA==' }))
  await refused('BadDigest', put('sum/wrong', 'abc', { ContentMD5: 'AAAAAAAAAAAAAAAAAAAAAA==' }))
  await refused('NotFound', s3.headObject({ Bucket, Key: 'sum/wrong' }))
})

test('multipart: upload manager, from a stream', async () => {
  const body = noise(3 * PART + 12_345)
  const steps = []
  const upload = new Upload({ client: s3, params: { Bucket, Key: 'mp/stream', Body: stream(body), ContentType: 'a/b' }, partSize: PART, queueSize: 3 })
  upload.on('httpUploadProgress', ({ part }) => steps.push(part))
  const done = await upload.done()
  equal(done.ETag.endsWith('-4"'), true, done.ETag)
  equal(steps.sort(), [1, 2, 3, 4], 'progress')
  equal(await get('mp/stream'), body, 'body')
  equal(await get('mp/stream', { PartNumber: 4 }), body.subarray(3 * PART), 'part 4')
  equal((await s3.headObject({ Bucket, Key: 'mp/stream', PartNumber: 1 })).PartsCount, 4, 'PartsCount')
})

test('multipart: upload manager, aborted', async () => {
  const upload = new Upload({ client: s3, params: { Bucket, Key: 'mp/aborted', Body: stream(noise(3 * PART)) }, partSize: PART, queueSize: 1 })
  upload.on('httpUploadProgress', () => upload.abort())
  await refused('AbortError', upload.done())
  await refused('NotFound', s3.headObject({ Bucket, Key: 'mp/aborted' }))
  // The SDK's abort goes on after done() has thrown.
  const deadline = Date.now() + 10_000
  let open
  do open = (await s3.listMultipartUploads({ Bucket })).Uploads ?? []
  while (open.length && Date.now() < deadline)
  equal(open, [], 'open uploads')
})

test('multipart: by hand, full-object checksum', async () => {
  const Key = 'mp/hand'
  const bodies = [noise(PART), noise(PART), noise(77)]
  const { UploadId } = await s3.createMultipartUpload({ Bucket, Key, ChecksumAlgorithm: 'CRC32', ChecksumType: 'FULL_OBJECT' })
  const parts = await Promise.all(bodies.map(async (Body, i) => {
    const { ETag, ChecksumCRC32 } = await s3.uploadPart({ Bucket, Key, UploadId, PartNumber: i + 1, Body, ChecksumAlgorithm: 'CRC32' })
    return { PartNumber: i + 1, ETag, ChecksumCRC32 }
  }))
  const listed = await pages(aws.paginateListParts({ client: s3, pageSize: 2 }, { Bucket, Key, UploadId }), 'Parts')
  equal(listed.map(({ PartNumber, ETag, Size }) => [PartNumber, ETag, Size]), parts.map(({ PartNumber, ETag }, i) => [PartNumber, ETag, bodies[i].length]), 'ListParts')
  await refused('InvalidPartOrder', s3.completeMultipartUpload({ Bucket, Key, UploadId, MultipartUpload: { Parts: parts.toReversed() } }))
  const done = await s3.completeMultipartUpload({ Bucket, Key, UploadId, MultipartUpload: { Parts: parts } })
  const whole = Buffer.concat(bodies)
  equal(done.ChecksumType, 'FULL_OBJECT', 'ChecksumType')
  if (crc32) {
    const sum = Buffer.alloc(4)
    sum.writeUInt32BE(crc32(whole))
    equal(done.ChecksumCRC32, sum.toString('base64'), 'CRC32')
  }
  equal(await get(Key), whole, 'body')
})

test('copies: metadata, conditions, parts', async () => {
  await put('copy/from ü+', 'content', { Metadata: { a: '1' } })
  const CopySource = `${Bucket}/${encodeURIComponent('copy/from ü+')}`
  await s3.copyObject({ Bucket, Key: 'copy/to', CopySource })
  equal((await s3.headObject({ Bucket, Key: 'copy/to' })).Metadata, { a: '1' }, 'kept')
  await s3.copyObject({ Bucket, Key: 'copy/to', CopySource, MetadataDirective: 'REPLACE', Metadata: { b: '2' } })
  equal([(await s3.headObject({ Bucket, Key: 'copy/to' })).Metadata, String(await get('copy/to'))], [{ b: '2' }, 'content'], 'replaced')
  await refused('PreconditionFailed', s3.copyObject({ Bucket, Key: 'copy/to', CopySource, CopySourceIfMatch: '"0"' }))
  const Key = 'copy/parts'
  const { UploadId } = await s3.createMultipartUpload({ Bucket, Key })
  const span = { Bucket, Key, UploadId, CopySource: `${Bucket}/mp/stream` }
  const parts = await Promise.all([[0, PART - 1], [PART, 3 * PART + 12_344]].map(async ([from, to], i) => {
    const done = await s3.uploadPartCopy({ ...span, PartNumber: i + 1, CopySourceRange: `bytes=${from}-${to}` })
    return { PartNumber: i + 1, ETag: done.CopyPartResult.ETag }
  }))
  await s3.completeMultipartUpload({ Bucket, Key, UploadId, MultipartUpload: { Parts: parts } })
  equal(await get(Key), await get('mp/stream'), 'parts')
})

test('conditions: if-match, if-none-match', async () => {
  const { ETag } = await put('cond', 'one')
  await refused('PreconditionFailed', put('cond', 'two', { IfNoneMatch: '*' }))
  await refused('PreconditionFailed', put('cond', 'two', { IfMatch: '"00000000000000000000000000000000"' }))
  await put('cond', 'two', { IfMatch: ETag })
  await refused('PreconditionFailed', get('cond', { IfMatch: ETag }))
  const current = (await s3.headObject({ Bucket, Key: 'cond' })).ETag
  const unchanged = await s3.getObject({ Bucket, Key: 'cond', IfNoneMatch: current }).catch((error) => error)
  equal(unchanged.$metadata.httpStatusCode, 304, 'not modified')
})

test('conditions: one of 32 racing writers wins', async () => {
  const writers = Array.from({ length: 32 }, (_, i) => put('race', `writer ${i}`, { IfNoneMatch: '*' }).then(() => i, (error) => error.$metadata.httpStatusCode))
  const results = await Promise.all(writers)
  const losers = results.filter((result) => [409, 412].includes(result))
  const winner = results.find((result) => result < 32)
  equal([losers.length, String(await get('race'))], [31, `writer ${winner}`], 'race')
})

test('listing: pages, delimiters, start after', async () => {
  await Promise.all(Array.from({ length: 60 }, (_, i) => put(`list/${i % 3}/${String(i).padStart(2, '0')}`, 'x')))
  const all = await pages(aws.paginateListObjectsV2({ client: s3, pageSize: 7 }, { Bucket, Prefix: 'list/' }), 'Contents')
  equal(all.length, 60, 'all')
  const dirs = await pages(aws.paginateListObjectsV2({ client: s3, pageSize: 1 }, { Bucket, Prefix: 'list/', Delimiter: '/' }), 'CommonPrefixes')
  equal(dirs.map(({ Prefix }) => Prefix), ['list/0/', 'list/1/', 'list/2/'], 'folders')
  const later = await s3.listObjectsV2({ Bucket, Prefix: 'list/', StartAfter: 'list/2/50' })
  equal(later.Contents.map(({ Key }) => Key), ['list/2/53', 'list/2/56', 'list/2/59'], 'StartAfter')
  const first = await s3.listObjects({ Bucket, Prefix: 'list/', MaxKeys: 59 })
  equal([first.IsTruncated, first.Contents.length], [true, 59], 'ListObjects')
})

test('versions: put, hide, restore', async () => {
  await s3.putBucketVersioning({ Bucket, VersioningConfiguration: { Status: 'Enabled' } })
  const first = await put('version', 'one')
  await put('version', 'two')
  const marker = await s3.deleteObject({ Bucket, Key: 'version' })
  equal(marker.DeleteMarker, true, 'DeleteMarker')
  await refused('NoSuchKey', get('version'))
  const listed = await s3.listObjectVersions({ Bucket, Prefix: 'version' })
  equal([listed.Versions.length, listed.DeleteMarkers.length, listed.DeleteMarkers[0].IsLatest], [2, 1, true], 'versions')
  equal(String(await get('version', { VersionId: first.VersionId })), 'one', 'by id')
  await s3.deleteObject({ Bucket, Key: 'version', VersionId: marker.VersionId })
  equal(String(await get('version')), 'two', 'restored')
})

test('presigned URLs: get, put, forged', async () => {
  const url = await getSignedUrl(s3, new aws.GetObjectCommand({ Bucket, Key: 'mp/hand' }), { expiresIn: 60 })
  equal(Buffer.from(await (await fetch(url)).arrayBuffer()), await get('mp/hand'), 'get')
  const upload = await getSignedUrl(s3, new aws.PutObjectCommand({ Bucket, Key: 'signed ü', ContentType: 'a/b' }), { expiresIn: 60, signableHeaders: new Set(['content-type']) })
  equal((await fetch(upload, { method: 'PUT', body: 'signed', headers: { 'content-type': 'a/b' } })).status, 200, 'put')
  equal(String(await get('signed ü')), 'signed', 'body')
  equal((await fetch(upload, { method: 'PUT', body: 'signed', headers: { 'content-type': 'c/d' } })).status, 403, 'another type')
  equal((await fetch(url.replace('mp/hand', 'meta'))).status, 403, 'another key')
})

test('forms: an upload from a browser, its limits', async () => {
  const { url, fields } = await createPresignedPost(s3, {
    Bucket, Key: 'form/${filename}', Expires: 60, Fields: { 'Content-Type': 'text/plain', success_action_status: '201', 'x-amz-meta-from': 'form' },
    Conditions: [['content-length-range', 1, 1000], ['starts-with', '$Content-Type', 'text/']],
  })
  const send = (body, changed = {}) => {
    const form = new FormData()
    for (const [name, value] of Object.entries({ ...fields, ...changed })) form.append(name, value)
    form.append('file', new Blob([body]), 'grüße.txt')
    return fetch(url, { method: 'POST', body: form })
  }
  const answer = await send('hello')
  equal([answer.status, (await answer.text()).includes('<PostResponse>')], [201, true], 'answer')
  const found = await s3.getObject({ Bucket, Key: 'form/grüße.txt' })
  equal([await found.Body.transformToString(), found.ContentType, found.Metadata], ['hello', 'text/plain', { from: 'form' }], 'object')
  equal((await send('hello', { 'Content-Type': 'image/png' })).status, 403, 'another type')
  const long = await send('x'.repeat(1001))
  equal([long.status, (await long.text()).includes('EntityTooLarge')], [400, true], 'too long')
})

test('object lock: retention, legal hold, bypass', async () => {
  const Locked = `${Bucket}-locked`
  await s3.createBucket({ Bucket: Locked, ObjectLockEnabledForBucket: true })
  await s3.putObjectLockConfiguration({ Bucket: Locked, ObjectLockConfiguration: { ObjectLockEnabled: 'Enabled', Rule: { DefaultRetention: { Mode: 'GOVERNANCE', Days: 1 } } } })
  const { VersionId } = await s3.putObject({ Bucket: Locked, Key: 'kept', Body: 'kept' })
  equal((await s3.getObjectRetention({ Bucket: Locked, Key: 'kept' })).Retention.Mode, 'GOVERNANCE', 'default retention')
  const version = { Bucket: Locked, Key: 'kept', VersionId }
  await refused('AccessDenied', s3.deleteObject(version))
  await s3.putObjectLegalHold({ ...version, LegalHold: { Status: 'ON' } })
  await refused('AccessDenied', s3.deleteObject({ ...version, BypassGovernanceRetention: true }))
  await s3.putObjectLegalHold({ ...version, LegalHold: { Status: 'OFF' } })
  equal(await (await s3.getObject(version)).Body.transformToString(), 'kept', 'body')
  await s3.deleteObject({ ...version, BypassGovernanceRetention: true })
  await s3.deleteBucket({ Bucket: Locked })
})

test('deletion: a thousand at once, then the bucket', async () => {
  await refused('BucketNotEmpty', s3.deleteBucket({ Bucket }))
  const versions = []
  let page = {}
  do {
    page = await s3.listObjectVersions({ Bucket, MaxKeys: 50, KeyMarker: page.NextKeyMarker, VersionIdMarker: page.NextVersionIdMarker })
    versions.push(...(page.Versions ?? []), ...(page.DeleteMarkers ?? []))
  } while (page.IsTruncated)
  const Objects = versions.map(({ Key, VersionId }) => ({ Key, VersionId }))
  const missing = Array.from({ length: 1000 - Objects.length }, (_, i) => ({ Key: `never there ${i}`, VersionId: 'null' }))
  const done = await s3.deleteObjects({ Bucket, Delete: { Objects: [...Objects, ...missing] } })
  equal([done.Deleted.length, done.Errors ?? []], [1000, []], 'DeleteObjects')
  await s3.deleteBucket({ Bucket })
  await aws.waitUntilBucketNotExists({ client: s3, maxWaitTime: 10 }, { Bucket })
})

await main(createRequire(import.meta.url)('@aws-sdk/client-s3/package.json').version)
