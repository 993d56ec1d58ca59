//! Trace context: the ids of a span, and the header `traceparent` that carries them from one program to the next.
//! <https://www.w3.org/TR/trace-context/>

use std::fmt;

use weir_core::Random;

/// The id of a trace; never all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TraceId(pub(crate) [u8; 16]);

/// The id of a span; never all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SpanId(pub(crate) [u8; 8]);

impl TraceId {
    pub(crate) fn new(random: &dyn Random) -> Self {
        Self(not_zero(random))
    }
}

impl SpanId {
    pub(crate) fn new(random: &dyn Random) -> Self {
        Self(not_zero(random))
    }
}

fn not_zero<const N: usize>(random: &dyn Random) -> [u8; N] {
    let mut bytes = [0; N];
    random.fill(&mut bytes);
    if bytes == [0; N] {
        bytes[N - 1] = 1;
    }
    bytes
}

impl fmt::Display for TraceId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

/// A span in another program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Remote {
    pub(crate) trace: TraceId,
    pub(crate) span: SpanId,
    pub(crate) sampled: bool,
}

impl Remote {
    /// Reads `traceparent`: `00-<trace>-<span>-<flags>`, and anything that later versions add to that.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let version = hex::<1>(parts.next()?)?;
        let (trace, span) = (hex::<16>(parts.next()?)?, hex::<8>(parts.next()?)?);
        let flags = hex::<1>(parts.next()?)?;
        let known = version != [0xff] && (version != [0] || parts.next().is_none());
        let valid = known && trace != [0; 16] && span != [0; 8];
        valid.then_some(Self { trace: TraceId(trace), span: SpanId(span), sampled: flags[0] & 1 == 1 })
    }
}

/// Reads bytes in hexadecimal, in lower case as the header requires it.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_traceparent_is_read_and_written_back_by_its_ids() {
        let remote = Remote::read(GOOD).unwrap();
        assert_eq!(remote.trace.to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(remote.span.to_string(), "b7ad6b7169203331");
        assert!(remote.sampled);
        assert!(!Remote::read(&GOOD.replace("-01", "-00")).unwrap().sampled);
        assert!(Remote::read(&format!("01{}-more", &GOOD[2..])).is_some(), "of a later version");
    }

    #[test]
    fn what_is_no_traceparent_is_none() {
        for bad in [
            "",
            "00",
            "é",
            &GOOD[..54],
            &format!("{GOOD}-more"),
            &GOOD.to_uppercase(),
            &format!("ff{}", &GOOD[2..]),
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319é-b7ad6b7169203331-01",
        ] {
            assert_eq!(Remote::read(bad), None, "{bad}");
        }
    }

    #[test]
    fn no_id_is_zero() {
        struct Zero;
        impl Random for Zero {
            fn fill(&self, bytes: &mut [u8]) {
                bytes.fill(0);
            }
        }
        assert!(TraceId::new(&Zero).0 != [0; 16] && SpanId::new(&Zero).0 != [0; 8]);
    }
}
