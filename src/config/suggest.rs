//! What was probably meant.

/// The nearest of the names, if one is near: a slip or two, in a short name only one.
pub(super) fn near<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let most = if name.chars().count() < 4 { 1 } else { 2 };
    let rated = names.map(|known| (distance(known, name), known)).filter(|(distance, _)| *distance <= most);
    rated.min_by_key(|(distance, _)| *distance).map(|(_, known)| known)
}

/// Edit distance (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = i;
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
        for (j, cb) in b.iter().enumerate() {
            let above = row.get(j + 1).copied().unwrap_or(usize::MAX);
            let left = row.get(j).copied().unwrap_or(usize::MAX);
            let best = (diagonal + usize::from(ca != *cb)).min(above.saturating_add(1)).min(left.saturating_add(1));
            diagonal = above;
            if let Some(cell) = row.get_mut(j + 1) {
                *cell = best;
            }
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_slips_and_not_guesses() {
        let names = ["listen", "hls_fragment", "key", "on"];
        let near = |name| near(name, names.into_iter());
        assert_eq!(near("lisen"), Some("listen"));
        assert_eq!(near("hls_fragmnet"), Some("hls_fragment"));
        assert_eq!(near("kex"), Some("key"));
        assert_eq!(near("frobnicate"), None);
        assert_eq!(near("xy"), None);
    }
}
