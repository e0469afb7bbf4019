//! For tests: bytes that nobody meant, for every decoder there is. Examples are changed at random, and what a decoder took is changed further.
//! Whatever the bytes, a decoder ends soon, without a panic, and what it takes keeps its promises. They are here and not in `tests/fuzz`
//! because the decoders are private; `make fuzz` runs both.
//!
//! SKERRY_FUZZ_SECONDS says for how long each of them is asked (1), SKERRY_FUZZ_SEED with which bytes (random, and printed when one fails).

use std::time::{Duration, Instant};

use fastrand::Rng;

/// Asked at least, however slow the machine.
const LEAST: u32 = 200;
/// Far more than any decoder needs in a build without optimisation.
const SOON: Duration = Duration::from_secs(10);
/// Inputs that are kept to be changed further, and how large one may become.
const KEPT: usize = 512;
const SIZE: usize = 64 << 10;
/// What has a meaning somewhere.
const WORDS: &[&str] = &[
    "\n",
    "\r\n",
    " ",
    "\t",
    "- ",
    ": ",
    "[",
    "]",
    "{",
    "}",
    "\"",
    "'",
    "&a ",
    "*a",
    "!!",
    "---\n",
    "#",
    "|\n",
    "<<: ",
    "\u{feff}",
    "\0",
    "..",
    "/",
    "null",
    "true",
    "-1",
    "0",
    "18446744073709551616",
    "1e999",
    "\\u0000",
    "=",
    ",",
    "[[",
    "$(",
    "skerry.dev/",
    "ü",
];

/// Prints what was asked when the decoder panics.
struct Asked<'a> {
    target: &'a str,
    seed: u64,
    input: &'a [u8],
}

impl Drop for Asked<'_> {
    #[expect(clippy::print_stderr, reason = "what is needed to see it again")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { target, seed, input } = self;
            eprintln!("{target}: SKERRY_FUZZ_SEED={seed}, {}", input.escape_ascii());
        }
    }
}

/// Asks a decoder until the time is over. `judge` panics when something is wrong, and says whether the input was taken.
pub(crate) fn fuzz(target: &str, corpus: &[Vec<u8>], judge: impl Fn(&[u8]) -> bool) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let time = Duration::from_secs(number("SKERRY_FUZZ_SECONDS").unwrap_or(1));
    let seed = number("SKERRY_FUZZ_SEED").unwrap_or_else(|| fastrand::u64(..));
    let mut rng = Rng::with_seed(seed);
    let mut kept: Vec<Vec<u8>> = corpus.to_vec();
    for example in corpus {
        assert!(judge(example), "{target}: an example is not taken: {}", example.escape_ascii());
    }
    let (begun, mut asked) = (Instant::now(), 0);
    while asked < LEAST || begun.elapsed() < time {
        asked += 1;
        let input = draw(&mut rng, &kept);
        let guard = Asked { target, seed, input: &input };
        let start = Instant::now();
        let taken = judge(&input);
        assert!(start.elapsed() < SOON, "{target}: {:?} for {} bytes", start.elapsed(), input.len());
        drop(guard);
        if taken && kept.len() < KEPT {
            kept.push(input);
        }
    }
}

fn draw(rng: &mut Rng, kept: &[Vec<u8>]) -> Vec<u8> {
    let mut input = match kept.get(rng.usize(..kept.len().max(1))) {
        Some(example) if rng.u8(..) > 8 => example.clone(),
        Some(_) | None => (0..rng.usize(..64)).map(|_| rng.u8(..)).collect(),
    };
    for _ in 0..rng.usize(1..6) {
        change(rng, &mut input, kept);
    }
    input.truncate(SIZE);
    input
}

fn change(rng: &mut Rng, input: &mut Vec<u8>, kept: &[Vec<u8>]) {
    let at = rng.usize(..=input.len());
    let end = (at + rng.usize(..=16)).min(input.len());
    match rng.u8(..8) {
        0 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << rng.u8(..8);
            }
        }
        1 => {
            let telling = [0, 1, 0x7f, 0x80, 0xff, b' ', b'"', rng.u8(..)];
            if let Some(byte) = input.get_mut(at) {
                *byte = telling[rng.usize(..telling.len())];
            }
        }
        2 => input.truncate(at),
        3 => drop(input.drain(at..end)),
        // A part comes again, many times.
        4 => {
            let part = input[at..end].repeat(rng.usize(1..64));
            input.splice(at..at, part);
        }
        5 => {
            let word = WORDS[rng.usize(..WORDS.len())].repeat(rng.usize(1..4));
            input.splice(at..at, word.into_bytes());
        }
        6 => {
            let word = WORDS[rng.usize(..WORDS.len())];
            input.splice(at..end, word.bytes());
        }
        // A part of another one.
        _ => {
            let other = &kept[rng.usize(..kept.len())];
            let from = rng.usize(..=other.len());
            let to = (from + rng.usize(..=64)).min(other.len());
            input.splice(at..end, other[from..to].to_vec());
        }
    }
}
