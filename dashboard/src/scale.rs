//! From figures to places on a chart: axes with few round ticks, and lines that break where data is missing.

/// How a chart's height stands for its figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// From zero: counts and rates.
    Linear,
    /// Each step ten times the one below: latencies.
    Log,
}

/// An axis from `low` to `high` with its ticks.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Axis {
    kind: Kind,
    low: f64,
    high: f64,
    /// Where lines and labels stand, ascending.
    pub(crate) ticks: Vec<f64>,
}

impl Axis {
    /// The axis that holds these figures.
    pub(crate) fn holding(kind: Kind, figures: impl Iterator<Item = f64>) -> Self {
        let (low, high) =
            figures.filter(|figure| figure.is_finite()).fold((f64::MAX, 0.0_f64), |(low, high), figure| {
                (if figure > 0.0 { low.min(figure) } else { low }, high.max(figure))
            });
        match kind {
            Kind::Linear => Self::linear(high),
            Kind::Log => Self::log(low, high),
        }
    }

    fn linear(high: f64) -> Self {
        let step = round_step(high.max(1.0) / 3.0);
        let top = (high / step).ceil().max(1.0) * step;
        let ticks = (0_u32..).map(|index| f64::from(index) * step).take_while(|tick| *tick <= top * 1.0001).collect();
        Self { kind: Kind::Linear, low: 0.0, high: top, ticks }
    }

    fn log(low: f64, high: f64) -> Self {
        let (low, high) = if high > 0.0 { (low, high) } else { (1.0, 10.0) };
        let bottom = low.log10().floor().clamp(-3.0, 6.0) as i32;
        let top = (high.log10().ceil().clamp(-2.0, 7.0) as i32).max(bottom + 1);
        let ticks = (bottom..=top).map(|power| 10_f64.powi(power)).collect();
        Self { kind: Kind::Log, low: 10_f64.powi(bottom), high: 10_f64.powi(top), ticks }
    }

    /// Where a figure stands, from 0 at the bottom to 1 at the top.
    pub(crate) fn share(&self, figure: f64) -> f64 {
        let share = match self.kind {
            Kind::Linear => (figure - self.low) / (self.high - self.low),
            Kind::Log => (figure.max(self.low) / self.low).log10() / (self.high / self.low).log10(),
        };
        share.clamp(0.0, 1.0)
    }
}

/// The round number, 1, 2 or 5 times a power of ten, that is not below this one.
fn round_step(wanted: f64) -> f64 {
    let power = 10_f64.powf(wanted.log10().floor());
    [1.0, 2.0, 5.0].into_iter().map(|step| step * power).find(|step| *step >= wanted).unwrap_or(10.0 * power).max(1.0)
}

/// The path of an SVG line through points; it starts anew after every `None`, so that a gap stays a gap.
pub(crate) fn line(points: impl Iterator<Item = Option<(f64, f64)>>) -> String {
    use std::fmt::Write as _;
    let mut path = String::new();
    let mut pen = 'M';
    for point in points {
        match point {
            Some((x, y)) => {
                // Writing to a String cannot fail. A lone point gets a line of no length, drawn by its round caps.
                let _ = write!(path, "{pen}{x:.1} {y:.1}");
                if pen == 'M' {
                    let _ = write!(path, "L{x:.1} {y:.1}");
                }
                pen = 'L';
            }
            None => pen = 'M',
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_start_at_zero_and_have_round_ticks() {
        let axis = Axis::holding(Kind::Linear, [3.0, 47.0].into_iter());
        assert_eq!(axis.ticks, [0.0, 20.0, 40.0, 60.0]);
        assert!((axis.share(30.0) - 0.5).abs() < 1e-9);
        assert_eq!(Axis::holding(Kind::Linear, std::iter::empty()).ticks, [0.0, 1.0]);
    }

    #[test]
    fn latencies_stand_on_powers_of_ten() {
        let axis = Axis::holding(Kind::Log, [0.4, 12.0].into_iter());
        assert_eq!(axis.ticks, [0.1, 1.0, 10.0, 100.0]);
        assert!((axis.share(1.0) - 1.0 / 3.0).abs() < 1e-9);
        assert_eq!(axis.share(0.0), 0.0);
    }

    #[test]
    fn a_gap_in_data_is_a_gap_in_the_line() {
        let points = [Some((0.0, 1.0)), Some((1.0, 2.0)), None, Some((3.0, 4.0))];
        assert_eq!(line(points.into_iter()), "M0.0 1.0L0.0 1.0L1.0 2.0M3.0 4.0L3.0 4.0");
    }
}
