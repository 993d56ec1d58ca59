//! Sampling: which traces are kept. The decision is made where a trace begins; all spans in it share it.
//! <https://opentelemetry.io/docs/specs/otel/trace/sdk/#sampling>

use crate::context::{Remote, TraceId};

/// Decides which traces are kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sampler {
    /// Whether the calling program decides, if there is one.
    by_parent: bool,
    share: Share,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Share {
    All,
    None,
    /// This many of 2^63.
    Of(u64),
}

impl Sampler {
    /// OpenTelemetry's default.
    pub(crate) const USUAL: Self = Self { by_parent: true, share: Share::All };

    /// Reads `OTEL_TRACES_SAMPLER` and its `_ARG`.
    pub(crate) fn read(name: &str, argument: Option<&str>) -> Option<Self> {
        let (by_parent, name) = name.strip_prefix("parentbased_").map_or((false, name), |name| (true, name));
        let share = match name {
            "always_on" => Share::All,
            "always_off" => Share::None,
            "traceidratio" => Share::Of(of_two_to_the_63(argument.map_or(Ok(1.0), str::parse).ok()?)?),
            _ => return None,
        };
        Some(Self { by_parent, share })
    }

    pub(crate) fn keeps(self, trace: TraceId, parent: Option<Remote>) -> bool {
        if let Some(parent) = parent.filter(|_| self.by_parent) {
            return parent.sampled;
        }
        match self.share {
            Share::All => true,
            Share::None => false,
            Share::Of(share) => {
                let last = trace.0.last_chunk().copied().map_or(0, u64::from_be_bytes);
                last >> 1 < share
            }
        }
    }
}

/// A share between 0 and 1.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a share needs no more digits than it has"
)]
fn of_two_to_the_63(share: f64) -> Option<u64> {
    (0.0..=1.0).contains(&share).then_some((share * (1_u64 << 63) as f64) as u64)
}

#[cfg(test)]
mod tests {
    use weir_core::SeededRandom;

    use super::*;
    use crate::context::SpanId;

    #[test]
    fn the_caller_has_the_word_where_the_sampler_says_so() {
        let trace = TraceId([1; 16]);
        let parent = |sampled| Some(Remote { trace, span: SpanId([1; 8]), sampled });
        let keeps = |name: &str, parent| Sampler::read(name, None).unwrap().keeps(trace, parent);
        assert!(keeps("parentbased_always_on", None) && keeps("parentbased_always_on", parent(true)));
        assert!(!keeps("parentbased_always_on", parent(false)));
        assert!(!keeps("parentbased_always_off", None) && keeps("parentbased_always_off", parent(true)));
        assert!(keeps("always_on", parent(false)) && !keeps("always_off", parent(true)));
        assert_eq!(Sampler::read("parentbased_always_on", None), Some(Sampler::USUAL));
    }

    #[test]
    fn a_ratio_keeps_that_share_of_the_traces() {
        let random = SeededRandom::new(7);
        let traces: Vec<TraceId> = (0..4000).map(|_| TraceId::new(&random)).collect();
        for (ratio, few, many) in [("0", 0, 0), ("0.25", 800, 1200), ("1", 4000, 4000)] {
            let sampler = Sampler::read("traceidratio", Some(ratio)).unwrap();
            let kept = traces.iter().filter(|trace| sampler.keeps(**trace, None)).count();
            assert!((few..=many).contains(&kept), "{ratio}: {kept}");
        }
    }

    #[test]
    fn what_is_no_sampler_is_none() {
        for (name, argument) in
            [("", None), ("jaeger_remote", None), ("traceidratio", Some("x")), ("traceidratio", Some("1.5"))]
        {
            assert_eq!(Sampler::read(name, argument), None, "{name} {argument:?}");
        }
    }
}
