//! How far recovery or a drain is, and when it will be through: by what was done in the last ten seconds, as the rate
//! follows what clients need.

use crate::limits;
use std::collections::VecDeque;
use std::time::Duration;

/// What is left is looked at once a second. An episode lasts from when there is something to do until there is nothing.
#[derive(Default)]
pub struct Progress {
    episode: Option<Episode>,
}

struct Episode {
    began: Duration,
    /// The most that was ever left.
    most: f64,
    /// When and how much was left, oldest first. It never grows from one to the next: new work begins it anew.
    samples: VecDeque<(Duration, f64)>,
}

/// What is shown of an episode.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shown {
    pub elapsed: Duration,
    /// 0 to 1.
    pub done: f64,
    /// In the unit that it is looked at in.
    pub left: f64,
    /// `None`: it can't be told.
    pub to_finish: Option<Duration>,
}

impl Shown {
    /// Of a thousand; what is not through is never shown as such.
    pub fn permille(&self) -> u32 {
        const ROUNDING: f64 = 1e-9;
        ((self.done + ROUNDING) * 1000.0) as u32
    }

    /// As shown, with one place behind the point.
    pub fn percent(&self) -> f64 {
        f64::from(self.permille()) / 10.0
    }

    pub fn remaining_s(&self) -> Option<u64> {
        self.to_finish.map(|time| time.as_secs_f64().ceil() as u64)
    }
}

impl Progress {
    /// Takes in how much is left at `now` (monotonic): objects to be brought to OSDs, or bytes to be flushed.
    pub fn look(&mut self, now: Duration, left: f64) {
        if left <= 0.0 {
            self.episode = None;
            return;
        }
        let new = || Episode { began: now, most: left, samples: VecDeque::new() };
        let episode = self.episode.get_or_insert_with(new);
        episode.most = episode.most.max(left);
        if episode.samples.back().is_some_and(|(_, before)| left > *before) {
            episode.samples.clear();
        }
        episode.samples.push_back((now, left));
        while episode.samples.front().is_some_and(|(at, _)| now.saturating_sub(*at) > limits::PROGRESS_WINDOW) {
            episode.samples.pop_front();
        }
    }

    pub fn shown(&self, now: Duration) -> Option<Shown> {
        let episode = self.episode.as_ref()?;
        let (_, left) = *episode.samples.back()?;
        Some(Shown {
            elapsed: now.saturating_sub(episode.began),
            done: 1.0 - left / episode.most,
            left,
            to_finish: episode.to_finish(),
        })
    }
}

impl Episode {
    fn to_finish(&self) -> Option<Duration> {
        let ((first_at, first), (last_at, last)) = (*self.samples.front()?, *self.samples.back()?);
        let span = last_at.saturating_sub(first_at);
        if span < limits::PROGRESS_SPAN_MIN || last >= first {
            return None;
        }
        let per_second = (first - last) / span.as_secs_f64();
        Duration::try_from_secs_f64(last / per_second).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn a_steady_pace_tells_when_it_is_through() {
        let mut progress = Progress::default();
        for second in 0..=20 {
            progress.look(seconds(100 + second), 1000.0 - 10.0 * second as f64);
        }
        let shown = progress.shown(seconds(120)).unwrap();
        assert_eq!(shown.elapsed, seconds(20));
        assert!((shown.done - 0.2).abs() < 1e-9);
        assert_eq!(shown.to_finish, Some(seconds(80)));
        progress.look(seconds(121), 0.0);
        assert_eq!(progress.shown(seconds(121)), None);
    }

    #[test]
    fn nothing_is_said_of_what_stands_still_or_has_just_begun_or_has_grown() {
        let mut progress = Progress::default();
        progress.look(seconds(1), 10.0);
        progress.look(seconds(2), 9.0);
        assert_eq!(progress.shown(seconds(2)).unwrap().to_finish, None);
        for second in 3..50 {
            progress.look(seconds(second), 9.0);
        }
        assert_eq!(progress.shown(seconds(50)).unwrap().to_finish, None);
        for second in 50..60 {
            progress.look(seconds(second), 59.0 - second as f64);
        }
        progress.look(seconds(60), 100.0);
        let grown = progress.shown(seconds(60)).unwrap();
        assert_eq!((grown.done, grown.to_finish), (0.0, None));
    }

    #[test]
    fn a_pace_is_that_of_the_last_half_minute() {
        let mut progress = Progress::default();
        for second in 0..100 {
            progress.look(seconds(second), 10_000.0 - 100.0 * second as f64);
        }
        for second in 100..140 {
            progress.look(seconds(second), 140.0 - (second - 99) as f64);
        }
        let left = progress.shown(seconds(139)).unwrap();
        assert_eq!(left.to_finish, Some(seconds(100)));
    }
}
