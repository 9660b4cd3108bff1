//! The subject of a certificate request, out of the object that carries it.
use crate::value;
use base64::{Engine, engine::general_purpose::STANDARD};
use skiff_json::Value;
use x509_parser::{certification_request::X509CertificationRequest, prelude::FromDer};

pub(crate) struct Subject {
    pub common_name: String,
    pub organizations: Vec<String>,
}

/// A request larger than this is none.
const LIMIT: usize = 256 * 1024;

pub(crate) fn request_subject(v: &Value) -> Result<Subject, String> {
    const NO_BLOCK: &str = "PEM block type must be CERTIFICATE REQUEST";
    let text = value::text(v, "spec.request");
    if text.len() > LIMIT {
        return Err("the request is too large".into());
    }
    let clean: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let bytes = STANDARD.decode(clean).map_err(|e| e.to_string())?;
    let block = pem::parse(bytes).map_err(|_| NO_BLOCK.to_owned())?;
    if block.tag() != "CERTIFICATE REQUEST" {
        return Err(NO_BLOCK.into());
    }
    let (_, request) = X509CertificationRequest::from_der(block.contents()).map_err(|e| e.to_string())?;
    let subject = &request.certification_request_info.subject;
    let text = |a: &x509_parser::x509::AttributeTypeAndValue<'_>| a.as_str().unwrap_or_default().to_owned();
    Ok(Subject { common_name: subject.iter_common_name().map(text).next().unwrap_or_default(), organizations: subject.iter_organization().map(text).collect() })
}
