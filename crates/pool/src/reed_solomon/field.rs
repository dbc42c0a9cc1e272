//! GF(2^8) with the polynomial x^8 + x^4 + x^3 + x^2 + 1 (0x11D), in which 2 generates every element but 0.

const POLYNOMIAL: u16 = 0x11D;

struct Tables {
    /// Powers of 2, twice in a row, so that a sum of two logarithms needs no reduction.
    exp: [u8; 510],
    log: [u8; 256],
}

static TABLES: Tables = tables();

#[expect(clippy::cast_possible_truncation, reason = "reduced to eight bits")]
const fn tables() -> Tables {
    let mut exp = [0; 510];
    let mut log = [0; 256];
    let mut power: u16 = 1;
    let mut index = 0;
    while index < 255 {
        exp[index] = power as u8;
        exp[index + 255] = power as u8;
        log[power as usize] = index as u8;
        power <<= 1;
        if power & 0x100 != 0 {
            power ^= POLYNOMIAL;
        }
        index += 1;
    }
    Tables { exp, log }
}

/// The product, bit by bit; for tables made when the program is compiled.
pub(super) const fn multiply_slowly(a: u8, b: u8) -> u8 {
    let mut product: u8 = 0;
    let mut shifted = a;
    let mut bit = 0;
    while bit < 8 {
        if b >> bit & 1 == 1 {
            product ^= shifted;
        }
        let carry = shifted & 0x80 != 0;
        shifted <<= 1;
        if carry {
            shifted ^= 0x1D;
        }
        bit += 1;
    }
    product
}

pub(super) fn multiply(a: u8, b: u8) -> u8 {
    if a == 0 || b == 0 {
        return 0;
    }
    let log = |value: u8| usize::from(TABLES.log[usize::from(value)]);
    TABLES.exp[log(a) + log(b)]
}

/// What times `a` makes 1.
pub(super) fn inverse(a: u8) -> u8 {
    assert_ne!(a, 0, "zero has no inverse");
    TABLES.exp[255 - usize::from(TABLES.log[usize::from(a)])]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_multiplying_agree() {
        for a in 0..=255 {
            for b in 0..=255 {
                assert_eq!(multiply(a, b), multiply_slowly(a, b));
            }
        }
    }

    #[test]
    fn every_element_but_zero_has_its_inverse() {
        for a in 1..=255 {
            assert_eq!(multiply(a, inverse(a)), 1);
        }
    }
}
