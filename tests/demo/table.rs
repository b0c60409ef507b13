/// Two columns with a frame.
pub(super) fn draw(rows: &[[String; 2]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let (left, right) = (width(0), width(1));
    let line = format!("+-{}-+-{}-+\n", "-".repeat(left), "-".repeat(right));
    let body: String = rows.iter().map(|[what, figure]| format!("| {what:left$} | {figure:right$} |\n")).collect();
    format!("{line}{body}{line}")
}

#[cfg(test)]
mod tests {
    use super::draw;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a", "bcd"], ["ef", "g"]].map(|row| row.map(str::to_owned));
        assert_eq!(draw(&rows), "+----+-----+\n| a  | bcd |\n| ef | g   |\n+----+-----+\n");
    }
}
