//! Columns that stand under each other.

/// Lays out `rows` under `header`; the last column is never padded.
pub fn layout<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([header[column].len()]).max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |cells: [&str; N]| {
        let mut text = String::from(" ");
        for (cell, width) in cells.iter().zip(widths) {
            text.push_str(&format!(" {cell:<width$} "));
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
        text
    };
    let mut text = line(header);
    for row in rows {
        text.push_str(&line(std::array::from_fn(|column| row[column].as_str())));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other() {
        let rows = [
            ["1".to_owned(), "naïve".to_owned()],
            ["wide cell".to_owned(), String::new()],
        ];
        assert_eq!(
            layout(["a", "b"], &rows),
            "  a          b\n  1          naïve\n  wide cell\n"
        );
    }
}
