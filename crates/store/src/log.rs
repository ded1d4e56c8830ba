//! A job's log: a stream of lines, capped in bytes.

use hero_domain::{JobId, LogLine, LogPage, LogStream, Timestamp};
use hero_redis::{Value, cmd};

use crate::{Confine, Error, LogAppended, Result, Store, answer::corrupt, keys};

/// Lines that one call writes.
const LINES_A_CALL: usize = 500;
/// Lines that one call reads.
const LINES_A_READ: usize = 256;

impl Store {
    pub(crate) async fn append_lines(
        &self,
        id: JobId,
        attempt: u32,
        mut before: u64,
        lines: &[(LogStream, String)],
        max_bytes: usize,
    ) -> Result<LogAppended> {
        let script = &self.scripts().log_append;
        let mut pieces = lines.chunks(LINES_A_CALL);
        let mut piece = pieces.next().unwrap_or_default();
        loop {
            let bytes = piece.iter().map(|(_, text)| text.len() + 16).sum::<usize>() + 64;
            let mut call = script.command(&[], 4 + piece.len() * 2, bytes);
            call.arg(id.to_string()).arg(attempt).arg(before).arg(max_bytes);
            for (stream, text) in piece {
                call.arg(stream.as_str()).arg(text);
            }
            match self.run("log_append", script, &call).await? {
                Value::Int(1) => return Ok(LogAppended::Full),
                Value::Int(2) => return Ok(LogAppended::Refused),
                _ => {}
            }
            match pieces.next() {
                Some(next) => {
                    before += piece.len() as u64;
                    piece = next;
                }
                None => return Ok(LogAppended::Taken),
            }
        }
    }

    pub(crate) async fn read_lines(
        &self,
        id: JobId,
        confine: Confine<'_>,
        from: Option<&str>,
        max_bytes: usize,
    ) -> Result<LogPage> {
        self.visible_status(id, confine).await?;
        let key = keys::job_log(id);
        let mut begin = from.map(after).transpose()?.unwrap_or_else(|| "-".to_owned());
        let mut page = LogPage::default();
        let (mut bytes, mut last) = (0, String::new());
        loop {
            let mut call = cmd("XRANGE");
            call.arg(&key).arg(&begin).arg("+").arg("COUNT").arg(LINES_A_READ);
            let entries: Vec<(String, Vec<String>)> = self.link().call(&call).await?;
            let is_last = entries.len() < LINES_A_READ;
            for (place, fields) in entries {
                if bytes >= max_bytes {
                    page.next = Some(last);
                    return Ok(page);
                }
                let line = line(&key, &place, fields)?;
                bytes += line.text.len();
                page.lines.push(line);
                last = place;
            }
            if is_last {
                return Ok(page);
            }
            begin = format!("({last}");
        }
    }
}

/// The range that begins after this place.
fn after(place: &str) -> Result<String> {
    let is_place = place.split_once('-').is_some_and(|(ms, seq)| {
        [ms, seq].iter().all(|part| part.parse::<u64>().is_ok() && part.bytes().all(|b| b.is_ascii_digit()))
    });
    if !is_place {
        return Err(Error::LogPlaceUnknown(place.chars().take(80).collect()));
    }
    Ok(format!("({place}"))
}

fn line(key: &str, place: &str, fields: Vec<String>) -> Result<LogLine> {
    let mut line = LogLine { stream: LogStream::Log, at: Timestamp::default(), text: String::new() };
    let ms = place.split_once('-').and_then(|(ms, _)| ms.parse().ok());
    line.at = Timestamp::from_millis(ms.ok_or_else(|| corrupt(key, "an entry has no time"))?);
    let mut fields = fields.into_iter();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        match name.as_str() {
            "stream" => line.stream = LogStream::from_name(&value).unwrap_or(LogStream::Log),
            "text" => line.text = value,
            _ => {}
        }
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::after;

    #[test]
    fn only_a_place_of_a_page_is_a_place() {
        assert_eq!(after("1795259160120-3").unwrap(), "(1795259160120-3");
        for text in ["", "-", "12", "a-b", "12-", "+1-2", "(1-2", "1-2-3"] {
            assert!(after(text).is_err(), "{text}");
        }
    }
}
