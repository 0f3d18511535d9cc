//! All metrics, as documented in `docs/operations.md`: described, and those whose labels are known there from the start,
//! so that a rate or an alert never waits for something to happen first.

use Kind::{Counter, Gauge, Histogram};

#[derive(Debug, Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

type Labels = &'static [(&'static str, &'static str)];

struct Series {
    kind: Kind,
    name: &'static str,
    help: &'static str,
    /// The label sets that are there from the start.
    labels: &'static [Labels],
}

/// Its labels are known when it happens.
const LATER: &[Labels] = &[];
const PLAIN: &[Labels] = &[&[]];
const TIERS: &[Labels] = &[&[("tier", "memory")], &[("tier", "redis")]];
const CLASSES: &[Labels] = &[
    &[("class", "read")],
    &[("class", "list")],
    &[("class", "write")],
    &[("class", "heavy")],
    &[("class", "document")],
    &[("class", "long_document")],
    &[("class", "answer")],
];
const BODIES: &[Labels] = &[&[("for", "uploads")], &[("for", "reads")]];
const FILES: &[Labels] = &[&[("file", "pack")], &[("file", "meta")], &[("file", "plain")]];
const LISTENERS: &[Labels] = &[&[("listener", "s3")], &[("listener", "admin")]];
const CALLS: &[Labels] = &[
    &[("call", "open")],
    &[("call", "read")],
    &[("call", "write")],
    &[("call", "sync")],
    &[("call", "change")],
];
const FATES: &[Labels] = &[&[("result", "ok")], &[("result", "changed")], &[("result", "damaged")]];
const CARRIED: &[Labels] = &[&[("result", "copied")], &[("result", "changed")], &[("result", "refused")]];
const RESULTS: &[Labels] = &[&[("result", "ok")], &[("result", "error")]];
const LOOKUPS: &[Labels] = &[&[("result", "hit")], &[("result", "miss")]];
const QUEUES: &[Labels] = &[
    &[("queue", "metadata_reads")],
    &[("queue", "hash_jobs")],
    &[("queue", "memory")],
    &[("queue", "redis_writes")],
];

const fn series(kind: Kind, name: &'static str, labels: &'static [Labels], help: &'static str) -> Series {
    Series { kind, name, help, labels }
}

const SERIES: &[Series] = &[
    series(Counter, "sediment_s3_requests_total", LATER, "requests, by operation and status code"),
    series(
        Histogram,
        "sediment_s3_request_seconds",
        LATER,
        "from a request's head to the end of its answer, by operation",
    ),
    series(
        Histogram,
        "sediment_s3_first_byte_seconds",
        LATER,
        "from a request's head to its answer's head, by operation",
    ),
    series(Counter, "sediment_s3_received_bytes_total", LATER, "bytes of requests' bodies, by operation"),
    series(Counter, "sediment_s3_sent_bytes_total", LATER, "bytes of answers' bodies, by operation"),
    series(Counter, "sediment_http_connections_total", LISTENERS, "connections accepted"),
    series(Gauge, "sediment_http_connections", LISTENERS, "connections open"),
    series(
        Counter,
        "sediment_http_connection_limit_total",
        LISTENERS,
        "times that all connections were taken and new ones waited",
    ),
    series(
        Counter,
        "sediment_http_address_limit_total",
        LISTENERS,
        "connections closed at once because their address had all that it may have",
    ),
    series(
        Counter,
        "sediment_http_timeouts_total",
        LISTENERS,
        "connections closed because the client was too slow",
    ),
    series(
        Counter,
        "sediment_http_floods_total",
        PLAIN,
        "HTTP/2 connections closed because they sent much that was no request's, or gave most requests up",
    ),
    series(
        Counter,
        "sediment_http_framing_violations_total",
        PLAIN,
        "connections closed because of an ambiguous request",
    ),
    series(
        Gauge,
        "sediment_admission_running",
        CLASSES,
        "requests that are worked on, or that have memory for a document",
    ),
    series(Gauge, "sediment_admission_waiting", CLASSES, "requests that wait for their turn"),
    series(
        Counter,
        "sediment_admission_refused_total",
        CLASSES,
        "requests that were told to slow down because their turn did not come in time",
    ),
    series(Gauge, "sediment_memory_used_bytes", BODIES, "memory for bodies that is in use"),
    series(Gauge, "sediment_logical_bytes", PLAIN, "sizes of all versions and parts, as clients see them"),
    series(Gauge, "sediment_unique_bytes", PLAIN, "distinct bytes, before compression"),
    series(Gauge, "sediment_stored_bytes", PLAIN, "bytes that packs, plain and inline bodies occupy"),
    series(Gauge, "sediment_plain_bytes", PLAIN, "bytes of bodies stored whole"),
    series(Gauge, "sediment_deduplication_ratio", PLAIN, "logical for each unique byte"),
    series(Gauge, "sediment_compression_ratio", PLAIN, "unique for each stored byte of chunks"),
    series(Gauge, "sediment_objects", PLAIN, "versions"),
    series(Gauge, "sediment_uploads", PLAIN, "open multipart uploads"),
    series(Gauge, "sediment_chunks", PLAIN, "distinct chunks"),
    series(Gauge, "sediment_packs", PLAIN, "packs"),
    series(
        Gauge,
        "sediment_garbage_bytes",
        PLAIN,
        "bytes of chunks and plain bodies that nothing refers to, not yet collected",
    ),
    series(Counter, "sediment_ingest_bytes_total", PLAIN, "bytes of bodies cut into chunks"),
    series(Counter, "sediment_ingest_duplicate_bytes_total", PLAIN, "those that were stored already"),
    series(Counter, "sediment_ingest_stored_bytes_total", PLAIN, "bytes appended to packs, compressed"),
    series(
        Counter,
        "sediment_ingest_rewritten_bytes_total",
        PLAIN,
        "of them, those of chunks that were stored again, to be read with their neighbours",
    ),
    series(
        Counter,
        "sediment_ingest_fallbacks_total",
        PLAIN,
        "bodies stored whole because deduplication failed",
    ),
    series(
        Counter,
        "sediment_memory_refused_total",
        PLAIN,
        "bodies and reads refused because their memory was used up",
    ),
    series(
        Counter,
        "sediment_corrupt_chunks_total",
        PLAIN,
        "reads that found damage; nothing of it was served",
    ),
    series(
        Counter,
        "sediment_condemned_chunks_total",
        PLAIN,
        "damaged chunks whose place was forgotten, so that they are stored anew",
    ),
    series(Counter, "sediment_cache_hits_total", TIERS, "chunks found in a cache tier"),
    series(Counter, "sediment_cache_misses_total", TIERS, "chunks not found in a cache tier"),
    series(Gauge, "sediment_cache_memory_bytes", PLAIN, "memory that cached chunks use"),
    series(
        Counter,
        "sediment_cache_redis_dropped_total",
        PLAIN,
        "chunks not sent to Redis because its queue was full",
    ),
    series(Counter, "sediment_cache_redis_errors_total", LATER, "failed requests to Redis, by kind"),
    series(
        Gauge,
        "sediment_cache_redis_breaker_state",
        PLAIN,
        "0: Redis is used, 1: it is tried, 2: it is left alone",
    ),
    series(
        Gauge,
        "sediment_queue_depth",
        QUEUES,
        "what waits: look-ups for a metadata reader, jobs for a hashing thread, bodies for memory, chunks for Redis",
    ),
    series(Gauge, "sediment_meta_queue_commands", PLAIN, "writes that wait for the metadata writer"),
    series(Histogram, "sediment_meta_batch_commands", PLAIN, "writes in one transaction"),
    series(Counter, "sediment_meta_row_cache_total", LOOKUPS, "look-ups of rows"),
    series(
        Counter,
        "sediment_meta_poisoned_total",
        PLAIN,
        "times that the metadata stopped accepting writes",
    ),
    series(Gauge, "sediment_meta_wal_bytes", PLAIN, "bytes of the database's write-ahead log"),
    series(Histogram, "sediment_fsync_seconds", FILES, "waits for the disk"),
    series(
        Gauge,
        "sediment_index_applied_seq",
        PLAIN,
        "the last log record that the chunk index has counted",
    ),
    series(Gauge, "sediment_index_lag_records", PLAIN, "log records that it has not counted yet"),
    series(Counter, "sediment_index_errors_total", PLAIN, "failed attempts to follow the log"),
    series(
        Gauge,
        "sediment_index_oldest_hold_seconds",
        PLAIN,
        "age of the oldest transfer that keeps what is dropped from being collected",
    ),
    series(
        Gauge,
        "sediment_index_uncounted_nodes",
        PLAIN,
        "manifest nodes in use that could not be read; nothing is collected while there are any",
    ),
    series(Counter, "sediment_index_unread_nodes_total", PLAIN, "manifest nodes that could not be read"),
    series(
        Counter,
        "sediment_index_miscounts_total",
        PLAIN,
        "references that could not be right; fsck tells more",
    ),
    series(Gauge, "sediment_index_chunks", PLAIN, "chunks in the index"),
    series(Gauge, "sediment_index_nodes", PLAIN, "manifest nodes in the index"),
    series(Gauge, "sediment_index_raw_bytes", PLAIN, "their bytes"),
    series(Gauge, "sediment_index_stored_bytes", PLAIN, "their bytes as stored"),
    series(Gauge, "sediment_index_unreferenced_bytes", PLAIN, "stored bytes of those that nothing refers to"),
    series(
        Gauge,
        "sediment_lock_clock_lag_seconds",
        PLAIN,
        "how far the system's clock is ahead of the one that object locks and lifecycle go by",
    ),
    series(
        Gauge,
        "sediment_log_stamp_ahead_seconds",
        PLAIN,
        "how far the newest stamp of the change log is ahead of the system's clock",
    ),
    series(Counter, "sediment_gc_runs_total", RESULTS, "collections"),
    series(Histogram, "sediment_gc_seconds", PLAIN, "how long one took"),
    series(Counter, "sediment_gc_collected_total", PLAIN, "chunks and nodes collected"),
    series(Counter, "sediment_gc_freed_bytes_total", PLAIN, "bytes given back to the file system"),
    series(Counter, "sediment_gc_moved_bytes_total", PLAIN, "bytes written anew to empty a pack"),
    series(
        Gauge,
        "sediment_restore_left_bytes",
        PLAIN,
        "bytes that a restore has not brought back yet and that are fetched when asked for",
    ),
    series(
        Counter,
        "sediment_restore_fetched_bytes_total",
        PLAIN,
        "bytes that were fetched from a backup while the store was served",
    ),
    series(
        Counter,
        "sediment_restore_errors_total",
        PLAIN,
        "parts of the store that could not be fetched in the background; each is tried again",
    ),
    series(Counter, "sediment_scrub_bytes_total", PLAIN, "bytes read and proven by scrubs"),
    series(Counter, "sediment_scrub_records_total", PLAIN, "chunks and nodes read and proven by scrubs"),
    series(Counter, "sediment_scrub_damaged_total", PLAIN, "what scrubs found damaged or missing"),
    series(
        Counter,
        "sediment_scrub_healed_total",
        PLAIN,
        "damaged chunks and nodes that scrubs made whole again",
    ),
    series(
        Counter,
        "sediment_scrub_from_backup_total",
        PLAIN,
        "copies of damaged chunks, nodes and bodies that scrubs brought from the backup",
    ),
    series(
        Histogram,
        "sediment_scrub_seconds",
        PLAIN,
        "how long a scrub was at work, to its end or until it was stopped",
    ),
    series(
        Gauge,
        "sediment_scrub_age_seconds",
        PLAIN,
        "since the last scrub that got to its end, or else since the store was first scrubbed or the server began",
    ),
    series(
        Gauge,
        "sediment_scrub_lost_objects",
        PLAIN,
        "versions and parts that the last scrub, or the one under way, found damaged",
    ),
    series(
        Gauge,
        "sediment_backup_rpo_seconds",
        PLAIN,
        "what was committed longer ago can be restored from the backup; -1: nothing can be yet",
    ),
    series(
        Gauge,
        "sediment_backup_lag_records",
        PLAIN,
        "records of the change log that are not in the backup yet",
    ),
    series(
        Gauge,
        "sediment_backup_failures_in_a_row",
        PLAIN,
        "attempts that failed since the last that did not",
    ),
    series(
        Gauge,
        "sediment_backup_snapshot_age_seconds",
        PLAIN,
        "since the newest snapshot of the backup was made; -1: there is none",
    ),
    series(Gauge, "sediment_backup_sent_bytes", PLAIN, "sent to the backup since the start"),
    series(
        Gauge,
        "sediment_backup_verify_age_seconds",
        PLAIN,
        "since a verification found the backup's newest snapshot whole; -1: none has",
    ),
    series(
        Gauge,
        "sediment_backup_verify_ok",
        PLAIN,
        "whether the last verification found the newest snapshot whole, after what could be sent again; -1: none since the start",
    ),
    series(
        Gauge,
        "sediment_backup_corrupt_snapshots",
        PLAIN,
        "snapshots of the backup that cannot be restored",
    ),
    series(
        Gauge,
        "sediment_backup_drill_age_seconds",
        PLAIN,
        "since the last restore drill; -1: there was none",
    ),
    series(
        Gauge,
        "sediment_backup_drill_ok",
        PLAIN,
        "whether the last restore drill passed; -1: there was none",
    ),
    series(
        Counter,
        "sediment_backup_repaired_objects_total",
        PLAIN,
        "objects of the newest snapshot that were damaged or missing in the bucket, and were sent again",
    ),
    series(Counter, "sediment_backup_alerts_total", RESULTS, "alerts that were posted, or could not be"),
    series(
        Counter,
        "sediment_lifecycle_actions_total",
        &[
            &[("action", "expire")],
            &[("action", "remove-noncurrent")],
            &[("action", "remove-marker")],
            &[("action", "abort-upload")],
        ],
        "what lifecycle rules took away",
    ),
    series(
        Gauge,
        "sediment_lifecycle_late_seconds",
        PLAIN,
        "how long the earliest key on the agenda is overdue",
    ),
    series(
        Counter,
        "sediment_replication_versions_total",
        CARRIED,
        "versions that replication copied or brought up to date, or that a destination refused",
    ),
    series(Counter, "sediment_replication_bytes_total", PLAIN, "bytes of the versions copied"),
    series(
        Counter,
        "sediment_replication_spared_bytes_total",
        PLAIN,
        "bytes that were not sent because the destination had them",
    ),
    series(Counter, "sediment_replication_failures_total", LATER, "failures of destinations, by class"),
    series(Gauge, "sediment_replication_queued_keys", LATER, "keys that wait for a target"),
    series(Gauge, "sediment_replication_lag_seconds", LATER, "how long the oldest of them has waited"),
    series(
        Gauge,
        "sediment_replication_lag_records",
        PLAIN,
        "records of the change log that replication has not seen",
    ),
    series(Gauge, "sediment_gc_garbage_bytes", PLAIN, "garbage at the last scheduled look"),
    series(Gauge, "sediment_disk_free_bytes", PLAIN, "free bytes of the data directory's device"),
    series(
        Counter,
        "sediment_rechunked_bodies_total",
        FATES,
        "bodies that were stored whole, and were deduplicated later",
    ),
    series(Counter, "sediment_rechunked_bytes_total", PLAIN, "their bytes"),
    series(
        Counter,
        "sediment_device_errors_total",
        CALLS,
        "calls that the device of packs and plain bodies failed",
    ),
    series(Counter, "sediment_disk_full_refusals_total", PLAIN, "bodies refused because the disk was full"),
];

/// Describes all metrics to the recorder, and begins those whose labels are known.
pub(super) fn begin() {
    for Series { kind, name, help, labels } in SERIES {
        match kind {
            Counter => metrics::describe_counter!(*name, *help),
            Gauge => metrics::describe_gauge!(*name, *help),
            Histogram => metrics::describe_histogram!(*name, *help),
        }
        for labels in *labels {
            match kind {
                Counter => drop(metrics::counter!(*name, *labels)),
                Gauge => drop(metrics::gauge!(*name, *labels)),
                Histogram => drop(metrics::histogram!(*name, *labels)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::SERIES;
    use std::collections::BTreeSet;

    #[test]
    fn every_metric_is_documented_with_its_kind_and_no_other_is() {
        let text =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md")).unwrap();
        let rows = text.lines().filter(|line| line.starts_with("| `sediment_"));
        let documented: BTreeSet<String> = rows
            .map(|row| row.split('|').skip(1).take(2).map(str::trim).collect::<Vec<_>>().join(" "))
            .collect();
        let known: BTreeSet<String> = SERIES
            .iter()
            .map(|s| format!("`{}` {}", s.name, format!("{:?}", s.kind).to_lowercase()))
            .collect();
        assert_eq!(documented, known);
    }
}
