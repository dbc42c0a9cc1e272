//! SPNEGO tokens (RFC 4178 4.2, MS-SPNG 2.2.1).

use super::der::{self, BadDer, Reader, context, element};

/// 1.3.6.1.5.5.2
const SPNEGO: &[u8] = &[0x2B, 0x06, 0x01, 0x05, 0x05, 0x02];
/// 1.3.6.1.4.1.311.2.2.10
pub(super) const NTLMSSP: &[u8] = &[0x2B, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x02, 0x02, 0x0A];
/// 1.2.840.113554.1.2.2
pub(super) const KRB5: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x12, 0x01, 0x02, 0x02];
/// 1.2.840.48018.1.2.2: the same, as Windows once spelt it by mistake and still puts first (MS-SPNG 3.1.5.2).
pub(super) const MS_KRB5: &[u8] = &[0x2A, 0x86, 0x48, 0x82, 0xF7, 0x12, 0x01, 0x02, 0x02];
/// What every server says where a Kerberos principal once was.
const HINT: &[u8] = b"not_defined_in_RFC4178@please_ignore";

/// `negState` (RFC 4178 4.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NegState {
    AcceptCompleted = 0,
    AcceptIncomplete = 1,
    RequestMic = 3,
}

/// A client's first token.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NegTokenInit<'a> {
    /// The MechTypeList's DER as it came: what the mechListMIC covers.
    pub(super) mech_list: &'a [u8],
    /// Where NTLMSSP stands in the list.
    pub(super) ntlm_at: Option<usize>,
    /// The spelling of Kerberos that stands first.
    pub(super) kerberos: Option<&'a [u8]>,
    pub(super) mech_token: Option<&'a [u8]>,
}

/// A later token of either side.
#[derive(Debug, PartialEq, Eq, Default)]
pub(super) struct NegTokenResp<'a> {
    pub(super) response_token: Option<&'a [u8]>,
    pub(super) mech_list_mic: Option<&'a [u8]>,
}

impl<'a> NegTokenInit<'a> {
    pub(super) fn parse(token: &'a [u8]) -> Result<Self, BadDer> {
        let mut outer = Reader(der::only(token, der::APPLICATION_0)?);
        if outer.take(der::OID)? != SPNEGO {
            return Err(BadDer);
        }
        let mut fields = Reader(der::only(der::only(outer.0, context(0))?, der::SEQUENCE)?);
        let mech_list = fields.take(context(0))?;
        let list = der::only(mech_list, der::SEQUENCE)?;
        let ntlm_at = position_of_ntlm(list)?;
        let first = Reader(list).take_if(der::OID)?;
        let kerberos = first.filter(|oid| [KRB5, MS_KRB5].contains(oid));
        fields.take_if(context(1))?;
        let mech_token = octets(fields.take_if(context(2))?)?;
        // A mechListMIC or hints may follow; neither means anything before the mechanism is agreed on.
        Ok(Self {
            mech_list,
            ntlm_at,
            kerberos,
            mech_token,
        })
    }
}

fn position_of_ntlm(list: &[u8]) -> Result<Option<usize>, BadDer> {
    let (mut mechanisms, mut position, mut found) = (Reader(list), 0, None);
    while !mechanisms.is_empty() {
        if mechanisms.take(der::OID)? == NTLMSSP && found.is_none() {
            found = Some(position);
        }
        position += 1;
    }
    Ok(found)
}

fn octets(field: Option<&[u8]>) -> Result<Option<&[u8]>, BadDer> {
    field
        .map(|field| der::only(field, der::OCTET_STRING))
        .transpose()
}

impl<'a> NegTokenResp<'a> {
    pub(super) fn parse(token: &'a [u8]) -> Result<Self, BadDer> {
        let mut fields = Reader(der::only(der::only(token, context(1))?, der::SEQUENCE)?);
        if let Some(state) = fields.take_if(context(0))? {
            der::only(state, der::ENUMERATED)?;
        }
        fields.take_if(context(1))?;
        let response_token = octets(fields.take_if(context(2))?)?;
        let mech_list_mic = octets(fields.take_if(context(3))?)?;
        Ok(Self {
            response_token,
            mech_list_mic,
        })
    }
}

/// NegTokenInit2 with these mechanisms, the best first (MS-SPNG 2.2.1).
pub(super) fn init2(mechanisms: &[&[u8]]) -> Vec<u8> {
    let oids: Vec<_> = mechanisms
        .iter()
        .map(|oid| element(der::OID, &[oid]))
        .collect();
    let oids: Vec<&[u8]> = oids.iter().map(Vec::as_slice).collect();
    let mechanisms = element(der::SEQUENCE, &oids);
    let name = element(context(0), &[&element(der::GENERAL_STRING, &[HINT])]);
    let hints = element(context(3), &[&element(der::SEQUENCE, &[&name])]);
    let fields = element(
        der::SEQUENCE,
        &[&element(context(0), &[&mechanisms]), &hints],
    );
    let init = element(context(0), &[&fields]);
    element(der::APPLICATION_0, &[&element(der::OID, &[SPNEGO]), &init])
}

/// A NegTokenResp of the acceptor; the mechanism is named in the first one only.
pub(super) fn response(
    state: NegState,
    mechanism: Option<&[u8]>,
    token: Option<&[u8]>,
    mic: Option<&[u8]>,
) -> Vec<u8> {
    let octets = |tag: u8, bytes: Option<&[u8]>| {
        bytes.map_or_else(Vec::new, |bytes| {
            element(context(tag), &[&element(der::OCTET_STRING, &[bytes])])
        })
    };
    let state = element(context(0), &[&element(der::ENUMERATED, &[&[state as u8]])]);
    let mechanism = mechanism.map_or_else(Vec::new, |oid| {
        element(context(1), &[&element(der::OID, &[oid])])
    });
    let fields = [state, mechanism, octets(2, token), octets(3, mic)];
    element(
        context(1),
        &[&element(
            der::SEQUENCE,
            &fields.each_ref().map(Vec::as_slice),
        )],
    )
}
