//! What an I/O error says of the system: room, descriptors, or the device.

use rustix::io::Errno;
use std::io;

fn is_one_of(error: &io::Error, known: &[Errno]) -> bool {
    Errno::from_io_error(error).is_some_and(|error| known.contains(&error))
}

/// Whether the device could not give or take bytes: a fault of one place, not of the process or its rights.
#[must_use]
pub fn is_device_error(error: &io::Error) -> bool {
    is_one_of(error, &[Errno::IO, Errno::BADMSG, Errno::UCLEAN, Errno::NODATA, Errno::REMOTEIO])
}

/// Whether there was no room for what was to be written: on the device, in a quota, or below a limit on the length of
/// files. It heals when there is room.
#[must_use]
pub fn lacks_room(error: &io::Error) -> bool {
    let kinds = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded, io::ErrorKind::FileTooLarge];
    kinds.contains(&error.kind())
}

/// Whether no more files can be opened now. Nothing was read or written then.
#[must_use]
pub fn lacks_descriptors(error: &io::Error) -> bool {
    is_one_of(error, &[Errno::MFILE, Errno::NFILE])
}

#[cfg(test)]
mod tests {
    use super::{is_device_error, lacks_descriptors, lacks_room};
    use rustix::io::Errno;

    #[test]
    fn each_error_is_of_one_kind() {
        let kinds = |errno: Errno| {
            let error = errno.into();
            (lacks_room(&error), lacks_descriptors(&error), is_device_error(&error))
        };
        for errno in [Errno::NOSPC, Errno::DQUOT, Errno::FBIG] {
            assert_eq!(kinds(errno), (true, false, false), "{errno}");
        }
        for errno in [Errno::MFILE, Errno::NFILE] {
            assert_eq!(kinds(errno), (false, true, false), "{errno}");
        }
        assert_eq!(kinds(Errno::IO), (false, false, true));
        assert_eq!(kinds(Errno::NOENT), (false, false, false));
    }
}
