//! A chart of a few named points, joined by a line or with the ranges they were measured in, as inline SVG. Colours come
//! from the page's style sheet.

use super::data::trimmed;
use super::html::escape;

const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 48.0;
/// Width of a character and height of a line of a point's name.
const CHAR: (f64, f64) = (7.4, 14.0);

pub struct Axis<'a> {
    /// What it shows, with the unit.
    pub label: &'a str,
    pub log: bool,
}

pub struct ChartPoint {
    pub x: f64,
    pub y: f64,
    /// From where to where `x` was measured. Points with one are not joined: what disturbs a machine would scribble.
    pub range: Option<(f64, f64)>,
    pub name: String,
    /// Shown when it is pointed at.
    pub title: String,
}

/// `id` is unique in the page. Of at least one point; on a logarithmic axis all are positive.
pub fn chart(id: &str, title: &str, description: &str, x: &Axis<'_>, y: &Axis<'_>, points: &[ChartPoint]) -> String {
    let ends = points.iter().flat_map(|p| p.range.map_or([p.x, p.x], |(least, most)| [least, most]));
    let xs = AxisScale::new(x, ends, LEFT, WIDTH - RIGHT, 0.09);
    let ys = AxisScale::new(y, points.iter().map(|p| p.y), HEIGHT - BOTTOM, TOP, 0.09);
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\">\
         <title id=\"{id}-t\">{}</title><desc id=\"{id}-d\">{}</desc>\n",
        escape(title),
        escape(description)
    );
    for (value, text) in xs.ticks() {
        let at = xs.place(value);
        svg += &format!("<path class=\"grid\" d=\"M{at:.1} {TOP}V{:.1}\"/>", HEIGHT - BOTTOM);
        svg +=
            &format!("<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{text}</text>\n", HEIGHT - BOTTOM + 17.0);
    }
    for (value, text) in ys.ticks() {
        let at = ys.place(value);
        svg += &format!("<path class=\"grid\" d=\"M{LEFT} {at:.1}H{:.1}\"/>", WIDTH - RIGHT);
        svg += &format!("<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>\n", LEFT - 7.0, at + 4.0);
    }
    let middle = (TOP + HEIGHT - BOTTOM) / 2.0;
    svg += &format!(
        "<text class=\"axis\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
         <text class=\"axis\" transform=\"translate(14 {middle:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n",
        (LEFT + WIDTH - RIGHT) / 2.0,
        HEIGHT - 10.0,
        escape(x.label),
        escape(y.label)
    );
    let places: Vec<(f64, f64)> = points.iter().map(|p| (xs.place(p.x), ys.place(p.y))).collect();
    if points.iter().all(|p| p.range.is_none()) {
        let line: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        svg += &format!("<polyline class=\"line\" points=\"{}\"/>\n", line.join(" "));
    }
    for (least, most, y) in points.iter().zip(&places).filter_map(|(p, place)| p.range.map(|(a, b)| (a, b, place.1))) {
        svg += &format!("<path class=\"range\" d=\"M{:.1} {y:.1}H{:.1}\"/>\n", xs.place(least), xs.place(most));
    }
    for ((point, &(x, y)), (text_x, text_y)) in points.iter().zip(&places).zip(names(points, &places)) {
        svg += &format!(
            "<g><title>{}</title><circle class=\"point\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\"/>\
             <text class=\"name\" x=\"{text_x:.1}\" y=\"{text_y:.1}\">{}</text></g>\n",
            escape(&point.title),
            escape(&point.name)
        );
    }
    svg + "</svg>\n"
}

/// Where each point's name begins (left, baseline): beside its point, inside the chart, and off the line, the other
/// points and the other names as far as that can be had.
fn names(points: &[ChartPoint], places: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut taken: Vec<Rect> =
        places.iter().map(|&(x, y)| Rect { x: x - 6.0, y: y - 6.0, width: 12.0, height: 12.0 }).collect();
    // What may be crossed if it must be.
    let mut line = Vec::new();
    for pair in places.windows(2) {
        // The line, as a row of dots.
        for step in 1..20 {
            let t = f64::from(step) / 20.0;
            let at = |a: f64, b: f64| a + t * (b - a);
            let (x, y) = (at(pair[0].0, pair[1].0), at(pair[0].1, pair[1].1));
            line.push(Rect { x: x - 1.0, y: y - 1.0, width: 2.0, height: 2.0 });
        }
    }
    let mut found = Vec::new();
    for (point, &(x, y)) in points.iter().zip(places) {
        let (width, height) = (point.name.chars().count() as f64 * CHAR.0, CHAR.1);
        let right = x + 8.0;
        let left = x - 8.0 - width;
        let centre = x - width / 2.0;
        let at = |x: f64, y: f64| Rect { x, y, width, height };
        // Near first, then farther away.
        let around = [0.0, 16.0, 32.0].into_iter().flat_map(|off| {
            [
                at(right, y - 18.0 - off),
                at(left, y - 18.0 - off),
                at(right, y + 4.0 + off),
                at(left, y + 4.0 + off),
                at(centre, y - 23.0 - off),
                at(centre, y + 9.0 + off),
                at(right + 2.0 + off, y - 7.0),
                at(left - 2.0 - off, y - 7.0),
            ]
        });
        let inside = |r: &Rect| {
            r.x >= LEFT && r.x + r.width <= WIDTH - RIGHT && r.y >= TOP - 4.0 && r.y + r.height <= HEIGHT - BOTTOM
        };
        let met = |r: &Rect, others: &[Rect]| others.iter().filter(|other| r.meets(other)).count();
        let least = around.min_by_key(|r| {
            let outside = if inside(r) { 0 } else { 10_000 };
            outside + 100 * met(r, &taken) + met(r, &line)
        });
        let place = least.unwrap_or(at(right, y - 18.0));
        found.push((place.x, place.y + height - 3.0));
        taken.push(place);
    }
    found
}

struct Rect {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

impl Rect {
    fn meets(&self, other: &Rect) -> bool {
        self.x < other.x + other.width
            && other.x < self.x + self.width
            && self.y < other.y + other.height
            && other.y < self.y + self.height
    }
}

/// Numbers to places along an axis.
struct AxisScale {
    log: bool,
    /// In the logarithm, if it is that.
    low: f64,
    high: f64,
    start: f64,
    end: f64,
}

impl AxisScale {
    /// From the least to the greatest number and `room` of that on both sides.
    fn new(axis: &Axis<'_>, numbers: impl Iterator<Item = f64>, start: f64, end: f64, room: f64) -> AxisScale {
        let of = |x: f64| if axis.log { x.ln() } else { x };
        let (low, high) =
            numbers.map(of).fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
        // Equal numbers lie in the middle, of a scale that is not empty.
        let more = if high > low { room * (high - low) } else { 0.1 * low.abs().max(1.0) };
        AxisScale { log: axis.log, low: low - more, high: high + more, start, end }
    }

    fn place(&self, x: f64) -> f64 {
        let x = if self.log { x.ln() } else { x };
        self.start + (x - self.low) / (self.high - self.low) * (self.end - self.start)
    }

    /// Round numbers inside the scale, with their texts.
    fn ticks(&self) -> Vec<(f64, String)> {
        let (low, high) = if self.log { (self.low.exp(), self.high.exp()) } else { (self.low, self.high) };
        if self.log && high / low > 8.0 {
            let factors: &[f64] = if high / low > 1e3 { &[1.0] } else { &[1.0, 2.0, 5.0] };
            let decades = low.log10().floor() as i32..=high.log10().ceil() as i32;
            let all = decades.flat_map(|d| factors.iter().map(move |f| f * 10f64.powi(d)));
            return all.filter(|x| (low..=high).contains(x)).map(|x| (x, trimmed(x, 6))).collect();
        }
        let raw = (high - low) / 5.0;
        let decade = 10f64.powf(raw.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|f| f * decade).find(|&s| s >= raw).unwrap_or(raw);
        let first = (low / step).ceil() as i64;
        let last = (high / step).floor() as i64;
        let digits = (-step.log10().floor()).max(0.0) as usize;
        (first..=last).map(|n| (n as f64 * step, format!("{:.digits$}", n as f64 * step))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(log: bool, numbers: [f64; 2]) -> Vec<String> {
        let scale = AxisScale::new(&Axis { label: "", log }, numbers.into_iter(), 0.0, 100.0, 0.0);
        scale.ticks().into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(ticks(false, [23.0, 100.0]), ["40", "60", "80", "100"]);
        assert_eq!(ticks(false, [0.0, 1.0]), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(ticks(true, [29.6, 878.0]), ["50", "100", "200", "500"]);
        assert_eq!(ticks(true, [29.6, 48.4]), ["30", "35", "40", "45"]);
        assert!(!ticks(false, [5.0, 5.0]).is_empty());
    }

    #[test]
    fn names_lie_inside_and_apart() {
        let point = |x: f64, y: f64| ChartPoint { x, y, range: None, name: "dense".into(), title: String::new() };
        let points = [point(1.0, 30.0), point(0.99, 30.1), point(0.5, 900.0), point(0.2, 31.0)];
        let axis = |log| Axis { label: "", log };
        let xs = AxisScale::new(&axis(false), points.iter().map(|p| p.x), LEFT, WIDTH - RIGHT, 0.09);
        let ys = AxisScale::new(&axis(true), points.iter().map(|p| p.y), HEIGHT - BOTTOM, TOP, 0.09);
        let places: Vec<_> = points.iter().map(|p| (xs.place(p.x), ys.place(p.y))).collect();
        let width = 5.0 * CHAR.0;
        let rects: Vec<Rect> = names(&points, &places)
            .into_iter()
            .map(|(x, y)| Rect { x, y: y - CHAR.1 + 3.0, width, height: CHAR.1 })
            .collect();
        for (n, rect) in rects.iter().enumerate() {
            assert!(rect.x >= LEFT && rect.x + width <= WIDTH - RIGHT, "name {n} is clipped");
            assert!(!rects[..n].iter().any(|other| rect.meets(other)), "name {n} lies on another");
        }
    }
}
