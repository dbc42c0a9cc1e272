//! What a person sees when the server has started: where to connect, each as a line to copy.

use std::fmt::Write;
use std::net::IpAddr;
use std::path::Path;

use super::address;
use super::console::Console;
use super::first::{ADMIN, SHARE};
use super::listen::Listener;

/// Prints to standard output; logs go to standard error.
///
/// `explanation` says what the layout of a new pool means.
pub(super) fn print(
    data: &Path,
    listener: &Listener,
    password: Option<&str>,
    explanation: &[String],
    console: Option<(&Console, Option<String>)>,
) {
    let console = console.map_or_else(String::new, |(console, code)| console_lines(console, code));
    let bound = listener.address();
    let addresses = if bound.ip().is_unspecified() {
        address::reachable()
    } else {
        vec![bound.ip()]
    };
    let text = text(
        data,
        &addresses,
        bound.port(),
        listener.why_high(),
        password,
        explanation,
        &console,
    );
    // A closed standard output is no reason not to serve.
    std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes()).ok();
}

fn text(
    data: &Path,
    addresses: &[IpAddr],
    port: u16,
    why_high: Option<&str>,
    password: Option<&str>,
    explanation: &[String],
    console: &str,
) -> String {
    let mut out = format!("Strongroom serves {} on port {port}\n", data.display());
    if let Some(why) = why_high {
        out += &format!("(not on the standard port 445: {why})\n");
    }
    for (number, line) in explanation.iter().enumerate() {
        let label = if number == 0 { "layout" } else { "" };
        out += &format!("  {label:<9} {line}\n");
    }
    if let Some(password) = password {
        out += &format!(
            "\n  account   {ADMIN}\n  password  {password}\n\
             Write the password down: it is shown this once and kept nowhere.\n"
        );
    }
    out += console;
    for address in addresses {
        // Writing to a string cannot fail.
        lines_of(&mut out, *address, port).ok();
    }
    out += "\nCtrl-C stops the server.\n";
    out
}

/// Where the console is, how to know it, and the code of its first page.
fn console_lines(console: &Console, code: Option<String>) -> String {
    let mut out = String::from("\nManage it in a browser:\n");
    for link in console.links() {
        out += &format!("  console   {link}\n");
    }
    if let Some(code) = code {
        out += &format!("  code      {code}  (asked for once, to set it up)\n");
    }
    if console.self_signed {
        let (first, second) = console
            .fingerprint
            .split_at(console.fingerprint.len() / 2 + 1);
        out += &format!(
            "  The browser does not know this machine's certificate yet and warns. Its SHA-256 fingerprint is\n  \
             {first}\n  {second}\n"
        );
    }
    out
}

const STANDARD_PORT: u16 = 445;

fn lines_of(out: &mut String, address: IpAddr, port: u16) -> std::fmt::Result {
    let standard = port == STANDARD_PORT;
    let (host, unc) = match address {
        IpAddr::V4(address) => (address.to_string(), address.to_string()),
        // Windows cannot spell colons in a path and has a domain for this (MS-DTYP 2.2.57).
        IpAddr::V6(address) => (
            format!("[{address}]"),
            format!("{}.ipv6-literal.net", address.to_string().replace(':', "-")),
        ),
    };
    let suffix = if standard {
        String::new()
    } else {
        format!(":{port}")
    };
    let windows = if standard {
        String::new()
    } else {
        format!(" /TCPPORT:{port}")
    };
    let needs = if standard {
        ""
    } else {
        "   (Windows 11 24H2 or Server 2025)"
    };
    let linux = if standard {
        String::new()
    } else {
        format!(",port={port}")
    };
    let mount_host = host.trim_matches(['[', ']']);
    writeln!(out, "\nConnect to {address}:")?;
    writeln!(
        out,
        "  Windows  net use Z: \\\\{unc}\\{SHARE} /user:{ADMIN} *{windows}{needs}"
    )?;
    writeln!(out, "  macOS    open smb://{ADMIN}@{host}{suffix}/{SHARE}")?;
    writeln!(
        out,
        "  Linux    sudo mount -t cifs //{mount_host}/{SHARE} /mnt \
         -o username={ADMIN},vers=3.1.1{linux}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(address: &str, port: u16, password: Option<&str>) -> String {
        text(
            Path::new("/d"),
            &[address.parse().unwrap()],
            port,
            None,
            password,
            &[],
            "",
        )
    }

    #[test]
    fn the_standard_port_is_not_spelled_out() {
        let text = shown("192.0.2.7", 445, None);
        assert!(
            text.contains("net use Z: \\\\192.0.2.7\\files /user:admin *\n"),
            "{text}"
        );
        assert!(
            text.contains("open smb://admin@192.0.2.7/files\n"),
            "{text}"
        );
        assert!(
            text.contains("//192.0.2.7/files /mnt -o username=admin,vers=3.1.1\n"),
            "{text}"
        );
    }

    #[test]
    fn a_high_port_is_in_every_line() {
        let text = shown("192.0.2.7", 4445, None);
        assert!(text.contains("/TCPPORT:4445"), "{text}");
        assert!(text.contains("smb://admin@192.0.2.7:4445/files"), "{text}");
        assert!(text.contains(",port=4445"), "{text}");
    }

    #[test]
    fn internet_protocol_6_is_spelled_as_each_system_wants_it() {
        let text = shown("fd00::7", 445, None);
        assert!(
            text.contains("\\\\fd00--7.ipv6-literal.net\\files"),
            "{text}"
        );
        assert!(text.contains("smb://admin@[fd00::7]/files"), "{text}");
        assert!(text.contains("//fd00::7/files"), "{text}");
    }

    #[test]
    fn the_password_is_shown_only_where_there_is_one() {
        assert!(shown("192.0.2.7", 445, Some("abc")).contains("password  abc\n"));
        assert!(!shown("192.0.2.7", 445, None).contains("password"));
    }
}
