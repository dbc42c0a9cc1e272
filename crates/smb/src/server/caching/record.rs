//! What is kept of a persistent open beside what the file system keeps: whose it is, what its client calls it, and the
//! lease that it asked for. docs/format.md draws it.

use std::time::Duration;

use strongroom_vfs::Sid;

use super::durable::AppInstance;
use crate::wire::create::CreateOptions;
use crate::wire::create_context::{Lease, LeaseFlags, LeaseState, LeaseV2};
use crate::wire::{Guid, Put, Reader, WireError};

const VERSION: u8 = 1;
const MALFORMED: WireError =
    WireError::Invalid("a record of a persistent handle is not well formed");

const LEASE: u8 = 1;
const LEASE_V2: u8 = 2;
const APP: u8 = 4;
const APP_VERSION: u8 = 8;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) owner: Sid,
    pub(crate) client: Guid,
    pub(crate) create: Guid,
    /// The path that it was opened by.
    pub(crate) path: String,
    pub(crate) timeout: Duration,
    pub(crate) options: CreateOptions,
    pub(crate) lease: Option<Lease>,
    pub(crate) app: Option<AppInstance>,
}

impl Record {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        let v2 = self.lease.and_then(|lease| lease.v2);
        let app_version = self.app.and_then(|app| app.version);
        let flags = flag(self.lease.is_some(), LEASE)
            | flag(v2.is_some(), LEASE_V2)
            | flag(self.app.is_some(), APP)
            | flag(app_version.is_some(), APP_VERSION);
        let mut out = vec![VERSION, flags];
        self.owner.encode(&mut out);
        out.extend_from_slice(&self.client.0);
        out.extend_from_slice(&self.create.0);
        out.put_u32(u32::try_from(self.timeout.as_millis()).unwrap_or(u32::MAX));
        out.put_u32(self.options.bits());
        if let Some(lease) = &self.lease {
            out.extend_from_slice(&lease.key.0);
            out.put_u32(lease.state.0);
            out.put_u32(lease.flags.0);
        }
        if let Some(v2) = &v2 {
            out.extend_from_slice(&v2.parent_key.0);
            out.put_u16(v2.epoch);
        }
        if let Some(app) = &self.app {
            out.extend_from_slice(&app.id.0);
        }
        if let Some((high, low)) = app_version {
            out.put_u64(high);
            out.put_u64(low);
        }
        out.extend_from_slice(self.path.as_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes);
        let (version, flags) = (reader.u8()?, reader.u8()?);
        let v2_of_nothing = flags & (LEASE | LEASE_V2) == LEASE_V2;
        let version_of_nothing = flags & (APP | APP_VERSION) == APP_VERSION;
        if version != VERSION || flags > 15 || v2_of_nothing || version_of_nothing {
            return Err(MALFORMED);
        }
        let owner = Sid::from_bytes(bytes.get(2..).unwrap_or_default());
        let owner = owner.map_err(|_| MALFORMED)?;
        reader.skip(owner.encoded_len())?;
        let (client, create) = (Guid(reader.array()?), Guid(reader.array()?));
        let timeout = Duration::from_millis(reader.u32()?.into());
        let options = CreateOptions(reader.u32()?);
        let lease = if flags & LEASE != 0 {
            Some(lease(&mut reader, flags & LEASE_V2 != 0)?)
        } else {
            None
        };
        let app = if flags & APP != 0 {
            Some(app(&mut reader, flags & APP_VERSION != 0)?)
        } else {
            None
        };
        let path = str::from_utf8(reader.rest()).map_err(|_| MALFORMED)?;
        Ok(Self {
            owner,
            client,
            create,
            path: path.to_owned(),
            timeout,
            options,
            lease,
            app,
        })
    }
}

fn lease(reader: &mut Reader<'_>, has_v2: bool) -> Result<Lease, WireError> {
    let key = Guid(reader.array()?);
    let (state, flags) = (LeaseState(reader.u32()?), LeaseFlags(reader.u32()?));
    let v2 = if has_v2 {
        Some(LeaseV2 {
            parent_key: Guid(reader.array()?),
            epoch: reader.u16()?,
        })
    } else {
        None
    };
    Ok(Lease {
        key,
        state,
        flags,
        v2,
    })
}

fn app(reader: &mut Reader<'_>, has_version: bool) -> Result<AppInstance, WireError> {
    let id = Guid(reader.array()?);
    let version = if has_version {
        Some((reader.u64()?, reader.u64()?))
    } else {
        None
    };
    Ok(AppInstance { id, version })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> [Record; 2] {
        let full = Record {
            owner: Sid::ADMINISTRATORS,
            client: Guid([1; 16]),
            create: Guid([2; 16]),
            path: "a\\Größe.txt".into(),
            timeout: Duration::from_secs(60),
            options: CreateOptions::NON_DIRECTORY_FILE,
            lease: Some(Lease {
                key: Guid([3; 16]),
                state: LeaseState(7),
                flags: LeaseFlags::PARENT_LEASE_KEY_SET,
                v2: Some(LeaseV2 {
                    parent_key: Guid([4; 16]),
                    epoch: 900,
                }),
            }),
            app: Some(AppInstance {
                id: Guid([5; 16]),
                version: Some((1, 2)),
            }),
        };
        let plain = Record {
            lease: None,
            app: None,
            path: String::new(),
            ..full
        };
        [full, plain]
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        for record in samples() {
            assert_eq!(Record::decode(&record.encode()).unwrap(), record);
        }
    }

    #[test]
    fn what_is_cut_off_before_the_path_is_refused() {
        for record in samples() {
            let bytes = record.encode();
            for len in 0..bytes.len() - record.path.len() {
                assert!(Record::decode(&bytes[..len]).is_err(), "{len} bytes");
            }
        }
    }

    #[test]
    fn unknown_versions_and_flags_and_paths_that_are_no_text_are_refused() {
        let [full, plain] = samples();
        for (at, value) in [(0, 2), (1, 16), (1, 2 | 4), (1, 8 | 1)] {
            let mut bad = full.encode();
            bad[at] = value;
            assert!(Record::decode(&bad).is_err(), "{value} at {at}");
        }
        let mut bad = plain.encode();
        bad.push(0xFF);
        assert!(Record::decode(&bad).is_err());
    }
}
