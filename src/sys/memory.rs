//! How much memory this process may have, as far as the system tells.

use std::path::Path;

/// The least limit of the control groups that this process is in, in bytes (cgroup v2). `None` where there is none, or none
/// is told.
#[must_use]
pub fn memory_limit() -> Option<u64> {
    let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    limit_below(Path::new("/sys/fs/cgroup"), own)
}

/// Of a group and all that it is in.
fn limit_below(root: &Path, group: &str) -> Option<u64> {
    let group = root.join(group);
    let groups = group.ancestors().take_while(|group| group.starts_with(root));
    let limits = groups.filter_map(|group| std::fs::read_to_string(group.join("memory.max")).ok());
    // "max" is no number, and no limit.
    limits.filter_map(|text| text.trim().parse().ok()).min()
}

#[cfg(test)]
mod tests {
    use super::limit_below;

    #[test]
    fn the_least_limit_of_all_groups_around_counts() {
        let root = tempfile::tempdir().unwrap();
        let group = root.path().join("a/b");
        std::fs::create_dir_all(&group).unwrap();
        assert_eq!(limit_below(root.path(), "a/b"), None);
        std::fs::write(group.join("memory.max"), "max\n").unwrap();
        assert_eq!(limit_below(root.path(), "a/b"), None);
        std::fs::write(root.path().join("a/memory.max"), "1000\n").unwrap();
        std::fs::write(root.path().join("memory.max"), "2000\n").unwrap();
        assert_eq!(limit_below(root.path(), "a/b"), Some(1000));
        assert_eq!(limit_below(root.path(), ""), Some(2000));
        assert_eq!(
            limit_below(root.path(), "gone"),
            Some(2000),
            "a container sees its own group as the root"
        );
    }
}
