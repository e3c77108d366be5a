//! What goes wrong around the daemon: databases, disks, uploads. Afterwards the promise holds, and whom it concerns has
//! read of it. `docs/reliability.md` lists the scenarios; what needs the real process is in `tests/reliability`.

mod databases;
mod storage;
mod uploads;
