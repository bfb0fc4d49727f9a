//! The command line.

/// What can be given.
pub(crate) const USAGE: &str = "usage: cargo xtask sim [--seed N [--show] | --seeds M [--from N]]
  --seed N    run one seed and show what it did
  --show      show each request as it is executed, and what is answered
  --seeds M   run M seeds (100 if nothing is given)
  --from N    the first of them (0)";

/// What was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) first: u64,
    pub(crate) count: u64,
    pub(crate) show: bool,
}

impl Arguments {
    /// Reads the words behind the program's name.
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut arguments = Self { first: 0, count: 100, show: false };
        while let Some(word) = words.next() {
            let mut number = || {
                let given = words.next().ok_or_else(|| format!("{word} needs a number"))?;
                given.parse::<u64>().map_err(|_invalid| format!("{word} needs a number, not '{given}'"))
            };
            match word.as_str() {
                "--seed" => (arguments.first, arguments.count) = (number()?, 1),
                "--seeds" => arguments.count = number()?,
                "--show" => arguments.show = true,
                "--from" => arguments.first = number()?,
                _ => return Err(format!("there is no argument '{word}'")),
            }
        }
        Ok(arguments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, String> {
        Arguments::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn arguments_and_their_faults() {
        assert_eq!(parse(""), Ok(Arguments { first: 0, count: 100, show: false }));
        assert_eq!(parse("--seed 7 --show"), Ok(Arguments { first: 7, count: 1, show: true }));
        assert_eq!(parse("--seeds 5 --from 9"), Ok(Arguments { first: 9, count: 5, show: false }));
        assert_eq!(parse("--seed"), Err("--seed needs a number".to_owned()));
        assert_eq!(parse("--seeds x"), Err("--seeds needs a number, not 'x'".to_owned()));
        assert_eq!(parse("--sed"), Err("there is no argument '--sed'".to_owned()));
    }
}
