//! What a store holds and what it costs: for `stats`, for the admin API, for metrics.

use crate::admin::StoreStats;
use crate::engine::gc::PlainCensus;
use crate::engine::{EngineError, EngineParts, MemoryBudget};
use std::fmt::Write;

/// Counts now. Exact up to commits under way; `plain` is as old as it is.
pub(super) async fn collect(parts: &EngineParts, plain: PlainCensus) -> Result<StoreStats, EngineError> {
    let uncounted_nodes = parts.index.uncounted_nodes();
    let totals = parts.log.totals().await?;
    let (index, packs) = (parts.index.clone(), parts.packs.clone());
    let counted =
        tokio::task::spawn_blocking(move || Ok::<_, EngineError>((index.counts()?, packs.packs()?)));
    let (counts, packs) = counted.await.map_err(|error| EngineError::Io(std::io::Error::other(error)))??;
    let pack_bytes: u64 = packs.iter().map(|pack| pack.allocated).sum();
    let unique_bytes = counts.raw_bytes + totals.inline_bytes;
    let stored_bytes = pack_bytes + plain.bytes + totals.inline_bytes;
    Ok(StoreStats {
        buckets: totals.buckets,
        versions: totals.versions,
        delete_markers: totals.delete_markers,
        uploads: totals.uploads,
        logical_bytes: totals.logical_bytes,
        unique_bytes,
        stored_bytes,
        inline_bytes: totals.inline_bytes,
        deduplication_ratio: ratio(totals.logical_bytes, unique_bytes),
        compression_ratio: ratio(counts.raw_bytes, counts.stored_bytes),
        total_ratio: ratio(totals.logical_bytes, stored_bytes),
        chunks: counts.chunks,
        nodes: counts.nodes,
        manifests: totals.manifests,
        packs: packs.len() as u64,
        pack_bytes,
        plain_files: plain.files,
        plain_bytes: plain.bytes,
        garbage_records: counts.unreferenced,
        garbage_bytes: counts.unreferenced_stored_bytes + plain.unused_bytes,
        uncounted_nodes,
    })
}

#[expect(clippy::cast_precision_loss, reason = "for people and gauges")]
fn ratio(of: u64, to: u64) -> f64 {
    if to == 0 { 1.0 } else { (of as f64 / to as f64 * 1000.0).round() / 1000.0 }
}

/// Brings the gauges up to date.
pub(super) async fn refresh(parts: &EngineParts, plain: PlainCensus) {
    match collect(parts, plain).await {
        Ok(stats) => publish(&stats),
        Err(error) => tracing::debug!(%error, "cannot count the store"),
    }
    let _ = parts.cache.memory_used_bytes();
    // The index's lock may be held for as long as it is opened anew.
    let index = parts.index.clone();
    let _ = tokio::task::spawn_blocking(move || index.report()).await;
}

#[expect(clippy::cast_precision_loss, reason = "gauges")]
pub(super) fn publish_memory(memory: &MemoryBudget) {
    let (uploads, reads) = memory.used_bytes();
    metrics::gauge!("sediment_memory_used_bytes", "for" => "uploads").set(uploads as f64);
    metrics::gauge!("sediment_memory_used_bytes", "for" => "reads").set(reads as f64);
}

#[expect(clippy::cast_precision_loss, reason = "gauges")]
fn publish(stats: &StoreStats) {
    metrics::gauge!("sediment_logical_bytes").set(stats.logical_bytes as f64);
    metrics::gauge!("sediment_unique_bytes").set(stats.unique_bytes as f64);
    metrics::gauge!("sediment_stored_bytes").set(stats.stored_bytes as f64);
    metrics::gauge!("sediment_deduplication_ratio").set(stats.deduplication_ratio);
    metrics::gauge!("sediment_compression_ratio").set(stats.compression_ratio);
    metrics::gauge!("sediment_objects").set(stats.versions as f64);
    metrics::gauge!("sediment_uploads").set(stats.uploads as f64);
    metrics::gauge!("sediment_chunks").set(stats.chunks as f64);
    metrics::gauge!("sediment_packs").set(stats.packs as f64);
    metrics::gauge!("sediment_plain_bytes").set(stats.plain_bytes as f64);
    metrics::gauge!("sediment_garbage_bytes").set(stats.garbage_bytes as f64);
}

pub(super) fn table(stats: &StoreStats) -> String {
    let rows = [
        ("buckets", stats.buckets.to_string()),
        ("versions", stats.versions.to_string()),
        ("logical bytes", bytes(stats.logical_bytes)),
        ("unique bytes", bytes(stats.unique_bytes)),
        ("stored bytes", bytes(stats.stored_bytes)),
        ("deduplication", format!("{:.3} x", stats.deduplication_ratio)),
        ("compression", format!("{:.3} x", stats.compression_ratio)),
        ("together", format!("{:.3} x", stats.total_ratio)),
        ("chunks", stats.chunks.to_string()),
        ("packs", stats.packs.to_string()),
        ("plain files", stats.plain_files.to_string()),
        ("garbage bytes", bytes(stats.garbage_bytes)),
        ("open uploads", stats.uploads.to_string()),
    ];
    let mut table = rows.map(|(name, value)| format!("{name:<14} {value:>28}")).join("\n");
    if stats.uncounted_nodes > 0 {
        let _ = write!(
            table,
            "\n{} manifest nodes cannot be read, nothing is collected: run `sediment fsck --deep`",
            stats.uncounted_nodes
        );
    }
    table
}

/// `1536 (1.5 KiB)`
#[expect(clippy::cast_precision_loss, reason = "for people")]
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut scaled = count as f64;
    let mut unit = None;
    for name in UNITS {
        if scaled < 1024.0 {
            break;
        }
        scaled /= 1024.0;
        unit = Some(name);
    }
    unit.map_or_else(|| count.to_string(), |unit| format!("{count} ({scaled:.1} {unit})"))
}

#[cfg(test)]
mod tests {
    use super::{bytes, ratio};

    #[test]
    fn numbers_for_people() {
        assert_eq!(bytes(1023), "1023");
        assert_eq!(bytes(1536), "1536 (1.5 KiB)");
        assert_eq!(bytes(5 << 30), "5368709120 (5.0 GiB)");
        assert!((ratio(10, 4) - 2.5).abs() < f64::EPSILON);
        assert!((ratio(0, 0) - 1.0).abs() < f64::EPSILON, "an empty store saves nothing and costs nothing");
    }
}
