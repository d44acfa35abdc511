//! A map as bytes: ours, not Ceph's.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | magic `BSLTCRSH` |
//! | 4 | version: 2 if any device has a slice, else 1 |
//! | 4 | crc32c of all that follows |
//! | 8 × 4 | tunables |
//! | … | types, classes, devices, buckets, rules, choose_args: each a count, then its entries by ascending id |
//!
//! All numbers are little-endian; a count or length is 4 bytes, and never more than what follows could hold. The same map always gives
//! the same bytes, so that maps can be compared by them. What is read is checked as a whole before anyone sees it.

use super::bucket::{Algorithm, Bucket, Item};
use super::limits;
use super::map::{ChooseArg, CrushMap, Device, Slice};
use super::rule::{Choose, Mode, Rule, RuleKind, Step};
use super::tunables::Tunables;
use std::collections::BTreeMap;

const MAGIC: [u8; 8] = *b"BSLTCRSH";
/// Devices have a class only.
const VERSION_PLAIN: u32 = 1;
/// Each device has a slice's class and weight behind its own class.
const VERSION_SLICES: u32 = 2;
const HEADER_BYTES: usize = 16;
/// Stands for no class, no name, no original.
const NONE: u32 = u32::MAX;

/// Why bytes are not a CRUSH map.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("{0} bytes are no CRUSH map: one has at least {HEADER_BYTES} bytes and at most {max}", max = limits::ENCODED_BYTES_MAX)]
    Length(usize),
    #[error("these bytes are no CRUSH map: they don't start with its magic")]
    Magic,
    #[error(
        "the CRUSH map has format version {0}, and this program reads {VERSION_PLAIN} and {VERSION_SLICES}: update it"
    )]
    Version(u32),
    #[error("the CRUSH map is damaged: its checksum is {stored:08x}, and {computed:08x} would be right")]
    Checksum { stored: u32, computed: u32 },
    #[error("the CRUSH map is malformed at byte {at}: {what}")]
    Malformed { at: usize, what: &'static str },
    #[error("the CRUSH map contradicts itself: {0}")]
    Contradiction(String),
}

impl CrushMap {
    /// Whether bytes claim to be an encoded map, rather than a text.
    pub fn is_encoded(bytes: &[u8]) -> bool {
        bytes.starts_with(&MAGIC)
    }

    /// Adds the map's bytes to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut body = Writer(Vec::new());
        let has_slices = self.devices.values().any(|device| device.slice.is_some());
        self.write(&mut body, has_slices);
        let version = if has_slices { VERSION_SLICES } else { VERSION_PLAIN };
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&version.to_le_bytes());
        out.extend_from_slice(&crc32c::crc32c(&body.0).to_le_bytes());
        out.extend_from_slice(&body.0);
    }

    /// Refuses whatever is not exactly a map; never panics, and allocates no more than the bytes justify.
    pub fn decode(bytes: &[u8]) -> Result<CrushMap, DecodeError> {
        if bytes.len() > limits::ENCODED_BYTES_MAX {
            return Err(DecodeError::Length(bytes.len()));
        }
        let Some((header, body)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Err(DecodeError::Length(bytes.len()));
        };
        let [m0, m1, m2, m3, m4, m5, m6, m7, v0, v1, v2, v3, c0, c1, c2, c3] = *header;
        if [m0, m1, m2, m3, m4, m5, m6, m7] != MAGIC {
            return Err(DecodeError::Magic);
        }
        let version = u32::from_le_bytes([v0, v1, v2, v3]);
        if version != VERSION_PLAIN && version != VERSION_SLICES {
            return Err(DecodeError::Version(version));
        }
        let stored = u32::from_le_bytes([c0, c1, c2, c3]);
        let computed = crc32c::crc32c(body);
        if stored != computed {
            return Err(DecodeError::Checksum { stored, computed });
        }
        let mut reader = Reader { bytes: body, length: bytes.len() };
        let map = CrushMap::read(&mut reader, version == VERSION_SLICES)?;
        if !reader.bytes.is_empty() {
            return Err(reader.malformed("there is more than a map"));
        }
        // One map has one encoding.
        if version == VERSION_SLICES && map.devices.values().all(|device| device.slice.is_none()) {
            return Err(reader.malformed("no device has a slice"));
        }
        map.check().map_err(DecodeError::Contradiction)?;
        Ok(map)
    }

    fn write(&self, out: &mut Writer, has_slices: bool) {
        for (_, value, _) in self.tunables.named() {
            out.u32(value);
        }
        out.all(&self.types, |out, (id, name)| {
            out.u32((*id).into());
            out.text(name);
        });
        out.all(&self.classes, |out, (id, name)| {
            out.u32(*id);
            out.text(name);
        });
        out.all(&self.devices, |out, (id, device)| {
            out.i32(*id);
            out.text(&device.name);
            out.u32(device.class.unwrap_or(NONE));
            if has_slices {
                let (class, weight) = device.slice.map_or((NONE, 0), |slice| (slice.class, slice.weight));
                out.u32(class);
                out.u32(weight);
            }
        });
        out.all(&self.buckets, |out, (id, bucket)| {
            out.i32(*id);
            out.text(&bucket.name);
            out.u32(bucket.type_id.into());
            out.u32(bucket.algorithm.number().into());
            out.all(&bucket.items, |out, item| {
                out.i32(item.id);
                out.u32(item.weight);
            });
            out.all(&bucket.shadows, |out, (class, id)| {
                out.u32(*class);
                out.i32(*id);
            });
            let (original, class) = bucket.shadow_of.unwrap_or((0, NONE));
            out.i32(original);
            out.u32(class);
        });
        out.all(&self.rules, |out, (id, rule)| {
            out.u32(*id);
            // No rule's name is empty.
            out.text(rule.name.as_deref().unwrap_or_default());
            out.u32(rule.kind.number().into());
            out.u32(rule.size_min.into());
            out.u32(rule.size_max.into());
            out.all(&rule.steps, write_step);
        });
        out.all(&self.choose_args, |out, (set, args)| {
            out.0.extend_from_slice(&set.to_le_bytes());
            out.all(args, |out, (id, arg)| {
                out.i32(*id);
                out.all(&arg.ids, |out, id| out.i32(*id));
                out.all(&arg.weight_sets, |out, weights| out.all(weights, |out, weight| out.u32(*weight)));
            });
        });
    }

    fn read(from: &mut Reader<'_>, has_slices: bool) -> Result<CrushMap, DecodeError> {
        let mut tunables = Tunables::ARGONAUT;
        for (name, ..) in Tunables::ARGONAUT.named() {
            let value = from.u32()?;
            if let Some(tunable) = tunables.named_mut(name) {
                *tunable = value;
            }
        }
        Ok(CrushMap {
            tunables,
            types: from.map(8, |from| Ok((from.u16("a type's id")?, from.text()?)))?,
            classes: from.map(8, |from| Ok((from.u32()?, from.text()?)))?,
            devices: from.map(12, |from| {
                let id = from.i32()?;
                let name = from.text()?;
                let class = Some(from.u32()?).filter(|class| *class != NONE);
                let (slice_class, weight) = if has_slices { (from.u32()?, from.u32()?) } else { (NONE, 0) };
                let slice = (slice_class != NONE).then_some(Slice { class: slice_class, weight });
                if slice.is_none() && weight != 0 {
                    return Err(from.malformed("a device has a slice's weight and no slice"));
                }
                Ok((id, Device { name, class, slice }))
            })?,
            buckets: from.map(32, |from| {
                let bucket = read_bucket(from)?;
                Ok((bucket.id, bucket))
            })?,
            rules: from.map(24, |from| Ok((from.u32()?, read_rule(from)?)))?,
            choose_args: from.map(12, |from| {
                let set = from.i64()?;
                let args = from.map(12, |from| {
                    let id = from.i32()?;
                    let ids = from.list(4, Reader::i32)?;
                    let weight_sets = from.list(4, |from| from.list(4, Reader::u32))?;
                    Ok((id, ChooseArg { ids, weight_sets }))
                })?;
                Ok((set, args))
            })?,
        })
    }
}

fn read_bucket(from: &mut Reader<'_>) -> Result<Bucket, DecodeError> {
    let id = from.i32()?;
    let name = from.text()?;
    let type_id = from.u16("a bucket's type")?;
    let algorithm = from.u8("a bucket's algorithm")?;
    let Some(algorithm) = Algorithm::from_number(algorithm) else {
        return Err(from.malformed("there is no such algorithm"));
    };
    let items = from.list(8, |from| Ok(Item { id: from.i32()?, weight: from.u32()? }))?;
    let shadows = from.map(8, |from| Ok((from.u32()?, from.i32()?)))?;
    let (original, class) = (from.i32()?, from.u32()?);
    let shadow_of = (class != NONE).then_some((original, class));
    if shadow_of.is_none() && original != 0 {
        return Err(from.malformed("a bucket is the shadow of another in no class"));
    }
    Ok(Bucket { id, name, type_id, algorithm, items, shadows, shadow_of })
}

fn read_rule(from: &mut Reader<'_>) -> Result<Rule, DecodeError> {
    let name = Some(from.text()?).filter(|name| !name.is_empty());
    let kind = from.u8("a rule's type")?;
    let Some(kind) = RuleKind::from_number(kind) else {
        return Err(from.malformed("there is no such type of rules"));
    };
    let (size_min, size_max) = (from.u8("min_size")?, from.u8("max_size")?);
    let steps = from.list(12, read_step)?;
    Ok(Rule { name, kind, size_min, size_max, steps })
}

/// Ceph's numbers for the steps, so that a dump can be read by those who know them.
fn write_step(out: &mut Writer, step: &Step) {
    let (operation, first, second) = match *step {
        Step::Noop => (0, 0, 0),
        Step::Take(item) => (1, item as u32, 0),
        Step::Choose(Choose { leaf, mode, count, type_id }) => {
            let operation = match (leaf, mode) {
                (false, Mode::Firstn) => 2,
                (false, Mode::Indep) => 3,
                (true, Mode::Firstn) => 6,
                (true, Mode::Indep) => 7,
            };
            (operation, count as u32, type_id.into())
        }
        Step::Emit => (4, 0, 0),
        Step::SetChooseTries(value) => (8, value, 0),
        Step::SetChooseleafTries(value) => (9, value, 0),
        Step::SetChooseLocalTries(value) => (10, value, 0),
        Step::SetChooseLocalFallbackTries(value) => (11, value, 0),
        Step::SetChooseleafVaryR(value) => (12, value, 0),
        Step::SetChooseleafStable(value) => (13, value, 0),
    };
    for word in [operation, first, second] {
        out.u32(word);
    }
}

fn read_step(from: &mut Reader<'_>) -> Result<Step, DecodeError> {
    let (operation, first, second) = (from.u32()?, from.u32()?, from.u32()?);
    let is_choose = matches!(operation, 2 | 3 | 6 | 7);
    let type_id = u16::try_from(second).ok().filter(|_| is_choose || second == 0);
    let choose = |leaf, mode| type_id.map(|type_id| Step::Choose(Choose { leaf, mode, count: first as i32, type_id }));
    let step = match operation {
        0 if first == 0 => Some(Step::Noop),
        1 => Some(Step::Take(first as i32)),
        2 => choose(false, Mode::Firstn),
        3 => choose(false, Mode::Indep),
        4 if first == 0 => Some(Step::Emit),
        6 => choose(true, Mode::Firstn),
        7 => choose(true, Mode::Indep),
        8 => Some(Step::SetChooseTries(first)),
        9 => Some(Step::SetChooseleafTries(first)),
        10 => Some(Step::SetChooseLocalTries(first)),
        11 => Some(Step::SetChooseLocalFallbackTries(first)),
        12 => Some(Step::SetChooseleafVaryR(first)),
        13 => Some(Step::SetChooseleafStable(first)),
        _ => None,
    };
    step.filter(|_| type_id.is_some()).ok_or_else(|| from.malformed("there is no such step of a rule"))
}

struct Writer(Vec<u8>);

impl Writer {
    fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn i32(&mut self, value: i32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.u32(text.len() as u32);
        self.0.extend_from_slice(text.as_bytes());
    }

    fn all<T>(
        &mut self,
        entries: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
        mut write: impl FnMut(&mut Writer, T),
    ) {
        let entries = entries.into_iter();
        self.u32(entries.len() as u32);
        for entry in entries {
            write(self, entry);
        }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    /// Of the whole map, to say where something is.
    length: usize,
}

impl Reader<'_> {
    fn malformed(&self, what: &'static str) -> DecodeError {
        DecodeError::Malformed { at: self.length - self.bytes.len(), what }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let Some((array, rest)) = self.bytes.split_first_chunk() else {
            return Err(self.malformed("it ends in the middle of a number"));
        };
        self.bytes = rest;
        Ok(*array)
    }

    fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_le_bytes)
    }

    fn i32(&mut self) -> Result<i32, DecodeError> {
        self.array().map(i32::from_le_bytes)
    }

    fn i64(&mut self) -> Result<i64, DecodeError> {
        self.array().map(i64::from_le_bytes)
    }

    fn u16(&mut self, what: &'static str) -> Result<u16, DecodeError> {
        let value = self.u32()?;
        u16::try_from(value).map_err(|_| self.malformed(what))
    }

    fn u8(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        let value = self.u32()?;
        u8::try_from(value).map_err(|_| self.malformed(what))
    }

    fn text(&mut self) -> Result<String, DecodeError> {
        let length = self.u32()? as usize;
        let Some((text, rest)) = self.bytes.split_at_checked(length) else {
            return Err(self.malformed("a name is longer than what follows"));
        };
        let text = std::str::from_utf8(text).map_err(|_| self.malformed("a name is not UTF-8"))?;
        self.bytes = rest;
        Ok(text.to_owned())
    }

    /// `least` bytes an entry bound what a count may claim.
    fn list<T>(
        &mut self,
        least: usize,
        mut read: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let count = self.u32()? as usize;
        if count > self.bytes.len() / least {
            return Err(self.malformed("a count is more than what follows could hold"));
        }
        (0..count).map(|_| read(self)).collect()
    }

    /// Keys must ascend, so that a map has one encoding only.
    fn map<K: Ord + Copy, V>(
        &mut self,
        least: usize,
        read: impl FnMut(&mut Self) -> Result<(K, V), DecodeError>,
    ) -> Result<BTreeMap<K, V>, DecodeError> {
        let entries = self.list(least, read)?;
        if !entries.is_sorted_by(|(a, _), (b, _)| a < b) {
            return Err(self.malformed("the ids before do not ascend"));
        }
        Ok(entries.into_iter().collect())
    }
}
