//! The loop: one poll over signals, daemons, containers and clients.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;

use skiff_oci::launch;
use skiff_sys::{process, signal, terminal};

use crate::attachment::Attachment;
use crate::connection::Connection;
use crate::container::Container;
use crate::protocol::{Answer, ContainerInfo, ErrorKind, OLDEST, Request, VERSION};

/// Daemons have a few connections each, one for every exec; more wait in the listener's queue.
const MOST_CONNECTIONS: usize = 512;

pub(crate) struct Server {
    listener: UnixListener,
    signals: OwnedFd,
    connections: Vec<Connection>,
    containers: Vec<Container>,
    /// Processes started by exec: who is told, and the process itself.
    execs: BTreeMap<i32, (u64, OwnedFd)>,
    next_connection: u64,
    /// The first process of a shared PID namespace.
    pause: Option<OwnedFd>,
    /// Nothing could be accepted, for want of descriptors or memory: not before a second.
    resting: bool,
    ending: bool,
}

/// Whose file is ready.
#[derive(Clone, Copy)]
enum Ready {
    Listener,
    Signals,
    Connection(u64),
    Source(usize, usize),
    Input(usize),
    ClientInput(usize, usize),
    Client(usize),
}

impl Server {
    pub(crate) fn new(listener: UnixListener, signals: OwnedFd, pause: Option<OwnedFd>) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self {
            listener,
            signals,
            connections: Vec::new(),
            containers: Vec::new(),
            execs: BTreeMap::new(),
            next_connection: 0,
            pause,
            resting: false,
            ending: false,
        })
    }

    /// Serves until a daemon asks for the end.
    pub(crate) fn run(mut self) {
        let mut buffer = vec![0; 16 << 10];
        while !self.ending {
            let (mut polls, owners) = self.interests();
            let resting = self.resting;
            let impatient = resting || self.containers.iter().any(|c| !c.may_read() || c.is_unwritten());
            // SAFETY: pointer and length belong together.
            let count = unsafe { libc::poll(polls.as_mut_ptr(), polls.len() as _, if impatient { 1000 } else { -1 }) };
            if count < 0 {
                // Only a signal passes by itself: with anything else the loop would spin.
                if std::io::Error::last_os_error().kind() != std::io::ErrorKind::Interrupted {
                    std::thread::sleep(std::time::Duration::from_millis(100));
                }
                continue;
            }
            // Sources from the back: one that ends is removed, and those before it keep their place.
            for (poll, owner) in polls.iter().zip(&owners).rev().filter(|(poll, _)| poll.revents != 0) {
                self.handle(*owner, poll.revents, &mut buffer);
            }
            if impatient {
                self.containers.iter_mut().for_each(flush_clients);
                self.containers.iter_mut().for_each(Container::write_exit);
            }
            // A poll was made without the listener; the next one asks it again.
            self.resting &= !resting;
            self.containers.iter_mut().for_each(Container::tidy);
            self.connections.retain(|connection| !connection.closed);
        }
    }

    fn interests(&self) -> (Vec<libc::pollfd>, Vec<Ready>) {
        let (mut polls, mut owners) = (Vec::new(), Vec::new());
        let mut add = |fd: RawFd, events: i16, owner: Ready| {
            polls.push(libc::pollfd { fd, events, revents: 0 });
            owners.push(owner);
        };
        // Handled in reverse: output is read before the signal that may end its container.
        // What can't be accepted stays ready: without a rest the loop would spin.
        if !self.resting && self.connections.len() < MOST_CONNECTIONS {
            add(self.listener.as_raw_fd(), libc::POLLIN, Ready::Listener);
        }
        add(self.signals.as_raw_fd(), libc::POLLIN, Ready::Signals);
        for connection in &self.connections {
            let events = libc::POLLIN | if connection.is_waiting() { libc::POLLOUT } else { 0 };
            add(connection.stream.as_raw_fd(), events, Ready::Connection(connection.id));
        }
        for (index, container) in self.containers.iter().enumerate() {
            if container.may_read() {
                for (source, from) in container.sources.iter().enumerate() {
                    add(from.file.as_raw_fd(), libc::POLLIN, Ready::Source(index, source));
                }
            }
            let waiting = container.input_is_waiting();
            if let Some(input) = container.input.as_ref().filter(|_| waiting) {
                add(input.file.as_raw_fd(), libc::POLLOUT, Ready::Input(index));
            }
            for (client, attachment) in container.attachments.iter().enumerate() {
                if let Some(stdin) = attachment.stdin.as_ref().filter(|_| !waiting) {
                    add(stdin.as_raw_fd(), libc::POLLIN, Ready::ClientInput(index, client));
                }
                for outlet in [&attachment.stdout, &attachment.stderr].into_iter().filter(|outlet| outlet.is_waiting()) {
                    add(outlet.file.as_raw_fd(), libc::POLLOUT, Ready::Client(index));
                }
            }
        }
        (polls, owners)
    }

    fn handle(&mut self, owner: Ready, events: i16, buffer: &mut [u8]) {
        match owner {
            Ready::Listener => self.accept(),
            Ready::Signals => self.reap(buffer),
            Ready::Connection(id) => self.serve(id, events),
            Ready::Source(container, source) => {
                if let Some(container) = self.containers.get_mut(container) {
                    container.copy_from(source, buffer);
                }
            }
            Ready::Input(container) => {
                if let Some(container) = self.containers.get_mut(container) {
                    container.flush_input();
                }
            }
            Ready::ClientInput(container, client) => {
                if let Some(container) = self.containers.get_mut(container) {
                    container.copy_input(client, buffer);
                }
            }
            Ready::Client(container) => {
                if let Some(container) = self.containers.get_mut(container) {
                    flush_clients(container);
                }
            }
        }
    }

    fn accept(&mut self) {
        while self.connections.len() < MOST_CONNECTIONS {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    self.next_connection += 1;
                    if let Ok(connection) = Connection::new(self.next_connection, stream) {
                        self.connections.push(connection);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.resting = error.kind() != io::ErrorKind::WouldBlock;
                    return;
                }
            }
        }
    }

    fn reap(&mut self, buffer: &mut [u8]) {
        signal::drain(&self.signals);
        while let Some((pid, code)) = process::reap() {
            if let Some((connection, _)) = self.execs.remove(&pid) {
                if let Some(connection) = self.connections.iter_mut().find(|c| c.id == connection) {
                    connection.send(&Answer::ExecExited { code });
                }
                continue;
            }
            let Some(container) = self.containers.iter_mut().find(|c| c.pid == pid && c.exit.is_none()) else { continue };
            let exit = container.finish(code, buffer);
            let container = container.id.clone();
            for connection in self.connections.iter_mut().filter(|c| c.watching) {
                connection.send(&Answer::Exited { container: container.clone(), exit });
            }
        }
    }

    fn serve(&mut self, id: u64, events: i16) {
        let Some(at) = self.connections.iter().position(|c| c.id == id) else { return };
        let mut connection = self.connections.swap_remove(at);
        if events & libc::POLLOUT != 0 {
            connection.flush();
        }
        if events & !libc::POLLOUT != 0 {
            connection.receive();
            while let Some(request) = connection.next() {
                match request {
                    // It counts as failed by now: whoever asked has gone without an answer.
                    Ok(Request::Start(_)) if connection.closed => {}
                    Ok(request) => self.answer(&mut connection, request),
                    Err(message) => connection.send(&error(ErrorKind::Unsupported, message)),
                }
            }
        }
        self.connections.push(connection);
    }

    fn answer(&mut self, connection: &mut Connection, request: Request) {
        if !connection.greeted && !matches!(request, Request::Hello { .. }) {
            connection.send(&error(ErrorKind::Invalid, "the first request is Hello"));
            return;
        }
        let answer = match request {
            Request::Hello { min, max } => hello(connection, min, max),
            Request::Start(request) => match Container::start(*request) {
                Ok(container) => {
                    let pid = container.pid;
                    self.containers.push(container);
                    Answer::Started { pid }
                }
                Err(failure) => start_error(&failure),
            },
            Request::Exec { container, process } => return self.exec(connection, &container, &process),
            Request::Attach { container } => self.attach(connection.take_fds(), &container),
            Request::Signal { container, signal } => self.on(&container, |c| if c.exit.is_none() { process::signal(c.pidfd.as_fd(), signal) } else { Ok(()) }),
            Request::SignalExec { signal } => {
                for (_, pidfd) in self.execs.values().filter(|(owner, _)| *owner == connection.id) {
                    let _ = process::signal(pidfd.as_fd(), signal);
                }
                Answer::Done
            }
            Request::Resize { container, columns, rows } => self.on(&container, |c| match &c.terminal {
                Some(master) => terminal::resize(master.as_fd(), columns, rows),
                None => Ok(()),
            }),
            Request::ReopenLog { container } => self.on(&container, |c| c.log.as_mut().map_or(Ok(()), crate::log::Log::reopen)),
            Request::List => Answer::Containers(self.containers.iter().map(info).collect()),
            Request::Watch => {
                connection.watching = true;
                Answer::Done
            }
            Request::Forget { container } => {
                self.containers.retain(|c| c.id != container || c.exit.is_none());
                Answer::Done
            }
            Request::Shutdown => {
                self.shut_down();
                Answer::Done
            }
        };
        connection.send(&answer);
    }

    fn on(&mut self, id: &str, action: impl FnOnce(&mut Container) -> io::Result<()>) -> Answer {
        match self.containers.iter_mut().find(|c| c.id == id) {
            None => not_found(id),
            Some(container) => match action(container) {
                Ok(()) => Answer::Done,
                Err(failure) => error(ErrorKind::Failed, failure),
            },
        }
    }

    fn exec(&mut self, connection: &mut Connection, id: &str, program: &skiff_oci::Process) {
        let stdio = <[OwnedFd; 3]>::try_from(connection.take_fds()).ok();
        let Some(container) = self.containers.iter().find(|c| c.id == id && c.exit.is_none()) else {
            return connection.send(&not_found(id));
        };
        if stdio.is_none() && !program.tty {
            return connection.send(&error(ErrorKind::Invalid, "exec needs three descriptors or a terminal"));
        }
        match launch::exec(program, &container.cgroup, &container.pidfd, stdio) {
            Ok(started) => {
                self.execs.insert(started.pid, (connection.id, started.pidfd));
                let answer = Answer::Started { pid: started.pid };
                match &started.terminal {
                    Some(master) => connection.send_with(&answer, &[master.as_fd()]),
                    None => connection.send(&answer),
                }
            }
            Err(failure) => connection.send(&start_error(&failure)),
        }
    }

    fn attach(&mut self, fds: Vec<OwnedFd>, id: &str) -> Answer {
        let Ok(fds) = <[OwnedFd; 3]>::try_from(fds) else {
            return error(ErrorKind::Invalid, "attach needs three descriptors");
        };
        self.on(id, |container| {
            if container.exit.is_none() {
                container.attachments.push(Attachment::new(fds));
            }
            Ok(())
        })
    }

    fn shut_down(&mut self) {
        for container in self.containers.iter().filter(|c| c.exit.is_none()) {
            let _ = process::signal(container.pidfd.as_fd(), 9);
        }
        for (_, pidfd) in self.execs.values() {
            let _ = process::signal(pidfd.as_fd(), 9);
        }
        let mut buffer = vec![0; 16 << 10];
        for container in self.containers.iter_mut().filter(|c| c.exit.is_none()) {
            if let Ok(code) = process::wait(container.pid) {
                container.finish(code, &mut buffer);
            }
        }
        if let Some(pause) = &self.pause {
            let _ = process::signal(pause.as_fd(), 9);
        }
        self.ending = true;
    }
}

fn hello(connection: &mut Connection, min: u32, max: u32) -> Answer {
    let version = max.min(VERSION);
    if version < min.max(OLDEST) {
        return error(ErrorKind::Unsupported, format!("this shim speaks versions {OLDEST} to {VERSION}"));
    }
    connection.greeted = true;
    Answer::Hello { version }
}

fn info(container: &Container) -> ContainerInfo {
    ContainerInfo { container: container.id.clone(), pid: container.pid, exit: container.exit }
}

fn flush_clients(container: &mut Container) {
    for client in &mut container.attachments {
        client.stdout.flush();
        client.stderr.flush();
    }
}

fn error(kind: ErrorKind, message: impl std::fmt::Display) -> Answer {
    Answer::Error { kind, message: message.to_string() }
}

fn not_found(id: &str) -> Answer {
    error(ErrorKind::NotFound, format!("container {id} does not run here"))
}

fn start_error(failure: &skiff_oci::Error) -> Answer {
    let kind = if matches!(failure, skiff_oci::Error::Program(_)) { ErrorKind::Program } else { ErrorKind::Failed };
    error(kind, failure.full_message())
}
