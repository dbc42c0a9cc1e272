//! Identifiers as others write them.

/// RFC 4122's text form.
pub(crate) fn text(id: [u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (at, byte) in id.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn identifiers_are_written_as_uuids() {
        let id = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
        assert_eq!(text(id), "00010203-0405-0607-0809-0a0b0c0d0e0f");
    }
}
