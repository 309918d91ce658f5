//! A client that LISTENs and keeps what it hears.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use postgres::fallible_iterator::FallibleIterator;
use postgres::Client;

use crate::Error;

/// How soon a listener notices that it is to stop.
const LOOK_UP: Duration = Duration::from_millis(50);

/// One notification, as it arrived.
#[derive(Debug, Clone)]
pub struct Notice {
    pub channel: String,
    pub payload: String,
    /// The backend that sent it.
    pub sender: i32,
    /// When it arrived, for measuring.
    pub at: Instant,
    /// When it arrived, by the clock.
    pub received: SystemTime,
}

/// A thread with a connection of its own, in LISTEN until it is dropped.
pub struct Listener {
    heard: Arc<Heard>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Heard {
    notices: Mutex<Vec<Notice>>,
    more: Condvar,
    stop: AtomicBool,
}

impl Listener {
    /// LISTENs on `channel`. Once this returns, no notification is missed.
    pub fn new(client: Client, channel: &str) -> Result<Self, Error> {
        Self::with_callback(client, channel, |_| ())
    }

    /// As [`Listener::new`], and calls `on_notice` with each notification the moment it arrives.
    pub fn with_callback(
        mut client: Client,
        channel: &str,
        mut on_notice: impl FnMut(&Notice) + Send + 'static,
    ) -> Result<Self, Error> {
        let quoted = channel.replace('"', "\"\"");
        client
            .batch_execute(&format!("LISTEN \"{quoted}\""))
            .map_err(Error::while_doing(format!("cannot listen on {channel}")))?;
        let heard = Arc::new(Heard::default());
        let shared = Arc::clone(&heard);
        let mut keep = move |notification: postgres::Notification| {
            let notice = Notice {
                channel: notification.channel().to_owned(),
                payload: notification.payload().to_owned(),
                sender: notification.process_id(),
                at: Instant::now(),
                received: SystemTime::now(),
            };
            on_notice(&notice);
            shared.lock().push(notice);
            shared.more.notify_all();
        };
        let told = Arc::clone(&heard);
        let thread = thread::spawn(move || {
            // When the server goes away, whoever waits will see that nothing more comes.
            while !told.stop.load(Ordering::Relaxed) && !client.is_closed() {
                let heard = client
                    .notifications()
                    .timeout_iter(LOOK_UP)
                    .for_each(|notification| {
                        keep(notification);
                        Ok(())
                    });
                if heard.is_err() {
                    return;
                }
            }
        });
        Ok(Listener {
            heard,
            thread: Some(thread),
        })
    }

    /// All that was heard so far, oldest first.
    pub fn heard(&self) -> Vec<Notice> {
        self.heard.lock().clone()
    }

    /// The payloads of [`Listener::heard`].
    pub fn payloads(&self) -> Vec<String> {
        self.heard().into_iter().map(|n| n.payload).collect()
    }

    /// Waits until `n` notifications in all have arrived; the test fails if they do not within `timeout`.
    #[track_caller]
    pub fn wait_for(&self, n: usize, timeout: Duration) -> Vec<Notice> {
        let (notices, _) = self
            .heard
            .more
            .wait_timeout_while(self.heard.lock(), timeout, |notices| notices.len() < n)
            .unwrap_or_else(PoisonError::into_inner);
        let notices = notices.clone();
        assert!(
            notices.len() >= n,
            "{} of {n} notifications arrived within {timeout:?}: {notices:#?}",
            notices.len()
        );
        notices
    }
}

impl Heard {
    fn lock(&self) -> MutexGuard<'_, Vec<Notice>> {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.heard.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A callback that panicked has said so on the standard error.
            let _ = thread.join();
        }
    }
}
