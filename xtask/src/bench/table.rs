//! The table: figures beside their budgets, and beside upstream's where it was measured in the same run.

use skiff_json::{Value, json};
use std::fmt::Write as _;

/// What a figure counts. Less is better, except of what happens in a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Millis,
    Micros,
    Seconds,
    Percent,
    KiB,
    MiB,
    Megabytes,
    KilobytesAnHour,
    ASecond,
    Times,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Millis => "ms",
            Self::Micros => "µs",
            Self::Seconds => "s",
            Self::Percent => "%",
            Self::KiB => "KiB",
            Self::MiB => "MiB",
            Self::Megabytes => "MB",
            Self::KilobytesAnHour => "KB/h",
            Self::ASecond => "/s",
            Self::Times => "×",
        }
    }
    fn more_is_better(self) -> bool {
        self == Self::ASecond
    }
}

/// One measurement of one subject.
#[derive(Clone, Debug)]
pub struct Figure {
    pub what: String,
    pub value: f64,
    pub unit: Unit,
    /// What the design allows at most, or wants at least.
    pub budget: Option<f64>,
    /// How it was measured, where the name does not say it.
    pub remark: String,
}

impl Figure {
    pub fn new(what: impl Into<String>, value: f64, unit: Unit) -> Self {
        Self { what: what.into(), value, unit, budget: None, remark: String::new() }
    }
    pub fn budget(mut self, budget: f64) -> Self {
        self.budget = Some(budget);
        self
    }
    pub fn remark(mut self, remark: impl Into<String>) -> Self {
        self.remark = remark.into();
        self
    }
    fn text(&self, value: f64) -> String {
        format!("{} {}", digits(value), self.unit.name())
    }
    /// Above 1: how many times the budget is overdrawn.
    fn over(&self) -> Option<f64> {
        let budget = self.budget?;
        Some(if self.unit.more_is_better() { budget / self.value } else { self.value / budget })
    }
    fn verdict(&self) -> String {
        match self.over() {
            None => String::new(),
            Some(over) if over <= 1.0 => "met".into(),
            Some(over) => format!("missed, {} times", digits(over)),
        }
    }
}

/// Three digits that say something.
fn digits(v: f64) -> String {
    match v.abs() {
        x if x >= 100.0 => format!("{v:.0}"),
        x if x >= 10.0 => format!("{v:.1}"),
        x if x >= 1.0 || x == 0.0 => format!("{v:.2}"),
        _ => format!("{v:.3}"),
    }
}

struct Row {
    ours: Figure,
    upstream: Option<f64>,
}

impl Row {
    /// How many times better Skiff is.
    fn ratio(&self) -> Option<f64> {
        let (ours, theirs) = (self.ours.value, self.upstream?);
        let (less, more) = if self.ours.unit.more_is_better() { (theirs, ours) } else { (ours, theirs) };
        (less > 0.0).then_some(more / less)
    }
    fn cells(&self) -> [String; 7] {
        let f = &self.ours;
        let budget = f.budget.map(|b| format!("{} {}", if f.unit.more_is_better() { "≥" } else { "≤" }, f.text(b)));
        [
            f.what.clone(),
            f.text(f.value),
            budget.unwrap_or_default(),
            f.verdict(),
            self.upstream.map(|u| f.text(u)).unwrap_or_default(),
            self.ratio().map(|r| format!("{}×", digits(r))).unwrap_or_default(),
            f.remark.clone(),
        ]
    }
    fn json(&self) -> Value {
        let f = &self.ours;
        json!({
            "what": f.what, "value": f.value, "unit": f.unit.name(), "budget": f.budget,
            "met": f.over().map(|o| o <= 1.0), "upstream": self.upstream, "ratio": self.ratio(), "remark": f.remark,
        })
    }
}

/// The rows so far; each is shown when it is there, because the whole takes minutes.
#[derive(Default)]
pub struct Table {
    rows: Vec<Row>,
    /// Figures say nothing: who is measured is busy with counting.
    silent: bool,
}

const HEAD: [&str; 7] = ["what", "Skiff", "budget", "verdict", "upstream", "better by", "remark"];

impl Table {
    pub fn silent() -> Self {
        Self { silent: true, ..Self::default() }
    }
    /// Figures of Skiff, with those of the same name of upstream.
    pub fn add(&mut self, ours: Vec<Figure>, upstream: &[Figure]) {
        for figure in ours {
            let row = Row { upstream: upstream.iter().find(|u| u.what == figure.what).map(|u| u.value), ours: figure };
            let [what, value, budget, verdict, upstream, ratio, _] = row.cells();
            if !self.silent {
                eprintln!("{what}: {value}  {budget} {verdict}  {upstream} {ratio}");
            }
            self.rows.push(row);
        }
    }
    pub fn markdown(&self) -> String {
        // Without upstream there is nothing to show beside.
        let beside = self.rows.iter().any(|r| r.upstream.is_some());
        let line = |cells: &[String; 7]| {
            let shown = cells.iter().enumerate().filter(|(i, _)| beside || !matches!(i, 4 | 5));
            shown.fold(String::from("|"), |text, (_, c)| text + &format!(" {c} |")) + "\n"
        };
        let mut text = line(&HEAD.map(str::to_owned));
        let _ = writeln!(text, "|{}", "---|".repeat(if beside { 7 } else { 5 }));
        self.rows.iter().for_each(|r| text += &line(&r.cells()));
        text
    }
    pub fn json(&self, machine: &str) -> Value {
        json!({"machine": machine, "rows": self.rows.iter().map(Row::json).collect::<Vec<_>>()})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_and_ratios() {
        let mut table = Table::default();
        let ours = vec![
            Figure::new("a", 2.0, Unit::Millis).budget(1.0),
            Figure::new("b", 0.5, Unit::Millis).budget(1.0).remark("so"),
            Figure::new("c", 500.0, Unit::ASecond).budget(1000.0),
            Figure::new("d", 7.0, Unit::MiB),
        ];
        table.add(ours, &[Figure::new("b", 5.0, Unit::Millis), Figure::new("c", 100.0, Unit::ASecond)]);
        let text = table.markdown();
        assert_eq!(text.lines().nth(2), Some("| a | 2.00 ms | ≤ 1.00 ms | missed, 2.00 times |  |  |  |"));
        assert_eq!(text.lines().nth(3), Some("| b | 0.500 ms | ≤ 1.00 ms | met | 5.00 ms | 10.0× | so |"));
        assert_eq!(text.lines().nth(4), Some("| c | 500 /s | ≥ 1000 /s | missed, 2.00 times | 100 /s | 5.00× |  |"));
        assert_eq!(text.lines().nth(5), Some("| d | 7.00 MiB |  |  |  |  |  |"));
        let json = table.json("m");
        assert_eq!(json["rows"][1]["met"], true);
        assert_eq!(json["rows"][1]["ratio"], 10.0);
        assert_eq!(json["rows"][3]["met"], Value::Null);
    }

    #[test]
    fn alone_there_are_no_columns_of_upstream() {
        let mut table = Table::default();
        table.add(vec![Figure::new("a", 2.0, Unit::Seconds)], &[]);
        assert_eq!(table.markdown(), "| what | Skiff | budget | verdict | remark |\n|---|---|---|---|---|\n| a | 2.00 s |  |  |  |\n");
    }
}
