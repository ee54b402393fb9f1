//! How the windows of an account stand, where that is not as the world says.
//!
//! Until a window was set or spent from, the world's switches say what is used of it, and its reset
//! is always equally far away.
//!
//! **Invariant:** a window whose reset has come is empty, whoever looks first.

/// One window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Gauge {
    /// In percent.
    pub(super) used: Option<u64>,
    /// Whole seconds since 1970.
    pub(super) resets_at: Option<i64>,
}

/// The windows of an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Gauges {
    pub(super) primary: Gauge,
    pub(super) secondary: Gauge,
    /// Of pictures, which are counted apart.
    pub(super) images: Gauge,
}

impl Gauge {
    const EMPTY: Self = Self { used: Some(0), resets_at: None };

    /// Sets what is given; the rest stays.
    pub(super) fn adjust(&mut self, used: Option<u64>, resets_at: Option<i64>) {
        self.used = used.or(self.used);
        self.resets_at = resets_at.or(self.resets_at);
    }

    /// Uses `percent` more, from `before` where nothing was set or spent. A window that is spent
    /// from has an end, and `end` is that of one which has none yet.
    pub(super) fn spend(&mut self, percent: u64, before: u64, end: Option<i64>) {
        self.used = Some(self.used.unwrap_or(before).saturating_add(percent).min(100));
        self.resets_at = self.resets_at.or(end);
    }

    fn settle(&mut self, now: i64) {
        if self.resets_at.is_some_and(|at| at <= now) {
            *self = Self::EMPTY;
        }
    }
}

impl Gauges {
    /// Empties the windows whose reset has come by `now`.
    pub(super) fn settle(&mut self, now: i64) {
        self.primary.settle(now);
        self.secondary.settle(now);
        self.images.settle(now);
    }

    /// Empties the account's own windows before their time.
    pub(super) fn reset(&mut self) {
        *self = Self { primary: Gauge::EMPTY, secondary: Gauge::EMPTY, ..*self };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_fills_until_its_reset_and_is_empty_then() {
        let mut gauges = Gauges::default();
        gauges.primary.spend(40, 30, Some(100));
        gauges.primary.spend(40, 30, Some(900));
        assert_eq!(gauges.primary, Gauge { used: Some(100), resets_at: Some(100) });
        gauges.secondary.adjust(Some(7), None);
        gauges.secondary.adjust(None, Some(200));
        gauges.settle(99);
        assert_eq!(gauges.primary.used, Some(100));
        gauges.settle(100);
        let secondary = Gauge { used: Some(7), resets_at: Some(200) };
        assert_eq!(gauges, Gauges { primary: Gauge::EMPTY, secondary, ..Gauges::default() });
        gauges.reset();
        let empty = Gauge::EMPTY;
        assert_eq!(gauges, Gauges { primary: empty, secondary: empty, ..Gauges::default() });
    }
}
