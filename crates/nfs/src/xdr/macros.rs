//! Structures and enumerations whose wire form is that of their parts, one after the other.

macro_rules! xdr_struct {
    ($(#[$meta:meta])* $vis:vis struct $name:ident$(<$life:lifetime>)? {
        $($(#[$field_meta:meta])* $field_vis:vis $field:ident: $type:ty,)*
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        $vis struct $name$(<$life>)? {
            $($(#[$field_meta])* $field_vis $field: $type,)*
        }

        xdr_impl!($name$(<$life>)? { $($field),* });
    };
}

macro_rules! xdr_impl {
    ($name:ident<$life:lifetime> { $($field:ident),* }) => {
        impl<$life> $crate::xdr::Xdr<$life> for $name<$life> {
            fn decode(from: &mut $crate::xdr::Decoder<$life>) -> $crate::xdr::Result<Self> {
                Ok(Self { $($field: $crate::xdr::Xdr::decode(from)?,)* })
            }

            fn encode(&self, to: &mut $crate::xdr::Encoder) {
                $(self.$field.encode(to);)*
            }
        }
    };
    ($name:ident { $($field:ident),* }) => {
        impl $crate::xdr::Xdr<'_> for $name {
            fn decode(from: &mut $crate::xdr::Decoder<'_>) -> $crate::xdr::Result<Self> {
                Ok(Self { $($field: $crate::xdr::Xdr::decode(from)?,)* })
            }

            fn encode(&self, to: &mut $crate::xdr::Encoder) {
                $(self.$field.encode(to);)*
            }
        }
    };
}

/// A number with names for some of its values; the others survive.
macro_rules! xdr_open_enum {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($(#[$value_meta:meta])* $value:ident = $number:expr,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        $vis struct $name($vis u32);

        impl $name {
            $($(#[$value_meta])* $vis const $value: Self = Self($number);)*
        }

        impl $crate::xdr::Xdr<'_> for $name {
            fn decode(from: &mut $crate::xdr::Decoder<'_>) -> $crate::xdr::Result<Self> {
                from.u32().map(Self)
            }

            fn encode(&self, to: &mut $crate::xdr::Encoder) {
                to.u32(self.0);
            }
        }
    };
}
