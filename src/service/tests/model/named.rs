//! What random lives have found, as short as it gets.
