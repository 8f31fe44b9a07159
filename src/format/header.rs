//! The header of a safetensors file, read without trusting it.

use crate::Result;
use crate::error::bad_file;
use safetensors::SafeTensors;
use safetensors::tensor::Metadata;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::HashMap;
use std::fmt;

/// Bytes of a header at most. Those of large models have some hundred thousand.
pub const MAX_HEADER_BYTES: usize = 16 << 20;

/// What loading a model may ask for at a time, for each byte of its header.
const RESERVE_A_BYTE: usize = 128;

/// Dimensions of a tensor at most. Parsing a longer list would take more than what is set aside for its bytes.
const MAX_DIMENSIONS: usize = 8;

/// What of a safetensors header is needed to compare it with the file's length.
#[derive(Deserialize)]
struct Ends {
    data_offsets: Option<(u64, u64)>,
    #[serde(default, rename = "shape")]
    _shape: Dimensions,
}

/// A list of few numbers, of which none is kept.
#[derive(Default)]
struct Dimensions;

impl<'de> Deserialize<'de> for Dimensions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Dimensions, D::Error> {
        struct Count;
        impl<'de> Visitor<'de> for Count {
            type Value = Dimensions;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "up to {MAX_DIMENSIONS} dimensions")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<Dimensions, A::Error> {
                let mut count = 0;
                while list.next_element::<u64>()?.is_some() {
                    count += 1;
                    if count > MAX_DIMENSIONS {
                        return Err(A::Error::invalid_length(count, &self));
                    }
                }
                Ok(Dimensions)
            }
        }
        deserializer.deserialize_seq(Count)
    }
}

/// The byte at which tensor data starts, and the header. Every tensor lies inside `bytes`, tensors follow each other
/// without gaps to the end, and sizes fit shapes.
///
/// The safetensors crate checks this too, but it adds sizes up before it compares them with the file's, and crafted
/// ones overflow (0.8); and "truncated" is a message worth giving with a tensor's name. So ends are compared first.
pub fn read_header(bytes: &[u8]) -> Result<(usize, Metadata)> {
    let truncated = |detail: std::fmt::Arguments<'_>| {
        bad_file(format_args!("not a .rasp or safetensors file, or a truncated one: {detail}"))
    };
    let Some(claimed) = bytes.first_chunk::<8>().map(|b| u64::from_le_bytes(*b)) else {
        return Err(truncated(format_args!("{} bytes are too few for a header", bytes.len())));
    };
    let room = bytes.len() - 8;
    let Some(header_len) = usize::try_from(claimed).ok().filter(|len| *len <= room) else {
        return Err(truncated(format_args!("its header would take {claimed} bytes, and {room} follow")));
    };
    if header_len > MAX_HEADER_BYTES {
        return Err(bad_file(format_args!("the header has {header_len} bytes; {MAX_HEADER_BYTES} are the most")));
    }
    crate::reserve::more(RESERVE_A_BYTE * header_len)?;
    let ends: HashMap<String, Ends> = serde_json::from_slice(&bytes[8..8 + header_len])
        .map_err(|e| bad_file(format_args!("the header is not that of a safetensors file: {e}")))?;
    let data_len = (room - header_len) as u64;
    let beyond = ends.iter().filter_map(|(name, ends)| Some((name, ends.data_offsets?)));
    // The least name, so that the same file always gives the same message.
    if let Some((name, (start, end))) = beyond.filter(|(_, (start, end))| *start.max(end) > data_len).min() {
        return Err(bad_file(format_args!(
            "tensor {name}: its bytes {start} to {end} lie beyond the {data_len} there are; the file is truncated"
        )));
    }
    let (_, metadata) =
        SafeTensors::read_metadata(bytes).map_err(|e| bad_file(format_args!("the header is not valid: {e}")))?;
    Ok((8 + header_len, metadata))
}

/// Where the header of a file ends that has passed [`read_header`]. Within its bytes even if somebody has overwritten
/// them since.
pub(crate) fn header_end(bytes: &[u8]) -> usize {
    let length = bytes.first_chunk::<8>().map_or(0, |length| u64::from_le_bytes(*length));
    usize::try_from(length).unwrap_or(usize::MAX).saturating_add(8).min(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Status;

    fn file(header: &str, data: usize) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.resize(bytes.len() + data, 0);
        bytes
    }

    #[test]
    fn sizes_that_would_overflow_are_refused() {
        let max = u64::MAX - 3;
        let header = format!(r#"{{"a":{{"dtype":"U8","shape":[{max}],"data_offsets":[0,{max}]}}}}"#);
        let error = read_header(&file(&header, 4)).unwrap_err();
        assert_eq!(error.status(), Status::BadFile);
        assert!(error.message().contains("tensor a"), "{error}");
    }

    #[test]
    fn every_truncation_is_refused() {
        let whole = file(r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}"#, 4);
        assert!(read_header(&whole).is_ok());
        for len in 0..whole.len() {
            assert_eq!(read_header(&whole[..len]).unwrap_err().status(), Status::BadFile, "{len} bytes");
        }
        let mut longer = whole;
        longer.push(0);
        assert!(read_header(&longer).is_err(), "bytes after the last tensor");
    }

    #[test]
    fn shapes_and_gaps_are_checked() {
        for header in [
            r#"{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,4]}}"#,
            r#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[1],"data_offsets":[3,4]}}"#,
            r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[4,0]}}"#,
            r#"{"a":{"dtype":"U8","shape":[4,1,1,1,1,1,1,1,1],"data_offsets":[0,4]}}"#,
            r#"{"a":{"dtype":"U8","shape":"4","data_offsets":[0,4]}}"#,
            r#"{"a":7}"#,
            "[]",
        ] {
            assert_eq!(read_header(&file(header, 4)).unwrap_err().status(), Status::BadFile, "{header}");
        }
    }
}
