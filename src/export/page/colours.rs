//! The colours of tracks, each changed as far as people need to read it.

use std::fmt::Write as _;

/// The page's surface by day and by night, as `schedule.css` has it.
const LIGHT: Rgb = Rgb([0xff, 0xff, 0xff]);
const DARK: Rgb = Rgb([0x1b, 0x1f, 0x25]);

/// What WCAG 2 asks of text (AA), and a little more.
const CONTRAST: f64 = 4.6;

/// For tracks without a colour, one after the other.
const PALETTE: [Rgb; 8] = [
    Rgb([0x2f, 0x6f, 0xd0]),
    Rgb([0xb8, 0x4a, 0x14]),
    Rgb([0x1f, 0x80, 0x53]),
    Rgb([0x8a, 0x4f, 0xc7]),
    Rgb([0xb0, 0x2f, 0x63]),
    Rgb([0x0f, 0x7c, 0x8c]),
    Rgb([0x8a, 0x6a, 0x0b]),
    Rgb([0x5f, 0x66, 0x72]),
];

/// A colour: red, green, blue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rgb([u8; 3]);

/// Style rules that set `--track` for each class `t<id>`.
pub(super) fn rules<'a>(tracks: impl Iterator<Item = (i64, Option<&'a str>)>) -> String {
    let (mut light, mut dark) = (String::new(), String::new());
    for (index, (id, colour)) in tracks.enumerate() {
        let colour = colour.and_then(Rgb::parse).unwrap_or(PALETTE[index % PALETTE.len()]);
        // Writing to a string cannot fail.
        let _ = write!(light, ".t{id}{{--track:{}}}", colour.legible_on(LIGHT).hex());
        let _ = write!(dark, ".t{id}{{--track:{}}}", colour.legible_on(DARK).hex());
    }
    if light.is_empty() { light } else { format!("{light}@media screen and (prefers-color-scheme:dark){{{dark}}}") }
}

impl Rgb {
    fn parse(text: &str) -> Option<Self> {
        let digits = text.trim().strip_prefix('#').filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
        let byte = |range| u8::from_str_radix(digits.get(range)?, 16).ok();
        match digits.len() {
            3 => Some(Self([byte(0..1)? * 17, byte(1..2)? * 17, byte(2..3)? * 17])),
            6 => Some(Self([byte(0..2)?, byte(2..4)?, byte(4..6)?])),
            _ => None,
        }
    }

    fn hex(self) -> String {
        let [red, green, blue] = self.0;
        format!("#{red:02x}{green:02x}{blue:02x}")
    }

    /// The nearest shade, towards black or white, that can be read on a surface.
    pub(super) fn legible_on(self, surface: Self) -> Self {
        let end = if surface.luminance() > 0.5 { 0 } else { 255 };
        let shade = |step: u16| {
            Self(self.0.map(|part| {
                let mixed = (u16::from(part) * (32 - step) + end * step) / 32;
                u8::try_from(mixed).unwrap_or(u8::MAX)
            }))
        };
        (0..=32).map(shade).find(|shade| shade.contrast(surface) >= CONTRAST).unwrap_or(self)
    }

    /// WCAG 2's contrast ratio, from 1 to 21.
    pub(super) fn contrast(self, other: Self) -> f64 {
        let (one, two) = (self.luminance() + 0.05, other.luminance() + 0.05);
        one.max(two) / one.min(two)
    }

    fn luminance(self) -> f64 {
        let [red, green, blue] = self.0.map(|part| {
            let part = f64::from(part) / 255.0;
            if part <= 0.040_45 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        });
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    }
}
