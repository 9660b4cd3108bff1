//! A pod's resolver and its hosts file.
use crate::{field::Field, ip, names, show::own};

const MAX_NAMESERVERS: usize = 3;
const MAX_SEARCHES: usize = 32;
const MAX_SEARCH_CHARS: usize = 2048;

pub(super) fn config(f: &Field<'_>, policy: &str) {
    let (servers, searches) = (f.at("nameservers"), f.at("searches"));
    if policy == "None" {
        if !f.exists() {
            return f.required("must provide `dnsConfig` when `dnsPolicy` is None");
        }
        if servers.list().is_empty() {
            return servers.required("must provide at least one DNS nameserver when `dnsPolicy` is None");
        }
    }
    if servers.len() > MAX_NAMESERVERS {
        servers.invalid(own(servers.value()), &format!("must not have more than {MAX_NAMESERVERS} nameservers"));
    }
    for s in servers.items() {
        ip::legacy(&s, s.str(), &[]);
    }
    if searches.len() > MAX_SEARCHES {
        searches.invalid(own(searches.value()), &format!("must not have more than {MAX_SEARCHES} search paths"));
    }
    if searches.strs().join(" ").len() > MAX_SEARCH_CHARS {
        searches.invalid(own(searches.value()), &format!("must not have more than {MAX_SEARCH_CHARS} characters (including spaces) in the search list"));
    }
    for s in searches.items().filter(|s| !s.is(".")) {
        s.check_text(s.str().strip_suffix('.').unwrap_or(s.str()), names::subdomain_with_underscore);
    }
    for o in f.at("options").items().filter(|o| o.at("name").str().is_empty()) {
        o.required("must not be empty");
    }
}

pub(super) fn host_aliases(list: &Field<'_>) {
    for alias in list.items() {
        let address = alias.at("ip");
        ip::legacy(&address, address.str(), &[]);
        for h in alias.at("hostnames").items() {
            h.check(names::dns1123_subdomain);
        }
    }
}
