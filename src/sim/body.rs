//! A turn over time: bytes, silences, and the ways in which a stream can end.
//!
//! **Invariant:** a stream that is dropped before the client had all of it is noted as cancelled
//! at that moment.

use std::{collections::VecDeque, future, io, time::Duration};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures_util::stream;

use crate::sim::{
    framing::Framing,
    record::Presence,
    script::Shape,
    turn::{Tail, Turn},
};

/// One thing that happens on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Bytes {
        bytes: Bytes,
        /// The client has all it needs once this is sent.
        terminal: bool,
    },
    Silence(Duration),
    Stall,
    /// Comments for ever, so far apart.
    Hum(Duration),
    Reset,
}

/// The body that plays `turn`; `presence` learns whether the client stays.
pub(super) fn play(turn: &Turn, shape: &Shape, presence: Presence) -> Body {
    let (chunk, drip) = (shape.chunk, shape.drip);
    let stage = Stage { pieces: pieces(turn, shape).into(), chunk, drip, presence };
    Body::from_stream(stream::unfold(stage, |mut stage| async move {
        let next = stage.next().await?;
        Some((next, stage))
    }))
}

fn pieces(turn: &Turn, shape: &Shape) -> Vec<Piece> {
    let framing = Framing::of(shape);
    let mut pieces = Vec::new();
    let mut run = BytesMut::new();
    for event in &turn.events {
        if !event.wait.is_zero() {
            flush(&mut run, &mut pieces);
            pieces.push(Piece::Silence(event.wait));
        }
        let bytes = framing.write(event);
        if event.terminal {
            flush(&mut run, &mut pieces);
            pieces.push(Piece::Bytes { bytes, terminal: true });
        } else if shape.chunk.is_some() {
            // Chunks do not care where events end.
            run.extend_from_slice(&bytes);
        } else {
            pieces.push(Piece::Bytes { bytes, terminal: false });
        }
    }
    flush(&mut run, &mut pieces);
    match turn.tail {
        Tail::End => {}
        Tail::Late(late) => pieces.push(Piece::Silence(late)),
        Tail::Stall => pieces.push(shape.hum.map_or(Piece::Stall, Piece::Hum)),
        Tail::Reset => pieces.push(Piece::Reset),
    }
    pieces
}

fn flush(run: &mut BytesMut, pieces: &mut Vec<Piece>) {
    if !run.is_empty() {
        pieces.push(Piece::Bytes { bytes: run.split().freeze(), terminal: false });
    }
}

struct Stage {
    pieces: VecDeque<Piece>,
    /// The size of a chunk; whole events without.
    chunk: Option<usize>,
    drip: Option<Duration>,
    presence: Presence,
}

impl Stage {
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        loop {
            let Some(piece) = self.pieces.pop_front() else {
                self.presence.finish();
                return None;
            };
            match piece {
                Piece::Bytes { bytes, terminal } => return Some(Ok(self.send(bytes, terminal))),
                Piece::Silence(silence) => tokio::time::sleep(silence).await,
                Piece::Stall => future::pending().await,
                Piece::Hum(every) => {
                    tokio::time::sleep(every).await;
                    self.pieces.push_front(piece);
                    return Some(Ok(Bytes::from_static(b": still here\n\n")));
                }
                Piece::Reset => {
                    self.presence.finish();
                    return Some(Err(io::Error::from(io::ErrorKind::ConnectionReset)));
                }
            }
        }
    }

    /// As much of `bytes` as goes into a chunk; the rest is put back.
    fn send(&mut self, mut bytes: Bytes, terminal: bool) -> Bytes {
        let size = self.chunk.unwrap_or(usize::MAX).min(bytes.len());
        let sent = bytes.split_to(size);
        if bytes.is_empty() {
            // Several events may be terminal; the first is enough for the client to leave.
            if terminal {
                self.presence.finish();
            }
        } else {
            self.pieces.push_front(Piece::Bytes { bytes, terminal });
            if let Some(drip) = self.drip {
                self.pieces.push_front(Piece::Silence(drip));
            }
        }
        sent
    }
}
