//! What proves who somebody is.

use hero_auth::{PublicKey, Seal, SealKey, Signature};

use crate::inputs::{Inputs, change};

/// Made with eth-account 0.14.0, as those in the tests of hero-auth: a key, and its signature of `hello`.
const KEY: &str = "031b84c5567b126440995d3ed5aaba0565d71e1834604819ff9c17f5e9d5dd078f";
const LONG_KEY: &str = "041b84c5567b126440995d3ed5aaba0565d71e1834604819ff9c17f5e9d5dd078f70beaf8f588b541507fed6a642c5ab42dfdf8120a7f639de5122d47a69a8e8d1";
const SIGNATURE: &str = "f186a035b50de31ac4d913b550ae6fe2fe9e7225c635f108c71e9135de228a2a567dd55d0a4d2115d30c9226903b0feef967ae4d2daf2c07c7fb70676600c15d1b";
const TEXT: &str = "hello";

/// Changed keys and signatures; how many changed signatures were taken for the key's own.
pub(crate) fn keys_and_signatures(seed: u64, count: u64) -> u64 {
    let good = [KEY, LONG_KEY, SIGNATURE, &format!("0x{SIGNATURE}")].map(|text| text.as_bytes().to_vec());
    let key = PublicKey::parse(KEY).expect("a good key");
    let mut choices = Inputs::paths(seed).choices(u64::MAX);
    let mut believed = 0;
    for number in 0..count {
        let mut input = good[number as usize % good.len()].clone();
        change(&mut input, &mut choices, &good);
        let text = String::from_utf8_lossy(&input);
        let _ = PublicKey::parse(&text);
        if let Ok(signature) = Signature::parse(&text) {
            // The same in other letters is the same.
            let is_same = text.trim_start_matches("0x").eq_ignore_ascii_case(SIGNATURE);
            believed += u64::from(!is_same && key.has_signed(TEXT, &signature) && !is_other_v(&text));
        }
    }
    believed
}

/// Of the last byte only the parity counts, and 0 and 1 are said for 27 and 28 by some wallets.
fn is_other_v(text: &str) -> bool {
    let text = text.trim_start_matches("0x").to_ascii_lowercase();
    text.get(..128) == SIGNATURE.get(..128)
}

/// Changed nonces and tokens; how many were opened nevertheless.
pub(crate) fn nonces_and_tokens(seed: u64, count: u64) -> u64 {
    const NOW: i64 = 1_000;
    let seal = Seal::new(SealKey::mint());
    let key = PublicKey::parse(KEY).expect("a good key");
    let good = [seal.nonce(key.name(), key.name(), NOW + 60), seal.token(key.name(), &key, NOW + 60)];
    assert!(seal.open_nonce(&good[0], NOW).is_some() && seal.open_token(&good[1], NOW).is_some());
    let bytes = good.clone().map(String::into_bytes);
    let mut choices = Inputs::paths(seed).choices(u64::MAX - 1);
    let mut believed = 0;
    for number in 0..count {
        let mut input = bytes[number as usize % bytes.len()].clone();
        change(&mut input, &mut choices, &bytes);
        let text = String::from_utf8_lossy(&input);
        let opened = seal.open_nonce(&text, NOW).is_some() || seal.open_token(&text, NOW).is_some();
        believed += u64::from(opened && !good.contains(&text.into_owned()));
    }
    believed
}
