//! An HTTP server that keeps what is posted to it, as a webhook or Alertmanager would.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// What was posted.
#[derive(Debug, Clone)]
pub struct Post {
    pub path: String,
    pub body: String,
    /// What was answered.
    pub status: u16,
}

/// A server on a port of 127.0.0.1. Its thread ends with the process.
pub struct Receiver {
    port: u16,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    posts: Vec<Post>,
    /// Answers to the next posts; then it is 200.
    answers: Vec<u16>,
}

impl Receiver {
    /// Starts one.
    pub fn start() -> Receiver {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let kept = Arc::new(Mutex::new(Kept::default()));
        let shared = Arc::clone(&kept);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                // A client that is killed leaves half a request.
                thread::spawn(move || serve(&stream, &shared));
            }
        });
        Receiver { port, kept }
    }

    /// Where to post.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Answers the next posts with these statuses.
    pub fn answer(&self, statuses: &[u16]) {
        lock(&self.kept).answers = statuses.to_vec();
    }

    /// What was posted to a path and taken.
    pub fn taken(&self, path: &str) -> Vec<String> {
        let kept = lock(&self.kept);
        let taken = kept
            .posts
            .iter()
            .filter(|p| p.path == path && p.status == 200);
        taken.map(|p| p.body.clone()).collect()
    }

    /// All that was posted.
    pub fn posts(&self) -> Vec<Post> {
        lock(&self.kept).posts.clone()
    }
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One request; the connection is closed after it.
fn serve(stream: &TcpStream, kept: &Mutex<Kept>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let header = line.trim().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(n) = header.strip_prefix("content-length:") {
            length = n.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body = String::from_utf8(body).ok()?;
    let status = {
        let mut kept = lock(kept);
        let status = if kept.answers.is_empty() {
            200
        } else {
            kept.answers.remove(0)
        };
        kept.posts.push(Post { path, body, status });
        status
    };
    let mut stream = stream;
    write!(
        stream,
        "HTTP/1.1 {status} .\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
    .ok()
}
