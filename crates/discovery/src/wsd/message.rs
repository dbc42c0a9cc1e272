//! SOAP envelopes as WS-Discovery uses them.

use quick_xml::NsReader;
use quick_xml::escape::escape;
use quick_xml::events::Event;
use quick_xml::name::{QName, ResolveResult};

/// No message of the protocol is longer.
pub(super) const LENGTH_MAX: usize = 16 << 10;
/// Elements of a message that are looked at.
const ELEMENTS_MAX: usize = 256;

const ADDRESSING: &str = "http://schemas.xmlsoap.org/ws/2004/08/addressing";
const DISCOVERY: &str = "http://schemas.xmlsoap.org/ws/2005/04/discovery";
const PROFILE: &str = "http://schemas.xmlsoap.org/ws/2006/02/devprof";
const PUBLICATION: &str = "http://schemas.microsoft.com/windows/pub/2005/07";
const TRANSFER: &str = "http://schemas.xmlsoap.org/ws/2004/09/transfer";

/// To whom multicast messages go.
pub(super) const TO_ALL: &str = "urn:schemas-xmlsoap-org:ws:2005:04:discovery";
/// To whom answers go.
pub(super) const TO_ANONYMOUS: &str =
    "http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous";

/// What a message wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Hello,
    Bye,
    Probe,
    ProbeMatches,
    Resolve,
    ResolveMatches,
    Get,
    GetResponse,
}

impl Action {
    const ALL: [Self; 8] = [
        Self::Hello,
        Self::Bye,
        Self::Probe,
        Self::ProbeMatches,
        Self::Resolve,
        Self::ResolveMatches,
        Self::Get,
        Self::GetResponse,
    ];

    pub(super) fn uri(self) -> String {
        let namespace = match self {
            Self::Get | Self::GetResponse => TRANSFER,
            Self::Hello
            | Self::Bye
            | Self::Probe
            | Self::ProbeMatches
            | Self::Resolve
            | Self::ResolveMatches => DISCOVERY,
        };
        format!("{namespace}/{self:?}")
    }

    fn of(uri: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.uri() == uri)
    }
}

/// What is asked of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) action: Action,
    pub(super) id: String,
    /// Of the device that is to be resolved.
    pub(super) address: String,
    /// A type or a scope is asked for that this device is not.
    pub(super) for_others: bool,
}

/// Reads a message; None for what is none, or asks nothing that is known.
pub(super) fn decode(bytes: &[u8]) -> Option<Message> {
    if bytes.len() > LENGTH_MAX {
        return None;
    }
    let mut reader = NsReader::from_str(std::str::from_utf8(bytes).ok()?);
    let mut path: Vec<Element> = Vec::new();
    let (mut action, mut id, mut address) = (None, None, String::new());
    let mut for_others = false;
    let mut elements = 0_usize;
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) => {
                elements = elements.saturating_add(1);
                if elements > ELEMENTS_MAX {
                    return None;
                }
                let (namespace, local) = reader.resolver().resolve_element(start.name());
                path.push(Element::of(&namespace, local.as_ref()));
            }
            Event::End(_) => {
                path.pop();
            }
            Event::Text(text) => {
                let text = text.trim();
                match path.last() {
                    _ if text.is_empty() => {}
                    Some(Element::Action) => action = Action::of(text),
                    Some(Element::MessageId) => id = Some(text.to_owned()),
                    Some(Element::Address) => text.clone_into(&mut address),
                    Some(Element::Scopes) => for_others = true,
                    Some(Element::Types) => {
                        for_others |= !text
                            .split_ascii_whitespace()
                            .all(|name| is_ours(&reader, name));
                    }
                    Some(Element::Other) | None => {}
                }
            }
            Event::DocType(_) => return None,
            Event::Eof => break,
            Event::Empty(_)
            | Event::CData(_)
            | Event::Comment(_)
            | Event::Decl(_)
            | Event::PI(_)
            | Event::GeneralRef(_) => {}
        }
    }
    // What a text holds beyond plain characters, no identifier needs.
    let id = id.filter(|id| id.len() <= 256)?;
    Some(Message {
        action: action?,
        id,
        address,
        for_others,
    })
}

/// Whether a type's name, resolved where it stands, is one of a computer.
fn is_ours(reader: &NsReader<&[u8]>, name: &str) -> bool {
    let (namespace, local) = reader.resolver().resolve_element(QName(name));
    let is = |uri: &str, wanted: &str| is_in(&namespace, uri) && local.as_ref() == wanted;
    is(PROFILE, "Device") || is(PUBLICATION, "Computer")
}

fn is_in(namespace: &ResolveResult<'_>, uri: &str) -> bool {
    matches!(namespace, ResolveResult::Bound(bound) if bound.as_ref() == uri)
}

/// The elements that matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Element {
    Action,
    MessageId,
    Address,
    Types,
    Scopes,
    Other,
}

impl Element {
    fn of(namespace: &ResolveResult<'_>, local: &str) -> Self {
        let addressing = is_in(namespace, ADDRESSING);
        let discovery = is_in(namespace, DISCOVERY);
        match local {
            "Action" if addressing => Self::Action,
            "MessageID" if addressing => Self::MessageId,
            "Address" if addressing => Self::Address,
            "Types" if discovery => Self::Types,
            "Scopes" if discovery => Self::Scopes,
            _ => Self::Other,
        }
    }
}

/// What the header of a message says beside its action.
#[derive(Debug)]
pub(super) struct Header<'a> {
    pub(super) action: Action,
    pub(super) to: &'a str,
    pub(super) id: &'a str,
    /// The message that is answered.
    pub(super) relates_to: Option<&'a str>,
    /// The instance of the sender and the number of the message.
    pub(super) sequence: Option<(u64, u32)>,
}

/// A whole message.
pub(super) fn encode(header: &Header<'_>, body: &str) -> String {
    let relates_to = header.relates_to.map_or(String::new(), |id| {
        format!("<wsa:RelatesTo>{}</wsa:RelatesTo>", escape(id))
    });
    let sequence = header.sequence.map_or(String::new(), |(instance, number)| {
        format!("<wsd:AppSequence InstanceId=\"{instance}\" MessageNumber=\"{number}\"/>")
    });
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\
         <soap:Envelope xmlns:soap=\"http://www.w3.org/2003/05/soap-envelope\" xmlns:wsa=\"{ADDRESSING}\" \
         xmlns:wsd=\"{DISCOVERY}\" xmlns:wsx=\"http://schemas.xmlsoap.org/ws/2004/09/mex\" xmlns:wsdp=\"{PROFILE}\" \
         xmlns:pnpx=\"http://schemas.microsoft.com/windows/pnpx/2005/10\" xmlns:pub=\"{PUBLICATION}\">\
         <soap:Header><wsa:To>{}</wsa:To><wsa:Action>{}</wsa:Action><wsa:MessageID>{}</wsa:MessageID>\
         {relates_to}{sequence}</soap:Header><soap:Body>{body}</soap:Body></soap:Envelope>",
        header.to,
        header.action.uri(),
        header.id,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(types: &str) -> String {
        let header = Header {
            action: Action::Probe,
            to: TO_ALL,
            id: "urn:uuid:1",
            relates_to: None,
            sequence: None,
        };
        encode(&header, &format!("<wsd:Probe>{types}</wsd:Probe>"))
    }

    #[test]
    fn a_probe_for_computers_is_ours_and_one_for_printers_is_not() {
        for (types, for_others) in [
            ("", false),
            ("<wsd:Types>wsdp:Device</wsd:Types>", false),
            ("<wsd:Types>wsdp:Device pub:Computer</wsd:Types>", false),
            (
                "<wsd:Types xmlns:p=\"http://schemas.microsoft.com/windows/pub/2005/07\">p:Computer</wsd:Types>",
                false,
            ),
            (
                "<wsd:Types xmlns:pub=\"urn:else\">pub:Computer</wsd:Types>",
                true,
            ),
            ("<wsd:Types>wsdp:Device wsdp:Printer</wsd:Types>", true),
            ("<wsd:Types>Device</wsd:Types>", true),
            ("<wsd:Scopes>ldap:///ou=x</wsd:Scopes>", true),
        ] {
            let message = decode(probe(types).as_bytes()).unwrap();
            assert_eq!(
                (message.action, message.id.as_str()),
                (Action::Probe, "urn:uuid:1")
            );
            assert_eq!(message.for_others, for_others, "{types}");
        }
    }

    #[test]
    fn whatever_is_no_message_is_none() {
        let whole = probe("<wsd:Types>wsdp:Device</wsd:Types>");
        for end in 0..whole.len() {
            // A cut message lacks its end at least; reading it must end all the same.
            decode(&whole.as_bytes()[..end]);
        }
        assert_eq!(decode(b""), None);
        assert_eq!(decode(b"GET / HTTP/1.1\r\n\r\n"), None);
        let bomb = format!("<!DOCTYPE x [<!ENTITY a \"aaaa\">]>{whole}");
        assert_eq!(decode(bomb.as_bytes()), None);
        assert_eq!(decode("<a>".repeat(5000).as_bytes()), None);
        let long = whole.replace("urn:uuid:1", &"x".repeat(300));
        assert_eq!(decode(long.as_bytes()), None);
        let unknown = whole.replace("discovery/Probe<", "discovery/Probed<");
        assert_eq!(decode(unknown.as_bytes()), None);
    }

    #[test]
    fn bytes_of_all_sorts_end_well() {
        let whole = probe("<wsd:Types>wsdp:Device pub:Computer</wsd:Types>").into_bytes();
        let mut seed = 7_u64;
        for _ in 0..20_000 {
            let mut bytes = whole.clone();
            for _ in 0..4 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let [.., at, low, byte] = seed.to_be_bytes();
                let at = (usize::from(at) << 8 | usize::from(low)) % bytes.len();
                bytes[at] = byte;
            }
            decode(&bytes);
        }
    }

    #[test]
    fn what_others_wrote_is_escaped_in_answers() {
        let header = Header {
            action: Action::ProbeMatches,
            to: TO_ANONYMOUS,
            id: "urn:uuid:2",
            relates_to: Some("<evil>&"),
            sequence: Some((5, 1)),
        };
        let answer = encode(&header, "");
        assert!(answer.contains("<wsa:RelatesTo>&lt;evil&gt;&amp;</wsa:RelatesTo>"));
    }
}
