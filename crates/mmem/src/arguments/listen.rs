//! The lists of `-l`.
//!
//! An entry is `[notls:][proto[NAME]:][tag[NAME]:]HOST[:PORT]`; the tag may be written `tag_NAME_:` too. HOST
//! is an address, an IPv6 address (in brackets if a port follows), a name, or `*` for all addresses. Entries
//! stand between commas or semicolons.

use super::given::Given;
use crate::config::{Host, Listen};
use crate::limits::ENDPOINTS_MAX;
use crate::refusal::{NO_TLS, Refusal, exit};
use mm_memcached::Protocol;

/// Adds the entries of one `-l` to those of earlier ones.
///
/// # Errors
/// A [`Refusal`] that names the entry at fault.
pub(super) fn add(hosts: &mut Vec<Listen>, given: &Given<'_>) -> Result<(), Refusal> {
    let entries = given.text().split([',', ';']).filter(|entry| !entry.trim().is_empty());
    for entry in entries {
        let entry = entry.trim();
        hosts.push(parse(entry).map_err(|why| given.refuse(exit::USAGE, format!("'{entry}': {why}")))?);
    }
    if hosts.is_empty() {
        return Err(given.refuse(exit::USAGE, "names no address"));
    }
    if hosts.len() > ENDPOINTS_MAX {
        return Err(given.refuse(exit::USAGE, format!("more than {ENDPOINTS_MAX} addresses")));
    }
    Ok(())
}

fn parse(entry: &str) -> Result<Listen, String> {
    let mut rest = entry;
    let (mut tag, mut protocol) = (None, None);
    loop {
        if let Some(after) = rest.strip_prefix("notls:") {
            rest = after;
        } else if rest.starts_with("btls:") || rest.starts_with("mtls:") {
            return Err(NO_TLS.to_owned());
        } else if let Some((name, after)) = bracketed(rest, "proto[") {
            protocol = Some(parse_protocol(name)?);
            rest = after;
        } else if let Some((name, after)) = bracketed(rest, "tag[") {
            tag = Some(name.to_owned());
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix("tag_").and_then(|text| text.split_once("_:")) {
            tag = Some(name.to_owned());
            rest = after;
        } else {
            break;
        }
    }
    let (host, port) = split_port(rest)?;
    let host = match host {
        "" => return Err("there is no address".to_owned()),
        "*" => Host::Any,
        name => Host::Named(name.to_owned()),
    };
    Ok(Listen { host, text: entry.to_owned(), port, tag, protocol })
}

/// The name in `PREFIX NAME]:` and what follows it.
fn bracketed<'a>(text: &'a str, prefix: &str) -> Option<(&'a str, &'a str)> {
    text.strip_prefix(prefix)?.split_once("]:")
}

fn parse_protocol(name: &str) -> Result<Protocol, String> {
    match name {
        "ascii" => Ok(Protocol::Ascii),
        "binary" => Ok(Protocol::Binary),
        "negotiating" => Ok(Protocol::Auto),
        "proxy" => Err("the proxy is not supported".to_owned()),
        _ => Err("the protocol must be ascii, binary or negotiating".to_owned()),
    }
}

fn split_port(text: &str) -> Result<(&str, Option<u16>), String> {
    let (host, port) = if let Some(inner) = text.strip_prefix('[') {
        let (host, after) = inner.split_once(']').ok_or("the bracket is not closed")?;
        match after.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if after.is_empty() => (host, None),
            None => return Err("after the bracket comes a colon and a port, or nothing".to_owned()),
        }
    } else if text.matches(':').count() == 1 {
        text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)))
    } else {
        (text, None)
    };
    let number = |port: &str| match port.parse::<u16>() {
        Ok(number) if number > 0 => Ok(number),
        Ok(_) | Err(_) => Err(format!("the port '{port}' is not a number from 1 to 65535")),
    };
    Ok((host, port.map(number).transpose()?))
}
