//! Whether an object is as a request expects it.

use crate::refusal::Refusal;
use basalt_blockstore::ObjectInfo;
use basalt_net::message::object::Operation;

/// Judges one guard; `Ok` for operations that are none. `info`: the object, if it exists. `held`: the value of the xattr or the omap
/// key that the guard names, if it names one and it exists.
pub fn check(guard: &Operation, object: &[u8], info: Option<&ObjectInfo>, held: Option<&[u8]>) -> Result<(), Refusal> {
    match guard {
        Operation::AssertExists if info.is_none() => Err(Refusal::no_such_object(object)),
        Operation::AssertAbsent if info.is_some() => {
            Err(Refusal::new(libc::EEXIST, format!("object '{}' exists already", object.escape_ascii())))
        }
        Operation::AssertVersion(expected) => {
            let found = info.map_or(0, |info| info.version);
            if found == *expected {
                return Ok(());
            }
            Err(Refusal::new(
                libc::ERANGE,
                format!("object '{}' has version {found}, not {expected}; read it again", object.escape_ascii()),
            ))
        }
        Operation::AssertXattr { name, value } if held != value.as_deref() => {
            Err(another_value("xattr", name, object, held))
        }
        Operation::AssertOmap { key, value } if held != value.as_deref() => {
            Err(another_value("omap key", key, object, held))
        }
        _ => Ok(()),
    }
}

fn another_value(what: &str, name: &[u8], object: &[u8], held: Option<&[u8]>) -> Refusal {
    let seen = if held.is_none() { "is missing" } else { "has another value" };
    Refusal::new(
        libc::ECANCELED,
        format!("{what} '{}' of object '{}' {seen}; read it again", name.escape_ascii(), object.escape_ascii()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use basalt_blockstore::ObjectId;

    fn errno(guard: Operation, version: Option<u64>, xattr: Option<&[u8]>) -> i32 {
        let info = version.map(|version| ObjectInfo { id: ObjectId(1), size: 0, version, mtime_ns: 0 });
        check(&guard, b"object", info.as_ref(), xattr).map_or_else(|refusal| refusal.errno, |()| 0)
    }

    #[test]
    fn each_guard_holds_exactly_where_it_says() {
        let xattr =
            |value: Option<&[u8]>| Operation::AssertXattr { name: b"x".to_vec(), value: value.map(<[u8]>::to_vec) };
        let omap =
            |value: Option<&[u8]>| Operation::AssertOmap { key: b"k".to_vec(), value: value.map(<[u8]>::to_vec) };
        for (guard, version, found, expected) in [
            (Operation::AssertExists, Some(1), None, 0),
            (Operation::AssertExists, None, None, libc::ENOENT),
            (Operation::AssertAbsent, None, None, 0),
            (Operation::AssertAbsent, Some(1), None, libc::EEXIST),
            (Operation::AssertVersion(5), Some(5), None, 0),
            (Operation::AssertVersion(5), Some(6), None, libc::ERANGE),
            (Operation::AssertVersion(5), None, None, libc::ERANGE),
            (Operation::AssertVersion(0), None, None, 0),
            (xattr(Some(b"v")), Some(1), Some(b"v".as_slice()), 0),
            (xattr(Some(b"v")), Some(1), Some(b"w"), libc::ECANCELED),
            (xattr(Some(b"v")), Some(1), None, libc::ECANCELED),
            (xattr(None), Some(1), None, 0),
            (xattr(None), Some(1), Some(b""), libc::ECANCELED),
            (xattr(Some(b"v")), None, None, libc::ECANCELED),
            (omap(Some(b"v")), Some(1), Some(b"v".as_slice()), 0),
            (omap(Some(b"v")), Some(1), Some(b"w"), libc::ECANCELED),
            (omap(None), Some(1), Some(b""), libc::ECANCELED),
            (omap(None), None, None, 0),
        ] {
            assert_eq!(errno(guard.clone(), version, found), expected, "{guard:?} of {version:?} with {found:?}");
        }
    }
}
