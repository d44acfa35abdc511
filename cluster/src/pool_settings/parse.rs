//! Values as typed → numbers, refused in Ceph's words.

use super::Refusal;
use crate::limits;
use crate::quantity::parse_duration;

pub(super) fn not_integer(value: &str) -> impl Fn(String) -> Refusal + '_ {
    move |problem| Refusal::invalid(format!("error parsing integer value '{value}': {problem}"))
}

pub(super) fn integer(value: &str) -> Result<i64, Refusal> {
    value.parse().map_err(|_| not_integer(value)("expected a whole number".into()))
}

/// Finite.
pub(super) fn float(value: &str) -> Result<f64, Refusal> {
    let parsed = value.parse::<f64>().ok().filter(|number| number.is_finite());
    parsed.ok_or_else(|| Refusal::invalid(format!("error parsing float value '{value}': expected a number")))
}

pub(super) fn ratio(value: &str) -> Result<f64, Refusal> {
    let ratio = float(value)?;
    if (0.0..=1.0).contains(&ratio) {
        return Ok(ratio);
    }
    Err(Refusal::new(libc::ERANGE, "value must be in the range 0..1"))
}

pub(super) fn boolean(value: &str) -> Result<bool, Refusal> {
    match value {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(Refusal::invalid(format!("expecting value 'true', 'false', '0', or '1', not '{value}'"))),
    }
}

pub(super) fn duration_ms(variable: &str, value: &str) -> Result<u64, Refusal> {
    let duration = parse_duration(value).map_err(|problem| {
        let negative = value.starts_with('-');
        let wrong = if negative { format!("{variable} should be non-negative") } else { problem };
        Refusal::invalid(wrong)
    })?;
    if duration > limits::AGE_MAX {
        let days = limits::AGE_MAX.as_secs() / 86_400;
        return Err(Refusal::new(libc::ERANGE, format!("{variable} '{value}' is too long: at most {days} days")));
    }
    Ok(duration.as_millis() as u64)
}
