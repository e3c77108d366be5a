//! Writing a zip whose bytes depend on nothing but its input.

use std::io::{self, Read, Seek, SeekFrom, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::names;

/// Endings of files that deflate does not make smaller.
const COMPRESSED: &[&str] = &[
    "7z", "aac", "avif", "docx", "flac", "gif", "gz", "heic", "jpeg", "jpg", "m4a", "m4v", "mkv", "mov", "mp3", "mp4",
    "odp", "ods", "odt", "ogg", "ogv", "opus", "pdf", "png", "pptx", "webm", "webp", "woff", "woff2", "xlsx", "xz",
    "zip", "zst",
];

/// How hard deflate tries: 6 is what most programs do.
const LEVEL: i64 = 6;

const COPY_BUFFER: usize = 64 * 1024;

/// Writes a zip: entries in the order in which they are added, all of them dated 1980-01-01, so that equal input gives equal bytes.
#[derive(Debug)]
pub struct Writer<W: Write + Seek> {
    zip: ZipWriter<UpToFault<W>>,
    buffer: Vec<u8>,
    level: i64,
}

impl<W: Write + Seek> Writer<W> {
    /// A zip that will be written to `inner`, from its present position.
    pub fn new(inner: W) -> Self {
        Self { zip: ZipWriter::new(UpToFault::new(inner)), buffer: vec![0; COPY_BUFFER], level: LEVEL }
    }

    /// The same with another effort of deflate, from 1 (fast) to 9 (small).
    pub fn with_level(self, level: i64) -> Self {
        Self { level, ..self }
    }

    /// Adds an entry with all that the reader gives. Media that is compressed already is stored as it is.
    ///
    /// # Errors
    /// Those of the reader and of the disk; a name that was added before or that leads out of the archive. The zip is then of no use.
    pub fn add(&mut self, name: &str, reader: &mut dyn Read) -> io::Result<()> {
        self.start(name, is_compressed(name))?;
        self.copy(reader)
    }

    /// Adds an entry as it is, whatever its name.
    ///
    /// # Errors
    /// As [`Writer::add`].
    pub fn add_stored(&mut self, name: &str, reader: &mut dyn Read) -> io::Result<()> {
        self.start(name, true)?;
        self.copy(reader)
    }

    /// Adds an entry with what is written to it.
    ///
    /// # Errors
    /// Those of `write`; and as [`Writer::add`].
    pub fn add_with<E: From<io::Error>>(
        &mut self,
        name: &str,
        write: impl FnOnce(&mut dyn Write) -> Result<(), E>,
    ) -> Result<(), E> {
        self.start(name, is_compressed(name))?;
        write(&mut self.zip)
    }

    fn start(&mut self, name: &str, is_stored: bool) -> io::Result<()> {
        if let Some(danger) = names::danger(name) {
            let text = format!("the entry name `{}` cannot be written: {danger}", name.escape_debug());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        // The size is not known beforehand, so every entry leaves room for one beyond 4 GiB.
        let options =
            SimpleFileOptions::default().last_modified_time(DateTime::DEFAULT).unix_permissions(0o644).large_file(true);
        let options = if is_stored {
            options.compression_method(CompressionMethod::Stored)
        } else {
            options.compression_method(CompressionMethod::Deflated).compression_level(Some(self.level))
        };
        self.zip.start_file(name, options).map_err(io::Error::from)
    }

    fn copy(&mut self, reader: &mut dyn Read) -> io::Result<()> {
        loop {
            match reader.read(&mut self.buffer) {
                Ok(0) => return Ok(()),
                Ok(length) => self.zip.write_all(&self.buffer[..length])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes the directory and gives back what was written to.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn finish(self) -> io::Result<W> {
        self.zip.finish()?.into_inner()
    }
}

/// What is written to, up to its first fault. The zip is of no use from then on, but `ZipWriter` does not know that and ends it when
/// it is dropped: it would print a second fault, and panic at a position before the one where it was.
#[derive(Debug)]
struct UpToFault<W> {
    inner: W,
    fault: Option<io::ErrorKind>,
}

/// Where a writer with a fault says that it is: no zip is so large.
const BEYOND: u64 = 1 << 60;

impl<W> UpToFault<W> {
    fn new(inner: W) -> Self {
        Self { inner, fault: None }
    }

    fn into_inner(self) -> io::Result<W> {
        match self.fault {
            Some(kind) => Err(io::Error::new(kind, "a write to the zip has failed before")),
            None => Ok(self.inner),
        }
    }

    /// Makes a call where none has failed; gives `afterwards` where one has.
    fn call<T>(&mut self, afterwards: T, call: impl FnOnce(&mut W) -> io::Result<T>) -> io::Result<T> {
        if self.fault.is_some() {
            return Ok(afterwards);
        }
        let result = call(&mut self.inner);
        if let Err(error) = &result
            && error.kind() != io::ErrorKind::Interrupted
        {
            self.fault = Some(error.kind());
        }
        result
    }
}

impl<W: Write> Write for UpToFault<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.call(bytes.len(), |inner| inner.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.call((), W::flush)
    }
}

impl<W: Seek> Seek for UpToFault<W> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.call(BEYOND, |inner| inner.seek(to))
    }
}

fn is_compressed(name: &str) -> bool {
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending).to_ascii_lowercase();
    COMPRESSED.contains(&ending.as_str())
}
