//! Three small macros: enumerations that keep unknown values, sets of flags, and structures of fixed
//! fields in a row.

/// An enumeration of a wire field that keeps values it does not know in `Unknown`.
macro_rules! open_enum {
    (
        $(#[$meta:meta])*
        pub enum $name:ident: $repr:ty {
            $($(#[$vmeta:meta])* $variant:ident = $value:expr,)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$vmeta])* $variant,)+
            /// A value this version does not know.
            Unknown($repr),
        }

        impl $name {
            /// Every known value.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The value of a wire field.
            #[must_use]
            pub const fn from_wire(value: $repr) -> Self {
                $(if value == $value { return Self::$variant; })+
                Self::Unknown(value)
            }

            /// The field's value on the wire.
            #[must_use]
            pub const fn to_wire(self) -> $repr {
                match self {
                    $(Self::$variant => $value,)+
                    Self::Unknown(value) => value,
                }
            }
        }
    };
}

/// A set of flags of one wire field. Unknown bits are kept.
macro_rules! flags {
    (
        $(#[$meta:meta])*
        pub struct $name:ident: $repr:ty {
            $($(#[$vmeta:meta])* $flag:ident = $value:expr,)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
        pub struct $name(pub $repr);

        impl $name {
            /// No flag at all.
            pub const NONE: Self = Self(0);
            $($(#[$vmeta])* pub const $flag: Self = Self($value);)+

            /// The raw bits.
            #[must_use]
            pub const fn bits(self) -> $repr {
                self.0
            }

            /// Whether all flags of `other` are set.
            #[must_use]
            pub const fn contains(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }

            /// Whether any flag of `other` is set.
            #[must_use]
            pub const fn intersects(self, other: Self) -> bool {
                self.0 & other.0 != 0
            }

            /// These flags without those of `other`.
            #[must_use]
            pub const fn without(self, other: Self) -> Self {
                Self(self.0 & !other.0)
            }
        }

        impl core::ops::BitOr for $name {
            type Output = Self;
            fn bitor(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }
        }

        impl core::ops::BitOrAssign for $name {
            fn bitor_assign(&mut self, other: Self) {
                self.0 |= other.0;
            }
        }

        impl core::ops::BitAnd for $name {
            type Output = Self;
            fn bitand(self, other: Self) -> Self {
                Self(self.0 & other.0)
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, "{}({:#x}", stringify!($name), self.0)?;
                $(if $value != 0 && self.0 & $value == $value {
                    write!(f, " {}", stringify!($flag))?;
                })+
                write!(f, ")")
            }
        }
    };
}

/// A structure of fixed fields in a row; `pad n` stands for n reserved bytes.
macro_rules! plain {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $($(#[$fmeta:meta])* $field:ident: $ty:ty $(, pad $pad:literal)?;)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct $name {
            $($(#[$fmeta])* pub $field: $ty,)+
        }

        impl $crate::wire::codec::Field for $name {
            fn get(r: &mut $crate::wire::Reader<'_>) -> Result<Self, $crate::wire::WireError> {
                $(
                    let $field = $crate::wire::codec::Field::get(r)?;
                    $(r.skip($pad)?;)?
                )+
                Ok(Self { $($field),+ })
            }

            fn set(&self, out: &mut Vec<u8>) {
                $(
                    $crate::wire::codec::Field::set(&self.$field, out);
                    $($crate::wire::Put::put_zeros(out, $pad);)?
                )+
            }
        }

        impl<'a> $crate::wire::Codec<'a> for $name {
            fn decode(bytes: &'a [u8]) -> Result<Self, $crate::wire::WireError> {
                $crate::wire::codec::Field::get(&mut $crate::wire::Reader::new(bytes))
            }

            fn encode(&self, out: &mut Vec<u8>) {
                $crate::wire::codec::Field::set(self, out);
            }
        }
    };
}
