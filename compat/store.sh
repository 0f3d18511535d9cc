# shellcheck shell=bash
# What Sediment promises beyond S3: storing again costs little, a restart keeps all, deleting gives space back.
# Sourced by compat/run, because it stops and starts the server.
bad=0
B=store-compat
stats() { "$SEDIMENT_BIN" stats --data "$DATA" --json | jq ".$1"; }
noise 30000000 >"$WORK/base"

s3 mb "s3://$B" >/dev/null
empty_store=$(stats stored_bytes)
s3 cp --no-progress "$WORK/base" "s3://$B/one" >/dev/null
first_store=$(stats stored_bytes)
# Ten bytes inserted near the front move every byte behind them.
{ head -c 1000000 "$WORK/base"; printf 'inserted!\n'; tail -c +1000001 "$WORK/base"; } >"$WORK/edited"
s3 cp --no-progress "$WORK/edited" "s3://$B/two" >/dev/null
s3 cp --no-progress "$WORK/base" "s3://$B/same" >/dev/null
again_store=$(stats stored_bytes)
first=$((first_store - empty_store)) again=$((again_store - first_store))
echo "   30 MB of noise cost $first bytes; an edited and an identical copy cost $again more"
t "one copy costs about itself" eval '[ "$first" -gt 29000000 ] && [ "$first" -lt 31500000 ]'
t "an edited and an identical copy cost under 3 %" eval '[ "$again" -lt $((first * 3 / 100)) ]'

whole() { s3 cp --no-progress "s3://$B/one" - | cmp - "$WORK/base"; s3 cp --no-progress "s3://$B/two" - | cmp - "$WORK/edited"; }
ended=0; server_end TERM || ended=1
t "SIGTERM ends it in time" eval '[ "$ended" = 0 ]'
server_start || echo "FAILED restart"
t "a restart keeps all" whole
server_end KILL
server_start || echo "FAILED restart after kill -9"
t "kill -9 keeps all" whole
server_end TERM
rm -rf "$DATA/index"
server_start || echo "FAILED restart without index"
t "without index/ it is built anew" whole

before=$(du -s --block-size=1 "$DATA/packs" | cut -f1)
s3 rm --recursive "s3://$B" >/dev/null
t "gc --dry-run changes nothing" eval '"$SEDIMENT_BIN" gc --dry-run --json --data "$DATA" | jq -e ".candidates > 0"; same "$(du -s --block-size=1 "$DATA/packs" | cut -f1)" "$before"'
t "gc runs beside the server" eval '"$SEDIMENT_BIN" gc --json --data "$DATA" | jq -e ".freed_bytes > 25000000"'
server_end TERM
# The pack that the server was writing is given back by a second run, when it is closed.
t "gc runs offline" eval '"$SEDIMENT_BIN" gc --json --data "$DATA" | jq -e "has(\"collected\")"'
after=$(du -s --block-size=1 "$DATA/packs" | cut -f1)
echo "   packs took $before bytes on disk before, $after after the deletion and gc"
t "the space returns to the file system" eval '[ $((before - after)) -gt 25000000 ]'
t "fsck finds nothing wrong" eval '"$SEDIMENT_BIN" fsck --deep --json --data "$DATA" | jq -e ".missing == 0 and .wrong_counts == 0 and .damaged == 0"'
server_start || echo "FAILED restart after gc"
t "it serves after gc" eval 'echo back | s3 cp - "s3://$B/back"; same "$(s3 cp "s3://$B/back" -)" back'
exit $bad
