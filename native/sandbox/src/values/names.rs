//! A fixed set of names: finding one, and the nearest to one that is not there.

/// Sets up to this size are searched from front to back.
const LINEAR_MAX: usize = 8;

/// Longest name that is compared for likeness, in bytes.
const NEAREST_LENGTH_MAX: usize = 40;

/// Largest set that is searched for a name that is near: the search holds the caller's thread.
const NEAREST_NAMES_MAX: usize = 256;

/// Names in the order of their declaration.
#[derive(Debug)]
pub(super) struct Names {
    names: Box<[Box<str>]>,
    /// Indices into `names` by the order of the names; empty for small sets.
    sorted: Box<[u32]>,
}

impl Names {
    pub(super) fn new(names: Vec<Box<str>>) -> Names {
        let mut sorted = Vec::new();
        if names.len() > LINEAR_MAX {
            sorted = (0u32..).take(names.len()).collect();
            sorted.sort_by_key(|&index| &names[index as usize]);
        }
        Names {
            names: names.into(),
            sorted: sorted.into(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    /// The name at `index`, which this set gave out.
    pub(super) fn get(&self, index: usize) -> &str {
        self.names.get(index).map_or("", |name| name)
    }

    /// The index of `name`; `hint` is looked at first, since clients tend to keep the order.
    pub(super) fn find(&self, name: &str, hint: usize) -> Option<usize> {
        if self.names.get(hint).is_some_and(|known| **known == *name) {
            return Some(hint);
        }
        if self.sorted.is_empty() {
            return self.names.iter().position(|known| **known == *name);
        }
        self.sorted
            .binary_search_by_key(&name, |&index| self.get(index as usize))
            .ok()
            .map(|at| self.sorted[at] as usize)
    }

    /// The name that `name` is most likely meant to be, if one is near: at most a third of the
    /// longer one may differ. Case and the separators `-`, `_` do not count.
    pub(super) fn nearest(&self, name: &str) -> Option<&str> {
        if name.len() > NEAREST_LENGTH_MAX || self.names.len() > NEAREST_NAMES_MAX {
            return None;
        }
        let wanted = plain(name);
        let mut best: Option<(usize, &str)> = None;
        for known in &self.names {
            let other = plain(known);
            let allowed = (wanted.len().max(other.len()) / 3).max(1);
            if known.len() > NEAREST_LENGTH_MAX || wanted.len().abs_diff(other.len()) > allowed {
                continue;
            }
            let distance = distance(&wanted, &other);
            if distance <= allowed && best.is_none_or(|(least, _)| distance < least) {
                best = Some((distance, known));
            }
        }
        best.map(|(_, nearest)| nearest)
    }

    /// `; did you mean "x"?`, else the whole set if it is small, else nothing.
    pub(super) fn hint(&self, name: &str) -> String {
        if let Some(nearest) = self.nearest(name) {
            return format!("; did you mean \"{nearest}\"?");
        }
        match self.len() {
            0 => "; there are none".to_owned(),
            1..=LINEAR_MAX => format!("; known: {}", self.names.join(", ")),
            _ => String::new(),
        }
    }
}

fn plain(name: &str) -> Vec<char> {
    let letters = name.chars().filter(|letter| !matches!(letter, '-' | '_'));
    letters.flat_map(char::to_lowercase).collect()
}

/// Levenshtein's distance with a swap of two neighbours as one edit (optimal string alignment),
/// since that is what fingers do.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before_last = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut cost = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                cost = cost.min(before_last[j - 2] + 1);
            }
            row.push(cost);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}
