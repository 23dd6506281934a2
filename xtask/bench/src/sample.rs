//! Fair samples: contestants take turns, and medians are compared.

use std::time::Duration;

use crate::Outcome;

/// Does the work once and says how long the part that counts took.
pub(crate) type Contestant<'a> = &'a mut dyn FnMut() -> Outcome<Duration>;

/// Lets contestants take turns, after one turn each that does not count; returns each one's median.
pub(crate) fn take_turns<const N: usize>(
    rounds: usize,
    mut contestants: [Contestant<'_>; N],
) -> Outcome<[Duration; N]> {
    let mut times = [const { Vec::new() }; N];
    for contestant in &mut contestants {
        contestant()?;
    }
    for _ in 0..rounds {
        for (contestant, times) in contestants.iter_mut().zip(&mut times) {
            times.push(contestant()?);
        }
    }
    Ok(times.map(median))
}

/// The middle one; the mean of the two middle ones of an even number; zero of none.
pub(crate) fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    let middle = times.len() / 2;
    match times.get(..=middle) {
        Some([.., below, above]) if times.len().is_multiple_of(2) => (*below + *above) / 2,
        Some([.., middle]) => *middle,
        _ => Duration::ZERO,
    }
}

/// The time that so many of a hundred do not exceed; zero of none.
pub(crate) fn percentile(mut times: Vec<Duration>, percent: usize) -> Duration {
    times.sort();
    let rank = (times.len() * percent).div_ceil(100).saturating_sub(1);
    times.get(rank).copied().unwrap_or_default()
}

/// Milliseconds with as many digits as mean something.
pub(crate) fn millis(time: Duration) -> String {
    let millis = time.as_secs_f64() * 1e3;
    if millis < 10.0 { format!("{millis:.2} ms") } else { format!("{millis:.0} ms") }
}

/// How many times `one` the `other` took.
pub(crate) fn ratio(one: Duration, other: Duration) -> f64 {
    one.as_secs_f64() / other.as_secs_f64().max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(millis: &[u64]) -> Duration {
        median(millis.iter().copied().map(Duration::from_millis).collect())
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(of(&[9, 1, 5]), Duration::from_millis(5));
        assert_eq!(of(&[9, 1, 5, 7]), Duration::from_millis(6));
        assert_eq!(of(&[]), Duration::ZERO);
    }

    #[test]
    fn a_percentile_is_a_time_that_was_measured() {
        let times: Vec<Duration> = (1..=20).rev().map(Duration::from_millis).collect();
        assert_eq!(percentile(times.clone(), 95), Duration::from_millis(19));
        assert_eq!(percentile(times, 100), Duration::from_millis(20));
        assert_eq!(percentile(Vec::new(), 95), Duration::ZERO);
    }

    #[test]
    fn contestants_alternate_and_the_first_turn_does_not_count() {
        let order = std::cell::RefCell::new(String::new());
        let turn = |name: char, long: u64| {
            let order = &order;
            move || {
                let mut order = order.borrow_mut();
                order.push(name);
                Ok(Duration::from_millis(if order.len() <= 2 { 1_000 } else { long }))
            }
        };
        let medians = take_turns(2, [&mut turn('a', 1), &mut turn('b', 2)]).unwrap();
        assert_eq!(*order.borrow(), "ababab");
        assert_eq!(medians, [Duration::from_millis(1), Duration::from_millis(2)]);
    }
}
