//! The files of a list as the disk has them, and a name for the content of each: what a feature
//! cache asks for every row at every start, so it must cost a microsecond.
//!
//! Names come as one byte string with a NUL between each two, as no file name holds one.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::{Error, Result, Workers};

/// Names a thread takes at a time.
const BLOCK: usize = 1024;

/// A 128-bit name for one content of one file.
pub type RowId = [u64; 2];

/// What is no regular file has this error; others are the system's.
pub const NOT_A_FILE: i32 = -1;
/// An error that has no number, such as a name that is not text where the system wants text.
pub const UNNAMED: i32 = -2;

/// Size, modification time and, where there is none, why: one element a file.
#[derive(Debug, Default, PartialEq)]
pub struct FileStats {
    /// Bytes; 0 where there is an error.
    pub sizes: Vec<i64>,
    /// Nanoseconds since 1970; 0 where there is an error.
    pub mtimes_ns: Vec<i64>,
    /// 0, the system's error number, [`NOT_A_FILE`] or [`UNNAMED`].
    pub errors: Vec<i32>,
}

/// Ask the system for each of `names` below `root`; links are followed. O(N), 20 bytes a file.
///
/// # Errors
/// [`Error::Interrupted`] if the caller wants to stop.
pub fn stat_files(root: &[u8], names: &[u8], workers: &Workers) -> Result<FileStats> {
    let names = split(names);
    let n = names.len();
    let mut stats =
        FileStats { sizes: vec![0; n], mtimes_ns: vec![0; n], errors: vec![UNNAMED; n] };
    let root = to_path(root);
    let tasks = names
        .chunks(BLOCK)
        .zip(stats.sizes.chunks_mut(BLOCK))
        .zip(stats.mtimes_ns.chunks_mut(BLOCK))
        .zip(stats.errors.chunks_mut(BLOCK));
    workers.for_each(tasks, |(((names, sizes), mtimes_ns), errors)| {
        for (i, name) in names.iter().enumerate() {
            let found = match (&root, to_path(name)) {
                (Some(root), Some(name)) => size_and_time(&root.join(name)),
                _ => Err(UNNAMED),
            };
            match found {
                Ok((size, mtime_ns)) => {
                    (sizes[i], mtimes_ns[i], errors[i]) = (size, mtime_ns, 0);
                }
                Err(error) => errors[i] = error,
            }
        }
    })?;
    Ok(stats)
}

/// Name each row by the BLAKE3 of its size, modification time and path: another file or another
/// content has another name, but with a chance of 2⁻¹²⁸. Sizes and times are those of the names.
///
/// # Errors
/// [`Error::Length`] if sizes or times are not as many as names; [`Error::Interrupted`].
pub fn row_ids(
    names: &[u8],
    sizes: &[i64],
    mtimes_ns: &[i64],
    workers: &Workers,
) -> Result<Vec<RowId>> {
    let names = split(names);
    for (argument, found) in [("sizes", sizes.len()), ("mtimes_ns", mtimes_ns.len())] {
        if found != names.len() {
            return Err(Error::Length { argument, found, expected: names.len(), counts: "names" });
        }
    }
    let mut ids = vec![[0; 2]; names.len()];
    let tasks = names
        .chunks(BLOCK)
        .zip(sizes.chunks(BLOCK))
        .zip(mtimes_ns.chunks(BLOCK))
        .zip(ids.chunks_mut(BLOCK));
    workers.for_each(tasks, |(((names, sizes), mtimes_ns), ids)| {
        for (i, name) in names.iter().enumerate() {
            let mut hasher = blake3::Hasher::new();
            hasher.update(&sizes[i].to_le_bytes());
            hasher.update(&mtimes_ns[i].to_le_bytes());
            hasher.update(name);
            ids[i] = first_half(&hasher.finalize());
        }
    })?;
    Ok(ids)
}

fn first_half(hash: &blake3::Hash) -> RowId {
    let word = |at: usize| {
        hash.as_bytes()[at..at + 8].iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
    };
    [word(0), word(8)]
}

/// The names between the NULs; of an empty string none.
fn split(names: &[u8]) -> Vec<&[u8]> {
    if names.is_empty() { Vec::new() } else { names.split(|byte| *byte == 0).collect() }
}

fn size_and_time(path: &Path) -> std::result::Result<(i64, i64), i32> {
    let number = |error: io::Error| error.raw_os_error().unwrap_or(UNNAMED);
    let found = fs::metadata(path).map_err(number)?;
    if !found.is_file() {
        return Err(NOT_A_FILE);
    }
    Ok((found.len() as i64, mtime_ns(&found)))
}

/// As Python's `st_mtime_ns`; before 1970 negative.
fn mtime_ns(found: &Metadata) -> i64 {
    let Ok(time) = found.modified() else { return 0 };
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => after.as_nanos() as i64,
        Err(before) => -(before.duration().as_nanos() as i64),
    }
}

#[cfg(unix)]
#[allow(clippy::unnecessary_wraps)]
fn to_path(name: &[u8]) -> Option<PathBuf> {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    Some(PathBuf::from(OsStr::from_bytes(name)))
}

#[cfg(not(unix))]
fn to_path(name: &[u8]) -> Option<PathBuf> {
    std::str::from_utf8(name).ok().map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{NOT_A_FILE, row_ids, split, stat_files};
    use crate::{Error, Workers};

    #[test]
    fn names_lie_between_nuls() {
        assert!(split(b"").is_empty());
        assert_eq!(split(b"a\0\0b"), [&b"a"[..], b"", b"b"]);
    }

    #[test]
    fn each_file_is_asked_for_below_the_root() {
        let root = std::env::temp_dir().join(format!("dbpt-files-{}", std::process::id()));
        fs::create_dir_all(root.join("sub")).unwrap();
        fs::write(root.join("sub/a b"), b"seven").unwrap();
        let names: Vec<&[u8]> = vec![b"sub/a b", b"gone", b"sub"];
        let root_bytes = root.to_str().unwrap().as_bytes();
        for num_threads in [1, 3] {
            let workers = Workers::new(num_threads);
            let many = names.iter().copied().cycle().take(3000).collect::<Vec<_>>().join(&0);
            let found = stat_files(root_bytes, &many, &workers).unwrap();
            assert_eq!(found.sizes[..3], [5, 0, 0]);
            assert_eq!(found.errors[0], 0);
            assert_eq!(found.errors[2], NOT_A_FILE);
            assert!(found.errors[1] > 0);
            assert!(found.mtimes_ns[0] > 1_600_000_000_000_000_000);
            assert_eq!(found.sizes[2997..], [5, 0, 0]);
        }
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn ids_are_stable_and_differ_in_each_part() {
        let workers = Workers::new(2);
        let ids = row_ids(b"a\0b\0a\0a\0a", &[1, 1, 2, 1, 1], &[5, 5, 5, 6, 5], &workers).unwrap();
        assert_eq!(ids[0], [3_740_914_001_043_893_867, 11_565_977_717_568_019_833]);
        assert_eq!(ids[0], ids[4]);
        for other in &ids[1..4] {
            assert_ne!(ids[0], *other);
        }
        let lengths = row_ids(b"a\0b", &[1], &[1, 1], &workers);
        assert!(matches!(lengths, Err(Error::Length { argument: "sizes", found: 1, .. })));
    }
}
