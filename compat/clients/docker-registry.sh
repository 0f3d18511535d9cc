#!/usr/bin/env bash
# client: docker-registry
# needs: apt docker-registry
# needs: apt skopeo
# Debian's docker-registry with its S3 driver. Blobs are read from Sediment itself, by the presigned URLs that it redirects to.
. "$COMPAT/lib.sh"
bad=0
version "$(docker-registry --version)"
B=docker-registry-compat-$RANDOM
# Its HTTP client cannot be given a bundle of authorities this way, and plain HTTP needs none.
unset AWS_CA_BUNDLE
api create-bucket --bucket "$B" >/dev/null
cat >"$WORK/registry.yml" <<YML
version: 0.1
log: {accesslog: {disabled: true}}
http: {addr: "127.0.0.1:0"}
storage:
  delete: {enabled: true}
  cache: {blobdescriptor: inmemory}
  s3:
    accesskey: $AWS_ACCESS_KEY_ID
    secretkey: $AWS_SECRET_ACCESS_KEY
    region: $AWS_DEFAULT_REGION
    regionendpoint: $S3
    bucket: $B
    secure: false
    v4auth: true
    chunksize: 5242880
    multipartcopythresholdsize: 10485760
    multipartcopychunksize: 10485760
    rootdirectory: /deep/registry
YML
docker-registry serve "$WORK/registry.yml" >"$WORK/registry.log" 2>&1 &
registry=$!
trap 'kill $registry' EXIT
address() { sed -nE 's/.*listening on (127\.0\.0\.1:[0-9]+).*/\1/p' "$WORK/registry.log"; }
until [ -n "$(address)" ]; do
    kill -0 $registry || { tail "$WORK/registry.log"; exit 1; }
    sleep 0.1
done
R=$(address)

sha() { sha256sum "$1" | cut -d' ' -f1; }
# image NAME FILE: an OCI layout of one layer, which has that file.
image() {
    local home=$WORK/$1 blobs=$WORK/$1/blobs/sha256 layer config manifest name
    mkdir -p "$blobs"
    tar --owner=0 --group=0 --mtime=@0 -cf "$home/tar" -C "$(dirname "$2")" "$(basename "$2")"
    gzip -1n <"$home/tar" >"$home/layer"
    layer=$(sha "$home/layer")
    jq -nc --arg d "sha256:$(sha "$home/tar")" '{architecture: "amd64", os: "linux", rootfs: {type: "layers", diff_ids: [$d]}}' >"$home/config"
    config=$(sha "$home/config")
    jq -nc --arg config "sha256:$config" --arg layer "sha256:$layer" --argjson sizes "$(stat -c %s "$home/config" "$home/layer" | jq -sc .)" '
        {schemaVersion: 2, mediaType: "application/vnd.oci.image.manifest.v1+json",
         config: {mediaType: "application/vnd.oci.image.config.v1+json", digest: $config, size: $sizes[0]},
         layers: [{mediaType: "application/vnd.oci.image.layer.v1.tar+gzip", digest: $layer, size: $sizes[1]}]}' >"$home/manifest"
    manifest=$(sha "$home/manifest")
    for name in layer config manifest; do mv "$home/$name" "$blobs/${!name}"; done
    echo '{"imageLayoutVersion": "1.0.0"}' >"$home/oci-layout"
    jq -nc --arg d "sha256:$manifest" --argjson size "$(stat -c %s "$blobs/$manifest")" '
        {schemaVersion: 2, manifests: [{mediaType: "application/vnd.oci.image.manifest.v1+json", digest: $d, size: $size}]}' >"$home/index.json"
}
copy() { timeout 120 skopeo --policy "$WORK/policy.json" copy --src-tls-verify=false --dest-tls-verify=false "$@"; }
echo '{"default": [{"type": "insecureAcceptAnything"}]}' >"$WORK/policy.json"
noise 40000000 >"$WORK/large"
noise 3000 >"$WORK/small"
image one "$WORK/large"
image two "$WORK/small"
layer_of() { jq -r '.layers[0].digest' "$WORK/$1/blobs/sha256/$(jq -r '.manifests[0].digest[7:]' "$WORK/$1/index.json")"; }

push() { for name in one two; do copy "oci:$WORK/$name" "docker://$R/team/$name:1"; done; same "$(curl -fsS "http://$R/v2/_catalog" | jq -c .repositories)" '["team/one","team/two"]'; }
pull() {
    for name in one two; do
        copy "docker://$R/team/$name:1" "oci:$WORK/$name.back"
        diff -r "$WORK/$name/blobs" "$WORK/$name.back/blobs"
    done
}
# A blob comes from Sediment, not through the registry.
redirect() {
    local url
    url=$(curl -fsS -o /dev/null -w '%{redirect_url}' "http://$R/v2/team/one/blobs/$(layer_of one)")
    has "$url" "$S3/$B/"
    curl -fsS "$url" | cmp - "$WORK/one/blobs/sha256/$(layer_of one | cut -d: -f2)"
    curl -fsS -r 1000000-1999999 "$url" | cmp - <(tail -c +1000001 "$WORK/one/blobs/sha256/$(layer_of one | cut -d: -f2)" | head -c 1000000)
}
# header NAME CURL-ARGUMENT…: of the answer, which has to be a success.
header() { local name=$1; shift; curl -fsS -D - -o /dev/null "$@" | tr -d '\r' | sed -nE "s/^$name: //ip"; }
# The registry keeps a blob that arrives in pieces as an object that grows, by listing open uploads and copying parts.
pieces() {
    local at url from to
    at=$(header Location -X POST "http://$R/v2/team/pieces/blobs/uploads/")
    for from in 0 7000000 19000000 19000100; do
        case $from in 0) to=7000000 ;; 7000000) to=19000000 ;; 19000000) to=19000100 ;; *) to=40000000 ;; esac
        at=$(tail -c +$((from + 1)) "$WORK/large" | head -c $((to - from)) |
            header Location -X PATCH -H 'Content-Type: application/octet-stream' -H "Content-Range: $from-$((to - 1))" --data-binary @- "$at")
    done
    curl -fsS -X PUT "$at&digest=sha256:$(sha "$WORK/large")"
    curl -fsSL "http://$R/v2/team/pieces/blobs/sha256:$(sha "$WORK/large")" | cmp - "$WORK/large"
}
wrong_digest() {
    local at
    at=$(header Location -X POST "http://$R/v2/team/pieces/blobs/uploads/")
    same "$(curl -s -o /dev/null -w '%{http_code}' -X PUT -H 'Content-Type: application/octet-stream' --data-binary @"$WORK/small" "$at&digest=sha256:$(sha "$WORK/large")")" 400
}
mount_blob() {
    same "$(curl -s -o /dev/null -w '%{http_code}' -X POST "http://$R/v2/team/mounted/blobs/uploads/?mount=$(layer_of one)&from=team/one")" 201
    curl -fsSL "http://$R/v2/team/mounted/blobs/$(layer_of one)" | cmp - "$WORK/one/blobs/sha256/$(layer_of one | cut -d: -f2)"
}
# `delete` takes the manifest away; the registry's collector then walks all of the bucket, and deletes blobs.
collect() {
    local manifest
    manifest=$(jq -r '.manifests[0].digest' "$WORK/two/index.json")
    same "$(curl -s -o /dev/null -w '%{http_code}' -X DELETE "http://$R/v2/team/two/manifests/$manifest")" 202
    docker-registry garbage-collect --delete-untagged "$WORK/registry.yml" >"$WORK/collected"
    has "$(cat "$WORK/collected")" "$(layer_of two | cut -d: -f2)"
    refused 404 api head-object --bucket "$B" --key "deep/registry/docker/registry/v2/blobs/sha256/$(layer_of two | cut -c8-9)/$(layer_of two | cut -d: -f2)/data"
    rm -r "$WORK/one.back"
    copy "docker://$R/team/one:1" "oci:$WORK/one.back"
    diff -r "$WORK/one/blobs" "$WORK/one.back/blobs"
}

t "push: two images" push
t "pull: identical" pull
t "redirects: presigned, ranges" redirect
t "chunked upload: four pieces" pieces
t "chunked upload: a wrong digest" wrong_digest
t "mount: between repositories" mount_blob
t "delete and collect: the rest stays" collect
exit $bad
