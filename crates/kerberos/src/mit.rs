//! MIT krb5's GSS-API as an acceptor that has no state between tokens: a client's first token ends the exchange.

#![expect(
    unsafe_code,
    reason = "the library is C; every call passes pointers to live objects of this frame or of the acceptor"
)]

use std::ffi::{CString, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::{null, null_mut};

use strongroom_identity::Sid;
use strongroom_smb::{Kerberos, KerberosAccepted, KerberosError};
use zeroize::Zeroizing;

type Status = u32;

/// gss_buffer_desc
#[repr(C)]
struct Buffer {
    length: usize,
    value: *mut c_void,
}

/// gss_OID_desc
#[repr(C)]
struct Oid {
    length: u32,
    elements: *const c_void,
}

/// gss_OID_set_desc
#[repr(C)]
struct OidSet {
    count: usize,
    elements: *const Oid,
}

/// gss_buffer_set_desc
#[repr(C)]
struct BufferSet {
    count: usize,
    elements: *mut Buffer,
}

/// gss_key_value_element_desc
#[repr(C)]
struct KeyValue {
    key: *const c_char,
    value: *const c_char,
}

/// gss_key_value_set_desc
#[repr(C)]
struct KeyValueSet {
    count: u32,
    elements: *const KeyValue,
}

#[link(name = "gssapi_krb5")]
unsafe extern "C" {
    fn gss_acquire_cred_from(
        minor: *mut Status,
        name: *mut c_void,
        lifetime: u32,
        mechanisms: *const OidSet,
        usage: c_int,
        store: *const KeyValueSet,
        credentials: *mut *mut c_void,
        actual: *mut *mut OidSet,
        left: *mut u32,
    ) -> Status;
    fn gss_accept_sec_context(
        minor: *mut Status,
        context: *mut *mut c_void,
        credentials: *mut c_void,
        input: *const Buffer,
        bindings: *const c_void,
        source: *mut *mut c_void,
        mechanism: *mut *mut Oid,
        output: *mut Buffer,
        flags: *mut u32,
        lifetime: *mut u32,
        delegated: *mut *mut c_void,
    ) -> Status;
    fn gss_display_name(
        minor: *mut Status,
        name: *mut c_void,
        output: *mut Buffer,
        kind: *mut *mut Oid,
    ) -> Status;
    fn gss_get_name_attribute(
        minor: *mut Status,
        name: *mut c_void,
        attribute: *const Buffer,
        authenticated: *mut c_int,
        complete: *mut c_int,
        value: *mut Buffer,
        display: *mut Buffer,
        more: *mut c_int,
    ) -> Status;
    fn gss_inquire_sec_context_by_oid(
        minor: *mut Status,
        context: *mut c_void,
        wanted: *const Oid,
        data: *mut *mut BufferSet,
    ) -> Status;
    fn gss_display_status(
        minor: *mut Status,
        status: Status,
        kind: c_int,
        mechanism: *const Oid,
        message: *mut Status,
        output: *mut Buffer,
    ) -> Status;
    fn gss_release_buffer(minor: *mut Status, buffer: *mut Buffer) -> Status;
    fn gss_release_buffer_set(minor: *mut Status, set: *mut *mut BufferSet) -> Status;
    fn gss_release_name(minor: *mut Status, name: *mut *mut c_void) -> Status;
    fn gss_release_cred(minor: *mut Status, credentials: *mut *mut c_void) -> Status;
    fn gss_delete_sec_context(
        minor: *mut Status,
        context: *mut *mut c_void,
        output: *mut Buffer,
    ) -> Status;
}

const ACCEPT: c_int = 2;
const INDEFINITE: u32 = u32::MAX;
const CODE_OF_LIBRARY: c_int = 1;
const CODE_OF_MECHANISM: c_int = 2;
/// GSS_C_ANON_FLAG
const ANONYMOUS: u32 = 64;
/// The routine and calling errors of a status (RFC 2744, 3.9.1); what is below them is information.
const ERRORS: Status = 0xFFFF_0000;
const CONTINUE_NEEDED: Status = 1;
/// GSS_S_UNAVAILABLE: a name has no such attribute.
const UNAVAILABLE: Status = 16 << 16;
/// The PAC's KERB_VALIDATION_INFO, as the library names it.
static LOGON_INFO: &[u8] = b"urn:mspac:logon-info";

/// 1.2.840.113554.1.2.2
static KRB5: [u8; 9] = [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x12, 0x01, 0x02, 0x02];
/// GSS_C_INQ_SSPI_SESSION_KEY, 1.2.840.113554.1.2.2.5.5
static SESSION_KEY: [u8; 11] = [
    0x2A, 0x86, 0x48, 0x86, 0xF7, 0x12, 0x01, 0x02, 0x02, 0x05, 0x05,
];

fn oid(bytes: &'static [u8]) -> Oid {
    Oid {
        length: u32::try_from(bytes.len()).unwrap_or(0),
        elements: bytes.as_ptr().cast(),
    }
}

/// The keys of this server, from a keytab.
#[derive(Debug)]
pub struct Keytab {
    credentials: *mut c_void,
}

// SAFETY: the library locks credentials itself (RFC 2744 leaves that open; MIT krb5 keeps a mutex in each).
unsafe impl Send for Keytab {}
// SAFETY: as above; nothing here changes after it was made.
unsafe impl Sync for Keytab {}

impl Drop for Keytab {
    fn drop(&mut self) {
        let mut minor = 0;
        // SAFETY: these are credentials that the library gave, released once.
        unsafe { gss_release_cred(&raw mut minor, &raw mut self.credentials) };
    }
}

impl Keytab {
    /// The keys in a file.
    ///
    /// # Errors
    /// The file cannot be read or holds no keys.
    pub fn open(path: &Path) -> Result<Self, KerberosError> {
        let place = [b"FILE:", path.as_os_str().as_bytes()].concat();
        let place = CString::new(place).map_err(|_| KerberosError::new("a path with a zero"))?;
        let pair = KeyValue {
            key: c"keytab".as_ptr(),
            value: place.as_ptr(),
        };
        let store = KeyValueSet {
            count: 1,
            elements: &raw const pair,
        };
        let krb5 = oid(&KRB5);
        let mechanisms = OidSet {
            count: 1,
            elements: &raw const krb5,
        };
        let (mut minor, mut credentials) = (0, null_mut());
        // SAFETY: all structures live on this frame; no name, no list of mechanisms and no lifetime are asked back.
        let status = unsafe {
            gss_acquire_cred_from(
                &raw mut minor,
                null_mut(),
                INDEFINITE,
                &raw const mechanisms,
                ACCEPT,
                &raw const store,
                &raw mut credentials,
                null_mut(),
                null_mut(),
            )
        };
        check(status, minor)?;
        Ok(Self { credentials })
    }
}

impl Kerberos for Keytab {
    fn accept(&self, token: &[u8]) -> Result<KerberosAccepted, KerberosError> {
        let mut exchange = Exchange::default();
        let flags = exchange.accept(self.credentials, token)?;
        if flags & ANONYMOUS != 0 {
            return Err(KerberosError::new("an anonymous ticket"));
        }
        Ok(KerberosAccepted {
            principal: exchange.principal()?,
            groups: exchange.groups()?,
            session_key: exchange.session_key()?,
            token: exchange.output.bytes().to_vec(),
        })
    }
}

/// What the library made for one client; released at the end.
struct Exchange {
    context: *mut c_void,
    source: *mut c_void,
    output: Owned,
}

impl Default for Exchange {
    fn default() -> Self {
        Self {
            context: null_mut(),
            source: null_mut(),
            output: Owned::default(),
        }
    }
}

impl Exchange {
    /// Gives the flags of the context.
    fn accept(&mut self, credentials: *mut c_void, token: &[u8]) -> Result<u32, KerberosError> {
        let input = Buffer {
            length: token.len(),
            // The library only reads it.
            value: token.as_ptr().cast_mut().cast(),
        };
        let (mut minor, mut flags) = (0, 0);
        // SAFETY: the token outlives the call; results go to fields of `self`, which release them.
        let status = unsafe {
            gss_accept_sec_context(
                &raw mut minor,
                &raw mut self.context,
                credentials,
                &raw const input,
                null(),
                &raw mut self.source,
                null_mut(),
                &raw mut self.output.0,
                &raw mut flags,
                null_mut(),
                null_mut(),
            )
        };
        check(status, minor)?;
        if status & CONTINUE_NEEDED != 0 {
            return Err(KerberosError::new("a logon of more than one token"));
        }
        Ok(flags)
    }

    fn principal(&self) -> Result<String, KerberosError> {
        let (mut minor, mut text) = (0, Owned::default());
        // SAFETY: the name was given by the library; the kind of name is not asked back.
        let status =
            unsafe { gss_display_name(&raw mut minor, self.source, &raw mut text.0, null_mut()) };
        check(status, minor)?;
        let text = String::from_utf8(text.bytes().to_vec());
        text.map_err(|_| KerberosError::new("a principal whose name is no text"))
    }

    /// What the ticket's PAC says, if it has one and its signature is right.
    fn groups(&self) -> Result<Vec<Sid>, KerberosError> {
        let attribute = Buffer {
            length: LOGON_INFO.len(),
            // The library only reads it.
            value: LOGON_INFO.as_ptr().cast_mut().cast(),
        };
        let (mut minor, mut authenticated, mut complete, mut more) = (0, 0, 0, -1);
        let (mut value, mut display) = (Owned::default(), Owned::default());
        // SAFETY: the name was given by the library; all else lives on this frame, and the buffers release themselves.
        let status = unsafe {
            gss_get_name_attribute(
                &raw mut minor,
                self.source,
                &raw const attribute,
                &raw mut authenticated,
                &raw mut complete,
                &raw mut value.0,
                &raw mut display.0,
                &raw mut more,
            )
        };
        if status & ERRORS == UNAVAILABLE {
            return Ok(Vec::new());
        }
        check(status, minor)?;
        if authenticated == 0 {
            return Err(KerberosError::new("a PAC whose signature is not right"));
        }
        crate::groups(value.bytes()).map_err(|error| KerberosError::new(error.to_string()))
    }

    fn session_key(&self) -> Result<Zeroizing<Vec<u8>>, KerberosError> {
        let (mut minor, mut set) = (0, null_mut());
        let wanted = oid(&SESSION_KEY);
        // SAFETY: the context is established; the set is released below.
        let status = unsafe {
            gss_inquire_sec_context_by_oid(
                &raw mut minor,
                self.context,
                &raw const wanted,
                &raw mut set,
            )
        };
        check(status, minor)?;
        let key = first_of(set);
        // SAFETY: a set that the library gave, released once.
        unsafe { gss_release_buffer_set(&raw mut minor, &raw mut set) };
        key.ok_or_else(|| KerberosError::new("a context without a session key"))
    }
}

/// A copy of the first element, which is the key; the second names its kind.
fn first_of(set: *const BufferSet) -> Option<Zeroizing<Vec<u8>>> {
    // SAFETY: null, or a set that the library gave and that is not released yet.
    let set = unsafe { set.as_ref() }?;
    if set.count == 0 {
        return None;
    }
    // SAFETY: the set has at least one element.
    let first = unsafe { set.elements.as_ref() }?;
    let bytes = bytes_of(first);
    (!bytes.is_empty()).then(|| Zeroizing::new(bytes.to_vec()))
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let mut minor = 0;
        // SAFETY: null, or what the library gave, released once.
        unsafe {
            gss_release_name(&raw mut minor, &raw mut self.source);
            gss_delete_sec_context(&raw mut minor, &raw mut self.context, null_mut());
        }
    }
}

/// A buffer that the library fills.
struct Owned(Buffer);

impl Default for Owned {
    fn default() -> Self {
        Self(Buffer {
            length: 0,
            value: null_mut(),
        })
    }
}

impl Owned {
    fn bytes(&self) -> &[u8] {
        bytes_of(&self.0)
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        let mut minor = 0;
        // SAFETY: empty, or filled by the library, released once.
        unsafe { gss_release_buffer(&raw mut minor, &raw mut self.0) };
    }
}

fn bytes_of(buffer: &Buffer) -> &[u8] {
    if buffer.value.is_null() {
        return &[];
    }
    // SAFETY: the library filled so many bytes there, which live as long as the buffer.
    unsafe { std::slice::from_raw_parts(buffer.value.cast(), buffer.length) }
}

fn check(status: Status, minor: Status) -> Result<(), KerberosError> {
    if status & ERRORS == 0 {
        return Ok(());
    }
    let mut why = explain(status, CODE_OF_LIBRARY);
    if minor != 0 {
        why = format!("{why}: {}", explain(minor, CODE_OF_MECHANISM));
    }
    Err(KerberosError::new(why))
}

fn explain(code: Status, kind: c_int) -> String {
    let (mut minor, mut message, mut text) = (0, 0, Owned::default());
    let krb5 = oid(&KRB5);
    // SAFETY: all pointers are to this frame; the text is released by its owner.
    unsafe {
        gss_display_status(
            &raw mut minor,
            code,
            kind,
            &raw const krb5,
            &raw mut message,
            &raw mut text.0,
        )
    };
    String::from_utf8_lossy(text.bytes()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keytab_that_is_not_there_is_refused_by_name() {
        let error = Keytab::open(Path::new("/nowhere/at/all.keytab")).unwrap_err();
        assert!(
            error.to_string().contains("/nowhere/at/all.keytab"),
            "{error}"
        );
    }
}
