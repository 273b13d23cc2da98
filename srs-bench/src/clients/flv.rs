//! Players of FLV over HTTP: a small HTTP/1.1 client that keeps no body, and a reader of tags.

mod body;
mod tags;

use reqwest::Url;
use tokio::time::timeout;

use self::{
    body::{Body, Head},
    tags::TagReader,
};
use super::{
    crew::{Crew, Failure, Report, Stop},
    player::{self, Intake, Player},
    reading,
    wire::Wire,
};
use crate::measure::{Stage, Tally};

/// The head of an answer.
const HEAD_MAX: usize = 16 << 10;
/// Other servers that one may be sent to, one after the other.
const REDIRECTS_MAX: usize = 5;

/// One session.
pub(super) async fn play(crew: &Crew, number: usize, report: Report, stop: &mut Stop) {
    let mut player = Player::new(report);
    let opened = tokio::select! {
        biased;
        () = stop.wait() => return player.finish(crew, None),
        opened = Box::pin(open(crew, number)) => opened,
    };
    let outcome = match opened {
        Ok((wire, mut stream, rest)) => {
            player.connected(&mut crew.recorder.lock());
            let first = stream.handle(&rest, &mut player, std::time::Instant::now(), &mut crew.recorder.lock());
            drop(rest);
            match first {
                Ok(_) => reading::read(crew, wire, &mut player, &mut stream, stop).await,
                Err(failure) => Err(failure),
            }
        }
        Err(failure) => Err(failure),
    };
    player.finish(crew, outcome.err().as_ref());
}

/// The answer's body, read as tags.
struct Stream {
    body: Body,
    tags: TagReader,
}

impl Intake for Stream {
    fn handle(
        &mut self,
        data: &[u8],
        player: &mut Player,
        now: std::time::Instant,
        tally: &mut Tally,
    ) -> Result<Vec<u8>, Failure> {
        let odd = |what: &str| Failure::new(Stage::Ended, what.to_owned());
        let (tags, mut broken) = (&mut self.tags, None);
        let more = self.body.feed(data, |data| {
            if broken.is_none() {
                broken = tags.feed(data, |message| player.handle(message, now, tally)).err();
            }
        });
        match (broken, more) {
            (Some(what), _) => Err(odd(what)),
            (None, Err(what)) => Err(odd(what)),
            (None, Ok(false)) => Err(odd("the server ended the stream")),
            (None, Ok(true)) => Ok(Vec::new()),
        }
    }
}

/// Asks for the stream, wherever it turns out to be.
async fn open(crew: &Crew, number: usize) -> Result<(Wire, Stream, Vec<u8>), Failure> {
    let mut url = crew.url(number).map_err(|error| Failure::of(Stage::Http, &error))?;
    for _ in 0..REDIRECTS_MAX {
        let mut wire = player::connect(crew, number, &url, 80).await?;
        let (head, rest) = timeout(crew.options.setup_patience, ask(crew, &mut wire, &url))
            .await
            .map_err(|_| Failure::new(Stage::Http, "no answer in time"))??;
        match (head.status, &head.location) {
            (200, _) => {
                let stream = Stream { body: Body::new(&head), tags: TagReader::default() };
                return Ok((wire, stream, rest));
            }
            (301 | 302 | 303 | 307 | 308, Some(to)) => {
                url = url.join(to).map_err(|_| Failure::new(Stage::Http, "sent on to an odd place"))?;
                if !matches!(url.scheme(), "http" | "https") {
                    return Err(Failure::new(Stage::Http, format!("sent on to {}://, which is not spoken here", url.scheme())));
                }
            }
            (status, _) => return Err(Failure::new(Stage::Refused, format!("{status} {}", head.reason))),
        }
    }
    Err(Failure::new(Stage::Http, "sent on too often"))
}

/// The request, and the head of its answer with what came behind it.
async fn ask(crew: &Crew, wire: &mut Wire, url: &Url) -> Result<(Head, Vec<u8>), Failure> {
    let broke = |error: std::io::Error| Failure::new(Stage::Http, format!("the connection broke: {}", error.kind()));
    let host = url.host_str().unwrap_or_default();
    let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let path = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
    let bearer = crew.options.bearer.as_ref().map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: srs-bench\r\nAccept: */*\r\n{bearer}\r\n");
    wire.write_all(request.as_bytes()).await.map_err(broke)?;
    let (mut data, mut buffer) = (Vec::new(), [0; 1 << 10]);
    loop {
        if let Some(end) = data.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = data.split_off(end + 4);
            let head = Head::parse(&data).ok_or_else(|| Failure::new(Stage::Http, "the answer is no HTTP"))?;
            return Ok((head, rest));
        }
        if data.len() > HEAD_MAX {
            return Err(Failure::new(Stage::Http, "a head without end"));
        }
        let len = wire.read(&mut buffer).await.map_err(broke)?;
        if len == 0 {
            return Err(Failure::new(Stage::Http, "the server closed the connection"));
        }
        data.extend_from_slice(buffer.get(..len).unwrap_or_default());
    }
}
