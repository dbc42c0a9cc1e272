//! What can go wrong with accounts, said so that a person can act on it.

use strongroom_store::StoreError;

/// A failure of [`crate::Identity`].
#[derive(Debug, Clone, thiserror::Error)]
pub enum IdentityError {
    #[error("{0}")]
    Name(#[from] NameError),
    #[error("{0}")]
    Password(#[from] PasswordError),
    #[error("there is a user or group named {name} already; choose another name")]
    Exists { name: String },
    #[error("there is no user named {name}; `user list` shows all")]
    NoUser { name: String },
    #[error("there is no group named {name}")]
    NoGroup { name: String },
    #[error("{name} is the last administrator who can log on; make another one first")]
    LastAdmin { name: String },
    #[error("{name} is built in and cannot be changed this way")]
    BuiltIn { name: String },
    #[error("no more accounts can be made in this pool")]
    Full,
    #[error("the pool's account records are damaged: {what}")]
    Corrupt { what: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

pub type Result<T> = std::result::Result<T, IdentityError>;

/// Why a name cannot be an account's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("an account needs a name")]
    Empty,
    #[error("an account's name has at most {max} characters")]
    TooLong { max: usize },
    #[error("an account's name cannot contain {character:?}")]
    Character { character: char },
    #[error("an account's name cannot end in a dot or begin or end in a blank")]
    Edge,
    #[error("this name is reserved by Windows or Strongroom; choose another")]
    Reserved,
}

/// Why a password is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    #[error("the password is too short: use at least {min} characters")]
    TooShort { min: usize },
    #[error("the password is too long: use at most {max} characters")]
    TooLong { max: usize },
    #[error("the password contains a control character (a line break?): leave it out")]
    Control,
    #[error("the password is too easy to guess: use more different characters")]
    Monotonous,
    #[error("the password is the user's name: choose another")]
    IsName,
}
