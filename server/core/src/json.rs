//! The rules that all JSON from outside answers to, beside being JSON: one value, keys of an object different from
//! each other, at most 32 levels deep.
//!
//! A repeated key is refused because two readers of the same bytes may each believe another one of both values.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

/// How deep values may be nested.
pub const DEPTH_MAX: usize = 32;

/// The bytes break the rules; the text says where and how.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct JsonError(String);

/// Checks that the bytes are one JSON value by the rules above.
///
/// # Errors
/// Says at which line and column the first rule is broken.
pub fn check(bytes: &[u8]) -> Result<(), JsonError> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let told = |error: serde_json::Error| JsonError(error.to_string());
    Level(0).deserialize(&mut reader).map_err(told)?;
    reader.end().map_err(told)
}

/// The level of the value that is read.
#[derive(Clone, Copy)]
struct Level(usize);

impl Level {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.0 == DEPTH_MAX {
            return Err(E::custom(format_args!("nested deeper than {DEPTH_MAX} levels")));
        }
        Ok(Self(self.0 + 1))
    }
}

impl<'de> DeserializeSeed<'de> for Level {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        while list.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        let mut keys: HashSet<Box<str>> = HashSet::new();
        while let Some(key) = map.next_key::<Box<str>>()? {
            if keys.contains(&key) {
                return Err(A::Error::custom(format_args!("the key {key:?} stands twice in one object")));
            }
            keys.insert(key);
            map.next_value_seed(inner)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_with_different_keys_is_accepted() {
        let deep = format!("{}1{}", "[".repeat(32), "]".repeat(32));
        for good in ["1", " \"a\" ", "null", r#"{"a":1,"b":{"a":1}}"#, r#"[{"a":1},{"a":2}]"#, "-1.5e300", &deep] {
            assert_eq!(check(good.as_bytes()), Ok(()), "{good}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_its_place() {
        let deep = format!("{}1{}", "[".repeat(33), "]".repeat(33));
        let bad: [(&[u8], &str); 8] = [
            (b"", "EOF"),
            (b"{} {}", "trailing characters"),
            (br#"{"a":1,"a":2}"#, "stands twice"),
            (br#"{"a":1,"\u0061":2}"#, "stands twice"),
            (br#"[{"b":{"a":1,"a":1}}]"#, "stands twice"),
            (b"\"\xff\"", "invalid unicode"),
            (b"{'a':1}", "key must be a string"),
            (deep.as_bytes(), "nested deeper"),
        ];
        for (bytes, why) in bad {
            let told = check(bytes).expect_err(why).to_string();
            assert!(told.contains(why) && told.contains("line"), "{told}");
        }
    }
}
