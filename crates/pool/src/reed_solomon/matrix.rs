//! Small matrices over GF(2^8), row by row.

use super::field::{inverse, multiply as times};

/// The identity, then the parity rows; see the module above.
pub(super) fn generator(data: usize, width: usize) -> Vec<u8> {
    let mut all = vec![0; width * data];
    for row in 0..data {
        all[row * data + row] = 1;
    }
    let byte = |number: usize| u8::try_from(number).unwrap_or(u8::MAX);
    let cauchy = |row: usize, column: usize| inverse(byte(row) ^ byte(column));
    for row in data..width {
        // The entry of the first column after the columns were divided; the whole row is divided by it.
        let first = times(cauchy(row, 0), inverse(cauchy(data, 0)));
        for column in 0..data {
            let entry = times(cauchy(row, column), inverse(cauchy(data, column)));
            all[row * data + column] = times(entry, inverse(first));
        }
    }
    all
}

/// `left` with rows of length `n` times the `n` by `n` matrix `right`.
pub(super) fn multiply(left: &[u8], right: &[u8], n: usize) -> Vec<u8> {
    let entry = |row: &[u8], column: usize| {
        row.iter().enumerate().fold(0, |sum, (index, value)| {
            sum ^ times(*value, right[index * n + column])
        })
    };
    left.chunks(n)
        .flat_map(|row| (0..n).map(move |column| entry(row, column)))
        .collect()
}

/// The inverse of an `n` by `n` matrix, by elimination; None if it has none.
pub(super) fn invert(square: &[u8], n: usize) -> Option<Vec<u8>> {
    let mut left = square.to_vec();
    let mut right = vec![0; n * n];
    for index in 0..n {
        right[index * n + index] = 1;
    }
    for column in 0..n {
        let pivot = (column..n).find(|row| left[row * n + column] != 0)?;
        for matrix in [&mut left, &mut right] {
            swap_rows(matrix, n, pivot, column);
        }
        let scale = inverse(left[column * n + column]);
        for matrix in [&mut left, &mut right] {
            scale_row(matrix, n, column, scale);
        }
        for row in (0..n).filter(|row| *row != column) {
            let factor = left[row * n + column];
            for matrix in [&mut left, &mut right] {
                add_row(matrix, n, row, column, factor);
            }
        }
    }
    Some(right)
}

fn swap_rows(matrix: &mut [u8], n: usize, a: usize, b: usize) {
    for column in 0..n {
        matrix.swap(a * n + column, b * n + column);
    }
}

fn scale_row(matrix: &mut [u8], n: usize, row: usize, scale: u8) {
    for value in &mut matrix[row * n..(row + 1) * n] {
        *value = times(*value, scale);
    }
}

/// Adds `factor` times row `from` to row `to`.
fn add_row(matrix: &mut [u8], n: usize, to: usize, from: usize, factor: u8) {
    for column in 0..n {
        let product = times(matrix[from * n + column], factor);
        matrix[to * n + column] ^= product;
    }
}
