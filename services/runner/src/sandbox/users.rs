//! A user of its own for each running job, so that jobs cannot touch each other and their processes can be
//! counted. Only root can give them.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;

/// The users that nobody has.
#[derive(Debug)]
pub(super) struct Users {
    /// The one that has been free for longest comes first: what a job had started may take a moment to be gone.
    free: Mutex<VecDeque<u32>>,
    count: usize,
}

impl Users {
    pub(super) fn new(first: u32, count: u32) -> Arc<Self> {
        let free: VecDeque<u32> = (first..first.saturating_add(count)).collect();
        Arc::new(Self { count: free.len(), free: Mutex::new(free) })
    }

    /// Whether more than half of them are free, so that one may be kept for a job that has not come yet.
    pub(super) fn are_plenty(&self) -> bool {
        self.free.lock().len() > self.count / 2
    }

    /// One that no other job has until it is given back.
    pub(super) fn take(self: &Arc<Self>) -> Option<User> {
        let id = self.free.lock().pop_front()?;
        Some(User { id, users: Arc::clone(self) })
    }
}

/// A user that belongs to one job.
#[derive(Debug)]
pub(crate) struct User {
    id: u32,
    users: Arc<Users>,
}

impl User {
    /// Its number, which is its group's, too.
    pub(crate) const fn id(&self) -> u32 {
        self.id
    }
}

impl Drop for User {
    fn drop(&mut self) {
        self.users.free.lock().push_back(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::Users;

    #[test]
    fn a_user_has_one_job_at_a_time() {
        let users = Users::new(5_000, 2);
        let (first, second) = (users.take().unwrap(), users.take().unwrap());
        assert_eq!((first.id(), second.id()), (5_000, 5_001));
        assert!(users.take().is_none());
        drop(first);
        assert_eq!(users.take().map(|user| user.id()), Some(5_000));
    }
}
