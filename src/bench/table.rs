//! A report for people.

use super::plan::Operation;
use super::report::{Report, ServerReport};
use super::units::bytes;
use std::fmt::{self, Display, Formatter};

/// Figure, heading, digits behind the point.
const COLUMNS: [(&str, &str, usize); 11] = [
    ("ops_per_second", "ops/s", 1),
    ("megabytes_per_second", "MB/s", 1),
    ("p50_ms", "p50 ms", 2),
    ("p90_ms", "p90 ms", 2),
    ("p99_ms", "p99 ms", 2),
    ("not_begun", "not begun", 0),
    ("client_cpu_us_per_op", "client µs/op", 1),
    ("client_cpu_seconds", "client CPU s", 2),
    ("server_cpu_us_per_op", "server µs/op", 1),
    ("server_cpu_seconds_per_gb", "server CPU s/GB", 2),
    ("server_peak_rss_mib", "server peak MiB", 0),
];

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.heading(f)?;
        let mut rows = vec![headings(self)];
        for (number, server) in self.servers.iter().enumerate() {
            rows.push(row(self, server, server.name.clone(), |name| number_of(&server.median, name)));
            if server.runs.len() > 1 {
                rows.push(row(self, server, "  min to max".to_owned(), |name| spread(server, name)));
            }
            if number > 0 {
                rows.push(row(self, server, "  ratio".to_owned(), |name| ratio(server, name)));
            }
        }
        align(f, &rows)?;
        self.kinds(f)?;
        for server in &self.servers {
            for (code, times) in &server.errors {
                write!(f, "\n{}: {times} operations failed: {code}", server.name)?;
            }
            let verified: u64 = server.runs.iter().filter_map(|run| run.verified).sum();
            if verified > 0 {
                write!(f, "\n{}: {verified} objects read back as they were put", server.name)?;
            }
        }
        for warning in &self.warnings {
            write!(f, "\nwarning: {warning}")?;
        }
        if self.interrupted { f.write_str("\nstopped before its end") } else { Ok(()) }
    }
}

impl Report {
    fn heading(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let name = format!("{:?}", self.operation).to_lowercase();
        let (content, payload) = (format!("{:?}", self.content), format!("{:?}", self.payload));
        let (content, payload) = (content.to_lowercase(), payload.to_lowercase());
        write!(f, "{name}: {} of {content} data, {payload} payload", bytes(self.size))?;
        if self.operation == Operation::Multipart {
            write!(f, ", parts of {}", bytes(self.part_size))?;
        }
        if super::load::is_reading(self.operation) {
            write!(f, ", {} objects", self.objects)?;
        }
        let rounds = self.servers.iter().map(|server| server.runs.len()).max().unwrap_or(0);
        write!(f, ", connections: {}", self.concurrency)?;
        if let Some(rate) = self.rate {
            write!(f, ", due a second: {rate}")?;
        }
        writeln!(f, ", runs: {rounds}, seed: {}", self.seed)
    }

    /// One line for each kind of a mixed load, from its last run.
    fn kinds(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for server in &self.servers {
            let Some(run) = server.runs.last() else { continue };
            for (kind, figures) in &run.by_operation {
                let figure = |name| number_of(figures, name);
                let (ops, p50, p99) = (figure("ops_per_second"), figure("p50_ms"), figure("p99_ms"));
                write!(f, "\n{} {kind}: {ops} ops/s, p50 {p50} ms, p99 {p99} ms", server.name)?;
            }
        }
        Ok(())
    }

    fn columns(&self) -> impl Iterator<Item = &'static (&'static str, &'static str, usize)> {
        let has = |name: &str| self.servers.iter().any(|server| server.median.contains_key(name));
        COLUMNS.iter().filter(move |(name, ..)| has(name))
    }
}

fn headings(report: &Report) -> Vec<String> {
    let names = report.columns().map(|(_, heading, _)| (*heading).to_owned());
    std::iter::once("server".to_owned()).chain(names).chain(["errors".to_owned()]).collect()
}

fn row(report: &Report, server: &ServerReport, first: String, cell: impl Fn(&str) -> String) -> Vec<String> {
    let errors =
        if first == server.name { server.errors.values().sum::<u64>().to_string() } else { String::new() };
    std::iter::once(first).chain(report.columns().map(|(name, ..)| cell(name))).chain([errors]).collect()
}

fn digits(name: &str) -> usize {
    COLUMNS.iter().find(|(column, ..)| *column == name).map_or(2, |(.., digits)| *digits)
}

fn number_of(figures: &super::report::Figures, name: &str) -> String {
    figures.get(name).map(|value| format!("{value:.*}", digits(name))).unwrap_or_default()
}

fn spread(server: &ServerReport, name: &str) -> String {
    if !server.min.contains_key(name) {
        return String::new();
    }
    format!("{}–{}", number_of(&server.min, name), number_of(&server.max, name))
}

fn ratio(server: &ServerReport, name: &str) -> String {
    server.ratio.get(name).map(|ratio| format!("{ratio:.2} ×")).unwrap_or_default()
}

/// The first column to the left, the others to the right.
fn align(f: &mut Formatter<'_>, rows: &[Vec<String>]) -> fmt::Result {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..columns).map(width).collect();
    for (number, row) in rows.iter().enumerate() {
        if number > 0 {
            f.write_str("\n")?;
        }
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            if column == 0 { write!(f, "{cell:<width$}")? } else { write!(f, "  {cell:>width$}")? }
        }
    }
    Ok(())
}
