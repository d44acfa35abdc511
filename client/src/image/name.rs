//! How people name an image or a snapshot: `POOL/NAME`, `POOL/NAME@SNAPSHOT`.

use super::header::check_name;
use crate::error::{EINVAL, Error, Result};
use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageName {
    pub pool: String,
    pub image: String,
    pub snapshot: Option<String>,
}

impl ImageName {
    pub fn parse(text: &str) -> Result<ImageName> {
        let wrong = || Error::new(EINVAL, format!("{text:?} names no image: POOL/NAME or POOL/NAME@SNAPSHOT does"));
        let (pool, rest) = text.split_once('/').ok_or_else(wrong)?;
        let (image, snapshot) = match rest.split_once('@') {
            Some((image, snapshot)) => (image, Some(snapshot)),
            None => (rest, None),
        };
        if pool.is_empty() {
            return Err(wrong());
        }
        check_name("an image", image)?;
        if let Some(snapshot) = snapshot {
            check_name("a snapshot", snapshot)?;
        }
        Ok(ImageName { pool: pool.into(), image: image.into(), snapshot: snapshot.map(str::to_owned) })
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.pool, self.image)?;
        match &self.snapshot {
            Some(snapshot) => write!(f, "@{snapshot}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written_and_nonsense_is_refused() {
        for text in ["data/disk", "data/disk@monday", "p/ü ", "a.b/c.d@e.f"] {
            assert_eq!(ImageName::parse(text).unwrap().to_string(), text);
        }
        for text in
            ["", "disk", "/disk", "data/", "data/a/b", "data/a@", "data/@s", "data/a@b@c", "data/a\n", "data/a@b/c"]
        {
            assert!(ImageName::parse(text).is_err(), "{text:?}");
        }
    }
}
