//! The guest side of the world in `wit/text.wit`: counts words and characters, reverses bytes.
//!
//! It holds no state and imports nothing of its own: every call runs in a fresh instance.

wit_bindgen::generate!({ path: "wit", world: "text" });

struct Text;

impl Guest for Text {
    fn analyse(input: String) -> Result<Stats, String> {
        if input.is_empty() {
            return Err("input is empty: give at least one character".to_string());
        }
        Ok(Stats {
            words: count(input.split_whitespace().count())?,
            chars: count(input.chars().count())?,
        })
    }

    fn reverse(mut data: Vec<u8>) -> Vec<u8> {
        data.reverse();
        data
    }
}

/// A count as WIT has it; a guest's 32-bit memory cannot hold more than fits.
fn count(n: usize) -> Result<u32, String> {
    u32::try_from(n).map_err(|_| "input is longer than 4 GiB".to_string())
}

export!(Text);

#[cfg(test)]
mod tests {
    use super::{Guest, Text};

    #[test]
    fn counts_words_and_scalar_values() {
        let stats = Text::analyse("  naïve  café ☕\n".to_string()).unwrap();
        assert_eq!((stats.words, stats.chars), (3, 16));
    }

    #[test]
    fn refuses_an_empty_input() {
        assert!(Text::analyse(String::new()).unwrap_err().contains("empty"));
    }

    #[test]
    fn reverses_bytes() {
        assert_eq!(Text::reverse(vec![1, 2, 3]), [3, 2, 1]);
        assert_eq!(Text::reverse(Vec::new()), [0u8; 0]);
    }
}
