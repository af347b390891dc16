//! One direction of a connection: reads, finds the messages, has the faults strike, writes.

use std::{io, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::tcp::{ReadHalf, WriteHalf},
    time::{sleep, timeout},
};

use super::{
    Cut, Shape, Shared, Way,
    fault::{Act, Strike},
    framer::{self, Framer, Next},
    link::Link,
};

/// How a direction ended.
pub(super) enum Ended {
    /// The sender closed, and all of it is passed on.
    Whole,
    /// A fault cut it.
    Cut(Cut),
    /// A socket failed.
    Failed,
}

/// Why a pump stops in the middle.
enum Stop {
    Cut(Cut),
    Failed,
}

impl From<io::Error> for Stop {
    fn from(_: io::Error) -> Self {
        Stop::Failed
    }
}

/// Bytes read at once: little enough that a stalled direction pushes back soon.
const READ: usize = 16 * 1024;

pub(super) struct Pump<'a> {
    from: ReadHalf<'a>,
    to: WriteHalf<'a>,
    way: Way,
    link: Link,
    shared: &'a Arc<Shared>,
    framer: Framer,
    /// Read and not yet passed on.
    input: Vec<u8>,
    /// Bytes of the present message that are still to pass.
    passing: usize,
    /// What strikes in it, after so many bytes more.
    strike: Option<Strike>,
}

impl<'a> Pump<'a> {
    pub(super) fn new(
        from: ReadHalf<'a>,
        to: WriteHalf<'a>,
        way: Way,
        link: Link,
        shared: &'a Arc<Shared>,
    ) -> Self {
        let framer = Framer::new(way);
        Pump { from, to, way, link, shared, framer, input: Vec::new(), passing: 0, strike: None }
    }

    pub(super) async fn run(mut self) -> Ended {
        match self.pass_all().await {
            Ok(()) => Ended::Whole,
            Err(Stop::Cut(how)) => Ended::Cut(how),
            Err(Stop::Failed) => Ended::Failed,
        }
    }

    async fn pass_all(&mut self) -> Result<(), Stop> {
        while self.read().await? {
            self.reshape().await?;
            self.pass().await?;
        }
        // What is left of a message that never became whole.
        let rest = std::mem::take(&mut self.input);
        self.write(&rest).await?;
        self.to.shutdown().await?;
        Ok(())
    }

    async fn read(&mut self) -> io::Result<bool> {
        self.input.reserve(READ);
        Ok((&mut self.from).take(READ as u64).read_buf(&mut self.input).await? > 0)
    }

    /// Waits, where bytes are to arrive later or together.
    async fn reshape(&mut self) -> Result<(), Stop> {
        match self.shape() {
            Some(Shape::Delay(delay)) => sleep(delay).await,
            Some(Shape::Merge(quiet)) => {
                while let Ok(more) = timeout(quiet, self.read()).await {
                    if !more? {
                        break;
                    }
                }
            }
            Some(Shape::Split(_)) | None => {}
        }
        Ok(())
    }

    fn shape(&self) -> Option<Shape> {
        let kind = self.link.about().kind;
        self.shared.faults().shape(self.way, kind)
    }

    /// Passes on what can be passed on of what was read.
    async fn pass(&mut self) -> Result<(), Stop> {
        loop {
            self.take_hints();
            if self.passing == 0 && !self.begin().await? {
                return Ok(());
            }
            if self.input.is_empty() {
                return Ok(());
            }
            let strikes_after = self.strike.as_ref().map_or(usize::MAX, |strike| strike.after);
            let n = self.passing.min(self.input.len()).min(strikes_after);
            let bytes: Vec<u8> = self.input.drain(..n).collect();
            self.write(&bytes).await?;
            self.passing -= n;
            if let Some(strike) = &mut self.strike {
                strike.after -= n;
            }
            if let Some(strike) = self.strike.take_if(|strike| strike.after == 0) {
                self.strike(strike).await?;
            }
        }
    }

    /// What the other direction found out about this one.
    fn take_hints(&mut self) {
        let mut about = self.link.about();
        let hint = match self.way {
            Way::FromClient => about.client.take(),
            Way::FromServer => about.server.take(),
        };
        if let Some(framer) = hint {
            self.framer = framer;
        }
    }

    /// Begins the next message; false if too little of it is there.
    async fn begin(&mut self) -> Result<bool, Stop> {
        let (tag, len) = match self.framer.next(&self.input) {
            Next::More => return Ok(false),
            Next::Opaque => {
                self.framer = Framer::Opaque;
                self.passing = self.input.len();
                return Ok(self.passing > 0);
            }
            Next::Message { tag, len } => (tag, len),
        };
        if !self.note(len) {
            return Ok(false);
        }
        if self.way == Way::FromClient && tag == b'Q' {
            self.link.about().hear_query(&self.input[5..]);
        }
        let kind = self.link.about().kind;
        if self.input.len() < self.shared.faults().looks_at(self.way, kind, len) {
            return Ok(false);
        }
        let strike = self.shared.faults().message(self.way, kind, tag, len, &self.input);
        self.passing = len;
        match strike {
            Some(Strike { act: Act::Edit(_), .. }) => self.edit(strike, len).await,
            Some(strike) if strike.after == 0 => {
                self.strike(strike).await?;
                Ok(true)
            }
            strike => {
                self.strike = strike;
                Ok(true)
            }
        }
    }

    /// Takes note of packets without a tag. False while one is not whole.
    fn note(&mut self, len: usize) -> bool {
        match self.framer {
            Framer::Greeting if self.input.len() < len => return false,
            Framer::Greeting => {
                if let Some(packet) = framer::packet(&self.input[..len]) {
                    self.link.about().hear(&packet);
                }
            }
            Framer::Answers(1) => {
                // The server agreed to TLS: nothing can be read from here on.
                let tls = self.input.first() == Some(&b'S');
                self.framer = if tls { Framer::Opaque } else { Framer::Answers(0) };
                if tls {
                    self.link.about().client = Some(Framer::Opaque);
                }
            }
            _ => {}
        }
        true
    }

    /// Passes a changed message on.
    async fn edit(&mut self, strike: Option<Strike>, len: usize) -> Result<bool, Stop> {
        let Some(mut strike) = strike else { return Ok(true) };
        while self.input.len() < len {
            if !self.read().await? {
                return Ok(true);
            }
        }
        let mut message: Vec<u8> = self.input.drain(..len).collect();
        if let Act::Edit(edit) = &mut strike.act {
            edit(&mut message);
        }
        self.passing = 0;
        self.write(&message).await?;
        strike.tell();
        Ok(!self.input.is_empty())
    }

    async fn strike(&mut self, strike: Strike) -> Result<(), Stop> {
        if strike.is_lifted() {
            return Ok(());
        }
        strike.tell();
        match strike.act {
            Act::Cut(how) => Err(Stop::Cut(how)),
            Act::Stall => {
                strike.lifted().await;
                Ok(())
            }
            Act::Edit(_) => Ok(()),
        }
    }

    /// Writes bytes, up to where a fault that counts bytes strikes and beyond it.
    async fn write(&mut self, mut bytes: &[u8]) -> Result<(), Stop> {
        while !bytes.is_empty() {
            let kind = self.link.about().kind;
            let strike = self.shared.faults().bytes(self.way, kind, bytes.len());
            let n = strike.as_ref().map_or(bytes.len(), |strike| strike.after);
            self.put(&bytes[..n]).await?;
            bytes = &bytes[n..];
            if let Some(strike) = strike {
                self.strike(strike).await?;
            }
        }
        Ok(())
    }

    async fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(Shape::Split(size)) = self.shape() else { return self.to.write_all(bytes).await };
        for piece in bytes.chunks(size.max(1)) {
            self.to.write_all(piece).await?;
            // Time for the other side to see it by itself.
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}
