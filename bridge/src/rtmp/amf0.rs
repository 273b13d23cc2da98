//! AMF0 values ↔ bytes (Action Message Format, AMF 0 of 2007). It never recurses past
//! [`DEPTH_MAX`], never allocates by a number from the wire and never keeps input bytes.

/// Nesting allowed. Real commands and metadata nest two or three deep; 32 levels of this decoder
/// are a few kilobytes of stack.
pub const DEPTH_MAX: usize = 32;
/// Values allowed in one message. A full `onMetaData` with a seek table for hours of recording has
/// about two thousand.
pub const NODES_MAX: usize = 4_096;
/// Bytes allowed in one message.
pub const BYTES_MAX: usize = 256 << 10;

/// One AMF0 value. Strings are UTF-8 by the specification; what is not is read with replacement
/// characters.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// IEEE 754 double.
    Number(f64),
    /// True or false.
    Boolean(bool),
    /// Short or long string: which marker is written follows from the length.
    String(String),
    /// Anonymous object, in the order of the wire.
    Object(Vec<(String, Self)>),
    /// Null.
    Null,
    /// Undefined.
    Undefined,
    /// Associative array.
    EcmaArray(Vec<(String, Self)>),
    /// Array by index.
    StrictArray(Vec<Self>),
    /// Milliseconds since 1970, and a time zone that is to be ignored.
    Date(f64, i16),
    /// A value that its sender could not write.
    Unsupported,
    /// XML as text.
    Xml(String),
    /// An object with a class name.
    TypedObject(String, Vec<(String, Self)>),
}

/// Why bytes are no acceptable AMF0.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone, Copy)]
#[non_exhaustive]
pub enum Amf0Error {
    /// The bytes end within a value.
    #[error("the value is cut off")]
    Truncated,
    /// More than [`BYTES_MAX`].
    #[error("the message is longer than {BYTES_MAX} bytes")]
    TooLong,
    /// Deeper than [`DEPTH_MAX`].
    #[error("values nest deeper than {DEPTH_MAX}")]
    TooDeep,
    /// More than [`NODES_MAX`] values.
    #[error("there are more than {NODES_MAX} values")]
    TooMany,
    /// An array announces more elements than there are bytes.
    #[error("an array announces more elements than there are bytes")]
    BadCount,
    /// A marker that is reserved (movie clip, record set, reference, AMF3) or unknown.
    #[error("the marker {0:#04x} is not supported")]
    BadMarker(u8),
    /// An object's list of properties ends with something else than the end marker.
    #[error("an object has no end")]
    NoEnd,
}

impl Value {
    /// A string value.
    pub fn string(text: impl Into<String>) -> Self {
        Self::String(text.into())
    }

    /// An object from pairs.
    pub fn object<'a>(pairs: impl IntoIterator<Item = (&'a str, Self)>) -> Self {
        Self::Object(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }

    /// The number, if it is one.
    pub fn as_number(&self) -> Option<f64> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    /// The boolean, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Boolean(flag) = self { Some(*flag) } else { None }
    }

    /// The properties of an object of any of the three kinds.
    pub fn properties(&self) -> Option<&[(String, Self)]> {
        match self {
            Self::Object(pairs) | Self::EcmaArray(pairs) | Self::TypedObject(_, pairs) => Some(pairs),
            _ => None,
        }
    }

    /// The first property of this name.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.properties()?.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }
}

/// Reads all values of a message body.
pub fn decode(bytes: &[u8]) -> Result<Vec<Value>, Amf0Error> {
    if bytes.len() > BYTES_MAX {
        return Err(Amf0Error::TooLong);
    }
    let mut decoder = Decoder { rest: bytes, nodes: 0 };
    let mut values = Vec::new();
    while !decoder.rest.is_empty() {
        values.push(decoder.value(0)?);
    }
    Ok(values)
}

struct Decoder<'a> {
    rest: &'a [u8],
    nodes: usize,
}

impl<'a> Decoder<'a> {
    fn value(&mut self, depth: usize) -> Result<Value, Amf0Error> {
        if depth >= DEPTH_MAX {
            return Err(Amf0Error::TooDeep);
        }
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(Amf0Error::TooMany);
        }
        let [marker] = self.array()?;
        Ok(match marker {
            marker::NUMBER => Value::Number(f64::from_be_bytes(self.array()?)),
            marker::BOOLEAN => Value::Boolean(self.array::<1>()? != [0]),
            marker::STRING => Value::String(self.short_text()?),
            marker::OBJECT => Value::Object(self.pairs(depth)?),
            marker::NULL => Value::Null,
            marker::UNDEFINED => Value::Undefined,
            marker::ECMA_ARRAY => {
                // AMF0 section 2.10: the count is only a hint, the end marker ends the list.
                let count = u32::from_be_bytes(self.array()?);
                self.check_count(count)?;
                Value::EcmaArray(self.pairs(depth)?)
            }
            marker::STRICT_ARRAY => {
                let count = u32::from_be_bytes(self.array()?);
                self.check_count(count)?;
                let mut values = Vec::new();
                for _ in 0..count {
                    values.push(self.value(depth + 1)?);
                }
                Value::StrictArray(values)
            }
            marker::DATE => Value::Date(f64::from_be_bytes(self.array()?), i16::from_be_bytes(self.array()?)),
            marker::LONG_STRING => Value::String(self.long_text()?),
            marker::UNSUPPORTED => Value::Unsupported,
            marker::XML => Value::Xml(self.long_text()?),
            marker::TYPED_OBJECT => Value::TypedObject(self.short_text()?, self.pairs(depth)?),
            other => return Err(Amf0Error::BadMarker(other)),
        })
    }

    fn pairs(&mut self, depth: usize) -> Result<Vec<(String, Value)>, Amf0Error> {
        let mut pairs = Vec::new();
        loop {
            if let Some(rest) = self.rest.strip_prefix(&OBJECT_END) {
                self.rest = rest;
                return Ok(pairs);
            }
            if self.rest.is_empty() && depth == 0 {
                // Some encoders leave out the end of the last object of a message.
                return Ok(pairs);
            }
            let key = self.short_text()?;
            if self.rest.first() == Some(&marker::OBJECT_END) {
                return Err(Amf0Error::NoEnd);
            }
            pairs.push((key, self.value(depth + 1)?));
        }
    }

    /// An element takes a byte at the least.
    fn check_count(&self, count: u32) -> Result<(), Amf0Error> {
        if usize::try_from(count).is_ok_and(|count| count <= self.rest.len()) { Ok(()) } else { Err(Amf0Error::BadCount) }
    }

    fn short_text(&mut self) -> Result<String, Amf0Error> {
        let len = u16::from_be_bytes(self.array()?);
        self.text(usize::from(len))
    }

    fn long_text(&mut self) -> Result<String, Amf0Error> {
        let len = u32::from_be_bytes(self.array()?);
        self.text(usize::try_from(len).map_err(|_| Amf0Error::Truncated)?)
    }

    fn text(&mut self, len: usize) -> Result<String, Amf0Error> {
        let (text, rest) = self.rest.split_at_checked(len).ok_or(Amf0Error::Truncated)?;
        self.rest = rest;
        Ok(String::from_utf8_lossy(text).into_owned())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Amf0Error> {
        let (array, rest) = self.rest.split_first_chunk::<N>().ok_or(Amf0Error::Truncated)?;
        self.rest = rest;
        Ok(*array)
    }
}

/// Writes values one after the other.
pub fn encode(values: &[Value]) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    for value in values {
        encode_into(value, &mut out);
    }
    out
}

/// Appends one value. Names longer than 65,535 bytes are cut, as the format cannot hold them.
pub fn encode_into(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Number(number) => {
            out.push(marker::NUMBER);
            out.extend_from_slice(&number.to_be_bytes());
        }
        Value::Boolean(flag) => out.extend_from_slice(&[marker::BOOLEAN, u8::from(*flag)]),
        Value::String(text) => {
            if let Ok(len) = u16::try_from(text.len()) {
                out.push(marker::STRING);
                out.extend_from_slice(&len.to_be_bytes());
                out.extend_from_slice(text.as_bytes());
            } else {
                out.push(marker::LONG_STRING);
                encode_long_text(text, out);
            }
        }
        Value::Object(pairs) => {
            out.push(marker::OBJECT);
            encode_pairs(pairs, out);
        }
        Value::Null => out.push(marker::NULL),
        Value::Undefined => out.push(marker::UNDEFINED),
        Value::EcmaArray(pairs) => {
            out.push(marker::ECMA_ARRAY);
            out.extend_from_slice(&count(pairs.len()).to_be_bytes());
            encode_pairs(pairs, out);
        }
        Value::StrictArray(values) => {
            out.push(marker::STRICT_ARRAY);
            out.extend_from_slice(&count(values.len()).to_be_bytes());
            for value in values {
                encode_into(value, out);
            }
        }
        Value::Date(millis, zone) => {
            out.push(marker::DATE);
            out.extend_from_slice(&millis.to_be_bytes());
            out.extend_from_slice(&zone.to_be_bytes());
        }
        Value::Unsupported => out.push(marker::UNSUPPORTED),
        Value::Xml(text) => {
            out.push(marker::XML);
            encode_long_text(text, out);
        }
        Value::TypedObject(class, pairs) => {
            out.push(marker::TYPED_OBJECT);
            encode_name(class, out);
            encode_pairs(pairs, out);
        }
    }
}

fn encode_pairs(pairs: &[(String, Value)], out: &mut Vec<u8>) {
    for (key, value) in pairs {
        encode_name(key, out);
        encode_into(value, out);
    }
    out.extend_from_slice(&OBJECT_END);
}

fn encode_name(name: &str, out: &mut Vec<u8>) {
    let end = name.floor_char_boundary(usize::from(u16::MAX));
    let name = name.get(..end).unwrap_or_default();
    out.extend_from_slice(&u16::try_from(name.len()).unwrap_or_default().to_be_bytes());
    out.extend_from_slice(name.as_bytes());
}

fn encode_long_text(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&count(text.len()).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

const OBJECT_END: [u8; 3] = [0, 0, marker::OBJECT_END];

/// AMF0 section 2.1.
mod marker {
    pub(super) const NUMBER: u8 = 0x00;
    pub(super) const BOOLEAN: u8 = 0x01;
    pub(super) const STRING: u8 = 0x02;
    pub(super) const OBJECT: u8 = 0x03;
    pub(super) const NULL: u8 = 0x05;
    pub(super) const UNDEFINED: u8 = 0x06;
    pub(super) const ECMA_ARRAY: u8 = 0x08;
    pub(super) const OBJECT_END: u8 = 0x09;
    pub(super) const STRICT_ARRAY: u8 = 0x0a;
    pub(super) const DATE: u8 = 0x0b;
    pub(super) const LONG_STRING: u8 = 0x0c;
    pub(super) const UNSUPPORTED: u8 = 0x0d;
    pub(super) const XML: u8 = 0x0f;
    pub(super) const TYPED_OBJECT: u8 = 0x10;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<i32>().prop_map(|n| Value::Number(f64::from(n))),
            any::<bool>().prop_map(Value::Boolean),
            "[a-zäß]{0,12}".prop_map(Value::String),
            Just(Value::Null),
            Just(Value::Undefined),
            Just(Value::Unsupported),
            "[a-z]{0,9}".prop_map(Value::Xml),
            (any::<i32>(), any::<i16>()).prop_map(|(ms, zone)| Value::Date(f64::from(ms), zone)),
        ];
        leaf.prop_recursive(4, 64, 6, |inner| {
            let pairs = proptest::collection::vec(("[a-z]{1,8}", inner.clone()), 0..6);
            prop_oneof![
                pairs.clone().prop_map(Value::Object),
                pairs.clone().prop_map(Value::EcmaArray),
                ("[a-z]{0,8}", pairs).prop_map(|(class, pairs)| Value::TypedObject(class, pairs)),
                proptest::collection::vec(inner, 0..6).prop_map(Value::StrictArray),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_was_encoded_decodes_to_the_same(values in proptest::collection::vec(any_value(), 0..5)) {
            prop_assert_eq!(decode(&encode(&values)), Ok(values));
        }

        #[test]
        fn random_bytes_are_values_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            if let Ok(values) = decode(&bytes) {
                let again = decode(&encode(&values));
                prop_assert!(again.is_ok());
            }
        }

        #[test]
        fn mangled_values_are_values_or_an_error(value in any_value(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut bytes = encode(&[value]);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _either = decode(&bytes);
        }
    }

    #[test]
    fn long_strings_keep_their_text() {
        let values = [Value::string("x".repeat(70_000))];
        assert_eq!(decode(&encode(&values)).unwrap(), values);
    }

    #[test]
    fn names_too_long_for_the_format_are_cut_at_a_character() {
        let values = [Value::Object(vec![("ä".repeat(40_000), Value::Null)])];
        let Value::Object(pairs) = &decode(&encode(&values)).unwrap()[0] else { panic!("an object") };
        assert_eq!(pairs[0].0.len(), 65_534);
    }

    #[test]
    fn a55_nested_arrays_and_objects_stop_at_the_depth_limit() {
        let array = [marker::STRICT_ARRAY, 0, 0, 0, 1].repeat(10_000);
        assert_eq!(decode(&array), Err(Amf0Error::TooDeep));
        let object = [marker::OBJECT, 0, 1, b'a'].repeat(10_000);
        assert_eq!(decode(&object), Err(Amf0Error::TooDeep));
        let ecma = [marker::ECMA_ARRAY, 0, 0, 0, 1, 0, 1, b'a'].repeat(10_000);
        assert_eq!(decode(&ecma), Err(Amf0Error::TooDeep));
    }

    #[test]
    fn a56_counts_are_checked_against_the_bytes_left() {
        assert_eq!(decode(&[marker::STRICT_ARRAY, 0xff, 0xff, 0xff, 0xff, 5]), Err(Amf0Error::BadCount));
        assert_eq!(decode(&[marker::ECMA_ARRAY, 0xff, 0xff, 0xff, 0xff, 0, 0, 9]), Err(Amf0Error::BadCount));
        assert_eq!(decode(&[marker::LONG_STRING, 0xff, 0xff, 0xff, 0xff, 0]), Err(Amf0Error::Truncated));
        assert_eq!(decode(&vec![marker::NULL; NODES_MAX + 1]), Err(Amf0Error::TooMany));
        assert_eq!(decode(&vec![marker::NULL; BYTES_MAX + 1]), Err(Amf0Error::TooLong));
    }

    #[test]
    fn a56_reserved_markers_and_references_are_refused() {
        for bad in [0x04, 0x07, 0x09, 0x0e, 0x11, 0x12, 0xff] {
            assert_eq!(decode(&[bad, 0, 0]), Err(Amf0Error::BadMarker(bad)));
        }
        assert_eq!(decode(&[marker::OBJECT, 0, 1, b'a', 9]), Err(Amf0Error::NoEnd));
    }

    #[test]
    fn a_last_object_without_its_end_is_taken_as_whole() {
        let mut bytes = encode(&[Value::object([("app", Value::string("live"))])]);
        bytes.truncate(bytes.len() - 3);
        assert_eq!(decode(&bytes).unwrap()[0].get("app").and_then(Value::as_str), Some("live"));
    }
}
