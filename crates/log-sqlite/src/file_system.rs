//! What kind of file system a database lies on.
//!
//! SQLite's write-ahead log shares memory between processes, which no network file system offers.

use std::path::Path;

/// File systems by the magic number of `statfs(2)` (linux/magic.h) that may span machines.
/// FUSE counts as one of them: whether something remote is behind it cannot be seen.
#[cfg(target_os = "linux")]
const NETWORK: [(u32, &str); 14] = [
    (0x6969, "NFS"),
    (0x517B, "SMB"),
    (0xFE53_4D42, "SMB"),
    (0xFF53_4D42, "CIFS"),
    (0x0102_1997, "9p"),
    (0x6573_5546, "FUSE"),
    (0x5346_414F, "AFS"),
    (0x6B41_4653, "AFS"),
    (0x00C3_6400, "Ceph"),
    (0x0BD0_0BD0, "Lustre"),
    (0x7375_7245, "Coda"),
    (0x7461_636F, "OCFS2"),
    (0x0116_1970, "GFS2"),
    (0x786F_4256, "a VirtualBox shared folder"),
];

/// Names the network file system that `folder` lies on; `None` when it is local or unknown.
#[cfg(target_os = "linux")]
pub(crate) fn network(folder: &Path) -> Option<&'static str> {
    let stat = rustix::fs::statfs(folder).ok()?;
    named(u32::try_from(stat.f_type & 0xFFFF_FFFF).ok()?)
}

/// Elsewhere the kind of a file system is not looked at.
#[cfg(not(target_os = "linux"))]
pub(crate) fn network(_folder: &Path) -> Option<&'static str> {
    None
}

#[cfg(target_os = "linux")]
fn named(magic: u32) -> Option<&'static str> {
    NETWORK.iter().find(|(known, _)| *known == magic).map(|(_, name)| *name)
}

/// Whether there is too little room left to go on: SQLite reports some failures for want of
/// space as plain I/O errors. A file system without any blocks, as `/proc`, is never full.
pub(crate) fn is_full(folder: &Path) -> bool {
    const LEAST_BYTES: u64 = 64 * 1024;
    rustix::fs::statvfs(folder)
        .is_ok_and(|stat| stat.f_blocks > 0 && stat.f_bavail.saturating_mul(stat.f_frsize) < LEAST_BYTES)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_known_by_their_magic() {
        assert_eq!(named(0x6969), Some("NFS"));
        assert_eq!(named(0xFF53_4D42), Some("CIFS"));
        assert_eq!(named(0x0102_1997), Some("9p"));
        assert_eq!(named(0xEF53), None, "ext4 is local");
        assert_eq!(network(Path::new("/proc")), None);
        assert_eq!(network(Path::new("/no/such/folder")), None);
        assert!(!is_full(Path::new("/proc")));
    }
}
