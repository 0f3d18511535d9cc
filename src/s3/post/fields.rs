//! A form's fields: what stands before the file.

use super::part::Part;
use super::refusals::{argument, malformed, too_much};
use crate::s3::refusal::Refusal;

/// What stands for the file's name in a field.
const FILENAME: &str = "${filename}";
/// The most bytes that all fields together may have, once names of files are put in.
const MAX_EXPANDED_BYTES: usize = 64 << 10;
/// They say who made the form, and are taken as they are.
const OF_THE_SIGNATURE: [&str; 6] = [
    "policy",
    "x-amz-algorithm",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-security-token",
    "x-amz-signature",
];

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    /// As it was sent; upper and lower case are the same.
    pub(super) name: String,
    pub(super) value: String,
}

/// In their order, each name once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Fields(Vec<Field>);

impl Fields {
    /// Repeated metadata is a list, as repeated headers are.
    ///
    /// # Errors
    /// When the value is not UTF-8, or another field is there twice: nobody could say which of them counts.
    pub(super) fn add(&mut self, part: Part, value: Vec<u8>) -> Result<(), Refusal> {
        let value = String::from_utf8(value).map_err(|_| malformed())?;
        let name = part.name;
        let Some(before) = self.0.iter_mut().find(|field| field.name.eq_ignore_ascii_case(&name)) else {
            self.0.push(Field { name, value });
            return Ok(());
        };
        if !name.to_ascii_lowercase().starts_with("x-amz-meta-") {
            return Err(argument("A field of the form is there more than once.", &name, &value));
        }
        before.value.push(',');
        before.value.push_str(&value);
        Ok(())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Field> {
        self.0.iter()
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value.as_str())
    }

    /// Puts the file's name in. A file without a name leaves the fields as they are.
    ///
    /// # Errors
    /// When that makes too much of them.
    pub(super) fn expand(&mut self, filename: Option<&str>) -> Result<(), Refusal> {
        let Some(filename) = filename else { return Ok(()) };
        let mut left = MAX_EXPANDED_BYTES;
        for field in &mut self.0 {
            let is_of_the_signature =
                OF_THE_SIGNATURE.iter().any(|name| field.name.eq_ignore_ascii_case(name));
            let count = if is_of_the_signature { 0 } else { field.value.matches(FILENAME).count() };
            let length = field.value.len() + count * filename.len();
            left = left.checked_sub(length).ok_or_else(too_much)?;
            if count > 0 {
                field.value = field.value.replace(FILENAME, filename);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Fields, Part};

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::default();
        for (name, value) in pairs {
            let part = Part { name: (*name).to_owned(), filename: None };
            fields.add(part, value.as_bytes().to_vec()).unwrap();
        }
        fields
    }

    #[test]
    fn the_files_name_stands_wherever_the_form_asks_for_it() {
        let mut form = fields(&[
            ("Key", "in/${filename}"),
            ("x-amz-meta-names", "${filename},${filename}"),
            ("x-amz-meta-other", "$filename {filename}"),
            ("policy", "${filename}"),
        ]);
        let literal = form.clone();
        form.expand(None).unwrap();
        assert_eq!(form, literal);
        form.expand(Some("a${filename}")).unwrap();
        let values: Vec<_> = form.iter().map(|field| field.value.as_str()).collect();
        assert_eq!(
            values,
            ["in/a${filename}", "a${filename},a${filename}", "$filename {filename}", "${filename}"]
        );
        let mut empty = fields(&[("key", "in/${filename}")]);
        empty.expand(Some("")).unwrap();
        assert_eq!(empty.get("KEY"), Some("in/"));
    }

    #[test]
    fn i5_a_long_name_cannot_be_multiplied() {
        let mut form = fields(&[("key", &"${filename}".repeat(1000))]);
        assert!(form.expand(Some(&"n".repeat(8000))).is_err());
    }

    #[test]
    fn i6_a_field_that_is_there_twice_is_not_chosen_from() {
        let mut form = fields(&[("key", "a"), ("x-amz-meta-tag", "Ninja"), ("X-Amz-Meta-Tag", "Stallman")]);
        assert_eq!(form.get("x-amz-meta-tag"), Some("Ninja,Stallman"));
        let part = |name: &str| Part { name: name.to_owned(), filename: None };
        assert!(form.add(part("KEY"), b"b".to_vec()).is_err());
        assert!(form.add(part("other"), b"\xff".to_vec()).is_err());
    }
}
