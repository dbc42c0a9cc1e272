//! Rules for passwords, and making them.

use strongroom_device::Env;
use zeroize::Zeroizing;

/// A password to print once: readable, of more than 80 bits.
pub fn generate_password(_env: &dyn Env) -> Zeroizing<String> {
    unimplemented!()
}
