//! The command sequence window: which message ids a client may use (MS-SMB2 3.3.1.1, 3.3.1.2).

/// Message ids from `low` up to `high` are granted; a bit says that one of them was used already.
#[derive(Debug)]
pub(crate) struct Window {
    low: u64,
    high: u64,
    /// Ring of bits over twice the largest number of credits, so that one id left out for a while does not stop
    /// the client at once.
    used: Vec<u64>,
    /// Ids granted and not used yet.
    outstanding: u64,
    /// Ids used by requests that were not answered yet: what they hold is paid for until they are.
    unanswered: u64,
    credits_max: u64,
}

impl Window {
    /// A new connection holds the single id 0.
    pub(crate) fn new(credits_max: u16) -> Self {
        let credits_max = u64::from(credits_max.max(1));
        let words = usize::from(u16::MAX)
            .min(usize::try_from(credits_max * 2).unwrap_or(1))
            .div_ceil(64);
        Self {
            low: 0,
            high: 1,
            used: vec![0; words],
            outstanding: 1,
            unanswered: 0,
            credits_max,
        }
    }

    fn capacity(&self) -> u64 {
        self.used.len() as u64 * 64
    }

    fn slot(&self, id: u64) -> (usize, u64) {
        let bit = id % self.capacity();
        (usize::try_from(bit / 64).unwrap_or(0), 1 << (bit % 64))
    }

    fn is_used(&self, id: u64) -> bool {
        let (word, mask) = self.slot(id);
        self.used.get(word).is_some_and(|bits| bits & mask != 0)
    }

    fn set_used(&mut self, id: u64, used: bool) {
        let (word, mask) = self.slot(id);
        if let Some(bits) = self.used.get_mut(word) {
            *bits = if used { *bits | mask } else { *bits & !mask };
        }
    }

    /// Uses `charge` ids from `first` on. False when any of them was not granted or was used before.
    pub(crate) fn consume(&mut self, first: u64, charge: u16) -> bool {
        let charge = u64::from(charge.max(1));
        let Some(end) = first.checked_add(charge) else {
            return false;
        };
        if first < self.low || end > self.high || (first..end).any(|id| self.is_used(id)) {
            return false;
        }
        for id in first..end {
            self.set_used(id, true);
        }
        self.outstanding = self.outstanding.saturating_sub(charge);
        self.unanswered += charge;
        while self.low < self.high && self.is_used(self.low) {
            let low = self.low;
            self.set_used(low, false);
            self.low += 1;
        }
        true
    }

    /// A request that used `charge` ids is answered. Grants what it asked for as far as the bounds allow, and always
    /// enough that the client can go on.
    pub(crate) fn answer(&mut self, charge: u16, requested: u16) -> u16 {
        let charge = u64::from(charge.max(1));
        self.unanswered = self.unanswered.saturating_sub(charge);
        let held = self.outstanding + self.unanswered;
        let room = self.credits_max.saturating_sub(held);
        let reach = (self.low + self.capacity()).saturating_sub(self.high);
        let granted = u64::from(requested.max(1)).min(room).min(reach);
        self.high += granted;
        self.outstanding += granted;
        u16::try_from(granted).unwrap_or(u16::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_each_id_once() {
        let mut window = Window::new(64);
        assert!(window.consume(0, 1));
        assert!(!window.consume(0, 1));
        assert!(!window.consume(1, 1));
        assert_eq!(window.answer(1, 3), 3);
        assert!(window.consume(3, 1));
        assert!(!window.consume(3, 1));
        assert!(window.consume(1, 2));
        assert!(!window.consume(1, 1));
    }

    #[test]
    fn never_grants_beyond_the_limit() {
        let mut window = Window::new(64);
        assert!(window.consume(0, 1));
        assert_eq!(window.answer(1, u16::MAX), 64);
        assert!(window.consume(1, 10));
        assert_eq!(window.answer(10, 100), 10);
    }

    #[test]
    fn requests_without_an_answer_hold_their_credits() {
        let mut window = Window::new(64);
        assert!(window.consume(0, 1));
        assert_eq!(window.answer(1, u16::MAX), 64);
        for id in 1..65 {
            assert!(window.consume(id, 1));
        }
        assert!(!window.consume(65, 1));
        // Each answer gives back what its request held and no more.
        assert_eq!(window.answer(1, 100), 1);
        assert_eq!(window.answer(1, 100), 1);
        assert!(window.consume(65, 2));
        assert!(!window.consume(67, 1));
    }

    #[test]
    fn an_id_left_out_stops_the_window_in_the_end() {
        let mut window = Window::new(64);
        assert!(window.consume(0, 1));
        assert_eq!(window.answer(1, 64), 64);
        let mut next = 2;
        while window.consume(next, 1) {
            window.answer(1, 1);
            next += 1;
        }
        assert_eq!(next, 129);
        assert!(window.consume(1, 1));
        assert_eq!(window.answer(1, 1000), 64);
    }

    #[test]
    fn refuses_ids_at_the_end_of_the_number_range() {
        let mut window = Window::new(64);
        assert!(!window.consume(u64::MAX, 2));
        assert!(!window.consume(u64::MAX - 1, 1));
    }
}
