//! What the server says of itself: where it is, and that it is a computer of a workgroup (MS-PBSD 2.2).

use std::net::Ipv4Addr;

use quick_xml::escape::escape;

use super::Device;
use super::message::{Action, Header, TO_ALL, TO_ANONYMOUS, encode};

impl Device {
    /// Hello or Bye, to all.
    pub(super) fn announcement(&self, action: Action, address: Ipv4Addr) -> String {
        let here = self.here((action == Action::Hello).then_some(address));
        let header = Header {
            action,
            to: TO_ALL,
            id: &self.message_id(),
            relates_to: None,
            sequence: Some((self.instance, self.message_number())),
        };
        encode(&header, &format!("<wsd:{action:?}>{here}</wsd:{action:?}>"))
    }

    /// ProbeMatches or ResolveMatches, to the one who asked.
    pub(super) fn matches(&self, action: Action, to: &str, address: Ipv4Addr) -> String {
        let here = self.here(Some(address));
        let one = if action == Action::ResolveMatches {
            "ResolveMatch"
        } else {
            "ProbeMatch"
        };
        let header = Header {
            action,
            to: TO_ANONYMOUS,
            id: &self.message_id(),
            relates_to: Some(to),
            sequence: Some((self.instance, self.message_number())),
        };
        let body = format!("<wsd:{action:?}><wsd:{one}>{here}</wsd:{one}></wsd:{action:?}>");
        encode(&header, &body)
    }

    /// Who the server is, and where if it is to be told.
    fn here(&self, address: Option<Ipv4Addr>) -> String {
        let reference = self.reference();
        let Some(address) = address else {
            return reference;
        };
        let (port, path) = (self.port, self.path());
        format!(
            "{reference}<wsd:Types>wsdp:Device pub:Computer</wsd:Types>\
             <wsd:XAddrs>http://{address}:{port}{path}</wsd:XAddrs><wsd:MetadataVersion>1</wsd:MetadataVersion>"
        )
    }

    fn reference(&self) -> String {
        let urn = &self.urn;
        format!("<wsa:EndpointReference><wsa:Address>{urn}</wsa:Address></wsa:EndpointReference>")
    }

    /// The answer to Get.
    pub(super) fn metadata(&self, to: &str) -> String {
        let name = escape(&self.host.name);
        let workgroup = escape(&self.host.workgroup);
        let version = env!("CARGO_PKG_VERSION");
        let dialect = |name: &str, content: &str| {
            let profile = "http://schemas.xmlsoap.org/ws/2006/02/devprof";
            format!(
                "<wsx:MetadataSection Dialect=\"{profile}/{name}\">{content}</wsx:MetadataSection>"
            )
        };
        let device = format!(
            "<wsdp:ThisDevice><wsdp:FriendlyName>{name}</wsdp:FriendlyName>\
             <wsdp:FirmwareVersion>{version}</wsdp:FirmwareVersion>\
             <wsdp:SerialNumber>1</wsdp:SerialNumber></wsdp:ThisDevice>"
        );
        let model = "<wsdp:ThisModel><wsdp:Manufacturer>Strongroom</wsdp:Manufacturer>\
             <wsdp:ModelName>Strongroom</wsdp:ModelName>\
             <pnpx:DeviceCategory>Computers</pnpx:DeviceCategory></wsdp:ThisModel>";
        let (reference, urn) = (self.reference(), &self.urn);
        let relationship = format!(
            "<wsdp:Relationship Type=\"http://schemas.xmlsoap.org/ws/2006/02/devprof/host\"><wsdp:Host>{reference}\
             <wsdp:Types>pub:Computer</wsdp:Types><wsdp:ServiceId>{urn}</wsdp:ServiceId>\
             <pub:Computer>{name}/Workgroup:{workgroup}</pub:Computer></wsdp:Host></wsdp:Relationship>"
        );
        let header = Header {
            action: Action::GetResponse,
            to: TO_ANONYMOUS,
            id: &self.message_id(),
            relates_to: Some(to),
            sequence: None,
        };
        let sections = [
            dialect("ThisDevice", &device),
            dialect("ThisModel", model),
            dialect("Relationship", &relationship),
        ];
        encode(
            &header,
            &format!("<wsx:Metadata>{}</wsx:Metadata>", sections.concat()),
        )
    }
}
