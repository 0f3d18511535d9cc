//! Where a store is: in a directory, or on a file system of its own whose power can be cut.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// Asks the kernel to let nothing more reach the disk, not even what the journal has gathered
/// (`FS_IOC_SHUTDOWN` with `FS_SHUTDOWN_FLAGS_NOLOGFLUSH`).
const SHUTDOWN: &str = "import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', 2))";
const IMAGE_BYTES: u64 = 1 << 30;

pub enum Disk {
    Directory(TempDir),
    Powered(Powered),
}

/// An image on a loop device.
pub struct Powered {
    dir: TempDir,
    mounted_at: PathBuf,
    data: PathBuf,
    options: String,
    is_mounted: bool,
}

impl Disk {
    pub fn directory() -> Self {
        Self::Directory(tempfile::tempdir().unwrap())
    }

    pub fn data(&self) -> &Path {
        match self {
            Self::Directory(dir) => dir.path(),
            Self::Powered(disk) => &disk.data,
        }
    }
}

impl Powered {
    /// `make`: a command that makes a file system in an image; `options`: of its mounts.
    ///
    /// # Errors
    /// Why it cannot be had here.
    pub fn new(make: &[&str], options: &str) -> Result<Self, String> {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("image");
        std::fs::File::create(&image)
            .and_then(|file| file.set_len(IMAGE_BYTES))
            .map_err(|e| e.to_string())?;
        let made = Command::new(make[0]).args(&make[1..]).arg(&image).output();
        succeeded(made, make[0])?;
        let mounted_at = dir.path().join("mounted");
        std::fs::create_dir(&mounted_at).map_err(|error| error.to_string())?;
        let (data, options) = (mounted_at.join("data"), format!("loop,{options}"));
        let mut this = Self { dir, mounted_at, data, options, is_mounted: false };
        this.mount()?;
        Ok(this)
    }

    pub fn mount(&mut self) -> Result<(), String> {
        let mut mount = Command::new("mount");
        mount.args(["-o", &self.options]).arg(self.dir.path().join("image")).arg(&self.mounted_at);
        succeeded(mount.output(), "mount")?;
        self.is_mounted = true;
        Ok(())
    }

    /// From now on everything fails that would reach the disk.
    pub fn cut(&self) -> Result<(), String> {
        let cut = Command::new("python3").args(["-c", SHUTDOWN]).arg(&self.mounted_at).output();
        succeeded(cut, "the FS_IOC_SHUTDOWN ioctl")
    }

    /// Nobody may use it any more.
    pub fn unmount(&mut self) -> Result<(), String> {
        succeeded(Command::new("umount").arg(&self.mounted_at).output(), "umount")?;
        self.is_mounted = false;
        Ok(())
    }
}

impl Drop for Powered {
    fn drop(&mut self) {
        if self.is_mounted {
            let _ = Command::new("umount").arg("-l").arg(&self.mounted_at).output();
        }
    }
}

fn succeeded(output: std::io::Result<Output>, what: &str) -> Result<(), String> {
    let output = output.map_err(|error| format!("{what}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{what}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}
