//! Bodies that come compressed: the Codex client sends zstd, others gzip.
//!
//! Only who has shown the relay token gets here, and what a body becomes is bounded like a body
//! that comes plain: a small one that unfolds for ever costs at most the limit.

use std::io::{self, Read};

use bytes::Bytes;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use http::{HeaderMap, header::CONTENT_ENCODING};
use ruzstd::decoding::StreamingDecoder;
use tokio::sync::Semaphore;

use crate::api::error::ApiError;

/// How many unfold at the same time. Each may need as much memory as a body may have, and more.
static UNFOLDING: Semaphore = Semaphore::const_new(2);

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Gzip,
    Deflate,
    Zstd,
}

/// `body` as it was before it was compressed, if it was.
///
/// # Errors
///
/// When it is compressed in a way that is not known, is broken, or becomes larger than `limit`.
pub async fn plain(headers: &HeaderMap, body: Bytes, limit: usize) -> Result<Bytes, ApiError> {
    let Some(encoding) = encoding(headers)? else { return Ok(body) };
    // A few bytes may become many megabytes, which are not made between the events of others.
    let turn = UNFOLDING.acquire().await.map_err(|error| ApiError::broken(&error))?;
    let unfolding = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        unfold(encoding, &body, limit)
    });
    let plain = unfolding.await.map_err(|error| ApiError::broken(&error))?;
    match plain {
        Ok(plain) if plain.len() > limit => Err(ApiError::body_too_large(limit)),
        Ok(plain) => Ok(plain.into()),
        Err(error) => Err(ApiError::body_unreadable(&error)),
    }
}

fn encoding(headers: &HeaderMap) -> Result<Option<Encoding>, ApiError> {
    let Some(value) = headers.get(CONTENT_ENCODING) else { return Ok(None) };
    match value.as_bytes().trim_ascii().to_ascii_lowercase().as_slice() {
        b"" | b"identity" => Ok(None),
        b"gzip" | b"x-gzip" => Ok(Some(Encoding::Gzip)),
        b"deflate" => Ok(Some(Encoding::Deflate)),
        b"zstd" => Ok(Some(Encoding::Zstd)),
        _ => Err(ApiError::unknown_encoding()),
    }
}

/// At most one byte more than `limit`.
fn unfold(encoding: Encoding, body: &[u8], limit: usize) -> io::Result<Vec<u8>> {
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let mut plain = Vec::new();
    match encoding {
        Encoding::Gzip => MultiGzDecoder::new(body).take(most).read_to_end(&mut plain)?,
        Encoding::Deflate => ZlibDecoder::new(body).take(most).read_to_end(&mut plain)?,
        Encoding::Zstd => return unfold_frames(body, most),
    };
    Ok(plain)
}

/// All frames: a body may have been compressed in pieces.
fn unfold_frames(mut body: &[u8], most: u64) -> io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    let mut left = most;
    while !body.is_empty() && left > 0 {
        let frame = StreamingDecoder::new(&mut body).map_err(io::Error::other)?;
        let read = frame.take(left).read_to_end(&mut plain)?;
        left = left.saturating_sub(u64::try_from(read).unwrap_or(u64::MAX));
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{
        Compression,
        write::{GzEncoder, ZlibEncoder},
    };
    use http::StatusCode;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    const BODY: &[u8] = br#"{"model":"m"}"#;

    async fn check(encoding: &'static str, body: Vec<u8>, limit: usize) -> Result<Bytes, u16> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, encoding.parse().expect("a header"));
        let status = |error: ApiError| StatusCode::as_u16(&error.status());
        plain(&headers, body.into(), limit).await.map_err(status)
    }

    fn gzip(body: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(body).expect("written");
        encoder.finish().expect("finished")
    }

    fn deflate(body: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(body).expect("written");
        encoder.finish().expect("finished")
    }

    #[tokio::test]
    async fn a_body_in_several_frames_is_one_body() {
        let frame = |part: &[u8]| compress_to_vec(part, CompressionLevel::Fastest);
        let (head, tail) = BODY.split_at(5);
        let frames = [frame(head), frame(b""), frame(tail)].concat();
        assert_eq!(check("zstd", frames.clone(), 99).await.expect("whole"), BODY);
        assert_eq!(check("zstd", frames.clone(), BODY.len() - 1).await, Err(413));
        let cut = frames[..frames.len() - 1].to_vec();
        assert_eq!(check("zstd", cut, 99).await, Err(400));
        let bombs = frame(&vec![b' '; 1 << 20]).repeat(1000);
        assert_eq!(check("zstd", bombs, 8 << 20).await, Err(413));
        let members = [gzip(head), gzip(tail)].concat();
        assert_eq!(check("gzip", members, 99).await.expect("whole"), BODY);
    }

    #[tokio::test]
    async fn every_known_encoding_is_undone() {
        let zstd = compress_to_vec(BODY, CompressionLevel::Fastest);
        for (encoding, body) in [
            ("identity", BODY.to_vec()),
            ("gzip", gzip(BODY)),
            ("GZIP", gzip(BODY)),
            ("deflate", deflate(BODY)),
            ("zstd", zstd),
        ] {
            assert_eq!(check(encoding, body, 99).await, Ok(Bytes::from_static(BODY)), "{encoding}");
        }
    }

    #[tokio::test]
    async fn what_unfolds_for_ever_is_cut_off() {
        let bomb = vec![b' '; 8 << 20];
        let zstd = compress_to_vec(bomb.as_slice(), CompressionLevel::Fastest);
        for (encoding, body) in [("gzip", gzip(&bomb)), ("deflate", deflate(&bomb)), ("zstd", zstd)]
        {
            assert!(body.len() < 1 << 20, "{encoding}");
            assert_eq!(check(encoding, body, 1 << 20).await, Err(413), "{encoding}");
        }
    }

    #[tokio::test]
    async fn broken_and_unknown_encodings_are_refused() {
        for (encoding, status) in [("gzip", 400), ("deflate", 400), ("zstd", 400), ("br", 415)] {
            assert_eq!(check(encoding, BODY.to_vec(), 99).await, Err(status), "{encoding}");
        }
        let mut cut = gzip(BODY);
        cut.truncate(cut.len() - 9);
        assert_eq!(check("gzip", cut, 99).await, Err(400));
    }
}
