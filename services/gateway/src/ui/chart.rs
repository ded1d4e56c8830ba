//! A picture of two series of numbers, drawn from what the query says.

use plotters::prelude::*;

/// Numbers in one series at most.
const MOST_POINTS: usize = 240;
/// The picture's size; a browser scales it.
const SIZE: (u32, u32) = (960, 200);
/// Colours that read well on light and on dark paper.
const IN: RGBColor = RGBColor(0x4c, 0x8f, 0xd6);
const OUT: RGBColor = RGBColor(0x3f, 0xa6, 0x6a);
const TEXT: RGBColor = RGBColor(0x8a, 0x92, 0x9c);

/// What is drawn.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Chart {
    /// The time from the first point to the last one.
    seconds: f64,
    created: Vec<f64>,
    ended: Vec<f64>,
}

/// Reads `seconds=240&in=1,2.5&out=1,2`.
pub(super) fn parse(query: &str) -> Result<Chart, String> {
    let mut chart = Chart { seconds: 60.0, ..Chart::default() };
    for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        match name {
            "seconds" => chart.seconds = number(value).map(|it| it.clamp(1.0, 86_400.0))?,
            "in" => chart.created = series(value)?,
            "out" => chart.ended = series(value)?,
            _ => return Err("a chart has seconds, in and out".to_owned()),
        }
    }
    Ok(chart)
}

fn series(text: &str) -> Result<Vec<f64>, String> {
    // A browser may write the comma in its long form.
    let text = text.replace("%2C", ",").replace("%2c", ",");
    if text.split(',').count() > MOST_POINTS {
        return Err(format!("a series has at most {MOST_POINTS} numbers"));
    }
    text.split(',').filter(|part| !part.is_empty()).map(number).collect()
}

fn number(text: &str) -> Result<f64, String> {
    const LARGEST: f64 = 1e12;
    text.parse::<f64>()
        .ok()
        .filter(|number| (0.0..=LARGEST).contains(number))
        .ok_or_else(|| "a number is 0 to 1000000000000, in decimal".to_owned())
}

impl Chart {
    /// The picture, as SVG.
    pub(super) fn draw(&self) -> Result<String, String> {
        let mut svg = String::new();
        self.draw_on(&mut svg).map_err(|error| error.to_string())?;
        Ok(svg)
    }

    fn draw_on(&self, svg: &mut String) -> Result<(), Box<dyn std::error::Error>> {
        let all = self.created.iter().chain(&self.ended);
        let top = all.copied().fold(1.0, f64::max) * 1.1;
        let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .margin(8)
            .x_label_area_size(24)
            .y_label_area_size(54)
            .build_cartesian_2d(-self.seconds..0.0, 0.0..top)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(6)
            .y_labels(5)
            .x_label_formatter(&|seconds| {
                if *seconds > -0.5 { "now".to_owned() } else { format!("{seconds:.0} s") }
            })
            .y_label_formatter(&|rate| if top < 10.0 { format!("{rate:.1}") } else { format!("{rate:.0}") })
            .label_style(("sans-serif", 12).into_font().color(&TEXT))
            .axis_style(TEXT.mix(0.6))
            .light_line_style(TEXT.mix(0.0))
            .bold_line_style(TEXT.mix(0.25))
            .draw()?;
        for (numbers, colour) in [(&self.created, IN), (&self.ended, OUT)] {
            let line = self.points(numbers);
            chart.draw_series(AreaSeries::new(line.clone(), 0.0, colour.mix(0.12)))?;
            chart.draw_series(LineSeries::new(line, colour.stroke_width(2)))?;
        }
        area.present()?;
        Ok(())
    }

    fn points(&self, numbers: &[f64]) -> Vec<(f64, f64)> {
        let count = u32::try_from(numbers.len().saturating_sub(1)).map_or(1.0, f64::from).max(1.0);
        let at =
            |index: usize| u32::try_from(index).map_or(0.0, f64::from) / count * self.seconds - self.seconds;
        numbers.iter().enumerate().map(|(index, number)| (at(index), *number)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST_POINTS, parse};

    #[test]
    fn a_chart_is_drawn_from_its_numbers() {
        let chart = parse("seconds=240&in=0,12.5,3&out=1%2C2%2C3").unwrap();
        assert_eq!((chart.seconds, chart.created.len(), chart.ended[1]), (240.0, 3, 2.0));
        let svg = chart.draw().unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("polyline"), "{svg}");
        assert!(parse("").unwrap().draw().unwrap().starts_with("<svg"), "an empty one is drawn too");
    }

    #[test]
    fn what_is_no_chart_is_refused_and_its_size_is_bounded() {
        for query in ["in=x", "in=-1", "in=NaN", "in=inf", "in=1e99", "seconds=", "colour=red"] {
            assert!(parse(query).is_err(), "{query}");
        }
        let most = vec!["1000000000000"; MOST_POINTS].join(",");
        let svg = parse(&format!("seconds=1&in={most}&out={most}")).unwrap().draw().unwrap();
        assert!(svg.len() < 64 << 10, "{}", svg.len());
        assert!(parse(&format!("in={most},1")).is_err());
    }

    #[test]
    fn nothing_of_the_query_is_written_into_the_picture() {
        assert!(!parse("seconds=60&in=1&out=1").unwrap().draw().unwrap().contains("script"));
        assert!(!parse("in=<script>").unwrap_err().contains('<'));
    }
}
