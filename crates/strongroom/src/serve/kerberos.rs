//! Logons by Kerberos, with the keys of a keytab.

use std::sync::Arc;

use strongroom_kerberos::Keytab;
use strongroom_smb::{KerberosConfig, ServerConfig};

use crate::cli::KerberosOptions;
use crate::failure::{Failure, Kind, Result};

/// What was asked for, in the server's settings.
pub(crate) fn with(options: &KerberosOptions, config: ServerConfig) -> Result<ServerConfig> {
    let (Some(path), Some(realm)) = (&options.kerberos_keytab, &options.kerberos_realm) else {
        return Ok(config);
    };
    let keytab = Keytab::open(path).map_err(|error| {
        let what = format!("cannot use the keytab {}: {error}", path.display());
        Failure::new(Kind::Refused, what)
    })?;
    Ok(ServerConfig {
        ntlm: !options.no_ntlm,
        kerberos: Some(KerberosConfig {
            tickets: Arc::new(keytab),
            realm: realm.clone(),
        }),
        ..config
    })
}
