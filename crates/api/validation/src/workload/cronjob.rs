//! CronJobs.
use super::{counts, job, schedule};
use crate::{field::Field, pod::Options, show::own};

const MAX_NAME: usize = 52;

pub(crate) fn create(v: &Field<'_>) {
    spec(v, None);
    let name = v.at("metadata").at("name");
    if name.str().len() > MAX_NAME {
        name.invalid(name.str(), &format!("must be no more than {MAX_NAME} characters"));
    }
}

pub(crate) fn update(new: &Field<'_>, old: &Field<'_>) {
    spec(new, Some(old));
}

fn spec(v: &Field<'_>, old: Option<&Field<'_>>) {
    let f = v.at("spec");
    let (text, zone) = (f.at("schedule"), f.at("timeZone"));
    if !text.str().is_empty() {
        let zoned = old.is_some_and(|o| o.at("spec.schedule").str().contains("TZ"));
        if let Err(e) = schedule::parse(text.str()) {
            text.invalid(text.str(), &e);
        }
        match text.str().contains("TZ") {
            true if !zoned => text.invalid(text.str(), "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"),
            true if zone.exists() => text.invalid(text.str(), "cannot use both timeZone field and TZ or CRON_TZ in schedule"),
            _ => {}
        }
    }
    counts(&f, &["startingDeadlineSeconds"]);
    if old.is_none_or(|o| o.at("spec.timeZone").text() != zone.text()) {
        time_zone(&zone);
    }
    f.at("concurrencyPolicy").one_of(&["Allow", "Forbid", "Replace"]);
    let template = f.at("jobTemplate").at("spec");
    job::spec(&template, &Options::of_template(old.map(|o| o.at("spec.jobTemplate.spec.template")).as_ref()));
    let (selector, manual) = (template.at("selector"), template.at("manualSelector"));
    if selector.exists() {
        selector.invalid(crate::show::selector(selector.value()), "`selector` will be auto-generated");
    }
    if manual.flag() {
        manual.unsupported(true, &["nil", "false"]);
    }
    counts(&f, &["successfulJobsHistoryLimit", "failedJobsHistoryLimit"]);
    if text.str().is_empty() {
        text.required("");
    }
}

fn time_zone(f: &Field<'_>) {
    let Some(name) = f.text() else { return };
    if name.is_empty() {
        return f.invalid(own(f.value()), "timeZone must be nil or non-empty string");
    }
    let part = |p: &str| {
        !matches!(p, "." | "..") && !p.starts_with('-') && (1..=14).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_+".contains(&b))
    };
    if !name.split('/').all(part) {
        return f.invalid(own(f.value()), &format!("unknown time zone {name}"));
    }
    if name.eq_ignore_ascii_case("local") {
        f.invalid(own(f.value()), "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones");
    }
    if let Err(e) = schedule::zone_known(name) {
        f.invalid(own(f.value()), &e);
    }
}
