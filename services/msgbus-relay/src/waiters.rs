//! Callers inside of this process that wait for an answer in a return queue.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Who waits for which return queue.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waiters(Arc<Mutex<HashMap<String, Arc<Notify>>>>);

/// A place to wait; it is given up when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    waiters: Waiters,
    ret: String,
    notify: Arc<Notify>,
}

impl Waiters {
    /// Begins to listen: an answer that comes from now on is not missed.
    pub(crate) fn watch(&self, ret: &str) -> Place {
        let notify = Arc::new(Notify::new());
        self.0.lock().insert(ret.to_owned(), Arc::clone(&notify));
        Place { waiters: self.clone(), ret: ret.to_owned(), notify }
    }

    /// There is an answer in this return queue.
    pub(crate) fn wake(&self, ret: &str) {
        if let Some(notify) = self.0.lock().get(ret) {
            notify.notify_one();
        }
    }
}

impl Place {
    /// Waits for an answer; one that came before counts.
    pub(crate) async fn answered(&self) {
        self.notify.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.waiters.0.lock().remove(&self.ret);
    }
}
