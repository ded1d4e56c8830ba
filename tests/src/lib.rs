//! Nothing to import: the stories and the rules are in `tests/it`, one test binary.
