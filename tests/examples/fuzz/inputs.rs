//! Good inputs with some changes.

use hero_jsonrpc::openrpc;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

/// What has broken parsers before.
const NASTY: &[&[u8]] = &[
    b"\"",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"{",
    b"}",
    b"[",
    b"]",
    b"[[[[[[[[",
    b"1e999",
    b"-0",
    b"99999999999999999999",
    b"null",
    b"true",
    b"\xff\xfe",
    b"\x00",
    b"%00",
    b"%2f",
    b"../",
    b"..%2f",
    b"//",
    b"\r\n",
    b" ",
    b"\t",
    b"0x",
    b":",
    b",",
    b"rpc.discover",
    b"2.0",
    b"\xf0\x9f\x92\xa9",
];
/// The deepest nest and the longest repeat.
const MOST_REPEATED: usize = 20_000;

/// A stream of inputs; the same seed brings the same ones.
#[derive(Clone)]
pub(crate) struct Inputs {
    kind: Kind,
    good: Vec<Vec<u8>>,
    seed: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Body,
    Path,
}

impl Inputs {
    /// Bodies of requests: the examples of every method, alone and in batches.
    pub(crate) fn requests(seed: u64) -> Self {
        let document = openrpc();
        let methods = document["methods"].as_array().into_iter().flatten();
        let mut calls: Vec<Value> = methods
            .map(|method| {
                let params = method["examples"][0]["params"].as_array().into_iter().flatten();
                let params: Vec<&Value> = params.map(|param| &param["value"]).collect();
                json!({"jsonrpc": "2.0", "id": 1, "method": method["name"], "params": params})
            })
            .collect();
        let batch = Value::from(calls.iter().take(20).cloned().collect::<Vec<_>>());
        calls.push(batch);
        let good = calls.iter().map(|call| call.to_string().into_bytes()).collect();
        Self { kind: Kind::Body, good, seed }
    }

    /// Paths of circles.
    pub(crate) fn paths(seed: u64) -> Self {
        let circle = format!("/02{}", "ab".repeat(32));
        let good = [circle.as_str(), "/", "/ui", "/openrpc.json", "/04", "/0x02ab", "/02ab/02ab"];
        Self { kind: Kind::Path, good: good.iter().map(|path| path.as_bytes().to_vec()).collect(), seed }
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// The choices of one of several that share the work.
    pub(crate) fn choices(&self, part: u64) -> StdRng {
        StdRng::seed_from_u64(self.seed.wrapping_mul(0x9e37_79b9).wrapping_add(part))
    }

    pub(crate) fn next(&self, choices: &mut StdRng) -> Vec<u8> {
        let mut input = self.good[choices.random_range(0..self.good.len())].clone();
        change(&mut input, choices, &self.good);
        if self.kind == Kind::Path {
            // What no request line can carry would never reach the path.
            input.retain(|byte| byte.is_ascii_graphic());
            if input.first() != Some(&b'/') {
                input.insert(0, b'/');
            }
        }
        input
    }
}

/// Changes an input in one to four places.
pub(crate) fn change(input: &mut Vec<u8>, choices: &mut StdRng, others: &[Vec<u8>]) {
    for _ in 0..choices.random_range(1..=4) {
        let at = choices.random_range(0..=input.len());
        let end = (at + choices.random_range(0..=24)).min(input.len());
        match choices.random_range(0..8) {
            0 if !input.is_empty() => {
                let at = at.min(input.len() - 1);
                input[at] ^= 1 << choices.random_range(0..8);
            }
            1 if !input.is_empty() => {
                let at = at.min(input.len() - 1);
                input[at] = choices.random();
            }
            2 => drop(input.drain(at..end)),
            3 => {
                let piece = input[at..end].to_vec();
                input.splice(at..at, piece);
            }
            4 => {
                let other = &others[choices.random_range(0..others.len())];
                let from = choices.random_range(0..=other.len());
                input.splice(at..end, other[from..].iter().copied());
            }
            5 => input.truncate(at),
            // Rarely, for it takes long.
            6 if choices.random_ratio(1, 200) => {
                let piece = NASTY[choices.random_range(0..NASTY.len())];
                input.splice(at..at, piece.repeat(choices.random_range(1..=MOST_REPEATED / piece.len())));
            }
            _ => {
                let piece = NASTY[choices.random_range(0..NASTY.len())];
                input.splice(at..at, piece.iter().copied());
            }
        }
    }
}
