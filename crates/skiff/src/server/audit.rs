//! The flags of audit: upstream's names, and what they mean.
use anyhow::{Context, bail};
use clap::Args;
use skiff_audit::{Batching, LogOptions, Mode, Policy, Setup, Truncation, WebhookOptions};
use std::path::PathBuf;
use std::time::Duration;

/// A duration as Go writes it: `30s`, `1m30s`, `500ms`.
fn duration(text: &str) -> Result<Duration, String> {
    let nanos = skiff_meta::go::parse_duration(text).ok().and_then(|n| u64::try_from(n).ok());
    nanos.map(Duration::from_nanos).ok_or_else(|| format!("{text:?} is no duration like 30s, 1m30s or 500ms"))
}

fn mode(text: &str) -> Result<Mode, String> {
    match text {
        "batch" => Ok(Mode::Batch),
        "blocking" => Ok(Mode::Blocking),
        "blocking-strict" => Ok(Mode::BlockingStrict),
        _ => Err("it is one of batch, blocking, blocking-strict".into()),
    }
}

fn format(text: &str) -> Result<bool, String> {
    match text {
        "json" => Ok(false),
        "legacy" => Ok(true),
        _ => Err("it is one of json, legacy".into()),
    }
}

#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Audit")]
pub struct AuditArgs {
    /// Which requests are recorded, and how much of them [default: the metadata of all but probes, leases and events]
    #[arg(long)]
    pub audit_policy_file: Option<PathBuf>,
    /// File that requests are recorded in, one JSON object a line; `-` is standard output [default: none]
    #[arg(long)]
    pub audit_log_path: Option<PathBuf>,
    /// Days that old logs are kept; 0 is for ever
    #[arg(long, default_value_t = 366)]
    pub audit_log_maxage: u32,
    /// How many old logs are kept; 0 is all
    #[arg(long, default_value_t = 100)]
    pub audit_log_maxbackup: usize,
    /// Megabytes after which a log begins anew; 0 is never
    #[arg(long, default_value_t = 100)]
    pub audit_log_maxsize: u64,
    /// Compress old logs
    #[arg(long)]
    pub audit_log_compress: bool,
    /// Form of the log: json, legacy
    #[arg(long, value_name = "FORMAT", default_value = "json", value_parser = format)]
    pub audit_log_format: bool,
    /// Who waits for the log: nobody (batch), requests (blocking), and they fail with it (blocking-strict)
    #[arg(long, default_value = "batch", value_parser = mode)]
    pub audit_log_mode: Mode,
    /// Events that wait for the log in mode batch; more are dropped
    #[arg(long, default_value_t = Batching::LOG.buffer)]
    pub audit_log_batch_buffer_size: usize,
    /// Most events that are written to the log at once
    #[arg(long, default_value_t = Batching::LOG.size)]
    pub audit_log_batch_max_size: usize,
    /// How long an event waits for others to be written to the log with
    #[arg(long, default_value = "0s", value_parser = duration)]
    pub audit_log_batch_max_wait: Duration,
    /// Leave bodies out of events that are too large for the log
    #[arg(long)]
    pub audit_log_truncate_enabled: bool,
    /// Largest event in the log, bytes
    #[arg(long, default_value_t = 102_400)]
    pub audit_log_truncate_max_event_size: usize,
    /// Most bytes that are written to the log at once
    #[arg(long, default_value_t = 10_485_760)]
    pub audit_log_truncate_max_batch_size: usize,
    /// Kubeconfig of a server that requests are recorded at [default: none]
    #[arg(long)]
    pub audit_webhook_config_file: Option<PathBuf>,
    /// How long to wait before a batch is sent again
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub audit_webhook_initial_backoff: Duration,
    /// Who waits for the webhook: batch, blocking, blocking-strict
    #[arg(long, default_value = "batch", value_parser = mode)]
    pub audit_webhook_mode: Mode,
    /// Events that wait for the webhook in mode batch; more are dropped
    #[arg(long, default_value_t = Batching::WEBHOOK.buffer)]
    pub audit_webhook_batch_buffer_size: usize,
    /// Most events in a batch
    #[arg(long, default_value_t = Batching::WEBHOOK.size)]
    pub audit_webhook_batch_max_size: usize,
    /// How long an event waits for others to be sent with
    #[arg(long, default_value = "30s", value_parser = duration)]
    pub audit_webhook_batch_max_wait: Duration,
    /// Limit how often batches are sent
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    pub audit_webhook_batch_throttle_enable: bool,
    /// Batches a second, on average
    #[arg(long, default_value_t = 10.0)]
    pub audit_webhook_batch_throttle_qps: f64,
    /// Batches at once after a pause
    #[arg(long, default_value_t = 15)]
    pub audit_webhook_batch_throttle_burst: usize,
    /// Leave bodies out of events that are too large for the webhook
    #[arg(long)]
    pub audit_webhook_truncate_enabled: bool,
    /// Largest event that is sent, bytes
    #[arg(long, default_value_t = 102_400)]
    pub audit_webhook_truncate_max_event_size: usize,
    /// Largest batch that is sent, bytes
    #[arg(long, default_value_t = 10_485_760)]
    pub audit_webhook_truncate_max_batch_size: usize,
}

impl AuditArgs {
    /// None when nothing is to be recorded anywhere.
    pub fn setup(&self) -> anyhow::Result<Option<Setup>> {
        let (log, webhook) = (self.log()?, self.webhook()?);
        let policy = match &self.audit_policy_file {
            Some(path) => {
                let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
                Policy::read(&text).with_context(|| format!("read {}", path.display()))?
            }
            None => Policy::metadata_only(),
        };
        if log.is_none() && webhook.is_none() {
            if self.audit_policy_file.is_some() {
                tracing::warn!(target: "skiff", "--audit-policy-file is given, but neither --audit-log-path nor --audit-webhook-config-file: nothing is recorded");
            }
            return Ok(None);
        }
        Ok(Some(Setup { policy, log, webhook }))
    }

    fn log(&self) -> anyhow::Result<Option<LogOptions>> {
        let Some(path) = self.audit_log_path.clone() else { return Ok(None) };
        let batching =
            Batching { buffer: self.audit_log_batch_buffer_size, size: self.audit_log_batch_max_size, wait: self.audit_log_batch_max_wait, throttle: None };
        let truncation = truncation("log", self.audit_log_truncate_enabled, self.audit_log_truncate_max_event_size, self.audit_log_truncate_max_batch_size)?;
        positive("log", &batching)?;
        Ok(Some(LogOptions {
            path,
            max_age: self.audit_log_maxage,
            max_backups: self.audit_log_maxbackup,
            max_size: self.audit_log_maxsize,
            compress: self.audit_log_compress,
            legacy: self.audit_log_format,
            mode: self.audit_log_mode,
            batching,
            truncation,
        }))
    }

    fn webhook(&self) -> anyhow::Result<Option<WebhookOptions>> {
        let Some(config) = self.audit_webhook_config_file.clone() else { return Ok(None) };
        let throttle = self.audit_webhook_batch_throttle_enable.then_some((self.audit_webhook_batch_throttle_qps, self.audit_webhook_batch_throttle_burst));
        if throttle.is_some_and(|(qps, burst)| qps <= 0.0 || burst == 0) {
            bail!("--audit-webhook-batch-throttle-qps and -burst must be positive");
        }
        let batching = Batching {
            buffer: self.audit_webhook_batch_buffer_size,
            size: self.audit_webhook_batch_max_size,
            wait: self.audit_webhook_batch_max_wait,
            throttle,
        };
        let truncation =
            truncation("webhook", self.audit_webhook_truncate_enabled, self.audit_webhook_truncate_max_event_size, self.audit_webhook_truncate_max_batch_size)?;
        positive("webhook", &batching)?;
        Ok(Some(WebhookOptions { config, initial_backoff: self.audit_webhook_initial_backoff, mode: self.audit_webhook_mode, batching, truncation }))
    }
}

fn positive(which: &str, b: &Batching) -> anyhow::Result<()> {
    if b.buffer == 0 || b.size == 0 {
        bail!("--audit-{which}-batch-buffer-size and --audit-{which}-batch-max-size must be positive");
    }
    Ok(())
}

fn truncation(which: &str, enabled: bool, event: usize, batch: usize) -> anyhow::Result<Option<Truncation>> {
    if event == 0 || batch < event {
        bail!("--audit-{which}-truncate-max-batch-size must be at least --audit-{which}-truncate-max-event-size, and that positive");
    }
    Ok(enabled.then_some(Truncation { event, batch }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        audit: AuditArgs,
    }
    fn setup(args: &[&str]) -> anyhow::Result<Option<Setup>> {
        Only::try_parse_from([&["x"], args].concat())?.audit.setup()
    }

    #[test]
    fn flags_have_upstreams_meaning() {
        assert!(setup(&[]).unwrap().is_none());
        let s = setup(&["--audit-log-path", "/x/audit.log", "--audit-log-maxage=3", "--audit-log-mode=blocking-strict", "--audit-log-truncate-enabled"])
            .unwrap()
            .unwrap();
        let log = s.log.unwrap();
        assert_eq!(
            (log.max_age, log.max_backups, log.max_size, log.mode, log.truncation),
            (3, 100, 100, Mode::BlockingStrict, Some(Truncation { event: 102_400, batch: 10_485_760 }))
        );
        let s = setup(&["--audit-webhook-config-file=/x/hook", "--audit-webhook-batch-max-wait=1m30s", "--audit-webhook-batch-throttle-enable=false"])
            .unwrap()
            .unwrap();
        assert_eq!(s.webhook.unwrap().batching, Batching { wait: Duration::from_secs(90), throttle: None, ..Batching::WEBHOOK });
        for bad in [
            &["--audit-log-mode=never"][..],
            &["--audit-log-format=xml"],
            &["--audit-webhook-initial-backoff=5"],
            &["--audit-log-path=/x", "--audit-log-batch-max-size=0"],
            &["--audit-policy-file=/nowhere/x"],
        ] {
            assert!(setup(bad).is_err(), "{bad:?}");
        }
    }
}
